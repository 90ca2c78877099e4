//! How the page gets times and texts.

use std::time::Duration;

/// The most characters of a text.
const MOST_CHARACTERS: usize = 500;

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MOST_CHARACTERS) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened("é".repeat(MOST_CHARACTERS)), "é".repeat(MOST_CHARACTERS));
        assert_eq!(shortened("é".repeat(MOST_CHARACTERS + 1)), "é".repeat(MOST_CHARACTERS) + "…");
    }
}
