//! Text of others, made fit for a log: one line, nothing in it that hides or turns around what follows.

use std::error::Error;
use std::fmt::{self, Display, Write};

/// What `T` says, with every character escaped that is not printed as itself: line breaks, control characters, Unicode's
/// line separators and whatever changes the direction of writing.
pub(crate) struct Escaped<T>(pub(crate) T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Quotes and backslashes are printed as they are: they end no line.
        for piece in text.split_inclusive(['"', '\'', '\\']) {
            let plain = piece.trim_end_matches(['"', '\'', '\\']);
            write!(self.0, "{}{}", plain.escape_debug(), &piece[plain.len()..])?;
        }
        Ok(())
    }
}

/// An error with all its causes, as one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl Chain<'_> {
    /// For `Debug`, and `Display`'s `{:#}`.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Escaped(self.0))?;
        let mut cause = self.0.source();
        while let Some(err) = cause {
            write!(f, ": {}", Escaped(err))?;
            cause = err.source();
        }
        Ok(())
    }
}

/// A cause of somebody else's, kept as the line that [`Chain`] makes of it.
#[derive(Clone)]
pub(crate) struct Told(String);

impl Told {
    pub(crate) fn of(err: &(dyn Error + 'static)) -> Self {
        Self(Chain(err).to_string())
    }
}

impl Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Told {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_line_or_turns_it_around() {
        for hostile in [
            '\n',
            '\r',
            '\t',
            '\0',
            '\x0b',
            '\x0c',
            '\x1b',
            '\x7f',
            '\u{85}',
            '\u{9b}',
            '\u{61c}',
            '\u{200b}',
            '\u{200e}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202b}',
            '\u{202c}',
            '\u{202d}',
            '\u{202e}',
            '\u{2066}',
            '\u{2067}',
            '\u{2068}',
            '\u{2069}',
            '\u{feff}',
            '\u{e0041}',
        ] {
            let escaped = Escaped(format!("a\"{hostile}b")).to_string();
            assert!(
                !escaped.contains(hostile) && escaped.contains('\\'),
                "{:x}: {escaped:?}",
                u32::from(hostile)
            );
        }
    }

    #[test]
    fn what_is_printed_as_itself_stays() {
        for plain in ["relation \"x\" does not exist", "C:\\data", "it's", "größe «имя» 名前 ก็ e\u{301} 🦀"]
        {
            assert_eq!(Escaped(plain).to_string(), plain);
        }
    }
}
