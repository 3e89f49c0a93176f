//! What a plugin may reach: the table of capabilities, each one's own documentation, and the WIT's words for the asks.

use pipewright_sandbox::capabilities::CAPABILITIES;

use super::markdown::{documentation, for_users, table};
use super::{root, source};

const FOLDER: &str = "host/sandbox/src/capabilities";

/// Where a capability's own source is.
pub(super) fn file(name: &str) -> String {
    let file = format!("{FOLDER}/{name}.rs");
    if root().join(&file).is_file() { file } else { format!("{FOLDER}/{name}/grant.rs") }
}

/// The same for its documentation.
fn module(name: &str) -> String {
    let file = format!("{FOLDER}/{name}.rs");
    if root().join(&file).is_file() { file } else { format!("{FOLDER}/{name}/mod.rs") }
}

pub(super) fn page() -> String {
    let asks = asks(&source("wit/plugin.wit"));
    let mut page = String::new();
    for row in CAPABILITIES.iter().filter(|row| row.grant.is_some()) {
        let text = source(&module(row.name));
        let about = for_users(&documentation(&syn::parse_file(&text).unwrap().attrs));
        let asked = row.asks.iter().map(|ask| {
            let (_, about) = asks.iter().find(|(name, _)| name == ask).expect("the WIT has each ask");
            vec![format!("`{ask}`"), about.clone()]
        });
        let asked = table(&["asked for by", "with"], &asked.collect::<Vec<_>>());
        let rows = vec![
            vec!["granted by".to_owned(), format!("`{}`", row.grant.unwrap_or_default())],
            vec!["without the grant".to_owned(), row.without.to_owned()],
            vec![
                "in a test case".to_owned(),
                match (row.name, row.can_be_made_up) {
                    ("http", _) => "answers are made up by [`[[http]]`](case-file.md#http)",
                    (_, true) => {
                        "answers may be made up by [`[[host-calls]]`](../../sdk/CASES.md#answers-to-other-host-calls)"
                    }
                    (_, false) => "what it reaches lies in the case's folder",
                }
                .to_owned(),
            ],
        ];
        page += &format!("## {}\n\n{about}\n\n{asked}\n{}\n", row.name, table(&["", "what"], &rows));
    }
    page
}

/// The cases of the variant `capability`, each with its documentation.
fn asks(wit: &str) -> Vec<(String, String)> {
    let variant = wit.split("variant capability {").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
    let mut asks = Vec::new();
    let mut about = Vec::new();
    for line in variant.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("/// ") {
            Some(text) => about.push(text),
            None => {
                let name: String = line.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
                asks.push((name, std::mem::take(&mut about).join(" ")));
            }
        }
    }
    asks
}
