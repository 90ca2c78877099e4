//! Writes the implementation.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Result, Type, WherePredicate, parse_quote};

use crate::attributes::{Container, Source};
use crate::case::Case;
use crate::column::{Column, Which};
use crate::types::depends_on;

/// What is written for one field.
struct Written {
    /// Finds its columns.
    plan: TokenStream,
    /// Reads its value.
    read: TokenStream,
    /// What its type has to be. Left out where that does not depend on the parameters of the struct.
    bounds: Vec<WherePredicate>,
}

pub(crate) fn from_row(input: &DeriveInput) -> Result<TokenStream> {
    let fields = fields(input)?;
    let container = Container::parse(&input.attrs)?;
    let is_named = matches!(fields, Fields::Named(_));
    if let (Some((at, _)), false) = (&container.rename_all, is_named) {
        let what = "the fields of a tuple struct have no names: they take the columns in their order";
        return Err(Error::new(*at, what));
    }
    let case = container.rename_all.map(|(_, case)| case);
    let ident = &input.ident;
    let name = ident.unraw().to_string();
    let mut columns = 0;
    let mut written = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let mut code = write(&name, index, field, case, &mut columns)?;
        if !depends_on(&input.generics, &field.ty) {
            code.bounds.clear();
        }
        written.push(code);
    }
    if written.iter().all(|field| field.plan.is_empty()) {
        return Err(Error::new(ident.span(), "no field of this struct takes a column"));
    }

    let mut generics = input.generics.clone();
    let bounds = written.iter().flat_map(|field| field.bounds.iter().cloned());
    generics.make_where_clause().predicates.extend(bounds);
    let (for_, of, where_) = generics.split_for_impl();
    let expect = (!is_named).then(|| quote! { columns.expect(#columns, #name)?; });
    let plans = written.iter().map(|field| &field.plan);
    let values = fields.members().zip(&written).map(|(member, field)| {
        let read = &field.read;
        quote! { #member: #read }
    });
    Ok(quote! {
        #[automatically_derived]
        impl #for_ ::actix_pg::FromRow for #ident #of #where_ {
            const IS_NAMED: bool = #is_named;

            fn plan(
                columns: &mut ::actix_pg::__private::Columns<'_>,
            ) -> ::core::result::Result<(), ::actix_pg::FromRowError> {
                #expect
                #(#plans)*
                ::core::result::Result::Ok(())
            }

            #[inline]
            fn read(
                cells: &mut ::actix_pg::__private::Cells<'_>,
            ) -> ::core::result::Result<Self, ::actix_pg::FromRowError> {
                ::core::result::Result::Ok(Self { #(#values),* })
            }
        }
    })
}

fn fields(input: &DeriveInput) -> Result<&Fields> {
    let what = match &input.data {
        Data::Struct(data) if !data.fields.is_empty() => return Ok(&data.fields),
        Data::Struct(_) => "a struct without fields takes no column",
        Data::Enum(_) => {
            "a row can be read into a struct, and not into an enum; an enum can be a field, with \
             `FromSql` or `#[row(try_from = \"…\")]`"
        }
        Data::Union(_) => "a row can be read into a struct, and not into a union",
    };
    Err(Error::new(input.ident.span(), what))
}

/// Writes a field of the struct of this name. Counts the columns that are taken by position.
fn write(
    of: &str,
    index: usize,
    field: &syn::Field,
    case: Option<Case>,
    columns: &mut usize,
) -> Result<Written> {
    let ty = &field.ty;
    let name = field.ident.as_ref().map(|name| name.unraw().to_string());
    let label = format!("{of}::{}", name.clone().unwrap_or_else(|| index.to_string()));
    let (rename, default, conversion) = match Source::parse(&field.attrs)? {
        Source::Skipped => return Ok(skipped(ty)),
        Source::Nested(prefix) if name.is_some() => return Ok(nested(ty, &prefix, &label)),
        Source::Nested(_) => {
            let what = "the field of a tuple struct takes one column; only a struct with names can have another in it";
            return Err(Error::new_spanned(ty, what));
        }
        Source::Column { rename, default, conversion } => (rename, default, conversion),
    };
    let which = match name {
        Some(name) => {
            let spelt = case.map_or_else(|| name.clone(), |case| case.apply(&name));
            Which::Named(rename.map_or(spelt, |name| name.value()))
        }
        None if rename.is_some() || default => {
            let which = if default { "default" } else { "rename" };
            let what =
                format!("`{which}` has no effect in a tuple struct, which takes the columns in their order");
            return Err(Error::new_spanned(ty, what));
        }
        None => Which::At(*columns),
    };
    *columns += 1;
    let column = Column { which, label: &label, ty, default, conversion: &conversion };
    column.check()?;
    Ok(Written { plan: column.plan(), read: column.read(), bounds: column.bounds() })
}

fn skipped(ty: &Type) -> Written {
    let at = Span::call_site().located_at(ty.span());
    Written {
        plan: TokenStream::new(),
        read: quote_spanned! {at=> ::core::default::Default::default() },
        bounds: vec![parse_quote! { #ty: ::core::default::Default }],
    }
}

fn nested(ty: &Type, prefix: &str, label: &str) -> Written {
    let at = Span::call_site().located_at(ty.span());
    let is_a_tuple = format!(
        "the columns of `{label}` are found by their names, and a tuple or a tuple struct takes columns in their order"
    );
    Written {
        plan: quote_spanned! {at=>
            const { ::core::assert!(<#ty as ::actix_pg::FromRow>::IS_NAMED, #is_a_tuple) };
            columns.nested::<#ty>(#prefix)?;
        },
        read: quote_spanned! {at=> <#ty as ::actix_pg::FromRow>::read(cells)? },
        bounds: vec![parse_quote! { #ty: ::actix_pg::FromRow }],
    }
}
