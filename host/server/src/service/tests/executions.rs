//! StartPipelineExecution, StopPipelineExecution, RetryStageExecution, RollbackStage, OverrideStageCondition,
//! PutApprovalResult, GetPipelineExecution.

use std::sync::Arc;

use pipewright_base::clock::Simulated;
use pipewright_pipeline::machine::Success;
use serde_json::{Value, json};

use super::world::{A, B, Deed, World, gated, pipeline, revision, text, told};
use crate::config::Quotas;
use crate::service::{EQUAL_ONES_COME_WITHIN, actions, executions, pipelines};

const NOBODY: &str = "11111111-2222-3333-4444-555555555555";

#[test]
fn an_execution_shows_what_it_fetched_and_with_what_it_started() {
    let world = World::new();
    let mut declared = pipeline("site");
    declared["pipelineType"] = json!("V2");
    declared["variables"] =
        json!([{ "name": "Colour", "defaultValue": "red" }, { "name": "Size", "defaultValue": "L" }]);
    world.ok(A, pipelines::create, json!({ "pipeline": declared }));
    let first = world.newest(A, "site");
    world.ended(A, "site", &first);
    let variables = json!([{ "name": "Colour", "value": "blue" }]);
    let started = world.ok(A, executions::start, json!({ "name": "site", "variables": variables }));
    let id = text(&started["pipelineExecutionId"]);
    world.ended(A, "site", &id);
    let input = json!({ "pipelineName": "site", "pipelineExecutionId": id });
    let shown = world.ok(A, executions::get, input)["pipelineExecution"].clone();
    assert_eq!(
        shown,
        json!({
            "pipelineName": "site",
            "pipelineVersion": 1,
            "pipelineExecutionId": id,
            "status": "Succeeded",
            "artifactRevisions": [{
                "name": "Code",
                "revisionId": "r1",
                "revisionSummary": "commit r1",
                "revisionUrl": "https://git.example/r1",
            }],
            "variables": [
                { "name": "Colour", "resolvedValue": "blue" },
                { "name": "Size", "resolvedValue": "L" },
            ],
            "trigger": {
                "triggerType": "StartPipelineExecution",
                "triggerDetail": "arn:aws:iam::000000000000:user/ada",
            },
            "executionMode": "SUPERSEDED",
        })
    );
}

#[test]
fn what_is_too_long_to_be_shown_is_cut_and_what_is_empty_left_out() {
    let world = World::new();
    let long = "ä".repeat(3000);
    let mut revision = revision("r2");
    (revision.summary, revision.url) = (Some(long.clone()), Some(String::new()));
    world.script.does("Source", Deed::Tell(Box::new(Success { revision: Some(revision), ..Success::default() })));
    world.create(A, "site");
    let summaries = world.ok(A, executions::list, json!({ "pipelineName": "site" }));
    let shown = &summaries["pipelineExecutionSummaries"][0]["sourceRevisions"][0];
    assert!(text(&shown["revisionSummary"]).chars().count() <= 2048);
    assert!(long.starts_with(&text(&shown["revisionSummary"])));
    assert!(shown.get("revisionUrl").is_none(), "{shown}");
}

#[test]
fn a_start_is_refused_where_there_is_nothing_to_start() {
    let world = World::new();
    let missing = "PipelineNotFoundException: Account '000000000000' does not have a pipeline with name 'site'";
    world.refused(A, executions::start, json!({ "name": "site" }), missing);
    world.create(B, "site");
    world.refused(A, executions::start, json!({ "name": "site" }), missing);
}

#[test]
fn the_same_request_token_starts_one_execution() {
    let world = World::new();
    world.create(A, "site");
    let start = |account, token: &str| {
        let started = world.ok(account, executions::start, json!({ "name": "site", "clientRequestToken": token }));
        let execution = text(&started["pipelineExecutionId"]);
        world.ended(account, "site", &execution);
        execution
    };
    let first = start(A, "token-1");
    assert_eq!(start(A, "token-1"), first);
    assert_ne!(start(A, "token-2"), first);
    // Whatever else the request says.
    let revision = json!({ "actionName": "Source", "revisionType": "COMMIT_ID", "revisionValue": "c0ffee" });
    let other = json!({ "name": "site", "clientRequestToken": "token-1", "sourceRevisions": [revision] });
    assert_eq!(world.ok(A, executions::start, other), json!({ "pipelineExecutionId": first }));
    // A token is a name within its pipeline.
    world.create(B, "site");
    assert_ne!(start(B, "token-1"), first);
}

#[test]
fn a_start_that_is_sent_again_starts_nothing() {
    let clock = Simulated::new(1_000_000);
    let world = World::on(Quotas::default(), Arc::new(clock.clone()));
    world.create(A, "site");
    let start = |signature: &str, token: Option<&str>| {
        let mut document = json!({ "name": "site" });
        if let Some(token) = token {
            document["clientRequestToken"] = json!(token);
        }
        let execution = text(&world.signed(signature, executions::start, document)["pipelineExecutionId"]);
        world.ended(A, "site", &execution);
        execution
    };
    let captured = || world.run(clock.advance(EQUAL_ONES_COME_WITHIN));
    let first = start("aa", None);
    captured();
    assert_eq!(start("aa", None), first);
    // Two of one second that nothing tells apart.
    let twice = [start("bb", None), start("bb", None)];
    assert_ne!(twice[0], twice[1]);
    assert!(!twice.contains(&first));
    captured();
    assert_eq!(start("bb", None), twice[1]);
    assert_eq!(start("cc", Some("token")), start("dd", Some("token")));
}

#[test]
fn an_execution_that_runs_is_stopped_with_its_reason() {
    let world = World::new();
    world.script.does("Make", Deed::Hang);
    let execution = world.create_running(A, "site");
    let stop = |abandon: bool| json!({ "pipelineName": "site", "pipelineExecutionId": execution, "abandon": abandon, "reason": "wrong commit" });
    world.until(A, "site", |_| world.script.calls().len() == 2);
    assert_eq!(world.ok(A, executions::stop, stop(false)), json!({ "pipelineExecutionId": execution }));
    assert_eq!(world.status(A, "site", &execution), "Stopping");
    let twice = format!(
        "DuplicatedStopRequestException: The execution with ID {execution} in site is already in a stopping state. If you \
         already chose to stop and wait, you cannot make that request again. You can choose to stop and abandon now, but be \
         aware that this option can lead to failed actions. If you already chose to stop and abandon, you cannot make that \
         request again."
    );
    world.refused(A, executions::stop, stop(false), &twice);
    // Whoever abandons it then need not say why again.
    let mut abandon = stop(true);
    abandon.as_object_mut().unwrap().remove("reason");
    world.ok(A, executions::stop, abandon);
    world.ended(A, "site", &execution);
    assert_eq!(world.status(A, "site", &execution), "Stopped");
    let listed = world.ok(A, executions::list, json!({ "pipelineName": "site" }));
    assert_eq!(listed["pipelineExecutionSummaries"][0]["stopTrigger"], json!({ "reason": "wrong commit" }));
    let over = format!(
        "PipelineExecutionNotStoppableException: Unable to stop the pipeline execution with ID {execution}. The execution \
         might already be in a Stopped state, or it might no longer be in progress."
    );
    world.refused(A, executions::stop, stop(true), &over);
    assert_eq!(world.action(A, "site", "Make")["status"], "Abandoned");
}

#[test]
fn a_stop_needs_an_execution() {
    let world = World::new();
    let input = |id: &str| json!({ "pipelineName": "site", "pipelineExecutionId": id });
    let missing = "PipelineNotFoundException: Account '000000000000' does not have a pipeline with name 'site'";
    world.refused(A, executions::stop, input(NOBODY), missing);
    world.create(A, "site");
    let unknown = format!(
        "PipelineExecutionNotStoppableException: Unable to stop the pipeline execution with ID {NOBODY}. The execution might \
         already be in a Stopped state, or it might no longer be in progress."
    );
    world.refused(A, executions::stop, input(NOBODY), &unknown);
}

#[test]
fn a_failed_stage_is_retried_with_the_same_execution() {
    let world = World::new();
    world.script.does("Make", Deed::Fail("no such target"));
    let execution = world.create(A, "site");
    assert_eq!(world.status(A, "site", &execution), "Failed");
    let retry = |stage: &str, id: &str| json!({ "pipelineName": "site", "stageName": stage, "pipelineExecutionId": id, "retryMode": "FAILED_ACTIONS" });
    let pins = world.pins("site", &execution);
    world.install_others();
    world.script.succeeds("Make");
    let answered = world.ok(A, executions::retry_stage, retry("Build", &execution));
    assert_eq!(answered, json!({ "pipelineExecutionId": execution }));
    world.ended(A, "site", &execution);
    assert_eq!(world.status(A, "site", &execution), "Succeeded");
    assert_eq!(world.script.calls(), ["Source", "Make", "Make"]);
    let metadata = &world.state(A, "site")["stageStates"][1]["retryStageMetadata"];
    assert_eq!(*metadata, json!({ "manualStageRetryAttempt": 1, "latestRetryTrigger": "ManualStageRetry" }));
    let mut statuses: Vec<_> = world.actions(A, "site").iter().map(|action| text(&action["status"])).collect();
    statuses.sort();
    assert_eq!(statuses, ["Failed", "Succeeded", "Succeeded"]);
    // It keeps to what it started with, and only the next one does not.
    assert_eq!(world.pins("site", &execution), pins);
    let next = world.whole(A, "site");
    assert_ne!(world.pins("site", &next), pins);
}

#[test]
fn a_retry_is_refused_where_there_is_nothing_to_retry() {
    let world = World::new();
    world.script.does("Make", Deed::Fail("no"));
    let first = world.create(A, "site");
    let second = world.whole(A, "site");
    let retry = |stage: &str, id: &str| json!({ "pipelineName": "site", "stageName": stage, "pipelineExecutionId": id, "retryMode": "ALL_ACTIONS" });
    let refused = |stage: &str, id: &str, expected: &str| {
        world.refused(A, executions::retry_stage, retry(stage, id), expected);
    };
    let later = format!(
        "NotLatestPipelineExecutionException: The stage 'Build' has run in a later execution of the pipeline, and the \
         pipelineExecutionId {first} associated with the request is out of date."
    );
    refused("Build", &first, &later);
    refused(
        "Nowhere",
        &second,
        "StageNotFoundException: The pipeline 'site' does not have a stage with name 'Nowhere'",
    );
    let not_there = format!("NotLatestPipelineExecutionException: There is no execution with ID {NOBODY} to retry");
    refused("Build", NOBODY, &not_there);
    let error = world.ask(A, executions::retry_stage, retry("Source", &second)).unwrap_err();
    assert!(
        matches!(&error, crate::service::ServiceError::Refused { class: "StageNotRetryableException", .. }),
        "{error}"
    );
    let elsewhere = "PipelineNotFoundException: Account '111111111111' does not have a pipeline with name 'site'";
    world.refused(B, executions::retry_stage, retry("Build", &second), elsewhere);
}

fn back(stage: &str, target: &str) -> Value {
    json!({ "pipelineName": "site", "stageName": stage, "targetPipelineExecutionId": target })
}

#[test]
fn a_stage_is_rolled_back_to_an_execution_that_succeeded_there() {
    let world = World::new();
    let first = world.create(A, "site");
    world.install_others();
    world.script.does("Make", Deed::Fail("no such target"));
    let second = world.whole(A, "site");
    world.script.succeeds("Make");
    let answered = world.ok(A, executions::rollback_stage, back("Build", &first));
    let rollback = text(&answered["pipelineExecutionId"]);
    assert_eq!(answered, json!({ "pipelineExecutionId": rollback }));
    world.ended(A, "site", &rollback);
    // The stage runs again by itself, and what is shown says why.
    assert_eq!(world.script.calls(), ["Source", "Make", "Source", "Make", "Make"]);
    let [pins, rejected, kept] = [&first, &second, &rollback].map(|execution| world.pins("site", execution));
    assert!(pins == kept && pins != rejected, "{pins:?} {rejected:?} {kept:?}");
    let input = json!({ "pipelineName": "site", "pipelineExecutionId": rollback });
    let shown = world.ok(A, executions::get, input)["pipelineExecution"].clone();
    let listed = world.ok(A, executions::list, json!({ "pipelineName": "site" }));
    for shown in [&shown, &listed["pipelineExecutionSummaries"][0]] {
        assert_eq!((&shown["status"], &shown["executionType"]), (&json!("Succeeded"), &json!("ROLLBACK")), "{shown}");
        assert_eq!(shown["rollbackMetadata"], json!({ "rollbackTargetPipelineExecutionId": first }));
        let trigger = json!({
            "triggerType": "ManualRollback",
            "triggerDetail": r#"{"AwsUserArn":"arn:aws:iam::000000000000:user/ada"}"#,
        });
        assert_eq!(shown["trigger"], trigger);
    }
    let latest = &world.state(A, "site")["stageStates"][1]["latestExecution"];
    assert_eq!(*latest, json!({ "pipelineExecutionId": rollback, "status": "Succeeded", "type": "ROLLBACK" }));
    let again =
        "UnableToRollbackStageException: Unable to roll back the stage 'Build': the target is itself a rollback.";
    world.refused(A, executions::rollback_stage, back("Build", &rollback), again);
}

#[test]
fn a_rollback_is_refused_where_there_is_nothing_to_go_back_to() {
    let world = World::new();
    let first = world.create(A, "site");
    world.script.does("Make", Deed::Fail("no"));
    let second = world.whole(A, "site");
    let refused = |stage: &str, target: &str, expected: &str| {
        world.refused(A, executions::rollback_stage, back(stage, target), expected);
    };
    let no_stage = "StageNotFoundException: The pipeline 'site' does not have a stage with name 'Nowhere'";
    refused("Nowhere", &first, no_stage);
    let not_there = format!(
        "PipelineExecutionNotFoundException: The pipeline 'site' does not have an execution with ID '{NOBODY}'"
    );
    refused("Build", NOBODY, &not_there);
    let unable = |stage: &str, why: &str| {
        format!("UnableToRollbackStageException: Unable to roll back the stage '{stage}': {why}.")
    };
    refused("Source", &first, &unable("Source", "a source stage is not rolled back"));
    refused("Build", &second, &unable("Build", "the target has not succeeded in it"));
    world.ok(A, pipelines::update, json!({ "pipeline": pipeline("site") }));
    let outdated = format!(
        "PipelineExecutionOutdatedException: The pipeline execution with ID {first} is of an earlier version of the pipeline \
         and cannot be used as a target pipeline execution for rollback."
    );
    refused("Build", &first, &outdated);
    let elsewhere = "PipelineNotFoundException: Account '111111111111' does not have a pipeline with name 'site'";
    world.refused(B, executions::rollback_stage, back("Build", &first), elsewhere);
}

#[test]
fn a_condition_that_holds_nobody_is_not_overridden() {
    let world = World::new();
    let first = world.create(A, "site");
    let second = world.whole(A, "site");
    let of = |stage: &str, id: &str, condition: &str| json!({ "pipelineName": "site", "stageName": stage, "pipelineExecutionId": id, "conditionType": condition });
    let refused = |stage: &str, id: &str, expected: &str| {
        for condition in ["BEFORE_ENTRY", "ON_SUCCESS"] {
            world.refused(A, executions::override_condition, of(stage, id, condition), expected);
        }
    };
    let none = "ConditionNotOverridableException: Unable to override the condition of the stage 'Build': it has no condition of \
                this type.";
    refused("Build", &second, none);
    let later = format!(
        "NotLatestPipelineExecutionException: The stage 'Build' has run in a later execution of the pipeline, and the \
         pipelineExecutionId {first} associated with the request is out of date."
    );
    refused("Build", &first, &later);
    let not_there = format!(
        "NotLatestPipelineExecutionException: There is no execution with ID {NOBODY} to override a condition of"
    );
    refused("Build", NOBODY, &not_there);
    let no_stage = "StageNotFoundException: The pipeline 'site' does not have a stage with name 'Nowhere'";
    refused("Nowhere", &second, no_stage);
    let elsewhere = "PipelineNotFoundException: Account '111111111111' does not have a pipeline with name 'site'";
    world.refused(B, executions::override_condition, of("Build", &second, "ON_SUCCESS"), elsewhere);
}

pub fn answer(action: &str, token: &str, status: &str) -> Value {
    let result = json!({ "status": status, "summary": "looks good" });
    json!({ "pipelineName": "site", "stageName": "Gate", "actionName": action, "token": token, "result": result })
}

#[test]
fn an_approval_is_answered_once_by_its_token() {
    let world = World::new();
    world.script.does("Ask", Deed::Ask("ship it?"));
    world.ok(A, pipelines::create, json!({ "pipeline": gated("site") }));
    let execution = world.newest(A, "site");
    let token = world.token(A, "site", &execution);
    let shown = world.state(A, "site")["stageStates"][2]["actionStates"][0]["latestExecution"].clone();
    assert_eq!((&shown["status"], &shown["token"]), (&json!("InProgress"), &json!(token)));
    assert_eq!((&shown["summary"], &shown["actionExecutionId"]), (&json!("ship it?"), &json!(token)));
    let refused = |input: Value, expected: &str| world.refused(A, executions::put_approval_result, input, expected);
    refused(
        answer("Ask", NOBODY, "Approved"),
        "InvalidApprovalTokenException: The approval request already received a response or has expired.",
    );
    refused(
        answer("Nothing", &token, "Approved"),
        "ActionNotFoundException: The stage 'Gate' of pipeline 'site' does not have an action with name 'Nothing'",
    );
    let mut elsewhere = answer("Ask", &token, "Approved");
    elsewhere["stageName"] = json!("Nowhere");
    refused(elsewhere, "StageNotFoundException: The pipeline 'site' does not have a stage with name 'Nowhere'");
    let answered = world.ok(A, executions::put_approval_result, answer("Ask", &token, "Approved"));
    assert!(answered["approvedAt"].as_f64().unwrap() > 1_600_000_000.0, "{answered}");
    world.ended(A, "site", &execution);
    assert_eq!(world.status(A, "site", &execution), "Succeeded");
    let shown = world.state(A, "site")["stageStates"][2]["actionStates"][0]["latestExecution"].clone();
    assert_eq!((&shown["actionExecutionId"], shown.get("token")), (&json!(token), None));
    // Also when its execution has ended.
    refused(
        answer("Ask", &token, "Rejected"),
        "ApprovalAlreadyCompletedException: The approval action has already been approved or rejected.",
    );
}

#[test]
fn who_answered_an_approval_is_kept_when_all_is_over() {
    let world = World::new();
    world.script.does("Ask", Deed::Ask("ship it?"));
    world.ok(A, pipelines::create, json!({ "pipeline": gated("site") }));
    let execution = world.newest(A, "site");
    let token = world.token(A, "site", &execution);
    let by_whom = |execution: &str| {
        let filter = json!({ "pipelineExecutionId": execution });
        let listed = world.ok(A, actions::list, json!({ "pipelineName": "site", "filter": filter }));
        let details = listed["actionExecutionDetails"].as_array().unwrap().clone();
        let said = |detail: &Value| detail["output"]["executionResult"].get("externalExecutionSummary").cloned();
        let updated = |detail: &Value| (text(&detail["actionName"]), (detail.get("updatedBy").cloned(), said(detail)));
        details.iter().map(updated).filter(|(name, _)| name == "Ask").map(|(_, by)| by).collect::<Vec<_>>()
    };
    let asked = (None, Some(json!("ship it?")));
    assert_eq!(by_whom(&execution), std::slice::from_ref(&asked));
    world.ok(A, executions::put_approval_result, answer("Ask", &token, "Rejected"));
    world.ended(A, "site", &execution);
    let ada = (Some(json!("arn:aws:iam::000000000000:user/ada")), Some(json!("looks good")));
    assert_eq!(by_whom(&execution), std::slice::from_ref(&ada));
    // A retry asks again: what was answered the first time stays.
    let retry = json!({
        "pipelineName": "site", "stageName": "Gate", "pipelineExecutionId": execution, "retryMode": "FAILED_ACTIONS",
    });
    world.ok(A, executions::retry_stage, retry);
    world.token(A, "site", &execution);
    // Those of one millisecond come in any order.
    let by = by_whom(&execution);
    assert!(by.len() == 2 && by.contains(&asked) && by.contains(&ada), "{by:?}");
}

#[test]
fn an_execution_that_is_not_there_is_told_by_its_pipeline() {
    let world = World::new();
    world.create(A, "site");
    let other = world.create(A, "docs");
    let get = |id: &str| json!({ "pipelineName": "site", "pipelineExecutionId": id });
    for id in [NOBODY, &other] {
        let expected = format!(
            "PipelineExecutionNotFoundException: The pipeline 'site' does not have an execution with ID '{id}'"
        );
        world.refused(A, executions::get, get(id), &expected);
    }
}

#[test]
fn what_an_action_tells_is_shown_in_the_state_and_the_history() {
    let world = World::new();
    let success = Success { told: told(), ..Success::default() };
    world.script.does("Make", Deed::Tell(Box::new(success)));
    world.create(A, "site");
    let shown = world.state(A, "site")["stageStates"][1]["actionStates"][0]["latestExecution"].clone();
    let result = world.action(A, "site", "Make")["output"]["executionResult"].clone();
    for (member, value) in [("ExecutionId", "job-7"), ("ExecutionUrl", "https://ci.example/7")] {
        assert_eq!(
            (&shown[format!("external{member}")], &result[format!("external{member}")]),
            (&json!(value), &json!(value))
        );
    }
    assert_eq!(
        (&shown["summary"], &result["externalExecutionSummary"]),
        (&json!("all is well"), &json!("all is well"))
    );
}
