//! A PgBouncer of one test.

use std::env;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use actix_pg::testing::TestDatabase;
use actix_pg::tokio_postgres::config::Host;
use actix_pg::{Config, Pooler, tokio_postgres};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use test_support::{eventually, sized};
use tokio::net::TcpStream;

use crate::programs::{find, free_port, hand_over, substitute};

/// The variable that names the program, in place of the one in `PATH`; and the one with settings that are added to those of the tests.
pub const PROGRAM: &str = "PGBOUNCER_OF_THIS_RUN";
pub const SETTINGS: &str = "PGBOUNCER_SETTINGS_OF_THIS_RUN";

/// Ends with the value.
pub struct Bouncer {
    process: Child,
    port: u16,
    folder: TempDir,
}

/// Whether clients are to encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    Plain,
    Encrypted,
}

impl Bouncer {
    /// Starts one in session mode in front of the server of `database`; `None` where there is none to start, which CI does not
    /// forgive.
    pub async fn before(database: &TestDatabase, clients: Clients) -> Option<Self> {
        let mode = "pool_mode = session\nignore_startup_parameters = options\ndefault_pool_size = 60";
        Self::start(database.dsn(), clients, mode).await
    }

    /// Starts one in transaction mode, with so many server connections to what the DSN names.
    pub async fn of_transactions(dsn: &str, size: u32) -> Option<Self> {
        let mode = format!("pool_mode = transaction\ndefault_pool_size = {size}\nmax_client_conn = 500");
        Self::start(dsn, Clients::Plain, &mode).await
    }

    /// Starts one with these settings in front of the server that the DSN names.
    pub async fn start(dsn: &str, clients: Clients, mode: &str) -> Option<Self> {
        let program = env::var_os(PROGRAM).map(PathBuf::from).or_else(|| find("pgbouncer"))?;
        let more = env::var(SETTINGS).unwrap_or_default();
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("a file");
            path
        };
        let users = file("users.txt", "\"postgres\" \"\"\n");
        let mut settings = format!(
            "[databases]\n* = {}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\n{mode}\n{more}\n",
            behind(dsn),
            users.display(),
        );
        if clients == Clients::Encrypted {
            let CertifiedKey { cert, signing_key } =
                generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
            let (cert, key) = (file("tls.crt", &cert.pem()), file("tls.key", &signing_key.serialize_pem()));
            settings += &format!(
                "client_tls_sslmode = require\nclient_tls_cert_file = {}\nclient_tls_key_file = {}\n",
                cert.display(),
                key.display(),
            );
        }
        let ini = file("pgbouncer.ini", &settings);
        let log = File::create(folder.path().join("log")).expect("a log");
        let mut command = Command::new(program);
        if let Some((user, id)) = substitute() {
            hand_over(folder.path(), id);
            command.args(["-u", user]);
        }
        let process = command.arg(ini).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let mut bouncer = Self { process: process.expect("PgBouncer"), port, folder };
        eventually("PgBouncer listens", || {
            bouncer.assert_alive();
            async { TcpStream::connect(("127.0.0.1", port)).await.is_ok() }
        })
        .await;
        Some(bouncer)
    }

    /// The DSN of the test database by way of this one.
    pub fn dsn(&self, database: &TestDatabase, ssl_mode: &str) -> String {
        self.dsn_of(database.name(), ssl_mode)
    }

    /// The way to the database of this name by way of the pooler.
    pub fn dsn_of(&self, name: &str, ssl_mode: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{name}?sslmode={ssl_mode}", self.port)
    }

    /// A pool behind it, which has been told of the mode.
    pub fn config(&self, database: &TestDatabase, pooler: Pooler, size: u32) -> Config {
        sized(Config { dsn: Some(self.dsn(database, "disable")), pooler, ..Config::default() }, size)
    }

    /// Changes a setting while it runs.
    pub fn reload(&self, setting: &str) {
        let ini = self.folder.path().join("pgbouncer.ini");
        let settings = fs::read_to_string(&ini).expect("its settings");
        fs::write(&ini, format!("{settings}{setting}\n")).expect("a file");
        let told = Command::new("kill").args(["-HUP", &self.process.id().to_string()]).status();
        assert!(told.expect("kill").success());
    }

    /// Fails with the end of its log if it has crashed.
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.process.try_wait().expect("a process") {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let tail: Vec<&str> = log.lines().rev().take(5).collect();
            panic!("PgBouncer has ended ({status}): {tail:#?}");
        }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where it connects to, in its own words.
fn behind(dsn: &str) -> String {
    let server: tokio_postgres::Config = dsn.parse().expect("a DSN");
    let host = match &server.get_hosts()[0] {
        Host::Tcp(name) => name.clone(),
        Host::Unix(folder) => folder.display().to_string(),
    };
    let port = server.get_ports().first().copied().unwrap_or(5432);
    let password = server.get_password().map_or(String::new(), |password| {
        format!(" password='{}'", String::from_utf8_lossy(password).replace('\'', "''"))
    });
    format!("host={host} port={port} user={}{password}", server.get_user().unwrap_or("postgres"))
}
