//! Only a struct with a field that takes a column.

use actix_pg_derive::FromRow;

#[derive(FromRow)]
enum Enum {
    Variant { id: i64 },
}

#[derive(FromRow)]
union Union {
    id: i64,
}

#[derive(FromRow)]
struct Unit;

#[derive(FromRow)]
struct Empty {}

#[derive(FromRow)]
struct AllSkipped {
    #[row(skip)]
    id: i64,
}

fn main() {}
