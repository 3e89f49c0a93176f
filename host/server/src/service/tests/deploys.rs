//! The targets of deploy actions.

use pipewright_pipeline::machine::{ExecutionDetails, Success};
use serde_json::{Value, json};

use super::world::{A, B, Deed, World, pipeline, text, words};
use crate::service::deploys::list_targets;
use crate::service::pipelines;

fn released(world: &World) -> String {
    let target = |id: &str, status: &str| json!({ "id": id, "kind": "host", "status": status, "url": null });
    let targets = json!([target("a", "Succeeded"), target("b", "Failed"), target("c", "Succeeded")]);
    let told = ExecutionDetails { details: [("targets".to_owned(), targets)].into(), ..ExecutionDetails::default() };
    world.script.does("Make", Deed::Tell(Box::new(Success { told, ..Success::default() })));
    world.create(A, "site");
    text(&world.action(A, "site", "Make")["actionExecutionId"])
}

fn ids(listed: &Value) -> Vec<String> {
    listed["targets"].as_array().unwrap().iter().map(|target| text(&target["targetId"])).collect()
}

#[test]
fn the_targets_of_an_action_are_listed_filtered_and_paged() {
    let world = World::new();
    let action = released(&world);
    let list = |more: Value| {
        let mut input = json!({ "actionExecutionId": action });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.ok(A, list_targets, input)
    };
    for named in [json!({}), json!({ "pipelineName": "site" })] {
        let listed = list(named);
        assert_eq!(ids(&listed), ["a", "b", "c"]);
        let first = &listed["targets"][0];
        assert_eq!((&first["targetType"], &first["status"]), (&json!("host"), &json!("Succeeded")));
        assert!(first["startTime"].as_f64() <= first["endTime"].as_f64() && first["endTime"].is_f64(), "{first}");
    }
    let failed = json!([{ "name": "TARGET_STATUS", "values": ["Failed"] }]);
    assert_eq!(ids(&list(json!({ "filters": failed }))), ["b"]);
    let page = list(json!({ "maxResults": 2 }));
    assert_eq!(ids(&page), ["a", "b"]);
    let last = list(json!({ "maxResults": 2, "nextToken": page["nextToken"] }));
    assert_eq!((ids(&last), last.get("nextToken")), (vec!["c".to_owned()], None));
    let source = text(&world.action(A, "site", "Source")["actionExecutionId"]);
    let none = world.ok(A, list_targets, json!({ "actionExecutionId": source }));
    assert_eq!(none, json!({ "targets": [] }));
}

#[test]
fn an_action_that_is_not_there_has_no_targets() {
    let world = World::new();
    let action = released(&world);
    let missing = |id: &str| format!("ActionExecutionNotFoundException: There is no action execution with ID '{id}'");
    for unknown in ["none", "00000000-0000-4000-8000-000000000000"] {
        world.refused(A, list_targets, json!({ "actionExecutionId": unknown }), &missing(unknown));
    }
    // Another account's is not there.
    world.refused(B, list_targets, json!({ "actionExecutionId": action }), &missing(&action));
    let nowhere = "PipelineNotFoundException: The account with AWS account ID '000000000000' does not include a pipeline named 'other'";
    world.refused(A, list_targets, json!({ "actionExecutionId": action, "pipelineName": "other" }), nowhere);
}

#[test]
fn a_token_is_good_for_the_same_filters_alone() {
    let world = World::new();
    let action = released(&world);
    let page = |more: Value| {
        let mut input = json!({ "actionExecutionId": action, "maxResults": 1 });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.ask(A, list_targets, input)
    };
    let token = page(json!({})).unwrap()["nextToken"].clone();
    let succeeded = json!([{ "name": "TARGET_STATUS", "values": ["Succeeded"] }]);
    for other in [json!({ "filters": succeeded }), json!({ "pipelineName": "site" })] {
        let mut other = other;
        other["nextToken"] = token.clone();
        let refused = words(&page(other).unwrap_err());
        assert!(refused.starts_with("InvalidNextTokenException"), "{refused}");
    }
    assert_eq!(ids(&page(json!({ "nextToken": token })).unwrap()), ["b"]);
}

#[test]
fn an_action_tells_of_its_targets_when_it_has_ended() {
    let world = World::new();
    world.script.does("Make", Deed::Hang);
    world.create_running(A, "site");
    world.until(A, "site", |_| world.script.calls().len() == 2);
    let action = text(&world.action(A, "site", "Make")["actionExecutionId"]);
    assert_eq!(world.ok(A, list_targets, json!({ "actionExecutionId": action })), json!({ "targets": [] }));
}

/// An id costs a look at the newest, however long the history is.
#[test]
fn an_action_is_looked_for_among_the_latest() {
    let world = World::new();
    let action = released(&world);
    let is_found = |more: Value| {
        let mut input = json!({ "actionExecutionId": action });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.ask(A, list_targets, input).is_ok()
    };
    let named = || json!({ "pipelineName": "site" });
    // Two action executions each.
    (1..50).for_each(|_| drop(world.whole(A, "site")));
    assert!(is_found(json!({})) && is_found(named()));
    world.whole(A, "site");
    assert!(!is_found(json!({})) && is_found(named()));
    // And fifty-one each.
    let mut wide = pipeline("site");
    let actions = wide["stages"][1]["actions"].as_array_mut().unwrap();
    actions[0]["outputArtifacts"] = json!([]);
    for number in 1..50 {
        let mut action = actions[0].clone();
        action["name"] = json!(format!("Make{number}"));
        actions.push(action);
    }
    world.ok(A, pipelines::update, json!({ "pipeline": wide }));
    (0..17).for_each(|_| drop(world.whole(A, "site")));
    assert!(is_found(named()), "102 and 867");
    world.whole(A, "site");
    assert!(!is_found(named()), "102 and 918");
}
