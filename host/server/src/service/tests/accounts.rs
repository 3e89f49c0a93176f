//! Accounts apart: whatever one asks for, it neither sees nor changes what is another's.

use pipewright_pipeline::machine::{Event, ExecutionState};
use serde_json::{Value, json};

use super::world::{A, B, C, Deed, UNREADABLE, World, context, gated, pipeline, words};
use crate::service::artifacts::Named;
use crate::service::{artifacts, events, executions, logs, pipelines, state, tags};

/// Everything that can be asked about one pipeline by its name, as another account's answer to it.
#[test]
fn another_account_s_pipeline_is_not_there() {
    let world = World::new();
    world.script.does("Ask", Deed::Ask("ship it?"));
    world.ok(B, pipelines::create, json!({ "pipeline": gated("site") }));
    let execution = world.newest(B, "site");
    let token = world.token(B, "site", &execution);
    let before = (world.state(B, "site"), world.actions(B, "site"));
    let missing = "PipelineNotFoundException: Account '000000000000' does not have a pipeline with name 'site'";
    let of = |more: Value| {
        let mut input = json!({ "pipelineName": "site", "pipelineExecutionId": execution, "stageName": "Gate" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    world.refused(A, pipelines::get, json!({ "name": "site" }), missing);
    world.refused(A, state::get, json!({ "name": "site" }), missing);
    world.refused(A, executions::start, json!({ "name": "site" }), missing);
    world.refused(A, executions::stop, of(json!({ "abandon": true })), missing);
    world.refused(A, executions::get, of(json!({})), missing);
    world.refused(A, executions::retry_stage, of(json!({ "retryMode": "ALL_ACTIONS" })), missing);
    world.refused(A, executions::rollback_stage, of(json!({ "targetPipelineExecutionId": execution })), missing);
    world.refused(A, executions::override_condition, of(json!({ "conditionType": "ON_SUCCESS" })), missing);
    let inbound = json!({ "transitionType": "Inbound", "reason": "no" });
    world.refused(A, state::disable_transition, of(inbound.clone()), missing);
    world.refused(A, state::enable_transition, of(inbound), missing);
    let result = json!({ "status": "Approved", "summary": "" });
    let answer = of(json!({ "actionName": "Ask", "token": token, "result": result }));
    world.refused(A, executions::put_approval_result, answer, missing);
    let revision = json!({ "revisionId": "r2", "revisionChangeId": "r2", "created": 1.5 });
    let revised = of(json!({ "stageName": "Source", "actionName": "Source", "actionRevision": revision }));
    world.refused(A, executions::put_action_revision, revised, missing);
    assert_eq!(world.ok(A, pipelines::delete, json!({ "name": "site" })), Value::Null);
    assert_eq!(world.ok(A, pipelines::list, json!({}))["pipelines"], json!([]));
    let plain = [
        world.run(artifacts::list(&world.service, &context(A), "site", &execution)).map(drop),
        world.run(events::of_pipeline(&world.service, &context(A), "site", events::From::Start)).map(drop),
    ];
    for answer in plain {
        assert_eq!(words(&answer.unwrap_err()), missing);
    }
    assert_eq!((world.state(B, "site"), world.actions(B, "site")), before);
}

#[test]
fn the_same_name_in_two_accounts_is_two_pipelines() {
    let world = World::new();
    let (a, b) = (world.create(A, "site"), world.create(B, "site"));
    let ids = |account| {
        let listed = world.ok(account, executions::list, json!({ "pipelineName": "site" }));
        let rows = listed["pipelineExecutionSummaries"].as_array().unwrap().clone();
        rows.iter().map(|row| row["pipelineExecutionId"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!((ids(A), ids(B)), (vec![a.clone()], vec![b.clone()]));
    let named = |execution: &str| logs::Named {
        pipeline: "site".to_owned(),
        execution: execution.to_owned(),
        action: world.actions(B, "site")[0]["actionExecutionId"].as_str().unwrap().to_owned(),
    };
    // An id that is good in one account is none in the other, even under the same names.
    let other = world.run(logs::log(&world.service, &context(A), &named(&b))).unwrap_err();
    assert_eq!(
        words(&other),
        format!("PipelineExecutionNotFoundException: The pipeline 'site' does not have an execution with ID '{b}'")
    );
    let other = world.run(logs::log(&world.service, &context(A), &named(&a))).unwrap_err();
    let action = named(&a).action;
    let expected = format!("ResourceNotFoundException: The execution has no action execution with ID '{action}'");
    assert_eq!(words(&other), expected);
    let artifact = Named { pipeline: "site".to_owned(), execution: b.clone(), artifact: "Site".to_owned() };
    assert!(world.run(artifacts::get(&world.service, &context(A), &artifact)).is_err());
    world.ok(A, pipelines::delete, json!({ "name": "site" }));
    assert_eq!(ids(B), [b]);
}

#[test]
fn the_events_of_an_account_are_its_own() {
    let world = World::new();
    world.create(A, "mine");
    world.create(B, "theirs");
    let seen = |account, from: events::From<'_>| {
        let mut seen = Vec::new();
        let mut feed = world.run(events::of_account(&world.service, &context(account), from)).unwrap();
        while let Some(told) = world.run(async { futures::FutureExt::now_or_never(feed.event()) }) {
            seen.push(told.unwrap().unwrap());
        }
        seen
    };
    let of = |account| seen(account, events::From::Start);
    // With another's cursor, too.
    let cursors = [A, B].map(|account| of(account)[0].cursor.clone());
    for (account, name, cursor) in [(A, "mine", &cursors[1]), (B, "theirs", &cursors[0])] {
        let events = [of(account), seen(account, events::From::Cursor(cursor))];
        for told in events.iter().inspect(|events| assert!(!events.is_empty())).flatten() {
            assert_eq!(told.event["account"], format!("{account:012}"));
            assert_eq!(told.event["detail"]["pipeline"], name);
        }
    }
    assert!(of(C).is_empty());
}

#[test]
fn what_is_done_is_done_in_the_name_of_who_asked() {
    let world = World::new();
    world.ok(C, pipelines::create, json!({ "pipeline": pipeline("site") }));
    let execution = world.newest(C, "site");
    world.ended(C, "site", &execution);
    world.script.does("Make", Deed::Hang);
    let stopped = world.start(C, "site");
    world.ok(C, executions::stop, json!({ "pipelineName": "site", "pipelineExecutionId": stopped, "abandon": true }));
    let inbound = json!({ "pipelineName": "site", "stageName": "Build", "transitionType": "Inbound", "reason": "no" });
    world.ok(C, state::disable_transition, inbound);
    let principal = "arn:aws:iam::222222222222:user/ada";
    let listed = world.ok(C, executions::list, json!({ "pipelineName": "site" }));
    assert_eq!(listed["pipelineExecutionSummaries"][0]["trigger"]["triggerDetail"], principal);
    let transition = world.state(C, "site")["stageStates"][1]["inboundTransitionState"].clone();
    assert_eq!(transition["lastChangedBy"], principal);
    let history = world.run(world.service.host.driver.history(world.aggregate(C, "site"), 1, 1000)).unwrap();
    let is_stop = |event: &Event| matches!(event, Event::Execution(event) if event.state == ExecutionState::Stopped);
    let stop = history.iter().find(|entry| entry.events.iter().any(is_stop)).unwrap();
    assert_eq!(stop.cause.as_ref().unwrap().principal.to_string(), principal);
    let arn = "arn:aws:codepipeline:us-east-1:222222222222:site";
    assert_eq!(world.ok(C, tags::list, json!({ "resourceArn": arn }))["tags"], json!([]));
}

/// Where something lies on the host is for the account of those who run it (S124).
#[test]
fn another_account_is_told_no_place_of_the_host() {
    let world = World::new();
    let refused = |account, expected: &str| {
        let create = json!({ "pipeline": pipeline(UNREADABLE) });
        world.ok(account, pipelines::create, create);
        let error = world.ask(account, executions::start, json!({ "name": UNREADABLE })).unwrap_err();
        assert!(words(&error).starts_with(expected), "{}", words(&error));
    };
    refused(A, "ValidationException: no execution can start: /of/the/host/grants.toml: cannot be read: No such file");
    refused(
        B,
        "ValidationException: no execution can start: the grants of the pipeline cannot be read; those who run the host find the \
         reason in its log",
    );
    std::fs::write(world.secret_keys(), "no key").unwrap();
    let (of_host, told) = (world.put_secret(A, "db", "value").unwrap_err(), world.put_secret(B, "db", "value"));
    assert!(of_host.contains(&world.secret_keys().display().to_string()), "{of_host}");
    assert!(told.as_ref().is_err_and(|told| told.starts_with("host: ")), "a client hears nothing of it: {told:?}");
}
