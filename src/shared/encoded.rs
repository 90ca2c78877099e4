//! Parameters that are encoded before anything is sent.
//!
//! Code of the application encodes its types, and may panic. Nothing has been written to the driver's buffer then. And what is
//! encoded outlives the future that asks, so that a task of ours can send it.

use std::error::Error;
use std::fmt;

use actix_web::web::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::lease::Params;
use crate::tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};

/// The parameters of one read.
pub(super) type Encoded = SmallVec<[Parameter; 4]>;

/// The value of a parameter, as it is sent.
#[derive(Clone)]
pub(super) struct Parameter {
    /// `None` is NULL.
    value: Option<Bytes>,
    text: bool,
}

/// Encodes the parameters of a statement. `None` where they do not fit it.
pub(super) fn encode(params: Params<'_>, types: &[Type]) -> Option<Encoded> {
    if params.len() != types.len() {
        return None;
    }
    let mut buf = BytesMut::new();
    let parameter = |(param, ty): (&&(dyn ToSql + Sync), &Type)| {
        let text = matches!(param.encode_format(ty), Format::Text);
        let value = match param.to_sql_checked(ty, &mut buf).ok()? {
            IsNull::Yes => None,
            IsNull::No => Some(buf.split().freeze()),
        };
        Some(Parameter { value, text })
    };
    params.iter().zip(types).map(parameter).collect()
}

impl ToSql for Parameter {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        Ok(match &self.value {
            Some(value) => {
                out.extend_from_slice(value);
                IsNull::No
            }
            None => IsNull::Yes,
        })
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        if self.text { Format::Text } else { Format::Binary }
    }

    to_sql_checked!();
}

/// Without the value, which the driver would log.
impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} bytes", value.len()),
            None => f.write_str("NULL"),
        }
    }
}
