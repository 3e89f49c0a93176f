//! Whether an action is called as a pipeline could call it, and gives what its type says: the rules of declarations, for whoever calls
//! an action without one.
//!
//! Pure. Must not know who calls, or how anything is shown.

use pipewright_packages::plugins::label;
use pipewright_sandbox::Plugin;
use pipewright_sandbox::abi::{ActionType, Count, TypeId};

/// What the plugin says of a type that it offers.
fn described<'a>(plugin: &'a Plugin, action: &TypeId) -> Option<&'a ActionType> {
    plugin.description().action_types.iter().find(|described| label(&described.id) == label(action))
}

/// Those of some settings that an action of this type does not have, in words: a pipeline that names one is refused.
pub fn unknown_settings<'a>(plugin: &Plugin, action: &TypeId, given: impl Iterator<Item = &'a String>) -> Vec<String> {
    let settings = described(plugin, action).into_iter().flat_map(|it| &it.settings);
    let known: Vec<&str> = settings.map(|setting| setting.name.as_str()).collect();
    let unknown = given.filter(|name| !known.contains(&name.as_str()));
    let there_are = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
    unknown.map(|name| format!("{name}: {} has no such setting; {there_are}", label(action))).collect()
}

/// What is wrong with how many artifacts an action of this type is given, and is to make: a pipeline that declares so many is refused.
pub fn wrong_counts(
    plugin: &Plugin,
    action: &TypeId,
    inputs: usize,
    outputs: usize,
) -> (Option<String>, Option<String>) {
    let counts = described(plugin, action).map(|it| (it.inputs, it.outputs));
    let wrong = |which, count: Option<Count>, given| wrong_count(&label(action), which, count?, given);
    (
        wrong("input", counts.map(|(inputs, _)| inputs), inputs),
        wrong("output", counts.map(|(_, outputs)| outputs), outputs),
    )
}

fn wrong_count(action: &str, which: &str, Count { min, max }: Count, given: usize) -> Option<String> {
    let (min, max) = (min as usize, max as usize);
    let wants = match (min, max) {
        _ if (min..=max).contains(&given) => return None,
        (0, 0) => format!("has no {which} artifact"),
        (1, 1) => format!("has 1 {which} artifact"),
        _ if min == max => format!("has {min} {which} artifacts"),
        _ => format!("has {min} to {max} {which} artifacts"),
    };
    let are = if given == 1 { "there is 1".to_owned() } else { format!("there are {given}") };
    Some(format!("{action} {wants}, and {are} here: a pipeline that declares so many is refused"))
}

/// Those of the variables that an action of this type made and neither its type nor the caller's declaration names, in words. A pipeline
/// has them all the same.
pub fn undeclared_variables<'a>(
    plugin: &Plugin,
    action: &TypeId,
    wanted: &[String],
    made: impl Iterator<Item = &'a String>,
) -> Vec<String> {
    let variables = described(plugin, action).into_iter().flat_map(|it| &it.variables);
    let declared: Vec<&str> = variables.map(|variable| variable.name.as_str()).collect();
    let undeclared = made.filter(|name| !declared.contains(&name.as_str()) && !wanted.contains(name));
    let declares = match &declared[..] {
        [] => "none".to_owned(),
        all => all.join(", "),
    };
    let told = |name: &String| {
        format!(
            "the plugin sets the output variable {name}, and {} declares {declares}: a pipeline can use it, and no page, no list \
             and no comparison of versions shows it; declare it, or correct its name",
            label(action)
        )
    };
    undeclared.map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_artifacts_is_told_with_what_is_allowed() {
        let check = |(min, max): (u32, u32), given: usize, expected: Option<&str>| {
            let told = wrong_count("Build/Custom/X/1", "input", Count { min, max }, given);
            let expected = expected
                .map(|text| format!("Build/Custom/X/1 {text} here: a pipeline that declares so many is refused"));
            assert_eq!(told, expected);
        };
        check((0, 0), 0, None);
        check((0, 0), 1, Some("has no input artifact, and there is 1"));
        check((1, 1), 0, Some("has 1 input artifact, and there are 0"));
        check((2, 2), 1, Some("has 2 input artifacts, and there is 1"));
        check((0, 5), 5, None);
        check((1, 5), 6, Some("has 1 to 5 input artifacts, and there are 6"));
    }
}
