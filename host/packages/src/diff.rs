//! What an upgrade changes: a pure function of what is known of both packages.
//!
//! Owns the comparison, and the rule by which an upgrade asks for more. Must not know how either package was read.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Facts;

/// What differs between two packages; empty where nothing does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    pub version: Change,
    /// Asks of the new one that nothing of the old one covers: an upgrade waits for consent.
    pub widened: Vec<String>,
    /// Asks of the old one that the new one has no more.
    pub narrowed: Vec<String>,
    /// Action types that are offered anew.
    pub types_added: Vec<String>,
    /// Action types that are offered no more.
    pub types_removed: Vec<String>,
    /// Settings and other parts of action types that both offer, as `Deploy/Custom/Site/1: setting Title: …`.
    pub types_changed: Vec<String>,
    pub interfaces_added: Vec<String>,
    pub interfaces_removed: Vec<String>,
    pub signers_added: Vec<String>,
    pub signers_removed: Vec<String>,
    pub size_bytes: SizeChange,
    pub may_run_again: Option<bool>,
}

/// From what to what.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    pub old: String,
    pub new: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SizeChange {
    pub old: u64,
    pub new: u64,
}

pub fn diff(old: &Facts, new: &Facts) -> Difference {
    let (types_removed, types_added) = apart(old.offers.keys(), new.offers.keys());
    let interfaces = |facts: &Facts| -> BTreeSet<String> {
        let named =
            |kind: &str, names: &[String]| names.iter().map(|name| format!("{kind} {name}")).collect::<Vec<_>>();
        named("import", &facts.imports).into_iter().chain(named("export", &facts.exports)).collect()
    };
    let (interfaces_removed, interfaces_added) = apart(&interfaces(old), &interfaces(new));
    let (signers_removed, signers_added) = apart(old.signers.keys(), new.signers.keys());
    let (old_asks, new_asks): (Vec<_>, Vec<_>) =
        (old.asks.keys().cloned().collect(), new.asks.keys().cloned().collect());
    Difference {
        version: Change { old: old.version.clone(), new: new.version.clone() },
        widened: widened(&old_asks, &new_asks),
        narrowed: widened(&new_asks, &old_asks),
        types_added,
        types_removed,
        types_changed: types_changed(old, new),
        interfaces_added,
        interfaces_removed,
        signers_added,
        signers_removed,
        size_bytes: SizeChange { old: old.size_bytes, new: new.size_bytes },
        may_run_again: (old.may_run_again != new.may_run_again).then_some(new.may_run_again),
    }
}

/// The asks that were not consented to: those that no consented ask covers. `*` covers every host, writing covers reading, and
/// seeing a secret covers using it.
pub fn widened(consented: &[String], asked: &[String]) -> Vec<String> {
    let covers = |has: &str, wants: &str| {
        let (has, wants) = (parts(has), parts(wants));
        has == wants
            || has == ("http", "*") && wants.0 == "http"
            || has.1 == wants.1
                && matches!((has.0, wants.0), ("write-directory", "read-directory") | ("reveal-secret", "secret"))
    };
    asked.iter().filter(|wants| !consented.iter().any(|has| covers(has, wants))).cloned().collect()
}

fn parts(ask: &str) -> (&str, &str) {
    ask.split_once(' ').unwrap_or((ask, ""))
}

/// What pipelines that use the old one may fail by: action types and variables that are gone, settings that are needed anew.
pub fn breaking(old: &Facts, new: &Facts) -> Vec<String> {
    let (gone, _) = apart(old.offers.keys(), new.offers.keys());
    let mut breaks: Vec<String> = gone.iter().map(|id| format!("{id} is offered no more")).collect();
    let is_required = |words: &String| words.split(", ").any(|word| word == "required");
    for (id, was) in &old.offers {
        let Some(is) = new.offers.get(id) else { continue };
        let needed = is.settings.iter().filter(|(_, words)| is_required(words));
        let anew = needed.filter(|(name, _)| !was.settings.get(*name).is_some_and(is_required));
        breaks.extend(anew.map(|(name, _)| format!("{id}: the setting {name} is needed now")));
        let (gone, _) = apart(&was.variables, &is.variables);
        breaks.extend(gone.iter().map(|name| format!("{id}: the variable {name} is gone")));
    }
    breaks
}

fn types_changed(old: &Facts, new: &Facts) -> Vec<String> {
    let mut changes = Vec::new();
    for (id, was) in &old.offers {
        let Some(is) = new.offers.get(id) else { continue };
        let mut change = |what: &str, was: Option<&String>, is: Option<&String>| match (was, is) {
            (None, Some(is)) => changes.push(format!("{id}: {what} added: {is}")),
            (Some(was), None) => changes.push(format!("{id}: {what} removed: {was}")),
            (Some(was), Some(is)) if was != is => changes.push(format!("{id}: {what}: {was} → {is}")),
            _ => {}
        };
        for name in union(&was.settings, &is.settings) {
            change(&format!("setting {name}"), was.settings.get(name), is.settings.get(name));
        }
        change("inputs", Some(&was.inputs), Some(&is.inputs));
        change("outputs", Some(&was.outputs), Some(&is.outputs));
        let (removed, added) = apart(&was.variables, &is.variables);
        changes.extend(added.iter().map(|name| format!("{id}: variable {name} added")));
        changes.extend(removed.iter().map(|name| format!("{id}: variable {name} removed")));
    }
    changes
}

fn union<'a>(one: &'a BTreeMap<String, String>, other: &'a BTreeMap<String, String>) -> BTreeSet<&'a String> {
    one.keys().chain(other.keys()).collect()
}

/// What only the first has, and what only the second has.
fn apart<'a>(
    old: impl IntoIterator<Item = &'a String>,
    new: impl IntoIterator<Item = &'a String>,
) -> (Vec<String>, Vec<String>) {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (old.into_iter().collect(), new.into_iter().collect());
    let only = |one: &BTreeSet<&'a String>, other: &BTreeSet<&'a String>| {
        one.difference(other).map(|name| (*name).clone()).collect()
    };
    (only(&old, &new), only(&new, &old))
}

impl Difference {
    /// One change a line, for a person.
    pub fn in_words(&self) -> Vec<String> {
        let mut lines = vec![format!("version {} → {}", self.version.old, self.version.new)];
        for (what, names) in [
            ("asks for more: ", &self.widened),
            ("asks no more for: ", &self.narrowed),
            ("offers now: ", &self.types_added),
            ("offers no more: ", &self.types_removed),
            ("", &self.types_changed),
            ("interface added: ", &self.interfaces_added),
            ("interface removed: ", &self.interfaces_removed),
            ("now signed by: ", &self.signers_added),
            ("signed no more by: ", &self.signers_removed),
        ] {
            lines.extend(names.iter().map(|name| format!("{what}{name}")));
        }
        if self.size_bytes.old != self.size_bytes.new {
            lines.push(format!("size {} → {} bytes", self.size_bytes.old, self.size_bytes.new));
        }
        if let Some(may) = self.may_run_again {
            lines.push(format!(
                "after a crash of the host it {} run again",
                if may { "may now" } else { "may no more" }
            ));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::super::Offer;
    use super::*;

    #[test]
    fn an_ask_is_covered_or_it_widens() {
        let check = |consented: &[&str], asked: &[&str], expected: &[&str]| {
            let owned = |asks: &[&str]| asks.iter().map(|ask| (*ask).to_owned()).collect::<Vec<_>>();
            assert_eq!(widened(&owned(consented), &owned(asked)), owned(expected), "{consented:?} → {asked:?}");
        };
        check(&[], &[], &[]);
        check(&["clock"], &[], &[]);
        check(&["clock"], &["clock"], &[]);
        check(&[], &["clock"], &["clock"]);
        check(&["http a"], &["http a", "http b"], &["http b"]);
        check(&["http a"], &["http *"], &["http *"]);
        check(&["http *"], &["http a"], &[]);
        check(&["http a"], &["http a:8080"], &["http a:8080"]);
        check(&["http *"], &["secret *"], &["secret *"]);
        check(&["read-directory A"], &["write-directory A"], &["write-directory A"]);
        check(&["write-directory A"], &["read-directory A"], &[]);
        check(&["write-directory A"], &["read-directory B"], &["read-directory B"]);
        check(&["secret T"], &["reveal-secret T"], &["reveal-secret T"]);
        check(&["reveal-secret T"], &["secret T"], &[]);
    }

    fn facts() -> Facts {
        let settings = [("Title".to_owned(), "text, required".to_owned())].into();
        let site = Offer {
            documentation: String::new(),
            settings,
            inputs: "1".to_owned(),
            outputs: "0".to_owned(),
            variables: vec!["Url".to_owned()],
        };
        Facts {
            name: "team/site".to_owned(),
            version: "1.0.0".to_owned(),
            manifest: None,
            component: String::new(),
            size_bytes: 1000,
            source: None,
            revision: None,
            signers: [("sha256:a".to_owned(), String::new())].into(),
            untrusted: None,
            documentation: String::new(),
            may_run_again: true,
            asks: [("http a".to_owned(), String::new())].into(),
            offers: [("Deploy/Custom/Site/1".to_owned(), site)].into(),
            imports: vec!["pipewright:plugin/log@0.1.0".to_owned()],
            exports: vec!["pipewright:plugin/deploy@0.1.0".to_owned()],
            asked: Vec::new(),
        }
    }

    #[test]
    fn what_breaks_pipelines_is_told() {
        let check = |change: fn(&mut Facts), expected: &[&str]| {
            let mut new = facts();
            change(&mut new);
            assert_eq!(breaking(&facts(), &new), expected);
        };
        check(|_| (), &[]);
        check(|new| new.offers.clear(), &["Deploy/Custom/Site/1 is offered no more"]);
        check(
            |new| {
                let offer = new.offers.values_mut().next().unwrap();
                offer.settings.insert("Key".to_owned(), "text, required, secret".to_owned());
                offer.settings.insert("Title".to_owned(), "text, optional".to_owned());
                offer.settings.insert("More".to_owned(), "text, optional".to_owned());
                offer.variables = vec!["Id".to_owned()];
            },
            &["Deploy/Custom/Site/1: the setting Key is needed now", "Deploy/Custom/Site/1: the variable Url is gone"],
        );
    }

    fn check(change: fn(&mut Facts), expected: Expect) {
        let mut new = facts();
        change(&mut new);
        expected.assert_eq(&diff(&facts(), &new).in_words().join("\n"));
    }

    #[test]
    fn each_change_is_told() {
        let site = "Deploy/Custom/Site/1";
        check(|_| (), expect!["version 1.0.0 → 1.0.0"]);
        check(|new| new.version = "1.1.0".to_owned(), expect!["version 1.0.0 → 1.1.0"]);
        check(
            |new| new.asks = [("clock".to_owned(), String::new())].into(),
            expect![[r#"
                version 1.0.0 → 1.0.0
                asks for more: clock
                asks no more for: http a"#]],
        );
        check(
            |new| {
                let offer = new.offers.remove("Deploy/Custom/Site/1").unwrap();
                new.offers.insert("Deploy/Custom/Site/2".to_owned(), offer);
            },
            expect![[r#"
                version 1.0.0 → 1.0.0
                offers now: Deploy/Custom/Site/2
                offers no more: Deploy/Custom/Site/1"#]],
        );
        check(
            |new| {
                let offer = new.offers.get_mut("Deploy/Custom/Site/1").unwrap();
                offer.settings =
                    [("Title".to_owned(), "text, optional".to_owned()), ("Key".to_owned(), "text, secret".to_owned())]
                        .into();
                offer.inputs = "1 to 2".to_owned();
                offer.variables = vec!["Id".to_owned()];
            },
            expect![[r#"
                version 1.0.0 → 1.0.0
                Deploy/Custom/Site/1: setting Key added: text, secret
                Deploy/Custom/Site/1: setting Title: text, required → text, optional
                Deploy/Custom/Site/1: inputs: 1 → 1 to 2
                Deploy/Custom/Site/1: variable Id added
                Deploy/Custom/Site/1: variable Url removed"#]],
        );
        check(
            |new| {
                new.imports.push("wasi:http/outgoing-handler@0.2.12".to_owned());
                new.exports.clear();
                new.signers = [("sha256:b".to_owned(), String::new())].into();
                new.size_bytes = 900;
                new.may_run_again = false;
            },
            expect![[r#"
                version 1.0.0 → 1.0.0
                interface added: import wasi:http/outgoing-handler@0.2.12
                interface removed: export pipewright:plugin/deploy@0.1.0
                now signed by: sha256:b
                signed no more by: sha256:a
                size 1000 → 900 bytes
                after a crash of the host it may no more run again"#]],
        );
        assert!(facts().offers.contains_key(site));
    }
}
