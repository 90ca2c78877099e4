//! The macros of [`actix-pg`](https://docs.rs/actix-pg), which passes them on with its features `derive` and `testing`.
//!
//! ```text
//!   DeriveInput ──attributes──> Container, Source ──expand──> impl FromRow
//!                                   └─ case           └─ column, types
//! ```

mod attributes;
mod case;
mod types;
mod column;
mod expand;
mod test;

use proc_macro::TokenStream;
use syn::{DeriveInput, ItemFn, parse_macro_input};

/// Derives `FromRow` for a struct. See the trait `actix_pg::FromRow` for the attributes.
#[proc_macro_derive(FromRow, attributes(row))]
pub fn from_row(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::from_row(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Runs a test with a database of its own. See `actix_pg::test`.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, function: TokenStream) -> TokenStream {
    let arguments = parse_macro_input!(arguments as test::Arguments);
    let function = parse_macro_input!(function as ItemFn);
    test::test(&arguments, &function).unwrap_or_else(syn::Error::into_compile_error).into()
}
