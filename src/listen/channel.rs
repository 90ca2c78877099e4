//! The names of channels.

use crate::{Error, Result};

/// The most bytes of a name. The server cuts off what is longer in `LISTEN`, and refuses it in `pg_notify`.
const LONGEST: usize = 63;

/// Refuses what no channel can be called.
pub(super) fn checked(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > LONGEST || name.contains('\0') {
        return Err(Error::ChannelName(name.to_owned()));
    }
    Ok(())
}

/// A name in SQL, as it is: with its case, its blanks and its quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_as_it_is() {
        for (name, sql) in [
            ("jobs", r#""jobs""#),
            ("Jobs of Ada", r#""Jobs of Ada""#),
            (r#"a"; DROP TABLE users; --"#, r#""a""; DROP TABLE users; --""#),
            (r"a\'b", r#""a\'b""#),
        ] {
            assert!(checked(name).is_ok(), "{name}");
            assert_eq!(quoted(name), sql);
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        let (longest, too_long) = ("a".repeat(63), "ä".repeat(32));
        assert!(checked(&longest).is_ok());
        for name in ["", "a\0b", &too_long] {
            assert!(matches!(checked(name), Err(Error::ChannelName(refused)) if refused == name));
        }
    }
}
