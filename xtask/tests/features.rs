//! What the features bring into a program: no provider of cryptography that was not asked for, and all that the driver has.
//!
//! Cargo unifies features over a whole program, and rustls does not choose between two providers: with a second one,
//! `ClientConfig::builder()` panics in crates that have nothing to do with this one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn a_feature_of_tls_brings_the_provider_that_it_names() {
    for (feature, aws_lc_rs, ring) in [
        ("rustls", true, false),
        ("rustls-ring", false, true),
        ("rustls-no-provider", false, false),
        ("rustls,rustls-ring", true, true),
    ] {
        let tree = tree(feature);
        assert!(tree.contains("rustls feature \"std\""), "{feature}: {tree}");
        assert_eq!(has(&tree, "aws-lc-rs"), aws_lc_rs, "{feature}: {tree}");
        assert_eq!(has(&tree, "ring"), ring, "{feature}: {tree}");
    }
}

#[test]
fn without_tls_there_is_no_rustls() {
    let tree = tree("testing");
    assert!(has(&tree, "tokio-postgres") && !has(&tree, "rustls"), "{tree}");
}

/// A user needs no second dependency to get one of the driver's optional types.
#[test]
fn each_optional_type_of_the_driver_is_a_feature_of_ours() {
    let of_the_driver = features_of(&driver_manifest());
    let mut types =
        of_the_driver.iter().filter(|(name, _)| !["default", "runtime", "js"].contains(&name.as_str()));
    let ours = features_of(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")));
    assert!(types.clone().count() > 10, "{of_the_driver:#?}");
    let passed_on = |name: &str| (name.to_owned(), format!("[\"tokio-postgres/{name}\"]"));
    let missing: Vec<_> = types.by_ref().filter(|(name, _)| !ours.contains(&passed_on(name))).collect();
    assert!(missing.is_empty(), "pass these on in Cargo.toml: {missing:#?}");
}

/// The manifest of the tokio-postgres that we are built with.
fn driver_manifest() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["metadata", "--format-version", "1"])
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata = String::from_utf8(output.stdout).expect("text").replace("\\\\", "\\");
    let mut paths = metadata.split("\"manifest_path\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    let is_driver = |path: &&str| {
        let folder = Path::new(path).parent().and_then(Path::file_name);
        folder.is_some_and(|folder| folder.to_string_lossy().starts_with("tokio-postgres-0"))
    };
    paths.find(is_driver).expect("tokio-postgres").into()
}

/// The names in a `[features]` table, and what each turns on.
fn features_of(manifest: &Path) -> BTreeSet<(String, String)> {
    let manifest = fs::read_to_string(manifest).expect("a manifest");
    let lines = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
    let features = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(" = "));
    features.map(|(name, turned_on)| (name.to_owned(), turned_on.to_owned())).collect()
}

/// Whether the package is in the tree, by itself or with a feature.
fn has(tree: &str, package: &str) -> bool {
    tree.lines().any(|line| line.split(' ').next() == Some(package))
}

/// The packages that a program with this feature is built of, each with its features. Those of the tests are not among them.
fn tree(feature: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["tree", "--package", "actix-pg", "--edges", "normal,features", "--prefix", "none"])
        .args(["--no-default-features", "--features", feature])
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}
