//! What differs between what a case expects and what was seen.
//!
//! Owns the comparing and its words. All differences are listed, not only the first.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use pipewright_artifacts::files::{Blobs, Node, Tree};
use pipewright_text::first_bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use super::file::{Counts, Expected, ExpectedFiles, ExpectedRevision, TestCase, TestStatus, Waiting};
use super::reports::Report;
use super::seen::Seen;

/// What is shown of a text that is not as expected.
const SHOWN_BYTES_MAX: usize = 4 << 10;
/// A larger file is not searched for texts.
const SEARCHED_BYTES_MAX: u64 = 64 << 20;

/// Something that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The key in `case.toml` that speaks of it: `expected.summary`, `then.1.expected.outcome`; or the folder and path of
    /// a file.
    pub key: String,
    pub expected: String,
    pub got: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indented = |text: &str| text.replace('\n', "\n            ");
        write!(f, "{}\n  expected: {}\n  got:      {}", self.key, indented(&self.expected), indented(&self.got))
    }
}

/// The differences of one call, or of what is left after the last.
pub(super) struct Check<'a> {
    /// The key of the call's expectations.
    key: String,
    blobs: &'a dyn Blobs,
    pub(super) differences: Vec<Difference>,
}

impl<'a> Check<'a> {
    pub(super) fn new(key: impl Into<String>, blobs: &'a dyn Blobs) -> Self {
        Self { key: key.into(), blobs, differences: Vec::new() }
    }

    pub(super) fn differ(&mut self, key: &str, expected: impl Into<String>, got: impl Into<String>) {
        let key = if self.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.key) };
        self.differences.push(Difference { key, expected: expected.into(), got: shown(&got.into()) });
    }

    /// Everything but the files.
    pub(super) fn call(&mut self, expected: &Expected, seen: &Seen) {
        if expected.outcome != seen.outcome {
            let why = seen.failure.as_ref().map(|(kind, message)| format!(": {kind:?}: {message}"));
            let got = format!("{}{}", seen.outcome, why.unwrap_or_default());
            self.differ("outcome", expected.outcome.to_string(), got);
        }
        self.failure(expected, seen);
        self.contains("summary", &expected.summary, seen.summary.as_deref().unwrap_or_default());
        self.contains("log", &expected.log, &seen.log);
        self.denials(&expected.denials, &seen.denials);
        if let Some(id) = &expected.external_id
            && seen.external_id.as_ref() != Some(id)
        {
            self.differ("external-id", id, seen.external_id.as_deref().unwrap_or("none"));
        }
        if let Some(variables) = &expected.variables {
            self.variables(variables, &seen.variables);
        }
        match &expected.revision {
            Some(ExpectedRevision::Like(like)) => self.like("revision", like, seen.revision.as_ref()),
            Some(ExpectedRevision::Is(_)) if seen.revision.is_some() => {
                self.differ("revision", "none", json(&seen.revision));
            }
            _ => {}
        }
        if let Some(links) = &expected.links {
            self.all_like("links", links, &seen.links);
        }
        if let Some(targets) = &expected.targets {
            self.all_like("targets", targets, &seen.targets);
        }
        self.tested(expected, &seen.cases);
        if let Some(results) = &expected.results {
            self.results(results, &seen.results);
        }
        if let Some(waiting) = &expected.waiting {
            let wait = seen.wait.as_ref().map(|wait| Waiting { signal: wait.signal.clone(), until: wait.until });
            self.like("waiting", waiting, wait.as_ref());
        }
    }

    fn failure(&mut self, expected: &Expected, seen: &Seen) {
        let Some(failure) = &expected.failure else { return };
        let (kind, message) = match &seen.failure {
            Some((kind, message)) => (Some(*kind), message.as_str()),
            None => (None, ""),
        };
        if failure.kind.is_some() && failure.kind != kind {
            let text = |kind: Option<_>| kind.map_or("no failure".to_owned(), |kind| format!("{kind:?}"));
            self.differ("failure.kind", text(failure.kind), text(kind));
        }
        self.contains("failure.contains", &failure.contains, message);
    }

    fn contains(&mut self, key: &str, texts: &[String], got: &str) {
        for text in texts.iter().filter(|text| !got.contains(text.as_str())) {
            self.differ(key, format!("a text with {text:?}"), if got.is_empty() { "nothing" } else { got });
        }
    }

    /// Each text is found in a refusal, and nothing else was refused.
    fn denials(&mut self, texts: &[String], denials: &[String]) {
        let found = |text: &String| denials.iter().any(|denial| denial.contains(text.as_str()));
        for text in texts.iter().filter(|text| !found(text)) {
            let got = if denials.is_empty() { "nothing was refused".to_owned() } else { denials.join("\n") };
            self.differ("denials", format!("a host call refused with {text:?}"), got);
        }
        let unexpected: BTreeSet<&String> = denials.iter().collect();
        for denial in unexpected.into_iter().filter(|denial| !texts.iter().any(|text| denial.contains(text.as_str()))) {
            let expected = if texts.is_empty() { "nothing is refused" } else { "nothing else is refused" };
            self.differ("denials", expected, denial);
        }
    }

    fn variables(&mut self, expected: &BTreeMap<String, String>, got: &BTreeMap<String, String>) {
        let names: BTreeSet<&String> = expected.keys().chain(got.keys()).collect();
        let text = |value: Option<&String>| value.map_or("none".to_owned(), |value| format!("{value:?}"));
        for name in names.into_iter().filter(|name| expected.get(*name) != got.get(*name)) {
            self.differ(&format!("variables.{name}"), text(expected.get(name)), text(got.get(name)));
        }
    }

    fn tested(&mut self, expected: &Expected, cases: &[TestCase]) {
        for case in &expected.cases {
            let found = cases.iter().any(|seen| {
                let message = case.message.as_deref().unwrap_or_default();
                let (mut like, got) = (fields(case), fields(seen));
                like.remove("message");
                seen.message.as_deref().unwrap_or_default().contains(message) && as_far_as_given(&like, &got)
            });
            if !found {
                let got: Vec<String> = cases.iter().map(json).collect();
                self.differ("cases", json(case), if got.is_empty() { "no cases".to_owned() } else { got.join("\n") });
            }
        }
        if let Some(counts) = &expected.counts {
            let count = |status| Some(cases.iter().filter(|case| case.status == Some(status)).count());
            let got = Counts {
                passed: count(TestStatus::Passed),
                failed: count(TestStatus::Failed),
                skipped: count(TestStatus::Skipped),
            };
            self.like("counts", counts, Some(&got));
        }
    }

    fn results(&mut self, expected: &BTreeMap<String, Report>, got: &BTreeMap<String, Report>) {
        for (name, report) in expected {
            self.like(&format!("results.{name}"), report, got.get(name));
        }
        for (name, report) in got.iter().filter(|(name, _)| !expected.contains_key(*name)) {
            self.differ(&format!("results.{name}"), "no such report", json(report));
        }
    }

    fn like<T: Serialize>(&mut self, key: &str, expected: &T, got: Option<&T>) {
        if !got.is_some_and(|got| as_far_as_given(&fields(expected), &fields(got))) {
            self.differ(key, json(expected), got.map_or("none".to_owned(), json));
        }
    }

    fn all_like<T: Serialize>(&mut self, key: &str, expected: &[T], got: &[T]) {
        let like = |(expected, got): (&T, &T)| as_far_as_given(&fields(expected), &fields(got));
        if expected.len() != got.len() || !expected.iter().zip(got).all(like) {
            let list = |records: &[T]| {
                let records: Vec<String> = records.iter().map(json).collect();
                if records.is_empty() { "none".to_owned() } else { records.join("\n") }
            };
            self.differ(key, list(expected), list(got));
        }
    }

    /// What a case says in words of an output or a directory.
    pub(super) fn files(&mut self, key: &str, expected: &ExpectedFiles, tree: Option<&Tree>) {
        let Some(tree) = tree else {
            self.differ(key, "it is made", "it was not made");
            return;
        };
        if let Some(digest) = expected.digest.filter(|digest| *digest != tree.digest()) {
            self.differ(&format!("{key}.digest"), digest.to_string(), tree.digest().to_string());
        }
        let there = nodes(tree);
        if let Some(files) = &expected.files {
            let files: BTreeSet<&str> = files.iter().map(String::as_str).collect();
            for path in files.iter().filter(|path| !there.contains_key(*path)) {
                self.differ(&format!("{key}.files"), *path, "it is not there");
            }
            for path in there.keys().filter(|path| !files.contains(*path)) {
                self.differ(&format!("{key}.files"), "nothing else", *path);
            }
        }
        let paths: BTreeSet<&String> = expected.contains.keys().chain(expected.lacks.keys()).collect();
        for path in paths {
            let text = match there.get(path.as_str()) {
                Some(node) => self.text(node),
                None => Err("it is not there".to_owned()),
            };
            let text = match text {
                Ok(text) => text,
                Err(problem) => {
                    self.differ(key, format!("the file {path}"), problem);
                    continue;
                }
            };
            let texts = |of: &BTreeMap<String, Vec<String>>| of.get(path).cloned().unwrap_or_default();
            for wanted in texts(&expected.contains).iter().filter(|wanted| !text.contains(wanted.as_str())) {
                self.differ(&format!("{key}.contains.{path:?}"), format!("a text with {wanted:?}"), text.as_str());
            }
            for unwanted in texts(&expected.lacks).iter().filter(|unwanted| text.contains(unwanted.as_str())) {
                self.differ(&format!("{key}.lacks.{path:?}"), format!("a text without {unwanted:?}"), text.as_str());
            }
        }
    }

    /// Two trees, file by file; empty folders do not count.
    pub(super) fn trees(&mut self, key: &str, expected: &Tree, got: &Tree) {
        let (expected, got) = (nodes(expected), nodes(got));
        let paths: BTreeSet<&str> = expected.keys().chain(got.keys()).copied().collect();
        for path in paths {
            match (expected.get(path), got.get(path)) {
                (Some(expected), Some(got)) if expected == got => {}
                (Some(Node::File { executable: a, .. }), Some(Node::File { executable: b, .. })) if a != b => {
                    let text = |executable: &bool| if *executable { "executable" } else { "not executable" };
                    self.differ(&format!("{key}/{path}"), text(a), text(b));
                }
                (Some(expected), Some(got)) => {
                    let (expected, got) = self.first_difference(expected, got);
                    self.differ(&format!("{key}/{path}"), expected, got);
                }
                (Some(_), None) => self.differ(&format!("{key}/{path}"), "it is there", "it is not"),
                (None, _) => self.differ(&format!("{key}/{path}"), "nothing", "it is there"),
            }
        }
    }

    /// The first line that is not the same in two files.
    fn first_difference(&self, expected: &Node, got: &Node) -> (String, String) {
        let (Ok(expected), Ok(got)) = (self.text(expected), self.text(got)) else {
            return (kind(expected), kind(got));
        };
        let lines = expected.lines().map(Some).chain([None]).zip(got.lines().map(Some).chain([None])).enumerate();
        let line = |line: Option<&str>| line.map_or("the end".to_owned(), |line| format!("{line:?}"));
        match lines.into_iter().find(|(_, (expected, got))| expected != got) {
            Some((number, (expected, got))) => {
                (format!("line {}: {}", number + 1, line(expected)), format!("line {}: {}", number + 1, line(got)))
            }
            None => (format!("{} bytes", expected.len()), format!("{} bytes", got.len())),
        }
    }

    fn text(&self, node: &Node) -> Result<String, String> {
        let Node::File { digest, .. } = node else { return Err(kind(node)) };
        let bytes = self.blobs.read(digest, SEARCHED_BYTES_MAX).map_err(|error| error.to_string())?;
        String::from_utf8(bytes).map_err(|_| kind(node))
    }
}

fn kind(node: &Node) -> String {
    match node {
        Node::File { digest, size, .. } => format!("a file of {size} bytes with the digest {digest}"),
        Node::Link { target } => format!("a link to {target}"),
        Node::Directory => "an empty folder".to_owned(),
    }
}

fn nodes(tree: &Tree) -> BTreeMap<&str, &Node> {
    let counts = tree.entries().iter().filter(|entry| entry.node != Node::Directory);
    counts.map(|entry| (entry.path.as_str(), &entry.node)).collect()
}

/// The fields that a record has.
fn fields(record: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(record) {
        Ok(Value::Object(fields)) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}

fn as_far_as_given(expected: &Map<String, Value>, got: &Map<String, Value>) -> bool {
    expected.iter().all(|(name, value)| got.get(name) == Some(value))
}

fn json(record: &impl Serialize) -> String {
    Value::Object(fields(record)).to_string()
}

fn shown(text: &str) -> String {
    let text = text.trim_end();
    if text.len() <= SHOWN_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}… ({} bytes)", first_bytes(text, SHOWN_BYTES_MAX), text.len())
}
