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

pub(crate) const SCHEMA: &str = "
    CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);
    INSERT INTO users SELECT id, 'user ' || id FROM generate_series(1, 10004) AS id;
    CREATE VIEW slow_users AS SELECT users.* FROM pg_sleep(0.01), users;
    ANALYZE users;
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
    /// No database.
    Plain,
}

impl Route {
    pub(crate) fn write_path(self, id: i64, path: &mut Vec<u8>) {
        let _ = match self {
            Self::User => io::Write::write_fmt(path, format_args!("/users/{id}")),
            Self::Five => io::Write::write_fmt(path, format_args!("/five/{id}")),
            Self::Slow => io::Write::write_fmt(path, format_args!("/slow/{id}")),
            Self::Plain => io::Write::write_all(path, b"/plain"),
        };
    }

    pub(crate) fn write_answer(self, id: i64, body: &mut Vec<u8>) {
        let user = |body: &mut Vec<u8>, id| {
            let _ = io::Write::write_fmt(body, format_args!(r#"{{"id":{id},"name":"user {id}"}}"#));
        };
        match self {
            Self::User | Self::Slow => user(body, id),
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
