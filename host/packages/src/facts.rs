//! What is known of one package, from wherever it was read.
//!
//! Owns the form that `plugin inspect` shows and `diff` compares. Must not know where it came from.

use std::collections::BTreeMap;

use pipewright_sandbox::Plugin;
use pipewright_sandbox::abi::{Ask, Description};
use pipewright_sandbox::binary::{Interfaces, Metadata};
use pipewright_sandbox::capabilities::asked;
use serde::Serialize;

use super::package::Head;
use super::{PackageError, Trust, oci};
use crate::plugins;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Facts {
    pub name: String,
    pub version: String,
    /// The digest of the package's manifest; none of a bare component.
    pub manifest: Option<String>,
    /// The digest of the component.
    pub component: String,
    pub size_bytes: u64,
    /// The address of the source, as the publisher says.
    pub source: Option<String>,
    /// The source's revision, as the publisher says.
    pub revision: Option<String>,
    /// The keys that signed it and that the policy lets sign for its name, with their files as the policy names them.
    pub signers: BTreeMap<String, String>,
    /// Why the policy does not trust it. What follows was then not read, and is empty.
    pub untrusted: Option<String>,
    pub documentation: String,
    pub may_run_again: bool,
    /// Each as `http api.example.com`, with its reason.
    pub asks: BTreeMap<String, String>,
    /// By the action type, as `Deploy/Custom/Site/1`.
    pub offers: BTreeMap<String, Offer>,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    /// The same for a person, in the plugin's order.
    #[serde(skip)]
    pub asked: Vec<Asking>,
}

/// One ask, for whoever consents.
#[derive(Clone, Debug)]
pub struct Asking {
    /// As a lock and a comparison write it: `http api.example.com`.
    pub short: String,
    pub words: String,
    pub reason: String,
}

impl Asking {
    /// All that a plugin asks for.
    pub fn of(about: &Description) -> Vec<Self> {
        let asking = |ask: &Ask| {
            let asked = asked(&ask.capability);
            let (short, words) = (asked.in_short(), asked.in_words(&about.action_types));
            Self { short, words, reason: ask.reason.clone() }
        };
        about.asks.iter().map(asking).collect()
    }
}

/// One action type.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Offer {
    pub documentation: String,
    /// By name; as `text, required`.
    pub settings: BTreeMap<String, String>,
    pub inputs: String,
    pub outputs: String,
    pub variables: Vec<String>,
}

impl Facts {
    /// Whether it is a command-line tool, and no plugin.
    pub fn is_tool(&self) -> bool {
        Interfaces { imports: Vec::new(), exports: self.exports.clone() }.is_tool()
    }

    /// Of a component on this machine.
    ///
    /// # Errors
    /// It is no component.
    pub fn of_component(plugin: &Plugin, component: &[u8]) -> Result<Self, PackageError> {
        let about = plugin.description();
        let what = || format!("{} {}", about.name, about.version);
        let invalid = |error| PackageError::invalid(what(), error);
        let metadata = Metadata::of(component).map_err(invalid)?;
        let size_bytes = component.len() as u64;
        let digest = format!("sha256:{}", plugin.digest());
        let mut facts = Self::empty(about.name.clone(), about.version.clone(), digest, size_bytes);
        facts.source = metadata.source;
        facts.revision = metadata.revision;
        facts.describe(about, &Interfaces::of(component).map_err(invalid)?);
        Ok(facts)
    }

    /// Of a package that the policy does not let us read further.
    pub(super) fn of_untrusted(head: &Head, reason: String) -> Self {
        Self { untrusted: Some(reason), ..Self::of_head(head) }
    }

    pub(super) fn of_package(head: &Head, about: &Description, interfaces: &Interfaces, trust: &Trust) -> Self {
        let mut facts = Self::of_head(head);
        facts.signers = trust.signers().map(|(key, file)| (oci::text(key), file.to_owned())).collect();
        facts.describe(about, interfaces);
        facts
    }

    fn of_head(head: &Head) -> Self {
        let component = oci::text(&head.component.digest);
        Self {
            manifest: Some(oci::text(&head.digest)),
            source: head.source.clone(),
            revision: head.revision.clone(),
            ..Self::empty(head.name.clone(), head.version.to_string(), component, head.component.size)
        }
    }

    fn empty(name: String, version: String, component: String, size_bytes: u64) -> Self {
        Self {
            name,
            version,
            manifest: None,
            component,
            size_bytes,
            source: None,
            revision: None,
            signers: BTreeMap::new(),
            untrusted: None,
            documentation: String::new(),
            may_run_again: false,
            asks: BTreeMap::new(),
            offers: BTreeMap::new(),
            imports: Vec::new(),
            exports: Vec::new(),
            asked: Vec::new(),
        }
    }

    fn describe(&mut self, about: &Description, interfaces: &Interfaces) {
        self.documentation = about.documentation.clone();
        self.may_run_again = about.may_run_again;
        self.asked = Asking::of(about);
        self.asks = self.asked.iter().map(|asking| (asking.short.clone(), asking.reason.clone())).collect();
        self.imports = interfaces.imports.clone();
        self.exports = interfaces.exports.clone();
        self.offers =
            about.action_types.iter().map(|offered| (plugins::label(&offered.id), Offer::of(offered))).collect();
    }
}

impl Offer {
    fn of(offered: &pipewright_sandbox::abi::ActionType) -> Self {
        let count = |count: &pipewright_sandbox::abi::Count| match (count.min, count.max) {
            (min, max) if min == max => min.to_string(),
            (min, max) => format!("{min} to {max}"),
        };
        Self {
            documentation: offered.documentation.clone(),
            settings: offered
                .settings
                .iter()
                .map(|setting| (setting.name.clone(), setting_in_words(setting)))
                .collect(),
            inputs: count(&offered.inputs),
            outputs: count(&offered.outputs),
            variables: offered.variables.iter().map(|variable| variable.name.clone()).collect(),
        }
    }
}

/// `text, required, one of a, b`.
fn setting_in_words(setting: &pipewright_sandbox::abi::Setting) -> String {
    use pipewright_sandbox::abi::SettingKind;
    let kind = match setting.kind {
        SettingKind::Text => "text",
        SettingKind::Number => "number",
        SettingKind::Boolean => "boolean",
        SettingKind::List => "list",
    };
    let mut words = vec![kind.to_owned()];
    words.push(if setting.required { "required" } else { "optional" }.to_owned());
    if setting.secret {
        words.push("secret".to_owned());
    }
    if let Some(default) = &setting.default {
        words.push(format!("default {default:?}"));
    }
    if !setting.choices.is_empty() {
        words.push(format!("one of {}", setting.choices.join(", ")));
    }
    words.join(", ")
}
