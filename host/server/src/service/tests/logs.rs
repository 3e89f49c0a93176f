//! Logs, journals and recordings of action executions, and a log as it grows.

use std::io::Read as _;
use std::sync::Arc;

use futures::FutureExt as _;
use pipewright_sandbox::seam::{Level, Sink as _};
use serde_json::{Value, json};

use super::world::{A, Deed, World, context, text, words};
use crate::service::executions;
use crate::service::logs::{self, Named};

impl World {
    fn made(&self, execution: &str) -> Named {
        let is_it = |it: &Value| it["actionName"] == "Make" && it["pipelineExecutionId"] == *execution;
        let action = self.actions(A, "site").into_iter().find(is_it).unwrap();
        let action = text(&action["actionExecutionId"]);
        Named { pipeline: "site".to_owned(), execution: execution.to_owned(), action }
    }

    fn says(&self, named: &Named, line: &str) {
        let log = self.service.host.actions.logs.of(&named.execution, &named.action, "Build", "Make");
        log.log(Level::Info, line);
        log.flush();
    }
}

#[test]
fn a_log_is_found_by_its_pipeline_execution_and_action() {
    let world = World::new();
    let execution = world.create(A, "site");
    let named = world.made(&execution);
    world.says(&named, "hello");
    let mut log = world.run(logs::log(&world.service, &context(A), &named)).unwrap().unwrap();
    let mut said = String::new();
    assert_eq!(log.file.read_to_string(&mut said).unwrap() as u64, log.bytes);
    assert!(said.trim_end().ends_with("Info hello"), "{said}");
    // Nothing was called.
    let journal = world.run(logs::journal(&world.service, &context(A), &named)).unwrap();
    assert!(journal.is_none());
    let recording = world.run(logs::recording(&world.service, &context(A), &named)).unwrap_err();
    assert!(words(&recording).starts_with("ResourceNotFoundException: Nothing is kept of this action execution"));
}

#[test]
fn what_names_no_action_execution_has_no_log() {
    let world = World::new();
    let first = world.create(A, "site");
    let second = world.whole(A, "site");
    let named = world.made(&second);
    let said = |change: fn(&mut Named)| {
        let mut changed = named.clone();
        change(&mut changed);
        let all = [
            world.run(logs::log(&world.service, &context(A), &changed)).map(drop),
            world.run(logs::journal(&world.service, &context(A), &changed)).map(drop),
            world.run(logs::recording(&world.service, &context(A), &changed)).map(drop),
            world.run(logs::follow(&world.service, &context(A), &changed)).map(drop),
        ];
        let mut words: Vec<_> = all.into_iter().map(|answer| words(&answer.unwrap_err())).collect();
        words.dedup();
        assert_eq!(words.len(), 1, "{words:?}");
        words.remove(0)
    };
    assert_eq!(
        said(|it| it.pipeline = "docs".to_owned()),
        "PipelineNotFoundException: Account '000000000000' does not have a pipeline with name 'docs'"
    );
    assert_eq!(
        said(|it| it.execution = "x".to_owned()),
        "PipelineExecutionNotFoundException: The pipeline 'site' does not have an execution with ID 'x'"
    );
    for wrong in ["../../etc/passwd", "11111111-2222-3333-4444-555555555555"] {
        let mut changed = named.clone();
        changed.action = wrong.to_owned();
        let error = world.run(logs::log(&world.service, &context(A), &changed)).unwrap_err();
        let expected = format!("ResourceNotFoundException: The execution has no action execution with ID '{wrong}'");
        assert_eq!(words(&error), expected);
    }
    // An action execution of another execution of the same pipeline.
    let changed = Named { execution: first, ..named };
    assert!(world.run(logs::log(&world.service, &context(A), &changed)).is_err());
}

#[test]
fn a_log_is_followed_to_the_end_of_its_action() {
    let world = World::new();
    world.script.does("Make", Deed::Hang);
    let execution = world.create_running(A, "site");
    world.until(A, "site", |_| world.script.calls().len() == 2);
    let named = world.made(&execution);
    let mut following = world.run(logs::follow(&world.service, &context(A), &named)).unwrap();
    world.says(&named, "first");
    let line = world.run(following.line()).unwrap().unwrap();
    assert!(line.ends_with("Info first"), "{line}");
    // It waits for more, and is woken by it.
    assert!(world.run(async { following.line().now_or_never() }).is_none());
    let service = Arc::clone(&world.service);
    let log = service.host.actions.logs.of(&named.execution, &named.action, "Build", "Make");
    let line = world.run(async {
        let say = async {
            log.log(Level::Warn, "second\r");
            log.flush();
        };
        tokio::join!(following.line(), say).0
    });
    let line = line.unwrap().unwrap();
    assert!(line.ends_with("Warn second"), "{line:?}");
    let stop = json!({ "pipelineName": "site", "pipelineExecutionId": execution, "abandon": true });
    world.ok(A, executions::stop, stop);
    assert_eq!(world.run(following.line()), Ok(None));
}

#[test]
fn a_log_of_an_action_that_has_ended_is_all_there_at_once() {
    let world = World::new();
    let execution = world.create(A, "site");
    let named = world.made(&execution);
    for line in ["one", "two"] {
        world.says(&named, line);
    }
    let mut following = world.run(logs::follow(&world.service, &context(A), &named)).unwrap();
    let mut lines = Vec::new();
    while let Some(line) = world.run(following.line()).unwrap() {
        lines.push(line.rsplit(' ').next().unwrap().to_owned());
    }
    assert_eq!(lines, ["one", "two"]);
}
