//! What is written in an attribute.

use actix_pg_derive::FromRow;

#[derive(FromRow)]
struct Unknown {
    #[row(renamed = "id")]
    id: i64,
}

#[derive(FromRow)]
#[row(transparent)]
struct UnknownOfAStruct {
    id: i64,
}

#[derive(FromRow)]
#[row(rename = "id")]
struct OfAField {
    id: i64,
}

#[derive(FromRow)]
struct OfAStruct {
    #[row(rename_all = "camelCase")]
    id: i64,
}

#[derive(FromRow)]
#[row(rename_all = "Camel")]
struct UnknownCase {
    id: i64,
}

#[derive(FromRow)]
struct NoText {
    #[row(rename = id)]
    id: i64,
}

#[derive(FromRow)]
struct NoValue {
    #[row(rename)]
    id: i64,
}

#[derive(FromRow)]
struct Value {
    #[row(skip = true)]
    id: i64,
}

#[derive(FromRow)]
struct EmptyName {
    #[row(rename = "")]
    id: i64,
}

#[derive(FromRow)]
struct Twice {
    #[row(rename = "a")]
    #[row(rename = "b")]
    id: i64,
}

#[derive(FromRow)]
struct NoType {
    #[row(try_from = "not a type")]
    id: i64,
}

fn main() {}
