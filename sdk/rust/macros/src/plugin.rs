//! `plugin!`: reads its keys in any order, and hands what they say to the macros that make the component.

use proc_macro2::TokenStream as Tokens;
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Expr, Ident, LitBool, LitStr, Result, Token, bracketed};

const CATEGORIES: [&str; 8] = ["source", "build", "test", "deploy", "approval", "invoke", "compute", "rule"];

type List<T> = Punctuated<T, Token![,]>;

pub(crate) struct Plugin {
    attributes: Vec<Attribute>,
    name: LitStr,
    asks: List<Expr>,
    may_run_again: bool,
    categories: Vec<(Ident, List<Ident>)>,
}

impl Parse for Plugin {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let whole = input.span();
        let (mut attributes, mut categories) = (Vec::new(), Vec::new());
        let (mut name, mut asks, mut may_run_again) = (None, List::new(), true);
        let mut seen = Vec::new();
        while !input.is_empty() {
            attributes.extend(input.call(Attribute::parse_outer)?);
            let key: Ident = input.parse()?;
            input.parse::<Token![:]>()?;
            match key.to_string().as_str() {
                "name" => name = Some(input.call(plugin_name)?),
                "asks" => asks = list(input)?,
                "may_run_again" => may_run_again = input.parse::<LitBool>()?.value,
                word if CATEGORIES.contains(&word) => categories.push((key.clone(), list(input)?)),
                _ => {
                    let categories = CATEGORIES.join(", ");
                    let message = format!("expected name, asks, may_run_again, or a category: {categories}");
                    return Err(Error::new(key.span(), message));
                }
            }
            if seen.contains(&key) {
                return Err(Error::new(key.span(), format!("`{key}` is here twice")));
            }
            seen.push(key);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let name = name.ok_or_else(|| Error::new(whole, "a plugin needs a name: `name: \"team/name\"`"))?;
        Ok(Self { attributes, name, asks, may_run_again, categories })
    }
}

impl Plugin {
    /// What the compiler finds wrong with a function, it shows at the function's name: what is said of it has that place.
    pub(crate) fn expand(self) -> Tokens {
        let Self { attributes, name, asks, may_run_again, categories } = self;
        let types = categories.iter().flat_map(|(key, functions)| {
            functions
                .iter()
                .map(move |function| quote_spanned!(function.span()=> ::pipewright_sdk::describe!(#key #function)))
        });
        let checks = categories.iter().flat_map(|(key, functions)| functions.iter().map(move |it| quote!((#key #it))));
        let mut interfaces: Vec<(Ident, Vec<&Ident>)> = Vec::new();
        for (key, functions) in &categories {
            // The interface of the category `compute` is that of `build`.
            let key = if key == "compute" { Ident::new("build", key.span()) } else { key.clone() };
            match interfaces.iter_mut().find(|(there, _)| *there == key) {
                Some((_, there)) => there.extend(functions),
                None => interfaces.push((key, functions.iter().collect())),
            }
        }
        let exports = interfaces.iter().map(
            |(key, functions)| quote_spanned!(key.span()=> ::pipewright_sdk::export_category! { #key #(#functions)* }),
        );
        quote! {
            ::pipewright_sdk::component! {
                #(#attributes)* name: #name, asks: [#asks], may_run_again: #may_run_again, types: [#(#types),*]
            }
            #(#exports)*
            ::pipewright_sdk::export_checks! { #(#checks)* }
        }
    }
}

fn list<T: Parse>(input: ParseStream<'_>) -> Result<List<T>> {
    let items;
    bracketed!(items in input);
    Punctuated::parse_terminated(&items)
}

/// As the host wants it.
fn plugin_name(input: ParseStream<'_>) -> Result<LitStr> {
    let name: LitStr = input.parse()?;
    let is_part = |part: &str| {
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !part.is_empty() && part.bytes().all(is_word) && !part.starts_with('-') && !part.ends_with('-')
    };
    match name.value().split_once('/') {
        Some((team, plugin)) if is_part(team) && is_part(plugin) => Ok(name),
        _ => Err(Error::new(name.span(), "a plugin is named like `team/name`: a-z, 0-9 and -")),
    }
}
