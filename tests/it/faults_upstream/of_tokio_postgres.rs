//! Faults of tokio-postgres.

use std::error::Error;
use std::pin::pin;
use std::time::{Duration, Instant};

use actix_pg::testing::Postgres;
use actix_pg::tokio_postgres::config::SslMode;
use actix_pg::tokio_postgres::error::SqlState;

use actix_pg::tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use actix_pg::tokio_postgres::{self, Client, Config, NoTls, SimpleQueryMessage};
use actix_web::web::{Bytes, BytesMut};
use futures_util::future::poll_immediate;
use futures_util::{FutureExt, TryStreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::assert_still_there;
use test_support::{Observer, PATIENCE, Proxy, database, log, soon};

/// A session of the driver's own, driven on this runtime.
async fn connect(dsn: &str) -> (Client, JoinHandle<Result<(), tokio_postgres::Error>>) {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await.expect("a session");
    (client, tokio::spawn(connection))
}

/// The first column of the first row.
fn first(messages: Vec<SimpleQueryMessage>) -> Option<String> {
    messages.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

async fn answer(client: &Client, sql: &str) -> Option<String> {
    first(client.simple_query(sql).await.expect(sql))
}

/// `copy_in` ends its messages with a Sync and its data with another one. Where the server refuses the copy before it reads data,
/// it answers both, and the second answer is taken for that of the next statement.
#[tokio::test]
async fn a_refused_copy_still_leaves_the_driver_one_answer_behind() {
    let database = database().await;
    for copy in ["COPY nowhere FROM STDIN", "COPY view FROM STDIN"] {
        let (client, _connection) = connect(database.dsn()).await;
        client.batch_execute("CREATE OR REPLACE VIEW view AS SELECT 1 AS id").await.expect("a view");
        let statement = client.prepare(copy).await.expect("a statement");
        if let Ok(sink) = client.copy_in::<_, Bytes>(&statement).await {
            pin!(sink).finish().await.expect_err("no data goes into a view");
        }
        let answered = soon("an answer", client.simple_query("SELECT 'mine'")).await;
        let is_mine = answered.is_ok_and(|messages| first(messages).as_deref() == Some("mine"));
        assert_still_there!(
            !is_mine,
            "`LeaseState::doubt`, `give_up` in `copy_in`, and the random number that src/session/quiet.rs asks for"
        );
    }
}

/// The number of rows comes before the commit, whose error is lost.
#[tokio::test]
async fn a_copy_still_ends_before_it_is_committed() {
    let database = database().await;
    let (client, _connection) = connect(database.dsn()).await;
    let table = "CREATE TABLE later (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)";
    client.batch_execute(table).await.expect("a table");

    let sink = client.copy_in("COPY later FROM STDIN").await.expect("a copy");
    let mut sink = pin!(sink);
    futures_util::SinkExt::send(&mut sink, Bytes::from_static(b"1\n1\n")).await.expect("data");
    let copied = sink.as_mut().finish().await;
    let kept = answer(&client, "SELECT count(*) FROM later").await;
    assert_eq!(kept.as_deref(), Some("0"));
    assert_still_there!(copied.is_ok(), "`CopyIn::poll_finish` reads on after the number of rows");

    let copy = "COPY (INSERT INTO later VALUES (1), (1) RETURNING id) TO STDOUT";
    let copied = client.copy_out(copy).await.expect("a copy").try_collect::<Vec<_>>().await;
    let kept = answer(&client, "SELECT count(*) FROM later").await;
    assert_eq!(kept.as_deref(), Some("0"));
    assert_still_there!(copied.is_ok(), "`CopyOut` reads on after the data");
}

/// There is no other way to tell these errors: a text that has changed would go unnoticed by `Error::is_out_of_step` and by copies.
#[tokio::test]
async fn errors_of_a_driver_out_of_step_are_still_known_by_these_texts() {
    let database = database().await;
    let (client, _connection) = connect(database.dsn()).await;
    let err = client.copy_out("SELECT 1").await.map(drop).expect_err("no copy");
    assert_eq!(err.to_string(), "unexpected message from server");

    let (client, connection, mut server) = with_server_of_our_own().await;
    tokio::spawn(connection);
    let asked = async { client.simple_query("").await.expect_err("no message") };
    let answers = async {
        assert_eq!(server.read_u8().await.expect("a query"), b'Q');
        // A CommandComplete without the end of its text.
        server.write_all(b"C\0\0\0\x05xZ\0\0\0\x05I").await.expect("an answer");
    };
    let (err, ()) = tokio::join!(asked, answers);
    assert_eq!(err.to_string(), "error parsing response from server");
}

/// A client that is logged in at a server which says what the test says.
async fn with_server_of_our_own()
-> (Client, impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static, DuplexStream) {
    let (ours, mut server) = duplex(1024);
    let mut config = Config::new();
    config.user("user").ssl_mode(SslMode::Disable);
    let login = async {
        let length = server.read_i32().await.expect("a length");
        server.read_exact(&mut vec![0; length as usize - 4]).await.expect("a start-up message");
        server.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await.expect("a login");
    };
    let (connected, ()) = tokio::join!(config.connect_raw(ours, NoTls), login);
    let (client, connection) = connected.expect("a session");
    (client, connection, server)
}

/// The driver hangs up and goes. When the server has noticed, and there is room for another session, nobody knows.
#[tokio::test]
async fn a_session_is_still_taken_for_ended_while_its_backend_lives() {
    let database = database().await;
    let observer = Observer::of(&database).await;
    let proxy = Proxy::before(Postgres::shared().expect("a server").port()).await;
    let (client, connection) = connect(&proxy.dsn(database.dsn())).await;
    assert_eq!(observer.backends().await, 1);
    proxy.stall();
    drop(client);
    let ended = timeout(PATIENCE, connection).await;
    assert_eq!(observer.backends().await, 1);
    assert_still_there!(ended.is_ok(), "the shutdown of `Stream` (src/session/stream.rs)");
}

/// A cancel that has not been carried out hits the next statement.
#[tokio::test]
async fn a_cancel_request_is_still_over_before_the_server_has_read_it() {
    let (client, _connection, _server) = with_server_of_our_own().await;
    let (ours, _never_read) = duplex(1024);
    let cancelled = client.cancel_token().cancel_query_raw(ours, NoTls).now_or_never();
    assert_still_there!(cancelled.is_some(), "`Patient` (src/session/cancel.rs)");
}

#[tokio::test]
async fn a_statement_still_runs_on_when_its_future_is_dropped() {
    let database = database().await;
    let (client, _connection) = connect(database.dsn()).await;
    let before = Instant::now();
    assert!(poll_immediate(pin!(client.batch_execute("SELECT pg_sleep(0.5)"))).await.is_none());
    assert_eq!(answer(&client, "SELECT 'next'").await.as_deref(), Some("next"));
    assert_still_there!(before.elapsed() >= Duration::from_millis(400), "the cancel in `Lease::repair`");
}

#[tokio::test]
async fn a_statement_still_hangs_behind_rows_that_nobody_reads() {
    let database = database().await;
    let (client, _connection) = connect(database.dsn()).await;
    let no_params: [i32; 0] = [];
    let sql = "SELECT repeat('.', 1000) FROM generate_series(1, 100000)";
    let rows = client.query_raw(sql, no_params).await.expect("rows");
    let answered = timeout(Duration::from_millis(500), client.simple_query("SELECT 1")).await;
    assert_still_there!(
        answered.is_err(),
        "`LeaseState::check_quiet` refuses statements beside a row stream"
    );
    drop(rows);
    soon("an answer", answer(&client, "SELECT 1")).await.expect("a row");
}

/// The server rolls back, and says so in a tag that the driver does not pass on.
#[tokio::test]
async fn a_commit_of_a_failed_transaction_still_answers_well() {
    let database = database().await;
    let (mut client, _connection) = connect(database.dsn()).await;
    client.batch_execute("CREATE TABLE t (id int)").await.expect("a table");
    let tx = client.transaction().await.expect("a transaction");
    tx.batch_execute("INSERT INTO t VALUES (1)").await.expect("a row");
    tx.batch_execute("SELECT 1 / 0").await.expect_err("a division by zero");
    let committed = tx.commit().await;
    assert_eq!(answer(&client, "SELECT count(*) FROM t").await.as_deref(), Some("0"));
    assert_still_there!(committed.is_ok(), "the SAVEPOINT before COMMIT (src/lease/transaction.rs)");
}

/// The statements with which the driver looks types up are its own, and nobody else can have them prepared anew.
#[tokio::test]
async fn types_are_still_never_found_again_after_discard_all() {
    let database = database().await;
    let (client, _connection) = connect(database.dsn()).await;
    client
        .batch_execute("CREATE TYPE one AS ENUM ('a'); CREATE TYPE two AS ENUM ('a')")
        .await
        .expect("types");
    client.prepare("SELECT 'a'::one").await.expect("a statement");
    client.batch_execute("DISCARD ALL").await.expect("an answer");
    client.clear_type_cache();
    let gone = |prepared: Result<_, tokio_postgres::Error>| {
        prepared.is_err_and(|err| err.code() == Some(&SqlState::INVALID_SQL_STATEMENT_NAME))
    };
    let prepared = client.prepare("SELECT 'a'::two").await;
    assert_still_there!(gone(prepared), "`Session::retire` after statements were thrown away");
}

/// Managed servers hand such DSNs out.
#[test]
fn a_dsn_that_has_certificates_verified_is_still_refused() {
    for mode in ["verify-ca", "verify-full"] {
        let parsed = format!("postgres://host/database?sslmode={mode}").parse::<Config>();
        assert_still_there!(parsed.is_err(), "`sslmode` is read in src/config, not by the driver");
    }
}

#[tokio::test]
async fn a_notice_is_still_logged_on_as_many_lines_as_it_has() {
    let database = database().await;
    let (client, _connection) = connect(database.dsn()).await;
    let raise = r"DO $$ BEGIN RAISE NOTICE E'first 4713\nsecond line'; END $$";
    client.batch_execute(raise).await.expect("a notice");
    let lines = log::lines_with(&["INFO tokio_postgres", "first 4713"]);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_still_there!(lines[0].contains('\n'), "`notices::driven` polls the connection by itself");
}

/// The buffer that messages are written in is not emptied.
#[tokio::test]
async fn a_parameter_that_panics_still_leaves_half_a_message() {
    #[derive(Debug)]
    struct Panics;

    impl ToSql for Panics {
        fn to_sql(&self, _: &Type, _: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
            panic!("while the message is being written")
        }

        fn accepts(_: &Type) -> bool {
            true
        }

        to_sql_checked!();
    }

    let database = database().await;
    let (client, _connection) = connect(database.dsn()).await;
    let client = std::sync::Arc::new(client);
    let statement = client.prepare("SELECT $1::int").await.expect("a statement");
    let panicked = tokio::spawn({
        let client = client.clone();
        async move { client.query(&statement, &[&Panics]).await.map(drop) }
    });
    assert!(panicked.await.expect_err("a panic").is_panic());
    let answered = timeout(PATIENCE, client.query_typed("SELECT 1", &[])).await;
    assert_still_there!(
        !matches!(answered, Ok(Ok(_))),
        "a panic breaks the session in the drop of `SessionUse`"
    );
}
