//! The derive macro of [`actix-pg`](https://docs.rs/actix-pg), which passes it on with its feature `derive`.
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

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Derives `FromRow` for a struct. See the trait `actix_pg::FromRow` for the attributes.
#[proc_macro_derive(FromRow, attributes(row))]
pub fn from_row(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::from_row(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
