//! The project's chores: `cargo xtask quickstart`, `cargo xtask test`, `cargo xtask ci`.

fn main() {}
