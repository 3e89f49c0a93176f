//! The artifacts of an execution, and what is in them.

use super::world::{A, Deed, World, context, words};
use crate::service::artifacts::{self, Named};

fn named(execution: &str, artifact: &str) -> Named {
    Named { pipeline: "site".to_owned(), execution: execution.to_owned(), artifact: artifact.to_owned() }
}

#[test]
fn an_artifact_that_was_not_made_is_not_there() {
    let world = World::new();
    let execution = world.create(A, "site");
    let error = world.run(artifacts::get(&world.service, &context(A), &named(&execution, "Nothing"))).unwrap_err();
    assert_eq!(words(&error), "ResourceNotFoundException: The execution has made no artifact 'Nothing'");
    let error = world.run(artifacts::get(&world.service, &context(A), &named("x", "Site"))).unwrap_err();
    assert_eq!(
        words(&error),
        "PipelineExecutionNotFoundException: The pipeline 'site' does not have an execution with ID 'x'"
    );
}

#[test]
fn an_artifact_whose_manifest_is_gone_is_the_host_s_failure() {
    let world = World::new();
    world.script.does("Make", Deed::Tell(Box::default()));
    // The script names a digest, and nobody made the artifact.
    let execution = world.create(A, "site");
    let listed = world.run(artifacts::list(&world.service, &context(A), "site", &execution)).unwrap_err();
    assert!(words(&listed).starts_with("host: "), "{listed}");
}
