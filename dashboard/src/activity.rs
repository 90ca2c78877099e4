//! What the server says of our sessions, when somebody asks.

use std::time::Duration;

use actix_pg::tokio_postgres::Row;
use actix_pg::{Database, Error, Watch};
use actix_web::web::{self, Bytes};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::page::private;
use crate::sampler::Sampler;

/// Those of our role, database and application name: the ones of other instances too, which the server cannot tell apart.
const SQL: &str = "SELECT pid, state, wait_event_type, wait_event, pid = pg_backend_pid(), \
    extract(epoch FROM now() - backend_start)::float8, extract(epoch FROM now() - xact_start)::float8, \
    extract(epoch FROM now() - state_change)::float8, query \
    FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename = session_user \
    AND datname = current_database() AND application_name = current_setting('application_name') \
    ORDER BY backend_start, pid LIMIT 500";

/// How long an answer serves others who ask.
const FRESH: Duration = Duration::from_secs(1);

/// Bound on the query, with the wait for a session.
const PATIENCE: Duration = Duration::from_secs(10);

/// The latest answer. The sampler holds it.
#[derive(Default)]
pub(crate) struct Activity(Mutex<Option<(Instant, Bytes)>>);

/// A server process. Times are in seconds.
#[derive(Serialize)]
struct Backend {
    pid: i32,
    state: Option<String>,
    wait_event_type: Option<String>,
    wait_event: Option<String>,
    /// Whether this is the one that was asked.
    asked: bool,
    age: Option<f64>,
    transaction_age: Option<f64>,
    state_age: Option<f64>,
    /// The latest query, with `?` for every literal.
    query: Option<String>,
}

/// Asks the server. However many ask, that is one query a second.
pub(crate) async fn answer(sampler: web::Data<Sampler>) -> HttpResponse {
    let mut latest = sampler.activity.0.lock().await;
    let known = latest.as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, answer)| answer.clone());
    let answer = match known {
        Some(answer) => answer,
        None => match timeout(PATIENCE, ask(sampler.database())).await {
            Ok(Ok(answer)) => latest.insert((Instant::now(), answer)).1.clone(),
            Ok(Err(err)) => return private(HttpResponse::build(err.status_code())).finish(),
            Err(_) => return private(HttpResponse::GatewayTimeout()).finish(),
        },
    };
    private(HttpResponse::Ok()).content_type("application/json").body(answer)
}

async fn ask(db: &Database) -> Result<Bytes, Error> {
    let rows = db.connection().query(SQL, &[]).await?;
    let backends = rows.iter().map(backend).collect::<Result<Vec<_>, _>>()?;
    Ok(serde_json::to_vec(&backends).unwrap_or_default().into())
}

fn backend(row: &Row) -> Result<Backend, Error> {
    let query: Option<&str> = row.try_get(8)?;
    Ok(Backend {
        pid: row.try_get(0)?,
        state: row.try_get(1)?,
        wait_event_type: row.try_get(2)?,
        wait_event: row.try_get(3)?,
        asked: row.try_get(4)?,
        age: row.try_get(5)?,
        transaction_age: row.try_get(6)?,
        state_age: row.try_get(7)?,
        query: query.map(Watch::without_literals),
    })
}
