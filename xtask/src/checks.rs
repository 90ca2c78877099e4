//! `cargo xtask ci`: what a change has to pass besides the tests of the crate.

use std::fs;

use crate::run::{self, Result};

const CLIPPY_ALONE: [&str; 3] = ["clippy", "--lib", "--no-default-features"];
const DENY_WARNINGS: [&str; 3] = ["--", "-D", "warnings"];

/// Runs every check, the quickest first, up to the first that fails.
pub(crate) fn all() -> Result {
    run::cargo(["fmt", "--all", "--check"])?;
    // The layers of the crate, what its packages hold, and what its features bring into a program.
    run::cargo(["test", "--package", "xtask"])?;
    lint_the_workspace()?;
    build_the_documentation()?;
    test_the_applications()?;
    lint_each_feature_alone()?;
    test_with_each_choice_of_tls()
}

fn lint_the_workspace() -> Result {
    // The benchmark's peers need a newer Rust than the crate does.
    let members = ["--workspace", "--exclude", "bench", "--all-targets", "--all-features"];
    run::cargo(["clippy"].into_iter().chain(members).chain(DENY_WARNINGS))
}

/// The examples with dependencies that whoever tests the crate should not have to compile.
fn test_the_applications() -> Result {
    let examples = ["example-blog", "example-cornucopia", "example-sea-query"];
    run::cargo(["test"].into_iter().chain(examples.into_iter().flat_map(|name| ["--package", name])))
}

fn build_the_documentation() -> Result {
    let deny_warnings = [("RUSTDOCFLAGS", "-D warnings")];
    run::cargo_with(&deny_warnings, ["doc", "--all-features", "--no-deps"])?;
    let beside = ["--package", "actix-pg-derive", "--package", "actix-pg-dashboard"];
    run::cargo_with(&deny_warnings, ["doc", "--no-deps"].into_iter().chain(beside))
}

fn lint_each_feature_alone() -> Result {
    run::cargo(CLIPPY_ALONE.into_iter().chain(DENY_WARNINGS))?;
    let (passed_on, ours): (Vec<_>, Vec<_>) = features()?.into_iter().partition(|name| is_passed_on(name));
    let alone = |features: &str| {
        run::cargo(CLIPPY_ALONE.into_iter().chain(["--features", features]).chain(DENY_WARNINGS))
    };
    // All of the driver's at once: one line of ours depends on `with-serde_json-1` and none on the others, and each alone would build the
    // driver anew.
    alone(&passed_on.join(","))?;
    ours.iter().try_for_each(|feature| alone(feature))
}

/// Whether it turns on a feature of the driver's, and nothing else. (`xtask/tests/features.rs` holds that these are all.)
fn is_passed_on(feature: &str) -> bool {
    feature.starts_with("with-") || feature == "array-impls"
}

/// The tests whose outcome depends on the features: without TLS, and with each provider of its cryptography.
fn test_with_each_choice_of_tls() -> Result {
    run::cargo(["test", "--no-default-features", "--lib"])?;
    ["rustls", "rustls-ring", "rustls-no-provider"].into_iter().try_for_each(|feature| {
        run::cargo(["test", "--no-default-features", "--features", feature, "--test", "tls_providers"])
    })
}

/// The names in the crate's `[features]` table.
fn features() -> std::result::Result<Vec<String>, String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let manifest = fs::read_to_string(path).map_err(|err| format!("{path} cannot be read: {err}"))?;
    Ok(feature_names(&manifest))
}

/// Reads the manifest line by line: a parser of TOML would be all that this crate depends on.
fn feature_names(manifest: &str) -> Vec<String> {
    manifest
        .lines()
        .skip_while(|line| line.trim() != "[features]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        // What is indented, or begins with a bracket, is the rest of a list.
        .filter(|line| !line.starts_with([' ', '#', ']']))
        .filter_map(|line| Some(line.split_once('=')?.0.trim().to_owned()))
        .filter(|name| name != "default")
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_features_are_read_from_the_manifest() {
        let manifest = "[package]\n\n[features]\n# TLS = yes\ndefault = []\nrustls = [\n  'a',\n]\n\
                        with-uuid-1 = ['b']\n\n[dependencies]\nserde = '1'\n";
        assert_eq!(super::feature_names(manifest), ["rustls", "with-uuid-1"]);
    }
}
