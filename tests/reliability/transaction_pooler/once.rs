//! A statement that may have run is not run again.

use std::time::Duration;

use actix_pg::Error;
use futures_util::future::join_all;
use test_support::eventually;

use super::world::World;

const SCHEMA: &str = "
    CREATE TYPE mood AS ENUM ('glad', 'sad');
    CREATE TABLE public.moods (mood mood);
    GRANT ALL ON public.moods TO PUBLIC;";

/// The pooler cuts the connection under it, with the SQLSTATE that it has for nearly everything, and the server carries it out.
#[tokio::test]
async fn a_statement_that_the_pooler_gave_up_is_not_repeated() {
    let Some(mut world) = World::with(SCHEMA).await else { return };
    let db = world.pool().await;
    let used = (0..4).map(|_| async { db.connection().query("SELECT pg_sleep(0.05)", &[]).await });
    join_all(used).await.into_iter().for_each(|answer| drop(answer.expect("an answer")));
    world.bouncer.reload("query_timeout = 1");
    let insert = "INSERT INTO public.moods VALUES ('glad') RETURNING mood, pg_sleep(1.5)::text";
    let mut given_up = None;
    // The pooler reads its settings again when it comes to it.
    for _ in 0..3 {
        given_up = db.query_one(insert, &[]).await.err();
        if given_up.is_some() {
            break;
        }
        world.observer.connection().execute("TRUNCATE public.moods", &[]).await.expect("no rows");
    }
    assert!(
        matches!(given_up, Some(Error::Postgres(_) | Error::SessionLost | Error::OutcomeUnknown(_))),
        "{given_up:?}"
    );
    let observer = world.observer.connection();
    eventually("nothing runs any more", || async {
        let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO public.moods%' \
                       AND state <> 'idle' AND datname = current_database()";
        observer.query_one_scalar::<i64>(running, &[]).await.expect("a count") == 0
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let rows: i64 =
        observer.query_one_scalar("SELECT count(*) FROM public.moods", &[]).await.expect("a count");
    assert!(rows <= 1, "{rows} rows of one statement");
    world.bouncer.assert_alive();
    db.close().await;
}
