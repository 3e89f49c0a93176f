//! A stage that failed is rolled back: the driver brings the execution that it goes back to, which has long ended.

use std::sync::Arc;

use pipewright_pipeline::declaration::{ConditionResult, FailureConditions};
use pipewright_pipeline::machine::{
    ActionStatus, Event, ExecutionId, ExecutionState, ExecutionType, InputKind, TriggerType,
};
use pipewright_store::Aggregate;

use super::tests::{Deed, Host, Script, pipeline, store};

fn reaches(host: &Host, pipeline: Aggregate, state: ExecutionState, trigger: TriggerType) -> ExecutionId {
    host.until(pipeline, |event| match event {
        Event::Execution(event) => (event.state == state && event.trigger.kind == trigger).then_some(event.execution),
        _ => None,
    })
}

#[test]
fn a_stage_that_failed_is_rolled_back_to_an_execution_that_has_ended() {
    let store = store();
    let host = Host::start(&store, Script::new(&[]));
    let p = host.create("p");
    let mut declaration = pipeline("p");
    Arc::make_mut(&mut declaration).stages[1].on_failure = Some(FailureConditions {
        result: Some(ConditionResult::Rollback),
        retry_configuration: None,
        conditions: None,
    });
    host.submit(p, InputKind::Update { declaration }).unwrap();
    let first = host.begin(p);
    assert_eq!(reaches(&host, p, ExecutionState::Succeeded, TriggerType::StartPipelineExecution), first);
    host.die();

    let host = Host::start(&store, Script::new(&[("Build", Deed::Fail)]));
    let second = host.begin(p);
    assert_eq!(reaches(&host, p, ExecutionState::Failed, TriggerType::StartPipelineExecution), second);
    // It fails as well, and is not rolled back in turn.
    let rollback = reaches(&host, p, ExecutionState::Failed, TriggerType::AutomatedRollback);
    let archived = host.runtime.block_on(host.driver.archived(p, rollback)).unwrap().expect("it is kept");
    assert_eq!(archived.start.execution_type, ExecutionType::Rollback { target: first });
    let runs: Vec<_> = archived.actions().map(|(at, run)| (at.stage, run.status)).collect();
    assert_eq!(runs, [(0, ActionStatus::Succeeded), (1, ActionStatus::Failed)]);
    assert!(host.runtime.block_on(host.driver.state(p)).unwrap().executions.is_empty());
}
