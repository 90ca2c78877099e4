//! What stands in `#[row(…)]`.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, LitStr, Result, Type};

use crate::case::Case;

/// The attributes of a struct.
#[derive(Default)]
pub(crate) struct Container {
    pub(crate) rename_all: Option<(Span, Case)>,
}

impl Container {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut container = Self::default();
        for_each(attributes, |meta| match name(&meta).as_str() {
            "rename_all" => {
                once(&mut container.rename_all, &meta, (span(&meta), Case::parse(&text(&meta)?)?))
            }
            known @ ("rename" | "flatten" | "prefix" | "default" | "skip" | "json" | "try_from") => {
                Err(meta.error(format!("`{known}` belongs to a field")))
            }
            _ => Err(meta.error("unknown attribute; a struct can have `rename_all`")),
        })?;
        Ok(container)
    }
}

/// Where the value of a field comes from.
pub(crate) enum Source {
    /// A column.
    Column { rename: Option<LitStr>, default: bool, conversion: Conversion },
    /// Some of the row's columns, whose names begin with this.
    Nested(String),
    /// `Default::default()`.
    Skipped,
}

/// How the value of a column becomes that of a field.
pub(crate) enum Conversion {
    None,
    Json,
    TryFrom(Box<Type>),
}

#[derive(Default)]
struct Field {
    rename: Option<(Span, LitStr)>,
    flatten: Option<(Span, ())>,
    prefix: Option<(Span, LitStr)>,
    default: Option<(Span, ())>,
    skip: Option<(Span, ())>,
    json: Option<(Span, ())>,
    try_from: Option<(Span, Type)>,
}

impl Source {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut field = Field::default();
        for_each(attributes, |meta| {
            let at = span(&meta);
            match name(&meta).as_str() {
                "rename" => once(&mut field.rename, &meta, (at, not_empty(text(&meta)?)?)),
                "flatten" => once(&mut field.flatten, &meta, (at, flag(&meta)?)),
                "prefix" => once(&mut field.prefix, &meta, (at, not_empty(text(&meta)?)?)),
                "default" => once(&mut field.default, &meta, (at, flag(&meta)?)),
                "skip" => once(&mut field.skip, &meta, (at, flag(&meta)?)),
                "json" => once(&mut field.json, &meta, (at, flag(&meta)?)),
                "try_from" => once(&mut field.try_from, &meta, (at, ty(&text(&meta)?)?)),
                "rename_all" => Err(meta.error("`rename_all` belongs to a struct")),
                _ => Err(meta.error(
                    "unknown attribute; a field can have `rename`, `flatten`, `prefix`, `default`, `skip`, `json` and `try_from`",
                )),
            }
        })?;
        field.source()
    }
}

impl Field {
    /// Refuses what contradicts each other.
    fn source(self) -> Result<Source> {
        let (skip, json, try_from) = (at(&self.skip), at(&self.json), at(&self.try_from));
        let (rename, default) = (at(&self.rename), at(&self.default));
        let nested =
            at(&self.prefix).map(|at| (at, "prefix")).or(at(&self.flatten).map(|at| (at, "flatten")));
        let of_a_column = [(rename, "rename"), (default, "default"), (json, "json"), (try_from, "try_from")];
        if skip.is_some() {
            for (at, other) in of_a_column.into_iter().chain(nested.map(|(at, other)| (Some(at), other))) {
                refuse(at, || format!("`{other}` has no effect on a field that is skipped"))?;
            }
            return Ok(Source::Skipped);
        }
        if let Some((_, name)) = nested {
            for (at, other) in of_a_column {
                refuse(at, || {
                    format!(
                        "`{other}` is for a field of one column; a field with `{name}` is a struct of several"
                    )
                })?;
            }
            return Ok(Source::Nested(self.prefix.map(|(_, prefix)| prefix.value()).unwrap_or_default()));
        }
        let conversion = match (self.json, self.try_from) {
            (Some(_), Some((at, _))) => return Err(Error::new(at, "`try_from` cannot be used with `json`")),
            (Some(_), None) => Conversion::Json,
            (None, Some((_, from))) => Conversion::TryFrom(Box::new(from)),
            (None, None) => Conversion::None,
        };
        let rename = self.rename.map(|(_, name)| name);
        Ok(Source::Column { rename, default: default.is_some(), conversion })
    }
}

fn at<T>(attribute: &Option<(Span, T)>) -> Option<Span> {
    attribute.as_ref().map(|(at, _)| *at)
}

fn refuse(at: Option<Span>, why: impl FnOnce() -> String) -> Result<()> {
    at.map_or(Ok(()), |at| Err(Error::new(at, why())))
}

fn for_each(attributes: &[Attribute], mut each: impl FnMut(ParseNestedMeta<'_>) -> Result<()>) -> Result<()> {
    let ours = attributes.iter().filter(|attribute| attribute.path().is_ident("row"));
    ours.into_iter().try_for_each(|attribute| attribute.parse_nested_meta(&mut each))
}

fn once<T>(place: &mut Option<T>, meta: &ParseNestedMeta<'_>, value: T) -> Result<()> {
    match place.replace(value) {
        Some(_) => Err(meta.error(format!("`{}` is given twice", name(meta)))),
        None => Ok(()),
    }
}

fn name(meta: &ParseNestedMeta<'_>) -> String {
    meta.path.get_ident().map(ToString::to_string).unwrap_or_default()
}

fn span(meta: &ParseNestedMeta<'_>) -> Span {
    meta.path.get_ident().map_or_else(Span::call_site, syn::Ident::span)
}

fn flag(meta: &ParseNestedMeta<'_>) -> Result<()> {
    match meta.input.is_empty() || meta.input.peek(syn::Token![,]) {
        true => Ok(()),
        false => Err(meta.error(format!("`{}` takes no value", name(meta)))),
    }
}

fn text(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    meta.value()
        .and_then(|value| value.parse())
        .map_err(|_| Error::new(span(meta), format!("`{0}` takes a string, as in `{0} = \"…\"`", name(meta))))
}

fn ty(text: &LitStr) -> Result<Type> {
    text.parse()
        .map_err(|_| Error::new(text.span(), "`try_from` takes a type, as in `try_from = \"String\"`"))
}

fn not_empty(text: LitStr) -> Result<LitStr> {
    match text.value().is_empty() {
        true => Err(Error::new(text.span(), "a name cannot be empty")),
        false => Ok(text),
    }
}
