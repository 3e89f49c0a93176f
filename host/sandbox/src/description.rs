//! Whether what a plugin says of itself is well-formed and true.
//!
//! A description is input from outside like any other: it ends in catalogues and in error messages, and the rules of
//! the service's own action types hold for it (contract, shapes of `ActionTypeId` and `ActionConfigurationKey`).

use std::collections::BTreeSet;

use crate::abi::{ActionType, Category, Description, Setting, SettingKind};
use crate::limits::{
    ACTION_TYPES_MAX, ASKS_MAX, CHOICES_MAX, DOCUMENTATION_BYTES_MAX, SETTINGS_MAX, SUMMARY_BYTES_MAX,
};
use crate::plugin::Exports;

/// `MaximumActionTypeArtifactCount`.
const ARTIFACTS_MAX: u32 = 10;
/// `ActionProvider`, `Version` and `ActionConfigurationKey`.
const PROVIDER_BYTES_MAX: usize = 35;
const VERSION_BYTES_MAX: usize = 9;
const SETTING_NAME_BYTES_MAX: usize = 50;
const VARIABLE_NAME_BYTES_MAX: usize = 128;
const PLUGIN_NAME_BYTES_MAX: usize = 128;

/// All that is wrong with it; empty if nothing is.
pub(crate) fn problems(description: &Description, exports: &Exports) -> Vec<String> {
    let mut problems = Vec::new();
    let mut rule = |holds: bool, problem: &dyn Fn() -> String| {
        if !holds {
            problems.push(problem());
        }
    };
    let Description { name, version, documentation, action_types, asks, may_run_again: _ } = description;
    rule(is_plugin_name(name), &|| format!("its name is {name:?}; it must be like `team/name`: a-z, 0-9 and -"));
    rule(semver::Version::parse(version).is_ok(), &|| format!("its version is {version:?}; it must be like `1.0.0`"));
    rule(documentation.len() <= DOCUMENTATION_BYTES_MAX, &|| too_long("its documentation", DOCUMENTATION_BYTES_MAX));
    rule(!action_types.is_empty(), &|| "it offers no action type".to_owned());
    rule(action_types.len() <= ACTION_TYPES_MAX, &|| format!("it offers more than {ACTION_TYPES_MAX} action types"));
    rule(asks.len() <= ASKS_MAX, &|| format!("it has more than {ASKS_MAX} asks"));
    for ask in asks {
        rule(ask.reason.len() <= SUMMARY_BYTES_MAX, &|| too_long("the reason of an ask", SUMMARY_BYTES_MAX));
    }
    for interface in interfaces(exports) {
        let offered = action_types.iter().any(|offered| interface.categories.contains(&offered.id.category));
        rule(!interface.exported || offered, &|| {
            format!("it exports the interface `{}` and offers no action type of that category", interface.name)
        });
        rule(interface.exported || !offered, &|| {
            format!("it offers an action type whose interface `{}` it does not export", interface.name)
        });
    }
    let mut seen = BTreeSet::new();
    for action_type in action_types.iter().take(ACTION_TYPES_MAX) {
        let id = &action_type.id;
        let name = format!("{:?}/{:?}/{}/{}", id.category, id.owner, id.provider, id.version);
        rule(seen.insert(name.clone()), &|| format!("it offers {name} twice"));
        check_action_type(action_type, &mut |holds, problem| rule(holds, &|| format!("{name}: {}", problem())));
    }
    problems
}

type Rule<'a> = dyn FnMut(bool, &dyn Fn() -> String) + 'a;

fn check_action_type(action_type: &ActionType, rule: &mut Rule<'_>) {
    let ActionType { id, settings, inputs, outputs, variables, documentation } = action_type;
    rule(is_word(&id.provider, PROVIDER_BYTES_MAX), &|| {
        format!("the provider must be 1 to {PROVIDER_BYTES_MAX} characters of A-Z, a-z, 0-9, _ and -")
    });
    rule(is_word(&id.version, VERSION_BYTES_MAX), &|| {
        format!("the version must be 1 to {VERSION_BYTES_MAX} characters of A-Z, a-z, 0-9, _ and -")
    });
    rule(documentation.len() <= DOCUMENTATION_BYTES_MAX, &|| too_long("the documentation", DOCUMENTATION_BYTES_MAX));
    for (what, count) in [("inputs", inputs), ("outputs", outputs)] {
        rule(count.min <= count.max && count.max <= ARTIFACTS_MAX, &|| {
            format!("{what}: from {} to {}; it must be min ≤ max ≤ {ARTIFACTS_MAX}", count.min, count.max)
        });
    }
    rule(settings.len() <= SETTINGS_MAX, &|| format!("more than {SETTINGS_MAX} settings"));
    let mut seen = BTreeSet::new();
    for setting in settings.iter().take(SETTINGS_MAX) {
        let name = &setting.name;
        rule(seen.insert(name), &|| format!("two settings are called {name:?}"));
        check_setting(setting, &mut |holds, problem| rule(holds, &|| format!("setting {name:?}: {}", problem())));
    }
    rule(variables.len() <= SETTINGS_MAX, &|| format!("more than {SETTINGS_MAX} variables"));
    let mut seen = BTreeSet::new();
    for variable in variables.iter().take(SETTINGS_MAX) {
        let name = &variable.name;
        rule(seen.insert(name), &|| format!("two variables are called {name:?}"));
        rule(is_variable_name(name), &|| {
            format!("variable {name:?}: the name must be 1 to 128 characters of A-Z, a-z, 0-9, @, _ and -")
        });
        rule(variable.documentation.len() <= DOCUMENTATION_BYTES_MAX, &|| {
            too_long("the documentation of a variable", DOCUMENTATION_BYTES_MAX)
        });
    }
}

fn check_setting(setting: &Setting, rule: &mut Rule<'_>) {
    let Setting { name, kind, required, secret: _, default, choices, documentation } = setting;
    rule((1..=SETTING_NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control), &|| {
        format!("the name must be 1 to {SETTING_NAME_BYTES_MAX} characters")
    });
    rule(documentation.len() <= DOCUMENTATION_BYTES_MAX, &|| too_long("the documentation", DOCUMENTATION_BYTES_MAX));
    rule(!(*required && default.is_some()), &|| "it is required and has a default".to_owned());
    rule(choices.len() <= CHOICES_MAX, &|| format!("more than {CHOICES_MAX} choices"));
    if let Some(default) = default {
        rule(choices.is_empty() || choices.contains(default), &|| {
            format!("the default {default:?} is not one of its choices")
        });
        rule(is_of_kind(default, *kind), &|| format!("the default {default:?} is not a {kind:?}"));
    }
    for choice in choices.iter().take(CHOICES_MAX) {
        rule(is_of_kind(choice, *kind), &|| format!("the choice {choice:?} is not a {kind:?}"));
    }
}

/// Whether a setting's text is of its kind.
pub fn is_of_kind(value: &str, kind: SettingKind) -> bool {
    match kind {
        SettingKind::Text => true,
        SettingKind::Number => value.parse::<f64>().is_ok_and(f64::is_finite),
        SettingKind::Boolean => value == "true" || value == "false",
        SettingKind::List => serde_json::from_str::<Vec<serde_json::Value>>(value).is_ok(),
    }
}

struct Interface {
    name: &'static str,
    categories: &'static [Category],
    exported: bool,
}

fn interfaces(exports: &Exports) -> [Interface; 7] {
    let interface = |name, categories, exported| Interface { name, categories, exported };
    [
        interface("source", &[Category::Source], exports.source.is_some()),
        interface("build", &[Category::Build, Category::Compute], exports.build.is_some()),
        interface("test", &[Category::Test], exports.test.is_some()),
        interface("deploy", &[Category::Deploy], exports.deploy.is_some()),
        interface("approval", &[Category::Approval], exports.approval.is_some()),
        interface("invoke", &[Category::Invoke], exports.invoke.is_some()),
        interface("rule", &[Category::Rule], exports.rule.is_some()),
    ]
}

fn too_long(what: &str, max: usize) -> String {
    format!("{what} is longer than {max} bytes")
}

fn is_word(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// `OutputVariablesKey`, and the 128 characters of `OutputVariable`.
pub(crate) fn is_variable_name(text: &str) -> bool {
    (1..=VARIABLE_NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'@' | b'_' | b'-'))
}

fn is_plugin_name(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= PLUGIN_NAME_BYTES_MAX
        && text.split_once('/').is_some_and(|(team, name)| is_part(team) && is_part(name))
}
