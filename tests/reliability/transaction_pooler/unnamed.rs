//! `statement_cache_size = 0` behind a pooler, in both modes.

use actix_pg::tokio_postgres::types::ToSql;
use actix_pg::{Config, Database, Pooler, Result};
use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use test_support::{all_returned, connected, database};

use super::types::{INSERT, Raw, TYPES};
use super::world::World;
use crate::bouncer::{Bouncer, Clients};

const READ: &str = "SELECT id, cents FROM orders WHERE id = $1";
const WRITE: &str = "INSERT INTO orders (status, cents) VALUES ('new', $1) RETURNING id";

/// One request: a statement of each kind.
async fn request(db: &Database, number: i32) -> Result<()> {
    let conn = db.connection();
    if number % 3 == 0 {
        conn.set_config("app.tenant", &number.to_string())?;
    }
    let id: i32 = conn.query_one_scalar(WRITE, &[&number]).await?;
    assert_eq!(conn.query_one(READ, &[&id]).await?.get::<_, i32>(1), number);
    let written: Raw = conn.query_one_scalar(INSERT, &[&Raw::word("paid")]).await?;
    assert_eq!(written, Raw::word("paid"));
    let tx = conn.transaction().await?;
    let rows = tx.query_raw(READ, &[&id]).await?.try_collect::<Vec<_>>().await?;
    assert_eq!(rows[0].get::<_, i32>(1), number);
    let batch: [(&str, &[&(dyn ToSql + Sync)]); 3] =
        [(READ, &[&id]), ("UPDATE orders SET cents = cents + 1 WHERE id = $1", &[&id]), (READ, &[&id])];
    assert_eq!(tx.batch(&batch).await?, [1, 1, 1]);
    tx.commit().await?;
    assert_eq!(conn.query_one(READ, &[&id]).await?.get::<_, i32>(1), number + 1);
    Ok(())
}

/// Two pools stand for two processes: the driver of each gives the same names.
async fn requests(config: Config) {
    let (one, other) = (connected(config.clone()).await, connected(config).await);
    for round in 0..5 {
        let all =
            (0..50).map(|number| request(if number % 2 == 0 { &one } else { &other }, round * 50 + number));
        try_join_all(all).await.expect("every statement runs once");
    }
    let count: i64 = one.query_one_scalar("SELECT count(*) FROM orders", &[]).await.expect("a count");
    assert_eq!(count, 2 * 250);
    for db in [one, other] {
        all_returned(&db).await;
        db.close().await;
    }
}

#[tokio::test]
async fn without_a_statement_cache_nothing_is_left_in_transaction_mode() {
    let Some(mut world) = World::with(TYPES).await else { return };
    // A custom setting is empty from then on, and no longer NULL.
    world.on_each("SET LOCAL app.tenant = '1'").await;
    let fresh = world.left().await;
    requests(Config { statement_cache_size: 0, ..world.config() }).await;
    let left = world.left().await;
    assert!(left.iter().all(|left| fresh.contains(left)), "{left:?}, was {fresh:?}");
    world.bouncer.assert_alive();
}

#[tokio::test]
async fn without_a_statement_cache_every_statement_runs_once_in_session_mode() {
    let database = database().await;
    let Some(mut bouncer) = Bouncer::before(&database, Clients::Plain).await else { return };
    let config = bouncer.config(&database, Pooler::Session, 8);
    let schema = connected(config.clone()).await;
    schema.batch_execute(TYPES).await.expect("a schema");
    schema.close().await;
    requests(Config { statement_cache_size: 0, ..config }).await;
    bouncer.assert_alive();
}
