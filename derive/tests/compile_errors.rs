//! What the compiler says of a derive that cannot be.

/// Each file has a text beside it, which is what its author reads. `TRYBUILD=overwrite` writes them anew.
#[test]
fn a_wrong_derive_says_what_to_do() {
    trybuild::TestCases::new().compile_fail("tests/errors/*.rs");
}
