//! A reader behind a pooler of its own, in front of a standby.

use std::sync::atomic::{AtomicU32, Ordering};

use actix_pg::{Config, Connection, ConnectionExt, Database, Error, Pooler, ReadConnection, Result};
use actix_web::{App, HttpRequest, test, web};
use futures_util::future::{join, join_all};
use test_support::{connected, eventually, sized};

use super::world::BACKENDS;
use crate::bouncer::Bouncer;
use crate::standbys::{IS_STANDBY, LATEST, Setup, WRITE};

/// A primary and a standby, with a pooler before each, and a database behind both.
struct Poolers {
    setup: Setup,
    before_standby: Bouncer,
    _before_primary: Bouncer,
    db: Database,
}

impl Poolers {
    async fn start() -> Option<Self> {
        let setup = Setup::with(1, |config| Config { reader: None, ..config }).await?;
        let before_primary = Bouncer::of_transactions(setup.cluster.primary().dsn(), BACKENDS).await?;
        let before_standby = Bouncer::of_transactions(setup.cluster.standby(0).dsn(), BACKENDS).await?;
        let config = Config {
            dsn: Some(before_primary.dsn_of(setup.database.name(), "disable")),
            reader: Some(before_standby.dsn_of(setup.database.name(), "disable")),
            pooler: Pooler::Transaction,
            ..Config::default()
        };
        let db = connected(sized(config, 10)).await;
        let poolers = Self { setup, before_standby, _before_primary: before_primary, db };
        poolers.until_standby_serves(true).await;
        Some(poolers)
    }

    async fn until_standby_serves(&self, wanted: bool) {
        eventually(&format!("a standby serves: {wanted}"), async || {
            self.db.reader().query_one_scalar(IS_STANDBY, &[]).await.ok() == Some(wanted)
        })
        .await;
    }
}

/// Settings are those of the request, on the standby as on the primary: 400 requests of ten tenants.
#[tokio::test]
async fn no_tenant_meets_another_on_a_standby() {
    let Some(poolers) = Poolers::start().await else { return };
    let (db, on_standby) = (&poolers.db, AtomicU32::new(0));
    let asks = |number: u32| {
        let on_standby = &on_standby;
        async move {
            let tenant = (number % 10).to_string();
            let sql = "SELECT pg_is_in_recovery(), current_setting('app.tenant', true)";
            for conn in [db.reader().connection(), db.connection()] {
                conn.set_config("app.tenant", &tenant)?;
                let (is_standby, met): (bool, String) = match number % 3 {
                    0 => conn.query_one_as(sql, &[]).await?,
                    1 => conn.transact(async |tx| tx.query_one_as(sql, &[]).await).await?,
                    _ => {
                        join(conn.query_one_as(sql, &[]), conn.query_one_as::<(bool, String)>(sql, &[]))
                            .await
                            .0?
                    }
                };
                assert_eq!(met, tenant);
                on_standby.fetch_add(is_standby.into(), Ordering::Relaxed);
            }
            let met: Option<String> =
                db.reader().query_one_scalar("SELECT current_setting('app.tenant', true)", &[]).await?;
            assert!(met.is_none_or(|met| met.is_empty()), "a request without a tenant");
            Ok::<_, Error>(())
        }
    };
    for answered in join_all((0..400).map(asks)).await {
        answered.expect("an answer");
    }
    assert_eq!(on_standby.into_inner(), 400, "each request has read once on the standby");
}

/// P31: a request sees what it has written itself; a write on the standby is refused; the primary serves while the standby's pooler is gone.
#[actix_web::test]
async fn a_reader_behind_a_pooler_is_a_reader() {
    async fn writes(conn: Connection, read: ReadConnection) -> Result<String> {
        let before: bool = read.query_one_scalar(IS_STANDBY, &[]).await?;
        let written: i64 = conn.query_one_scalar(WRITE, &[]).await?;
        let read_back: i64 = read.query_one_scalar(LATEST, &[]).await?;
        Ok(format!("{before} {}", written == read_back))
    }
    async fn writes_on_standby(req: HttpRequest) -> Result<String> {
        let refused = req.read_connection()?.execute(WRITE, &[]).await.expect_err("a standby");
        Ok(refused.code().map(|code| code.code().to_owned()).unwrap_or_default())
    }
    let Some(mut poolers) = Poolers::start().await else { return };
    let app = App::new()
        .wrap(poolers.db.middleware())
        .route("/", web::post().to(writes))
        .route("/wrong", web::post().to(writes_on_standby));
    let app = test::init_service(app).await;
    poolers.setup.tell_standby("SELECT pg_wal_replay_pause()").await;
    for (path, said) in [("/", "true true"), ("/wrong", "25006"), ("/", "true true")] {
        let res = test::call_and_read_body(&app, test::TestRequest::post().uri(path).to_request()).await;
        assert_eq!(res, said);
    }
    poolers.before_standby.assert_alive();
    drop(poolers.before_standby);
    let primary = async || poolers.db.reader().query_one_scalar(IS_STANDBY, &[]).await.ok() == Some(false);
    eventually("the primary serves", primary).await;
}
