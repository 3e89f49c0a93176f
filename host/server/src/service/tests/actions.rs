//! ListActionExecutions: what is shown of one action execution.

use pipewright_pipeline::machine::Success;
use serde_json::{Value, json};

use super::world::{A, Deed, World, pipeline, text};
use crate::service::{executions, pipelines};

#[test]
fn a_detail_has_what_went_in_and_what_came_out() {
    let world = World::new();
    let variables = [("Count".to_owned(), "7".to_owned())].into();
    world.script.does("Make", Deed::Tell(Box::new(Success { variables, ..Success::default() })));
    let mut declared = pipeline("site");
    let action = &mut declared["stages"][1]["actions"][0];
    (action["namespace"], action["region"]) = (json!("Made"), json!("us-east-1"));
    world.ok(A, pipelines::create, json!({ "pipeline": declared }));
    let execution = world.newest(A, "site");
    world.ended(A, "site", &execution);
    let mut detail = world.action(A, "site", "Make");
    for time in ["startTime", "lastUpdateTime"] {
        assert!(detail[time].as_f64().unwrap() > 1_600_000_000.0, "{detail}");
    }
    assert!(detail["lastUpdateTime"].as_f64() >= detail["startTime"].as_f64(), "{detail}");
    for varying in ["startTime", "lastUpdateTime", "actionExecutionId"] {
        detail.as_object_mut().unwrap().remove(varying);
    }
    let artifact = |name: &str| json!([{ "name": name, "s3location": { "bucket": "bucket", "key": format!("site/{name}/0000000.zip") } }]);
    assert_eq!(
        detail,
        json!({
            "pipelineExecutionId": execution,
            "pipelineVersion": 1,
            "stageName": "Build",
            "actionName": "Make",
            "status": "Succeeded",
            "input": {
                "actionTypeId": { "category": "Build", "owner": "Custom", "provider": "Make", "version": "1" },
                "configuration": { "Target": "all", "Password": "****" },
                "resolvedConfiguration": { "Target": "all", "Password": "****" },
                "region": "us-east-1",
                "inputArtifacts": artifact("Code"),
                "namespace": "Made",
            },
            "output": {
                "outputArtifacts": artifact("Site"),
                "executionResult": {},
                "outputVariables": { "Count": "7" },
            },
        })
    );
}

#[test]
fn settings_are_shown_as_they_are_written_and_as_they_were_resolved() {
    let world = World::new();
    let mut declared = pipeline("site");
    declared["stages"][1]["actions"][0]["configuration"] =
        json!({ "Target": "#{codepipeline.PipelineExecutionId}", "Password": "s-#{codepipeline.PipelineExecutionId}" });
    world.ok(A, pipelines::create, json!({ "pipeline": declared }));
    let execution = world.newest(A, "site");
    world.ended(A, "site", &execution);
    let input = world.action(A, "site", "Make")["input"].clone();
    let written = json!({ "Target": "#{codepipeline.PipelineExecutionId}", "Password": "****" });
    assert_eq!(input["configuration"], written);
    assert_eq!(input["resolvedConfiguration"], json!({ "Target": execution, "Password": "****" }));
}

/// An action whose setting names a variable that its source does not make fails before it is called.
fn unresolved() -> Value {
    let mut declared = pipeline("site");
    declared["stages"][0]["actions"][0]["namespace"] = json!("Src");
    declared["stages"][1]["actions"][0]["configuration"] = json!({ "Target": "#{Src.Missing}" });
    declared
}

#[test]
fn an_action_that_failed_before_it_ran_is_failed_everywhere() {
    let world = World::new();
    world.ok(A, pipelines::create, json!({ "pipeline": unresolved() }));
    let execution = world.newest(A, "site");
    world.ended(A, "site", &execution);
    assert_eq!(world.status(A, "site", &execution), "Failed");
    assert_eq!(world.script.calls(), ["Source"]);
    let shown = world.state(A, "site")["stageStates"][1]["actionStates"][0]["latestExecution"].clone();
    let listed = world.action(A, "site", "Make");
    assert_eq!(
        (&listed["actionName"], &listed["status"], &shown["status"]),
        (&json!("Make"), &json!("Failed"), &json!("Failed"))
    );
    let error = &listed["output"]["executionResult"]["errorDetails"];
    assert_eq!(*error, shown["errorDetails"]);
    assert!(text(&error["message"]).contains("Src.Missing"), "{error}");
    assert_eq!(listed["actionExecutionId"], shown["actionExecutionId"]);
}

#[test]
fn an_action_of_an_earlier_version_shows_that_version() {
    let world = World::new();
    world.create(A, "site");
    let mut declared = pipeline("site");
    declared["stages"][1]["actions"][0]["configuration"] = json!({ "Target": "docs" });
    world.ok(A, pipelines::update, json!({ "pipeline": declared }));
    world.whole(A, "site");
    let shown: Vec<_> = world.actions(A, "site").iter().filter(|it| it["actionName"] == "Make").cloned().collect();
    let targets =
        shown.iter().map(|it| (it["pipelineVersion"].clone(), it["input"]["configuration"]["Target"].clone()));
    let mut targets: Vec<_> = targets.map(|(version, target)| format!("{version} {target}")).collect();
    targets.sort();
    assert_eq!(targets, ["1 \"all\"", "2 \"docs\""]);
}

#[test]
fn an_abandoned_action_is_in_the_history_as_such() {
    let world = World::new();
    world.script.does("Make", Deed::Hang);
    let execution = world.create_running(A, "site");
    world.until(A, "site", |_| world.script.calls().len() == 2);
    assert_eq!(world.action(A, "site", "Make")["status"], "InProgress");
    let stop = json!({ "pipelineName": "site", "pipelineExecutionId": execution, "abandon": true });
    world.ok(A, executions::stop, stop);
    world.ended(A, "site", &execution);
    let shown = world.action(A, "site", "Make");
    assert_eq!((&shown["status"], shown.get("updatedBy")), (&json!("Abandoned"), None));
    assert_eq!(shown["output"]["outputArtifacts"], json!([]));
}

/// Within JSON a value stays the one value that it stands for (S86).
#[test]
fn a_variable_in_a_list_stays_one_value() {
    let check = |target: &str, value: &str| {
        let world = World::new();
        let variables = [("Name".to_owned(), value.to_owned())].into();
        world.script.does("Source", Deed::Tell(Box::new(Success { variables, ..Success::default() })));
        let mut declared = unresolved();
        declared["stages"][1]["actions"][0]["configuration"] = json!({ "Target": target });
        world.ok(A, pipelines::create, json!({ "pipeline": declared }));
        let execution = world.newest(A, "site");
        world.ended(A, "site", &execution);
        let shown = world.action(A, "site", "Make");
        let message = &shown["output"]["executionResult"]["errorDetails"]["message"];
        message.as_str().map(str::to_owned).ok_or(text(&shown["input"]["resolvedConfiguration"]["Target"]))
    };
    assert_eq!(check("[\"#{Src.Name}\"]", "a\", \"b"), Err(r#"["a\", \"b"]"#.to_owned()));
    assert_eq!(check("#{Src.Name}", "a\", \"b"), Err(r#"a", "b"#.to_owned()));
    let failed = check("[#{Src.Name}]", "a, b").unwrap();
    assert!(failed.contains("`#{Src.Name}` stands for a whole JSON value here"), "{failed}");
}

#[test]
fn an_artifact_is_at_an_address_of_the_beginnings_of_its_names() {
    let world = World::new();
    let mut declared = pipeline("twenty-four-characters-x");
    declared["stages"][0]["actions"][0]["outputArtifacts"] = json!([{ "name": "SourceArtifact" }]);
    declared["stages"][1]["actions"][0]["inputArtifacts"] = json!([{ "name": "SourceArtifact" }]);
    world.ok(A, pipelines::create, json!({ "pipeline": declared }));
    let execution = world.newest(A, "twenty-four-characters-x");
    world.ended(A, "twenty-four-characters-x", &execution);
    let input = world.action(A, "twenty-four-characters-x", "Make")["input"]["inputArtifacts"].take();
    let at = json!({ "bucket": "bucket", "key": "twenty-four-characte/SourceArti/0000000.zip" });
    assert_eq!(input, json!([{ "name": "SourceArtifact", "s3location": at }]));
}
