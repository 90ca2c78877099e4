//! Generated DSNs, taken apart here and by libpq.

use std::collections::BTreeMap;
use std::env;
use std::io::Write;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::config::dsn::parse;

type Given = BTreeMap<String, String>;

/// Each shape comes with each slip in them many times.
const CASES: usize = 5_000;

/// Where libpq is: where the system looks for libraries, or where Homebrew puts them.
const LIBRARIES: &[&str] = if cfg!(target_os = "macos") {
    &[
        "libpq.5.dylib",
        "/opt/homebrew/opt/libpq/lib/libpq.5.dylib",
        "/opt/homebrew/opt/postgresql@17/lib/postgresql/libpq.5.dylib",
        "/usr/local/opt/postgresql@17/lib/postgresql/libpq.5.dylib",
    ]
} else {
    &["libpq.so.5"]
};

/// The parameters that both know.
const NAMES: [&str; 9] = [
    "user",
    "password",
    "host",
    "port",
    "dbname",
    "application_name",
    "connect_timeout",
    "options",
    "target_session_attrs",
];

/// Where libpq takes what is refused here: each is a slip, or may be a piece of a password.
const STRICTER: [&str; 9] = [
    "twice",
    "has an `@` after the host",
    "has several `:` in a host",
    "has a port that is no number",
    "has a `[` without a `]`",
    // A raw `?` before the host.
    "has a parameter without a `=`",
    "must be a URL such as",
    "has a parameter name that is none",
    "is not UTF-8",
];

/// Where what libpq refuses is taken here.
fn is_more_lenient(dsn: &str) -> bool {
    let query = dsn.split_once('?').map_or("", |(_, query)| query);
    // A second `=` in a parameter, as in `?options=-c geqo=off`; `&` before or behind all.
    query.split('&').any(|pair| pair.is_empty() || pair.matches('=').count() > 1)
        // Bytes that libpq does not decode.
        || dsn.contains('%')
        || dsn.contains('[')
}

/// Of several `@`, the last one ends the password here, and the first one there: a raw `@` in a password is a common slip.
fn is_ambiguous(dsn: &str) -> bool {
    dsn.split_once("://").is_some_and(|(_, rest)| rest.matches('@').count() > 1)
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9._-]{1,6}",
        1 => Just(String::new()),
        1 => "(%40|%2F|%3a|%25|%20|%27|%5C|%3D|%26|%C3%A9){1,2}[a-z]?",
        1 => "[a-z=&:é ]{1,4}",
    ]
}

fn host() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        "[a-z]{1,3}(\\.[a-z]{1,3})?",
        Just("[::1]".into()),
        Just("%2Frun%2Fpg".into()),
        Just(String::new())
    ];
    (name, prop_oneof![2 => Just(String::new()), 1 => ":[1-9][0-9]{0,3}", 1 => Just(":".into())])
        .prop_map(|(name, port)| name + &port)
}

fn url() -> impl Strategy<Value = String> {
    let login = prop_oneof![
        Just(String::new()),
        piece().prop_map(|user| format!("{user}@")),
        (piece(), piece()).prop_map(|(user, password)| format!("{user}:{password}@")),
    ];
    let hosts = prop::collection::vec(host(), 0..4).prop_map(|hosts| hosts.join(","));
    let path =
        prop_oneof![Just(String::new()), Just("/".into()), piece().prop_map(|name| format!("/{name}"))];
    let query = prop::collection::vec((prop::sample::select(&NAMES[..]), piece()), 0..4).prop_map(|pairs| {
        let pairs: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    });
    (prop::sample::select(&["postgres://", "postgresql://"][..]), login, hosts, path, query)
        .prop_map(|(scheme, login, hosts, path, query)| format!("{scheme}{login}{hosts}{path}{query}"))
}

fn pairs() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        3 => "[a-z0-9/.,_-]{1,8}",
        1 => Just("''".into()),
        2 => "'([a-z =/@]|\\\\\\\\|\\\\'|\\\\a){0,6}'",
        1 => "([a-z]|\\\\ |\\\\\\\\|\\\\'){1,5}",
    ];
    let pair = (prop::sample::select(&NAMES[..]), prop::sample::select(&["=", " = ", "= ", " ="][..]), value);
    let pair = pair.prop_map(|(name, equals, value): (_, _, String)| format!("{name}{equals}{value}"));
    (prop::collection::vec(pair, 1..5), prop::sample::select(&[" ", "  ", "\t", "\n"][..]))
        .prop_map(|(pairs, between)| pairs.join(between))
}

/// A DSN, as it should be or with one character too many.
fn dsns() -> impl Strategy<Value = String> {
    let slip = prop::option::weighted(
        0.3,
        (
            any::<prop::sample::Index>(),
            prop::sample::select(&[':', '/', '?', '#', '@', '%', '=', '&', ' ', '\'', '\\', ',', '['][..]),
        ),
    );
    (prop_oneof![url(), pairs()], slip).prop_map(|(dsn, slip)| {
        let Some((at, slip)) = slip else { return dsn };
        let mut chars: Vec<char> = dsn.chars().collect();
        chars.insert(at.index(chars.len() + 1), slip);
        chars.into_iter().collect()
    })
}

/// What libpq makes of them. `None` where there is no libpq, or no Python to call it with.
fn of_libpq(dsns: &[String]) -> Option<Vec<Option<Given>>> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/tests/conninfo.py");
    let child = Command::new("python3")
        .arg(script)
        .args(LIBRARIES)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.ok()?;
    let mut input = child.stdin.take().expect("a pipe");
    let lines: String = dsns.iter().map(|dsn| serde_json::to_string(dsn).expect("JSON") + "\n").collect();
    // It reads and writes by turns.
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("an end");
    let _ = writer.join();
    if !output.status.success() {
        return None;
    }
    let answers = String::from_utf8(output.stdout).expect("text");
    Some(answers.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

/// Without what is as good as not given: an empty value, and a list of nothing.
fn said(given: impl IntoIterator<Item = (String, String)>) -> Given {
    given.into_iter().filter(|(_, value)| !value.chars().all(|c| c == ',')).collect()
}

#[test]
fn a_dsn_means_what_it_means_to_libpq() {
    let mut runner = TestRunner::deterministic();
    let dsns: Vec<String> =
        (0..CASES).map(|_| dsns().new_tree(&mut runner).expect("a DSN").current()).collect();
    let Some(theirs) = of_libpq(&dsns) else {
        let text =
            "SKIPPED: no libpq, or no python3 to call it with; `cargo xtask test` installs PostgreSQL.";
        assert!(cfg!(not(target_os = "linux")) || env::var("CI").as_deref() != Ok("true"), "{text}");
        // Not `eprintln!`, which is not shown for a test that passes.
        let _ = writeln!(std::io::stderr(), "{text}");
        return;
    };
    assert_eq!(theirs.len(), dsns.len());
    let (mut agreed, mut wrong) = (0, Vec::new());
    for (dsn, theirs) in dsns.iter().zip(theirs) {
        match (parse(dsn), theirs) {
            (Ok(ours), Some(theirs)) if said(ours.clone()) == said(theirs.clone()) => agreed += 1,
            (Err(_), None) => agreed += 1,
            (Err(err), Some(_)) if STRICTER.iter().any(|reason| err.contains(reason)) => {}
            (Ok(ours), None) if ours.iter().any(|(name, _)| !NAMES.contains(&&**name)) => agreed += 1,
            (Ok(_), None) if is_more_lenient(dsn) => {}
            (Ok(_), _) if is_ambiguous(dsn) => {}
            (ours, theirs) => wrong.push(format!("{dsn:?}\n  ours   {ours:?}\n  theirs {theirs:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong[..wrong.len().min(25)].join("\n"));
    assert!(agreed > CASES / 2, "only {agreed} of {CASES} were compared to the end");
}
