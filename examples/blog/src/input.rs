//! What a client may send. All that is wrong is said at once, each with the name of its field.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use actix_web::ResponseError;
use actix_web::web::{JsonConfig, QueryConfig};

use crate::error::ApiError;

/// More than the longest post, in any script.
const LARGEST_BODY: usize = 256 * 1024;

/// What is wrong with each field.
#[derive(Debug)]
pub(crate) struct Faults(BTreeMap<&'static str, String>);

impl Faults {
    pub(crate) fn none() -> Self {
        Self(BTreeMap::new())
    }

    pub(crate) fn text(mut self, field: &'static str, text: &str, longest: usize) -> Self {
        if text.trim().is_empty() || text.chars().count() > longest {
            self.0.insert(field, format!("must have 1 to {longest} characters that are not all blank"));
        } else if text.contains('\0') {
            // PostgreSQL stores every character but this one, and would answer with an error.
            self.0.insert(field, "must not contain the character NUL".to_owned());
        }
        self
    }

    pub(crate) fn number(mut self, field: &'static str, number: i64, range: RangeInclusive<i64>) -> Self {
        if !range.contains(&number) {
            self.0.insert(field, format!("must be from {} to {}", range.start(), range.end()));
        }
        self
    }

    pub(crate) fn check(self) -> Result<(), ApiError> {
        if self.0.is_empty() { Ok(()) } else { Err(ApiError::Fields(self.0)) }
    }
}

/// A body that is no JSON, or not the JSON that is wanted, is answered like everything else that is wrong.
pub(crate) fn json() -> JsonConfig {
    JsonConfig::default()
        .limit(LARGEST_BODY)
        .error_handler(|err, _| ApiError::Request(err.status_code(), err.to_string()).into())
}

pub(crate) fn query() -> QueryConfig {
    QueryConfig::default()
        .error_handler(|err, _| ApiError::Request(err.status_code(), err.to_string()).into())
}
