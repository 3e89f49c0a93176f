//! Owns how typed values are read from the tree, with every mistake noted in its place. Knows YAML and no key of the
//! language.

use crate::problem::{At, Problem, nearest};
use crate::yaml::{Entry, Kind, Node};

/// A file with more mistakes than this is told about the first ones.
const PROBLEMS_MAX: usize = 50;

/// The notes of one reading.
#[derive(Default)]
pub(crate) struct Reader {
    pub problems: Vec<Problem>,
    pub warnings: Vec<Problem>,
}

/// A node and the way to it.
#[derive(Clone)]
pub(crate) struct Value<'a> {
    pub node: &'a Node,
    pub place: String,
}

/// A map whose keys are known.
pub(crate) struct Table<'a> {
    pub at: At,
    pub place: String,
    entries: &'a [Entry],
}

impl<'a> Table<'a> {
    /// Whether the key is written, with a value or without.
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// `None` too where nothing stands after the key: a section whose lines are all comments.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        (!entry.value.is_null()).then(|| Value { node: &entry.value, place: join(&self.place, key) })
    }
}

pub(crate) fn join(place: &str, key: &str) -> String {
    if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") }
}

impl Reader {
    pub fn error(&mut self, at: At, place: &str, message: impl Into<String>, mend: impl Into<String>) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem::new(at, place, message, mend));
        }
    }

    pub fn warn(&mut self, at: At, place: &str, message: impl Into<String>, mend: impl Into<String>) {
        if self.warnings.len() < PROBLEMS_MAX {
            self.warnings.push(Problem::new(at, place, message, mend));
        }
    }

    /// A map of any keys.
    pub fn entries<'a>(&mut self, value: &Value<'a>) -> Vec<(&'a str, At, Value<'a>)> {
        let Kind::Map(entries) = &value.node.kind else {
            let message = format!("expected keys, found {}", value.node.what());
            self.error(value.node.at, &value.place, message, "indent `key: value` lines below it");
            return Vec::new();
        };
        let one = |entry: &'a Entry| {
            let place = join(&value.place, &entry.key);
            (entry.key.as_str(), entry.value.at, Value { node: &entry.value, place })
        };
        entries.iter().map(one).collect()
    }

    /// A map of known keys.
    pub fn table<'a>(&mut self, value: &Value<'a>, known: &[&str]) -> Option<Table<'a>> {
        let Kind::Map(entries) = &value.node.kind else {
            let message = format!("expected keys, found {}", value.node.what());
            self.error(value.node.at, &value.place, message, format!("indent its keys below it: {}", known.join(", ")));
            return None;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let mend = match nearest(&entry.key, known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            self.error(entry.at, &join(&value.place, &entry.key), "unknown key", mend);
        }
        Some(Table { at: value.node.at, place: value.place.clone(), entries })
    }

    /// The text of a scalar, as it is written.
    pub fn text(&mut self, value: &Value<'_>) -> Option<String> {
        match &value.node.kind {
            Kind::Scalar { text, .. } => Some(text.clone()),
            _ => {
                let message = format!("expected a text, found {}", value.node.what());
                self.error(value.node.at, &value.place, message, "write it on one line, in quotes if it has `: `");
                None
            }
        }
    }

    /// Any of the words of YAML 1.1, in any case.
    pub fn boolean(&mut self, value: &Value<'_>) -> bool {
        let text = match &value.node.kind {
            Kind::Scalar { text, .. } => text.to_lowercase(),
            _ => String::new(),
        };
        match text.as_str() {
            "yes" | "true" | "on" => true,
            "no" | "false" | "off" => false,
            _ => {
                self.error(value.node.at, &value.place, "expected yes or no", "write `yes` or `no`");
                false
            }
        }
    }

    pub fn flag(&mut self, table: &Table<'_>, key: &str) -> bool {
        table.get(key).is_some_and(|value| self.boolean(&value))
    }

    pub fn optional_text(&mut self, table: &Table<'_>, key: &str) -> Option<String> {
        table.get(key).and_then(|value| self.text(&value))
    }

    pub fn list<'a>(&mut self, value: &Value<'a>) -> Vec<Value<'a>> {
        let Kind::List(items) = &value.node.kind else {
            let message = format!("expected a list, found {}", value.node.what());
            self.error(value.node.at, &value.place, message, "begin each entry with `- `");
            return Vec::new();
        };
        let item = |(number, node)| Value { node, place: format!("{}[{number}]", value.place) };
        items.iter().enumerate().map(item).collect()
    }

    /// A list of texts; one text alone is a list of it.
    pub fn texts(&mut self, table: &Table<'_>, key: &str) -> Vec<String> {
        let Some(value) = table.get(key) else { return Vec::new() };
        if let Kind::Scalar { text, .. } = &value.node.kind {
            return vec![text.clone()];
        }
        let items = self.list(&value);
        items.iter().filter_map(|item| self.text(item)).collect()
    }

    /// One of some words, in any case.
    pub fn word<T: Copy>(&mut self, value: &Value<'_>, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(value)?;
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
        if found.is_none() {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let mend = match nearest(&text, &known) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("write one of {}", known.join(", ")),
            };
            self.error(value.node.at, &value.place, format!("`{text}` is not known here"), mend);
        }
        found.map(|(_, meant)| *meant)
    }
}
