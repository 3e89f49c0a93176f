//! Validation against pipelines of other people: the files of the folder that `PIPEWRIGHT_PIPELINES` names. Files called
//! `valid-*` must be accepted, but for action types that nothing serves; files called `invalid-*` must be refused with the
//! class that the expectations below have for what is wrong with them.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use pipewright_pipeline::action_type::ActionTypes;
use pipewright_pipeline::validate::{Context, ErrorClass, unbound, validate_document};
use serde_json::Value;

/// Something that AWS refuses, found without the code under test, and the exception it is refused with.
struct Expectation {
    wrong: &'static str,
    found: fn(&Value) -> bool,
    class: ErrorClass,
}

/// In the order in which they are answered: shapes first.
static EXPECTATIONS: &[Expectation] = &[
    Expectation {
        wrong: "a roleArn that is not the ARN of a role",
        found: |pipeline| {
            !pipeline["roleArn"].as_str().is_some_and(|arn| arn.starts_with("arn:aws") && arn.contains(":role/"))
        },
        class: ErrorClass::Validation,
    },
    Expectation {
        wrong: "a name that is missing, empty, too long, or has other characters than names have",
        found: |pipeline| {
            let own = actions(pipeline).into_iter().chain(list(pipeline, "stages")).chain([pipeline]);
            own.into_iter().any(|named| !is_name(&named["name"], "-_.@"))
                || outputs(pipeline).iter().any(|name| !is_name(name, "-_"))
        },
        class: ErrorClass::Validation,
    },
    Expectation {
        wrong: "a configuration value that is empty, too long, or not a string",
        found: |pipeline| {
            let values = actions(pipeline).into_iter().filter_map(|action| action["configuration"].as_object());
            values
                .flat_map(|keys| keys.values())
                .any(|value| !value.as_str().is_some_and(|text| (1..=1000).contains(&text.chars().count())))
        },
        class: ErrorClass::Validation,
    },
    Expectation {
        wrong: "fewer than two stages",
        found: |pipeline| list(pipeline, "stages").len() < 2,
        class: ErrorClass::InvalidStructure,
    },
    Expectation {
        wrong: "a first stage of more than sources, or a source in a later stage",
        found: |pipeline| {
            let stages = list(pipeline, "stages");
            let is_source = |action: &&Value| action["actionTypeId"]["category"] == "Source";
            stages
                .iter()
                .enumerate()
                .any(|(index, stage)| list(stage, "actions").iter().any(|action| is_source(action) != (index == 0)))
        },
        class: ErrorClass::InvalidStructure,
    },
    Expectation {
        wrong: "no artifact store, or both kinds",
        found: |pipeline| pipeline["artifactStore"].is_object() == pipeline["artifactStores"].is_object(),
        class: ErrorClass::InvalidStructure,
    },
    Expectation {
        wrong: "a stage name that is used twice",
        found: |pipeline| twice(list(pipeline, "stages").into_iter().map(|stage| &stage["name"])),
        class: ErrorClass::InvalidStageDeclaration,
    },
    Expectation {
        wrong: "an action name that is used twice in a stage",
        found: |pipeline| {
            list(pipeline, "stages")
                .into_iter()
                .any(|stage| twice(list(stage, "actions").into_iter().map(|action| &action["name"])))
        },
        class: ErrorClass::InvalidActionDeclaration,
    },
    Expectation {
        wrong: "an output artifact that is made twice",
        found: |pipeline| twice(outputs(pipeline)),
        class: ErrorClass::InvalidActionDeclaration,
    },
    Expectation {
        wrong: "an input artifact that nothing makes",
        found: |pipeline| {
            let made = outputs(pipeline);
            let mut inputs = actions(pipeline).into_iter().flat_map(|action| list(action, "inputArtifacts"));
            inputs.any(|input| !made.contains(&&input["name"]))
        },
        class: ErrorClass::InvalidActionDeclaration,
    },
];

fn list<'a>(value: &'a Value, member: &str) -> Vec<&'a Value> {
    value[member].as_array().into_iter().flatten().collect()
}

fn actions(pipeline: &Value) -> Vec<&Value> {
    list(pipeline, "stages").into_iter().flat_map(|stage| list(stage, "actions")).collect()
}

fn outputs(pipeline: &Value) -> Vec<&Value> {
    let outputs = actions(pipeline).into_iter().flat_map(|action| list(action, "outputArtifacts"));
    outputs.map(|output| &output["name"]).collect()
}

fn is_name(name: &Value, marks: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    name.as_str().is_some_and(|name| (1..=100).contains(&name.len()) && name.chars().all(allowed))
}

fn twice<'a>(names: impl IntoIterator<Item = &'a Value>) -> bool {
    let mut seen = BTreeSet::new();
    names.into_iter().any(|name| !seen.insert(name.to_string()))
}

/// Says what came of one file, or why that is wrong.
fn check(path: &Path, valid: bool) -> Result<String, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let document: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let types = ActionTypes::new();
    // The files do not say which region they were written for.
    let context = Context { region: None, action_types: &types };
    let expected = EXPECTATIONS.iter().find(|expected| (expected.found)(document.get("pipeline").unwrap_or(&document)));
    match (validate_document(&document, &context), valid, expected) {
        (_, true, Some(expected)) => {
            Err(format!("has {}, so that the file or the expectation is wrong", expected.wrong))
        }
        (Ok(pipeline), true, None) => {
            Ok(format!("accepted; {} actions are unbound", unbound(&pipeline, &context).len()))
        }
        (Ok(_), false, _) => Err("accepted".to_owned()),
        (Err(problems), true, None) => Err(format!("refused:\n{problems}")),
        (Err(problems), false, Some(expected)) if problems.error().0 != expected.class => {
            Err(format!("has {}, but the answer is {:?}", expected.wrong, problems.error()))
        }
        (Err(problems), false, Some(expected)) => Ok(format!("refused for {}:\n{problems}", expected.wrong)),
        (Err(problems), false, None) => Ok(format!("refused, for something without an expectation:\n{problems}")),
    }
}

/// Written past the test harness, which shows nothing of a test that passes.
fn say(text: &str) {
    writeln!(std::io::stderr(), "{text}").expect("standard error is open");
}

#[test]
fn real_pipelines_are_accepted_or_refused_as_aws_does() {
    let Some(folder) = std::env::var_os("PIPEWRIGHT_PIPELINES") else {
        say(
            "SKIPPED: real_pipelines: set PIPEWRIGHT_PIPELINES to a folder of valid-*.json and invalid-*.json pipelines",
        );
        return;
    };
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("PIPEWRIGHT_PIPELINES is a folder")
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let (mut judged, mut wrong) = (0, Vec::new());
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let valid = name.starts_with("valid-");
        if !valid && !name.starts_with("invalid-") {
            continue;
        }
        judged += 1;
        match check(&path, valid) {
            Ok(outcome) => say(&format!("{name}: {outcome}")),
            Err(reason) => wrong.push(format!("{name}: {reason}")),
        }
    }
    assert!(judged > 0, "the folder has no valid-* or invalid-* files");
    assert!(wrong.is_empty(), "{} of {judged} files:\n{}", wrong.len(), wrong.join("\n"));
}
