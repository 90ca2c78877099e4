//! What the server says of our sessions, when somebody asks.

use std::time::Duration;

use actix_pg::tokio_postgres::Row;
use actix_pg::{Database, Error, Watch};
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::page::private;

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

/// The latest answer, or the status that stands for its failure. The sampler holds it.
#[derive(Default)]
pub(crate) struct Activity(Mutex<Option<(Instant, Result<Bytes, StatusCode>)>>);

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

impl Activity {
    /// Asks the server. However many ask, that is one query a second, and those who have waited for one that failed fail with it.
    pub(crate) async fn answer(&self, db: &Database) -> HttpResponse {
        let came = Instant::now();
        let mut latest = self.0.lock().await;
        let known = latest.as_ref().filter(|(at, answer)| match answer {
            Ok(_) => at.elapsed() < FRESH,
            Err(_) => *at >= came,
        });
        let known = known.map(|(_, answer)| answer.clone());
        let answer = match known {
            Some(answer) => answer,
            None => {
                let asked = timeout(PATIENCE, ask(db)).await;
                let answer = match asked {
                    Ok(answer) => answer.map_err(|err| err.status_code()),
                    Err(_) => Err(StatusCode::GATEWAY_TIMEOUT),
                };
                latest.insert((Instant::now(), answer)).1.clone()
            }
        };
        drop(latest);
        match answer {
            Ok(answer) => private(HttpResponse::Ok()).content_type("application/json").body(answer),
            Err(status) => private(HttpResponse::build(status)).finish(),
        }
    }
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
