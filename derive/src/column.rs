//! Writes a field that takes a column.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Result, Type, WherePredicate, parse_quote};

use crate::attributes::Conversion;
use crate::types::{borrows, of_option};

/// Which column a field takes.
pub(crate) enum Which {
    /// That of this name.
    Named(String),
    /// That at this position.
    At(usize),
}

/// A field that takes a column.
pub(crate) struct Column<'a> {
    pub(crate) which: Which,
    /// The field, as errors name it.
    pub(crate) label: &'a str,
    pub(crate) ty: &'a Type,
    /// The column may be missing.
    pub(crate) default: bool,
    pub(crate) conversion: &'a Conversion,
}

impl Column<'_> {
    /// Refuses a type that a value of a row cannot have.
    pub(crate) fn check(&self) -> Result<()> {
        // The other type is what is read, and that owns what it has.
        let converted = matches!(self.conversion, Conversion::TryFrom(_));
        match !converted && borrows(self.ty) {
            true => Err(Error::new_spanned(
                self.ty,
                "this borrows, and the row is gone when the struct is returned; use an owned type, as `String` for `&str`",
            )),
            false => Ok(()),
        }
    }

    /// Finds the column.
    pub(crate) fn plan(&self) -> TokenStream {
        let (at, label, read_as) = (self.at(), self.label, self.read_as());
        match &self.which {
            Which::Named(column) => {
                let find = if self.default { "named_or_missing" } else { "named" };
                let find = format_ident!("{find}");
                quote_spanned! {at=> columns.#find::<#read_as>(#column, #label)?; }
            }
            Which::At(position) => quote_spanned! {at=> columns.at::<#read_as>(#position, #label)?; },
        }
    }

    /// Reads the value.
    pub(crate) fn read(&self) -> TokenStream {
        let (at, label, ty, read_as) = (self.at(), self.label, self.ty, self.read_as());
        let missing = if self.default { "_or_missing" } else { "" };
        let (read, convert) = (format_ident!("read{missing}"), format_ident!("convert{missing}"));
        let value = match self.conversion {
            Conversion::None => quote_spanned! {at=> cells.#read::<#read_as>(#label)? },
            Conversion::Json => {
                let unwrapped = match of_option(ty) {
                    Some(_) => quote! { |json: #read_as| json.map(|json| json.0) },
                    None => quote! { |json: #read_as| json.0 },
                };
                match self.default {
                    true => quote_spanned! {at=> cells.#read::<#read_as>(#label)?.map(#unwrapped) },
                    false => quote_spanned! {at=> (#unwrapped)(cells.#read::<#read_as>(#label)?) },
                }
            }
            Conversion::TryFrom(from) => {
                let made = self.made();
                let converted = quote_spanned! {at=> <#made as ::core::convert::TryFrom<#from>>::try_from };
                let converted = match self.is_optional() {
                    true => quote! { |value: #read_as| value.map(#converted).transpose() },
                    false => converted,
                };
                quote_spanned! {at=> cells.#convert::<#read_as, #ty, _>(#label, #converted)? }
            }
        };
        match self.default {
            true => quote_spanned! {at=> (#value).unwrap_or_default() },
            false => value,
        }
    }

    /// What the type has to be.
    pub(crate) fn bounds(&self) -> Vec<WherePredicate> {
        let (ty, made) = (self.ty, self.made());
        let mut bounds: Vec<WherePredicate> = match self.conversion {
            Conversion::None => vec![parse_quote! { #ty: ::actix_pg::__private::FromSqlOwned }],
            Conversion::Json => vec![parse_quote! { #made: ::actix_pg::__private::FromJson }],
            Conversion::TryFrom(from) => vec![
                parse_quote! { #made: ::core::convert::TryFrom<#from> },
                parse_quote! {
                    <#made as ::core::convert::TryFrom<#from>>::Error: ::core::convert::Into<
                        ::std::boxed::Box<dyn ::std::error::Error + ::core::marker::Send + ::core::marker::Sync>
                    >
                },
            ],
        };
        if self.default {
            bounds.push(parse_quote! { #ty: ::core::default::Default });
        }
        bounds
    }

    /// The type that the column is read as.
    fn read_as(&self) -> TokenStream {
        let (ty, made) = (self.ty, self.made());
        let read_as = match self.conversion {
            Conversion::None => return quote! { #ty },
            Conversion::Json => quote! { ::actix_pg::__private::Json<#made> },
            Conversion::TryFrom(from) => quote! { #from },
        };
        match self.is_optional() {
            true => quote! { ::core::option::Option<#read_as> },
            false => read_as,
        }
    }

    /// The type that a conversion makes.
    fn made(&self) -> &Type {
        of_option(self.ty).filter(|_| self.is_optional()).unwrap_or(self.ty)
    }

    /// Whether NULL is passed by the conversion. It is not where `try_from` is an `Option` itself.
    fn is_optional(&self) -> bool {
        let takes_null = matches!(self.conversion, Conversion::TryFrom(from) if of_option(from).is_some());
        of_option(self.ty).is_some() && !takes_null
    }

    /// The compiler points at the field, not at the derive.
    fn at(&self) -> Span {
        Span::call_site().located_at(self.ty.span())
    }
}
