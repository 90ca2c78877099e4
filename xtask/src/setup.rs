//! What the tests and examples need on the machine: finds it, and installs what is missing.

use std::env;
use std::path::PathBuf;

use crate::run::{self, Result};
use crate::{binaries, newer_pgbouncer};

/// Keeps Debian's package from creating a cluster and starting it: the tests start servers of their own. A
/// configuration that is there already is left alone.
const NO_CLUSTER: &str = "file=/etc/postgresql-common/createcluster.conf; \
    test -e $file || { mkdir -p ${file%/*} && echo 'create_main_cluster = false' >$file; }";

/// Installs a PostgreSQL server unless the machine has one, or one of the environment's `variables` names another.
pub(crate) fn postgres(variables: &[&str]) -> Result {
    if variables.iter().any(|name| env::var_os(name).is_some_and(|url| !url.is_empty())) || has_postgres() {
        return Ok(());
    }
    eprintln!("There is no PostgreSQL server on this machine: installing one.");
    let manager = Manager::of_this_machine("PostgreSQL")?;
    if manager == Manager::Apt {
        run::as_root(&["sh", "-c", NO_CLUSTER])?;
    }
    manager.install(&[match manager {
        Manager::Apt | Manager::Apk => "postgresql",
        Manager::Dnf => "postgresql-server",
        Manager::Brew => "postgresql@17",
    }])?;
    match has_postgres() || run::is_dry_run() {
        true => Ok(()),
        false => Err("the package is installed, but no folder with initdb and postgres is found".into()),
    }
}

/// Stops the PgBouncer that Debian's package starts: the tests start their own.
const NO_SERVICE: &str = "if test -d /run/systemd/system; then systemctl disable --now pgbouncer; fi";

/// Installs PgBouncer unless the machine has one, and fetches a newer one beside an old one. Returns that. Where it fails the tests
/// run all the same, and skip those of PgBouncer.
pub(crate) fn pgbouncer() -> Option<String> {
    let here = || server("pgbouncer", "XTASK_PGBOUNCER_PATH");
    let manager = Manager::of_this_machine("PgBouncer");
    let is_apt = manager == Ok(Manager::Apt);
    if here().is_none() {
        eprintln!("There is no PgBouncer on this machine: installing one.");
        let installed = manager.and_then(|manager| {
            manager.install(&["pgbouncer"])?;
            if is_apt { run::as_root(&["sh", "-c", NO_SERVICE]) } else { Ok(()) }
        });
        if let Err(message) = installed {
            eprintln!("xtask: {message}; going on without PgBouncer");
        }
    }
    let is_named = env::var_os("PGBOUNCER").is_some();
    here().filter(|_| is_apt && !is_named).and_then(|old| newer_pgbouncer::fetched(&old))
}

/// Stops what Debian's packages start.
const NO_SERVICES: &str =
    "if test -d /run/systemd/system; then systemctl disable --now patroni etcd haproxy; fi";

/// Installs Patroni, etcd and HAProxy unless the machine has them. Where that fails the tests run all the same, and skip those of a
/// switchover. (In CI they fail then.)
pub(crate) fn patroni() {
    if ["patroni", "etcd", "haproxy"].iter().all(|name| server(name, "XTASK_PATRONI_PATH").is_some()) {
        return;
    }
    eprintln!("There is no Patroni with etcd and HAProxy on this machine: installing them.");
    let installed = Manager::of_this_machine("Patroni, etcd and HAProxy").and_then(|manager| match manager {
        Manager::Apt => {
            manager.install(&["patroni", "etcd-server", "haproxy", "python3-etcd"])?;
            run::as_root(&["sh", "-c", NO_SERVICES])
        }
        Manager::Dnf | Manager::Apk | Manager::Brew => {
            Err("install Patroni, etcd and HAProxy by hand".into())
        }
    });
    if let Err(message) = installed {
        eprintln!("xtask: {message}; the tests of a switchover are skipped");
    }
}

/// Installs Chromium and its driver unless the machine has them. Where that fails the tests run all the same, and skip those in a
/// browser. (In CI they fail then.)
pub(crate) fn chromium() {
    if has_chromedriver() {
        return;
    }
    eprintln!("There is no Chromium with its driver on this machine: installing them.");
    let installed = Manager::of_this_machine("Chromium and chromedriver").and_then(|manager| match manager {
        Manager::Apt => manager.install(&["chromium", "chromium-driver"]),
        Manager::Dnf => manager.install(&["chromium", "chromedriver"]),
        Manager::Apk => manager.install(&["chromium", "chromium-chromedriver"]),
        // A cask may ask for a password.
        Manager::Brew => Err("install Chrome, and its driver with: brew install --cask chromedriver".into()),
    });
    if let Err(message) = installed {
        eprintln!("xtask: {message}; the tests in a browser are skipped");
    }
}

/// Installs a C compiler unless the machine has one. rustls's cryptography is partly C, and Rust links with it.
pub(crate) fn c_compiler() -> Result {
    if has_program("cc") {
        return Ok(());
    }
    eprintln!("There is no C compiler on this machine: installing one.");
    let manager = Manager::of_this_machine("a C compiler")?;
    match manager {
        Manager::Apt => manager.install(&["build-essential"]),
        Manager::Dnf => manager.install(&["gcc"]),
        Manager::Apk => manager.install(&["build-base"]),
        Manager::Brew => Err("install Apple's command line tools with: xcode-select --install".into()),
    }
}

/// A package manager that packages are installed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manager {
    Apt,
    Dnf,
    Apk,
    Brew,
}

impl Manager {
    const ALL: [(&str, Self); 4] =
        [("apt-get", Self::Apt), ("dnf", Self::Dnf), ("apk", Self::Apk), ("brew", Self::Brew)];

    /// The first that the machine has. `wanted` is what the error tells the user to install by hand.
    fn of_this_machine(wanted: &str) -> std::result::Result<Self, String> {
        let chosen = env::var("XTASK_PACKAGE_MANAGER").ok();
        let found = Self::ALL.into_iter().find(|(program, _)| match &chosen {
            Some(chosen) => chosen == program,
            None => has_program(program),
        });
        let nothing = || format!("none of apt-get, dnf, apk and brew is here: install {wanted} by hand");
        found.map(|(_, manager)| manager).ok_or_else(nothing)
    }

    fn install(self, packages: &[&str]) -> Result {
        match self {
            Self::Apt => {
                run::as_root(&["apt-get", "update"])?;
                let noninteractive = ["env", "DEBIAN_FRONTEND=noninteractive"];
                let install = ["apt-get", "install", "-y", "--no-install-recommends"];
                run::as_root(&[&noninteractive, &install[..], packages].concat())
            }
            Self::Dnf => run::as_root(&[&["dnf", "install", "-y"], packages].concat()),
            Self::Apk => run::as_root(&[&["apk", "add"], packages].concat()),
            Self::Brew => run::plain("brew", &[&["install"], packages].concat()),
        }
    }
}

/// Looks where the tests look for the server that they start.
fn has_postgres() -> bool {
    binaries::find(&match env::var_os("XTASK_POSTGRES_PATH") {
        Some(path) => env::split_paths(&path).collect(),
        None => binaries::search_path(),
    })
    .is_some()
}

/// Looks in `/usr/sbin` too, where Debian keeps servers and only root's PATH leads; or where `variable` says.
fn server(name: &str, variable: &str) -> Option<PathBuf> {
    let folders: Vec<PathBuf> = match env::var_os(variable) {
        Some(path) => env::split_paths(&path).collect(),
        None => binaries::search_path().into_iter().chain(["/usr/sbin".into()]).collect(),
    };
    folders.iter().map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Looks for the driver, which depends on the browser in every package.
fn has_chromedriver() -> bool {
    match env::var_os("XTASK_CHROMIUM_PATH") {
        Some(path) => env::split_paths(&path).any(|folder| folder.join("chromedriver").is_file()),
        None => has_program("chromedriver"),
    }
}

fn has_program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder: PathBuf| folder.join(name)).any(|program| program.is_file())
}
