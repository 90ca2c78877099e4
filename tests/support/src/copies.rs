//! `COPY` in one go.

use actix_pg::{Connection, Result};
use actix_web::web::Bytes;
use futures_util::{SinkExt, TryStreamExt};

/// Copies `data` into the database, and says how many rows that were.
pub async fn copy_in(conn: &Connection, sql: &str, data: &'static str) -> Result<u64> {
    let mut copy = conn.copy_in(sql).await?;
    copy.send(Bytes::from_static(data.as_bytes())).await?;
    copy.finish().await
}

/// Copies out of the database.
pub async fn copy_out(conn: &Connection, sql: &str) -> Result<Vec<u8>> {
    let pieces = conn.copy_out(sql).await?;
    pieces.try_fold(Vec::new(), async |data, piece| Ok([data, piece.to_vec()].concat())).await
}
