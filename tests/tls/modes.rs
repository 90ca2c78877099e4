//! What each mode of encryption makes of each kind of server.

use std::time::Duration;

use actix_pg::testing::Postgres;
use actix_pg::{Config, ConfigErrorKind, Database};
use rcgen::{
    BasicConstraints, CertificateParams, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PKCS_ED25519, date_time_ymd,
};
use test_support::tls::{Authority, assert_said, connect, encrypted, encrypted_up_to, said};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Conformance cases 4 and 5.
#[tokio::test]
async fn each_mode_trusts_what_it_says() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("server", "localhost", |_| ());
    let server = encrypted(&authority);
    let (ours, theirs) = (authority.path("ca.crt"), stranger.path("ca.crt"));
    let other = "host=other hostaddr=127.0.0.1";
    let wrong_root = "invalid peer certificate: UnknownIssuer";
    let wrong_name = "invalid peer certificate: certificate not valid for name \"other\"";
    for (parameters, expected) in [
        ("sslmode=disable", Ok("plain")),
        ("sslmode=prefer", Ok("TLSv1.3")),
        ("sslmode=require", Ok("TLSv1.3")),
        (&format!("sslmode=prefer sslrootcert={theirs}"), Err(wrong_root)),
        (&format!("sslmode=require sslrootcert={ours}"), Ok("TLSv1.3")),
        (&format!("sslmode=require sslrootcert={theirs}"), Err(wrong_root)),
        (&format!("sslmode=require {other} sslrootcert={ours}"), Ok("TLSv1.3")),
        (&format!("sslmode=verify-ca sslrootcert={ours}"), Ok("TLSv1.3")),
        (&format!("sslmode=verify-ca {other} sslrootcert={ours}"), Ok("TLSv1.3")),
        (&format!("sslmode=verify-ca sslrootcert={theirs}"), Err(wrong_root)),
        (&format!("sslmode=verify-full sslrootcert={ours}"), Ok("TLSv1.3")),
        (&format!("sslmode=verify-full host=127.0.0.1 sslrootcert={ours}"), Ok("TLSv1.3")),
        (&format!("sslmode=verify-full {other} sslrootcert={ours}"), Err(wrong_name)),
        (&format!("sslmode=verify-full sslrootcert={theirs}"), Err(wrong_root)),
        ("sslmode=verify-full", Err(wrong_root)),
        ("sslmode=verify-full sslrootcert=system", Err(wrong_root)),
    ] {
        let parameters = format!("user=postgres {parameters}");
        assert_said(said(&server, &parameters).await, expected, &parameters);
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_by_whoever_looks_at_it() {
    let authority = Authority::new();
    authority.issue("server", "localhost", |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let server = encrypted(&authority);
    assert_said(said(&server, "user=postgres sslmode=require").await, Ok("TLSv1.3"), "require");
    for mode in ["require", "verify-ca", "verify-full"] {
        let parameters = format!("user=postgres sslmode={mode} sslrootcert={}", authority.path("ca.crt"));
        assert_said(said(&server, &parameters).await, Err("certificate expired"), mode);
    }
}

/// What `openssl req -x509` makes, given to the server and to us.
#[tokio::test]
async fn a_self_signed_certificate_vouches_for_itself() {
    for (year, expected) in [(2100, Ok("TLSv1.3")), (2002, Err("certificate expired"))] {
        let authority = Authority::new();
        let mut params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        authority.write("server.crt", &params.self_signed(&key).unwrap().pem());
        authority.write("server.key", &key.serialize_pem());
        let server = encrypted(&authority);
        let verified =
            format!("user=postgres sslmode=verify-full sslrootcert={}", authority.path("server.crt"));
        assert_said(said(&server, &verified).await, expected, &verified);
        let elsewhere = format!("{verified} host=other hostaddr=127.0.0.1");
        let expected = expected.and(Err("not valid for name \"other\""));
        assert_said(said(&server, &elsewhere).await, expected, &elsewhere);
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_a_server_that_wants_one() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("server", "localhost", |_| ());
    authority.issue("client", "certified", |_| ());
    authority.issue("other", "someone", |_| ());
    stranger.issue("client", "certified", |_| ());
    let server = encrypted(&authority);
    server.database_with("CREATE ROLE certified LOGIN").await.unwrap();
    let shown = |authority: &Authority, name: &str| {
        let (cert, key) = (authority.path(&format!("{name}.crt")), authority.path(&format!("{name}.key")));
        format!("user=certified sslmode=require sslcert={cert} sslkey={key}")
    };
    for (parameters, expected) in [
        (&*shown(&authority, "client"), Ok("TLSv1.3")),
        ("user=certified sslmode=require", Err("requires a valid client certificate")),
        (&shown(&authority, "other"), Err("certificate authentication failed")),
        (&shown(&stranger, "client"), Err("UnknownCA")),
    ] {
        assert_said(said(&server, parameters).await, expected, parameters);
    }
}

#[tokio::test]
async fn a_server_without_tls_will_do_for_prefer_only() {
    let server = Postgres::builder().start().unwrap();
    let authority = Authority::new();
    for mode in ["disable", "prefer"] {
        assert_said(said(&server, &format!("user=postgres sslmode={mode}")).await, Ok("plain"), mode);
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        let parameters = format!("user=postgres sslmode={mode} sslrootcert={}", authority.path("ca.crt"));
        assert_said(said(&server, &parameters).await, Err("server does not support TLS"), mode);
    }
}

#[tokio::test]
async fn a_socket_beside_encrypted_hosts_is_plain() {
    let authority = Authority::new();
    authority.issue("server", "localhost", |_| ());
    let server = encrypted(&authority);
    let socket = server.socket_dir().unwrap();
    for (hosts, expected) in [
        (format!("{},127.0.0.1", socket.display()), "plain"),
        (format!("/nowhere,{}", socket.display()), "plain"),
        ("/nowhere,127.0.0.1".into(), "TLSv1.3"),
    ] {
        let parameters = format!("user=postgres sslmode=require host={hosts}");
        assert_said(said(&server, &parameters).await, Ok(expected), &parameters);
    }
}

/// Ed25519 has no hash that PostgreSQL could bind to.
#[tokio::test]
async fn a_login_is_bound_to_its_channel() {
    let unbound = Err("server did not use channel binding");
    for (algorithm, version, outcomes) in [
        (
            &PKCS_ECDSA_P256_SHA256,
            "TLSv1.3",
            [("disable", Ok("TLSv1.3")), ("require", Ok("TLSv1.3"))].as_slice(),
        ),
        (&PKCS_ECDSA_P256_SHA256, "TLSv1.2", &[("require", Ok("TLSv1.2"))]),
        (&PKCS_ECDSA_P384_SHA384, "TLSv1.3", &[("require", Ok("TLSv1.3"))]),
        (&PKCS_ED25519, "TLSv1.3", &[("prefer", Ok("TLSv1.3")), ("require", unbound)]),
    ] {
        let authority = Authority::signing_with(algorithm);
        authority.issue("server", "localhost", |_| ());
        let server = encrypted_up_to(version, &authority);
        server.database_with("CREATE ROLE alice LOGIN PASSWORD 'secret'").await.unwrap();
        for (binding, expected) in outcomes {
            let parameters = format!("user=alice password=secret sslmode=require channel_binding={binding}");
            assert_said(said(&server, &parameters).await, *expected, &format!("{algorithm:?} {parameters}"));
        }
        let trusting = "user=postgres sslmode=require channel_binding=require";
        assert_said(said(&server, trusting).await, unbound, trusting);
    }
}

/// The hash is that of the certificate's signature: here those that rcgen does not sign with when it uses ring.
///
/// `openssl x509 -req -in server.csr -CA … -CAkey … -days 36500 -sha512` made the certificates, all for one key.
#[tokio::test]
async fn a_login_is_bound_to_whatever_signed_the_certificate() {
    let key = include_bytes!("signed/server.key");
    for (signature, certificate) in [
        ("ECDSA with SHA-512", include_bytes!("signed/ecdsa-sha512.crt").as_slice()),
        ("RSA with SHA-256", include_bytes!("signed/rsa-sha256.crt")),
        ("RSA with SHA-384", include_bytes!("signed/rsa-sha384.crt")),
        ("RSA with SHA-512", include_bytes!("signed/rsa-sha512.crt")),
    ] {
        let server = Postgres::builder()
            .setting("ssl", "on")
            .file("server.crt", certificate)
            .file("server.key", key.as_slice())
            .hba(["host all alice 127.0.0.1/32 scram-sha-256"])
            .start()
            .unwrap();
        server.database_with("CREATE ROLE alice LOGIN PASSWORD 'secret'").await.unwrap();
        let parameters = "user=alice password=secret sslmode=require channel_binding=require";
        assert_said(said(&server, parameters).await, Ok("TLSv1.3"), signature);
    }
}

#[tokio::test]
async fn a_direct_handshake_needs_postgresql_17() {
    let authority = Authority::new();
    authority.issue("server", "localhost", |_| ());
    let server = encrypted(&authority);
    let db = connect(&server, "user=postgres").await.unwrap();
    let sql = "SELECT current_setting('server_version_num')::int / 10000";
    let version: i32 = db.connection().query_one(sql, &[]).await.unwrap().get(0);
    let root = authority.path("ca.crt");
    let parameters = format!("user=postgres sslmode=verify-full sslrootcert={root} sslnegotiation=direct");
    if version < 17 {
        eprintln!("skipped: PostgreSQL {version} knows no direct handshake");
        assert!(said(&server, &parameters).await.is_err());
    } else {
        assert_said(said(&server, &parameters).await, Ok("TLSv1.3"), &parameters);
    }
}

/// `require_auth` holds within the encryption too.
#[tokio::test]
async fn a_login_over_tls_is_asked_for_as_required() {
    let authority = Authority::new();
    authority.issue("server", "localhost", |_| ());
    let server = encrypted(&authority);
    server.database_with("CREATE ROLE alice LOGIN PASSWORD 'secret'").await.unwrap();
    let login = "user=alice password=secret";
    for (login, required, expected) in [
        (login, "scram-sha-256", Ok("TLSv1.3")),
        (login, "!none,!password", Ok("TLSv1.3")),
        (
            login,
            "password",
            Err("the server asks for authentication by `scram-sha-256`, which `require_auth`"),
        ),
        ("user=postgres", "none", Ok("TLSv1.3")),
        (
            "user=postgres",
            "scram-sha-256",
            Err("the server asks for no authentication, which `require_auth`"),
        ),
    ] {
        for mode in ["prefer", "require"] {
            let parameters = format!("{login} sslmode={mode} require_auth={required}");
            assert_said(said(&server, &parameters).await, expected, &parameters);
        }
    }
}

/// P18: had the cancel not arrived, the session would be discarded, and the next one be another.
#[tokio::test]
async fn an_abandoned_statement_is_cancelled_through_tls() {
    let authority = Authority::new();
    authority.issue("server", "localhost", |_| ());
    let server = encrypted(&authority);
    let db = connect(&server, "user=postgres sslmode=require").await.unwrap();
    let backend =
        async || -> i32 { db.connection().query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0) };
    let before = backend().await;
    let conn = db.connection();
    let abandoned = conn.execute("SELECT pg_sleep(60)", &[]);
    assert!(tokio::time::timeout(Duration::from_millis(200), abandoned).await.is_err());
    drop(conn);
    assert_eq!(backend().await, before);
}

#[tokio::test]
async fn a_file_that_will_not_do_is_refused_before_connecting() {
    let authority = Authority::new();
    authority.issue("client", "certified", |_| ());
    authority.issue("other", "certified", |_| ());
    authority.write("empty", "");
    authority.write("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let root = |name: &str| format!("sslmode=verify-full sslrootcert={}", authority.path(name));
    let client = |cert: &str, key: &str| {
        format!("sslmode=require sslcert={} sslkey={}", authority.path(cert), authority.path(key))
    };
    let no_key = "holds no private key (PKCS#8, PKCS#1 or SEC1, not encrypted) in PEM";
    for (parameters, option, name, problem) in [
        (root("missing"), "sslrootcert", "missing", "cannot be read: No such file or directory (os error 2)"),
        (root("empty"), "sslrootcert", "empty", "holds no certificate in PEM"),
        (root("broken"), "sslrootcert", "broken", "holds no certificate that can be used in PEM"),
        (client("empty", "client.key"), "sslcert", "empty", "holds no certificate in PEM"),
        (client("client.crt", "client.crt"), "sslkey", "client.crt", no_key),
        (client("client.crt", "other.key"), "sslkey", "other.key", "does not fit the certificate"),
    ] {
        let config = Config::from_dsn(&format!("host=localhost {parameters}")).unwrap();
        let refused = Database::connect(config).await;
        let Err(actix_pg::Error::Config(err)) = refused else { panic!("{parameters}: {refused:?}") };
        let text = format!("DSN parameter `{option}` names `{}`, which {problem}", authority.path(name));
        assert_eq!((err.to_string(), err.kind()), (text, ConfigErrorKind::File));
        assert!(std::error::Error::source(&err).is_some());
    }
}

/// P22: a key that has lost its line breaks, as in a variable, is a marker and nothing else.
#[tokio::test]
async fn no_key_is_shown() {
    let authority = Authority::new();
    authority.issue("client", "certified", |_| ());
    for (key, problem) in [
        ("-----BEGIN PRIVATE KEY----- hunter2 -----END PRIVATE KEY-----", "need lines of their own"),
        ("-----BEGIN PRIVATE KEY-----hunter2", "need lines of their own"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2!\n-----END PRIVATE KEY-----", "in PEM"),
    ] {
        authority.write("torn", key);
        let (cert, key) = (authority.path("client.crt"), authority.path("torn"));
        let dsn = format!("host=localhost sslmode=require sslcert={cert} sslkey={key}");
        let err = Database::connect(Config::from_dsn(&dsn).unwrap()).await.expect_err("no key");
        let shown = format!("{err:#} {err:?} {err:#?}");
        assert!(shown.contains(problem), "{shown}");
        assert!(!shown.contains("hunter2") && !shown.contains("104, 117, 110"), "{shown}");
    }
}

/// P14, P20: a server that agrees to talk TLS and then says nothing is given up on after `connect_timeout`.
#[tokio::test]
async fn a_handshake_that_stalls_is_given_up_on() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 8];
        socket.read_exact(&mut request).await.unwrap();
        socket.write_all(b"S").await.unwrap();
        // Reads the ClientHello, and until the other side gives up.
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        rest.len()
    });
    let config = Config {
        dsn: Some(format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=require")),
        connect_timeout: Duration::from_millis(300),
        ..Config::default()
    };
    let err = Database::connect(config).await.expect_err("a stalled handshake");
    let text = std::error::Error::source(&err).expect("a cause").to_string();
    assert!(text.contains("did not answer within 300ms (`connect_timeout`)"), "{text}");
    assert!(silent.await.unwrap() > 0, "the handshake had not begun");
}
