//! The variables that the names of files were read from, for the error of a start that cannot read them.
//!
//! [`Database::connect`](crate::Database::connect) reads the files, and a [`Config`](super::Config) has no room for what its values came
//! from: every field of it is public. So the process remembers which variable has named which file. Neither is a secret.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::OptionSource;

/// The parameters that name a file which the start reads.
const FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

/// By the parameter and the name of the file.
static READ: Mutex<BTreeMap<(String, String), OptionSource>> = Mutex::new(BTreeMap::new());

/// Remembers where the files of a configuration were named.
pub(super) fn remember(parameters: &BTreeMap<String, String>, origins: &BTreeMap<String, OptionSource>) {
    for parameter in FILES {
        if let (Some(file), Some(origin)) = (parameters.get(parameter), origins.get(parameter)) {
            read().insert((parameter.to_owned(), file.clone()), origin.clone());
        }
    }
}

/// Where a file was named that a parameter has: `given`, unless that is the field of a configuration which was read from a variable.
pub(super) fn origin(parameter: &str, file: &str, given: OptionSource) -> OptionSource {
    match given {
        OptionSource::Option(_) => {
            read().get(&(parameter.to_owned(), file.to_owned())).cloned().unwrap_or(given)
        }
        other => other,
    }
}

fn read() -> MutexGuard<'static, BTreeMap<(String, String), OptionSource>> {
    READ.lock().unwrap_or_else(PoisonError::into_inner)
}
