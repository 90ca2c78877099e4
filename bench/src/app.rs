//! What every contender serves: the same routes, the same SQL, the same answers.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::{process, thread};

use actix_web::web::ServiceConfig;
use actix_web::{Responder, get, web};
use serde::Serialize;
use tokio_postgres::Row;

/// Sessions of each contender, whatever the number of its workers; `wire` alone has one per worker.
pub(crate) const SESSIONS: usize = 16;

/// The rows that are asked for have the ids from 1 to this.
pub(crate) const USERS: i64 = 10_000;

pub(crate) const USER: &str = "SELECT id, name FROM users WHERE id = $1";

/// 10 ms, hidden in a view, so that the text is as plain as that of a slow report.
pub(crate) const SLOW_USER: &str = "SELECT id, name FROM slow_users WHERE id = $1";

/// Read for the tenant of the request: without the setting there is no row.
pub(crate) const OWN_USER: &str = "SELECT id, name FROM own_users WHERE id = $1";

/// The setting that [`OWN_USER`] needs, for those that set it by hand.
pub(crate) const SET_TENANT: &str = "SELECT set_config('app.tenant', $1, false)";

/// What a transaction writes when it has read.
pub(crate) const VISIT: &str = "UPDATE visits SET visits = visits + 1 WHERE id = $1";

/// Reads, and leaves something on the session.
pub(crate) const DIRTY_USER: &str =
    "SELECT id, name FROM users WHERE id = $1 AND set_config('app.mark', 'left', false) = 'left'";

pub(crate) const SCHEMA: &str = "
    CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);
    INSERT INTO users SELECT id, 'user ' || id FROM generate_series(1, 10004) AS id;
    CREATE VIEW slow_users AS SELECT users.* FROM pg_sleep(0.01), users;
    CREATE VIEW own_users AS
        SELECT * FROM users WHERE id % 10 = nullif(current_setting('app.tenant', true), '')::bigint;
    CREATE TABLE visits (id bigint PRIMARY KEY, visits bigint NOT NULL) WITH (fillfactor = 50);
    INSERT INTO visits SELECT id, 0 FROM users;
    ANALYZE users, visits;
";

/// What is asked for, and the answer that is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// One SELECT by primary key.
    User,
    /// Five of them, one after the other.
    Five,
    /// One that takes 10 ms.
    Slow,
    /// One SELECT, with a setting of the request.
    Tenant,
    /// A transaction that reads, and then writes.
    Transaction,
    /// Mostly [`User`](Self::User), and one [`Slow`](Self::Slow) in a hundred.
    Mixed,
    /// One SELECT that leaves something on the session.
    Dirty,
    /// No database.
    Plain,
}

impl Route {
    pub(crate) fn write_path(self, id: i64, path: &mut Vec<u8>) {
        let _ = match self {
            Self::User => io::Write::write_fmt(path, format_args!("/users/{id}")),
            Self::Five => io::Write::write_fmt(path, format_args!("/five/{id}")),
            Self::Slow => io::Write::write_fmt(path, format_args!("/slow/{id}")),
            Self::Tenant => io::Write::write_fmt(path, format_args!("/tenants/{id}")),
            Self::Transaction => io::Write::write_fmt(path, format_args!("/visits/{id}")),
            Self::Mixed if id % 100 == 0 => return Self::Slow.write_path(id, path),
            Self::Mixed => return Self::User.write_path(id, path),
            Self::Dirty => io::Write::write_fmt(path, format_args!("/dirty/{id}")),
            Self::Plain => io::Write::write_all(path, b"/plain"),
        };
    }

    pub(crate) fn write_answer(self, id: i64, body: &mut Vec<u8>) {
        let user = |body: &mut Vec<u8>, id| {
            let _ = io::Write::write_fmt(body, format_args!(r#"{{"id":{id},"name":"user {id}"}}"#));
        };
        match self {
            Self::User | Self::Slow | Self::Tenant | Self::Transaction | Self::Mixed | Self::Dirty => {
                user(body, id);
            }
            Self::Plain => user(body, 0),
            Self::Five => {
                for (at, id) in five(id).enumerate() {
                    body.push(if at == 0 { b'[' } else { b',' });
                    user(body, id);
                }
                body.push(b']');
            }
        }
    }
}

/// The ids of [`Route::Five`].
pub(crate) fn five(first: i64) -> impl Iterator<Item = i64> {
    first..first + 5
}

/// The tenant whose row this is.
pub(crate) fn tenant(id: i64) -> String {
    (id % 10).to_string()
}

#[derive(Debug, Serialize)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) name: String,
}

impl From<Row> for User {
    fn from(row: Row) -> Self {
        Self { id: row.get(0), name: row.get(1) }
    }
}

/// The routes that need no database.
pub(crate) fn without_database(config: &mut ServiceConfig) {
    config.service(plain).service(worker);
}

#[get("/plain")]
async fn plain() -> impl Responder {
    web::Json(User { id: 0, name: "user 0".to_owned() })
}

/// Which worker a connection has landed on.
#[get("/worker")]
async fn worker() -> String {
    thread::current().name().unwrap_or_default().to_owned()
}

/// Tells the harness where the server listens, and ends the server when the harness has ended.
pub(crate) fn announce(addrs: &[SocketAddr]) {
    if let Some(addr) = addrs.first() {
        println!("{}", addr.port());
    }
    thread::spawn(|| {
        let _ = io::stdin().read(&mut [0]);
        process::exit(0);
    });
}
