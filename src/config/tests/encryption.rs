//! What is asked of TLS.

use super::*;

fn ssl_of(dsn: &str, chosen: Option<SslMode>) -> Ssl {
    let config = Config { ssl: chosen, dsn: Some(dsn.into()), ..Config::default() };
    config.settings().unwrap_or_else(|err| panic!("{dsn}: {err}")).server.ssl
}

#[test]
fn encryption_is_read_as_libpq_reads_it() {
    use SslMode::*;
    for (dsn, option, mode) in [
        ("host=a", None, Prefer),
        ("host=a sslmode=disable", None, Disable),
        ("host=a sslmode=prefer", None, Prefer),
        ("host=a sslmode=require", None, Require),
        ("host=a sslmode=verify-ca sslrootcert=/ca", None, VerifyCa),
        ("host=a sslmode=verify-full", None, VerifyFull),
        ("host=a sslmode=require", Some(VerifyFull), VerifyFull),
        ("host=a sslrootcert=system", None, VerifyFull),
        ("postgres://a?ssl=true", None, Require),
        ("postgres://a?ssl=verify-full", None, VerifyFull),
        ("host=/run/pg sslmode=require", None, Disable),
    ] {
        assert_eq!(ssl_of(dsn, option).mode, mode, "{dsn}");
    }
    let dsn = "host=a sslmode=require sslrootcert=/ca sslcert=/c sslkey=/k sslnegotiation=direct";
    let ssl = ssl_of(dsn, None);
    assert_eq!(ssl.root.unwrap().path, PathBuf::from("/ca"));
    let (cert, key) = ssl.client.unwrap();
    assert_eq!((cert.path, key.path), (PathBuf::from("/c"), PathBuf::from("/k")));
    assert_eq!(ssl.negotiation, SslNegotiation::Direct);
}

/// Without TLS there is nothing to warn of on one's own machine.
#[test]
fn a_server_is_local_if_every_host_of_it_is() {
    for (dsn, is_local) in [
        ("host=/run/pg", true),
        ("host=localhost", true),
        ("host=127.0.0.2,::1,/run/pg", true),
        ("host=db.example hostaddr=127.0.0.1", true),
        ("host=localhost hostaddr=192.0.2.1", false),
        ("host=localhost,db.example", false),
        ("host=localhost.example", false),
        ("host=0.0.0.0", false),
    ] {
        assert_eq!(ssl_of(dsn, None).is_local, is_local, "{dsn}");
    }
}

#[test]
fn a_socket_is_not_encrypted() {
    let server = of_dsn("host=/run/pg sslmode=require").server;
    assert_eq!(server.ssl.mode, SslMode::Disable);
    assert_eq!(server.driver.get_ssl_negotiation(), SslNegotiation::Postgres);
}
