//! What is in the packages that are published.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The members of the workspace that are not published, and their folders.
const UNPUBLISHED: [(&str, &str); 7] = [
    ("bench", "bench"),
    ("xtask", "xtask"),
    ("test-support", "tests/support"),
    ("actix-pg-demo", "dashboard/demo"),
    ("example-blog", "examples/blog"),
    ("example-cornucopia", "examples/cornucopia"),
    ("example-sea-query", "examples/sea-query"),
];

/// Whoever has the package has the terms that it is used under.
#[test]
fn a_package_brings_its_licences_and_its_readme() {
    let (files, _) = list();
    let count = |name: &str| files.iter().filter(|file| *file == name).count();
    // Each package has one.
    let packages = count("Cargo.toml.orig");
    assert!(packages > 0, "{files:#?}");
    for name in ["LICENSE-APACHE", "LICENSE-MIT", "README.md"] {
        assert_eq!(count(name), packages, "not every package has {name}: {files:#?}");
    }
}

#[test]
fn a_package_holds_nothing_that_only_this_repository_needs() {
    let (files, _) = list();
    let wrong: Vec<&String> = files
        .iter()
        .filter(|file| *file != ".cargo_vcs_info.json")
        .filter(|file| {
            let is_unpublished = |(_, folder): (&str, &str)| file.starts_with(&format!("{folder}/"));
            file.starts_with('.') || UNPUBLISHED.into_iter().any(is_unpublished)
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Cargo warns of what a manifest lacks, its documentation for example.
#[test]
fn cargo_has_nothing_to_say_about_the_manifests() {
    let (_, warnings) = list();
    assert!(!warnings.contains("warning: "), "{warnings}");
}

#[test]
fn what_belongs_to_this_repository_cannot_be_published() {
    for (member, folder) in UNPUBLISHED {
        let manifest = fs::read_to_string(workspace().join(folder).join("Cargo.toml")).expect("a manifest");
        assert!(manifest.lines().any(|line| line == "publish = false"), "{member} can be published");
    }
}

/// The files of all published packages together, and what Cargo has printed besides.
fn list() -> (Vec<String>, String) {
    let output = Command::new(env!("CARGO"))
        .current_dir(workspace())
        .args(["package", "--list", "--allow-dirty", "--workspace"])
        .args(UNPUBLISHED.iter().flat_map(|(member, _)| ["--exclude", member]))
        .output()
        .expect("cargo");
    let printed = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{printed}");
    let files = String::from_utf8(output.stdout).expect("text");
    // Windows lists them with its own separator.
    (files.lines().map(|file| file.replace('\\', "/")).collect(), printed)
}

fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
