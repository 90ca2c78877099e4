//! What the features of TLS bring into a program: no provider of cryptography that was not asked for.
//!
//! Features are unified over a program, and rustls makes no choice between two providers: one too many makes
//! `ClientConfig::builder()` panic in crates that know nothing of us.

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

/// Whether the package is in the tree, by itself or with a feature.
fn has(tree: &str, package: &str) -> bool {
    tree.lines().any(|line| line.split(' ').next() == Some(package))
}

/// The packages of a program with this feature and their features; not those of our tests.
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
