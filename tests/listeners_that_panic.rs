//! A subscriber and a recorder of the application's that panic cost a session or an answer nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix_pg::testing::Postgres;
use actix_pg::{Config, Connection, Database, Reset, Result};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{App, HttpResponse, web};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tokio::time::timeout;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};

static ARMED: AtomicBool = AtomicBool::new(false);
static PANICS: AtomicU64 = AtomicU64::new(0);

/// The question whether somebody listens.
static ENABLED: AtomicBool = AtomicBool::new(false);

fn panic_if_armed_for(armed: &AtomicBool) {
    if armed.load(Ordering::Relaxed) {
        PANICS.fetch_add(1, Ordering::Relaxed);
        panic!("a listener that panics");
    }
}

fn panic_if_armed() {
    panic_if_armed_for(&ARMED);
}

/// A subscriber, and a recorder.
struct Panics;

impl Subscriber for Panics {
    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> tracing::subscriber::Interest {
        tracing::subscriber::Interest::sometimes()
    }

    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        if metadata.target().starts_with("actix_pg") {
            panic_if_armed_for(&ENABLED);
        }
        metadata.target().starts_with("actix_pg") && *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        panic_if_armed();
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {
        panic_if_armed();
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        // The line of a failed request is the application's own to send.
        if event.metadata().target() == "actix_pg::telemetry" {
            panic_if_armed();
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}

    fn try_close(&self, _: Id) -> bool {
        panic_if_armed();
        true
    }
}

impl CounterFn for Panics {
    fn increment(&self, _: u64) {
        panic_if_armed();
    }

    fn absolute(&self, _: u64) {
        panic_if_armed();
    }
}

impl GaugeFn for Panics {
    fn increment(&self, _: f64) {
        panic_if_armed();
    }

    fn decrement(&self, _: f64) {
        panic_if_armed();
    }

    fn set(&self, _: f64) {
        panic_if_armed();
    }
}

impl HistogramFn for Panics {
    fn record(&self, _: f64) {
        panic_if_armed();
    }
}

impl Recorder for Panics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(Panics))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::new(Panics))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        panic_if_armed();
        Histogram::from_arc(Arc::new(Panics))
    }
}

async fn handler(conn: Connection) -> Result<HttpResponse> {
    conn.set_config("app.tenant", "ada")?;
    conn.query("SELECT 1", &[]).await?;
    let tx = conn.transaction().await?;
    tx.execute("SELECT 1 FROM nowhere", &[]).await.expect_err("no such table");
    tx.rollback().await?;
    Ok(HttpResponse::Ok().finish())
}

#[actix_web::test]
async fn listeners_that_panic_cost_nothing() {
    tracing::subscriber::set_global_default(Panics).expect("the only subscriber");
    metrics::set_global_recorder(Panics).expect("the only recorder");
    let database = Postgres::shared().expect("a server").database().await.expect("a database");
    let config = Config {
        pool_min_size: 1,
        pool_max_size: 1,
        reset: Reset::Always,
        slow_statement: Some(Duration::from_nanos(1)),
        long_hold: Some(Duration::from_millis(1)),
        ..database.config()
    };
    let db = Database::connect(config).await.expect("a connected database");
    let app = init_service(App::new().wrap(db.middleware()).route("/", web::get().to(handler))).await;
    let pid = async || -> i32 {
        db.connection().query_one_scalar("SELECT pg_backend_pid()", &[]).await.expect("a session")
    };
    let first = pid().await;

    std::panic::set_hook(Box::new(|_| {}));
    ARMED.store(true, Ordering::Relaxed);
    for _ in 0..20 {
        let res = call_service(&app, TestRequest::get().to_request()).await;
        assert_eq!(res.status(), 200);
    }
    // A panic of the handler's own, during which the spans end.
    let abandoned = std::panic::AssertUnwindSafe(async {
        let conn = db.connection();
        let tx = conn.transaction().await.expect("a transaction");
        tx.execute("SELECT 1", &[]).await.expect("a row");
        panic!("the handler's own");
    });
    assert!(futures_util::FutureExt::catch_unwind(abandoned).await.is_err());
    let tenant: Option<String> = db
        .connection()
        .query_one_scalar("SELECT nullif(current_setting('app.tenant', true), '')", &[])
        .await
        .expect("a clean session");
    let kept = pid().await;
    ENABLED.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let res = call_service(&app, TestRequest::get().to_request()).await;
        assert_eq!(res.status(), 200);
    }
    let kept_too = pid().await;
    ENABLED.store(false, Ordering::Relaxed);
    // A session ends, is reported, and the next one is opened.
    let killed = db.connection().query("SELECT pg_terminate_backend(pg_backend_pid())", &[]).await;
    let reopened = timeout(Duration::from_secs(10), db.connection().query("SELECT 1", &[])).await;
    let next = pid().await;
    ARMED.store(false, Ordering::Relaxed);
    let _ = std::panic::take_hook();
    assert_eq!((tenant, kept, kept_too), (None, first, first), "the session was lost");
    assert!(killed.is_err() && reopened.expect("in time").is_ok() && next != first);
    let counters = db.status().counters;
    assert_eq!((counters.opened, counters.ended.connection_lost), (2, 1), "{counters:?}");
    assert!(PANICS.load(Ordering::Relaxed) > 100, "{PANICS:?}");
    db.close().await;
}
