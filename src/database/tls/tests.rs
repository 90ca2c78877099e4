//! What each mode makes of each kind of server.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm, date_time_ymd,
};
use tokio::net::TcpStream;

use crate::config::{Config, ConfigErrorKind};

/// Who signs the certificates of a test, and the folder they are written to.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        Self::signing_with(&PKCS_ECDSA_P256_SHA256)
    }

    fn signing_with(algorithm: &'static SignatureAlgorithm) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let name = format!("Authority of {:?}", key.public_key_raw());
        params.distinguished_name.push(DnType::CommonName, &name[..40]);
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let authority = Self { issuer, folder: tempfile::tempdir().unwrap() };
        fs::set_permissions(authority.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        authority.write("ca.crt", &authority.issuer.pem());
        authority
    }

    /// Writes `name.crt` and `name.key`.
    fn issue(&self, name: &str, common_name: &str, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        change(&mut params);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.write(&format!("{name}.crt"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// A throwaway server.
struct Server {
    port: u16,
    child: Child,
    folder: tempfile::TempDir,
}

const HBA: &str = "
hostssl   all certified 127.0.0.1/32 cert
hostssl   all alice     127.0.0.1/32 scram-sha-256
hostnossl all plain     127.0.0.1/32 trust
host      all postgres  127.0.0.1/32 trust
";

impl Server {
    fn plain() -> Self {
        Self::start(&[], |_| ())
    }

    /// With `server.crt` and `server.key` of that authority.
    fn with_tls(authority: &Authority) -> Self {
        let settings =
            ["ssl=on", "ssl_cert_file=server.crt", "ssl_key_file=server.key", "ssl_ca_file=ca.crt"];
        Self::start(&settings, |data| {
            for name in ["server.crt", "server.key", "ca.crt"] {
                fs::copy(authority.path(name), data.join(name)).unwrap();
                let owner = fs::metadata(data).unwrap();
                chown(data.join(name), Some(owner.uid()), Some(owner.gid())).unwrap();
                fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o600)).unwrap();
            }
        })
    }

    fn start(settings: &[&str], prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let owner = fs::metadata(folder.path()).unwrap();
        if owner.uid() == 0 {
            chown(folder.path(), Some(id("-u")), Some(id("-g"))).unwrap();
        }
        let data = folder.path().join("data");
        let output = program("initdb", folder.path())
            .args(["--auth=trust", "--no-sync", "--username=postgres", "--encoding=UTF8", "--pgdata"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::write(data.join("pg_hba.conf"), HBA).unwrap();
        prepare(&data);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut postgres = program("postgres", folder.path());
        postgres.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        for setting in
            ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"].iter().chain(settings)
        {
            postgres.args(["-c", setting]);
        }
        let child = postgres.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { port, child, folder }
    }

    /// Connects as the pool does. Says how the connection is encrypted, or why there is none.
    async fn connect(&self, parameters: &str) -> Result<String, String> {
        let host = if parameters.contains("host=") { "" } else { "host=localhost" };
        let port = self.port;
        let dsn = format!("{host} hostaddr=127.0.0.1 port={port} dbname=postgres {parameters}");
        let server = Config::from_dsn(&dsn).and_then(|config| config.settings()).unwrap().server;
        let crate::config::Host::Tcp(name) = &server.hosts[0].host else {
            unreachable!("the host is a name")
        };
        let mut driver = server.driver;
        driver.ssl_mode(server.tls.mode);
        let begun = Instant::now();
        let (client, connection) = loop {
            let attempt = async {
                let stream = TcpStream::connect(("127.0.0.1", self.port)).await.map_err(|_| None)?;
                driver.connect_raw(stream, server.tls.handshake(name).unwrap()).await.map_err(Some)
            };
            match attempt.await {
                Ok(connected) => break connected,
                Err(Some(err)) if err.code().is_none_or(|code| code.code() != "57P03") => {
                    return Err(said_by(&err));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "the server did not start");
        };
        let connection = tokio::spawn(connection);
        let sql = "SELECT coalesce(version, 'plain') FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let said = client.query_one(sql, &[]).await.unwrap().get(0);
        drop(client);
        connection.await.unwrap().unwrap();
        Ok(said)
    }

    async fn execute(&self, sql: &str) {
        self.connect("user=postgres sslmode=prefer").await.unwrap();
        let dsn = format!("host=127.0.0.1 port={} user=postgres sslmode=disable", self.port);
        let (client, connection) =
            crate::tokio_postgres::connect(&dsn, crate::tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        client.batch_execute(sql).await.unwrap();
        drop(client);
        connection.await.unwrap().unwrap();
    }

    async fn version(&self) -> u32 {
        let dsn = format!("host=127.0.0.1 port={} user=postgres sslmode=disable", self.port);
        let (client, connection) =
            crate::tokio_postgres::connect(&dsn, crate::tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let row = client.query_one("SHOW server_version_num", &[]).await.unwrap();
        row.get::<_, String>(0).parse::<u32>().unwrap() / 10_000
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.folder.path().join("data");
        let _ =
            program("pg_ctl", self.folder.path()).args(["stop", "-m", "immediate", "-D"]).arg(data).output();
        let _ = self.child.wait();
    }
}

/// A program of PostgreSQL, which refuses to run as root.
fn program(name: &str, folder: &Path) -> Command {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest =
        versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists()).max();
    let mut command = Command::new(newest.unwrap_or_else(|| name.into()));
    let owner = fs::metadata(folder).unwrap();
    if fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0) {
        command.uid(owner.uid()).gid(owner.gid()).current_dir(folder);
    }
    command
}

fn id(flag: &str) -> u32 {
    let output = Command::new("id").args([flag, "postgres"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// The error with its causes.
fn said_by(err: &dyn std::error::Error) -> String {
    match err.source() {
        Some(source) => format!("{err}: {}", said_by(source)),
        None => err.to_string(),
    }
}

#[tokio::test]
async fn each_mode_trusts_what_it_says() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("server", "localhost", |_| ());
    let server = Server::with_tls(&authority);
    let (ours, theirs) = (authority.shown("ca.crt"), stranger.shown("ca.crt"));
    let wrong_root = "invalid peer certificate: UnknownIssuer";
    let wrong_name = "invalid peer certificate: certificate not valid for name \"other\"";
    let encrypted = "TLSv1.3";
    for (parameters, outcome) in [
        ("sslmode=disable", Ok("plain")),
        ("sslmode=prefer", Ok(encrypted)),
        ("sslmode=require", Ok(encrypted)),
        (&format!("sslmode=prefer sslrootcert={theirs}"), Err(wrong_root)),
        (&format!("sslmode=require sslrootcert={ours}"), Ok(encrypted)),
        (&format!("sslmode=require sslrootcert={theirs}"), Err(wrong_root)),
        (&format!("sslmode=require host=other sslrootcert={ours}"), Ok(encrypted)),
        (&format!("sslmode=verify-ca sslrootcert={ours}"), Ok(encrypted)),
        (&format!("sslmode=verify-ca host=other sslrootcert={ours}"), Ok(encrypted)),
        (&format!("sslmode=verify-ca sslrootcert={theirs}"), Err(wrong_root)),
        (&format!("sslmode=verify-full sslrootcert={ours}"), Ok(encrypted)),
        (&format!("sslmode=verify-full host=127.0.0.1 sslrootcert={ours}"), Ok(encrypted)),
        (&format!("sslmode=verify-full host=other sslrootcert={ours}"), Err(wrong_name)),
        (&format!("sslmode=verify-full sslrootcert={theirs}"), Err(wrong_root)),
        ("sslmode=verify-full", Err(wrong_root)),
        ("sslmode=verify-full sslrootcert=system", Err(wrong_root)),
    ] {
        let said = server.connect(&format!("user=postgres {parameters}")).await;
        match (&said, outcome) {
            (Ok(said), Ok(expected)) => assert_eq!(said, expected, "{parameters}"),
            (Err(said), Err(expected)) => assert!(said.contains(expected), "{parameters}: {said}"),
            _ => panic!("{parameters}: {said:?}"),
        }
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_by_whoever_looks_at_it() {
    let authority = Authority::new();
    authority.issue("server", "localhost", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let server = Server::with_tls(&authority);
    assert_eq!(server.connect("user=postgres sslmode=require").await.as_deref(), Ok("TLSv1.3"));
    for mode in ["require", "verify-ca", "verify-full"] {
        let root = authority.shown("ca.crt");
        let said = server.connect(&format!("user=postgres sslmode={mode} sslrootcert={root}")).await;
        assert!(said.as_ref().is_err_and(|said| said.contains("certificate expired")), "{said:?}");
    }
}

/// What `openssl req -x509` makes, given to the server and to us.
#[tokio::test]
async fn a_self_signed_certificate_vouches_for_itself() {
    for (year, outcome) in [(2100, Ok("TLSv1.3")), (2002, Err("certificate expired"))] {
        let authority = Authority::new();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        authority.write("server.crt", &params.self_signed(&key).unwrap().pem());
        authority.write("server.key", &key.serialize_pem());
        let server = Server::with_tls(&authority);
        let root = authority.shown("server.crt");
        let said = server.connect(&format!("user=postgres sslmode=verify-full sslrootcert={root}")).await;
        match outcome {
            Ok(expected) => assert_eq!(said.as_deref(), Ok(expected)),
            Err(expected) => assert!(said.as_ref().is_err_and(|said| said.contains(expected)), "{said:?}"),
        }
        let said =
            server.connect(&format!("user=postgres sslmode=verify-full host=other sslrootcert={root}")).await;
        assert!(said.is_err(), "{said:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_wants_one() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("server", "localhost", |_| ());
    authority.issue("client", "certified", |_| ());
    authority.issue("other", "someone", |_| ());
    stranger.issue("client", "certified", |_| ());
    let server = Server::with_tls(&authority);
    server.execute("CREATE ROLE certified LOGIN").await;
    let shown = |authority: &Authority, name: &str| {
        let (cert, key) = (authority.shown(&format!("{name}.crt")), authority.shown(&format!("{name}.key")));
        format!("user=certified sslmode=require sslcert={cert} sslkey={key}")
    };
    assert_eq!(server.connect(&shown(&authority, "client")).await.as_deref(), Ok("TLSv1.3"));
    for (parameters, reason) in [
        ("user=certified sslmode=require", "requires a valid client certificate"),
        (&shown(&authority, "other"), "certificate authentication failed"),
        (&shown(&stranger, "client"), "UnknownCA"),
    ] {
        let said = server.connect(parameters).await;
        assert!(said.as_ref().is_err_and(|said| said.contains(reason)), "{parameters}: {said:?}");
    }
}

#[tokio::test]
async fn a_server_without_tls_will_do_for_prefer_only() {
    let server = Server::plain();
    let authority = Authority::new();
    assert_eq!(server.connect("user=postgres").await.as_deref(), Ok("plain"));
    assert_eq!(server.connect("user=postgres sslmode=disable").await.as_deref(), Ok("plain"));
    for mode in ["require", "verify-ca", "verify-full"] {
        let root = authority.shown("ca.crt");
        let said = server.connect(&format!("user=postgres sslmode={mode} sslrootcert={root}")).await;
        assert!(said.as_ref().is_err_and(|said| said.contains("server does not support TLS")), "{said:?}");
    }
}

#[tokio::test]
async fn a_login_is_bound_to_its_channel() {
    for (algorithm, can_be_bound) in
        [(&PKCS_ECDSA_P256_SHA256, true), (&PKCS_ECDSA_P384_SHA384, true), (&PKCS_ED25519, false)]
    {
        let authority = Authority::signing_with(algorithm);
        authority.issue("server", "localhost", |_| ());
        let server = Server::with_tls(&authority);
        server.execute("CREATE ROLE alice LOGIN PASSWORD 'secret'; CREATE ROLE plain LOGIN").await;
        for binding in ["disable", "prefer"] {
            let parameters = format!("user=alice password=secret sslmode=require channel_binding={binding}");
            assert_eq!(server.connect(&parameters).await.as_deref(), Ok("TLSv1.3"), "{algorithm:?}");
        }
        let parameters = "user=alice password=secret sslmode=require channel_binding=require";
        let said = server.connect(parameters).await;
        match can_be_bound {
            true => assert_eq!(said.as_deref(), Ok("TLSv1.3"), "{algorithm:?}"),
            false => assert!(said.as_ref().is_err_and(|said| said.contains("channel binding")), "{said:?}"),
        }
        let said = server.connect("user=plain sslmode=prefer channel_binding=require").await;
        assert!(said.is_err(), "{said:?}");
    }
}

#[tokio::test]
async fn a_direct_handshake_needs_postgresql_17() {
    let authority = Authority::new();
    authority.issue("server", "localhost", |_| ());
    let server = Server::with_tls(&authority);
    let root = authority.shown("ca.crt");
    server.connect("user=postgres").await.unwrap();
    let said = server
        .connect(&format!("user=postgres sslmode=verify-full sslrootcert={root} sslnegotiation=direct"))
        .await;
    match server.version().await {
        17.. => assert_eq!(said.as_deref(), Ok("TLSv1.3")),
        version => {
            eprintln!("skipped: PostgreSQL {version} knows no direct handshake");
            assert!(said.is_err());
        }
    }
}

#[tokio::test]
async fn a_statement_is_cancelled_through_tls() {
    let authority = Authority::new();
    authority.issue("server", "localhost", |_| ());
    let server = Server::with_tls(&authority);
    server.connect("user=postgres").await.unwrap();
    let dsn = format!("host=localhost port={} user=postgres sslmode=require", server.port);
    let settings = Config::from_dsn(&dsn).unwrap().settings().unwrap().server;
    let stream = || TcpStream::connect(("127.0.0.1", server.port));
    let handshake = || settings.tls.handshake("localhost").unwrap();
    let mut driver = settings.driver.clone();
    driver.ssl_mode(settings.tls.mode);
    let (client, connection) = driver.connect_raw(stream().await.unwrap(), handshake()).await.unwrap();
    tokio::spawn(connection);
    let statement = client.batch_execute("SELECT pg_sleep(30)");
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let stream = stream().await.unwrap();
        client.cancel_token().cancel_query_raw(stream, handshake()).await.unwrap();
    };
    let (said, ()) = tokio::join!(statement, cancel);
    assert_eq!(said.unwrap_err().code().unwrap().code(), "57014");
}

#[test]
fn a_file_that_will_not_do_is_refused_before_connecting() {
    let authority = Authority::new();
    authority.issue("client", "certified", |_| ());
    authority.issue("other", "certified", |_| ());
    authority.write("empty", "");
    authority.write("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let path = |name: &str| authority.shown(name);
    for (parameters, text) in [
        (
            format!("sslmode=verify-full sslrootcert={}", path("missing")),
            format!(
                "DSN parameter `sslrootcert` names `{}`, which cannot be read: No such file or directory (os error 2)",
                path("missing")
            ),
        ),
        (
            format!("sslmode=verify-full sslrootcert={}", path("empty")),
            format!(
                "DSN parameter `sslrootcert` names `{}`, which holds no certificate in PEM",
                path("empty")
            ),
        ),
        (
            format!("sslmode=verify-full sslrootcert={}", path("broken")),
            format!(
                "DSN parameter `sslrootcert` names `{}`, which holds no certificate that can be used in PEM",
                path("broken")
            ),
        ),
        (
            format!("sslmode=require sslcert={} sslkey={}", path("client.crt"), path("client.crt")),
            format!(
                "DSN parameter `sslkey` names `{}`, which holds no private key (PKCS#8, PKCS#1 or SEC1, not encrypted) in PEM",
                path("client.crt")
            ),
        ),
        (
            format!("sslmode=require sslcert={} sslkey={}", path("client.crt"), path("other.key")),
            format!(
                "DSN parameter `sslkey` names `{}`, which does not fit the certificate",
                path("other.key")
            ),
        ),
    ] {
        let config = Config::from_dsn(&format!("host=localhost {parameters}")).unwrap();
        let err = config.settings().unwrap_err();
        assert_eq!((err.to_string(), err.kind()), (text, ConfigErrorKind::File));
        assert!(std::error::Error::source(&err).is_some());
    }
}
