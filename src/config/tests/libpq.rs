//! libpq's environment, argument by argument.

use std::ffi::OsString;

use super::*;

fn of_vars(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::from_vars(variables, "DB_")
}

const EVERYTHING: &[(&str, &str)] = &[
    ("PGHOST", "pg.example"),
    ("PGPORT", "6543"),
    ("PGUSER", "pg-user"),
    ("PGPASSWORD", "open sesame'&=@/\\"),
    ("PGDATABASE", "pg-database"),
    ("PGAPPNAME", "pg-app"),
    ("PGCONNECT_TIMEOUT", "7"),
    ("PGOPTIONS", "-c geqo=off"),
    ("PGSSLMODE", "disable"),
    ("PGTARGETSESSIONATTRS", "read-write"),
    ("PGLOADBALANCEHOSTS", "random"),
    ("PGREQUIREAUTH", "scram-sha-256"),
    ("PGPASSFILE", "/a/file"),
];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Settings {
    let all = [EVERYTHING, more].concat();
    of_vars(&all).and_then(|config| config.settings()).unwrap_or_else(|err| panic!("{more:?}: {err}"))
}

fn login(server: &ServerSettings) -> [Option<String>; 3] {
    let driver = &server.driver;
    let password = driver.get_password().map(|password| String::from_utf8(password.to_vec()).unwrap());
    [driver.get_user().map(str::to_owned), password, driver.get_dbname().map(str::to_owned)]
}

fn owned(texts: [Option<&str>; 3]) -> [Option<String>; 3] {
    texts.map(|text| text.map(str::to_owned))
}

#[test]
fn what_nobody_says_is_taken_from_libpqs_variables() {
    let secret = Some("open sesame'&=@/\\");
    for more in [
        &[][..],
        &[("DATABASE_URL", "postgres://")],
        &[("DATABASE_URL", "postgres://?")],
        &[("DATABASE_URL", "postgres:///?keepalives_idle=30")],
        &[("DATABASE_URL", "keepalives_idle=30")],
    ] {
        let server = with(more).server;
        assert_eq!(server.hosts, [tcp("pg.example", 6543)], "{more:?}");
        assert_eq!(login(&server), owned([Some("pg-user"), secret, Some("pg-database")]), "{more:?}");
        assert_eq!(server.driver.get_application_name(), Some("pg-app"));
        assert_eq!(server.driver.get_options(), Some("-c geqo=off"));
        assert_eq!(server.connect_timeout, Duration::from_secs(7));
        assert_eq!((server.ssl.mode, server.load_balance_hosts), (SslMode::Disable, true));
        assert_eq!(server.target_session_attrs, TargetSessionAttrs::ReadWrite);
        assert_eq!(server.passfile, Some("/a/file".into()));
        let required = server.require_auth.expect("a list");
        assert!(required.allows(AuthMethod::ScramSha256) && !required.allows(AuthMethod::Password));
    }
}

#[test]
fn what_the_dsn_or_an_option_says_goes_first() {
    let server =
        with(&[("DATABASE_URL", "postgres://alice:secret@a:1/shop?sslmode=prefer&application_name=x")])
            .server;
    assert_eq!(server.hosts, [tcp("a", 1)]);
    assert_eq!(login(&server), owned([Some("alice"), Some("secret"), Some("shop")]));
    assert_eq!((server.driver.get_application_name(), server.ssl.mode), (Some("x"), SslMode::Prefer));
    // Argument by argument.
    let server = with(&[("DATABASE_URL", "host=a user=alice ssl=prefer")]).server;
    assert_eq!((&*server.hosts, server.ssl.mode), (&[tcp("a", 6543)][..], SslMode::Prefer));
    assert_eq!(login(&server)[2].as_deref(), Some("pg-database"));
    let server = with(&[("DB_HOST", "b"), ("DB_DATABASE", "shop"), ("DB_SSLMODE", "prefer")]).server;
    assert_eq!((&*server.hosts, server.ssl.mode), (&[tcp("b", 6543)][..], SslMode::Prefer));
    let server =
        with(&[("DB_CONNECT_TIMEOUT", "3"), ("DB_OPTIONS", "-c jit=off"), ("DB_SSL", "prefer")]).server;
    assert_eq!((server.connect_timeout, server.ssl.mode), (Duration::from_secs(3), SslMode::Prefer));
    assert_eq!(server.driver.get_options(), Some("-c jit=off"));
    // A DSN replaces `DB_USER`, and libpq's variable goes before that.
    let server = with(&[("DATABASE_URL", "postgres://a"), ("DB_USER", "ignored")]).server;
    assert_eq!(login(&server)[0].as_deref(), Some("pg-user"));
    // Other prefixes have the same defaults; a DSN by hand has none.
    let variables = [("PGUSER", "pg-user"), ("AUDIT_HOST", "audit"), ("DB_HOST", "main")];
    let variables = variables.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let audit = Config::from_vars(variables, "AUDIT_").unwrap();
    assert_eq!((&*audit.host, &*audit.user), ("audit", "pg-user"));
    assert_eq!(of_vars(&[("PGHOST", ""), ("PGUSER", ""), ("PGSERVICE", "")]).unwrap(), Config::default());
}

#[test]
fn an_error_names_the_variable_that_the_value_came_from() {
    for (variables, text) in [
        (
            &[("PGPORT", "x")][..],
            "environment variable `PGPORT` must be a whole number from 0 to 65535, not `x`",
        ),
        (
            &[("PGPORT", "0"), ("DATABASE_URL", "postgres://a")],
            "environment variable `PGPORT` must be a number from 1 to 65535",
        ),
        (
            &[("PGHOST", "postgres://u:secret@h")],
            "environment variable `PGHOST` is a URL; that is what `dsn` is for",
        ),
        (
            &[("PGHOST", "a@b"), ("DATABASE_URL", "user=u")],
            "environment variable `PGHOST` must be a host name, an IP address or a socket directory",
        ),
        (
            &[("PGSSLMODE", "allow")],
            "environment variable `PGSSLMODE` must be one of disable, prefer, require, verify-ca, verify-full, not `allow`",
        ),
        (&[("PGCONNECT_TIMEOUT", "0")], "environment variable `PGCONNECT_TIMEOUT` must be longer than zero"),
        (
            &[("PGREQUIREAUTH", "!md5,password")],
            "environment variable `PGREQUIREAUTH` must be some of none, password, md5, gss, sspi, scram-sha-256, oauth, \
             with commas, each once; with a `!` before all of them or none, not `!md5,password`",
        ),
        (
            &[("PGSERVICE", "shop")],
            "environment variable `PGSERVICE` asks for what this driver cannot do; unset it for this process",
        ),
        (
            &[("PGSSLCERTMODE", "require")],
            "environment variable `PGSSLCERTMODE` asks for what this driver cannot do; unset it for this process",
        ),
        (
            &[
                ("PGSSLCERTMODE", "disable"),
                ("PGSSLCERT", "c.pem"),
                ("PGSSLKEY", "k.pem"),
                ("PGSSLMODE", "require"),
            ],
            "environment variable `PGSSLCERTMODE` asks for what this driver cannot do; unset it for this process",
        ),
        (
            &[
                ("PGSSLCERTMODE", "disable"),
                ("DATABASE_URL", "postgres://a?sslmode=require&sslcert=c&sslkey=k"),
            ],
            "environment variable `PGSSLCERTMODE` asks for what this driver cannot do; unset it for this process",
        ),
        (
            &[("PGREQUIREPEER", "postgres")],
            "environment variable `PGREQUIREPEER` asks for what this driver cannot do; unset it for this process",
        ),
    ] {
        assert_eq!(of_vars(variables).expect_err(text).to_string(), text);
    }
    for harmless in [
        ("PGGSSENCMODE", "prefer"),
        ("PGREQUIRESSL", "0"),
        ("PGSSLMINPROTOCOLVERSION", "TLSv1.2"),
        ("PGSSLCERTMODE", "allow"),
        ("PGSSLCERTMODE", "disable"),
    ] {
        assert!(of_vars(&[harmless]).is_ok(), "{harmless:?}");
    }
    assert!(of_vars(&[("PGSSLMINPROTOCOLVERSION", "TLSv1.3")]).is_err());
}

/// P22.
#[test]
fn nothing_of_a_password_is_shown() {
    for dsn in ["", "postgres://a", "host=a"] {
        let config = of_vars(&[("PGPASSWORD", "open-sesame-7"), ("DATABASE_URL", dsn)]).unwrap();
        let shown = format!("{config:?} {:?}", config.settings());
        assert!(!shown.contains("sesame"), "{shown}");
        let wrong = [("PGPASSWORD", "open-sesame-7"), ("DATABASE_URL", dsn), ("PGPORT", "0")];
        let err = of_vars(&wrong).unwrap_err();
        assert!(!format!("{err:?} {err:#}").contains("sesame"), "{err:?}");
    }
}

#[cfg(unix)]
#[test]
fn the_password_file_of_the_home_folder_is_named_where_there_is_no_password() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join(".pgpass");
    let home = ("HOME", home.path().to_str().unwrap());
    let passfile = |more: &[(&str, &str)]| {
        let config = of_vars(&[&[home][..], more].concat()).unwrap();
        config.settings().unwrap().server.passfile
    };
    assert_eq!(passfile(&[]), None, "it is not there");
    std::fs::write(&file, "*:*:*:*:secret").unwrap();
    assert_eq!(passfile(&[]), Some(file.clone()));
    assert_eq!(passfile(&[("DATABASE_URL", "postgres://alice@db")]), Some(file.clone()));
    for (name, value) in
        [("DB_PASSWORD", "x"), ("PGPASSWORD", "x"), ("DATABASE_URL", "postgres://alice:x@db")]
    {
        assert_eq!(passfile(&[(name, value)]), None, "{name}");
    }
    let other = Some(PathBuf::from("/other"));
    assert_eq!(passfile(&[("PGPASSFILE", "/other")]), other);
    assert_eq!(passfile(&[("DB_PASSFILE", "/other"), ("PGPASSFILE", "/another")]), other);
    assert_eq!(passfile(&[("DATABASE_URL", "postgres://db?passfile=/other")]), other);
}

#[test]
fn require_auth_allows_what_it_names_or_all_but_that() {
    let of = |text: &str| of_dsn(&format!("require_auth={text}")).server.require_auth.unwrap();
    for (text, password, scram, none) in [
        ("password", true, false, false),
        ("scram-sha-256,none", false, true, true),
        ("!password", false, true, true),
        ("!none,!password,!md5", false, true, false),
    ] {
        let required = of(text);
        let allowed = [AuthMethod::Password, AuthMethod::ScramSha256, AuthMethod::None];
        assert_eq!(allowed.map(|method| required.allows(method)), [password, scram, none], "{text}");
    }
    for wrong in ["scram", "!", "md5,", "md5,md5", "md5,!none", "!md5,none", "'md5, none'"] {
        let err = Config::from_dsn(&format!("require_auth={wrong}")).unwrap_err();
        assert!(err.to_string().starts_with("DSN parameter `require_auth` must be some of none, "), "{err}");
    }
    assert_eq!(of_dsn("require_auth=''").server.require_auth, None);
}
