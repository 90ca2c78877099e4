//! Tables that change under texts that the pooler has prepared for them.

use std::env;

use actix_pg::tokio_postgres::SimpleQueryMessage;
use actix_pg::{Database, Result};
use futures_util::future::{join_all, try_join_all};
use test_support::{connected, eventually, sized};

use super::world::World;
use crate::bouncer::SETTINGS;
use crate::common::sqlstate;

const TABLE: &str = "
    CREATE TYPE mood AS ENUM ('glad', 'sad');
    CREATE TABLE public.things (id int, mood mood);
    INSERT INTO public.things VALUES (1, 'glad'), (2, 'sad');
    GRANT ALL ON public.things TO PUBLIC;";

const CHANGES: [(&str, usize); 5] = [
    ("ALTER TABLE public.things ADD COLUMN note text", 3),
    ("ALTER TYPE mood ADD VALUE 'calm'", 3),
    ("ALTER TABLE public.things ALTER id TYPE bigint", 3),
    ("ALTER TABLE public.things RENAME note TO remark", 3),
    ("ALTER TABLE public.things DROP COLUMN remark", 2),
];

const ALL: &str = "SELECT * FROM public.things";
const MOODS: &str = "SELECT mood, id FROM public.things WHERE id > $1::int";

/// Twelve at a time, so that each server connection is met. Returns how many columns each had.
async fn ask(db: &Database, queries: usize) -> Result<Vec<usize>> {
    let asked = (0..queries).map(|number| async move {
        let conn = db.connection();
        if number % 3 == 0 {
            conn.set_config("app.tenant", "1")?;
        }
        let rows = match number % 2 {
            0 => conn.query(ALL, &[]).await?,
            _ => conn.query(MOODS, &[&0]).await?,
        };
        assert_eq!(rows.len(), 2);
        Ok(rows[0].len())
    });
    try_join_all(asked).await
}

#[tokio::test]
async fn no_query_fails_after_a_change() {
    let Some(mut world) = World::with(TABLE).await else { return };
    let db = world.pool().await;
    let owner = world.observer.connection();
    for _ in 0..4 {
        ask(&db, 12).await.expect("answers");
    }
    for (change, columns) in CHANGES {
        owner.batch_execute(change).await.expect("a change");
        for _ in 0..10 {
            let met = ask(&db, 12).await.unwrap_or_else(|err| panic!("{change}: {err}"));
            assert!(met.iter().step_by(2).all(|met| *met == columns), "{change}: {met:?}");
        }
    }
    world.bouncer.assert_alive();
    db.close().await;
}

/// What has been sent in a transaction cannot be repeated. But the text is refused once, and not for ever.
#[tokio::test]
async fn a_transaction_fails_at_most_once_after_a_change() {
    let Some(world) = World::with(TABLE).await else { return };
    let db = world.pool().await;
    let owner = world.observer.connection();
    let in_transaction = async || {
        let tx = db.transaction().await?;
        tx.query_one_scalar::<i32>("SELECT 1", &[]).await?;
        let met = tx.query(ALL, &[]).await?[0].len();
        tx.commit().await?;
        Ok::<_, actix_pg::Error>(met)
    };
    let all = async || join_all((0..6).map(|_| in_transaction())).await;
    for met in all().await {
        assert_eq!(met.expect("an answer"), 2);
    }
    owner.batch_execute("ALTER TABLE public.things ADD COLUMN note text").await.expect("a change");
    for refused in all().await.into_iter().filter_map(Result::err) {
        assert_eq!(sqlstate(&refused), "0A000", "{refused:?}");
    }
    for _ in 0..5 {
        for met in all().await {
            assert_eq!(met.expect("an answer"), 3);
        }
    }
    db.close().await;
}

/// A batch is prepared as it goes on. Its first statement can be prepared anew.
#[tokio::test]
async fn no_batch_fails_after_a_change() {
    let Some(world) = World::with(TABLE).await else { return };
    let db = world.pool().await;
    let owner = world.observer.connection();
    let insert = "INSERT INTO public.things (id) VALUES ($1) RETURNING *";
    let write = async || {
        try_join_all((0..6).map(|_| async { db.connection().execute_many(insert, [[1], [2]]).await })).await
    };
    write().await.expect("written");
    owner.batch_execute("ALTER TABLE public.things ADD COLUMN note text").await.expect("a change");
    for _ in 0..3 {
        assert_eq!(write().await.expect("written"), [2; 6]);
    }
    let written: i64 = db.query_one_scalar("SELECT count(*) FROM public.things", &[]).await.expect("a count");
    assert_eq!(written, 2 + 4 * 12);
    db.close().await;
}

/// Sessions that are older than the change are replaced, and what they could not prepare runs on a new one, once.
#[tokio::test]
async fn no_statement_fails_when_the_pooler_begins_to_keep_statements_or_ceases_to() {
    if !env::var(SETTINGS).is_ok_and(|settings| settings == "max_prepared_statements = 0") {
        // It may be one that cannot.
        return;
    }
    let schema =
        format!("{TABLE} CREATE TABLE public.moods (mood mood); GRANT ALL ON public.moods TO PUBLIC");
    let Some(mut world) = World::with(&schema).await else { return };
    let db = connected(sized(world.config(), 4)).await;
    let write = async || {
        let insert = "INSERT INTO public.moods VALUES ('glad') RETURNING mood, 1";
        try_join_all((0..12).map(|_| async { db.connection().query_one(insert, &[]).await })).await
    };
    for keeps in [true, false] {
        for _ in 0..4 {
            ask(&db, 12).await.expect("answers");
            write().await.expect("written");
        }
        world.bouncer.reload(if keeps {
            "max_prepared_statements = 200"
        } else {
            "max_prepared_statements = 0"
        });
        eventually("the setting is in force", || async { keeps_statements(&world).await == keeps }).await;
        if !keeps {
            // Another process of the same driver has left the names that this one will give (42P05).
            let names = "DO $$ BEGIN FOR number IN 0..9999 LOOP EXECUTE 'PREPARE s' || number || ' AS SELECT 1'; END LOOP; END $$";
            world.on_each(names).await;
        }
        for _ in 0..4 {
            write().await.expect("written");
            ask(&db, 12).await.expect("answers");
        }
    }
    let written: i64 = db.query_one_scalar("SELECT count(*) FROM public.moods", &[]).await.expect("a count");
    assert_eq!(written, 16 * 12);
    world.bouncer.assert_alive();
    db.close().await;
}

async fn keeps_statements(world: &World) -> bool {
    let stranger = world.stranger().await;
    stranger.batch_execute("BEGIN").await.expect("a transaction");
    let text = format!("SELECT {}", rand::random::<u32>());
    let _kept = stranger.prepare(&text).await.expect("a statement");
    let names =
        format!("SELECT name FROM pg_prepared_statements WHERE name ~ '^PGBOUNCER' AND statement = '{text}'");
    let found = stranger.simple_query(&names).await.expect("an answer");
    found.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_)))
}
