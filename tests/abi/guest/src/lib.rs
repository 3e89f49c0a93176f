//! A plugin that calls each function that a host offers once, waits once, and returns all that its category can tell.
//!
//! Raw bindings and no SDK: what it needs of the ABI can be read here.

macro_rules! category {
    ($($feature:literal $world:literal)*) => {$(
        #[cfg(feature = $feature)]
        wit_bindgen::generate!({ path: "../../../wit", world: $world, generate_all });
    )*};
}

category! {
    "source" "source-plugin"
    "build" "build-plugin"
    "test" "test-plugin"
    "deploy" "deploy-plugin"
    "approval" "approval-plugin"
    "invoke" "invoke-plugin"
    "rule" "rule-plugin"
}

mod calls;
mod outcomes;

use exports::pipewright::plugin::plugin::{
    ActionType, Ask, Capability, Count, Description, Guest, Setting, SettingKind, Variable,
};
use pipewright::plugin::types::{Owner, TypeId};

struct Plugin;

export!(Plugin);

impl Guest for Plugin {
    fn describe() -> Description {
        let setting = |name: &str, kind, default: Option<&str>, choices: &[&str]| Setting {
            name: name.into(),
            kind,
            required: false,
            secret: name == "Masked",
            default: default.map(Into::into),
            choices: choices.iter().map(|&choice| choice.into()).collect(),
            documentation: "a setting".into(),
        };
        let ask = |capability| Ask { capability, reason: "to be asked for".into() };
        Description {
            name: "abi/guest".into(),
            version: "1.0.0".into(),
            documentation: "Calls each function once.".into(),
            action_types: vec![ActionType {
                id: TypeId {
                    category: outcomes::CATEGORY,
                    owner: Owner::Custom,
                    provider: "Guest".into(),
                    version: "1".into(),
                },
                settings: vec![
                    setting("Text", SettingKind::Text, Some("a"), &["a", "b"]),
                    setting("Number", SettingKind::Number, None, &[]),
                    setting("Boolean", SettingKind::Boolean, None, &[]),
                    setting("List", SettingKind::List, None, &[]),
                    setting("Masked", SettingKind::Text, None, &[]),
                ],
                inputs: Count { min: 0, max: 1 },
                outputs: Count { min: 0, max: 1 },
                variables: vec![Variable { name: "Answer".into(), documentation: "a variable".into() }],
                documentation: "Calls each function once.".into(),
            }],
            asks: vec![
                ask(Capability::Http("*".into())),
                ask(Capability::ReadDirectory("read".into())),
                ask(Capability::WriteDirectory("write".into())),
                ask(Capability::Secret("token".into())),
                ask(Capability::RevealSecret("revealed".into())),
                ask(Capability::Clock),
                ask(Capability::Randomness),
            ],
            may_run_again: true,
        }
    }
}
