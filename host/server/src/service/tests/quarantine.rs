//! A pipeline that stopped by itself: who asks is told why and what to do, and it is loaded again.

use pipewright_store::Commit;
use serde_json::{Value, json};

use super::world::{A, B, World, context, pipeline, words};
use crate::service::{actions, executions, host, pipelines, quarantine, rules, state, tags};

const WHY: &str = "two hosts write one store";

impl World {
    /// Writes to a pipeline as another host would, which stops it at its next commit.
    fn disturb(&self, name: &str) {
        let (store, aggregate) = (&self.service.exported.store, self.aggregate(A, name));
        self.run(async {
            let expected = store.load(aggregate).await.unwrap().sequence;
            let (puts, events, index) = (Vec::new(), Vec::new(), Vec::new());
            let commit = Commit { aggregate, expected, puts, events, index, fence: None };
            store.commit(commit).await.unwrap();
        });
    }

    fn quarantined(&self, account: u64) -> Value {
        serde_json::to_value(self.run(quarantine::list(&self.service, &context(account))).unwrap()).unwrap()
    }

    fn reload(&self, account: u64, name: &str) -> Result<(), String> {
        self.run(quarantine::reload(&self.service, &context(account), name)).map_err(|error| words(&error))
    }
}

#[test]
fn a_quarantined_pipeline_is_told_loaded_again_and_in_nobody_s_way() {
    let world = World::new();
    world.create(A, "site");
    world.create(A, "docs");
    assert_eq!(world.quarantined(A), json!({ "pipelines": [] }));
    world.disturb("site");
    for _ in 0..2 {
        let error = world.ask(A, executions::start, json!({ "name": "site" })).unwrap_err();
        let told = words(&error);
        assert!(told.starts_with("ValidationException: the pipeline is quarantined: "), "{told}");
        assert!(told.contains(WHY) && told.contains("`pipewright reload`"), "{told}");
    }
    let (_, _, quarantined) = host::counts(&world.service);
    assert_eq!(quarantined, 1, "whoever watches the host need not ask for each account");
    let listed = world.quarantined(A);
    assert_eq!(listed["pipelines"][0]["name"], "site");
    assert!(listed["pipelines"][0]["reason"].as_str().unwrap().contains(WHY), "{listed}");
    assert_eq!(listed["pipelines"].as_array().unwrap().len(), 1);
    world.whole(A, "docs");
    // It is in the list of pipelines, and another account knows nothing of it.
    assert_eq!(world.ok(A, pipelines::list, json!({}))["pipelines"].as_array().unwrap().len(), 2);
    assert_eq!(world.quarantined(B), json!({ "pipelines": [] }));
    let missing = "PipelineNotFoundException: Account '111111111111' does not have a pipeline with name 'site'";
    assert_eq!(world.reload(B, "site"), Err(missing.to_owned()));

    assert_eq!(world.reload(A, "site"), Ok(()));
    assert_eq!(world.quarantined(A), json!({ "pipelines": [] }));
    world.whole(A, "site");
    assert_eq!(world.reload(A, "site"), Ok(()), "of one that goes on nothing changes");
}

#[test]
fn every_operation_on_a_quarantined_pipeline_says_why_and_what_mends_it() {
    let world = World::new();
    let execution = world.create(A, "site");
    world.disturb("site");
    let of = |more: Value| {
        let mut input = json!({ "pipelineName": "site", "pipelineExecutionId": execution, "stageName": "Build" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let transition = || of(json!({ "transitionType": "Inbound", "reason": "no" }));
    let result = json!({ "status": "Approved", "summary": "" });
    let answer = of(json!({ "actionName": "Make", "token": execution, "result": result }));
    let revision = json!({ "revisionId": "r2", "revisionChangeId": "r2", "created": 1.5 });
    let revised = of(json!({ "stageName": "Source", "actionName": "Source", "actionRevision": revision }));
    let listed = || json!({ "pipelineName": "site" });
    let tagged = |more: Value| {
        let mut input = json!({ "resourceArn": "arn:aws:codepipeline:us-east-1:000000000000:site" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let asked = [
        world.ask(A, executions::start, json!({ "name": "site" })),
        world.ask(A, executions::stop, of(json!({ "abandon": true }))),
        world.ask(A, executions::get, of(json!({}))),
        world.ask(A, executions::list, listed()),
        world.ask(A, executions::retry_stage, of(json!({ "retryMode": "ALL_ACTIONS" }))),
        world.ask(A, executions::rollback_stage, of(json!({ "targetPipelineExecutionId": execution }))),
        world.ask(A, executions::override_condition, of(json!({ "conditionType": "ON_SUCCESS" }))),
        world.ask(A, executions::put_approval_result, answer),
        world.ask(A, executions::put_action_revision, revised),
        world.ask(A, pipelines::get, json!({ "name": "site" })),
        world.ask(A, pipelines::update, json!({ "pipeline": pipeline("site") })),
        world.ask(A, state::get, json!({ "name": "site" })),
        world.ask(A, state::disable_transition, transition()),
        world.ask(A, state::enable_transition, transition()),
        world.ask(A, actions::list, listed()),
        world.ask(A, rules::list_executions, listed()),
        world.ask(A, tags::list, tagged(json!({}))),
        world.ask(A, tags::tag, tagged(json!({ "tags": [{ "key": "k", "value": "v" }] }))),
        world.ask(A, tags::untag, tagged(json!({ "tagKeys": ["k"] }))),
    ];
    for (number, answer) in asked.into_iter().enumerate() {
        let told = answer.map_err(|error| words(&error)).unwrap_err();
        assert!(told.contains(WHY) && told.contains("`pipewright reload`"), "{number}: {told}");
    }
}

#[test]
fn a_quarantined_pipeline_can_be_deleted() {
    let world = World::new();
    world.create(A, "site");
    world.disturb("site");
    assert!(world.ask(A, executions::start, json!({ "name": "site" })).is_err());
    world.ok(A, pipelines::delete, json!({ "name": "site" }));
    assert_eq!(world.ok(A, pipelines::list, json!({}))["pipelines"], json!([]));
    world.create(A, "site");
}
