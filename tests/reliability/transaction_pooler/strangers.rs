//! What a server connection remembers of whoever had it before: the number that was drawn last, and the seed of `random()`.

use actix_pg::{Connection, Error, Result};
use futures_util::TryStreamExt;

use super::world::World;

const SCHEMA: &str = "CREATE TABLE public.drawn (id serial); CREATE TABLE public.plain (id int); \
    GRANT ALL ON public.drawn, public.plain, public.drawn_id_seq TO PUBLIC";

const LAST: &str = "SELECT lastval()";

/// A world in which somebody has drawn a number on each server connection.
async fn world() -> Option<World> {
    let world = World::with(SCHEMA).await?;
    let drawn = world.on_each("INSERT INTO public.drawn VALUES (DEFAULT) RETURNING id").await;
    assert_eq!(world.on_each("SELECT lastval()").await.len(), drawn.len(), "it is met by the next one");
    Some(world)
}

fn is_refused<T: std::fmt::Debug>(answer: Result<T>) -> bool {
    matches!(answer, Err(Error::NeedsSession(_)))
        || matches!(answer, Err(Error::Batch { source, .. }) if matches!(*source, Error::NeedsSession(_)))
}

/// Asks for the number, in one of all ways.
async fn ask(conn: &Connection, way: usize) -> Result<()> {
    match way {
        0 => conn.query(LAST, &[]).await.map(drop),
        1 => conn.batch_execute("SELECT 1; SELECT currval('public.drawn_id_seq')").await,
        2 => conn.batch(&[("SELECT 1", &[]), (LAST, &[])]).await.map(drop),
        3 => match conn.query_raw(LAST, &[]).await {
            Ok(rows) => rows.try_collect::<Vec<_>>().await.map(drop),
            Err(err) => Err(err),
        },
        _ => conn.query_opt("SELECT lastval(), $1::int", &[&1_i32]).await.map(drop),
    }
}

#[tokio::test]
async fn nobody_learns_a_number_that_another_has_drawn() {
    let Some(world) = world().await else { return };
    let db = world.pool().await;
    for way in 0..5 {
        let conn = db.connection();
        let tx = conn.transaction().await.expect("a transaction");
        assert!(is_refused(ask(&conn, way).await), "way {way}, first");
        tx.query("SELECT 1", &[]).await.expect("an answer");
        tx.batch_execute("SET LOCAL work_mem = '1MB'; SELECT pg_advisory_xact_lock(1)")
            .await
            .expect("a lock");
        assert!(is_refused(ask(&conn, way).await), "way {way}, after a read");
        tx.execute("INSERT INTO public.drawn DEFAULT VALUES", &[]).await.expect("a row");
        ask(&conn, way).await.expect("its own");
        let own: i32 = tx.query_one_scalar("SELECT max(id) FROM public.drawn", &[]).await.expect("a number");
        let last: i64 = tx.query_one_scalar(LAST, &[]).await.expect("its own");
        assert_eq!(last, i64::from(own));
        tx.commit().await.expect("a commit");
        // The next transaction has drawn none, be it after one that was committed or one of which nothing was sent.
        let tx = conn.transaction().await.expect("a transaction");
        assert!(is_refused(ask(&conn, way).await), "way {way}, in the next transaction");
        drop(tx);
        let tx = conn.transaction().await.expect("a transaction");
        assert!(is_refused(ask(&conn, way).await), "way {way}, after a rollback");
        let drawn: i64 =
            tx.query_one_scalar("SELECT nextval('public.drawn_id_seq')", &[]).await.expect("a number");
        assert_eq!(tx.query_one_scalar::<i64>(LAST, &[]).await.expect("its own"), drawn);
        tx.rollback().await.expect("a rollback");
        let tx = conn.transaction().await.expect("a transaction");
        let both = "INSERT INTO public.drawn DEFAULT VALUES; SELECT lastval()";
        tx.batch_execute(both).await.expect("drawn before, in the same text");
        tx.rollback().await.expect("a rollback");
    }
    db.close().await;
}

/// By SQL and as a setting of the request. With a seed of another the numbers could be foretold.
#[tokio::test]
async fn nobody_sets_the_seed_of_another() {
    let Some(world) = world().await else { return };
    let db = world.pool().await;
    let conn = db.connection();
    let tx = conn.transaction().await.expect("a transaction");
    for sql in [
        "SET LOCAL seed = 0.5",
        "SET LOCAL \"seed\" TO 0.5",
        "SELECT set_config('seed', '0.5', true)",
        "SELECT pg_catalog.set_config('SEED', '0.5', true)",
        "SELECT setseed(0.5)",
    ] {
        assert!(is_refused(tx.execute(sql, &[]).await), "{sql}");
        assert!(is_refused(tx.batch_execute(sql).await), "{sql}");
    }
    tx.commit().await.expect("a commit");
    for name in ["seed", "Seed"] {
        let conn = db.connection();
        conn.set_config(name, "0.5").expect("a name");
        assert!(is_refused(conn.query("SELECT 1", &[]).await), "{name}");
        assert!(is_refused(conn.execute("INSERT INTO public.plain VALUES (1)", &[]).await), "{name}");
        let tx = conn.transaction().await.expect("a transaction");
        assert!(is_refused(tx.execute("INSERT INTO public.plain VALUES (1)", &[]).await), "{name}");
        assert!(tx.commit().await.is_err(), "{name}");
    }
    let written = db.query_one_scalar::<i64>("SELECT count(*) FROM public.plain", &[]).await;
    assert_eq!(written.expect("a count"), 0);
    let random = world.on_each("SELECT random()::text").await;
    let seeded = world.on_each("SELECT setseed(0.5); SELECT random()::text").await;
    assert!(seeded.iter().all(|one| *one == seeded[0]), "{seeded:?}");
    assert!(random.iter().all(|one| *one != seeded[0]), "{random:?}");
    db.close().await;
}
