//! What is seen of a type from how it is written.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericArgument, GenericParam, Generics, PathArguments, Type};

/// The type in an `Option`. What an alias stands for is not known.
pub(crate) fn of_option(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Option")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) => Some(inner),
        _ => None,
    }
}

/// Whether a type or constant parameter is in the type.
pub(crate) fn depends_on(generics: &Generics, ty: &Type) -> bool {
    let parameters = generics.params.iter().filter_map(|parameter| match parameter {
        GenericParam::Type(parameter) => Some(parameter.ident.to_string()),
        GenericParam::Const(parameter) => Some(parameter.ident.to_string()),
        _ => None,
    });
    let parameters: Vec<String> = parameters.collect();
    any_token(
        ty.to_token_stream(),
        &|token, _| matches!(token, TokenTree::Ident(ident) if parameters.contains(&ident.to_string())),
    )
}

/// Whether a reference is in the type, or a lifetime that is not `'static`.
pub(crate) fn borrows(ty: &Type) -> bool {
    any_token(ty.to_token_stream(), &|token, next| match token {
        TokenTree::Punct(punct) if punct.as_char() == '&' => true,
        TokenTree::Punct(punct) if punct.as_char() == '\'' => {
            !matches!(next, Some(TokenTree::Ident(lifetime)) if lifetime == "static")
        }
        _ => false,
    })
}

/// Whether this holds for a token, with the one that follows it, at any depth.
fn any_token(tokens: TokenStream, holds: &dyn Fn(&TokenTree, Option<&TokenTree>) -> bool) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    tokens.iter().enumerate().any(|(index, token)| match token {
        TokenTree::Group(group) => any_token(group.stream(), holds),
        token => holds(token, tokens.get(index + 1)),
    })
}
