//! What cannot be a test.

#[actix_pg_derive::test]
fn is_not_async() {}

#[actix_pg_derive::test(schema = "CREATE TABLE users ()", migrations = "migrations")]
async fn has_two_schemas() {}

#[actix_pg_derive::test(migrations = "nowhere")]
async fn has_no_folder() {}

#[actix_pg_derive::test(template = "x")]
async fn is_of_an_unknown_kind() {}

fn main() {}
