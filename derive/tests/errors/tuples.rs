//! A tuple struct takes the columns in their order.

use actix_pg_derive::FromRow;

#[derive(FromRow)]
#[row(rename_all = "camelCase")]
struct RenamedAll(i64);

#[derive(FromRow)]
struct Renamed(#[row(rename = "id")] i64);

#[derive(FromRow)]
struct Default(#[row(default)] i64);

#[derive(FromRow)]
struct Flattened(#[row(flatten)] Renamed);

fn main() {}
