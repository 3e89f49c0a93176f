//! The SDK for Rust: what its `lib.rs` makes public, in that order, and then its modules, as the sources have it.

use std::collections::BTreeMap;

use proc_macro2::LineColumn;
use syn::spanned::Spanned as _;
use syn::{Attribute, Fields, ImplItem, Item, Type, UseTree, Visibility};

use super::markdown::{code, documentation};
use super::{root, source};

const FOLDER: &str = "sdk/rust/src";
const MACROS: &str = "sdk/rust/macros/src/lib.rs";
const WIT: &str = "wit/plugin.wit";

struct Module {
    text: Vec<String>,
    file: syn::File,
}

impl Module {
    fn read(path: &str) -> Self {
        let text = source(path);
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { text: text.lines().map(str::to_owned).collect(), file }
    }

    /// The source between two places, moved to the left.
    fn between(&self, start: LineColumn, end: LineColumn) -> String {
        let mut lines: Vec<String> = self.text[start.line - 1..end.line].to_vec();
        // Columns are counted in characters.
        let last = lines.last_mut().unwrap();
        *last = last.chars().take(end.column).collect();
        lines[0] = " ".repeat(start.column) + &lines[0].chars().skip(start.column).collect::<String>();
        let line = |line: String| line.strip_prefix(&" ".repeat(start.column)).map(str::to_owned).unwrap_or(line);
        lines.into_iter().map(line).collect::<Vec<_>>().join("\n").trim_end().to_owned()
    }

    /// The head of a function: all before its body.
    fn head(&self, visibility: &Visibility, signature: &syn::Signature) -> String {
        let start = match visibility {
            Visibility::Inherited => signature.span().start(),
            shown => shown.span().start(),
        };
        let output = match &signature.generics.where_clause {
            Some(bounds) => bounds.span().end(),
            None => signature.span().end(),
        };
        self.between(start, output)
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .any(|it| it.path().is_ident("doc") && it.meta.require_list().is_ok_and(|it| it.tokens.to_string() == "hidden"))
}

pub(super) fn page() -> String {
    let library = Module::read(&format!("{FOLDER}/lib.rs"));
    let (mut page, mut modules) = (format!("{}\n\n", documentation(&library.file.attrs)), String::new());
    for item in &library.file.items {
        match item {
            Item::Use(it) if is_public(&it.vis) && !is_hidden(&it.attrs) => {
                for (path, name) in names(&it.tree, Vec::new()) {
                    page += &used(&path, &name, "##");
                }
            }
            Item::Fn(_) => page += &told(&library, item, "##"),
            Item::Mod(it) if is_public(&it.vis) && it.content.is_none() && !is_hidden(&it.attrs) => {
                modules += &module(&it.ident.to_string());
            }
            _ => {}
        }
    }
    page + &modules + "## Macros\n\n" + &macros(&library)
}

/// Each name of a `use`, with the path before it.
fn names(tree: &UseTree, path: Vec<String>) -> Vec<(Vec<String>, String)> {
    match tree {
        UseTree::Path(it) => names(&it.tree, [path, vec![it.ident.to_string()]].concat()),
        UseTree::Group(it) => it.items.iter().flat_map(|item| names(item, path.clone())).collect(),
        UseTree::Name(it) => vec![(path, it.ident.to_string())],
        UseTree::Rename(_) | UseTree::Glob(_) => Vec::new(),
    }
}

/// What is taken from elsewhere.
fn used(path: &[String], name: &str, heading: &str) -> String {
    match path[0].as_str() {
        "pipewright_sdk_macros" => derived(name),
        "crate" => used(&path[1..], name, heading),
        "bindings" => of_the_interface(name, heading),
        module => {
            let module = Module::read(&file(module));
            let item = module.file.items.iter().find(|item| named(item).is_some_and(|own| own == name));
            match item {
                Some(item) => told(&module, item, heading),
                // It takes it from the interface itself.
                None => of_the_interface(name, heading),
            }
        }
    }
}

fn file(module: &str) -> String {
    let file = format!("{FOLDER}/{module}.rs");
    if root().join(&file).is_file() { file } else { format!("{FOLDER}/{module}/mod.rs") }
}

fn named(item: &Item) -> Option<String> {
    Some(match item {
        Item::Struct(it) if is_public(&it.vis) => it.ident.to_string(),
        Item::Enum(it) if is_public(&it.vis) => it.ident.to_string(),
        Item::Fn(it) if is_public(&it.vis) => it.sig.ident.to_string(),
        Item::Trait(it) if is_public(&it.vis) => it.ident.to_string(),
        Item::Type(it) if is_public(&it.vis) => it.ident.to_string(),
        Item::Const(it) if is_public(&it.vis) => it.ident.to_string(),
        _ => return None,
    })
}

/// A derive, an attribute or a macro.
fn derived(name: &str) -> String {
    let macros = Module::read(MACROS);
    for item in &macros.file.items {
        let Item::Fn(function) = item else { continue };
        for attribute in &function.attrs {
            let is_derive = attribute.path().is_ident("proc_macro_derive");
            let derive =
                if is_derive { attribute.meta.require_list().ok().map(|it| it.tokens.to_string()) } else { None };
            let shown = match derive {
                Some(tokens) if tokens.split(',').next().unwrap().trim() == name => format!("#[derive({name})]"),
                None if function.sig.ident == name && attribute.path().is_ident("proc_macro_attribute") => {
                    format!("#[{name}(…)]")
                }
                None if function.sig.ident == name && attribute.path().is_ident("proc_macro") => format!("{name}!"),
                _ => continue,
            };
            return format!("## `{shown}`\n\n{}\n\n", documentation(&function.attrs));
        }
    }
    panic!("{name} is not in {MACROS}");
}

/// A type that is made of the WIT, in the WIT's own words.
fn of_the_interface(name: &str, heading: &str) -> String {
    let kebab: String = name
        .chars()
        .enumerate()
        .flat_map(|(at, c)| (c.is_uppercase() && at > 0).then_some('-').into_iter().chain(c.to_lowercase()))
        .collect();
    let wit = source(WIT);
    let lines: Vec<&str> = wit.lines().map(|line| line.strip_prefix("    ").unwrap_or(line)).collect();
    let is_it =
        |line: &&str| ["record", "variant", "enum", "flags"].iter().any(|kind| **line == format!("{kind} {kebab} {{"));
    let start = lines.iter().position(is_it).unwrap_or_else(|| panic!("{WIT} has no {kebab}"));
    let end = start + lines[start..].iter().position(|line| *line == "}").unwrap();
    let above = lines[..start].iter().rev().take_while(|line| line.starts_with("///"));
    let mut about: Vec<&str> = above.map(|line| line.trim_start_matches("///").trim()).collect();
    about.reverse();
    let about = if about.is_empty() { String::new() } else { format!("{}\n\n", about.join("\n")) };
    let shown = code("wit", &lines[start..=end].join("\n"));
    format!("{heading} {name}\n\n{about}As the interface has it; names are written as Rust writes them.\n\n{shown}\n")
}

/// A module of its own, with all that is public in it.
fn module(name: &str) -> String {
    let module = Module::read(&file(name));
    let mut page = format!("## The module {name}\n\n{}\n\n", documentation(&module.file.attrs));
    for item in &module.file.items {
        page += &match item {
            Item::Use(it) if is_public(&it.vis) => {
                names(&it.tree, Vec::new()).iter().map(|(path, name)| used(path, name, "###")).collect()
            }
            item => told(&module, item, "###"),
        };
    }
    page
}

/// An item with what it can do.
fn told(module: &Module, item: &Item, heading: &str) -> String {
    let Some(name) = named(item) else { return String::new() };
    let (attributes, declared) = match item {
        Item::Fn(it) => (&it.attrs, module.head(&it.vis, &it.sig)),
        Item::Struct(it) => (&it.attrs, structure(module, it)),
        Item::Enum(it) => (&it.attrs, module.between(it.vis.span().start(), it.span().end())),
        Item::Trait(it) => (&it.attrs, module.between(it.vis.span().start(), it.span().end())),
        Item::Type(it) => (&it.attrs, module.between(it.vis.span().start(), it.span().end())),
        Item::Const(it) => (&it.attrs, module.between(it.vis.span().start(), it.span().end())),
        _ => return String::new(),
    };
    if is_hidden(attributes) {
        return String::new();
    }
    let about = documentation(attributes);
    let about = if about.is_empty() { about } else { format!("{about}\n\n") };
    format!("{heading} {name}\n\n{}\n{about}{}", code("rust", &declared), methods(module, &name))
}

/// The public fields of a struct, with their documentation.
fn structure(module: &Module, item: &syn::ItemStruct) -> String {
    let end = match &item.generics.params.is_empty() {
        true => item.ident.span().end(),
        false => item.generics.span().end(),
    };
    let head = module.between(item.vis.span().start(), end);
    let Fields::Named(fields) = &item.fields else { return format!("{head}(…);") };
    let public: Vec<_> = fields.named.iter().filter(|field| is_public(&field.vis)).collect();
    if public.is_empty() {
        return format!("{head} {{ … }}");
    }
    let mut lines = vec![format!("{head} {{")];
    for field in &public {
        lines.extend(documentation(&field.attrs).lines().map(|line| format!("    /// {line}")));
        lines.push(format!("    {},", module.between(field.vis.span().start(), field.ty.span().end())));
    }
    if public.len() < fields.named.len() {
        lines.push("    …".to_owned());
    }
    lines.push("}".to_owned());
    lines.join("\n")
}

/// The public functions of a type's own `impl`s, in each file of the SDK that has one.
fn methods(module: &Module, name: &str) -> String {
    let mut page = String::new();
    for item in &module.file.items {
        let Item::Impl(it) = item else { continue };
        let Type::Path(of) = &*it.self_ty else { continue };
        if it.trait_.is_some() || of.path.segments.last().is_none_or(|last| last.ident != name) {
            continue;
        }
        for function in &it.items {
            let ImplItem::Fn(function) = function else { continue };
            if is_public(&function.vis) && !is_hidden(&function.attrs) {
                let about = documentation(&function.attrs);
                let about = if about.is_empty() { about } else { format!("{about}\n\n") };
                page += &format!("{}\n{about}", code("rust", &module.head(&function.vis, &function.sig)));
            }
        }
    }
    page
}

/// Those that are exported, in the order of the modules.
fn macros(library: &Module) -> String {
    let mut by_name = BTreeMap::new();
    for item in &library.file.items {
        let Item::Mod(it) = item else { continue };
        if it.content.is_some() {
            continue;
        }
        for item in Module::read(&file(&it.ident.to_string())).file.items {
            let Item::Macro(it) = item else { continue };
            let is_exported = it.attrs.iter().any(|it| it.path().is_ident("macro_export"));
            let (Some(name), true, false) = (it.ident, is_exported, is_hidden(&it.attrs)) else { continue };
            by_name.insert(name.to_string(), documentation(&it.attrs));
        }
    }
    by_name.iter().map(|(name, about)| format!("### `{name}!`\n\n{about}\n\n")).collect()
}
