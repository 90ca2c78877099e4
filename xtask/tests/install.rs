//! What is installed on a machine that lacks it, and with which command. Nothing is run: the commands are read as they are
//! printed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// What runs when nothing is asked for.
const TESTS: &str = "$ cargo test --all-features\n\
     $ cargo test --package actix-pg-derive --package actix-pg-dashboard --package actix-pg-demo\n";

#[test]
fn a_missing_server_is_installed_with_the_packages_of_the_platform() {
    for (manager, command) in [
        ("apt-get", "apt-get install -y --no-install-recommends postgresql"),
        ("dnf", "dnf install -y postgresql-server"),
        ("apk", "apk add postgresql"),
        ("brew", "brew install postgresql@17"),
    ] {
        let printed = printed(&["test", "--quiet"], &[("XTASK_PACKAGE_MANAGER", manager)]);
        assert!(printed.contains(command), "{printed}");
        let (before, _) = command.rsplit_once(' ').expect("a package");
        assert!(printed.contains(&format!("{before} pgbouncer\n")), "{printed}");
        assert!(printed.ends_with("$ cargo test --all-features --quiet\n"), "{printed}");
    }
}

#[test]
fn debian_is_told_to_start_no_server_of_its_own() {
    let printed = printed(&["test"], &[("XTASK_PACKAGE_MANAGER", "apt-get")]);
    let (no_cluster, install) =
        (printed.find("create_main_cluster = false"), printed.find("apt-get install"));
    assert!(no_cluster.is_some() && no_cluster < install, "{printed}");
}

#[test]
fn a_pooler_that_cannot_be_installed_is_done_without() {
    let printed = printed(
        &["test"],
        &[("TEST_DATABASE_URL", "postgres://there"), ("XTASK_PACKAGE_MANAGER", "unheard-of")],
    );
    assert!(printed.contains("install PgBouncer by hand; going on without"), "{printed}");
    assert!(
        printed.contains("install Chromium and chromedriver by hand; the tests in a browser are skipped"),
        "{printed}"
    );
    assert!(printed.ends_with(TESTS), "{printed}");
}

#[test]
fn a_newer_pooler_is_fetched_beside_an_old_one() {
    let of = |version: &str| {
        let folder = format!("{}/pgbouncer-{version}", env!("CARGO_TARGET_TMPDIR"));
        fs::create_dir_all(&folder).unwrap();
        let program = format!("{folder}/pgbouncer");
        fs::write(&program, format!("#!/bin/sh\necho PgBouncer {version}\n")).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        let there = [("XTASK_PGBOUNCER_PATH", &*folder), ("XTASK_PACKAGE_MANAGER", "apt-get")];
        printed(&["test", "--quiet"], &there)
    };
    let old = of("1.18.0");
    if cfg!(target_arch = "x86_64") {
        assert!(old.contains("xtask/newer-pgbouncer.sh "), "{old}");
        assert!(old.contains("\n$ PGBOUNCER=/") && old.contains("/pgbouncer cargo test"), "{old}");
    }
    let newer = of("1.21.0");
    assert!(newer.ends_with("\n$ cargo test --all-features --quiet\n"), "{newer}");
}

#[test]
fn a_missing_browser_is_installed_with_its_driver() {
    for (manager, command) in [
        ("apt-get", "apt-get install -y --no-install-recommends chromium chromium-driver\n"),
        ("dnf", "dnf install -y chromium chromedriver\n"),
        ("apk", "apk add chromium chromium-chromedriver\n"),
    ] {
        let printed = printed(&["test"], &[("XTASK_PACKAGE_MANAGER", manager)]);
        assert!(printed.contains(command), "{printed}");
        assert!(printed.ends_with(TESTS), "{printed}");
    }
}

#[test]
fn a_missing_patroni_is_installed_where_the_platform_has_it() {
    let of = |manager| printed(&["test"], &[("XTASK_PACKAGE_MANAGER", manager)]);
    let install = "apt-get install -y --no-install-recommends patroni etcd-server haproxy python3-etcd\n";
    assert!(of("apt-get").contains(install));
    let by_hand = "install Patroni, etcd and HAProxy by hand; the tests of a switchover are skipped";
    assert!(of("dnf").contains(by_hand));
}

#[test]
fn a_server_that_is_named_is_enough() {
    let folder = env!("CARGO_TARGET_TMPDIR");
    for program in ["pgbouncer", "patroni", "etcd", "haproxy", "chromedriver"] {
        fs::write(format!("{folder}/{program}"), "").unwrap();
    }
    let there = [
        ("TEST_DATABASE_URL", "postgres://there"),
        ("XTASK_PGBOUNCER_PATH", folder),
        ("XTASK_PATRONI_PATH", folder),
        ("XTASK_CHROMIUM_PATH", folder),
    ];
    let named = printed(&["test"], &there);
    assert_eq!(named, TESTS);
    let named = printed(&["demo"], &[("DATABASE_URL", "postgres://there")]);
    assert_eq!(named, "$ cargo run --package actix-pg-demo\n");
    let named = printed(&["quickstart"], &[("DATABASE_URL", "postgres://there")]);
    assert_eq!(named, "$ cargo run --example quickstart --\n");
}

#[test]
fn an_unknown_command_is_answered_with_the_usage() {
    assert!(printed(&["tset"], &[]).starts_with("Usage: cargo xtask <command>"));
}

fn printed(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(arguments)
        .env_remove("TEST_DATABASE_URL")
        .env_remove("DATABASE_URL")
        .env_remove("PGBOUNCER")
        .env("XTASK_DRY_RUN", "1")
        .env("XTASK_POSTGRES_PATH", "/nonexistent")
        .env("XTASK_PGBOUNCER_PATH", "/nonexistent")
        .env("XTASK_PATRONI_PATH", "/nonexistent")
        .env("XTASK_CHROMIUM_PATH", "/nonexistent")
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    String::from_utf8(output.stderr).unwrap()
}
