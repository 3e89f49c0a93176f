//! What the compiler says of mistakes: words that help, at the author's own tokens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FRAME: &str = "#![allow(dead_code)]\nuse pipewright_sdk::prelude::*;\n";

/// A mistake; where the compiler points, as the text that it underlines; and what it says.
const MISTAKES: &[(&str, &str, &[&str])] = &[
    (
        "#[derive(Settings)]\nstruct S { folder: std::path::PathBuf }",
        "std::path::PathBuf",
        &["a setting cannot be a `PathBuf`", "`#[derive(Choice)]`"],
    ),
    (
        "#[derive(Settings)]\nstruct S { #[setting(defualt = \"3\")] count: u8 }",
        "defualt",
        &["expected `name = \"…\"`"],
    ),
    ("#[derive(Settings)]\nstruct S { #[setting(default = 3)] count: u8 }", "3", &["expected a text in quotes"]),
    (
        "#[derive(Settings)]\nstruct S { #[setting(default = \"256\")] count: u8 }",
        "\"256\"",
        &["the default of a `u8` is a whole number that fits"],
    ),
    ("#[derive(Settings)]\nenum S { A }", "S", &["expected a struct with named fields"]),
    ("#[derive(Choice)]\nenum C { A(u8) }", "A", &["a choice has no fields"]),
    (
        "#[derive(Variables)]\nstruct V { items: Vec<String> }",
        "items",
        &["an output variable cannot be a `Vec<String>`", "a variable is a String"],
    ),
    (
        "#[action(inputs = 1)]\nfn make(_: &Action, (): ()) -> Result<Report> { panic!() }",
        "make",
        &["needs a provider"],
    ),
    (
        "#[action(provider = \"It\", input = 1)]\nfn make(_: &Action, (): ()) -> Result<Report> { panic!() }",
        "input",
        &["expected owner, provider, version, inputs, outputs or latest"],
    ),
    (
        "#[action(provider = \"It\")]\nfn make(_: &Action) -> Result<Report> { panic!() }",
        "_",
        &["`#[derive(Settings)]`"],
    ),
    (
        "#[action(provider = \"It\")]\nasync fn make(_: &Action, (): ()) -> Result<Report> { panic!() }",
        "async",
        &["not async"],
    ),
    ("plugin! { name: \"it\", build: [] }", "\"it\"", &["like `team/name`"]),
    ("plugin! { build: [] }", "build", &["a plugin needs a name"]),
    ("plugin! { name: \"a/b\", builds: [] }", "builds", &["or a category: source, build"]),
    (
        "#[action(provider = \"It\")]\nfn make(_: &Action, (): ()) -> Result<Verdict> { panic!() }\n\
         plugin! { name: \"a/b\", build: [make] }",
        "make",
        &["expected `Report<_>`, found `Verdict`"],
    ),
    (
        "struct S;\n#[action(provider = \"It\")]\nfn make(_: &Action, _: S) -> Result<Report> { panic!() }\n\
         plugin! { name: \"a/b\", build: [make] }",
        "make",
        &["`S` is not the settings of an action", "`#[derive(Settings)]`"],
    ),
    (
        "#[action(provider = \"It\")]\nfn get(_: &Action, (): ()) -> Result<Fetched> { panic!() }\n\
         plugin! { name: \"a/b\", source: [get] }",
        "get",
        &["does not say what is new", "`latest = function`"],
    ),
    ("fn make() {}\nplugin! { name: \"a/b\", build: [make] }", "make", &["expected type, found function `make`"]),
];

#[test]
fn a_mistake_is_told_where_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let libraries = libraries();
    for (number, (mistake, at, words)) in MISTAKES.iter().enumerate() {
        let source = folder.path().join(format!("mistake{number}.rs"));
        fs::write(&source, format!("{FRAME}{mistake}\n")).expect("it is written");
        let said = compile(&source, &libraries);
        // The first error, as JSON: what it underlines, and its words and notes.
        let first = said.lines().find_map(|line| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            (message["level"] == "error" && message["spans"][0].is_object()).then_some(message)
        });
        let first = first.unwrap_or_else(|| panic!("{mistake}\n{said}"));
        let spans = first["spans"].as_array().into_iter().flatten();
        let primary = spans.filter(|span| span["is_primary"] == true).map(|mut span| {
            // What a macro made lies where the macro was called.
            while span["expansion"]["span"].is_object() {
                span = &span["expansion"]["span"];
            }
            let text = span["text"][0]["text"].as_str().unwrap_or_default();
            let column = |name: &str| span[name].as_u64().unwrap_or(1) as usize - 1;
            text.chars().take(column("column_end")).skip(column("column_start")).collect::<String>()
        });
        let primary: Vec<String> = primary.collect();
        assert!(primary.iter().any(|text| text == at), "{mistake}\npoints at {primary:?}\n{}", first["rendered"]);
        for word in *words {
            let rendered = first["rendered"].as_str().unwrap_or_default();
            assert!(rendered.contains(word), "{mistake}\ndoes not say {word:?}:\n{rendered}");
        }
    }
}

/// A mistake that a macro finds, and all errors that the compiler shows: what uses it is not at fault.
const ALONE: &[(&str, &[&str])] = &[
    (
        "#[derive(Settings)]\nstruct S { #[setting(defualt = \"3\")] count: u8, #[setting(default = \"x\")] other: u8 }\n\
         #[action(provider = \"It\")]\nfn make(_: &Action, s: S) -> Result<Report> { let _: u8 = \"text\"; panic!(\"{}\", s.count) }",
        &["expected `name = \"…\"`", "the default of a `u8` is", "mismatched types"],
    ),
    (
        "#[derive(Variables)]\nstruct V { #[variable(nam = \"N\")] count: u8 }\n\
         #[action(provider = \"It\")]\nfn make(_: &Action, (): ()) -> Result<Report<V>> { panic!() }",
        &["expected `name = \"…\"`"],
    ),
    (
        "#[derive(Choice)]\nenum C { A(u8) }\n#[derive(Settings)]\nstruct S { choice: C }\n\
         #[action(provider = \"It\")]\nfn make(_: &Action, _: S) -> Result<Report> { panic!() }",
        &["a choice has no fields"],
    ),
    (
        "#[action(provider = \"It\", input = 1)]\nfn make(_: &Action, (): ()) -> Result<Report> { panic!() }",
        &["expected owner, provider"],
    ),
    ("#[action(provider = \"It\")]\nasync fn make(_: &Action, (): ()) -> Result<Report> { panic!() }", &["not async"]),
    ("#[action(provider = \"It\")]\nfn make(_: &Action) -> Result<Report> { panic!() }", &["`#[derive(Settings)]`"]),
];

#[test]
fn a_mistake_in_a_macro_hides_no_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let libraries = libraries();
    for (number, (mistake, expected)) in ALONE.iter().enumerate() {
        let source = folder.path().join(format!("alone{number}.rs"));
        let plugin = "plugin! { name: \"a/b\", build: [make] }";
        fs::write(&source, format!("{FRAME}{mistake}\n{plugin}\n")).expect("it is written");
        let said = compile(&source, &libraries);
        let messages = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let errors: Vec<String> = messages
            .filter(|message| message["level"] == "error" && message["spans"][0].is_object())
            .map(|message| message["rendered"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(errors.len(), expected.len(), "{mistake}\n{}", errors.join("\n"));
        for (error, expected) in errors.iter().zip(*expected) {
            assert!(error.contains(expected), "{mistake}\ndoes not say {expected:?}:\n{error}");
        }
    }
}

/// The folder of what this test was built with.
fn libraries() -> PathBuf {
    std::env::current_exe().expect("this program").parent().expect("a folder").to_owned()
}

fn compile(source: &Path, libraries: &Path) -> String {
    let sdk = fs::read_dir(libraries).expect("a folder").filter_map(Result::ok).filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name.starts_with("libpipewright_sdk-") && name.ends_with(".rlib")
    });
    let newest = sdk.max_by_key(|entry| entry.metadata().and_then(|found| found.modified()).ok());
    let sdk = newest.expect("the SDK was built for this test").path();
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--error-format", "json"]);
    rustc.arg("--out-dir").arg(source.parent().expect("a folder")).arg(source);
    rustc.arg("-L").arg(format!("dependency={}", libraries.display()));
    rustc.arg("--extern").arg(format!("pipewright_sdk={}", sdk.display())).env("CARGO_PKG_VERSION", "0.1.0");
    let output = rustc.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("rustc");
    assert!(!output.status.success(), "{} compiles", source.display());
    String::from_utf8_lossy(&output.stderr).into_owned()
}
