//! Types that the driver has to look up, on server connections that come and go.

use std::error;

use actix_pg::tokio_postgres::types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};
use actix_pg::{Connection, Database};
use actix_web::web::BytesMut;
use futures_util::future::{join_all, try_join_all};
use test_support::all_returned;

use super::world::World;

pub const TYPES: &str = "
    CREATE TYPE status AS ENUM ('new', 'paid', 'sent');
    CREATE TYPE mood AS ENUM ('glad', 'sad');
    CREATE DOMAIN price AS numeric CHECK (value >= 0);
    CREATE TYPE place AS (street text, number int, mood mood);
    CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY, status status NOT NULL, mood mood, cents int, home place);
    GRANT ALL ON orders TO PUBLIC;";

/// A value as it goes over the wire, of a type that is not built in.
#[derive(Debug, Clone, PartialEq)]
pub struct Raw(Vec<u8>);

impl Raw {
    pub fn word(word: &str) -> Self {
        Self(word.as_bytes().to_vec())
    }
}

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn error::Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(of: &Type) -> bool {
        Type::from_oid(of.oid()).is_none()
    }
}

impl ToSql for Raw {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(of: &Type) -> bool {
        Type::from_oid(of.oid()).is_none()
    }

    to_sql_checked!();
}

pub const INSERT: &str = "INSERT INTO orders (status) VALUES ($1) RETURNING status";

async fn count(db: &Database) -> i64 {
    db.query_one_scalar("SELECT count(*) FROM orders", &[]).await.expect("a count")
}

/// As many rows as answers: no statement is lost, and none runs twice.
#[tokio::test]
async fn a_written_enum_is_written_once() {
    let Some(mut world) = World::with(TYPES).await else { return };
    // Another process of the same driver has left the names that this one will give.
    let names = "DO $$ BEGIN FOR number IN 0..2999 LOOP EXECUTE 'PREPARE s' || number || ' AS SELECT 1'; END LOOP; END $$";
    world.on_each(names).await;
    let db = world.pool().await;
    let all = ["new", "paid", "sent"];
    for round in 0..10 {
        let inserts = (0..50_usize).map(|number| {
            let (db, status) = (&db, all[(number + round) % 3]);
            async move {
                let conn = db.connection();
                if number % 2 == 0 {
                    conn.set_config("app.tenant", "1")?;
                }
                let written: Raw = conn.query_one_scalar(INSERT, &[&Raw::word(status)]).await?;
                assert_eq!(written, Raw::word(status));
                Ok::<_, actix_pg::Error>(())
            }
        });
        try_join_all(inserts).await.expect("all written");
    }
    assert_eq!(count(&db).await, 500);
    world.bouncer.assert_alive();
    db.close().await;
}

/// Each session meets the types in another order, one after the other.
async fn meets(conn: &Connection, kind: usize) -> actix_pg::Result<()> {
    match kind {
        0 => {
            let status: Raw = conn.query_one_scalar("SELECT $1::status", &[&Raw::word("paid")]).await?;
            assert_eq!(status, Raw::word("paid"));
        }
        1 => {
            let row = conn.query_one("SELECT 'sad'::mood, ARRAY['new', 'sent']::status[]", &[]).await?;
            assert_eq!(row.get::<_, Vec<Raw>>(1), [Raw::word("new"), Raw::word("sent")]);
            let Kind::Enum(moods) = row.columns()[0].type_().kind() else { panic!("no enum") };
            assert_eq!(moods, &["glad", "sad"]);
        }
        2 => {
            let row = conn.query_one("SELECT 12.50::price, 1", &[]).await?;
            assert_eq!(row.get::<_, i32>(1), 1);
        }
        3 => {
            let row = conn.query_one("SELECT ROW('High Street', 7, 'glad')::place", &[]).await?;
            let Kind::Composite(fields) = row.columns()[0].type_().kind() else { panic!("no composite") };
            assert_eq!(
                fields.iter().map(|field| field.name()).collect::<Vec<_>>(),
                ["street", "number", "mood"]
            );
            let place: Raw = row.get(0);
            assert_eq!(conn.query_one_scalar::<Raw>("SELECT $1::place", &[&place]).await?, place);
        }
        _ => {
            let tx = conn.transaction().await?;
            let place: Option<Raw> = tx.query_one_scalar("SELECT NULL::place", &[]).await?;
            let many = tx.query("SELECT 'glad'::mood, status FROM orders", &[]).await?;
            assert!(place.is_none() && many.iter().all(|row| row.get::<_, Raw>(0) == Raw::word("glad")));
            let insert = "INSERT INTO orders (status, mood) VALUES ($1, 'sad')";
            tx.execute_many(insert, [[Raw::word("new")], [Raw::word("sent")]]).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_kind_of_type_is_known_on_every_server_connection() {
    let Some(world) = World::with(TYPES).await else { return };
    let fresh = world.left().await;
    let db = world.pool().await;
    for round in 0..15_usize {
        let all = (0..60_usize).map(|number| {
            let db = &db;
            async move { meets(&db.connection(), (number * 7 + round) % 5).await }
        });
        for met in join_all(all).await {
            met.expect("an answer");
        }
    }
    all_returned(&db).await;
    let left = world.left().await;
    assert!(left.iter().all(|left| fresh.contains(left)), "{left:?}, was {fresh:?}");
    db.close().await;
}

/// The types are looked up before the statement runs, not in the middle of its answer.
#[tokio::test]
async fn a_cold_enum_in_a_large_result_does_not_hang() {
    let Some(world) = World::with(TYPES).await else { return };
    let db = world.pool().await;
    let sql = "SELECT 'sent'::status, repeat('x', 200) FROM generate_series(1, 10000)";
    for _ in 0..3 {
        let rows =
            join_all((0..8).map(|_| async { db.connection().query(sql, &[]).await.map(|rows| rows.len()) }))
                .await;
        assert!(rows.iter().all(|rows| matches!(rows, Ok(10_000))), "{rows:?}");
    }
    db.close().await;
}

/// What is known of a text is forgotten when its table has changed.
#[tokio::test]
async fn a_text_survives_a_change_of_its_table() {
    let Some(world) = World::with(TYPES).await else { return };
    let db = world.pool().await;
    let owner = world.observer.connection();
    let sql = "SELECT cents FROM orders WHERE cents = $1";
    assert!(db.query(sql, &[&1_i32]).await.expect("an answer").is_empty());
    assert!(db.query(sql, &[&1_i32]).await.expect("an answer").is_empty());
    owner.batch_execute("ALTER TABLE orders ALTER cents TYPE text").await.expect("a change");
    // The server refuses the type that is known, once.
    let first = db.query(sql, &[&"1"]).await;
    let second = db.query(sql, &[&"1"]).await;
    assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
    assert!(db.query(sql, &[&"1"]).await.is_ok());
    db.close().await;
}
