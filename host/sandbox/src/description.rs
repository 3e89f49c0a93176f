//! Whether what a plugin says of itself is well-formed and true.
//!
//! A description is input from outside like any other: it ends in catalogues and in error messages, and the rules of
//! the service's own action types hold for it (the shapes of `ActionTypeId` and `ActionConfigurationKey`).

use std::collections::BTreeSet;

use pipewright_text::is_printable;
use serde_json::Value;
use wasmtime::component::Val;

use crate::abi::{ActionType, Category, Description, NamedValue, Setting, SettingKind, TypeId};
use crate::limits::{ACTION_TYPES_MAX, ASKS_MAX, CHOICES_MAX, DOCUMENTATION_BYTES_MAX, REASON_BYTES_MAX, SETTINGS_MAX};

/// `MaximumActionTypeArtifactCount`.
const ARTIFACTS_MAX: u32 = 10;
/// `ActionProvider`, `Version` and `ActionConfigurationKey`.
const PROVIDER_BYTES_MAX: usize = 35;
const VERSION_BYTES_MAX: usize = 9;
const SETTING_NAME_BYTES_MAX: usize = 50;
const VARIABLE_NAME_BYTES_MAX: usize = 128;
const PLUGIN_NAME_BYTES_MAX: usize = 128;

/// All that is wrong with it; empty if nothing is. `exported` are the interfaces of the component.
pub(crate) fn problems(description: &Description, exported: &[&str]) -> Vec<String> {
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
        rule(ask.reason.len() <= REASON_BYTES_MAX, &|| too_long("the reason of an ask", REASON_BYTES_MAX));
    }
    let wanted: BTreeSet<&str> = action_types.iter().map(|offered| interface(offered.id.category)).collect();
    for name in exported {
        rule(wanted.contains(name), &|| {
            format!("it exports the interface `{name}` and offers no action type of that category")
        });
    }
    for name in wanted {
        rule(exported.contains(&name), &|| {
            format!("it offers an action type whose interface `{name}` it does not export")
        });
    }
    let mut seen = BTreeSet::new();
    for action_type in action_types.iter().take(ACTION_TYPES_MAX) {
        let id = &action_type.id;
        let name = format!("{}/{}/{}/{}", word(id.category), word(id.owner), id.provider, id.version);
        rule(seen.insert(name.clone()), &|| format!("it offers {name} twice"));
        check_action_type(action_type, &mut |holds, problem| rule(holds, &|| format!("{name}: {}", problem())));
    }
    problems
}

/// A component's answer, by the names that it has for things and not by their numbers: so that the variant of the asks may get
/// further cases, and what was built before is understood as ever.
pub(crate) fn read(described: &Val) -> Result<Description, String> {
    json(described)
        .and_then(|described| serde_json::from_value(described).map_err(|error| error.to_string()))
        .map_err(|error| format!("what it says of itself is not of this host's ABI: {error}"))
}

/// As the generated types have it: fields in snake case, cases in camel case.
fn json(value: &Val) -> Result<Value, String> {
    let case = |name: &str| {
        let word = |word: &str| word.chars().next().map(|first| first.to_uppercase().collect::<String>() + &word[1..]);
        name.split('-').filter_map(word).collect::<String>()
    };
    Ok(match value {
        Val::Bool(value) => Value::from(*value),
        Val::U32(value) => Value::from(*value),
        Val::String(value) => Value::from(value.as_str()),
        Val::List(values) => Value::Array(values.iter().map(json).collect::<Result<_, _>>()?),
        Val::Record(fields) => {
            let field = |(name, value): &(String, Val)| Ok((name.replace('-', "_"), json(value)?));
            Value::Object(fields.iter().map(field).collect::<Result<_, String>>()?)
        }
        Val::Enum(name) | Val::Variant(name, None) => Value::from(case(name)),
        Val::Variant(name, Some(value)) => Value::Object([(case(name), json(value)?)].into_iter().collect()),
        Val::Option(value) => value.as_deref().map_or(Ok(Value::Null), json)?,
        _ => return Err("a value of another kind".to_owned()),
    })
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
    rule((1..=SETTING_NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(is_printable), &|| {
        format!("the name must be 1 to {SETTING_NAME_BYTES_MAX} characters")
    });
    rule(documentation.len() <= DOCUMENTATION_BYTES_MAX, &|| too_long("the documentation", DOCUMENTATION_BYTES_MAX));
    rule(!(*required && default.is_some()), &|| "it is required and has a default".to_owned());
    rule(choices.len() <= CHOICES_MAX, &|| format!("more than {CHOICES_MAX} choices"));
    if let Some(default) = default {
        rule(choices.is_empty() || choices.contains(default), &|| {
            format!("the default {default:?} is not one of its choices")
        });
        rule(is_of_kind(default, *kind), &|| format!("the default {default:?} is not a {}", word(*kind)));
    }
    for choice in choices.iter().take(CHOICES_MAX) {
        rule(is_of_kind(choice, *kind), &|| format!("the choice {choice:?} is not a {}", word(*kind)));
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

/// A plugin is given booleans as `true` and `false`; a declaration may write them in letters of either case (S16).
pub(crate) fn lower_booleans(description: &Description, id: &TypeId, settings: &mut [NamedValue]) {
    let offered = description.action_types.iter().find(|offered| offered.id == *id);
    let booleans = offered.into_iter().flat_map(|offered| &offered.settings);
    for described in booleans.filter(|setting| setting.kind == SettingKind::Boolean) {
        let given = settings.iter_mut().filter(|given| given.name == described.name);
        given.for_each(|given| given.value.make_ascii_lowercase());
    }
}

/// The interface that serves a category.
fn interface(category: Category) -> &'static str {
    match category {
        Category::Source => "source",
        Category::Build | Category::Compute => "build",
        Category::Test => "test",
        Category::Deploy => "deploy",
        Category::Approval => "approval",
        Category::Invoke => "invoke",
        Category::Rule => "rule",
    }
}

/// The name of an enumeration's case; the generated Debug output has the enumeration's name before it.
fn word(case: impl std::fmt::Debug) -> String {
    let text = format!("{case:?}");
    text.rsplit("::").next().unwrap_or(&text).to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Count, Owner, TypeId, Variable};

    fn setting(name: &str) -> Setting {
        Setting {
            name: name.to_owned(),
            kind: SettingKind::Text,
            required: false,
            secret: false,
            default: None,
            choices: Vec::new(),
            documentation: String::new(),
        }
    }

    fn good() -> Description {
        let id = TypeId {
            category: Category::Build,
            owner: Owner::Custom,
            provider: "Site".to_owned(),
            version: "1".to_owned(),
        };
        Description {
            name: "pipewright/site".to_owned(),
            version: "1.0.0".to_owned(),
            documentation: String::new(),
            action_types: vec![ActionType {
                id,
                settings: vec![setting("Title")],
                inputs: Count { min: 1, max: 1 },
                outputs: Count { min: 1, max: 10 },
                variables: vec![Variable { name: "Pages".to_owned(), documentation: String::new() }],
                documentation: String::new(),
            }],
            asks: Vec::new(),
            may_run_again: true,
        }
    }

    #[test]
    fn booleans_are_given_in_small_letters() {
        let mut description = good();
        description.action_types[0].settings[0].kind = SettingKind::Boolean;
        let (id, name) = (description.action_types[0].id.clone(), description.action_types[0].settings[0].name.clone());
        let mut settings = [(name.as_str(), "True"), ("Else", "True")]
            .map(|(name, value)| NamedValue { name: name.to_owned(), value: value.to_owned() });
        lower_booleans(&description, &id, &mut settings);
        assert_eq!(settings.map(|setting| setting.value), ["true", "True"]);
    }

    #[test]
    fn each_rule_has_its_problem() {
        let check = |change: fn(&mut Description), want: &[&str]| {
            let mut description = good();
            change(&mut description);
            let problems = problems(&description, &["build"]);
            let as_wanted =
                problems.len() == want.len() && problems.iter().zip(want).all(|(problem, want)| problem.contains(want));
            assert!(as_wanted, "{problems:#?} instead of {want:?}");
        };
        check(|_| (), &[]);
        check(|d| d.action_types[0].id.category = Category::Compute, &[]);
        for name in ["site", "a/b/c", "A/b", "a/", "/b", "-a/b", "a/b-"] {
            let description = Description { name: name.to_owned(), ..good() };
            assert_eq!(problems(&description, &["build"]).len(), 1, "{name:?} is a name");
        }
        check(|d| d.version = "1.0".to_owned(), &["its version is \"1.0\""]);
        check(|d| d.documentation = "x".repeat(DOCUMENTATION_BYTES_MAX + 1), &["its documentation is longer"]);
        check(|d| d.action_types.clear(), &["no action type", "exports the interface `build`"]);
        check(
            |d| d.action_types[0].id.category = Category::Test,
            &["exports the interface `build`", "interface `test` it does not export"],
        );
        check(|d| d.action_types.push(d.action_types[0].clone()), &["Build/Custom/Site/1 twice"]);
        check(|d| d.action_types[0].id.provider = "A B".to_owned(), &["the provider must be"]);
        check(|d| d.action_types[0].id.provider = "x".repeat(36), &["the provider must be"]);
        check(|d| d.action_types[0].id.version = "1234567890".to_owned(), &["the version must be"]);
        check(|d| d.action_types[0].inputs = Count { min: 2, max: 1 }, &["inputs: from 2 to 1"]);
        check(|d| d.action_types[0].outputs.max = 11, &["outputs: from 1 to 11"]);
        check(|d| d.action_types[0].settings.push(setting("Title")), &["two settings are called \"Title\""]);
        check(|d| d.action_types[0].settings[0].name.clear(), &["the name must be 1 to 50"]);
        check(|d| d.action_types[0].variables[0].name = "a b".to_owned(), &["variable \"a b\""]);
        check(|d| d.action_types[0].settings[0].kind = SettingKind::Number, &[]);
        let with_default = |d: &mut Description| d.action_types[0].settings[0].default = Some("many".to_owned());
        let mut description = good();
        with_default(&mut description);
        assert_eq!(problems(&description, &["build"]), Vec::<String>::new());
        description.action_types[0].settings[0].kind = SettingKind::Number;
        description.action_types[0].settings[0].choices = vec!["1".to_owned()];
        description.action_types[0].settings[0].required = true;
        assert_eq!(problems(&description, &["build"]).len(), 3);
    }

    #[test]
    fn a_setting_is_of_its_kind() {
        let check = |kind, good: &[&str], bad: &[&str]| {
            good.iter().for_each(|value| assert!(is_of_kind(value, kind), "{value:?} is no {kind:?}"));
            bad.iter().for_each(|value| assert!(!is_of_kind(value, kind), "{value:?} is a {kind:?}"));
        };
        check(SettingKind::Text, &["", "anything"], &[]);
        check(SettingKind::Number, &["0", "-1.5", "1e3"], &["", "one", "inf", "NaN", "1 "]);
        check(SettingKind::Boolean, &["true", "false"], &["", "True", "1"]);
        check(SettingKind::List, &["[]", "[\"a\", 1]"], &["", "a,b", "{}", "[1"]);
    }
}
