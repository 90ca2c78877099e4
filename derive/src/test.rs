//! `#[actix_pg::test]`.

use std::env;
use std::fs;
use std::path::Path;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Error, FnArg, Ident, ItemFn, LitStr, Result, Token};

/// What the attribute says.
#[derive(Default)]
pub(crate) struct Arguments {
    schema: Option<LitStr>,
    migrations: Option<LitStr>,
    sandbox: bool,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut arguments = Self::default();
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            match name.to_string().as_str() {
                "schema" => arguments.schema = Some(value(input)?),
                "migrations" => arguments.migrations = Some(value(input)?),
                "sandbox" => arguments.sandbox = true,
                _ => return Err(Error::new(name.span(), "expected `schema`, `migrations` or `sandbox`")),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        match (&arguments.schema, &arguments.migrations) {
            (Some(_), Some(folder)) => {
                Err(Error::new(folder.span(), "either `schema` or `migrations` makes the schema, not both"))
            }
            _ => Ok(arguments),
        }
    }
}

fn value(input: ParseStream<'_>) -> Result<LitStr> {
    input.parse::<Token![=]>()?;
    input.parse()
}

pub(crate) fn test(arguments: &Arguments, function: &ItemFn) -> Result<TokenStream> {
    let ItemFn { attrs, vis, sig, block, .. } = function;
    if sig.asyncness.is_none() {
        return Err(Error::new(sig.fn_token.span(), "the test has to be an `async fn`"));
    }
    let taken = sig.inputs.iter().map(|argument| match argument {
        FnArg::Typed(argument) => {
            let of = &argument.ty;
            Ok(quote_spanned! { of.span() => <#of as ::actix_pg::__private::test::Argument>::take(world).await })
        }
        FnArg::Receiver(receiver) => Err(Error::new(receiver.span(), "a test has no `self`")),
    });
    let taken = taken.collect::<Result<Vec<_>>>()?;
    let migrations = match (&arguments.schema, &arguments.migrations) {
        (Some(schema), _) => quote! { #schema },
        (None, Some(folder)) => files(folder)?,
        (None, None) => TokenStream::new(),
    };
    let (name, inputs, output, sandbox) = (&sig.ident, &sig.inputs, &sig.output, arguments.sandbox);
    Ok(quote! {
        #[::core::prelude::v1::test]
        #(#attrs)*
        #vis fn #name() {
            async fn #name(#inputs) #output #block
            let setup = ::actix_pg::__private::test::Setup { migrations: &[#migrations], sandbox: #sandbox };
            ::actix_pg::__private::test::run(setup, async |world| #name(#(#taken),*).await);
        }
    })
}

/// The contents of the folder's files, in the order in which they are run.
fn files(folder: &LitStr) -> Result<TokenStream> {
    let failed = |what: String| Error::new(folder.span(), what);
    let root = env::var("CARGO_MANIFEST_DIR").map_err(|err| failed(err.to_string()))?;
    let path = Path::new(&root).join(folder.value());
    let entries = fs::read_dir(&path).map_err(|err| failed(format!("{}: {err}", path.display())))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|err| failed(err.to_string()))?.file_name();
        let name = name.into_string().map_err(|name| failed(format!("{name:?} is not UTF-8")))?;
        if name.ends_with(".sql") && !undoes(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return Err(failed(format!("there is no `.sql` file in {}", path.display())));
    }
    names.sort_by_cached_key(|name| order(name));
    let paths = names.iter().map(|name| path.join(name).display().to_string());
    Ok(quote! { #(::core::include_str!(#paths)),* })
}

/// Whether the file undoes what another one does: `0001_users.down.sql`, `U1__users.sql`.
fn undoes(name: &str) -> bool {
    let undo =
        name.strip_prefix('U').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    undo || name.ends_with(".down.sql")
}

/// Where a file stands: by the version in front of its name, `V1.2__…` or `0002_…`. Files without one come last.
fn order(name: &str) -> (bool, Vec<u128>, String) {
    let version: Option<Vec<u128>> =
        match name.strip_prefix(['V', 'v']).and_then(|rest| rest.split_once("__")) {
            Some((version, _)) => version.split(['.', '_']).map(|part| part.parse().ok()).collect(),
            None => {
                let end = name.find(|character: char| !character.is_ascii_digit()).unwrap_or(name.len());
                name[..end].parse().ok().map(|version| vec![version])
            }
        };
    (version.is_none(), version.unwrap_or_default(), name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{order, undoes};

    fn sorted<const N: usize>(mut names: [&str; N]) -> [&str; N] {
        names.sort_by_cached_key(|name| order(name));
        names
    }

    #[test]
    fn files_are_run_in_the_order_of_their_versions() {
        let names = ["R__view.sql", "V1.10__d.sql", "V2__e.sql", "V1.2__c.sql", "V1_1__b.sql", "V1__a.sql"];
        let expected =
            ["V1__a.sql", "V1_1__b.sql", "V1.2__c.sql", "V1.10__d.sql", "V2__e.sql", "R__view.sql"];
        assert_eq!(sorted(names), expected);
        let names = ["other.sql", "20251126_last.sql", "0003_b.sql", "0001_a.sql", "9_c.sql"];
        assert_eq!(sorted(names), ["0001_a.sql", "0003_b.sql", "9_c.sql", "20251126_last.sql", "other.sql"]);
    }

    #[test]
    fn what_undoes_is_left_out() {
        assert!(undoes("U1__users.sql") && undoes("0001_users.down.sql"));
        assert!(!undoes("V1__users.sql") && !undoes("Users.sql") && !undoes("0001_users.up.sql"));
    }
}
