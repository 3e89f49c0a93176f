//! GetPipelineState, EnableStageTransition, DisableStageTransition.

use serde_json::{Value, json};

use super::executions::answer;
use super::world::{A, B, Deed, World, gated, pipeline, text};
use crate::service::{executions, pipelines, state};

fn disable(stage: &str, kind: &str) -> Value {
    json!({ "pipelineName": "site", "stageName": stage, "transitionType": kind, "reason": "freeze" })
}

fn enable(stage: &str, kind: &str) -> Value {
    json!({ "pipelineName": "site", "stageName": stage, "transitionType": kind })
}

#[test]
fn a_state_has_every_stage_and_action_in_the_declaration_s_order() {
    let world = World::new();
    world.script.does("Ask", Deed::Ask("ship it?"));
    world.ok(A, pipelines::create, json!({ "pipeline": gated("site") }));
    let execution = world.newest(A, "site");
    world.token(A, "site", &execution);
    let shown = world.state(A, "site");
    assert_eq!((&shown["pipelineName"], &shown["pipelineVersion"]), (&json!("site"), &json!(1)));
    let stages: Vec<_> =
        shown["stageStates"].as_array().unwrap().iter().map(|stage| text(&stage["stageName"])).collect();
    assert_eq!(stages, ["Source", "Build", "Gate"]);
    let latest = |stage: usize| &shown["stageStates"][stage]["latestExecution"];
    assert_eq!(*latest(0), json!({ "pipelineExecutionId": execution, "status": "Succeeded" }));
    assert_eq!(*latest(2), json!({ "pipelineExecutionId": execution, "status": "InProgress" }));
    // Into the first stage there is no transition.
    assert!(shown["stageStates"][0].get("inboundTransitionState").is_none());
    assert_eq!(shown["stageStates"][1]["inboundTransitionState"], json!({ "enabled": true }));
    let source = &shown["stageStates"][0]["actionStates"][0];
    assert_eq!(source["currentRevision"]["revisionId"], "r1");
    assert_eq!(source["revisionUrl"], "https://git.example/r1");
    assert_eq!(source["latestExecution"]["status"], "Succeeded");
    assert!(source["latestExecution"].get("token").is_none(), "{source}");
}

#[test]
fn a_failure_says_why_wherever_it_is_shown() {
    let world = World::new();
    world.script.does("Make", Deed::Fail("no such target"));
    world.create(A, "site");
    let error = json!({ "code": "JobFailed", "message": "no such target" });
    let shown = &world.state(A, "site")["stageStates"][1];
    assert_eq!(shown["latestExecution"]["status"], "Failed");
    assert_eq!(shown["actionStates"][0]["latestExecution"]["errorDetails"], error);
    let listed = world.action(A, "site", "Make");
    assert_eq!(listed["status"], "Failed");
    assert_eq!(listed["output"]["executionResult"]["errorDetails"], error);
}

#[test]
fn a_disabled_transition_holds_executions_and_says_who_disabled_it() {
    let world = World::new();
    world.create(A, "site");
    world.ok(A, state::disable_transition, disable("Build", "Inbound"));
    let held = world.start(A, "site");
    let id: pipewright_pipeline::machine::ExecutionId = held.parse().unwrap();
    world.until(A, "site", |state| state.executions.waiting(1).eq([id]));
    let stage = world.state(A, "site")["stageStates"][1].clone();
    let transition = &stage["inboundTransitionState"];
    assert_eq!((&transition["enabled"], &transition["disabledReason"]), (&json!(false), &json!("freeze")));
    assert_eq!(transition["lastChangedBy"], "arn:aws:iam::000000000000:user/ada");
    assert!(transition["lastChangedAt"].is_number(), "{transition}");
    let waiting = json!({ "pipelineExecutionId": held, "status": "InProgress" });
    assert_eq!((&stage["inboundExecution"], &stage["inboundExecutions"]), (&waiting, &json!([waiting])));
    assert_eq!(world.status(A, "site", &held), "InProgress");
    world.ok(A, state::enable_transition, enable("Build", "Inbound"));
    world.ended(A, "site", &held);
    assert_eq!(world.status(A, "site", &held), "Succeeded");
    let transition = world.state(A, "site")["stageStates"][1]["inboundTransitionState"].clone();
    assert_eq!(transition["enabled"], true);
    assert!(transition.get("disabledReason").is_none(), "{transition}");
}

/// However many wait, the state shows as many as a person reads (S105).
#[test]
fn of_those_that_wait_the_first_are_shown() {
    let world = World::new();
    let mut queued = pipeline("site");
    queued["pipelineType"] = json!("V2");
    queued["executionMode"] = json!("QUEUED");
    world.ok(A, pipelines::create, json!({ "pipeline": queued }));
    world.ended(A, "site", &world.newest(A, "site"));
    world.ok(A, state::disable_transition, disable("Build", "Inbound"));
    let started: Vec<String> = (0..30).map(|_| world.start(A, "site")).collect();
    world.until(A, "site", |state| state.executions.waiting(1).count() == 30);
    let stage = world.state(A, "site")["stageStates"][1].clone();
    let shown = stage["inboundExecutions"].as_array().unwrap().iter().map(|it| text(&it["pipelineExecutionId"]));
    assert_eq!(shown.collect::<Vec<_>>(), started[..20]);
    assert_eq!(stage["inboundExecution"]["pipelineExecutionId"], *started[0]);

    // One that is stopped waits no more; the history has it, with the reason.
    let stop = json!({ "pipelineName": "site", "pipelineExecutionId": started[0], "reason": "not this one" });
    world.ok(A, executions::stop, stop);
    let stage = world.state(A, "site")["stageStates"][1].clone();
    let shown = stage["inboundExecutions"].as_array().unwrap().iter().map(|it| text(&it["pipelineExecutionId"]));
    assert_eq!(shown.collect::<Vec<_>>(), started[1..21]);
    let listed = world.ok(A, executions::list, json!({ "pipelineName": "site" }));
    let listed = listed["pipelineExecutionSummaries"].as_array().unwrap().iter();
    let stopped = listed.clone().find(|it| it["pipelineExecutionId"] == *started[0]).unwrap();
    assert_eq!(
        (&stopped["status"], &stopped["stopTrigger"]),
        (&json!("Stopped"), &json!({ "reason": "not this one" }))
    );
}

#[test]
fn an_outbound_transition_is_shown_at_the_stage_that_it_leads_to() {
    let world = World::new();
    world.create(A, "site");
    world.ok(A, state::disable_transition, disable("Source", "Outbound"));
    let transition = &world.state(A, "site")["stageStates"][1]["inboundTransitionState"];
    assert_eq!((&transition["enabled"], &transition["disabledReason"]), (&json!(false), &json!("freeze")));
    // Enabled at the other end alone, it stays disabled.
    world.ok(A, state::enable_transition, enable("Build", "Inbound"));
    assert_eq!(world.state(A, "site")["stageStates"][1]["inboundTransitionState"]["enabled"], false);
    world.ok(A, state::enable_transition, enable("Source", "Outbound"));
    assert_eq!(world.state(A, "site")["stageStates"][1]["inboundTransitionState"]["enabled"], true);
}

#[test]
fn a_transition_needs_a_pipeline_and_a_stage() {
    let world = World::new();
    let missing = "PipelineNotFoundException: Account '000000000000' does not have a pipeline with name 'site'";
    world.refused(A, state::disable_transition, disable("Build", "Inbound"), missing);
    world.refused(A, state::enable_transition, enable("Build", "Inbound"), missing);
    world.create(A, "site");
    let nowhere = "StageNotFoundException: The pipeline 'site' does not have a stage with name 'Nowhere'";
    world.refused(A, state::disable_transition, disable("Nowhere", "Inbound"), nowhere);
    world.refused(A, state::enable_transition, enable("Nowhere", "Inbound"), nowhere);
    let elsewhere = "PipelineNotFoundException: Account '111111111111' does not have a pipeline with name 'site'";
    world.refused(B, state::disable_transition, disable("Build", "Inbound"), elsewhere);
    // Nothing of that was done.
    assert_eq!(world.state(A, "site")["stageStates"][1]["inboundTransitionState"], json!({ "enabled": true }));
}

#[test]
fn a_stopped_execution_stays_the_latest_of_its_stage() {
    let world = World::new();
    world.script.does("Make", Deed::Hang);
    let execution = world.create_running(A, "site");
    world.until(A, "site", |_| world.script.calls().len() == 2);
    let stop = json!({ "pipelineName": "site", "pipelineExecutionId": execution, "abandon": true });
    world.ok(A, executions::stop, stop);
    world.ended(A, "site", &execution);
    let shown = world.state(A, "site");
    let latest = json!({ "pipelineExecutionId": execution, "status": "Stopped" });
    assert_eq!(shown["stageStates"][1]["latestExecution"], latest);
    assert_eq!(shown["stageStates"][1]["actionStates"][0]["latestExecution"]["status"], "Abandoned");
}

/// Of several approvals that wait side by side it would show one (S63).
#[test]
fn the_state_of_executions_side_by_side_has_no_tokens() {
    let world = World::new();
    world.script.does("Ask", Deed::Ask("ship it?"));
    let mut pipeline = gated("site");
    pipeline["executionMode"] = json!("PARALLEL");
    pipeline["pipelineType"] = json!("V2");
    world.ok(A, pipelines::create, json!({ "pipeline": pipeline }));
    let token = world.token(A, "site", &world.newest(A, "site"));
    let shown = &world.state(A, "site")["stageStates"][2]["actionStates"][0]["latestExecution"];
    assert_eq!((&shown["status"], shown.get("token")), (&json!("InProgress"), None));
    let listed = world.action(A, "site", "Ask");
    assert_eq!(listed["output"]["executionResult"]["externalExecutionId"], token);
    world.ok(A, executions::put_approval_result, answer("Ask", &token, "Approved"));
    world.ended(A, "site", &world.newest(A, "site"));
    let listed = world.action(A, "site", "Ask");
    assert_eq!(listed["status"], "Succeeded");
    assert_eq!(listed["output"]["executionResult"].get("externalExecutionId"), None);
}

/// Of executions side by side it shows the one that came last, wherever the others are (S41).
#[test]
fn the_state_of_a_stage_is_that_of_who_came_there_last() {
    let world = World::new();
    world.script.does("Make", Deed::Hang);
    let mut declared = pipeline("site");
    (declared["executionMode"], declared["pipelineType"]) = (json!("PARALLEL"), json!("V2"));
    world.ok(A, pipelines::create, json!({ "pipeline": declared }));
    let mut started = Vec::new();
    for count in 1..=3 {
        started.push(if count == 1 { world.newest(A, "site") } else { world.start(A, "site") });
        // Each comes to its second stage before the next one starts.
        world.until(A, "site", |_| world.script.calls().iter().filter(|name| *name == "Make").count() == count);
    }
    let latest = |stage: usize| world.state(A, "site")["stageStates"][stage]["latestExecution"].clone();
    let last = |status: &str| json!({ "pipelineExecutionId": started[2], "status": status });
    assert_eq!((latest(0), latest(1)), (last("Succeeded"), last("InProgress")));
    // What becomes of one that came before changes nothing of it.
    let stop = json!({ "pipelineName": "site", "pipelineExecutionId": started[0], "abandon": true });
    world.ok(A, executions::stop, stop);
    world.ended(A, "site", &started[0]);
    assert_eq!(latest(1), last("InProgress"));
    let listed = world.ok(A, executions::list, json!({ "pipelineName": "site" }));
    let listed = listed["pipelineExecutionSummaries"].as_array().unwrap();
    let listed: Vec<_> =
        listed.iter().rev().map(|it| (text(&it["pipelineExecutionId"]), text(&it["status"]))).collect();
    let statuses = ["Stopped", "InProgress", "InProgress"].map(str::to_owned);
    assert_eq!(listed, started.into_iter().zip(statuses).collect::<Vec<_>>());
}

#[test]
fn retries_of_people_and_of_the_stage_are_told_apart() {
    let world = World::new();
    world.script.does("Make", Deed::Fail("flaky"));
    let mut declared = pipeline("site");
    declared["pipelineType"] = json!("V2");
    declared["stages"][1]["onFailure"] = json!({ "result": "RETRY" });
    world.ok(A, pipelines::create, json!({ "pipeline": declared }));
    let execution = world.newest(A, "site");
    world.ended(A, "site", &execution);
    let metadata = || world.state(A, "site")["stageStates"][1]["retryStageMetadata"].clone();
    assert_eq!(metadata(), json!({ "autoStageRetryAttempt": 1, "latestRetryTrigger": "AutomatedStageRetry" }));
    let retry = json!({
        "pipelineName": "site", "stageName": "Build", "pipelineExecutionId": execution, "retryMode": "FAILED_ACTIONS",
    });
    world.ok(A, executions::retry_stage, retry);
    world.ended(A, "site", &execution);
    let both = json!({
        "autoStageRetryAttempt": 1, "manualStageRetryAttempt": 1, "latestRetryTrigger": "ManualStageRetry",
    });
    assert_eq!(metadata(), both);
    assert_eq!(world.script.calls(), ["Source", "Make", "Make", "Make"]);
    let next = world.whole(A, "site");
    assert_eq!(world.status(A, "site", &next), "Failed");
    assert_eq!(metadata(), json!({ "autoStageRetryAttempt": 1, "latestRetryTrigger": "AutomatedStageRetry" }));
}
