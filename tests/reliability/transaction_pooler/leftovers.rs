//! What a request does is gone from the server connection when its transaction has ended.

use std::time::Duration;

use actix_pg::{Connection, Error};
use futures_util::future::join_all;
use test_support::all_returned;
use tokio::time::timeout;

use super::world::World;
use crate::common::{abandon, rng, seed, sqlstate, times};

/// Functions whose body is hidden from a reader of SQL.
const HIDDEN: &str = "
    CREATE TYPE mood AS ENUM ('glad', 'sad');
    CREATE TABLE public.things (id serial PRIMARY KEY, mood mood DEFAULT 'glad');
    CREATE SEQUENCE public.numbers;
    GRANT ALL ON public.things, public.numbers, public.things_id_seq TO PUBLIC;
    CREATE FUNCTION public.mark(value text) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM set_config('app.tenant', value, false);
        PERFORM set_config('work_mem', '123kB', false);
        PERFORM pg_advisory_lock(4711);
        EXECUTE 'LISTEN jobs';
        EXECUTE 'CREATE TEMP TABLE IF NOT EXISTS cart (id int)';
        EXECUTE 'PREPARE hidden AS SELECT 1';
        EXECUTE 'DECLARE hidden CURSOR WITH HOLD FOR SELECT 1';
        RETURN value;
    END $$;";

/// How a request can leave something on its server connection.
async fn mark(conn: &Connection, way: u32) -> Result<(), Error> {
    let hidden = "SELECT public.mark('left')";
    match way {
        0 => conn.query(hidden, &[]).await.map(drop),
        1 => conn.query_one_scalar::<String>("SELECT public.mark($1)", &[&"left"]).await.map(drop),
        2 => conn.execute(hidden, &[]).await.map(drop),
        3 => conn.batch_execute(hidden).await,
        4 => conn.batch_execute("DO $$ BEGIN PERFORM public.mark('left'); END $$").await,
        5 => conn.execute_many("SELECT public.mark($1)", [["left"]]).await.map(drop),
        6 => conn.batch(&[(hidden, &[]), ("SELECT 1", &[])]).await.map(drop),
        7 => {
            let tx = conn.transaction().await?;
            tx.execute(hidden, &[]).await?;
            tx.batch_execute("CREATE TEMP TABLE basket (id int); SET LOCAL work_mem = '234kB'").await?;
            tx.commit().await
        }
        8 => {
            let tx = conn.transaction().await?;
            tx.execute(hidden, &[]).await?;
            tx.rollback().await
        }
        9 => {
            let tx = conn.transaction().await?;
            tx.execute(hidden, &[]).await?;
            drop(tx);
            Ok(())
        }
        10 => {
            conn.set_config("app.tenant", "7")?;
            conn.set_config("search_path", "pg_catalog")?;
            conn.execute("INSERT INTO public.things DEFAULT VALUES", &[]).await.map(drop)
        }
        11 => {
            conn.set_config("app.tenant", "7")?;
            conn.set_config("role", "nobody_at_all")?;
            assert!(matches!(conn.query("SELECT 1", &[]).await, Err(Error::Setting(_))));
            Ok(())
        }
        12 => {
            conn.query("SELECT nextval('public.numbers')", &[]).await?;
            conn.query("SELECT id, mood FROM public.things", &[]).await.map(drop)
        }
        13 => {
            let refused = conn.query("SELECT public.mark('left'), 1 / $1::int", &[&0]).await;
            assert_eq!(sqlstate(&refused.unwrap_err()), "22012");
            Ok(())
        }
        14 => {
            let sql = "SELECT public.mark('left'), pg_sleep(60)";
            assert!(timeout(Duration::from_millis(30), conn.execute(sql, &[])).await.is_err());
            Ok(())
        }
        _ => {
            // A text that nobody has prepared.
            let sql =
                format!("SELECT mood AS m{}, public.mark('left') FROM public.things", rand::random::<u32>());
            let _ = timeout(Duration::from_micros(rand::random_range(0..4_000)), conn.query(&sql, &[])).await;
            Ok(())
        }
    }
}

const WAYS: u32 = 16;

#[tokio::test]
async fn nothing_is_left_on_a_server_connection() {
    let Some(mut world) = World::with(HIDDEN).await else { return };
    let fresh = world.left().await;
    let db = world.pool().await;
    for way in 0..WAYS {
        let done = join_all((0..4).map(|_| async { mark(&db.connection(), way).await })).await;
        assert!(done.iter().all(Result::is_ok), "way {way}: {done:?}");
        all_returned(&db).await;
        for left in world.left().await {
            let pristine =
                |fresh: &String| left == *fresh || left == fresh.replace("custom NULL", "custom ''");
            assert!(fresh.iter().any(pristine), "way {way}: {left}, was {fresh:?}");
        }
    }
    world.bouncer.assert_alive();
    db.close().await;
}

/// Whatever is abandoned, at whatever moment, the next one neither meets it nor fails by it.
#[tokio::test]
async fn what_is_abandoned_leaves_no_name_and_no_setting() {
    let Some(mut world) = World::with(HIDDEN).await else { return };
    let fresh = world.left().await;
    let db = world.pool().await;
    let seed = seed("what_is_abandoned_leaves_no_name_and_no_setting");
    let streams = (0..8_u64).map(|stream| {
        let db = &db;
        async move {
            let mut rng = rng(seed, stream);
            for round in 0..times(40, 1_000) {
                let conn = db.connection();
                conn.set_config("app.tenant", &stream.to_string()).expect("a setting");
                let sql = format!("SELECT id, mood, {round} + {stream} FROM public.things WHERE id > $1");
                let _ = abandon(conn.query(&sql, &[&0]), &mut rng).await;
                drop(conn);
                let conn = db.connection();
                conn.set_config("app.tenant", &stream.to_string()).expect("a setting");
                let sql = "SELECT current_setting('app.tenant'), mood::text FROM public.things LIMIT 1";
                let met = conn.query_opt_as::<(String, String)>(sql, &[]).await.expect("an answer");
                assert!(met.is_none_or(|(tenant, _)| tenant == stream.to_string()));
                let id: i32 = conn
                    .query_one_scalar("INSERT INTO public.things (mood) VALUES ('sad') RETURNING id", &[])
                    .await
                    .expect("a row");
                assert!(id > 0);
            }
        }
    });
    join_all(streams).await;
    all_returned(&db).await;
    for left in world.left().await {
        let pristine = |fresh: &String| left == *fresh || left == fresh.replace("custom NULL", "custom ''");
        assert!(fresh.iter().any(pristine), "{left}, was {fresh:?}");
    }
    world.bouncer.assert_alive();
    db.close().await;
}
