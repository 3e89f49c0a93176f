//! What actions reported, and which cases are flaky, by their pipeline and execution.

use pipewright_sandbox::abi::{Report, Status, TestCase, Tested};
use pipewright_sandbox::results::Results;
use serde_json::json;

use super::world::{A, B, World, context, text, words};
use crate::service::reports;

impl World {
    fn reported(&self, execution: &str, status: Status) {
        let is_it = |it: &serde_json::Value| it["actionName"] == "Make" && it["pipelineExecutionId"] == *execution;
        let action = self.actions(A, "site").into_iter().find(is_it).unwrap();
        let log = self.service.host.actions.logs.of(execution, &text(&action["actionExecutionId"]), "Build", "Make");
        let report = Report { summary: None, external_id: None, variables: Vec::new(), links: Vec::new() };
        let case = TestCase { name: "adds".to_owned(), status, message: None, place: None };
        log.keep(Results::of_tested("unit", &Tested { report, cases: vec![case] }).unwrap());
    }
}

#[test]
fn reports_are_found_by_their_execution_and_cases_compared_with_those_before() {
    let world = World::new();
    let first = world.create(A, "site");
    world.reported(&first, Status::Passed);
    let get = |execution: &str| {
        let found = world.run(reports::get(&world.service, &context(A), "site", execution)).unwrap();
        serde_json::to_value(found).unwrap()
    };
    let found = get(&first);
    assert_eq!(found["actions"][0]["reports"][0]["tests"]["counts"]["succeeded"], 1, "{found}");
    assert_eq!((&found["actions"][0]["actionName"], &found["flaky"]), (&json!("Make"), &json!([])));
    for status in [Status::Failed, Status::Passed, Status::Failed] {
        let next = world.whole(A, "site");
        world.reported(&next, status);
    }
    let found = get(&first);
    assert_eq!((&found["flaky"][0]["name"], &found["flaky"][0]["runs"]), (&json!("adds"), &json!(4)), "{found}");
    // What is longer ago than twenty executions says nothing any more.
    for number in 1..=20 {
        let next = world.whole(A, "site");
        world.reported(&next, Status::Passed);
        assert_eq!(get(&next)["flaky"].as_array().unwrap().is_empty(), number == 20, "{number}");
    }
}

#[test]
fn reports_are_those_of_the_account_alone() {
    let world = World::new();
    let execution = world.create(A, "site");
    world.reported(&execution, Status::Passed);
    let refused = |account, pipeline: &str, execution: &str| {
        words(&world.run(reports::get(&world.service, &context(account), pipeline, execution)).unwrap_err())
    };
    assert!(refused(B, "site", &execution).starts_with("PipelineNotFoundException"));
    assert!(
        refused(A, "site", "00000000-0000-0000-0000-000000000000").starts_with("PipelineExecutionNotFoundException")
    );
}
