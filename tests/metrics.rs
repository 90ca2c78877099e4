//! What a Prometheus exporter serves of the metrics, name by name.

use std::time::{Duration, Instant};

use actix_pg::testing::Postgres;
use actix_pg::{Config, DURATION_BUCKETS, Database};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

/// The value of a series: the name, and pieces that its labels have, or with a `!` have not.
fn value(rendered: &str, name: &str, labels: &[&str]) -> Option<f64> {
    let line = rendered.lines().find(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| match label.strip_prefix('!') {
                Some(absent) => !line.contains(absent),
                None => line.contains(label),
            })
    })?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// P24: the names, units and labels are those of OpenTelemetry's conventions.
#[actix_web::test]
async fn an_exporter_serves_opentelemetrys_names() {
    let began = Instant::now();
    let exporter = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("duration".into()), &DURATION_BUCKETS)
        .expect("buckets")
        .install_recorder()
        .expect("the only recorder");
    let database = Postgres::shared().expect("a server").database().await.expect("a database");
    let config = Config {
        pool_min_size: 1,
        pool_max_size: 2,
        acquire_timeout: Duration::from_millis(50),
        ..database.config()
    };
    let db = Database::connect(config).await.expect("a connected database");
    let conn = db.connection();
    conn.batch_execute("CREATE TABLE users (id bigint PRIMARY KEY)").await.expect("a table");
    for id in 0..3_i64 {
        conn.execute("INSERT INTO users VALUES ($1)", &[&id]).await.expect("a row");
    }
    conn.execute("INSERT INTO users VALUES ($1)", &[&0_i64]).await.expect_err("a duplicate");
    let other = db.connection();
    other.query("SELECT id FROM users", &[]).await.expect("rows");
    db.connection().query("SELECT 1", &[]).await.expect_err("a full pool");

    // The gauges are set once a second.
    let rendered = loop {
        let rendered = exporter.render();
        let state = "db_client_connection_state=\"used\"";
        if value(&rendered, "db_client_connection_count", &[state]) == Some(2.0) {
            break rendered;
        }
        actix_web::rt::time::sleep(Duration::from_millis(20)).await;
    };
    let pool = "db_client_connection_pool_name=\"";
    let insert = "db_query_summary=\"INSERT users\"";
    for (name, labels, expected) in [
        (
            "db_client_operation_duration_count",
            &[insert, "!error_type", "db_system_name=\"postgresql\"", "db_namespace=\""][..],
            3.0,
        ),
        (
            "db_client_operation_duration_count",
            &[insert, "error_type=\"23505\"", "db_response_status_code=\"23505\""],
            1.0,
        ),
        ("db_client_operation_duration_count", &["db_query_summary=\"SELECT users\""], 1.0),
        ("db_client_connection_count", &[pool, "db_client_connection_state=\"idle\""], 0.0),
        ("db_client_connection_max", &[pool], 2.0),
        ("db_client_connection_idle_max", &[pool], 2.0),
        ("db_client_connection_idle_min", &[pool], 1.0),
        ("db_client_connection_pending_requests", &[pool], 0.0),
        ("db_client_connection_timeouts", &[pool], 1.0),
        ("db_client_connection_create_time_count", &[pool], 2.0),
        ("db_client_connection_wait_time_count", &[pool], 2.0),
        ("db_client_connection_use_time_count", &[pool], 0.0),
        ("actix_pg_sessions_ended", &[pool, "reason=\"reset_failed\""], 0.0),
        ("actix_pg_resets", &[pool], 0.0),
        ("actix_pg_cancels", &[pool], 0.0),
        ("actix_pg_transactions_retries", &[pool], 0.0),
        ("actix_pg_plans_renewed", &[pool], 0.0),
        ("actix_pg_reads_shared", &[pool], 0.0),
        ("actix_pg_reads_asked_again", &[pool], 0.0),
    ] {
        assert_eq!(value(&rendered, name, labels), Some(expected), "{name} {labels:?}\n{rendered}");
    }
    // The boundaries that the conventions advise, and in seconds.
    assert!(value(&rendered, "db_client_operation_duration_bucket", &[insert, "le=\"0.005\""]).is_some());

    // Whatever SQL comes, the number of series is bounded.
    conn.release().expect("nothing runs");
    for table in 0..500 {
        let sql = format!("SELECT 1 FROM t{table}");
        conn.query(&sql, &[]).await.expect_err("no such table");
    }
    let rendered = exporter.render();
    let summaries: std::collections::BTreeSet<_> =
        rendered.split("db_query_summary=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(summaries.len() <= 201 && summaries.contains("_OTHER"), "{}", summaries.len());
    assert!(!rendered.contains("postgres://"), "a DSN in a label");
    for code in 0..100 {
        let sql = format!("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'XX{code:03}'; END $$");
        conn.batch_execute(&sql).await.expect_err("an error of its own");
    }
    let rendered = exporter.render();
    let kinds = rendered.lines().filter(|line| {
        let parts = ["duration_count", "summary=\"_OTHER\"", "error_type"];
        parts.iter().all(|part| line.contains(part))
    });
    assert_eq!(kinds.count(), 17, "16 and the rest");

    // Another pool of the same database is not taken for the first.
    let config = Config { pool_min_size: 3, pool_max_size: 7, ..database.config() };
    let second = Database::connect(config).await.expect("a second pool");
    let count = |pools: &str| {
        let rendered = exporter.render();
        let name = format!("pool_name=\"{pools}\"");
        ["used", "idle"].map(|state| {
            value(&rendered, "db_client_connection_count", &[&name, &format!("state=\"{state}\"")])
        })
    };
    let name =
        rendered.split(pool).nth(1).and_then(|rest| rest.split('"').next()).expect("a name").to_owned();
    while count(&format!("{name}#2")) != [Some(0.0), Some(3.0)] || count(&name) != [Some(2.0), Some(0.0)] {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", exporter.render());
        actix_web::rt::time::sleep(Duration::from_millis(20)).await;
    }
    // A pool that is gone has no sessions, also where nobody has closed it.
    drop(second);
    while count(&format!("{name}#2")) != [Some(0.0), Some(0.0)] {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", exporter.render());
        actix_web::rt::time::sleep(Duration::from_millis(20)).await;
    }
    let gone = format!("pool_name=\"{name}#2\"");
    for gauge in ["max", "idle_max", "idle_min", "pending_requests"] {
        let metric = format!("db_client_connection_{gauge}");
        assert_eq!(value(&exporter.render(), &metric, &[&gone]), Some(0.0), "{gauge}");
    }
    drop((conn, other));
    db.close().await;
}
