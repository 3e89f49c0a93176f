//! The derives and the attribute of `pipewright-sdk`, which re-exports and documents them.

mod plugin;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::{
    Attribute, Data, DeriveInput, Error, Expr, ExprLit, Field, Fields, FnArg, ItemFn, Lit, LitInt, LitStr, RangeLimits,
    Result, Type, parse_macro_input, spanned::Spanned,
};

/// Reads a struct from an action's configuration, and describes it. A field's doc comment is its documentation; its name
/// in PascalCase is the configuration key.
///
/// `#[setting(default = "…")]` gives a default in the configuration's own text; `#[setting(secret)]` masks the value
/// whenever it is read back; `#[setting(name = "…")]` names the key.
#[proc_macro_derive(Settings, attributes(setting))]
pub fn settings(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input as DeriveInput), settings_impl, |name| {
        let abi = quote!(::pipewright_sdk::bindings);
        quote! {
            impl ::pipewright_sdk::Settings for #name {
                fn describe() -> ::std::vec::Vec<#abi::description::exports::pipewright::plugin::plugin::Setting> {
                    ::std::vec::Vec::new()
                }

                fn read(_: &[::pipewright_sdk::NamedValue]) -> ::pipewright_sdk::Result<Self> {
                    ::core::unreachable!()
                }
            }
        }
    })
}

/// Describes the output variables of an action: a struct of text, numbers, `bool`, or `Option`s of these. A field's name in
/// PascalCase is the variable's, or what `#[variable(name = "…")]` says.
#[proc_macro_derive(Variables, attributes(variable))]
pub fn variables(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input as DeriveInput), variables_impl, |name| {
        let abi = quote!(::pipewright_sdk::bindings);
        quote! {
            impl ::pipewright_sdk::Variables for #name {
                fn describe() -> ::std::vec::Vec<#abi::description::exports::pipewright::plugin::plugin::Variable> {
                    ::std::vec::Vec::new()
                }

                fn values(self) -> ::std::vec::Vec<::pipewright_sdk::NamedValue> {
                    ::std::vec::Vec::new()
                }
            }
        }
    })
}

/// Makes an enum without fields a setting with a choice of values: the names of its variants.
#[proc_macro_derive(Choice)]
pub fn choice(input: TokenStream) -> TokenStream {
    expand(parse_macro_input!(input as DeriveInput), choice_impl, |name| {
        quote! {
            impl ::pipewright_sdk::SettingValue for #name {
                fn parse(_: &str) -> ::core::result::Result<Self, ::std::string::String> {
                    ::core::unreachable!()
                }
            }
        }
    })
}

/// Makes a function `fn(&Action, impl Settings) -> Result<…>` an action of a `plugin!`. Its doc comment is the action
/// type's documentation.
///
/// `provider = "…"` is needed; `owner` (`Custom`, `AWS` or `ThirdParty`; default `Custom`), `version` (default `1`),
/// `inputs` and `outputs` (a number or a range like `0..=5`; default 0) may follow. A source also needs `latest = function`,
/// which takes the same arguments and returns `Result<Option<Revision>>`.
#[proc_macro_attribute]
pub fn action(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    let mut arguments_read = Arguments::default();
    let parser = syn::meta::parser(|meta| arguments_read.read(meta));
    let read = syn::parse::Parser::parse(parser, arguments);
    let made = read.and_then(|()| action_impl(&arguments_read, &function));
    made.unwrap_or_else(|error| {
        let (error, empty) = (error.into_compile_error(), empty_action(function));
        quote!(#error #empty)
    })
    .into()
}

/// Makes a component, and its description, of functions with `#[action]`.
#[proc_macro]
pub fn plugin(input: TokenStream) -> TokenStream {
    parse_macro_input!(input as plugin::Plugin).expand().into()
}

/// What is derived. Where it cannot be, the error alone is shown: whatever uses the type finds the `empty` implementation, and is not
/// at fault for want of one.
fn expand(
    input: DeriveInput,
    derive: fn(&DeriveInput) -> Result<Tokens>,
    empty: fn(&syn::Ident) -> Tokens,
) -> TokenStream {
    let derived = derive(&input).unwrap_or_else(|error| {
        let (error, empty) = (error.into_compile_error(), empty(&input.ident));
        quote!(#error #empty)
    });
    derived.into()
}

fn settings_impl(input: &DeriveInput) -> Result<Tokens> {
    let name = &input.ident;
    let (mut described, mut idents, mut read, mut checked) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (field, attributes) in each_field(input, "setting")? {
        let (ident, kind) = (&field.ident, &field.ty);
        let FieldAttributes { name, default, secret } = attributes;
        let documentation = documentation(&field.attrs);
        let default = match default {
            Some(text) => quote!(::core::option::Option::Some(#text)),
            None => quote!(::core::option::Option::None),
        };
        described.push(quote!(
            ::pipewright_sdk::settings::describe::<#kind>(#name, #default, #secret, #documentation)
        ));
        idents.push(ident);
        read.push(quote!(::pipewright_sdk::settings::read::<#kind>(values, #name, #default, #secret)));
        // What is secret is told to nobody before it is needed.
        if !secret {
            checked.push(quote!(::pipewright_sdk::settings::check::<#kind>(values, #name)));
        }
    }
    Ok(quote! {
        impl ::pipewright_sdk::Settings for #name {
            fn describe()
            -> ::std::vec::Vec<::pipewright_sdk::bindings::description::exports::pipewright::plugin::plugin::Setting> {
                ::std::vec![#(#described),*]
            }

            fn read(values: &[::pipewright_sdk::NamedValue]) -> ::pipewright_sdk::Result<Self> {
                let (#(#idents,)*) = (#(#read,)*);
                // All that is wrong, before the first of it ends this.
                ::pipewright_sdk::settings::all_read([#(#idents.as_ref().err()),*])?;
                ::core::result::Result::Ok(Self { #(#idents: #idents?),* })
            }

            fn check(
                values: &[::pipewright_sdk::NamedValue],
            ) -> ::std::vec::Vec<::pipewright_sdk::bindings::checks::exports::pipewright::plugin::checks::Problem> {
                ::std::vec![#(#checked),*].into_iter().flatten().collect()
            }
        }
    })
}

fn variables_impl(input: &DeriveInput) -> Result<Tokens> {
    let name = &input.ident;
    let (mut described, mut values) = (Vec::new(), Vec::new());
    for (field, FieldAttributes { name, .. }) in each_field(input, "variable")? {
        let ident = &field.ident;
        let documentation = documentation(&field.attrs);
        described.push(quote!(
            ::pipewright_sdk::bindings::description::exports::pipewright::plugin::plugin::Variable {
                name: #name.to_owned(),
                documentation: #documentation.to_owned(),
            }
        ));
        values.push(quote_spanned!(field.span()=> (#name, ::pipewright_sdk::VariableValue::value(self.#ident))));
    }
    Ok(quote! {
        impl ::pipewright_sdk::Variables for #name {
            fn describe()
            -> ::std::vec::Vec<::pipewright_sdk::bindings::description::exports::pipewright::plugin::plugin::Variable> {
                ::std::vec![#(#described),*]
            }

            fn values(self) -> ::std::vec::Vec<::pipewright_sdk::NamedValue> {
                [#(#values),*]
                    .into_iter()
                    .filter_map(|(name, value): (&str, ::core::option::Option<::std::string::String>)| {
                        ::core::option::Option::Some(::pipewright_sdk::NamedValue { name: name.to_owned(), value: value? })
                    })
                    .collect()
            }
        }
    })
}

fn choice_impl(input: &DeriveInput) -> Result<Tokens> {
    let name = &input.ident;
    let Data::Enum(data) = &input.data else { return Err(Error::new(name.span(), "a choice is an enum")) };
    if let Some(variant) = data.variants.iter().find(|variant| !matches!(variant.fields, Fields::Unit)) {
        return Err(Error::new(variant.span(), "a choice has no fields"));
    }
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let texts: Vec<_> = variants.iter().map(ToString::to_string).collect();
    let must_be = match texts.as_slice() {
        [only] => format!("`{only}`"),
        texts => format!("one of `{}`", texts.join("`, `")),
    };
    Ok(quote! {
        impl ::pipewright_sdk::SettingValue for #name {
            const CHOICES: &'static [&'static str] = &[#(#texts),*];

            fn parse(text: &str) -> ::core::result::Result<Self, ::std::string::String> {
                match text {
                    #(#texts => ::core::result::Result::Ok(Self::#variants),)*
                    _ => ::core::result::Result::Err(#must_be.to_owned()),
                }
            }
        }
    })
}

#[derive(Default)]
struct Arguments {
    owner: Option<LitStr>,
    provider: Option<LitStr>,
    version: Option<LitStr>,
    inputs: Option<Expr>,
    outputs: Option<Expr>,
    latest: Option<syn::Path>,
}

impl Arguments {
    fn read(&mut self, meta: ParseNestedMeta<'_>) -> Result<()> {
        let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        match name.as_str() {
            "owner" => self.owner = Some(text(&meta)?),
            "provider" => self.provider = Some(text(&meta)?),
            "version" => self.version = Some(text(&meta)?),
            "inputs" => self.inputs = Some(meta.value()?.parse()?),
            "outputs" => self.outputs = Some(meta.value()?.parse()?),
            "latest" => self.latest = Some(meta.value()?.parse()?),
            _ => return Err(meta.error("expected owner, provider, version, inputs, outputs or latest")),
        }
        Ok(())
    }
}

fn action_impl(arguments: &Arguments, function: &ItemFn) -> Result<Tokens> {
    let name = &function.sig.ident;
    check_signature(&function.sig)?;
    let missing = || Error::new(name.span(), "an action needs a provider: `#[action(provider = \"Name\")]`");
    let provider = arguments.provider.as_ref().ok_or_else(missing)?;
    let owner = match &arguments.owner {
        None => quote!(Custom),
        Some(owner) => match owner.value().as_str() {
            "Custom" => quote!(Custom),
            "AWS" => quote!(Aws),
            "ThirdParty" => quote!(ThirdParty),
            _ => return Err(Error::new(owner.span(), "an owner is Custom, AWS or ThirdParty")),
        },
    };
    let version = arguments.version.as_ref().map_or_else(|| "1".to_owned(), LitStr::value);
    let (inputs_min, inputs_max) = count(arguments.inputs.as_ref())?;
    let (outputs_min, outputs_max) = count(arguments.outputs.as_ref())?;
    let documentation = documentation(&function.attrs);
    let latest = arguments.latest.as_ref();
    let latest = latest.map(|it| quote!(::pipewright_sdk::export::run(#it, request, ::core::option::Option::None)));
    let definition = quote! {
        owner: ::pipewright_sdk::bindings::host::pipewright::plugin::types::Owner::#owner,
        provider: #provider,
        version: #version,
        inputs: (#inputs_min, #inputs_max),
        outputs: (#outputs_min, #outputs_max),
        documentation: #documentation,
    };
    Ok(defined(function, &definition, latest.as_ref()))
}

/// An action of which something is wrong: for `plugin!` it is one like any other, so that its mistake alone is shown.
fn empty_action(mut function: ItemFn) -> Tokens {
    if check_signature(&function.sig).is_err() {
        let (attributes, visibility, name) = (&function.attrs, &function.vis, &function.sig.ident);
        let output = &function.sig.output;
        function = syn::parse_quote! {
            #(#attributes)* #visibility fn #name(_: &::pipewright_sdk::Action, (): ()) #output { ::core::unreachable!() }
        };
    }
    let definition = quote! {
        owner: ::pipewright_sdk::bindings::host::pipewright::plugin::types::Owner::Custom,
        provider: "",
        version: "",
        inputs: (0, 0),
        outputs: (0, 0),
        documentation: "",
    };
    defined(
        &function,
        &definition,
        Some(&quote!({
            let _ = request;
            ::core::unreachable!()
        })),
    )
}

/// The function, and what `plugin!` takes of it.
fn defined(function: &ItemFn, definition: &Tokens, latest: Option<&Tokens>) -> Tokens {
    let (visibility, name) = (&function.vis, &function.sig.ident);
    let latest = latest.map(|latest| {
        quote! {
            impl ::pipewright_sdk::export::Latest for #name {
                fn latest(
                    request: ::pipewright_sdk::bindings::host::pipewright::plugin::types::Request,
                ) -> ::pipewright_sdk::Result<
                    ::pipewright_sdk::bindings::source::exports::pipewright::plugin::source::LatestOutcome,
                > {
                    #latest
                }
            }
        }
    });
    quote! {
        #function

        // A type of the function's name: functions and types have names of their own.
        #[doc(hidden)]
        #[allow(non_camel_case_types)]
        #visibility enum #name {}

        impl ::pipewright_sdk::export::Defined for #name {
            const DEFINITION: ::pipewright_sdk::export::Definition = ::pipewright_sdk::export::Definition { #definition };
        }

        #latest
    }
}

fn check_signature(signature: &syn::Signature) -> Result<()> {
    const WANTED: &str = "an action is `fn name(action: &Action, settings: S) -> Result<…>`, where S has \
                          `#[derive(Settings)]`, or is `()` for an action without settings";
    if let Some(word) = &signature.asyncness {
        return Err(Error::new(word.span(), "an action is not async; `http::send_all` sends several requests at once"));
    }
    if !signature.generics.params.is_empty() {
        return Err(Error::new(signature.generics.span(), WANTED));
    }
    match signature.inputs.len() {
        2 if !matches!(signature.inputs[0], FnArg::Receiver(_)) => Ok(()),
        0 => Err(Error::new(signature.ident.span(), WANTED)),
        _ => Err(Error::new(signature.inputs.span(), WANTED)),
    }
}

/// `2` or `0..=5`.
fn count(expression: Option<&Expr>) -> Result<(u32, u32)> {
    let number = |expression: &Expr| match expression {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => LitInt::base10_parse(number),
        other => Err(Error::new(other.span(), "expected a number, or a range like 0..=5")),
    };
    match expression {
        None => Ok((0, 0)),
        Some(Expr::Range(range)) => match (&range.start, &range.limits, &range.end) {
            (Some(start), RangeLimits::Closed(_), Some(end)) => Ok((number(start)?, number(end)?)),
            _ => Err(Error::new(range.span(), "expected a range like 0..=5")),
        },
        Some(expression) => number(expression).map(|number| (number, number)),
    }
}

struct FieldAttributes {
    name: String,
    default: Option<LitStr>,
    secret: bool,
}

impl FieldAttributes {
    fn read(field: &Field, attribute: &str) -> Result<Self> {
        let ident = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut read = Self { name: pascal_case(&ident), default: None, secret: false };
        for found in field.attrs.iter().filter(|found| found.path().is_ident(attribute)) {
            found.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    read.name = text(&meta)?.value();
                } else if attribute == "setting" && meta.path.is_ident("default") {
                    read.default = Some(text(&meta)?);
                } else if attribute == "setting" && meta.path.is_ident("secret") {
                    read.secret = true;
                } else {
                    return Err(meta.error(match attribute {
                        "setting" => "expected `name = \"…\"`, `default = \"…\"` or `secret`",
                        _ => "expected `name = \"…\"`",
                    }));
                }
                Ok(())
            })?;
        }
        Ok(read)
    }
}

/// The text after `KEY =`.
fn text(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let value: Expr = meta.value()?.parse()?;
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text),
        other => Err(Error::new(other.span(), "expected a text in quotes, as it stands in a configuration")),
    }
}

/// Whether a default can be read as what its field is, for the types that can be told here.
fn check_default(kind: &Type, default: &LitStr) -> Result<()> {
    let text = default.value();
    let (reads, wanted) = match quote!(#kind).to_string().as_str() {
        "bool" => (text.parse::<bool>().is_ok(), "`true` or `false`"),
        "u8" => (text.parse::<u8>().is_ok(), "a whole number that fits"),
        "u16" => (text.parse::<u16>().is_ok(), "a whole number that fits"),
        "u32" => (text.parse::<u32>().is_ok(), "a whole number that fits"),
        "u64" => (text.parse::<u64>().is_ok(), "a whole number that fits"),
        "i8" => (text.parse::<i8>().is_ok(), "a whole number that fits"),
        "i16" => (text.parse::<i16>().is_ok(), "a whole number that fits"),
        "i32" => (text.parse::<i32>().is_ok(), "a whole number that fits"),
        "i64" => (text.parse::<i64>().is_ok(), "a whole number that fits"),
        "f64" => (text.parse::<f64>().is_ok_and(f64::is_finite), "a number"),
        _ => return Ok(()),
    };
    match reads {
        true => Ok(()),
        false => Err(Error::new(default.span(), format!("the default of a `{}` is {wanted}", quote!(#kind)))),
    }
}

/// The fields, each with what its attributes say; or all that is wrong with them.
fn each_field<'a>(input: &'a DeriveInput, attribute: &str) -> Result<Vec<(&'a Field, FieldAttributes)>> {
    let (mut fields, mut wrong) = (Vec::new(), None::<Error>);
    for field in named_fields(input)? {
        let read = FieldAttributes::read(field, attribute)
            .and_then(|read| read.default.as_ref().map_or(Ok(()), |it| check_default(&field.ty, it)).map(|()| read));
        match (read, &mut wrong) {
            (Ok(attributes), _) => fields.push((field, attributes)),
            (Err(error), Some(before)) => before.combine(error),
            (Err(error), wrong) => *wrong = Some(error),
        }
    }
    wrong.map_or(Ok(fields), Err)
}

fn named_fields(input: &DeriveInput) -> Result<impl Iterator<Item = &Field>> {
    match &input.data {
        Data::Struct(data) if matches!(data.fields, Fields::Named(_) | Fields::Unit) => Ok(data.fields.iter()),
        _ => Err(Error::new(input.ident.span(), "expected a struct with named fields: each is one")),
    }
}

/// The text of the doc comment, without the space after the slashes.
fn documentation(attributes: &[Attribute]) -> String {
    let lines: Vec<String> = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("doc"))
        .filter_map(|attribute| match &attribute.meta.require_name_value().ok()?.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
                let text = text.value();
                Some(text.strip_prefix(' ').unwrap_or(&text).to_owned())
            }
            _ => None,
        })
        .collect();
    lines.join("\n").trim().to_owned()
}

/// `external_entity_link` is `ExternalEntityLink` in CodePipeline's configuration.
fn pascal_case(snake: &str) -> String {
    snake
        .trim_start_matches("r#")
        .split('_')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::pascal_case;

    #[test]
    fn names_become_configuration_keys() {
        for (field, key) in [("source", "Source"), ("external_entity_link", "ExternalEntityLink"), ("r#type", "Type")] {
            assert_eq!(pascal_case(field), key);
        }
    }
}
