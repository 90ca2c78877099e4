//! `Config` reads the same from every format that applications keep their configuration in.

use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::Duration;

use actix_pg::{Config, ConfigError, ConfigErrorKind, Echo, IsolationLevel, OptionSource, Reset, SslMode};
use config::{Environment, File, FileFormat, Source as _};
use serde::{Deserialize, Serialize};

const TOML: &str = r#"
host = "db.example.com"
port = 6000
user = "alice"
password = "0123"
pool_max_size = 20
acquire_timeout = 2.5
idle_timeout = "10m"
max_lifetime = "off"
echo = "statements"
ssl = "verify-full"
isolation_level = "serializable"
use_connection_for_request = false
keepalives_idle = 20
[server_settings]
search_path = "app, public"
app.tenant = 7
"#;

const YAML: &str = r#"
host: db.example.com
port: 6000
user: alice
password: "0123"
pool_max_size: 20
acquire_timeout: 2.5
idle_timeout: 10m
max_lifetime: ~
echo: statements
ssl: verify-full
isolation_level: SERIALIZABLE
use_connection_for_request: false
keepalives_idle: 20
server_settings:
  search_path: app, public
  app.tenant: 7
"#;

const JSON: &str = r#"{
    "host": "db.example.com", "port": 6000, "user": "alice", "password": "0123", "pool_max_size": 20,
    "acquire_timeout": 2.5, "idle_timeout": "10m", "max_lifetime": null, "echo": "statements",
    "ssl": "verify-full", "isolation_level": "serializable", "use_connection_for_request": false,
    "keepalives_idle": 20, "server_settings": {"search_path": "app, public", "app.tenant": 7}
}"#;

fn expected() -> Config {
    Config {
        host: "db.example.com".into(),
        port: 6000,
        user: "alice".into(),
        password: "0123".into(),
        pool_max_size: 20,
        acquire_timeout: Duration::from_millis(2500),
        idle_timeout: Some(Duration::from_secs(600)),
        max_lifetime: None,
        echo: Echo::Statements,
        ssl: Some(SslMode::VerifyFull),
        isolation_level: Some(IsolationLevel::Serializable),
        use_connection_for_request: false,
        driver_options: [("keepalives_idle".into(), "20".into())].into(),
        server_settings: [("search_path".into(), "app, public".into()), ("app.tenant".into(), "7".into())]
            .into(),
        ..Config::default()
    }
}

fn read(text: &str, format: FileFormat) -> Result<Config, config::ConfigError> {
    let source = File::from_str(text, format);
    config::Config::builder().add_source(source).build()?.try_deserialize()
}

#[test]
fn toml_yaml_and_json_read_alike() {
    assert_eq!(read(TOML, FileFormat::Toml).unwrap(), expected());
    assert_eq!(read(YAML, FileFormat::Yaml).unwrap(), expected());
    assert_eq!(read(JSON, FileFormat::Json).unwrap(), expected());
    assert_eq!(serde_json::from_str::<Config>(JSON).unwrap(), expected());
}

#[test]
fn the_environment_gives_everything_as_text() {
    let variables = HashMap::from(
        [
            ("APP_DB_HOST", "db.example.com"),
            ("APP_DB_PORT", "6000"),
            ("APP_DB_USER", "alice"),
            ("APP_DB_PASSWORD", "0123"),
            ("APP_DB_POOL_MAX_SIZE", "20"),
            ("APP_DB_ACQUIRE_TIMEOUT", "2.5"),
            ("APP_DB_IDLE_TIMEOUT", "10m"),
            ("APP_DB_MAX_LIFETIME", "0"),
            ("APP_DB_ECHO", "statements"),
            ("APP_DB_SSL", "verify-full"),
            ("APP_DB_ISOLATION_LEVEL", "serializable"),
            ("APP_DB_USE_CONNECTION_FOR_REQUEST", "false"),
            ("APP_DB_KEEPALIVES_IDLE", "20"),
            ("APP_DB_SERVER_SETTINGS", "search_path='app, public' app.tenant=7"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let source = Environment::with_prefix("APP_DB").source(Some(variables));
    let config: Config =
        config::Config::builder().add_source(source).build().unwrap().try_deserialize().unwrap();
    let expected = Config { max_lifetime: Some(Duration::ZERO), ..expected() };
    assert_eq!(config, expected);
}

#[test]
fn a_config_may_be_a_part_of_an_applications_own() {
    #[derive(serde::Deserialize)]
    struct Settings {
        listen: String,
        #[serde(default)]
        database: Config,
    }
    let text = "listen = \"127.0.0.1:80\"\n[database]\nhost = \"db\"";
    let source = File::from_str(text, FileFormat::Toml);
    assert!(source.collect().is_ok());
    let settings: Settings =
        config::Config::builder().add_source(source).build().unwrap().try_deserialize().unwrap();
    assert_eq!((&*settings.listen, &*settings.database.host), ("127.0.0.1:80", "db"));
}

#[test]
fn every_format_names_the_option_that_is_wrong() {
    for (text, format) in [
        ("pool_max_size = \"ten\"", FileFormat::Toml),
        ("pool_max_size: ten", FileFormat::Yaml),
        ("{\"pool_max_size\": \"ten\"}", FileFormat::Json),
    ] {
        let err = read(text, format).unwrap_err().to_string();
        let expected = "option `pool_max_size` must be a whole number from 0 to 4294967295, not `ten`";
        assert!(err.contains(expected), "{err}");
    }
    let err = read("pool_maxsize = 3", FileFormat::Toml).unwrap_err().to_string();
    assert!(err.contains("option `pool_maxsize` is unknown; did you mean `pool_max_size`?"), "{err}");
}

#[test]
fn every_word_of_an_option_reads_back() {
    fn reads_back<T>(words: &[(&str, T)])
    where
        T: FromStr<Err = ConfigError>
            + Display
            + Debug
            + Copy
            + PartialEq
            + Serialize
            + for<'de> Deserialize<'de>,
    {
        for (word, value) in words {
            assert_eq!((word.parse::<T>().unwrap(), value.to_string().as_str()), (*value, *word));
            assert_eq!(word.to_uppercase().replace('-', " ").parse::<T>().unwrap(), *value);
            assert_eq!(format!("{value:>20}"), format!("{word:>20}"));
            for (text, format) in [
                (format!("option = \"{word}\""), FileFormat::Toml),
                (format!("option: {word}"), FileFormat::Yaml),
                (format!("{{\"option\": \"{word}\"}}"), FileFormat::Json),
            ] {
                let source = File::from_str(&text, format);
                let read = config::Config::builder().add_source(source).build().unwrap();
                assert_eq!(read.get::<T>("option").unwrap(), *value, "{text}");
            }
            let json = serde_json::to_string(value).unwrap();
            assert_eq!(
                (json.as_str(), serde_json::from_str(&json).unwrap()),
                (&*format!("{word:?}"), *value)
            );
        }
    }
    reads_back(&[
        ("disable", SslMode::Disable),
        ("prefer", SslMode::Prefer),
        ("require", SslMode::Require),
        ("verify-ca", SslMode::VerifyCa),
        ("verify-full", SslMode::VerifyFull),
    ]);
    reads_back(&[("auto", Reset::Auto), ("always", Reset::Always), ("never", Reset::Never)]);
    reads_back(&[("false", Echo::Off), ("statements", Echo::Statements), ("true", Echo::Full)]);
    reads_back(&[
        ("read-uncommitted", IsolationLevel::ReadUncommitted),
        ("read-committed", IsolationLevel::ReadCommitted),
        ("repeatable-read", IsolationLevel::RepeatableRead),
        ("serializable", IsolationLevel::Serializable),
    ]);
}

#[test]
fn a_wrong_word_is_told_the_right_ones() {
    fn refused<T: FromStr<Err = ConfigError> + Debug>(word: &str) -> ConfigError {
        word.parse::<T>().expect_err(word)
    }
    for (err, option, text) in [
        (
            refused::<SslMode>("on"),
            "ssl",
            "one of disable, prefer, require, verify-ca, verify-full, not `on`",
        ),
        (refused::<Reset>(""), "reset", "one of auto, always, never, not ``"),
        (refused::<Echo>("all"), "echo", "true, false or \"statements\", not `all`"),
        (
            refused::<IsolationLevel>("snapshot"),
            "isolation_level",
            "one of read-uncommitted, read-committed, repeatable-read, serializable, not `snapshot`",
        ),
    ] {
        assert_eq!(err.to_string(), format!("option `{option}` must be {text}"));
        assert_eq!((err.kind(), err.option().name()), (ConfigErrorKind::Invalid, option));
    }
    let err = serde_json::from_str::<Reset>("\"sometimes\"").unwrap_err().to_string();
    assert_eq!(err, "option `reset` must be one of auto, always, never, not `sometimes`");
    let err = serde_json::from_str::<SslMode>("true").unwrap_err().to_string();
    assert!(err.ends_with("verify-full, not true"), "{err}");
}

#[test]
fn echo_may_be_a_boolean() {
    for (json, echo) in
        [("true", Echo::Full), ("false", Echo::Off), ("1", Echo::Full), ("\"off\"", Echo::Off)]
    {
        assert_eq!(serde_json::from_str::<Echo>(json).unwrap(), echo, "{json}");
    }
}

#[test]
fn an_option_that_is_not_given_has_its_default() {
    let config = Config::default();
    assert_eq!((config.echo, config.reset), (Echo::default(), Reset::default()));
    assert_eq!(
        (Echo::default(), Reset::default(), SslMode::default()),
        (Echo::Off, Reset::Auto, SslMode::Prefer)
    );
}

#[test]
fn a_config_is_parsed_from_a_dsn() {
    let dsn = "postgres://alice@db.example.com/shop?connect_timeout=3";
    let expected = Config::from_dsn(dsn).unwrap();
    assert_eq!(dsn.parse::<Config>().unwrap(), expected);
    assert_eq!(Config::try_from(dsn).unwrap(), expected);
    let err = "mysql://db".parse::<Config>().unwrap_err();
    assert_eq!(err.option(), &OptionSource::Option("dsn".to_owned()));
    assert_eq!(err.to_string(), "option `dsn` must begin with postgres:// or postgresql://");
}
