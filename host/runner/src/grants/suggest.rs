//! The least grant: what of a grants file the journals of its actions show to be needed.
//!
//! Owns how a grants file is narrowed to what a plugin used, and stays as its operator wrote it. Adds nothing to it. Must not
//! know where journals come from, nor what a use of any one capability needs (the sandbox).

use std::collections::{BTreeMap, BTreeSet};

use pipewright_sandbox::grants::Use;
use pipewright_sandbox::seam::JOURNAL_CALLS_MAX;
use serde::Deserialize;
use toml::{Table, Value};
use toml_edit::{DocumentMut, Item, TableLike};

use super::{ActionGrants, Document, PLUGIN};

/// What a journal says of one use of a capability.
#[derive(Debug, Deserialize)]
struct HostCall {
    capability: String,
    operation: String,
    target: String,
    outcome: String,
    why: Option<String>,
}

/// What an action used, by its journals.
#[derive(Debug, Default)]
pub struct Used {
    uses: BTreeSet<Use>,
    /// What it wanted and was not granted, with why.
    refused: BTreeMap<String, Use>,
    calls: usize,
    /// A journal ended before the action did.
    is_cut: bool,
}

impl Used {
    /// Adds the journal of one action execution, the newest first: what was done since is not refused any more.
    ///
    /// # Errors
    /// It is no journal.
    pub fn add(&mut self, journal: &str) -> Result<(), serde_json::Error> {
        let calls = journal.lines().count();
        self.calls += calls;
        self.is_cut |= calls as u64 >= JOURNAL_CALLS_MAX;
        for line in journal.lines() {
            let HostCall { capability, operation, target, outcome, why } = serde_json::from_str(line)?;
            let used = Use { capability, operation, target };
            match why {
                Some(why) if outcome == "denied" => {
                    if !self.uses.contains(&used) {
                        self.refused.insert(why, used);
                    }
                }
                _ if outcome == "denied" => {}
                _ => drop(self.uses.insert(used)),
            }
        }
        Ok(())
    }
}

/// The grants file with no more than what was used, by `Stage/Action`; and what a person is to know of it. All else in the file,
/// comments too, stays as it is.
///
/// # Errors
/// It is no grants file.
pub fn least(text: &str, used: &BTreeMap<String, Used>) -> Result<(String, Vec<String>), toml_edit::de::Error> {
    let mut document: DocumentMut = text.parse()?;
    let mut written: Document = toml_edit::de::from_str(text)?;
    let (mut notes, refusals) = (Vec::new(), refusals(&written, used));
    if let Some(actions) = document.get_mut("action").and_then(Item::as_table_like_mut) {
        let names: Vec<String> = actions.iter().map(|(name, _)| name.to_owned()).collect();
        for name in names {
            let Some(grants) = actions.get_mut(&name).and_then(Item::as_table_like_mut) else { continue };
            match used.get(&name).filter(|used| used.calls > 0) {
                // A journal that was removed like old logs looks no other than an empty one.
                None => notes.push(format!(
                    "{name} made no host call, or its journals are gone: its grants are left as they are"
                )),
                Some(used) if used.is_cut => notes.push(format!(
                    "{name} made more than {JOURNAL_CALLS_MAX} host calls, which is where a journal ends: its grants are left as \
                     they are"
                )),
                Some(used) => {
                    let mut action = written.action.remove(&name).unwrap_or_default();
                    action.written.least(&used.uses);
                    let least = Table::try_from(action.written).unwrap_or_default();
                    narrow(grants, &least, |key| key == PLUGIN);
                }
            }
            if grants.iter().all(|(key, _)| key == PLUGIN) {
                actions.remove(&name);
                notes.push(format!("{name} used none of its grants"));
            }
        }
    }
    notes.extend(refusals);
    Ok((document.to_string(), notes))
}

/// What was refused, and still would be.
fn refusals(written: &Document, used: &BTreeMap<String, Used>) -> Vec<String> {
    let refused = used.iter().flat_map(|(name, used)| used.refused.iter().map(move |refused| (name, refused)));
    let is_open = |(name, (why, denied)): &(&String, (&String, &Use))| {
        !written.action.get(*name).is_some_and(|grants| mends(grants, denied, why))
    };
    refused.filter(is_open).map(|(name, (why, _))| format!("{name} was refused something: {why}")).collect()
}

/// Whether a file has since been given what a use was refused for. Of what is granted by names, with more to say of each, that is not
/// seen here.
fn mends(grants: &ActionGrants, denied: &Use, why: &str) -> bool {
    let mut needed = grants.written.clone();
    needed.least(&BTreeSet::from([denied.clone()]));
    let needed = Table::try_from(needed).unwrap_or_default();
    let private = "private = true";
    let is_whole = !why.contains(private) || needed.to_string().contains(private);
    is_whole && needed.contains_key(&denied.capability) && !["directories", "secrets"].contains(&&*denied.capability)
}

/// Leaves of a table what is in the least one, and the keys to `keep`.
fn narrow(table: &mut dyn TableLike, least: &Table, keep: fn(&str) -> bool) {
    let keys: Vec<String> = table.iter().map(|(key, _)| key.to_owned()).filter(|key| !keep(key)).collect();
    for key in keys {
        match (table.get_mut(&key), least.get(&key)) {
            (Some(item), Some(least)) => narrow_item(item, least),
            _ => drop(table.remove(&key)),
        }
    }
}

fn narrow_item(item: &mut Item, least: &Value) {
    match least {
        Value::Table(least) => {
            let keys = |item: &Item| item.as_table_like().map_or(0, TableLike::len);
            let before = keys(item);
            if let Some(table) = item.as_table_like_mut() {
                narrow(table, least, |_| false);
            }
            if keys(item) < before
                && let Some(table) = item.as_inline_table_mut()
            {
                table.fmt();
            }
        }
        Value::Array(least) => {
            if let Some(written) = item.as_array_mut() {
                written.retain(|element| least.iter().any(|least| says_no_more(element, least)));
            }
        }
        Value::String(least) if item.as_str() != Some(least) => *item = toml_edit::value(least),
        _ => {}
    }
}

/// An element of an array is left as it is, or taken out.
fn says_no_more(element: &toml_edit::Value, least: &Value) -> bool {
    match least {
        Value::String(least) => element.as_str() == Some(least),
        Value::Boolean(least) => element.as_bool() == Some(*least),
        Value::Integer(least) => element.as_integer() == Some(*least),
        Value::Table(least) => element.as_inline_table().is_some_and(|element| {
            element.iter().all(|(key, value)| least.get(key).is_some_and(|least| says_no_more(value, least)))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const GRANTS: &str = r#"# Of the site.
[action."Publish/Site"]
plugin = "pipewright/site@1"
directories.site = { path = "public", access = "write" }   # where it is served from
directories.old = { path = "old", access = "write" }
http = ["https://example.com", { origin = "http://localhost:8080", private = true }, "https://unused.example"]
secrets.token = { env = "API_TOKEN", hosts = ["Example.com", "unused.example"], reveal = true }
secrets.unused = { env = "UNUSED", hosts = ["example.com"] }
clock = true
randomness = true

[action."Tell/Everybody"]
clock = true
"#;

    /// Capability, operation, target, outcome.
    type Line = (&'static str, &'static str, &'static str, &'static str);

    fn narrowed(journals: &[(&str, &[Line])]) -> (String, Vec<String>) {
        let mut used: BTreeMap<String, Used> = BTreeMap::new();
        for (action, calls) in journals {
            let line = |(capability, operation, target, outcome): &Line| {
                serde_json::json!({
                    "at": 0, "capability": capability, "operation": operation, "target": target, "outcome": outcome,
                    "why": (*outcome == "denied").then(|| format!("{target} was not granted")), "bytes": 0, "micros": 0,
                })
            };
            let journal: Vec<String> = calls.iter().map(|call| line(call).to_string()).collect();
            used.entry((*action).to_owned()).or_default().add(&journal.join("\n")).unwrap();
        }
        let (text, notes) = least(GRANTS, &used).unwrap();
        assert!(toml::from_str::<super::super::Document>(&text).is_ok(), "{text}");
        (text, notes)
    }

    fn check(journals: &[(&str, &[Line])], expected: Expect) {
        let (text, notes) = narrowed(journals);
        expected.assert_eq(&format!("{text}---\n{}\n", notes.join("\n")));
    }

    #[test]
    fn what_was_not_used_is_taken_out() {
        check(
            &[
                (
                    "Publish/Site",
                    &[
                        ("directories", "list", "/directories/site", "done"),
                        ("http", "request", "GET https://example.com/a?b", "done"),
                        ("http", "request", "PUT http://localhost:8080", "failed"),
                        ("secrets", "stand-in", "token", "done"),
                    ],
                ),
                (
                    "Publish/Site",
                    &[
                        ("clock", "now", "", "done"),
                        ("http", "request", "GET https://other.example/", "denied"),
                        // The file has it since, and so has one that succeeded later.
                        ("http", "request", "GET https://unused.example/", "denied"),
                        ("http", "request", "GET https://example.com/a?b", "denied"),
                    ],
                ),
                ("Tell/Everybody", &[]),
            ],
            expect![[r##"
                # Of the site.
                [action."Publish/Site"]
                plugin = "pipewright/site@1"
                directories.site = { path = "public", access = "read" }   # where it is served from
                http = ["https://example.com", { origin = "http://localhost:8080", private = true }]
                secrets.token = { env = "API_TOKEN", hosts = ["Example.com"] }
                clock = true

                [action."Tell/Everybody"]
                clock = true
                ---
                Tell/Everybody made no host call, or its journals are gone: its grants are left as they are
                Publish/Site was refused something: GET https://other.example/ was not granted
            "##]],
        );
    }

    #[test]
    fn what_was_used_stays() {
        check(
            &[(
                "Publish/Site",
                &[
                    ("directories", "copy", "/inputs/Site → /directories/site/a", "done"),
                    ("directories", "rename", "/directories/old/a → /directories/old/b", "done"),
                    ("secrets", "reveal", "token", "done"),
                    ("secrets", "basic", "unused", "done"),
                    ("randomness", "bytes", "", "done"),
                ],
            )],
            expect![[r##"
                # Of the site.
                [action."Publish/Site"]
                plugin = "pipewright/site@1"
                directories.site = { path = "public", access = "write" }   # where it is served from
                directories.old = { path = "old", access = "write" }
                secrets.token = { env = "API_TOKEN", hosts = ["Example.com", "unused.example"], reveal = true }
                secrets.unused = { env = "UNUSED", hosts = ["example.com"] }
                randomness = true

                [action."Tell/Everybody"]
                clock = true
                ---
                Tell/Everybody made no host call, or its journals are gone: its grants are left as they are
            "##]],
        );
    }

    #[test]
    fn a_journal_that_was_cut_takes_nothing_out() {
        let call = ("clock", "now", "", "done");
        let (text, notes) = narrowed(&[("Publish/Site", &[call; JOURNAL_CALLS_MAX as usize])]);
        assert_eq!(text, GRANTS);
        assert!(notes[0].contains("more than 1000 host calls"), "{notes:?}");
    }
}
