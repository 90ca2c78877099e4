//! The setting that no transaction takes back: the seed of `random()` stays on its backend.

use super::tokens::{Kind, Token};

/// The setting whose effect outlives its value.
const SEED: &str = "seed";

/// Whether the name of a setting is that of the seed.
pub(crate) fn is_seed(name: &str) -> bool {
    name.eq_ignore_ascii_case(SEED)
}

/// `SET LOCAL seed …` and `set_config('seed', …)`, from here on.
pub(super) fn sets_seed(tokens: &[Token<'_>]) -> bool {
    match tokens {
        [set, local, name, next, ..] if set.is("SET") && local.is("LOCAL") => {
            name.is_name() && is_seed(name.name()) && !next.is(".")
        }
        [function, open, name, ..] if function.names("set_config") && open.is("(") => {
            name.kind == Kind::Literal
                && is_seed(name.text.trim_start_matches(['E', 'e']).trim_matches(['\'', '$']))
        }
        _ => false,
    }
}
