//! Each option is seen in the settings, and stands on the page.

use super::*;

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
    let mut options = serde_json::json!({
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
    });
    let observed = serde_json::json!({
        "slow_statement": "1s", "slow_acquire": "2s", "long_hold": "3s", "repeated_statement": 4,
        "shared_reads_slow": "7ms", "shared_reads_large": 77, "queue_target": "50ms", "queue_interval": 2,
    });
    let more = observed.as_object().expect("an object").clone();
    options.as_object_mut().expect("an object").extend(more);
    let settings = of_json(options);
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
    let queue = (Some(Duration::from_millis(50)), Duration::from_secs(2));
    assert_eq!((pool.queue_target, pool.queue_interval), queue);
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
    let warnings = settings.warnings;
    assert_eq!(warnings.slow_statement, Some(Duration::from_secs(1)));
    assert_eq!(warnings.slow_acquire, Some(Duration::from_secs(2)));
    assert_eq!(warnings.long_hold, Some(Duration::from_secs(3)));
    assert_eq!(warnings.repeated_statement, Some(4));
    let shared = settings.shared_reads;
    assert_eq!((shared.sessions, shared.slow, shared.large), (0, Duration::from_millis(7), 77));
    let sharing = of_json(serde_json::json!({"shared_reads": 2}));
    assert_eq!(sharing.shared_reads.sessions, 2);
    assert!(!settings.use_connection_for_request);
}

#[test]
fn a_bound_can_be_switched_off_by_null_zero_or_a_word() {
    for off in [
        serde_json::json!(null),
        0.into(),
        0.0.into(),
        "0".into(),
        "0s".into(),
        "off".into(),
        "none".into(),
        "never".into(),
    ] {
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

/// The options page lists the options, and shows the defaults that the code has.
#[test]
fn the_options_page_and_the_struct_are_equal() {
    let page = include_str!("../../../docs/options.md");
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `") && line.contains("DB_"))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    let listed: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    let known: Vec<&str> = names::OPTIONS.iter().chain(names::PARAMETERS).copied().collect();
    assert_eq!(listed, known);
    let mut config = Config { driver: String::new(), ..Config::default() };
    for row in rows.iter().filter(|row| row[2] != "none") {
        config.set(row[0], OptionSource::option(row[0]), value::Value::Text(row[2].to_owned())).unwrap();
        let without = format!("{:?}", Config::default().settings());
        if let Some(text) = config.driver_options.remove(row[0]) {
            let with = Config { driver_options: [(row[0].to_owned(), text)].into(), ..Config::default() };
            assert_eq!(format!("{:?}", with.settings()), without);
        }
    }
    assert!(rows.iter().all(|row| row[1] == format!("DB_{}", row[0].to_ascii_uppercase())));
    assert_eq!(config, Config::default());
}
