//! What becomes of each option in [`Settings`](super::Settings); what is refused is told in one
//! sentence.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::tokio_postgres::config::{ChannelBinding, SslNegotiation, TargetSessionAttrs};

fn of_dsn(dsn: &str) -> Settings {
    let config = Config::from_dsn(dsn).unwrap_or_else(|err| panic!("{dsn}: {err}"));
    config.settings().unwrap_or_else(|err| panic!("{dsn}: {err}"))
}

fn of_json(json: serde_json::Value) -> Settings {
    let config: Config = serde_json::from_value(json.clone()).unwrap_or_else(|err| panic!("{json}: {err}"));
    config.settings().unwrap_or_else(|err| panic!("{json}: {err}"))
}

fn refused_dsn(dsn: &str) -> String {
    Config::from_dsn(dsn).expect_err(dsn).to_string()
}

fn of_vars(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_vars(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))))
}

fn tcp(host: &str, port: u16) -> Server {
    Server { host: Host::Tcp(host.into()), hostaddr: None, port }
}

fn unix(directory: &str, port: u16) -> Server {
    Server { host: Host::Unix(PathBuf::from(directory)), hostaddr: None, port }
}

#[test]
fn defaults_are_the_references_where_it_has_one() {
    let settings = Config::default().settings().unwrap();
    assert_eq!(settings.server.hosts, [tcp("localhost", 5432)]);
    assert_eq!(settings.server.driver.get_user(), Some("postgres"));
    assert_eq!(settings.server.driver.get_password(), None);
    assert_eq!(settings.server.driver.get_dbname(), Some("postgres"));
    assert_eq!(settings.server.driver.get_options(), None);
    assert_eq!((settings.pool.min_size, settings.pool.max_size), (5, 10));
    assert_eq!(settings.pool.idle_timeout, Some(Duration::from_secs(300)));
    assert_eq!((settings.start.retry_limit, settings.start.retry_interval), (1, Duration::from_secs(1)));
    assert_eq!(settings.session.statement_cache_size, 100);
    assert_eq!((settings.session.echo, settings.session.command_timeout), (Echo::Off, None));
    assert!(settings.use_connection_for_request);
}

/// P15
#[test]
fn keepalive_and_user_timeout_are_on_by_default() {
    let server = Config::default().settings().unwrap().server;
    let keepalive = server.keepalive.unwrap();
    assert_eq!(keepalive.idle, defaults::KEEPALIVES_IDLE);
    assert_eq!(keepalive.interval, Some(defaults::KEEPALIVES_INTERVAL));
    assert_eq!(keepalive.retries, Some(defaults::KEEPALIVES_COUNT));
    assert_eq!(server.tcp_user_timeout, Some(defaults::TCP_USER_TIMEOUT));
}

/// P23
#[test]
fn every_option_is_seen_in_the_settings() {
    let settings = of_json(serde_json::json!({
        "driver": "asyncpg", "host": "db1,/run/pg", "port": 5433, "user": "alice", "password": "s3cret",
        "database": "shop", "pool_min_size": 1, "pool_max_size": 2, "echo": "statements", "ssl": "disable",
        "use_connection_for_request": false, "retry_limit": 4, "retry_interval": 0.5, "connect_timeout": "3s",
        "acquire_timeout": 7, "max_waiting": 9, "idle_timeout": "10m", "max_lifetime": "1h", "test_after_idle": 0,
        "statement_cache_size": 0, "reset": "always", "reset_timeout": "250ms", "close_timeout": 11,
        "command_timeout": 12, "statement_timeout": "1s 500ms", "isolation_level": "REPEATABLE READ",
        "server_settings": {"search_path": "app, public", "app": {"tenant": 7, "path": "C:\\x"}},
        "application_name": "shop web", "options": "-c work_mem=8MB", "keepalives_idle": 20,
        "target_session_attrs": "read-only", "load_balance_hosts": "random", "channel_binding": "disable",
        "tcp_user_timeout": "9s",
    }));
    let server = settings.server;
    assert_eq!(server.hosts, [tcp("db1", 5433), unix("/run/pg", 5433)]);
    assert_eq!(server.driver.get_user(), Some("alice"));
    assert_eq!(server.driver.get_password(), Some(&b"s3cret"[..]));
    assert_eq!(server.driver.get_dbname(), Some("shop"));
    assert_eq!(server.driver.get_application_name(), Some("shop web"));
    assert_eq!(server.driver.get_channel_binding(), ChannelBinding::Disable);
    assert_eq!(
        server.driver.get_options(),
        Some(
            r"-c work_mem=8MB -c app.path=C:\\x -c app.tenant=7 -c default_transaction_isolation=repeatable\ read -c search_path=app,\ public -c statement_timeout=1500"
        )
    );
    assert_eq!(server.target_session_attrs, TargetSessionAttrs::ReadOnly);
    assert!(server.load_balance_hosts);
    assert_eq!(server.keepalive.unwrap().idle, Duration::from_secs(20));
    assert_eq!(server.tcp_user_timeout, Some(Duration::from_secs(9)));
    assert_eq!(server.connect_timeout, Duration::from_secs(3));
    let pool = settings.pool;
    assert_eq!((pool.min_size, pool.max_size, pool.max_waiting), (1, 2, Some(9)));
    assert_eq!(pool.acquire_timeout, Duration::from_secs(7));
    assert_eq!(pool.idle_timeout, Some(Duration::from_secs(600)));
    assert_eq!(pool.max_lifetime, Some(Duration::from_secs(3600)));
    assert_eq!((pool.test_after_idle, pool.close_timeout), (Duration::ZERO, Duration::from_secs(11)));
    assert_eq!((settings.start.retry_limit, settings.start.retry_interval), (4, Duration::from_millis(500)));
    let session = settings.session;
    assert_eq!(
        (session.statement_cache_size, session.echo, session.reset),
        (0, Echo::Statements, Reset::Always)
    );
    assert_eq!(session.reset_timeout, Duration::from_millis(250));
    assert_eq!(session.command_timeout, Some(Duration::from_secs(12)));
    assert!(!settings.use_connection_for_request);
}

#[test]
fn a_bound_can_be_switched_off_by_null_zero_or_a_word() {
    for off in
        [serde_json::json!(null), 0.into(), 0.0.into(), "0".into(), "0s".into(), "off".into(), "none".into()]
    {
        let settings = of_json(serde_json::json!({
            "idle_timeout": off, "max_lifetime": off, "command_timeout": off, "statement_timeout": off,
        }));
        assert_eq!((settings.pool.idle_timeout, settings.pool.max_lifetime), (None, None), "{off}");
        assert_eq!(
            (settings.session.command_timeout, settings.server.driver.get_options()),
            (None, None),
            "{off}"
        );
    }
    assert_eq!(of_json(serde_json::json!({"max_waiting": "none"})).pool.max_waiting, None);
    assert_eq!(of_json(serde_json::json!({"max_waiting": 0})).pool.max_waiting, Some(0));
    assert_eq!(of_dsn("host=a tcp_user_timeout=0").server.tcp_user_timeout, None);
    assert_eq!(of_dsn("host=a keepalives=0").server.keepalive, None);
}

#[test]
fn a_bound_without_end_does_not_overflow_the_clock() {
    let config =
        Config { acquire_timeout: Duration::MAX, idle_timeout: Some(Duration::MAX), ..Config::default() };
    let pool = config.settings().unwrap().pool;
    assert!(std::time::Instant::now().checked_add(pool.acquire_timeout).is_some());
    assert!(std::time::Instant::now().checked_add(pool.idle_timeout.unwrap()).is_some());
}

#[test]
fn a_dsn_names_its_hosts_in_many_ways() {
    for (dsn, hosts) in [
        ("postgres://db.example.com/shop", vec![tcp("db.example.com", 5432)]),
        ("postgresql://db:6000", vec![tcp("db", 6000)]),
        ("asyncpg://db", vec![tcp("db", 5432)]),
        ("postgresql+psycopg2://db", vec![tcp("db", 5432)]),
        ("postgres+anything://db", vec![tcp("db", 5432)]),
        ("postgres://", vec![tcp("localhost", 5432)]),
        ("postgres:///shop", vec![tcp("localhost", 5432)]),
        ("postgres://a,b:6000,c/shop", vec![tcp("a", 5432), tcp("b", 6000), tcp("c", 5432)]),
        ("postgres://[::1]:6000/shop", vec![tcp("::1", 6000)]),
        ("postgres://[2001:db8::1],[::1]:1/", vec![tcp("2001:db8::1", 5432), tcp("::1", 1)]),
        ("postgres://%2Frun%2Fpg:6000/shop", vec![unix("/run/pg", 6000)]),
        ("postgres:///shop?host=/run/pg", vec![unix("/run/pg", 5432)]),
        ("postgres://localhost/shop?host=/cloudsql/p:r:i", vec![unix("/cloudsql/p:r:i", 5432)]),
        ("postgres://?host=a,b&port=1,2", vec![tcp("a", 1), tcp("b", 2)]),
        ("postgres://u@a?port=7", vec![tcp("a", 7)]),
        ("host=a,b port=6000", vec![tcp("a", 6000), tcp("b", 6000)]),
        ("host=a,b port=,6000", vec![tcp("a", 5432), tcp("b", 6000)]),
        ("host = '/run/p g'  port = 6000", vec![unix("/run/p g", 6000)]),
        ("user=alice", vec![tcp("localhost", 5432)]),
    ] {
        assert_eq!(of_dsn(dsn).server.hosts, hosts, "{dsn}");
    }
    let server = of_dsn("host=a,b hostaddr=127.0.0.1,::1").server;
    assert_eq!(server.hosts[1], Server { hostaddr: Some("::1".parse().unwrap()), ..tcp("b", 5432) });
    let server = of_dsn("hostaddr=10.0.0.1").server;
    assert_eq!(
        server.hosts,
        [Server { hostaddr: Some("10.0.0.1".parse().unwrap()), ..tcp("10.0.0.1", 5432) }]
    );
}

#[test]
fn a_dsn_logs_in() {
    for (dsn, user, password, database) in [
        ("postgres://alice:p%40ss%2F%3A%25@db/sh%20op", Some("alice"), Some("p@ss/:%"), Some("sh op")),
        ("postgres://alice:p@ss:word@db/shop", Some("alice"), Some("p@ss:word"), Some("shop")),
        ("postgres://alice@db", Some("alice"), None, None),
        ("postgres://:pw@db", None, Some("pw"), None),
        ("postgres://db", None, None, None),
        ("postgres://db/x?user=me@corp&password=a%26b&dbname=y", Some("me@corp"), Some("a&b"), Some("y")),
        (r"user=alice password='it\'s \\ x' dbname=shop", Some("alice"), Some(r"it's \ x"), Some("shop")),
        (r"password=a\ b", None, Some("a b"), None),
        ("password='' user=alice", Some("alice"), None, None),
    ] {
        let driver = of_dsn(dsn).server.driver;
        assert_eq!(driver.get_user(), user, "{dsn}");
        assert_eq!(driver.get_password(), password.map(str::as_bytes), "{dsn}");
        assert_eq!(driver.get_dbname(), database, "{dsn}");
    }
}

#[test]
fn a_dsn_replaces_the_connect_arguments_and_gives_way_to_other_options() {
    let config = Config {
        driver: "mysql".into(),
        host: "ignored".into(),
        port: 1,
        user: "ignored".into(),
        password: "ignored".into(),
        database: "ignored".into(),
        dsn: Some(
            "postgres://db?application_name=dsn&connect_timeout=4&keepalives_idle=40&sslmode=disable".into(),
        ),
        ..Config::default()
    };
    let server = config.settings().unwrap().server;
    assert_eq!(server.hosts, [tcp("db", 5432)]);
    assert_eq!(
        (server.driver.get_user(), server.driver.get_password(), server.driver.get_dbname()),
        (None, None, None)
    );
    assert_eq!(server.driver.get_application_name(), Some("dsn"));
    assert_eq!(server.connect_timeout, Duration::from_secs(4));
    assert_eq!(server.keepalive.unwrap().idle, Duration::from_secs(40));

    let config = Config {
        application_name: Some("option".into()),
        connect_timeout: Duration::from_secs(5),
        driver_options: [("keepalives_idle".into(), "50".into())].into(),
        ..config
    };
    let server = config.settings().unwrap().server;
    assert_eq!(server.driver.get_application_name(), Some("option"));
    assert_eq!(server.connect_timeout, Duration::from_secs(5));
    assert_eq!(server.keepalive.unwrap().idle, Duration::from_secs(50));
}

#[test]
fn every_parameter_of_a_dsn_has_an_effect() {
    let server = of_dsn(
        "postgres://db?options=-c%20a%3Db&keepalives=1&keepalives_interval=5&keepalives_count=7&tcp_user_timeout=2500ms\
         &target_session_attrs=read-write&load_balance_hosts=random&channel_binding=disable&application_name=x&sslmode=disable",
    )
    .server;
    let keepalive = server.keepalive.unwrap();
    assert_eq!((keepalive.interval, keepalive.retries), (Some(Duration::from_secs(5)), Some(7)));
    assert_eq!(server.tcp_user_timeout, Some(Duration::from_millis(2500)));
    assert_eq!(server.target_session_attrs, TargetSessionAttrs::ReadWrite);
    assert!(server.load_balance_hosts);
    assert_eq!(server.driver.get_options(), Some("-c a=b"));
    assert_eq!(of_dsn("host=a keepalives_retries=4").server.keepalive.unwrap().retries, Some(4));
    let system = of_dsn("host=a keepalives_idle=0 keepalives_interval=0 keepalives_retries=0")
        .server
        .keepalive
        .unwrap();
    assert_eq!(system, Keepalive { idle: Duration::from_secs(7200), interval: None, retries: None });
}

fn ssl_of(dsn: &str, chosen: Option<SslMode>) -> Ssl {
    let mut ssl = None;
    let config = Config { ssl: chosen, dsn: Some(dsn.into()), ..Config::default() };
    let tls = |of_config: Ssl| {
        ssl = Some(of_config);
        Ok(crate::database::Tls::disabled())
    };
    config.settings_with(tls).unwrap_or_else(|err| panic!("{dsn}: {err}"));
    ssl.unwrap()
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

#[cfg(not(feature = "rustls"))]
#[test]
fn without_the_feature_encryption_is_refused_by_name() {
    for (config, text) in [
        (Config { ssl: Some(SslMode::Require), ..Config::default() }, "option `ssl`"),
        (
            Config { dsn: Some("host=a sslmode=verify-full".into()), ..Config::default() },
            "DSN parameter `sslmode`",
        ),
        (
            Config { dsn: Some("host=a sslrootcert=/ca".into()), ..Config::default() },
            "DSN parameter `sslrootcert`",
        ),
    ] {
        let err = config.settings().unwrap_err();
        assert_eq!(err.to_string(), format!("{text} needs the feature `rustls` of actix-pg"));
        assert_eq!(err.kind(), ConfigErrorKind::MissingFeature);
    }
    let prefer = Config { ssl: Some(SslMode::Prefer), ..Config::default() };
    assert_eq!(prefer.settings().unwrap().server.tls.mode, crate::tokio_postgres::config::SslMode::Disable);
}

#[test]
fn a_socket_is_not_encrypted() {
    let server = of_dsn("host=/run/pg sslmode=require").server;
    assert_eq!(server.tls.mode, crate::tokio_postgres::config::SslMode::Disable);
    assert_eq!(server.driver.get_ssl_negotiation(), SslNegotiation::Postgres);
}

#[test]
fn a_wrong_dsn_is_refused_in_one_sentence() {
    let hint = "; in a user name or password, `:` `/` `?` `@` `%` have to be percent-encoded";
    for (dsn, text) in [
        ("", "option `dsn` must be a URL such as postgres://user@host/database, or key=value pairs"),
        (
            "db.example.com",
            "option `dsn` must be a URL such as postgres://user@host/database, or key=value pairs",
        ),
        ("mysql://db", "option `dsn` must begin with postgres:// or postgresql://"),
        ("postgres://db:x", &format!("option `dsn` has a port that is no number from 1 to 65535{hint}")),
        ("postgres://db:70000", &format!("option `dsn` has a port that is no number from 1 to 65535{hint}")),
        ("postgres://db:0", "DSN parameter `port` must be a number from 1 to 65535"),
        (
            "postgres://::1/x",
            &format!("option `dsn` has several `:` in a host (an IPv6 address needs brackets){hint}"),
        ),
        ("postgres://[::1/x", "option `dsn` has a `[` without a `]`"),
        ("postgres://[::1]5432/x", "option `dsn` has something else than a port after a `]`"),
        ("postgres://a b/x", "DSN parameter `host` must be a host name, an IP address or a socket directory"),
        (
            "postgres://u:a/b@db/x",
            &format!("option `dsn` has a port that is no number from 1 to 65535{hint}"),
        ),
        ("postgres://u:12/b@db/x", &format!("option `dsn` has an `@` in the database{hint}")),
        ("postgres://%ff@db/x", "option `dsn` has percent-encoding that is not UTF-8"),
        ("postgres://db/%00", "DSN parameter `dbname` must not contain a NUL character"),
        ("postgres://db?sslmode", "option `dsn` has a parameter without a `=`"),
        ("postgres://db?sslmode=disable&sslmode=require", "option `dsn` has `sslmode` twice"),
        (
            "postgres://db?sslmode=off",
            "DSN parameter `sslmode` must be one of disable, prefer, require, verify-ca, verify-full, not `off`",
        ),
        (
            "postgres://db?ssl=true&sslmode=disable",
            "DSN parameter `sslmode` says the same as `ssl`; give one of them",
        ),
        ("postgres://db?sslmod=require", "DSN parameter `sslmod` is unknown; did you mean `sslmode`?"),
        ("postgres://db?pool_max_size=3", "DSN parameter `pool_max_size` is unknown"),
        ("postgres://db?gssencmode=disable", "DSN parameter `gssencmode` is unknown"),
        (
            "postgres://db?sslnegotiation=direct",
            "DSN parameter `sslnegotiation` can only be `direct` with `ssl = require` or stricter",
        ),
        (
            "postgres://db?sslmode=verify-ca",
            "DSN parameter `sslmode` needs a `sslrootcert`, or better be `verify-full`",
        ),
        (
            "postgres://db?sslmode=require&sslrootcert=system",
            "DSN parameter `sslrootcert` can only be `system` with `ssl = verify-full`",
        ),
        (
            "postgres://db?sslmode=disable&sslrootcert=/ca",
            "DSN parameter `sslrootcert` has no effect when `ssl` is `disable`",
        ),
        ("postgres://db?sslcert=/c", "DSN parameter `sslcert` needs a `sslkey`"),
        ("postgres://db?sslkey=/k", "DSN parameter `sslkey` needs a `sslcert`"),
        (
            "postgres://db?sslmode=disable&channel_binding=require",
            "DSN parameter `channel_binding` needs an encrypted connection, as with `ssl = require`",
        ),
        (
            "postgres://db?target_session_attrs=primary",
            "DSN parameter `target_session_attrs` must be one of any, read-write, read-only, not `primary`",
        ),
        ("postgres://db?connect_timeout=0", "DSN parameter `connect_timeout` must be longer than zero"),
        (
            "postgres://db?tcp_user_timeout=30",
            "DSN parameter `tcp_user_timeout` needs a unit, as in \"30s\" or \"30000ms\" (libpq counts milliseconds)",
        ),
        (
            "postgres://db?keepalives_idle=500ms",
            "DSN parameter `keepalives_idle` must be whole seconds, at most 32767",
        ),
        ("postgres://db?keepalives_count=200", "DSN parameter `keepalives_count` must be at most 127"),
        (
            "postgres://db?keepalives_count=1&keepalives_retries=1",
            "DSN parameter `keepalives_retries` says the same as `keepalives_count`; give one of them",
        ),
        (
            "postgres://db?keepalives=0&keepalives_idle=5",
            "DSN parameter `keepalives_idle` has no effect when DSN parameter `keepalives` is off",
        ),
        ("postgres://db?options=x%5C", "DSN parameter `options` must not end in a single backslash"),
        ("host=a,b hostaddr=127.0.0.1", "DSN parameter `hostaddr` has 1 entries, `host` has 2"),
        ("host=a hostaddr=b", "DSN parameter `hostaddr` must be IP addresses, separated by commas"),
        ("host=a,b port=1,2,3", "DSN parameter `port` has 3 entries for 2 hosts"),
        ("host=a password='x", "option `dsn` has a quote that is not closed"),
        (
            "host=a password=x y",
            "option `dsn` has a word without a `=` (a value with spaces needs single quotes)",
        ),
        ("host=a =b", "option `dsn` has a parameter name that is none"),
        ("host=a database=x", "DSN parameter `database` is unknown; did you mean `dbname`?"),
    ] {
        assert_eq!(refused_dsn(dsn), text, "{dsn}");
    }
}

/// Every option with a wrong type, and with an impossible value.
#[test]
fn a_wrong_option_is_refused_in_one_sentence() {
    let number = "must be a whole number from 0 to 4294967295";
    let duration = r#"must be seconds, or a duration such as "500ms" or "5m""#;
    let string = "must be a string, in quotes";
    for (json, text) in [
        (r#"{"driver": 1}"#, format!("option `driver` {string}")),
        (r#"{"driver": "mysql"}"#, "option `driver` must be one of tokio-postgres, postgres, postgresql, asyncpg, not `mysql`".into()),
        (r#"{"host": 1}"#, format!("option `host` {string}")),
        (r#"{"host": "a b"}"#, "option `host` must be a host name, an IP address or a socket directory".into()),
        (r#"{"port": "x"}"#, "option `port` must be a whole number from 0 to 65535, not `x`".into()),
        (r#"{"port": 0}"#, "option `port` must be a number from 1 to 65535".into()),
        (r#"{"user": true}"#, format!("option `user` {string}")),
        (r#"{"user": "a\u0000"}"#, "option `user` must not contain a NUL character".into()),
        (r#"{"password": 12345}"#, format!("option `password` {string}")),
        (r#"{"password": "a\u0000"}"#, "option `password` must not contain a NUL character".into()),
        (r#"{"database": []}"#, format!("option `database` {string}")),
        (r#"{"dsn": {}}"#, format!("option `dsn` {string}")),
        (r#"{"dsn": "mysql://x"}"#, "option `dsn` must begin with postgres:// or postgresql://".into()),
        (r#"{"pool_min_size": -1}"#, format!("option `pool_min_size` {number}, not -1")),
        (r#"{"pool_min_size": 20}"#, "option `pool_max_size` must be at least `pool_min_size` (20), not 10".into()),
        (r#"{"pool_max_size": "ten"}"#, format!("option `pool_max_size` {number}, not `ten`")),
        (r#"{"pool_max_size": 0}"#, "option `pool_max_size` must be at least 1, not 0".into()),
        (r#"{"pool_max_size": 1.5}"#, format!("option `pool_max_size` {number}, not 1.5")),
        (r#"{"echo": "all"}"#, "option `echo` must be true, false or \"statements\", not `all`".into()),
        (r#"{"ssl": true}"#, "option `ssl` must be one of disable, prefer, require, verify-ca, verify-full, not true".into()),
        (r#"{"use_connection_for_request": 2}"#, "option `use_connection_for_request` must be true or false, not 2".into()),
        (r#"{"retry_limit": 0}"#, "option `retry_limit` must be at least 1, the number of attempts in all, not 0".into()),
        (r#"{"retry_interval": -1}"#, format!("option `retry_interval` {duration}, not -1")),
        (r#"{"connect_timeout": 0}"#, "option `connect_timeout` must be longer than zero".into()),
        (r#"{"acquire_timeout": "0s"}"#, "option `acquire_timeout` must be longer than zero".into()),
        (r#"{"acquire_timeout": null}"#, format!("option `acquire_timeout` {duration}, not null")),
        (r#"{"max_waiting": true}"#, format!("option `max_waiting` {number}, not true")),
        (r#"{"idle_timeout": "5 parsecs"}"#, format!("option `idle_timeout` {duration}, not `5 parsecs`")),
        (r#"{"max_lifetime": 1e300}"#, format!("option `max_lifetime` {duration}, not 1{}", "0".repeat(300))),
        (r#"{"test_after_idle": "nan"}"#, format!("option `test_after_idle` {duration}, not `nan`")),
        (r#"{"statement_cache_size": ""}"#, format!("option `statement_cache_size` {number}, not ``")),
        (r#"{"reset": "sometimes"}"#, "option `reset` must be one of auto, always, never, not `sometimes`".into()),
        (r#"{"reset_timeout": 0}"#, "option `reset_timeout` must be longer than zero".into()),
        (r#"{"close_timeout": {}}"#, format!("option `close_timeout` {duration}, not a table")),
        (r#"{"command_timeout": []}"#, format!("option `command_timeout` {duration}, not a list")),
        (r#"{"statement_timeout": "x"}"#, format!("option `statement_timeout` {duration}, not `x`")),
        (r#"{"isolation_level": "autocommit"}"#, "option `isolation_level` must be one of read-uncommitted, read-committed, repeatable-read, serializable, not `autocommit`".into()),
        (r#"{"server_settings": 1}"#, "option `server_settings` must be a table or `name=value` pairs, not 1".into()),
        (r#"{"server_settings": {"a": null}}"#, "option `server_settings` has a `a` that must be a string, a number or a boolean, not null".into()),
        (r#"{"server_settings": {"a b": 1}}"#, "option `server_settings` has `a b`, which is no name of a setting".into()),
        (r#"{"server_settings": {"a": "\u0000"}}"#, "option `server_settings` has a NUL character in `a`".into()),
        (r#"{"server_settings": {"client_encoding": "LATIN1"}}"#, "option `server_settings` must not contain `client_encoding`: the driver speaks UTF-8 only".into()),
        (r#"{"server_settings": {"statement_timeout": 1}, "statement_timeout": 1}"#, "option `statement_timeout` says the same as `server_settings.statement_timeout`; give one of them".into()),
        (r#"{"application_name": 1}"#, format!("option `application_name` {string}")),
        (r#"{"application_name": "\u0000"}"#, "option `application_name` must not contain a NUL character".into()),
        (r#"{"keepalives": "x"}"#, "option `keepalives` must be true or false, not `x`".into()),
        (r#"{"keepalives_idle": null}"#, "option `keepalives_idle` must be a string, a number or a boolean, not null".into()),
        (r#"{"sslmode": "require", "ssl": "require"}"#, "option `sslmode` says the same as `ssl`; give one of them".into()),
    ] {
        let refused = match serde_json::from_str::<Config>(json) {
            Ok(config) => config.settings().map(drop).expect_err(json).to_string(),
            Err(err) => err.to_string(),
        };
        assert_eq!(refused, text, "{json}");
    }
}

#[test]
fn a_slip_is_told_the_nearest_name() {
    for name in options::OPTIONS.iter().chain(names::PARAMETERS) {
        let slip = format!("{}{}", &name[..1], &name[2..]);
        let err =
            serde_json::from_value::<Config>(serde_json::json!({ slip.clone(): 1 })).unwrap_err().to_string();
        assert!(err.starts_with(&format!("option `{slip}` is unknown; did you mean `")), "{err}");
    }
    for (name, meant) in [
        ("POOL_MAX_SIZE", "pool_max_size"),
        ("max_inactive_connection_lifetime", "idle_timeout"),
        ("dbname", "database"),
    ] {
        assert_eq!(names::nearest(name).as_deref(), Some(meant));
    }
    assert_eq!(names::nearest("backup_bucket"), None);
    let config = Config { driver_options: [("keepalive".into(), "1".into())].into(), ..Config::default() };
    let err = config.settings().unwrap_err();
    assert_eq!(err.to_string(), "option `keepalive` is unknown; did you mean `keepalives`?");
    assert_eq!((err.kind(), err.origin()), (ConfigErrorKind::Unknown, &Origin::Option("keepalive".into())));
    let config = Config { driver_options: [("password".into(), "x".into())].into(), ..Config::default() };
    assert_eq!(config.settings().unwrap_err().to_string(), "option `password` is unknown");
}

#[test]
fn the_environment_is_read_option_by_option() {
    let config = of_vars(&[
        ("DB_HOST", "db"),
        ("DB_PORT", "6000"),
        ("DB_POOL_MAX_SIZE", "20"),
        ("DB_ECHO", "1"),
        ("DB_IDLE_TIMEOUT", "off"),
        ("DB_ACQUIRE_TIMEOUT", "2.5"),
        ("DB_USE_CONNECTION_FOR_REQUEST", "no"),
        ("DB_KEEPALIVES_IDLE", "20"),
        ("DB_SERVER_SETTINGS", "search_path='app, public' work_mem=8MB"),
        ("DB_SSL", "disable"),
        ("DB_RESET", ""),
        ("DB_BACKUP_BUCKET", "s3://x"),
        ("PATH", "/bin"),
        ("DBHOST", "x"),
    ])
    .unwrap();
    assert_eq!((&*config.host, config.port, config.pool_max_size), ("db", 6000, 20));
    assert_eq!((config.echo, config.idle_timeout), (Echo::Full, None));
    assert_eq!(config.acquire_timeout, Duration::from_millis(2500));
    assert!(!config.use_connection_for_request);
    assert_eq!(config.driver_options["keepalives_idle"], "20");
    assert_eq!(config.server_settings["search_path"], "app, public");
    assert_eq!(of_vars(&[]).unwrap(), Config::default());
}

#[test]
fn the_database_url_is_the_dsn() {
    let config =
        of_vars(&[("DATABASE_URL", "postgres://a"), ("DB_POOL_MAX_SIZE", "7"), ("DB_NAME", "other")])
            .unwrap();
    assert_eq!((config.dsn.as_deref(), config.pool_max_size), (Some("postgres://a"), 7));
    assert_eq!(of_vars(&[("DB_DSN", "postgres://a")]).unwrap().dsn.as_deref(), Some("postgres://a"));
    assert!(of_vars(&[("DB_DSN", "postgres://a"), ("DATABASE_URL", "postgres://a")]).is_ok());
}

#[test]
fn a_wrong_variable_is_named() {
    for (variables, text) in [
        (
            &[("DB_POOL_MAX_SIZE", "ten")][..],
            "environment variable `DB_POOL_MAX_SIZE` must be a whole number from 0 to 4294967295, not `ten`",
        ),
        (&[("DB_POOL_MAX_SIZE", "0")], "environment variable `DB_POOL_MAX_SIZE` must be at least 1, not 0"),
        (
            &[("DB_POOL_MAXSIZE", "5")],
            "environment variable `DB_POOL_MAXSIZE` is unknown; did you mean `DB_POOL_MAX_SIZE`?",
        ),
        (&[("DB_NAME", "x")], "environment variable `DB_NAME` is unknown; did you mean `DB_DATABASE`?"),
        (&[("DB_URL", "x")], "environment variable `DB_URL` is unknown; did you mean `DATABASE_URL`?"),
        (
            &[("DATABASE_URL", "mysql://x")],
            "environment variable `DATABASE_URL` must begin with postgres:// or postgresql://",
        ),
        (
            &[("DATABASE_URL", "postgres://x?sslmode=no")],
            "DSN parameter `sslmode` must be one of disable, prefer, require, verify-ca, verify-full, not `no`",
        ),
        (
            &[("DATABASE_URL", "postgres://x"), ("DB_DSN", "postgres://y")],
            "environment variable `DB_DSN` contradicts `DATABASE_URL`; give one of them",
        ),
        (&[("DB_KEEPALIVES_COUNT", "128")], "environment variable `DB_KEEPALIVES_COUNT` must be at most 127"),
        (
            &[("DB_SERVER_SETTINGS", "x")],
            "environment variable `DB_SERVER_SETTINGS` has a word without a `=` (a value with spaces needs single quotes)",
        ),
    ] {
        assert_eq!(of_vars(variables).expect_err(text).to_string(), text);
    }
}

/// P22, case 26
#[test]
fn no_debug_and_no_error_shows_a_password() {
    for dsn in [
        "postgres://alice:hunter2@db/shop?application_name=x",
        "postgres://db?password=hunter2",
        "postgres://db?pasword=hunter2",
        "postgres://alice:hunter2@db:port/shop",
        "postgres://alice:x/hunter2@db/shop",
        "postgres://alice:1/hunter2@db/shop",
        "postgres://alice:1?hunter2@db/shop",
        "postgres://[hunter2",
        "user=alice password='hunter2",
        "user=alice password=x hunter2",
        "user=alice password='hunter2' sslmode=x",
        "hunter2",
        "mysql://alice:hunter2@db",
    ] {
        let config = Config { dsn: Some(dsn.into()), ..Config::default() };
        let shown = format!("{config:?} {config:#?} {:?}", config.settings());
        assert!(!shown.contains("hunter2"), "{shown}");
        if let Err(err) = config.settings() {
            assert!(!err.to_string().contains("hunter2"), "{err}");
        }
    }
    let config = Config {
        password: "hunter2".into(),
        driver_options: [("pasword".into(), "hunter2".into()), ("password".into(), "hunter2".into())].into(),
        ..Config::default()
    };
    let shown = format!("{config:?} {:?} {}", config.settings(), config.settings().unwrap_err());
    assert!(!shown.contains("hunter2"), "{shown}");
    let config =
        Config { dsn: Some("postgres://alice:x@db:1/shop?sslmode=disable".into()), ..Config::default() };
    assert!(
        format!("{config:?}").contains("user=alice password=*** host=db port=1 dbname=shop sslmode=disable")
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_dsn_panics(dsn in "(postgres(ql)?(\\+[a-z]*)?://)?[\\PC]*") {
        let _ = Config::from_dsn(&dsn);
        let _ = dsn::masked(&dsn);
    }

    #[test]
    fn no_half_sensible_dsn_panics(dsn in "(postgres://)?([a-z:@/?=&%,\\[\\]'\\\\ .0-9]|host=|sslmode=|port=){0,40}") {
        let _ = Config::from_dsn(&dsn);
    }

    #[test]
    fn a_url_gives_back_what_was_encoded(user in "[^\\x00]+", password in "[^\\x00]+", database in "[^\\x00]+") {
        let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let dsn = format!("postgres://{}:{}@db/{}", encode(&user), encode(&password), encode(&database));
        let driver = of_dsn(&dsn).server.driver;
        prop_assert_eq!(driver.get_user(), Some(&*user));
        prop_assert_eq!(driver.get_password(), Some(password.as_bytes()));
        prop_assert_eq!(driver.get_dbname(), Some(&*database));
    }

    #[test]
    fn quoted_pairs_give_back_what_was_quoted(password in "[^\\x00]+", database in "[^\\x00]+") {
        let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        let driver = of_dsn(&format!("password={} dbname = {}", quote(&password), quote(&database))).server.driver;
        prop_assert_eq!(driver.get_password(), Some(password.as_bytes()));
        prop_assert_eq!(driver.get_dbname(), Some(&*database));
    }

    /// What is accepted differs from what it would be without the parameter.
    #[test]
    fn an_accepted_parameter_has_an_effect(
        name in proptest::sample::select([names::PARAMETERS, names::DSN_PARAMETERS].concat()),
        value in "[a-z0-9]{1,8}|[1-9][0-9]{0,3}(ms|s)?|/[a-z]+|disable|require|verify-full|random|direct|read-only|127\\.0\\.0\\.1|0",
    ) {
        // Without a default that the value may happen to be, and with what some values need.
        let needed = if name.starts_with("ssl") && name != "sslmode" && name != "ssl" { "sslmode=require " } else { "" };
        let paired = match name { "sslcert" => "sslkey=/k ", "sslkey" => "sslcert=/c ", _ => "" };
        let text = |dsn: &str| {
            let mut ssl = None;
            let config = Config::from_dsn(dsn).ok()?;
            let tls = |of_config: Ssl| {
                ssl = Some((of_config.mode, of_config.root, of_config.client));
                Ok(crate::database::Tls::disabled())
            };
            let server = config.settings_with(tls).ok()?.server;
            let password = server.driver.get_password().map(<[u8]>::to_vec);
            let negotiation = server.driver.get_ssl_negotiation();
            Some(format!("{server:?} {password:?} {negotiation:?} {ssl:?}"))
        };
        let without = text(&format!("{needed}user=u")).unwrap();
        if let Some(with) = text(&format!("{needed}{paired}{}{name}={value}", if name == "user" { "" } else { "user=u " })) {
            let is_default = match name {
                "keepalives" => value == "1" || value == "on" || value == "yes" || value == "true",
                "keepalives_idle" => value == "30" || value == "30s",
                "keepalives_interval" | "connect_timeout" => value == "10" || value == "10s",
                "keepalives_count" | "keepalives_retries" => value == "3",
                "tcp_user_timeout" => value == "30s",
                "port" => value == "5432",
                "load_balance_hosts" => value == "disable",
                _ => false,
            };
            prop_assert!(is_default || with != without, "{} = {} changed nothing", name, value);
        }
    }
}

/// The options page lists the options, and shows the defaults that the code has.
#[test]
fn the_options_page_and_the_struct_are_equal() {
    let page = include_str!("../../docs/options.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains("DB_"))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    let listed: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    let known: Vec<&str> = options::OPTIONS.iter().chain(names::PARAMETERS).copied().collect();
    assert_eq!(listed, known);
    let mut config = Config { driver: String::new(), ..Config::default() };
    for row in rows.iter().filter(|row| row[2] != "none") {
        config.set(row[0], Origin::option(row[0]), value::Value::Text(row[2].to_owned())).unwrap();
        let without = format!("{:?}", Config::default().settings());
        if let Some(text) = config.driver_options.remove(row[0]) {
            let with = Config { driver_options: [(row[0].to_owned(), text)].into(), ..Config::default() };
            assert_eq!(format!("{:?}", with.settings()), without);
        }
    }
    assert!(rows.iter().all(|row| row[1] == format!("DB_{}", row[0].to_ascii_uppercase())));
    assert_eq!(config, Config::default());
}
