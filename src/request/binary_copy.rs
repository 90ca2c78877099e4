//! Rows of parameters in the binary format of `COPY`.
//!
//! The driver has a writer too, which knows nothing of what comes after the data: whether the copy was committed.

use std::error;
use std::future::poll_fn;
use std::mem;
use std::pin::Pin;

use actix_web::web::{BufMut, BytesMut};
use futures_util::Sink;

use super::CopyIn;
use crate::lease::Params;
use crate::tokio_postgres::types::{BorrowToSql, IsNull, Type};
use crate::{Error, Result};

/// Signature, flags, and the length of an extension: see
/// [the format](https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.55.9.4.6).
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// What stands in the place of the number of values of another row.
const TRAILER: i16 = -1;

/// So many bytes are collected before they are sent.
const PIECE: usize = 16 * 1024;

/// A writer of rows for a `COPY … FROM STDIN (FORMAT binary)`: [`CopyIn::binary`].
///
/// The values are written as parameters of a statement are, so nothing has to be quoted. Nothing is copied unless
/// [`finish`](Self::finish) returns `Ok`.
///
/// ```
/// # use actix_pg::{Database, testing::Postgres};
/// # #[actix_web::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let schema = "CREATE TABLE users (id bigint, name text)";
/// # let database = Postgres::shared()?.database_with(schema).await?;
/// # let db = Database::connect(database.config()).await?;
/// # let conn = db.connection();
/// use actix_pg::tokio_postgres::types::Type;
///
/// let copy = conn.copy_in("COPY users (id, name) FROM STDIN (FORMAT binary)").await?;
/// let mut users = copy.binary(&[Type::INT8, Type::TEXT]);
/// for (id, name) in [(1_i64, Some("ada")), (2, None)] {
///     users.write(&[&id, &name]).await?;
/// }
/// assert_eq!(users.finish().await?, 2);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// As [`CopyIn`]: dropped before `finish`, it copies nothing.
#[must_use = "a copy that is not finished is undone"]
#[derive(Debug)]
pub struct BinaryCopyIn {
    copy: CopyIn,
    types: Box<[Type]>,
    data: BytesMut,
    /// A row could not be written, or a value panicked.
    failed: bool,
}

impl CopyIn {
    /// Makes a writer of rows. The statement has to say `(FORMAT binary)`, and nothing may have been sent yet.
    ///
    /// `types` are those of the columns, exactly: PostgreSQL converts nothing here, and takes the bytes of an `int4` for no `int8`. The
    /// type of a column that is not in [`Type`]'s list, such as an enum, is that of a parameter of a prepared statement.
    pub fn binary(self, types: &[Type]) -> BinaryCopyIn {
        BinaryCopyIn { copy: self, types: types.into(), data: BytesMut::from(HEADER), failed: false }
    }
}

impl BinaryCopyIn {
    /// Writes a row. Waits while the server takes rows more slowly than they come.
    ///
    /// # Errors
    ///
    /// [`Error::CopyRow`] for a wrong number of values; [`Error::CopyValue`] for one that cannot be written. The copy has
    /// failed then. [`Error::Postgres`] if the connection is lost. What the server reports about the data is an error of
    /// [`finish`](Self::finish).
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, the row has been written all the same.
    pub async fn write(&mut self, row: Params<'_>) -> Result<()> {
        self.write_raw(row.iter().copied()).await
    }

    /// Writes a row of values that are owned, or of one type.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// As [`write`](Self::write).
    pub async fn write_raw<P, I>(&mut self, row: I) -> Result<()>
    where
        P: BorrowToSql,
        I: IntoIterator<Item = P>,
        I::IntoIter: ExactSizeIterator,
    {
        if mem::replace(&mut self.failed, true) {
            return Err(Error::CopyFailed);
        }
        encode(row.into_iter(), &self.types, &mut self.data)?;
        self.failed = false;
        if self.data.len() < PIECE { Ok(()) } else { self.send().await }
    }

    /// Ends the data, and returns the number of rows that were copied: committed, or part of the open transaction.
    ///
    /// # Errors
    ///
    /// As [`CopyIn::finish`]. [`Error::CopyFailed`] if a row could not be written.
    ///
    /// # Cancel safety
    ///
    /// As [`CopyIn::finish`].
    pub async fn finish(mut self) -> Result<u64> {
        if self.failed {
            return Err(Error::CopyFailed);
        }
        self.data.put_i16(TRAILER);
        self.send().await?;
        self.copy.finish().await
    }

    /// Takes the data only when it can be sent, so that nothing is lost if the future is dropped.
    async fn send(&mut self) -> Result<()> {
        poll_fn(|cx| Pin::new(&mut self.copy).poll_ready(cx)).await?;
        let sent = Pin::new(&mut self.copy).start_send(self.data.split().freeze());
        self.failed |= sent.is_err();
        sent
    }
}

fn encode<P: BorrowToSql>(
    row: impl ExactSizeIterator<Item = P>,
    types: &[Type],
    data: &mut BytesMut,
) -> Result<()> {
    if row.len() != types.len() {
        return Err(Error::CopyRow { expected: types.len(), found: row.len() });
    }
    // PostgreSQL has no table of so many columns.
    data.put_i16(i16::try_from(types.len()).unwrap_or(i16::MAX));
    for (column, (value, ty)) in row.zip(types).enumerate() {
        append(value, ty, data).map_err(|source| Error::CopyValue { column, source })?;
    }
    Ok(())
}

/// The length, and the value of that length.
fn append(
    value: impl BorrowToSql,
    ty: &Type,
    data: &mut BytesMut,
) -> Result<(), Box<dyn error::Error + Sync + Send>> {
    let at = data.len();
    data.put_i32(-1);
    let start = data.len();
    if let IsNull::No = value.borrow_to_sql().to_sql_checked(ty, data)? {
        let length = i32::try_from(data.len() - start)?;
        data[at..start].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}
