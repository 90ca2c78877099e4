//! The environment, option by option.

use std::ffi::OsString;

use super::*;

fn of_vars(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    of_vars_with(variables, "DB_")
}

fn of_vars_with(variables: &[(&str, &str)], prefix: &str) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::from_vars(variables, prefix)
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
    let of_kubernetes = [("DATABASE_URL", "postgres://a"), ("DB_PORT", "tcp://10.0.0.1:5432")];
    assert_eq!(of_vars(&of_kubernetes).unwrap(), Config::from_dsn("postgres://a").unwrap());
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
            "DSN parameter `sslmode` must be one of disable, prefer, require, verify-ca, verify-full",
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

/// A second database has variables of its own, and sees none of the first.
#[test]
fn a_prefix_of_the_applications_own_names_the_variables() {
    let audit = |variables: &[(&str, &str)]| of_vars_with(variables, "AUDIT_");
    let config = audit(&[
        ("DATABASE_URL", "postgres://main"),
        ("DB_POOL_MAX_SIZE", "7"),
        ("AUDIT_HOST", "audit"),
        ("AUDIT_POOL_MAX_SIZE", "3"),
        ("AUDIT_POOL_MIN_SIZE", "1"),
        ("AUDIT_LOG_FILE", "x"),
    ])
    .unwrap();
    assert_eq!((config.dsn.as_deref(), &*config.host, config.pool_max_size), (None, "audit", 3));
    for variable in ["AUDIT_DATABASE_URL", "AUDIT_DSN"] {
        let config = audit(&[(variable, "postgres://audit"), ("AUDIT_PORT", "tcp://10.0.0.1:1")]).unwrap();
        assert_eq!(config, Config::from_dsn("postgres://audit").unwrap());
    }
    for (variables, text) in [
        (
            &[("AUDIT_POOL_MAX_SIZE", "0")][..],
            "environment variable `AUDIT_POOL_MAX_SIZE` must be at least 1, not 0",
        ),
        (
            &[("AUDIT_NAME", "x")],
            "environment variable `AUDIT_NAME` is unknown; did you mean `AUDIT_DATABASE`?",
        ),
        (
            &[("AUDIT_URL", "x")],
            "environment variable `AUDIT_URL` is unknown; did you mean `AUDIT_DATABASE_URL`?",
        ),
        (
            &[("AUDIT_DATABASE_URL", "postgres://x"), ("AUDIT_DSN", "postgres://y")],
            "environment variable `AUDIT_DSN` contradicts `AUDIT_DATABASE_URL`; give one of them",
        ),
    ] {
        assert_eq!(audit(variables).expect_err(text).to_string(), text);
    }
}
