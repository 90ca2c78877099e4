//! A field that is deserialized from JSON.

use std::error::Error;

use crate::tokio_postgres::types::{FromSql, Type};

/// A value that is read from a `json` or `jsonb` column: `#[row(json)]`.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<'a, T: FromJson> FromSql<'a> for Json<T> {
    fn from_sql(of: &Type, bytes: &'a [u8]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        T::from_json(of, bytes).map(Self)
    }

    fn accepts(of: &Type) -> bool {
        matches!(*of, Type::JSON | Type::JSONB)
    }
}

/// What `#[row(json)]` can deserialize: whatever serde can, with the feature `with-serde_json-1`.
#[cfg_attr(
    not(feature = "with-serde_json-1"),
    diagnostic::on_unimplemented(
        message = "`#[row(json)]` needs the feature `with-serde_json-1` of actix-pg",
        label = "cannot be read from JSON without it"
    )
)]
#[cfg_attr(
    feature = "with-serde_json-1",
    diagnostic::on_unimplemented(
        message = "`{Self}` cannot be deserialized from JSON",
        label = "has no `serde::Deserialize`, or borrows from what it is deserialized from"
    )
)]
pub trait FromJson: Sized {
    /// Reads the bytes of a `json` or `jsonb` value.
    fn from_json(of: &Type, bytes: &[u8]) -> Result<Self, Box<dyn Error + Send + Sync>>;
}

#[cfg(feature = "with-serde_json-1")]
impl<T: serde::de::DeserializeOwned> FromJson for T {
    fn from_json(of: &Type, bytes: &[u8]) -> Result<Self, Box<dyn Error + Send + Sync>> {
        use crate::tokio_postgres::types;

        types::Json::from_sql(of, bytes).map(|types::Json(value)| value)
    }
}
