//! The row is gone when the struct is returned.

use std::borrow::Cow;

use actix_pg_derive::FromRow;

#[derive(FromRow)]
struct Borrows<'a> {
    name: &'a str,
}

#[derive(FromRow)]
struct Inside<'a> {
    name: Option<&'a str>,
}

#[derive(FromRow)]
struct OfAParameter<'a> {
    #[row(json)]
    name: Cow<'a, str>,
}

#[derive(FromRow)]
struct Bytes(&'static [u8]);

fn main() {}
