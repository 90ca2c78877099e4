//! Whether the driver may take an answer for that of another statement.

use super::Error;
use crate::tokio_postgres;

impl Error {
    /// Whether the driver has read what is no answer to what it sent: it may take every later answer for the one before.
    pub(crate) fn is_out_of_step(&self) -> bool {
        match self {
            Self::Postgres(err) | Self::Begin(err) | Self::Setting(err) => {
                let driver = err.driver();
                is_unexpected(driver) || says(driver, "error parsing response from server")
            }
            Self::Batch { source, .. } | Self::OutcomeUnknown(source) => source.is_out_of_step(),
            _ => false,
        }
    }
}

/// Whether the driver has read a message that it did not expect.
pub(crate) fn is_unexpected(err: &tokio_postgres::Error) -> bool {
    says(err, "unexpected message from server")
}

/// The driver's errors have a kind that only their text shows.
fn says(err: &tokio_postgres::Error, text: &str) -> bool {
    err.as_db_error().is_none() && err.to_string() == text
}
