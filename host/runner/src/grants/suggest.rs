//! The least grant: what of a grants file the journals of its actions show to be needed.
//!
//! Owns which line of a journal needs which line of a grants file. It narrows what an operator wrote, and adds nothing. Must not know
//! where journals come from.

use std::collections::{BTreeMap, BTreeSet};

use pipewright_sandbox::seam::JOURNAL_CALLS_MAX;
use serde::Deserialize;
use toml_edit::{DocumentMut, Item, TableLike};

use super::Origin;

/// Of granted directories; everything else may write. A copy reads its first place and writes to its second.
const READING: &[&str] = &["open", "read", "list", "digest"];

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
    /// By name; whether it was written to.
    directories: BTreeMap<String, bool>,
    /// Scheme, host and port.
    origins: BTreeSet<(bool, String, u16)>,
    /// By name; whether the plugin read the value.
    secrets: BTreeMap<String, bool>,
    clock: bool,
    randomness: bool,
    /// What it wanted and was not granted.
    pub refused: BTreeSet<String>,
    calls: usize,
    /// A journal ended before the action did.
    is_cut: bool,
}

impl Used {
    /// Adds the journal of one action execution.
    ///
    /// # Errors
    /// It is no journal.
    pub fn add(&mut self, journal: &str) -> Result<(), serde_json::Error> {
        let calls = journal.lines().count();
        self.calls += calls;
        self.is_cut |= calls as u64 >= JOURNAL_CALLS_MAX;
        for line in journal.lines() {
            let call: HostCall = serde_json::from_str(line)?;
            match call.outcome.as_str() {
                "denied" => self.refused.extend(call.why),
                _ => self.add_call(&call),
            }
        }
        Ok(())
    }

    fn add_call(&mut self, call: &HostCall) {
        match call.capability.as_str() {
            "directories" => {
                let places: Vec<&str> = call.target.split(" → ").collect();
                let reads_first = READING.contains(&call.operation.as_str()) || places.len() > 1;
                for (place, path) in places.iter().enumerate() {
                    let name = path.strip_prefix("/directories/").and_then(|path| path.split('/').next());
                    if let Some(name) = name {
                        let writes = !(reads_first && place == 0) || call.operation == "rename";
                        *self.directories.entry(name.to_owned()).or_default() |= writes;
                    }
                }
            }
            "http" => self.origins.extend(call.target.split(' ').nth(1).and_then(origin)),
            "secrets" => {
                *self.secrets.entry(call.target.clone()).or_default() |= call.operation == "reveal";
            }
            "clock" => self.clock = true,
            "randomness" => self.randomness = true,
            _ => {}
        }
    }
}

/// Of a URL, or of an origin in a grants file.
fn origin(url: &str) -> Option<(bool, String, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let grant = Origin::Public(format!("{scheme}://{authority}")).resolve().ok()?;
    Some((grant.tls, grant.host, grant.port))
}

/// The grants file with no more than what was used, by `Stage/Action`; and what a person is to know of it. All else in the file,
/// comments too, stays as it is.
///
/// # Errors
/// It is no TOML.
pub fn least(text: &str, used: &BTreeMap<String, Used>) -> Result<(String, Vec<String>), toml_edit::TomlError> {
    let mut document: DocumentMut = text.parse()?;
    let mut notes = Vec::new();
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
                Some(used) => narrow(grants, used),
            }
            if grants.iter().all(|(key, _)| key == "plugin") {
                actions.remove(&name);
                notes.push(format!("{name} used none of its grants"));
            }
        }
    }
    for (name, used) in used {
        notes.extend(used.refused.iter().map(|refused| format!("{name} was refused something: {refused}")));
    }
    Ok((document.to_string(), notes))
}

fn narrow(grants: &mut dyn TableLike, used: &Used) {
    retain(grants, "directories", |name, directory| {
        let Some(writes) = used.directories.get(name) else { return false };
        if let Some(access) = directory.get_mut("access").filter(|_| !writes) {
            *access = toml_edit::value("read");
        }
        true
    });
    retain(grants, "secrets", |name, secret| {
        let Some(revealed) = used.secrets.get(name) else { return false };
        if !revealed && secret.remove("reveal").is_some() {
            secret.fmt();
        }
        let is_asked = |host: &toml_edit::Value| {
            let host = host.as_str().map(|host| host.trim_end_matches('.').to_ascii_lowercase());
            host.is_some_and(|host| used.origins.iter().any(|(_, asked, _)| *asked == host))
        };
        if let Some(hosts) = secret.get_mut("hosts").and_then(Item::as_array_mut)
            && hosts.iter().any(is_asked)
        {
            hosts.retain(is_asked);
        }
        true
    });
    if let Some(origins) = grants.get_mut("http").and_then(Item::as_array_mut) {
        origins.retain(|granted| {
            let text = granted.as_str().or_else(|| granted.as_inline_table()?.get("origin")?.as_str());
            text.and_then(origin).is_some_and(|granted| used.origins.contains(&granted))
        });
        if origins.is_empty() {
            grants.remove("http");
        }
    }
    for (key, is_used) in [("clock", used.clock), ("randomness", used.randomness)] {
        if !is_used {
            grants.remove(key);
        }
    }
}

/// Keeps what is to be kept of a table in the grants, and the table if something is left.
fn retain(grants: &mut dyn TableLike, key: &str, mut keep: impl FnMut(&str, &mut dyn TableLike) -> bool) {
    let Some(table) = grants.get_mut(key).and_then(Item::as_table_like_mut) else { return };
    let names: Vec<String> = table.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        let is_kept = table.get_mut(&name).and_then(Item::as_table_like_mut).is_some_and(|value| keep(&name, value));
        if !is_kept {
            table.remove(&name);
        }
    }
    if table.is_empty() {
        grants.remove(key);
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
                    "why": (*outcome == "denied").then_some("it was not granted"), "bytes": 0, "micros": 0,
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
                    &[("clock", "now", "", "done"), ("http", "request", "GET https://unused.example/", "denied")],
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
                Publish/Site was refused something: it was not granted
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
