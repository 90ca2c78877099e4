//! Where the reader's standbys are: the writer's options, and over them its own DSN.

use super::*;

fn of(reader: &str) -> Config {
    let dsn = "postgres://alice:s3cret@a:1,b:2/shop?target_session_attrs=read-write&sslmode=disable";
    Config { dsn: Some(dsn.into()), reader: Some(reader.into()), ..Config::default() }
}

fn server(config: &Config) -> ServerSettings {
    config.settings().unwrap().reader.unwrap().server
}

#[test]
fn what_the_reader_does_not_say_is_as_for_the_writer() {
    assert!(Config::default().settings().unwrap().reader.is_none());
    let same = server(&of("prefer-standby"));
    assert_eq!(same.hosts, [tcp("a", 1), tcp("b", 2)]);
    assert_eq!(same.target_session_attrs, TargetSessionAttrs::Standby);
    assert_eq!(same.driver.get_password(), Some(&b"s3cret"[..]));

    let other = server(&of("host=c,d connect_timeout=3 target_session_attrs=any"));
    assert_eq!(other.hosts, [tcp("c", 5432), tcp("d", 5432)]);
    assert_eq!(other.target_session_attrs, TargetSessionAttrs::Any);
    assert_eq!((other.driver.get_user(), other.driver.get_dbname()), (Some("alice"), Some("shop")));
    assert_eq!(other.driver.get_password(), Some(&b"s3cret"[..]));
    assert_eq!((other.ssl.mode, other.connect_timeout), (SslMode::Disable, Duration::from_secs(3)));

    // Another role has another password.
    let strange = server(&of("postgres://bob@c/archive?sslmode=require"));
    assert_eq!((strange.driver.get_user(), strange.driver.get_password()), (Some("bob"), None));
    assert_eq!((strange.driver.get_dbname(), strange.ssl.mode), (Some("archive"), SslMode::Require));
}

#[test]
fn a_wrong_reader_is_refused_by_its_name() {
    for (reader, said) in [
        (
            "standby",
            "must be `prefer-standby` or a DSN, which must be a URL such as postgres://user@host/database, or key=value pairs",
        ),
        (
            "host=c sslmode=on",
            "cannot be used: DSN parameter `sslmode` must be one of disable, prefer, require, verify-ca, verify-full",
        ),
        ("host=c nosuch=1", "must be `prefer-standby` or a DSN, which has a parameter that is unknown"),
    ] {
        let err = of(reader).settings().unwrap_err();
        assert_eq!(err.to_string(), format!("option `reader` {said}"));
    }
    let bounded = |reader: Option<&str>, bound| {
        let reader = reader.map(str::to_owned);
        Config { reader, reader_max_lag: Some(bound), ..Config::default() }
            .settings()
            .map(|settings| settings.reader)
    };
    let second = Duration::from_secs(1);
    let said = |err: ConfigError| err.to_string();
    assert_eq!(
        bounded(None, second).map_err(said).unwrap_err(),
        "option `reader_max_lag` has no effect without `reader`"
    );
    assert_eq!(
        bounded(Some("prefer-standby"), Duration::from_millis(99)).map_err(said).unwrap_err(),
        "option `reader_max_lag` must be at least 100ms, not 99ms"
    );
    assert_eq!(bounded(Some("prefer-standby"), second).unwrap().unwrap().max_lag, Some(second));
    assert_eq!(bounded(Some("prefer-standby"), Duration::ZERO).unwrap().unwrap().max_lag, None);
}

/// P23: what is known of a standby is not known of the next one that a pooler chooses.
#[test]
fn behind_a_transaction_pooler_nothing_is_promised_of_a_standby() {
    let of = |pooler: Pooler, reader: &str, max_lag: u64, own_writes: &str| {
        let key = if own_writes == "position" { "0123456789abcdef0123456789abcdef" } else { "" };
        Config {
            dsn: Some(format!("postgres://bouncer-1/shop?pooler={pooler}")),
            reader: Some(reader.into()),
            reader_max_lag: Some(Duration::from_secs(max_lag)),
            read_your_writes: own_writes.parse().expect("a word"),
            read_your_writes_key: key.into(),
            ..Config::default()
        }
        .settings()
        .map(drop)
        .map_err(|err| err.to_string())
    };
    let behind = "postgres://bouncer-2/shop";
    let problem = "cannot be with `pooler = \"transaction\"`: each transaction may be at another standby";
    for (given, refused) in [
        (of(Pooler::Transaction, behind, 0, "off"), None),
        (of(Pooler::Transaction, behind, 0, "3s"), None),
        (of(Pooler::Transaction, behind, 3, "off"), Some(format!("option `reader_max_lag` {problem}"))),
        (
            of(Pooler::Transaction, behind, 0, "position"),
            Some(format!("option `read_your_writes` {problem}")),
        ),
        (of(Pooler::Session, behind, 3, "position"), None),
        (
            of(Pooler::Transaction, "postgres://bouncer-2/shop?pooler=session", 0, "off"),
            Some("option `reader` must have the same `pooler` as the writer".to_owned()),
        ),
    ] {
        assert_eq!(given.err(), refused);
    }
}

/// P23
#[test]
fn how_a_client_reads_its_writes_is_applied_or_refused() {
    let key = "0123456789abcdef0123456789abcdef";
    let of = |reader: bool, max_lag: u64, own_writes: &str, key: &str| {
        Config {
            reader: reader.then(|| "prefer-standby".into()),
            reader_max_lag: Some(Duration::from_secs(max_lag)),
            read_your_writes: own_writes.parse().expect("a word"),
            read_your_writes_key: key.into(),
            ..Config::default()
        }
        .settings()
        .map(|settings| settings.reader.map(|reader| format!("{:?}", reader.own_writes)))
        .map_err(|err| err.to_string())
    };
    let applied = |shown: &str| Ok(Some(shown.to_owned()));
    assert_eq!(of(false, 0, "off", ""), Ok(None));
    assert_eq!(of(true, 0, "0", ""), applied("Off"));
    assert_eq!(of(true, 3, "3s", ""), applied("Window(3s)"));
    assert_eq!(of(true, 3, "Position", key), applied("Position { key: ***, unknown: Some(3s) }"));
    for (given, said) in [
        (of(false, 0, "3s", ""), "option `read_your_writes` has no effect without `reader`"),
        (of(false, 0, "position", key), "option `read_your_writes` has no effect without `reader`"),
        (of(true, 3, "2s", ""), "option `read_your_writes` must be at least as long as `reader_max_lag`"),
        (
            of(true, 0, "position", ""),
            "option `read_your_writes` cannot be `position` without a `read_your_writes_key`",
        ),
        (
            of(true, 0, "position", &key[1..]),
            "option `read_your_writes_key` must have at least 32 characters",
        ),
        (
            of(true, 0, "3s", key),
            "option `read_your_writes_key` has no effect without `read_your_writes = \"position\"`",
        ),
        (
            of(false, 0, "off", key),
            "option `read_your_writes_key` has no effect without `read_your_writes = \"position\"`",
        ),
    ] {
        assert_eq!(given, Err(said.to_owned()));
    }
    for word in [key, "", "positions", "-1s"] {
        let err = word.parse::<ReadYourWrites>().unwrap_err().to_string();
        assert_eq!(err, "option `read_your_writes` must be `off`, `position`, or a window such as \"3s\"");
    }
    for word in ["off", "position", "1m 30s"] {
        assert_eq!(word.parse::<ReadYourWrites>().unwrap().to_string(), word);
    }
}

/// P22
#[test]
fn the_key_is_not_shown() {
    let key = "hunter2hunter2hunter2hunter2hunter2";
    let config = Config {
        read_your_writes: ReadYourWrites::Position,
        read_your_writes_key: key.into(),
        ..of("prefer-standby")
    };
    let shown = format!("{config:?} {config:#?} {:?}", config.settings().unwrap());
    assert!(shown.contains("Position") && !shown.contains("hunter2"), "{shown}");
}

/// P22
#[test]
fn a_password_of_the_reader_is_not_shown() {
    let config = of("postgres://bob:hunter2@c/archive");
    let shown = format!("{config:?}");
    assert!(shown.contains("user=bob") && !shown.contains("hunter2") && !shown.contains("s3cret"), "{shown}");
    assert!(format!("{:?}", of("prefer-standby")).contains("prefer-standby"));
    let config = of("postgres://bob:hun/ter2@c/archive");
    let shown = format!("{config:?} {}", config.settings().unwrap_err());
    assert!(!shown.contains("hun") && !shown.contains("ter2@"), "{shown}");
}
