//! Rules of stage conditions as the driver runs them: awaited, timed out, run again after a death of the host, and stopped, like
//! actions.

use std::sync::Arc;

use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{ActionHappening, ConditionStatus, Event, ExecutionState, InputKind};
use serde_json::json;

use super::tests::{Deed, Host, Script, pipeline, store};

const MINUTE: u64 = 60 * 1000;

/// The pipeline of the other tests without its approval, and with a rule `Window` at the entry of its stage `Build`.
fn gated() -> Arc<PipelineDeclaration> {
    let mut declaration = serde_json::to_value(&*pipeline("p")).unwrap();
    declaration["stages"].as_array_mut().unwrap().pop();
    let window = json!({ "name": "Window", "ruleTypeId": { "category": "Rule", "provider": "DeploymentWindow" } });
    declaration["stages"][1]["beforeEntry"] = json!({ "conditions": [{ "result": "FAIL", "rules": [window] }] });
    Arc::new(serde_json::from_value(declaration).unwrap())
}

fn is_waiting(event: &Event) -> Option<()> {
    matches!(event, Event::Rule(rule) if matches!(rule.what, ActionHappening::Waiting(_))).then_some(())
}

fn ended(event: &Event) -> Option<ConditionStatus> {
    match event {
        Event::Condition(condition) if condition.status != ConditionStatus::InProgress => Some(condition.status),
        _ => None,
    }
}

#[test]
fn a_rule_that_waits_for_a_time_goes_on_then() {
    let host = Host::start(&store(), Script::new(&[("Window", Deed::Sleep(10 * MINUTE))]));
    let pipeline = host.create_of(gated());
    host.begin(pipeline);
    host.until(pipeline, is_waiting);
    assert_eq!(host.script.calls(), ["Source 1/1", "Window 1/1"]);
    host.pass(10 * MINUTE);
    assert_eq!(host.end(pipeline), ExecutionState::Succeeded);
    assert_eq!(host.until(pipeline, ended), ConditionStatus::Succeeded);
    assert_eq!(host.script.calls(), ["Source 1/1", "Window 1/1", "Window 2/1", "Build 1/1"]);
}

#[test]
fn a_rule_that_does_not_end_in_its_time_is_an_error_of_its_condition() {
    let host = Host::start(&store(), Script::new(&[("Window", Deed::Hang)]));
    let pipeline = host.create_of(gated());
    host.begin(pipeline);
    host.until_called("Window", 1);
    host.pass(60 * MINUTE);
    assert_eq!(host.end(pipeline), ExecutionState::Failed);
    assert_eq!(host.until(pipeline, ended), ConditionStatus::Errored);
    let message = host.until(pipeline, |event| match event {
        Event::Rule(rule) => match &rule.what {
            ActionHappening::Failed { error, .. } => Some(error.message.clone()),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(message, "The rule did not end within its timeout of 60 minutes");
}

#[test]
fn a_rule_that_ran_when_the_host_died_runs_again() {
    let store = store();
    let host = Host::start(&store, Script::new(&[("Window", Deed::Hang)]));
    let pipeline = host.create_of(gated());
    host.begin(pipeline);
    host.until_called("Window", 1);
    let mut script = host.die();
    script.deeds.clear();
    let host = Host::start_after(&store, script, true);
    assert_eq!(host.end(pipeline), ExecutionState::Succeeded);
    assert_eq!(host.script.calls(), ["Source 1/1", "Window 1/1", "Window 1/2", "Build 1/1"]);
    let keys = host.script.keys("Window");
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn a_rule_of_an_execution_that_is_abandoned_is_stopped() {
    let host = Host::start(&store(), Script::new(&[("Window", Deed::Hang)]));
    let pipeline = host.create_of(gated());
    let execution = host.begin(pipeline);
    host.until_called("Window", 1);
    host.submit(pipeline, InputKind::Stop { execution, abandon: true, reason: None, by: None }).unwrap();
    assert_eq!(host.end(pipeline), ExecutionState::Stopped);
    let is_abandoned =
        |event: &Event| matches!(event, Event::Rule(rule) if rule.what == ActionHappening::Abandoned).then_some(());
    host.until(pipeline, is_abandoned);
    assert_eq!(host.script.calls(), ["Source 1/1", "Window 1/1"]);
}
