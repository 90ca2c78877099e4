//! A password in a DSN that is not written as it has to be, which tears it into pieces: none of them is shown.

use proptest::prelude::*;

use super::*;

/// Where a password stands, in DSNs that are right and in others.
const SHAPES: &[&str] = &[
    "postgres://alice:{}@db.example/shop",
    "postgres://alice:{}@db.example:5432/shop?sslmode=prefer",
    "postgres://alice:{}@db.example/shop?application_name=me",
    "postgres://alice:{}@db.example/shop?sslmode=wrong",
    "postgres://alice:{}@db.example/shop?connect_timeout=soon",
    "postgres://alice:{}@db.example/shop?nosuch=1",
    "postgres://alice:{}@db.example:port/shop",
    "postgres://alice:{}@a.example:1,b.example:2/shop",
    "postgres://alice:{}@[::1]:5432/shop",
    "postgres://alice:{}@/shop?host=/run/postgresql",
    "postgres://:{}@db.example",
    "POSTGRES://alice:{}@db.example",
    "postgres://db.example/shop?user=alice&password={}",
    "postgres://db.example/shop?password={}&sslmode=prefer",
    "postgres:/alice:{}@db.example/shop?sslmode=prefer",
    "postgres//alice:{}@db.example/shop",
    "postgres:alice:{}@db.example/shop",
    "'postgres://alice:{}@db.example/shop?sslmode=prefer'",
    " postgres://alice:{}@db.example/shop?sslmode=prefer",
    "alice:{}@db.example/shop",
    "mysql://alice:{}@db.example/shop",
    "host=db.example user=alice password={} dbname=shop",
    "host=db.example password = {}",
    "password={}",
    "password={} sslmode=wrong",
    "host=db.example password={} nosuch=1",
    "password='{}' host=db.example",
    "password='{} host=db.example",
    "password={}' host=db.example",
    "password={},host=db.example",
    "password:{} host=db.example",
];

/// Pieces that no text of ours contains, some of which could be a port, and what tears them apart.
fn password() -> impl Strategy<Value = (String, Vec<String>)> {
    let piece = prop_oneof![3 => "Zq[a-z0-9_]{2,5}", 1 => "8[1-9]{3}", 1 => "Zq[a-z]{2}\\.[a-z]{3}Zq"];
    let between = "[ \t\n:/?@%#&='\"\\\\\\[\\],;+]{1,2}|%4|%ff";
    proptest::collection::vec((piece, between), 1..5).prop_map(|pieces| {
        let mut password = String::new();
        for (index, (piece, between)) in pieces.iter().enumerate() {
            password += if index == 0 { "" } else { between };
            password += piece;
        }
        (password, pieces.into_iter().map(|(piece, _)| piece).collect())
    })
}

fn shown(dsn: &str) -> String {
    use std::error::Error as _;

    let config = Config { dsn: Some(dsn.to_owned()), ..Config::default() };
    let mut text = format!("{config:?} {config:#?}");
    let settings = config.settings();
    text += &format!(" {settings:?} {settings:#?}");
    for err in [settings.err(), Config::from_dsn(dsn).err()].into_iter().flatten() {
        text += &format!(" {err} {err:#} {err:?} {:?}", err.option());
        let err = crate::Error::from(err);
        let source = err.source().expect("the configuration's");
        text += &format!(" {err} {err:#} {err:?} {source} {source:?}");
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_piece_of_a_password_is_shown((password, pieces) in password(), shape in proptest::sample::select(SHAPES)) {
        let dsn = shape.replace("{}", &password);
        let shown = shown(&dsn);
        for piece in pieces {
            prop_assert!(!shown.contains(&piece), "{dsn:?} shows {piece:?}: {shown}");
        }
    }
}

#[test]
fn what_looks_like_a_parameter_may_be_a_piece_of_a_password() {
    for dsn in [
        "host=db password=correct horse=battery",
        "host=db password=correct horse=1 horse=2",
        "host=db password=correct hot=battery",
        "host=db password=horse sslmode=battery",
        "postgres://u:12?horse=battery@h/db",
        "postgres://u:12?user=horse@h/db",
        "postgres://u:12?host=horse@h/db",
        "postgres://u:12/horse?user=battery@h/db",
        "postgres://u:12@horse?user=battery@h/db",
        "postgres://u:12?battery=horse",
    ] {
        let shown = shown(dsn);
        for piece in ["horse", "battery", "hot"] {
            assert!(!shown.replace("`host`", "").contains(piece), "{dsn} shows {piece}: {shown}");
        }
    }
}

#[test]
fn a_url_in_the_place_of_a_name_is_refused_and_not_shown() {
    let url = || "postgres://alice:hunter2@db.example/shop".to_owned();
    let dsn = |name: &str| Config { dsn: Some(format!("{name}={}", url())), ..Config::default() };
    for config in [
        Config { driver: url(), ..Config::default() },
        Config { host: url(), ..Config::default() },
        Config { user: url(), ..Config::default() },
        Config { database: url(), ..Config::default() },
        dsn("host"),
        dsn("user"),
        dsn("dbname"),
    ] {
        let err = config.settings().expect_err("a URL");
        let shown = format!("{config:?} {err:?}");
        assert!(shown.ends_with("is a URL; that is what `dsn` is for"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_name_is_one_line() {
    let err = serde_json::from_str::<Config>(r#"{"a\nb": 1}"#).expect_err("no such option").to_string();
    let source = OptionSource::option("a\nb");
    assert_eq!((err.lines().count(), source.to_string().lines().count()), (1, 1));
}
