//! What can be written into a file, read off the structs into which it is deserialized: for each key what it is, what counts
//! where it is not there, and what its documentation says. Panics for a type that it has no words for.

use std::collections::BTreeMap;

use serde_json::Value;
use syn::{BinOp, Expr, ExprLit, Field, Fields, GenericArgument, Item, Lit, PathArguments, Type};

use super::markdown::{anchor, documentation, table};
use super::source;

const LIMITS: &[&str] = &["host/sandbox/src/limits.rs", "host/artifacts/src/files/quota.rs"];
/// What failures and documents name besides.
const OTHER_LIMITS: &[(&str, &str)] = &[
    ("host/sandbox/src/seam.rs", "JOURNAL_CALLS_MAX"),
    ("host/runner/src/recording/mod.rs", "RECORDING_BYTES_MAX"),
    ("host/artifacts/src/files/floor.rs", "FREE_DISK_BYTES_MIN"),
];

/// Types whose keys another page has, or that are no struct.
const WORDS: &[(&str, &str)] = &[
    ("String", "text"),
    ("PathBuf", "path"),
    ("SocketAddr", "`address:port`"),
    ("Digest", "64 hexadecimal digits"),
    ("Value", "any value"),
    ("bool", "`true` or `false`"),
    ("i32", "whole number"),
    ("u16", "whole number"),
    ("u32", "whole number"),
    ("u64", "whole number"),
    ("usize", "whole number"),
    ("ActionGrants", "table: [the keys of an action in a grants file](grants-file.md)"),
    ("CallLimits", "table: [limits](limits.md)"),
    ("Step", "table: see [Answers to other host calls](../../sdk/CASES.md#answers-to-other-host-calls)"),
];

/// Sources, as far as keys are read off them.
#[derive(Default)]
struct Sources {
    items: BTreeMap<String, Item>,
    /// By struct and field: what `Default` says.
    defaults: BTreeMap<(String, String), Expr>,
}

impl Sources {
    fn read(paths: &[&str]) -> Self {
        let mut sources = Self::default();
        for path in paths {
            let file = syn::parse_file(&source(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
            file.items.into_iter().for_each(|item| sources.add(item));
        }
        sources
    }

    fn add(&mut self, item: Item) {
        let name = match &item {
            Item::Struct(it) => it.ident.to_string(),
            Item::Enum(it) => it.ident.to_string(),
            Item::Const(it) => it.ident.to_string(),
            Item::Fn(it) => it.sig.ident.to_string(),
            Item::Impl(it) => {
                let is_default = it.trait_.as_ref().is_some_and(|(path, _)| path.is_ident("Default"));
                let Type::Path(of) = &*it.self_ty else { return };
                let of = of.path.segments.last().unwrap().ident.to_string();
                for function in it.items.iter().filter(|_| is_default) {
                    let syn::ImplItem::Fn(function) = function else { continue };
                    let Some(syn::Stmt::Expr(Expr::Struct(made), _)) = function.block.stmts.last() else { continue };
                    for field in &made.fields {
                        let syn::Member::Named(name) = &field.member else { continue };
                        self.defaults.insert((of.clone(), name.to_string()), field.expr.clone());
                    }
                }
                return;
            }
            _ => return,
        };
        self.items.insert(name, item);
    }

    /// What a constant expression is, as far as it is a number, a text or a truth value.
    fn value(&self, expression: &Expr) -> Option<Value> {
        let number = |expression| self.value(expression)?.as_u64();
        match expression {
            Expr::Lit(ExprLit { lit, .. }) => match lit {
                Lit::Str(text) => Some(text.value().into()),
                Lit::Int(number) => number.base10_parse::<u64>().ok().map(Value::from),
                Lit::Bool(it) => Some(it.value.into()),
                _ => None,
            },
            Expr::Binary(it) => match it.op {
                BinOp::Shl(_) => Some((number(&it.left)? << number(&it.right)?).into()),
                BinOp::Mul(_) => Some((number(&it.left)? * number(&it.right)?).into()),
                _ => None,
            },
            Expr::MethodCall(it) if it.method == "to_owned" => self.value(&it.receiver),
            Expr::Path(it) => match self.items.get(&it.path.segments.last()?.ident.to_string())? {
                Item::Const(it) => self.value(&it.expr),
                _ => None,
            },
            Expr::Call(it) if it.args.is_empty() => {
                let Expr::Path(function) = &*it.func else { return None };
                let Item::Fn(function) = self.items.get(&function.path.get_ident()?.to_string())? else { return None };
                match function.block.stmts.last()? {
                    syn::Stmt::Expr(it, None) => self.value(it),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// What serde is told of a struct, an enum or a field.
#[derive(Default)]
struct Told {
    rename_all: Option<String>,
    rename: Option<String>,
    has_default: bool,
    default: Option<String>,
    is_skipped: bool,
    is_untagged: bool,
}

impl Told {
    fn new(attributes: &[syn::Attribute]) -> Self {
        let mut told = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
            let parsed = attribute.parse_nested_meta(|meta| {
                let key = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
                let value = match meta.value() {
                    Ok(value) => Some(value.parse::<syn::LitStr>()?.value()),
                    Err(_) => None,
                };
                match key.as_str() {
                    "rename_all" => told.rename_all = value,
                    "rename" => told.rename = value,
                    "default" => (told.has_default, told.default) = (true, value),
                    "skip" => told.is_skipped = true,
                    "untagged" => told.is_untagged = true,
                    _ => {}
                }
                Ok(())
            });
            parsed.unwrap();
        }
        told
    }

    fn name(&self, own: &str, all: &Self) -> String {
        match (&self.rename, all.rename_all.as_deref()) {
            (Some(name), _) => name.clone(),
            (None, Some("kebab-case")) => kebab_case(own),
            (None, Some("lowercase")) => own.to_ascii_lowercase(),
            (None, Some(other)) => panic!("no words for rename_all = {other:?}"),
            (None, None) => own.to_owned(),
        }
    }
}

/// A table that is told under a heading of its own, and where it stands in the file.
struct Section {
    name: String,
    place: String,
    is_list: bool,
}

impl Section {
    fn heading(&self) -> String {
        match (self.is_list, self.place.as_str()) {
            (_, "") => String::new(),
            (true, place) => format!("`[[{place}]]`"),
            (false, place) => format!("`[{place}]`"),
        }
    }
}

/// A page about a struct and those in it.
struct Pages<'a> {
    sources: &'a Sources,
    /// Those whose defaults are known by value: the struct's name, and itself.
    given: BTreeMap<&'a str, Value>,
    sections: Vec<Section>,
    /// What the keys that have a default are called.
    meaning: &'a str,
}

impl<'a> Pages<'a> {
    fn new(sources: &'a Sources, meaning: &'a str) -> Self {
        Self { sources, given: BTreeMap::new(), sections: Vec::new(), meaning }
    }

    /// From this struct on, at this place of the file.
    fn page(&mut self, name: &str, place: &str) -> String {
        self.sections.push(Section { name: name.to_owned(), place: place.to_owned(), is_list: false });
        self.sections()
    }

    /// All that are known, and those that they bring along.
    fn sections(&mut self) -> String {
        let mut page = String::new();
        let mut at = 0;
        while at < self.sections.len() {
            page += &self.section(at);
            at += 1;
        }
        page
    }

    fn section(&mut self, at: usize) -> String {
        let section = &self.sections[at];
        let (heading, name, place) = (section.heading(), section.name.clone(), section.place.clone());
        let Some(Item::Struct(item)) = self.sources.items.get(&name) else { panic!("no struct {name}") };
        let told = Told::new(&item.attrs);
        let Fields::Named(fields) = &item.fields else { panic!("{name} has no names") };
        let rows: Vec<_> = fields.named.iter().filter_map(|field| self.row(&name, &place, field, &told)).collect();
        let rows = table(&["key", "what it is", "default", self.meaning], &rows);
        match heading.as_str() {
            "" => format!("{rows}\n"),
            heading => format!("## {heading}\n\n{}\n\n{rows}\n", documentation(&item.attrs)),
        }
    }

    fn row(&mut self, of: &str, place: &str, field: &Field, all: &Told) -> Option<Vec<String>> {
        let own = field.ident.as_ref()?.to_string();
        let told = Told::new(&field.attrs);
        if told.is_skipped {
            return None;
        }
        let key = told.name(&own, all);
        let about = documentation(&field.attrs);
        assert!(!about.is_empty(), "{of}.{own}: say in a documentation comment what it is for");
        let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
        let words = self.words(&field.ty, &place, false);
        let default = match self.default(of, &own, &told) {
            Some(value) => shown(&key, &value),
            None if !told.has_default && !all.has_default && !is_option(&field.ty) => "needed".to_owned(),
            None => String::new(),
        };
        Some(vec![format!("`{key}`"), words, default, about])
    }

    fn default(&self, of: &str, own: &str, told: &Told) -> Option<Value> {
        if let Some(given) = self.given.get(of) {
            return given.get(own).filter(|value| !value.is_null() && !value.is_object() && !value.is_array()).cloned();
        }
        if let Some(function) = &told.default {
            return self.sources.value(&syn::parse_str(&format!("{function}()")).unwrap());
        }
        self.sources.value(self.sources.defaults.get(&(of.to_owned(), own.to_owned()))?)
    }

    /// What is to be written for a type, in words; `place` is where its keys would stand.
    fn words(&mut self, of: &Type, place: &str, is_list: bool) -> String {
        let Type::Path(path) = of else { panic!("no words for a type at {place}") };
        let last = path.path.segments.last().unwrap();
        let name = last.ident.to_string();
        let inner: Vec<&Type> = match &last.arguments {
            PathArguments::AngleBracketed(arguments) => {
                let types = arguments.args.iter().filter_map(|argument| match argument {
                    GenericArgument::Type(it) => Some(it),
                    _ => None,
                });
                types.collect()
            }
            _ => Vec::new(),
        };
        match (name.as_str(), inner.as_slice()) {
            ("Option" | "Box", [of]) => self.words(of, place, is_list),
            ("Vec", [of]) => format!("list of {}", plural(&self.words(of, place, true))),
            ("BTreeMap", [_, of]) => format!("table of {} by name", plural(&self.words(of, &named(place), false))),
            _ => match (WORDS.iter().find(|(known, _)| *known == name), self.sources.items.get(&name)) {
                (_, Some(Item::Struct(_))) => self.struct_words(&name, place, is_list),
                (_, Some(Item::Enum(item))) => self.enum_words(item, place, is_list),
                (Some((_, words)), _) => (*words).to_owned(),
                _ => panic!("no words for {name} at {place}"),
            },
        }
    }

    fn struct_words(&mut self, name: &str, place: &str, is_list: bool) -> String {
        let known = self.sections.iter().position(|section| section.name == name);
        let at = known.unwrap_or_else(|| {
            self.sections.push(Section { name: name.to_owned(), place: place.to_owned(), is_list });
            self.sections.len() - 1
        });
        let heading = self.sections[at].heading();
        format!("[table](#{})", anchor(&heading))
    }

    fn enum_words(&mut self, item: &syn::ItemEnum, place: &str, is_list: bool) -> String {
        let all = Told::new(&item.attrs);
        let words: Vec<String> = item
            .variants
            .iter()
            .map(|variant| match &variant.fields {
                Fields::Unnamed(fields) if all.is_untagged => self.words(&fields.unnamed[0].ty, place, is_list),
                Fields::Unit => format!("`{}`", Told::new(&variant.attrs).name(&variant.ident.to_string(), &all)),
                _ => panic!("no words for {} at {place}", item.ident),
            })
            .collect();
        words.join(" or ")
    }
}

/// A field's name, or a variant's, with dashes between its words.
fn kebab_case(name: &str) -> String {
    let mut kebab = String::new();
    for (index, letter) in name.char_indices() {
        if letter.is_ascii_uppercase() && index > 0 {
            kebab.push('-');
        }
        kebab.push(if letter == '_' { '-' } else { letter.to_ascii_lowercase() });
    }
    kebab
}

/// The place of what is called by names of the author's own.
fn named(place: &str) -> String {
    format!("{place}.NAME")
}

fn is_option(of: &Type) -> bool {
    matches!(of, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Option"))
}

fn plural(words: &str) -> String {
    words.split(" or ").map(plural_of_one).collect::<Vec<_>>().join(" or ")
}

fn plural_of_one(words: &str) -> String {
    const PLURALS: &[(&str, &str)] = &[
        ("text", "texts"),
        ("path", "paths"),
        ("whole number", "whole numbers"),
        ("[table]", "[tables]"),
        ("table", "tables"),
        ("list", "lists"),
    ];
    match PLURALS.iter().find_map(|(one, many)| words.strip_prefix(one).map(|rest| format!("{many}{rest}"))) {
        Some(words) => words,
        None => words.to_owned(),
    }
}

/// A default, with what it is in larger units.
fn shown(key: &str, value: &Value) -> String {
    let Some(number) = value.as_u64() else { return format!("`{value}`") };
    let units: &[(u64, &str)] = match () {
        () if key.ends_with("_ms_max") => &[(60_000, "minutes"), (1_000, "seconds")],
        () if key.to_ascii_lowercase().contains("bytes") => &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")],
        () if key.ends_with("seconds_max") => &[(3_600, "hours"), (60, "minutes")],
        () => &[],
    };
    match units.iter().find(|(unit, _)| number > 0 && number.is_multiple_of(*unit)) {
        None => format!("`{number}`"),
        Some((unit, name)) => {
            let count = number / unit;
            let name = if count == 1 { name.trim_end_matches('s') } else { name };
            format!("`{number}` ({count} {name})")
        }
    }
}

pub(super) fn case_file() -> String {
    // Of two of one name the later counts.
    let sources = Sources::read(&[
        "host/pipeline/src/machine/report.rs",
        "host/author/src/cases/file.rs",
        "host/author/src/cases/limits.rs",
        "host/author/src/cases/reports.rs",
    ]);
    Pages::new(&sources, "what it says").page("CaseFile", "")
}

pub(super) fn server_configuration() -> String {
    let sources = Sources::read(&[
        "host/server/src/config.rs",
        "host/engine/src/retention/mod.rs",
        "host/runner/src/connections.rs",
        "host/server/src/service/functions.rs",
        "host/runner/src/programs.rs",
        "host/runner/src/images/mod.rs",
        "host/isolation/src/limits.rs",
        "host/isolation/src/level.rs",
    ]);
    let mut pages = Pages::new(&sources, "what it says");
    let config = serde_json::to_value(pipewright_server::config::Config::default()).unwrap();
    pages.given.insert("Config", config);
    pages.page("Config", "")
}

pub(super) fn limits() -> String {
    let sources = Sources::read(LIMITS);
    let mut page = Pages::new(&sources, "what it stops").page("CallLimits", "limits");
    page += "## What no configuration changes\n\n";
    let mut rows = Vec::new();
    let mut add = |path: &str, is_meant: &dyn Fn(&str) -> bool| {
        for item in syn::parse_file(&source(path)).unwrap().items {
            let Item::Const(item) = item else { continue };
            let name = item.ident.to_string();
            let (about, value) = (documentation(&item.attrs), sources.value(&item.expr));
            if is_meant(&name) {
                assert!(!about.is_empty(), "{name}: say what it is for");
                rows.push(vec![format!("`{name}`"), shown(&name, &value.unwrap()), about]);
            }
        }
    };
    add(LIMITS[0], &|name| name.ends_with("_MAX"));
    OTHER_LIMITS.iter().for_each(|(path, limit)| add(path, &|name| name == *limit));
    page + &table(&["limit", "value", "what it stops"], &rows)
}

/// The keys of an action are `plugin` and those of the capabilities.
pub(super) fn grants_file() -> String {
    let rows = pipewright_sandbox::capabilities::CAPABILITIES.iter().filter(|row| row.grant.is_some());
    let files: Vec<(_, String)> = rows.map(|row| (row, super::capabilities::file(row.name))).collect();
    let sources = Sources::read(&files.iter().map(|(_, file)| file.as_str()).collect::<Vec<_>>());
    let mut pages = Pages::new(&sources, "what it says");
    let plugin = "Only while this plugin serves the action: `team/name`, or with its major version, `team/name@1`.";
    let mut rows = vec![vec!["`plugin`".to_owned(), "text".to_owned(), plugin.to_owned()]];
    for (row, file) in &files {
        let place = format!("action.\"Stage/Action\".{}", row.name);
        let words = pages.words(&written(&source(file)), &place, false);
        let example = row.grant.unwrap_or_default();
        let about = format!("[What it is](capabilities.md#{}); for example `{example}`", row.name);
        rows.push(vec![format!("`{}`", row.name), words, about]);
    }
    let rows = table(&["key", "what it is", "what it says"], &rows);
    let rule = "A rule of a stage condition is named with its condition: `[action.\"Stage/beforeEntry/Rule\"]`.";
    format!("## `[action.\"Stage/Action\"]`\n\n{rule}\n\n{rows}\n{}", pages.sections())
}

/// What stands for the capability of a file in a grants file.
fn written(text: &str) -> Type {
    let file = syn::parse_file(text).unwrap();
    let items = file.items.into_iter().filter_map(|item| match item {
        Item::Impl(it) => Some(it.items),
        _ => None,
    });
    let written = items.flatten().find_map(|item| match item {
        syn::ImplItem::Type(it) if it.ident == "Written" => Some(it.ty),
        _ => None,
    });
    written.expect("a capability says what is written of it")
}
