//! What a look at a source starts, and PutActionRevision: one execution for each new revision, and none for what was seen.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use pipewright_base::Source;
use pipewright_base::clock::{Simulated, settle};
use pipewright_pipeline::machine::Success;
use serde_json::{Value, json};

use super::catalogue;
use super::connections::put;
use super::world::{A, Deed, World, pipeline, revision, text};
use crate::config::Quotas;
use crate::service::{Context, EQUAL_ONES_COME_WITHIN, executions, pipelines};

impl World {
    /// A look at the source of a pipeline finds `found`; gives the execution that it started and whose end was waited for.
    fn look(&self, name: &str, action: &str, found: &str) -> Option<String> {
        let (context, pipeline) = (Context::of_host("poller", Source::Poller, A), self.aggregate(A, name));
        let started = self.run(executions::seen(&self.service, &context, pipeline, action, found)).unwrap();
        started.map(|execution| execution.to_string())
    }

    /// Somebody tells of a revision; gives whether it was new, and an execution.
    fn told(&self, revision: &str) -> (bool, String) {
        let answered = self.ok(A, executions::put_action_revision, revised("Source", "Source", revision));
        (answered["newRevision"].as_bool().unwrap(), text(&answered["pipelineExecutionId"]))
    }

    fn pushed(&self, id: &str) {
        let success = Success { revision: Some(revision(id)), ..Success::default() };
        self.script.does("Source", Deed::Tell(Box::new(success)));
    }
}

fn revised(stage: &str, action: &str, id: &str) -> Value {
    let revision = json!({ "revisionId": id, "revisionChangeId": "push", "created": 1_795_342_830.5 });
    json!({ "pipelineName": "site", "stageName": stage, "actionName": action, "actionRevision": revision })
}

#[test]
fn a_revision_that_is_told_starts_one_execution() {
    let world = World::new();
    let first = world.create(A, "site");
    // The first execution fetched it by itself.
    assert_eq!(world.told("r1"), (false, first));
    world.pushed("r2");
    let (is_new, started) = world.told("r2");
    assert!(is_new);
    world.ended(A, "site", &started);
    let input = json!({ "pipelineName": "site", "pipelineExecutionId": started });
    let execution = world.ok(A, executions::get, input)["pipelineExecution"].clone();
    let trigger = json!({ "triggerType": "PutActionRevision", "triggerDetail": "arn:aws:iam::000000000000:user/ada" });
    assert_eq!(execution["trigger"], trigger);
    assert_eq!(execution["artifactRevisions"][0]["revisionId"], "r2");
    // Nor does it start another one for who looks by himself.
    assert_eq!(world.told("r2"), (false, started));
    assert_eq!(world.look("site", "Source", "r2"), None);
    world.pushed("r3");
    let looked = world.look("site", "Source", "r3").unwrap();
    assert_eq!(world.told("r3"), (false, looked.clone()));
    world.ended(A, "site", &looked);
}

/// It is told once: what is being fetched may be what was there before.
#[test]
fn a_revision_that_is_told_while_its_source_is_fetched_is_not_lost() {
    let world = World::new();
    world.script.does("Source", Deed::Hang);
    let first = world.create_running(A, "site");
    world.until(A, "site", |_| !world.script.calls().is_empty());
    let (is_new, second) = world.told("r1");
    assert!(is_new && second != first);
    assert_eq!(world.told("r1"), (false, first));
}

#[test]
fn a_revision_is_one_of_a_source_action() {
    let world = World::new();
    world.create(A, "site");
    let refused = |stage: &str, action: &str, expected: &str| {
        world.refused(A, executions::put_action_revision, revised(stage, action, "r2"), expected);
    };
    refused(
        "Nowhere",
        "Source",
        "StageNotFoundException: The pipeline 'site' does not have a stage with name 'Nowhere'",
    );
    refused(
        "Source",
        "Make",
        "ActionNotFoundException: The stage 'Source' of pipeline 'site' does not have an action with name 'Make'",
    );
    refused(
        "Build",
        "Make",
        "ValidationException: The action 'Make' of stage 'Build' is no source action: only those have revisions that start an \
         execution",
    );
}

#[test]
fn a_revision_that_is_told_again_with_its_signature_starts_nothing() {
    let clock = Simulated::new(1_000_000);
    let world = World::on(Quotas::default(), Arc::new(clock.clone()));
    world.create(A, "site");
    let tell = |signature: &str, id: &str| {
        world.pushed(id);
        let told = world.signed(signature, executions::put_action_revision, revised("Source", "Source", id));
        let execution = text(&told["pipelineExecutionId"]);
        world.ended(A, "site", &execution);
        execution
    };
    let captured = tell("aa", "r2");
    assert_ne!(tell("bb", "r3"), captured);
    world.run(clock.advance(EQUAL_ONES_COME_WITHIN));
    // It is news again by now, but not by the request that told of it before.
    assert_eq!(tell("aa", "r2"), captured);
    assert_ne!(tell("cc", "r2"), captured);
}

#[test]
fn a_new_revision_starts_one_execution() {
    let world = World::new();
    world.create(A, "site");
    // The first execution fetched it by itself.
    assert_eq!(world.look("site", "Source", "r1"), None);
    world.pushed("r2");
    let started = world.look("site", "Source", "r2").unwrap();
    world.ended(A, "site", &started);
    let input = json!({ "pipelineName": "site", "pipelineExecutionId": started });
    let execution = world.ok(A, executions::get, input)["pipelineExecution"].clone();
    assert_eq!(execution["trigger"], json!({ "triggerType": "PollForSourceChanges", "triggerDetail": "Source" }));
    assert_eq!(execution["artifactRevisions"][0]["revisionId"], "r2");
    for _ in 0..3 {
        assert_eq!(world.look("site", "Source", "r2"), None);
    }
    // A push that takes back what was is news as well.
    world.pushed("r1");
    assert!(world.look("site", "Source", "r1").is_some());
}

#[test]
fn while_a_source_is_fetched_nothing_is_known_of_it() {
    let world = World::new();
    world.script.does("Source", Deed::Hang);
    world.create_running(A, "site");
    world.until(A, "site", |_| !world.script.calls().is_empty());
    assert_eq!(world.look("site", "Source", "r1"), None);
    // Not even that it was seen: once the execution is stopped, the same revision starts one.
    let running = world.newest(A, "site");
    let stop = json!({ "pipelineName": "site", "pipelineExecutionId": running, "abandon": true });
    world.ok(A, executions::stop, stop);
    world.ended(A, "site", &running);
    world.script.succeeds("Source");
    assert!(world.look("site", "Source", "r1").is_some());
}

#[test]
fn a_source_that_failed_is_fetched_again() {
    let world = World::new();
    world.script.does("Source", Deed::Fail("no route"));
    world.create(A, "site");
    world.script.succeeds("Source");
    let started = world.look("site", "Source", "r1").unwrap();
    world.ended(A, "site", &started);
    assert_eq!(world.status(A, "site", &started), "Succeeded");
}

#[test]
fn what_is_not_declared_any_more_starts_nothing() {
    let world = World::new();
    world.create(A, "site");
    assert_eq!(world.look("site", "Other", "r2"), None);
    let pipeline_id = world.aggregate(A, "site");
    world.ok(A, pipelines::delete, json!({ "name": "site" }));
    let context = Context::of_host("poller", Source::Poller, A);
    let late = world.run(executions::seen(&world.service, &context, pipeline_id, "Source", "r2"));
    assert_eq!(late, Ok(None));
}

#[test]
fn the_pipelines_that_are_looked_at_are_those_whose_sources_say_so() {
    let world = World::new();
    world.create(A, "polled");
    let mut declared = pipeline("pushed");
    declared["stages"][0]["actions"][0]["configuration"]["PollForSourceChanges"] = json!("false");
    world.ok(A, pipelines::create, json!({ "pipeline": declared }));
    let polled = || world.run(world.service.host.driver.polled(A)).unwrap();
    assert_eq!(polled(), [world.aggregate(A, "polled")]);
    let mut changed = pipeline("pushed");
    changed["stages"][0]["actions"][0]["configuration"]["PollForSourceChanges"] = json!("true");
    let updated = world.ok(A, pipelines::update, json!({ "pipeline": changed }));
    assert_eq!(text(&updated["pipeline"]["name"]), "pushed");
    assert_eq!(polled().len(), 2);
    world.ok(A, pipelines::delete, json!({ "name": "polled" }));
    assert_eq!(polled(), [world.aggregate(A, "pushed")]);
}

/// What starts a pipeline by a trigger tells of itself.
#[test]
fn a_source_that_a_trigger_names_is_not_looked_at() {
    let world = World::new();
    world.ok(A, pipelines::create, json!({ "pipeline": connected("site", json!({})) }));
    let polled = || world.run(world.service.host.driver.polled(A)).unwrap();
    assert_eq!(polled(), [world.aggregate(A, "site")]);
    let mut triggered = connected("site", json!({}));
    let push = json!([{ "branches": { "includes": ["main"] } }]);
    let git = json!({ "sourceActionName": "Source", "push": push });
    triggered["triggers"] = json!([{ "providerType": "CodeStarSourceConnection", "gitConfiguration": git }]);
    world.ok(A, pipelines::update, json!({ "pipeline": triggered }));
    assert_eq!(polled(), []);
}

/// A pipeline whose source is a repository of the connection `hub`.
fn connected(name: &str, more: Value) -> Value {
    let mut declared = pipeline(name);
    declared["pipelineType"] = json!("V2");
    let source = &mut declared["stages"][0]["actions"][0];
    source["actionTypeId"] =
        json!({ "category": "Source", "owner": "AWS", "provider": "CodeStarSourceConnection", "version": "1" });
    source["configuration"] = json!({
        "ConnectionArn": "arn:aws:codeconnections:us-east-1:000000000000:connection/hub",
        "FullRepositoryId": "team/site", "BranchName": "main",
    });
    source["configuration"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    declared
}

/// Its host could tell of pushes only with a secret by which it proves itself.
#[test]
fn a_source_of_which_nobody_tells_is_looked_at() {
    let mut world = World::on(Quotas::default(), Arc::new(Simulated::new(1_795_342_830_000)));
    world.service.host.actions.plugins.know_installed(A, catalogue::connected()).unwrap();
    let hub = |more: Value| {
        let mut hub = json!({ "kind": "github" });
        hub.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        hub
    };
    let told = hub(json!({ "webhook_secret": { "env": "NOBODY_READS_IT" } }));
    for (name, more) in [("told", json!({})), ("silent", json!({ "DetectChanges": "false" }))] {
        world.ok(A, pipelines::create, json!({ "pipeline": connected(name, more) }));
    }
    world.start_poller();
    let looks_at = |wanted: u64| {
        let sources = &world.service.changes.counts.sources;
        world.run(async {
            while sources.load(Ordering::Relaxed) != wanted {
                tokio::task::yield_now().await;
            }
            // Nor does what was told last change it.
            settle().await;
        });
        assert_eq!(sources.load(Ordering::Relaxed), wanted);
    };
    looks_at(0);
    put(&world, A, "hub", hub(json!({}))).unwrap();
    looks_at(1);
    put(&world, A, "hub", told).unwrap();
    looks_at(0);
    put(&world, A, "hub", hub(json!({}))).unwrap();
    looks_at(1);
    world.ok(A, pipelines::delete, json!({ "name": "told" }));
    looks_at(0);
}

#[test]
fn a_new_pipeline_starts_once_however_many_of_its_sources_are_looked_at() {
    let world = World::new();
    let mut declared = pipeline("site");
    let mut other = declared["stages"][0]["actions"][0].clone();
    (other["name"], other["outputArtifacts"]) = (json!("Source2"), json!([{ "name": "More" }]));
    declared["stages"][0]["actions"].as_array_mut().unwrap().push(other);
    world.ok(A, pipelines::create, json!({ "pipeline": declared }));
    let first = world.newest(A, "site");
    world.ended(A, "site", &first);
    for source in ["Source", "Source2"] {
        assert_eq!(world.look("site", source, "r1"), None);
    }
    let listed = world.ok(A, executions::list, json!({ "pipelineName": "site" }));
    let listed = listed["pipelineExecutionSummaries"].as_array().unwrap();
    let triggers: Vec<_> = listed.iter().map(|it| text(&it["trigger"]["triggerType"])).collect();
    assert_eq!(triggers, ["CreatePipeline"]);
}
