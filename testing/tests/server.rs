//! The throwaway server: it starts, it is fast to make databases on, and nothing of it stays
//! behind.
#![cfg(unix)]

mod client;

use std::env;
use std::error::Error as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use actix_pg_testing::{Error, Postgres, TestDatabase};
use client::{connect, value};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// Says to `a_process_of_its_own` that it is the child, and what to do.
const CHILD: &str = "ACTIX_PG_TEST_CHILD";

#[tokio::test]
async fn a_server_starts_and_answers() -> TestResult {
    let start = Instant::now();
    let postgres = Postgres::builder().start()?;
    println!("started in {:?}", start.elapsed());
    let client = connect(postgres.dsn()).await?;
    assert_eq!(value(&client, "SHOW fsync").await?, "off");
    assert_eq!(value(&client, "SELECT current_user").await?, "postgres");
    assert_eq!(value(&client, "SELECT inet_server_port()::text").await?, postgres.port().to_string());
    let socket = format!("host={} port={} user=postgres", postgres.socket_dir()?.display(), postgres.port());
    connect(&socket).await?;
    Ok(())
}

#[test]
fn a_dropped_server_is_gone_when_the_drop_is_done() -> TestResult {
    let postgres = Postgres::builder().start()?;
    let traces = Traces::of(&postgres)?;
    assert!(traces.any());
    drop(postgres);
    assert!(!traces.any());
    Ok(())
}

#[test]
fn several_servers_start_at_once() {
    let servers: Vec<_> = (0..4).map(|_| thread::spawn(|| Postgres::builder().start().unwrap())).collect();
    let servers: Vec<Postgres> = servers.into_iter().map(|server| server.join().unwrap()).collect();
    let mut ports: Vec<u16> = servers.iter().map(Postgres::port).collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 4);
    for server in &servers {
        TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    }
}

#[tokio::test]
async fn fresh_databases_are_apart_and_made_in_milliseconds() -> TestResult {
    let postgres = Postgres::shared()?;
    let first = postgres.database().await?;
    connect(first.dsn()).await?.batch_execute("CREATE TABLE mine ()").await?;
    let start = Instant::now();
    let mut databases = Vec::new();
    for _ in 0..10 {
        databases.push(postgres.database().await?);
    }
    println!("fresh databases in {:?} each", start.elapsed() / 10);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let start = Instant::now();
    databases.push(postgres.database().await?);
    println!("fresh database, nobody else asking, in {:?}", start.elapsed());
    for database in &databases {
        let client = connect(database.dsn()).await?;
        assert_eq!(value(&client, "SELECT current_database()").await?, database.name());
        assert_eq!(value(&client, "SELECT count(*)::text FROM pg_class WHERE relname = 'mine'").await?, "0");
    }
    Ok(())
}

#[tokio::test]
async fn a_schema_is_run_once_and_copied() -> TestResult {
    const SCHEMA: &str = "CREATE TABLE runs (id bigint); INSERT INTO runs VALUES (1)";
    let postgres = Postgres::shared()?;
    let first = postgres.database_with(SCHEMA).await?;
    connect(first.dsn()).await?.batch_execute("INSERT INTO runs VALUES (2)").await?;
    let start = Instant::now();
    let second = postgres.database_with(SCHEMA).await?;
    println!("database with a schema in {:?}", start.elapsed());
    assert_eq!(rows(&first).await?, "2");
    assert_eq!(rows(&second).await?, "1");
    assert_eq!(rows(&postgres.database_from(&first).await?).await?, "2");
    Ok(())
}

#[tokio::test]
async fn a_schema_that_fails_says_so_and_leaves_nothing() -> TestResult {
    let postgres = Postgres::builder().start()?;
    let err = postgres.database_with("CREATE TABLE broken (id nonsense)").await.unwrap_err();
    assert_eq!(err.to_string(), "cannot run the schema of a test database");
    assert!(err.source().unwrap().source().unwrap().to_string().contains("nonsense"));
    let client = connect(postgres.dsn()).await?;
    assert_eq!(value(&client, "SELECT count(*)::text FROM pg_database WHERE datname ~ 'actix'").await?, "0");
    Ok(())
}

#[tokio::test]
async fn a_dropped_database_goes_though_someone_is_connected() -> TestResult {
    let postgres = Postgres::shared()?;
    let database = postgres.database().await?;
    let (name, mine) = (database.name().to_owned(), connect(database.dsn()).await?);
    drop(database);
    let observer = connect(postgres.dsn()).await?;
    let query = format!("SELECT count(*)::text FROM pg_database WHERE datname = '{name}'");
    while value(&observer, &query).await? != "0" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(mine.batch_execute("SELECT 1").await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_stopped_server_refuses_and_comes_back_with_its_data() -> TestResult {
    let postgres = Postgres::builder().start()?;
    let database =
        postgres.database_with("CREATE TABLE runs (id bigint); INSERT INTO runs VALUES (1)").await?;
    for stop in [Postgres::stop, Postgres::crash] {
        stop(&postgres)?;
        stop(&postgres)?;
        let refused = TcpStream::connect(("127.0.0.1", postgres.port())).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        postgres.start_again()?;
        postgres.start_again()?;
        assert_eq!(rows(&database).await?, "1");
        postgres.database().await?;
    }
    let traces = Traces::of(&postgres)?;
    postgres.stop()?;
    drop(postgres);
    assert!(!traces.any());
    Ok(())
}

#[tokio::test]
async fn settings_files_and_who_may_connect_are_the_callers() -> TestResult {
    let postgres = Postgres::builder()
        .setting("max_connections", "17")
        .setting("cluster_name", "it's mine")
        .file("server.key", "secret")
        .hba(["host all all 127.0.0.1/32 reject"])
        .start()?;
    let key = fs::metadata(postgres.data_dir()?.join("server.key"))?;
    assert_eq!(key.mode() & 0o777, 0o600);
    assert_eq!(key.uid(), fs::metadata(postgres.data_dir()?)?.uid());
    assert!(connect(postgres.dsn()).await.is_err());
    postgres.database().await?;

    postgres.hba(&["host all all 127.0.0.1/32 trust"])?;
    let client = connect(postgres.dsn()).await?;
    assert_eq!(value(&client, "SHOW max_connections").await?, "17");
    assert_eq!(value(&client, "SHOW cluster_name").await?, "it's mine");

    client.batch_execute("ALTER SYSTEM SET work_mem = '5MB'").await?;
    postgres.reload()?;
    assert_eq!(value(&connect(postgres.dsn()).await?, "SHOW work_mem").await?, "5MB");

    postgres.hba(&["host all all 127.0.0.1/32 reject"])?;
    assert!(connect(postgres.dsn()).await.is_err());
    Ok(())
}

#[test]
fn a_setting_that_is_refused_is_quoted_from_the_log() {
    let err = Postgres::builder().setting("max_connections", "many").start().unwrap_err();
    assert!(matches!(err, Error::Start { .. }));
    assert!(err.to_string().starts_with("the server ended while it started; the end of its log:\n"), "{err}");
    assert!(err.to_string().contains(r#"invalid value for parameter "max_connections": "many""#), "{err}");
}

#[test]
fn no_binaries_says_what_to_install() {
    let err = Postgres::builder().binaries("/nonexistent").start().unwrap_err();
    assert_eq!(
        err.to_string(),
        "no PostgreSQL server found: there is no folder with both initdb and postgres. Install it
  on Debian, Ubuntu:  apt-get install postgresql
  on Fedora, RHEL:    dnf install postgresql-server
  on Alpine:          apk add postgresql
  on macOS:           brew install postgresql@17
or set TEST_DATABASE_URL to a server that tests may create databases on. Searched:
  /nonexistent"
    );
}

#[test]
fn a_panic_leaves_nothing() {
    let (send, receive) = std::sync::mpsc::channel();
    catch_unwind(move || {
        let postgres = Postgres::builder().start().unwrap();
        send.send(Traces::of(&postgres).unwrap()).unwrap();
        panic!("as a test that fails does");
    })
    .unwrap_err();
    assert!(!receive.recv().unwrap().any());
}

#[test]
fn a_killed_process_leaves_nothing() -> TestResult {
    let mut child = child("wait").spawn()?;
    let traces = Traces::read(&mut BufReader::new(child.stdout.take().unwrap()))?;
    assert!(traces.any());
    child.kill()?;
    child.wait()?;
    traces.await_end();
    Ok(())
}

#[test]
fn an_interrupt_from_the_terminal_leaves_nothing() -> TestResult {
    let mut child = child("wait").process_group(0).spawn()?;
    let traces = Traces::read(&mut BufReader::new(child.stdout.take().unwrap()))?;
    Command::new("sh").args(["-c", &format!("kill -INT -{}", child.id())]).status()?;
    assert!(!child.wait()?.success());
    traces.await_end();
    Ok(())
}

#[test]
fn a_process_killed_while_its_server_starts_leaves_nothing() -> TestResult {
    let place = if Path::new("/dev/shm").exists() { "/dev/shm" } else { "/tmp" };
    let folder = tempfile::Builder::new().prefix("t").tempdir_in(place)?;
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    for delay in [5, 60, 250, 500, 700] {
        let mut child = child("wait").env("TMPDIR", folder.path()).spawn()?;
        thread::sleep(Duration::from_millis(delay));
        child.kill()?;
        child.wait()?;
        await_that(|| fs::read_dir(folder.path()).unwrap().next().is_none(), folder.path());
    }
    Ok(())
}

#[test]
fn a_process_that_ends_with_a_static_server_leaves_nothing() -> TestResult {
    let mut child = child("end").spawn()?;
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let traces = Traces::read(&mut output)?;
    std::io::copy(&mut output, &mut std::io::sink())?;
    child.wait()?;
    traces.await_end();
    Ok(())
}

#[tokio::test]
async fn a_given_server_is_used_and_what_is_left_there_is_removed() -> TestResult {
    let postgres = Postgres::builder().start()?;
    let observer = connect(postgres.dsn()).await?;
    let left = "SELECT count(*)::text FROM pg_database WHERE datname LIKE 'actix%'";
    let dsn = postgres.dsn().replace("postgres@", "postgres:hunter2@");
    let given = || child("given").env("TEST_DATABASE_URL", &dsn).status();

    assert!(given()?.success());
    assert_eq!(value(&observer, left).await?, "0");

    let mut living = child("given, wait").env("TEST_DATABASE_URL", postgres.dsn()).spawn()?;
    let mut output = BufReader::new(living.stdout.take().unwrap());
    output.by_ref().lines().find(|line| line.as_ref().is_ok_and(|line| line == "made"));
    assert!(given()?.success());
    assert_eq!(value(&observer, left).await?, "3");

    living.kill()?;
    living.wait()?;
    let connected = "SELECT count(*)::text FROM pg_stat_activity WHERE application_name LIKE 'actix%'";
    while value(&observer, connected).await? != "0" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(given()?.success());
    assert_eq!(value(&observer, left).await?, "0");
    Ok(())
}

#[tokio::test]
async fn the_database_of_a_failed_test_can_be_looked_at() -> TestResult {
    let mut child = child("fails").env("TEST_KEEP_FAILED", "60").stderr(Stdio::piped()).spawn()?;
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let dsn = lines.map_while(Result::ok).find_map(|line| Some(line.split_once(": psql ")?.1.to_owned()));
    let client = connect(&dsn.ok_or("no line says where")?).await?;
    assert_eq!(value(&client, "SELECT what FROM found").await?, "here");
    child.kill()?;
    child.wait()?;
    Ok(())
}

#[tokio::test]
#[ignore = "run by the tests above, in a process of its own"]
async fn a_process_of_its_own() -> TestResult {
    let Ok(what) = env::var(CHILD) else {
        return Ok(());
    };
    if what == "fails" {
        let database =
            Postgres::shared()?.database_with("CREATE TABLE found AS SELECT 'here' AS what").await?;
        panic!("as the test wants it, with {database:?}");
    } else if what == "shares" {
        let schema = "CREATE TABLE made AS SELECT random()::text AS at; SELECT pg_sleep(0.3)";
        let database = Postgres::start()?.database_with(schema).await?;
        let client = connect(database.dsn()).await?;
        println!("\nmade {} in {}", value(&client, "SELECT at FROM made").await?, database.name());
    } else if what.starts_with("given") {
        let postgres = Postgres::start()?;
        let databases = (postgres.database_with("CREATE TABLE users ()").await?, postgres.database().await?);
        let shown = format!("{postgres:?} {databases:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(postgres.dsn(), env::var("TEST_DATABASE_URL")?);
        assert!(matches!(postgres.stop(), Err(Error::NotOurs)));
        println!("\nmade");
        wait_if_told(&what);
    } else {
        Traces::of(Postgres::shared()?)?.write(&mut std::io::stdout())?;
        wait_if_told(&what);
    }
    Ok(())
}

fn wait_if_told(what: &str) {
    if what.ends_with("wait") {
        thread::sleep(Duration::from_secs(60));
    }
}

/// What a server leaves if it is not cleaned up.
#[derive(Debug)]
struct Traces {
    process: u32,
    folder: PathBuf,
}

impl Traces {
    fn of(postgres: &Postgres) -> Result<Self, Box<dyn std::error::Error>> {
        let data = postgres.data_dir()?;
        let text = fs::read_to_string(data.join("postmaster.pid"))?;
        let process = text.lines().next().ok_or("an empty postmaster.pid")?.parse()?;
        Ok(Self { process, folder: data.parent().ok_or("no folder around it")?.to_owned() })
    }

    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        writeln!(out, "\ntraces {} {}", self.process, self.folder.display())?;
        out.flush()
    }

    fn read(from: &mut impl BufRead) -> Result<Self, Box<dyn std::error::Error>> {
        for line in from.lines() {
            if let Some(("traces", rest)) = line?.split_once(' ') {
                let (process, folder) = rest.split_once(' ').ok_or("no folder")?;
                return Ok(Self { process: process.parse()?, folder: folder.into() });
            }
        }
        Err("the child said nothing".into())
    }

    fn any(&self) -> bool {
        self.folder.exists() || self.is_running()
    }

    /// What has ended and was not waited for, as its parent was killed, does not run.
    fn is_running(&self) -> bool {
        let process = self.process;
        let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let known = Command::new("sh").args(["-c", &format!("kill -0 {process}")]).output().unwrap();
        known.status.success() && !state.contains(") Z ")
    }

    fn await_end(&self) {
        let start = Instant::now();
        await_that(|| !self.any(), &self.folder);
        println!("gone {:?} after the process", start.elapsed());
    }
}

fn await_that(done: impl Fn() -> bool, folder: &Path) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(40), "something is left of {}", folder.display());
        thread::sleep(Duration::from_millis(10));
    }
}

/// Processes that start at once run the schema once, and each has a database of its own.
#[tokio::test]
async fn processes_share_a_template() -> TestResult {
    let postgres = Postgres::builder().start()?;
    let children: Vec<_> = (0..3)
        .map(|_| {
            let mut child = child("shares");
            child.env("TEST_DATABASE_URL", postgres.dsn()).env("TEST_DATABASE_TEMPLATES", "shared");
            child.spawn().unwrap()
        })
        .collect();
    let mut made = Vec::new();
    let mut names = Vec::new();
    for child in children {
        let output = String::from_utf8(child.wait_with_output()?.stdout)?;
        let line = output.lines().find_map(|line| line.strip_prefix("made ")).expect("a line");
        let (at, name) = line.split_once(" in ").expect("a name");
        made.push(at.to_owned());
        names.push(name.to_owned());
    }
    assert!(made.iter().all(|at| *at == made[0]), "{made:?}");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3);
    // Their databases are gone, the template is not.
    let client = connect(postgres.dsn()).await?;
    let left = "SELECT string_agg(datname, ' ') FROM pg_database WHERE datname LIKE 'actix%'";
    let left = value(&client, left).await?;
    assert!(left.starts_with("actixpg_template_") && !left.contains(' '), "{left}");

    // One that was left half-made is made anew.
    client.batch_execute(&format!("ALTER DATABASE {left} IS_TEMPLATE false")).await?;
    let mut child = child("shares");
    child.env("TEST_DATABASE_URL", postgres.dsn()).env("TEST_DATABASE_TEMPLATES", "shared");
    let output = String::from_utf8(child.output()?.stdout)?;
    assert!(output.contains("\nmade ") && !output.contains(&made[0]), "{output}");
    Ok(())
}

/// The program starts a server for a command, and says how the command has ended.
#[test]
fn a_command_runs_with_a_server_of_its_own() -> TestResult {
    let with_postgres = |script: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_with-postgres"));
        command.args(["sh", "-c", script]).stdout(Stdio::piped()).output()
    };
    let said = with_postgres("echo $TEST_DATABASE_URL $TEST_DATABASE_TEMPLATES; exit 3")?;
    assert_eq!(said.status.code(), Some(3));
    let said = String::from_utf8(said.stdout)?;
    let (url, templates) = said.trim().split_once(' ').expect("two words");
    assert_eq!(templates, "shared");
    let port =
        url.trim_start_matches("postgres://postgres@127.0.0.1:").trim_end_matches("/postgres").parse()?;
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "it is gone");
    assert_eq!(with_postgres("kill -KILL $$")?.status.code(), Some(128 + 9));
    Ok(())
}

/// This binary, running `a_process_of_its_own`.
fn child(what: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "a_process_of_its_own", "--ignored", "--nocapture"])
        .env(CHILD, what)
        .env_remove("TEST_DATABASE_URL")
        .stdout(Stdio::piped());
    command
}

async fn rows(database: &TestDatabase) -> Result<String, tokio_postgres::Error> {
    value(&connect(database.dsn()).await?, "SELECT count(*)::text FROM runs").await
}
