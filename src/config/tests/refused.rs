//! What is refused, in which words, and that they give no secret away.

use super::*;

fn refused_dsn(dsn: &str) -> String {
    Config::from_dsn(dsn).expect_err(dsn).to_string()
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
        ("postgres://u:a/b@db/x", &format!("option `dsn` has an `@` after the host{hint}")),
        ("postgres://u:12/b@db/x", &format!("option `dsn` has an `@` after the host{hint}")),
        ("postgres://u:12?user=b@db/x", &format!("option `dsn` has an `@` after the host{hint}")),
        ("postgres://%ff@db/x", "option `dsn` has percent-encoding that is not UTF-8"),
        ("postgres://db/%00", "DSN parameter `dbname` must not contain a NUL character"),
        ("postgres://db?sslmode", "option `dsn` has a parameter without a `=`"),
        ("postgres://db?sslmode=disable&sslmode=require", "option `dsn` has `sslmode` twice"),
        (
            "postgres://db?sslmode=off",
            "DSN parameter `sslmode` must be one of disable, prefer, require, verify-ca, verify-full",
        ),
        (
            "postgres://db?ssl=true&sslmode=disable",
            "DSN parameter `sslmode` says the same as `ssl`; give one of them",
        ),
        (
            "postgres://db?sslmod=require",
            "option `dsn` has a parameter that is unknown; did you mean `sslmode`?",
        ),
        ("postgres://db?horse=1", "option `dsn` has a parameter that is unknown"),
        ("postgres://db?horse=1&horse=2", "option `dsn` has a parameter twice"),
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
            "postgres://db?target_session_attrs=master",
            "DSN parameter `target_session_attrs` must be one of any, read-write, read-only, primary, standby, prefer-standby",
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
        (r#"{"pool_min_size": 20}"#, "option `pool_min_size` must be at most `pool_max_size` (10), not 20".into()),
        (r#"{"pool_max_size": 2}"#, "option `pool_max_size` must be at least `pool_min_size` (5), not 2".into()),
        (r#"{"database": "a\u0000"}"#, "option `database` must not contain a NUL character".into()),
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
        (r#"{"max_lifetime": 1e300}"#, format!("option `max_lifetime` {duration}, not 1e300")),
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
    for name in names::OPTIONS.iter().chain(names::PARAMETERS) {
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
    assert_eq!(
        (err.kind(), err.option()),
        (ConfigErrorKind::Unknown, &OptionSource::Option("keepalive".into()))
    );
    let config = Config { driver_options: [("password".into(), "x".into())].into(), ..Config::default() };
    assert_eq!(config.settings().unwrap_err().to_string(), "option `password` is unknown");
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
