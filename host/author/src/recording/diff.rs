//! What differs between a recorded call and the same call made again.
//!
//! Owns the comparing of outcomes and outputs, and its words. Host calls are compared while they are made (the sandbox).

use std::collections::BTreeSet;
use std::fmt;

use pipewright_artifacts::files::{Node, Tree};
use pipewright_base::Digest;
use serde_json::Value;

use pipewright_runner::recording::Bundle;

/// Further ones follow from the first. Stops a list as long as a test report.
const DIFFERENCES_MAX: usize = 50;

/// Something that is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `host call 3`, `outcome.variables.0.value`, `outputs/Site/index.html`; after the number of the call, if there are
    /// several.
    pub what: String,
    pub recorded: String,
    pub replayed: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indented = |text: &str| text.replace('\n', "\n            ");
        write!(f, "{}\n  recorded: {}\n  replayed: {}", self.what, indented(&self.recorded), indented(&self.replayed))
    }
}

pub(super) fn differ(
    found: &mut Vec<Difference>,
    what: impl Into<String>,
    recorded: impl Into<String>,
    replayed: impl Into<String>,
) {
    if found.len() < DIFFERENCES_MAX {
        found.push(Difference { what: what.into(), recorded: recorded.into(), replayed: replayed.into() });
    }
}

/// Every place at which two values differ.
pub(super) fn values(found: &mut Vec<Difference>, at: &str, recorded: &Value, replayed: &Value) {
    let below = |key: &str| format!("{at}.{key}");
    match (recorded, replayed) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            for (key, value) in a {
                values(found, &below(key), value, &b[key]);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() && !a.iter().all(Value::is_number) => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                values(found, &below(&index.to_string()), a, b);
            }
        }
        (a, b) if a != b => differ(found, at, shown(a), shown(b)),
        _ => {}
    }
}

/// A continuation is a list of bytes.
fn shown(value: &Value) -> String {
    let bytes = value.as_array().and_then(|numbers| {
        let byte = |number: &Value| u8::try_from(number.as_u64()?).ok();
        numbers.iter().map(byte).collect::<Option<Vec<u8>>>()
    });
    match bytes {
        Some(bytes) if !bytes.is_empty() => String::from_utf8_lossy(&bytes).into_owned(),
        _ => value.to_string(),
    }
}

/// Two trees, path by path where the recorded one's manifest is in the bundle.
pub(super) fn trees(found: &mut Vec<Difference>, what: &str, bundle: &Bundle, recorded: &Digest, replayed: &Tree) {
    if *recorded == replayed.digest() {
        return;
    }
    let Ok(recorded_tree) = bundle.tree(recorded, what) else {
        return differ(found, what, recorded.to_string(), replayed.digest().to_string());
    };
    let node = |tree: &'_ Tree, path: &str| {
        tree.entries().iter().find(|entry| entry.path == path).map_or(
            "it is not there".to_owned(),
            |entry| match &entry.node {
                Node::File { digest, size, executable } => {
                    let executable = if *executable { ", executable" } else { "" };
                    format!("{size} bytes with the digest {digest}{executable}")
                }
                Node::Link { target } => format!("a link to {target}"),
                Node::Directory => "an empty folder".to_owned(),
            },
        )
    };
    let paths = |tree: &Tree| tree.entries().iter().map(|entry| entry.path.clone()).collect::<BTreeSet<_>>();
    for path in paths(&recorded_tree).union(&paths(replayed)) {
        let (a, b) = (node(&recorded_tree, path), node(replayed, path));
        if a != b {
            differ(found, format!("{what}/{path}"), a, b);
        }
    }
}
