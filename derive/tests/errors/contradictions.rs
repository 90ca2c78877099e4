//! Attributes that exclude each other.

use actix_pg_derive::FromRow;

#[derive(FromRow)]
struct RenamedAndSkipped {
    id: i64,
    #[row(skip, rename = "b")]
    a: i64,
}

#[derive(FromRow)]
struct FlattenedAndDefault {
    #[row(flatten, default)]
    a: A,
}

#[derive(FromRow)]
struct PrefixedAndRenamed {
    #[row(prefix = "a_", rename = "b")]
    a: A,
}

#[derive(FromRow)]
struct FlattenedAndJson {
    #[row(flatten, json)]
    a: A,
}

#[derive(FromRow)]
struct JsonAndTryFrom {
    #[row(json, try_from = "i64")]
    a: A,
}

struct A;

fn main() {}
