//! What is refused is told by its class, and has changed nothing.

use pipewright_store::Aggregate;
use serde_json::{Value, json};

use super::world::{A, Deed, World, gated, words};
use super::{builds, executions::answer};
use crate::config::Quotas;
use crate::service::{ServiceError, executions, pipelines, projects, state, tags, webhooks};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

impl World {
    /// Everything that is kept, each by the number of its last commit.
    fn commits(&self) -> Vec<(Aggregate, u64)> {
        let store = &self.service.exported.store;
        self.run(async {
            let mut kept = Vec::new();
            for aggregate in store.aggregates(None, 100).await.unwrap() {
                kept.push((aggregate, store.load(aggregate).await.unwrap().sequence));
            }
            kept
        })
    }
}

#[test]
fn a_refused_input_has_changed_nothing() {
    let world = World::with(Quotas { pipelines: 1, ..Quotas::default() });
    world.script.does("Ask", Deed::Ask("ship it?"));
    world.ok(A, pipelines::create, json!({ "pipeline": gated("site") }));
    let execution = world.newest(A, "site");
    world.token(A, "site", &execution);
    world.ok(A, projects::create, builds::project("app"));
    let before = world.commits();
    let check = |class: &str, asked: Result<Value, ServiceError>| {
        let told = words(&asked.expect_err(class));
        assert!(told.starts_with(&format!("{class}: ")), "{class}: {told}");
        assert_eq!(world.commits(), before, "{told}");
    };
    let of = |more: Value| {
        let mut input = json!({ "pipelineName": "site", "pipelineExecutionId": execution, "stageName": "Gate" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let without = |member: &str| {
        let mut declared = gated("site");
        declared[member] = json!([]);
        json!({ "pipeline": declared })
    };
    check("InvalidStructureException", world.ask(A, pipelines::create, without("stages")));
    check("limit", world.ask(A, pipelines::create, json!({ "pipeline": gated("docs") })));
    check("InvalidStructureException", world.ask(A, pipelines::update, without("stages")));
    check("ResourceNotFoundException", world.ask(A, pipelines::update, json!({ "pipeline": gated("docs") })));
    check("PipelineNotFoundException", world.ask(A, executions::start, json!({ "name": "docs" })));
    let stop = of(json!({ "pipelineExecutionId": NOBODY }));
    check("PipelineExecutionNotStoppableException", world.ask(A, executions::stop, stop));
    let retry = of(json!({ "retryMode": "ALL_ACTIONS" }));
    check("StageNotRetryableException", world.ask(A, executions::retry_stage, retry));
    let back = of(json!({ "targetPipelineExecutionId": execution }));
    check("UnableToRollbackStageException", world.ask(A, executions::rollback_stage, back));
    let which = of(json!({ "conditionType": "ON_SUCCESS" }));
    check("ConditionNotOverridableException", world.ask(A, executions::override_condition, which));
    let wrong = answer("Ask", NOBODY, "Approved");
    check("InvalidApprovalTokenException", world.ask(A, executions::put_approval_result, wrong));
    let nowhere = of(json!({ "stageName": "Nowhere", "transitionType": "Inbound", "reason": "no" }));
    check("StageNotFoundException", world.ask(A, state::disable_transition, nowhere.clone()));
    check("StageNotFoundException", world.ask(A, state::enable_transition, nowhere));
    let tag = |key: &str, name: &str| {
        let arn = format!("arn:aws:codepipeline:us-east-1:000000000000:{name}");
        world.ask(A, tags::tag, json!({ "resourceArn": arn, "tags": [{ "key": key, "value": "v" }] }))
    };
    check("InvalidTagsException", tag("aws:k", "site"));
    check("ResourceNotFoundException", tag("k", "docs"));
    let webhook = json!({ "webhook": {
        "name": "hook", "targetPipeline": "docs", "targetAction": "Source", "authentication": "UNAUTHENTICATED",
        "authenticationConfiguration": {}, "filters": [{ "jsonPath": "$.ref" }],
    } });
    check("PipelineNotFoundException", world.ask(A, webhooks::put, webhook));
    check("ResourceAlreadyExistsException", world.ask(A, projects::create, builds::project("app")));
    check("ResourceNotFoundException", world.ask(A, crate::service::builds::start, json!({ "projectName": "none" })));
}
