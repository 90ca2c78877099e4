//! What a DSN says.

use proptest::prelude::*;

use super::*;

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
    for (word, expected) in [
        ("any", TargetSessionAttrs::Any),
        ("primary", TargetSessionAttrs::Primary),
        ("standby", TargetSessionAttrs::Standby),
        ("prefer-standby", TargetSessionAttrs::PreferStandby),
    ] {
        let dsn = format!("host=a target_session_attrs={word}");
        assert_eq!(of_dsn(&dsn).server.target_session_attrs, expected);
    }
    assert!(server.load_balance_hosts);
    assert_eq!(server.driver.get_options(), Some("-c a=b"));
    assert_eq!(of_dsn("host=a keepalives_retries=4").server.keepalive.unwrap().retries, Some(4));
    let system = of_dsn("host=a keepalives_idle=0 keepalives_interval=0 keepalives_retries=0")
        .server
        .keepalive
        .unwrap();
    assert_eq!(system, Keepalive { idle: Duration::from_secs(7200), interval: None, retries: None });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn no_dsn_panics(dsn in "(postgres(ql)?(\\+[a-z]*)?://)?[\\PC]*") {
        let _ = Config::from_dsn(&dsn);
        let _ = redacted::masked_dsn(&dsn);
    }

    #[test]
    fn no_half_sensible_dsn_panics(dsn in "(postgres://)?([a-z:@/?=&%,\\[\\]'\\\\ .0-9]|host=|sslmode=|port=){0,40}") {
        let _ = Config::from_dsn(&dsn);
    }

    #[test]
    fn a_url_gives_back_what_was_encoded(user in "[^\\x00]+", password in "[^\\x00]+", database in "[^\\x00]+") {
        // A URL in the place of a name is a mistake, and refused.
        prop_assume!(!user.contains("://") && !database.contains("://"));
        let encode = |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let dsn = format!("postgres://{}:{}@db/{}", encode(&user), encode(&password), encode(&database));
        let driver = of_dsn(&dsn).server.driver;
        prop_assert_eq!(driver.get_user(), Some(&*user));
        prop_assert_eq!(driver.get_password(), Some(password.as_bytes()));
        prop_assert_eq!(driver.get_dbname(), Some(&*database));
    }

    #[test]
    fn quoted_pairs_give_back_what_was_quoted(password in "[^\\x00]+", database in "[^\\x00]+") {
        prop_assume!(!database.contains("://"));
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
            let server = Config::from_dsn(dsn).ok()?.settings().ok()?.server;
            let password = server.driver.get_password().map(<[u8]>::to_vec);
            let negotiation = server.driver.get_ssl_negotiation();
            Some(format!("{server:?} {password:?} {negotiation:?}"))
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
