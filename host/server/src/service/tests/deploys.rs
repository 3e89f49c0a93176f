//! The targets of deploy actions.

use pipewright_pipeline::machine::{ExecutionDetails, Success};
use serde_json::{Value, json};

use super::world::{A, B, Deed, World, text};
use crate::service::deploys::list_targets;

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
