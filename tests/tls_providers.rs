//! Who computes for TLS, beside others in the same program that have a choice of their own.
//!
//! A process chooses its default provider once. So there is one test for each choice of features, and `cargo xtask ci`
//! runs this file with each: what cargo was told to build is what a program with these features is.
#![cfg(all(feature = "rustls-no-provider", unix))]

use actix_pg::testing::Postgres;
use rustls::crypto::CryptoProvider;
use test_support::tls::{Authority, connect, encrypted};

/// The cipher of a new session.
async fn cipher(server: &Postgres) -> String {
    let db = connect(server, "user=postgres sslmode=require").await.expect("an encrypted session");
    let sql = "SELECT cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let cipher = db.connection().query_one_scalar(sql, &[]).await.expect("a cipher");
    db.close().await;
    cipher
}

/// As it stands in other crates, such as HTTP clients: it panics where there is no provider or a choice.
fn plain_client_config() {
    rustls::ClientConfig::builder();
}

/// `rustls`, or `rustls-ring`, beside a crate that relies on there being no second provider.
#[cfg(any(
    all(feature = "rustls", not(feature = "rustls-ring")),
    all(feature = "rustls-ring", not(feature = "rustls")),
))]
#[tokio::test]
async fn others_get_their_provider_before_and_after() {
    let authority = Authority::new();
    authority.issue("server", "localhost", |_| ());
    let server = encrypted(&authority);
    cipher(&server).await;
    assert!(CryptoProvider::get_default().is_none(), "installed by us");
    plain_client_config();
    assert!(CryptoProvider::get_default().is_some(), "installed by rustls");
    cipher(&server).await;
    plain_client_config();
}

/// Both: rustls makes no choice of its own.
#[cfg(all(feature = "rustls", feature = "rustls-ring"))]
#[tokio::test]
async fn the_choice_stays_with_the_application() {
    use rustls::crypto::ring;

    let authority = Authority::new();
    authority.issue("server", "localhost", |_| ());
    let server = encrypted(&authority);
    let rare = "TLS_CHACHA20_POLY1305_SHA256";
    assert_ne!(cipher(&server).await, rare);
    assert!(CryptoProvider::get_default().is_none(), "installed by us");
    let cipher_suites = vec![ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256];
    let provider = CryptoProvider { cipher_suites, ..ring::default_provider() };
    provider.install_default().expect("nobody was faster");
    assert_eq!(cipher(&server).await, rare);
    plain_client_config();
}

/// `rustls-no-provider` alone.
#[cfg(not(any(feature = "rustls", feature = "rustls-ring")))]
#[tokio::test]
async fn without_a_provider_the_ways_out_are_named() {
    use actix_pg::{Config, ConfigErrorKind, Database, Error};

    let config = |ssl| Config {
        retry_limit: 10,
        ..Config::from_dsn(&format!("host=127.0.0.1 port=1 {ssl}")).expect("a DSN")
    };
    let refused = Database::connect(config("sslmode=require")).await;
    let Err(Error::Config(err)) = refused else { panic!("{refused:?}") };
    assert_eq!(err.kind(), ConfigErrorKind::MissingFeature);
    assert_eq!(
        err.to_string(),
        "DSN parameter `sslmode` needs a provider of cryptography for rustls: turn on the feature `rustls` or `rustls-ring` of \
         actix-pg, or install one with `CryptoProvider::install_default` before `Database::connect`; `disable` needs none"
    );
    let refused = Database::connect(config("")).await;
    let Err(Error::Config(err)) = refused else { panic!("{refused:?}") };
    assert!(err.to_string().starts_with("option `ssl` needs a provider"), "{err}");
    let tried = Database::connect(Config { retry_limit: 1, ..config("sslmode=disable") }).await;
    assert!(matches!(tried, Err(Error::Connect(_))), "{tried:?}");
}
