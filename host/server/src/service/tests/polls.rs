//! What a look at a source starts: one execution for each new revision, and none for what was seen.

use pipewright_base::Source;
use pipewright_pipeline::machine::Success;
use serde_json::json;

use super::world::{A, Deed, World, pipeline, revision, text};
use crate::service::{Context, executions, pipelines};

impl World {
    /// A look at the source of a pipeline finds `found`; gives the execution that it started and whose end was waited for.
    fn look(&self, name: &str, action: &str, found: &str) -> Option<String> {
        let (context, pipeline) = (Context::of_host("poller", Source::Poller, A), self.aggregate(A, name));
        let started = self.run(executions::seen(&self.service, &context, pipeline, action, found)).unwrap();
        started.map(|execution| execution.to_string())
    }

    fn pushed(&self, id: &str) {
        let success = Success { revision: Some(revision(id)), ..Success::default() };
        self.script.does("Source", Deed::Tell(Box::new(success)));
    }
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
