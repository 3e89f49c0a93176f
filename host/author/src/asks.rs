//! Whether what a plugin asks for can be granted, and be understood by whoever grants it: judged when it is built, whatever its
//! language.
//!
//! Pure. Must not know what grants there are.

use std::collections::BTreeSet;

use pipewright_sandbox::abi::{Capability, Description};
use pipewright_sandbox::capabilities::asked;

/// What is wrong with the asks, each told by what it asks for.
pub fn problems(about: &Description) -> Vec<String> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for ask in &about.asks {
        let asked = asked(&ask.capability);
        let mut problem =
            |what: &str| problems.push(format!("the ask {}: {what}", asked.in_words(&about.action_types)));
        if ask.reason.trim().is_empty() {
            problem("say why in its reason: whoever grants it reads that");
        }
        if !seen.insert((asked.case, asked.name.to_owned())) {
            problem("it is there twice");
        }
        match &ask.capability {
            Capability::Http(host) if !is_host(host) => {
                problem("name a host alone, as in `example.com` or `example.com:8443`, or `*` where settings name it");
            }
            Capability::Secret(name) | Capability::RevealSecret(name) if !is_name(name) => {
                problem("give the name of a secret, or of the setting that names it");
            }
            Capability::ReadDirectory(name) | Capability::WriteDirectory(name) if !is_name(name) => {
                problem("give the name under which a directory is granted, or that of the setting that names it");
            }
            _ => {}
        }
    }
    problems
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && !host.contains(['/', '?', '#', '@', ' '])
}

/// Stored secrets may have names of several parts; none leads anywhere.
fn is_name(name: &str) -> bool {
    name.split('/').all(|part| !matches!(part.trim(), "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use pipewright_sandbox::abi::Ask;

    use super::*;

    #[test]
    fn each_mistake_of_an_ask_is_told() {
        let check = |asks: &[(Capability, &str)], expected: &[&str]| {
            let asks = asks
                .iter()
                .map(|(capability, reason)| Ask { capability: capability.clone(), reason: (*reason).to_owned() });
            let about = Description {
                name: "team/x".to_owned(),
                version: "1.0.0".to_owned(),
                documentation: String::new(),
                action_types: Vec::new(),
                asks: asks.collect(),
                may_run_again: true,
            };
            let found = problems(&about);
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.contains(expected), "{found} has no {expected}");
            }
        };
        let (http, secret) =
            (|host: &str| Capability::Http(host.to_owned()), |name: &str| Capability::Secret(name.to_owned()));
        check(&[], &[]);
        check(&[(Capability::Clock, "to wait"), (http("*"), "to ask"), (http("[::1]:80"), "to ask")], &[]);
        check(&[(secret("token"), "to ask"), (secret("prod/db"), "to ask")], &[]);
        check(&[(Capability::Clock, " ")], &["say why"]);
        check(&[(Capability::Clock, "a"), (Capability::Clock, "b")], &["it is there twice"]);
        check(&[(http("https://x.com/"), "")], &["say why", "name a host alone"]);
        check(&[(secret("../x"), "a"), (secret(""), "a")], &["the name of a secret", "the name of a secret"]);
        check(&[(Capability::ReadDirectory("/etc".to_owned()), "a")], &["the name under which a directory is granted"]);
    }
}
