//! PollForJobs and what follows, and the artifacts of jobs.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join3;
use pipewright_artifacts::files::{Entry, Node, Tree, ZipOfTree};
use pipewright_base::clock::Simulated;
use pipewright_pipeline::machine::{JobStatus, State};
use serde_json::{Value, json};

use super::world::{A, Deed, Given, World, context, pipeline, text};
use crate::config::Quotas;
use crate::service::job_artifacts::{self, Part, Session, UploadError};
use crate::service::{ServiceError, artifacts, custom_types, executions, jobs, pipelines, workers};

const NOW: u64 = 1_795_342_830_000;
/// A zip file with nothing in it.
const EMPTY: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn create_type(world: &World) {
    let count = json!({ "minimumCount": 0, "maximumCount": 5 });
    let made = json!({
        "category": "Build", "provider": "Maker", "version": "1",
        "inputArtifactDetails": count, "outputArtifactDetails": count,
    });
    world.ok(A, custom_types::create, made);
    world.script.does("Make", Deed::Queue);
}

/// A pipeline whose action `Make` waits for a worker.
fn declared(name: &str) -> Value {
    let mut declaration = pipeline(name);
    let action = &mut declaration["stages"][1]["actions"][0];
    action["actionTypeId"]["provider"] = json!("Maker");
    action["configuration"] = json!({});
    declaration
}

fn create(world: &World, declaration: Value) {
    let name = text(&declaration["name"]);
    world.ok(A, pipelines::create, json!({ "pipeline": declaration }));
    until_queued(world, &name);
}

fn until_queued(world: &World, name: &str) {
    world.until(A, name, |state| {
        let mut runs = state.executions.values().flat_map(|execution| execution.runs.values());
        runs.any(|run| run.job.as_ref().is_some_and(|job| job.status == JobStatus::Queued))
    });
}

fn poll(world: &World, count: Option<u32>) -> Vec<Value> {
    let id = json!({ "category": "Build", "owner": "Custom", "provider": "Maker", "version": "1" });
    let polled = world.ok(A, jobs::poll, json!({ "actionTypeId": id, "maxBatchSize": count }));
    polled["jobs"].as_array().unwrap().clone()
}

/// A job that was polled for, of a pipeline that waits for a worker.
fn polled(world: &World) -> Value {
    create_type(world);
    create(world, declared("site"));
    poll(world, None).remove(0)
}

fn acknowledge(world: &World, job: &Value) {
    world.ok(A, jobs::acknowledge, json!({ "jobId": job["id"], "nonce": job["nonce"] }));
}

/// The next job of the pipeline `site`, acknowledged.
fn taken(world: &World) -> Value {
    until_queued(world, "site");
    let job = poll(world, None).remove(0);
    acknowledge(world, &job);
    job
}

fn session(world: &World, job: &Value) -> Option<Session> {
    let token = text(&job["data"]["artifactCredentials"]["sessionToken"]);
    world.run(job_artifacts::session(&world.service, &token)).unwrap()
}

fn put(world: &World, session: &Session, content: &[u8]) -> Result<String, UploadError> {
    let mut upload = world.run(session.upload(&world.service, Part::All { name: "Site".to_owned() }))?;
    upload.write(content)?;
    world.run(session.check_writable(&world.service))?;
    upload.finish()
}

#[test]
fn a_worker_writes_while_it_has_the_job() {
    let world = World::new();
    let job = polled(&world);
    let before = session(&world, &job).expect("it may read");
    let refused = |session: &Session| {
        let service = &world.service;
        assert!(matches!(put(&world, session, EMPTY), Err(UploadError::NotInProgress)));
        assert!(matches!(world.run(session.begin_parts(service, "Site")), Err(UploadError::NotInProgress)));
        assert!(matches!(
            world.run(session.end_parts(service, "Site", "", Vec::new())),
            Err(UploadError::NotInProgress)
        ));
        assert!(matches!(world.run(session.give_up_parts(service, "Site", "")), Err(UploadError::NotInProgress)));
    };
    refused(&before);
    acknowledge(&world, &job);
    let details = world.ok(A, jobs::details, json!({ "jobId": job["id"] }))["jobDetails"].take();
    assert_eq!(details["data"]["artifactCredentials"], job["data"]["artifactCredentials"], "they are its worker's");
    let now = session(&world, &job).unwrap();
    put(&world, &now, EMPTY).unwrap();
    let upload = world.run(now.upload(&world.service, Part::All { name: "Site".to_owned() })).unwrap();
    world.ok(A, jobs::succeed, json!({ "jobId": job["id"] }));
    // What began before is not kept behind the report.
    assert!(matches!(world.run(now.check_writable(&world.service)), Err(UploadError::NotInProgress)));
    drop(upload);
    refused(&now);
    assert!(session(&world, &job).is_none());
}

#[test]
fn of_reports_at_once_one_is_worked_on() {
    let world = World::new();
    let job = polled(&world);
    acknowledge(&world, &job);
    put(&world, &session(&world, &job).unwrap(), EMPTY).unwrap();
    let (service, context) = (&world.service, context(A));
    let report = |version: &str| {
        let input = json!({ "jobId": job["id"], "outputVariables": { "Version": version } });
        jobs::succeed(service, &context, Given::given(input))
    };
    let pipeline = world.aggregate(A, "site");
    let run = world.run(service.host.driver.state(pipeline)).unwrap();
    let mut runs = run.executions.values().flat_map(|execution| execution.runs.values());
    let action = runs.find(|run| run.job.is_some()).unwrap().id;
    let ends = world.run(async {
        let turn = job_artifacts::turn(service, pipeline, action).await;
        let mut reports = pin!(join3(report("1"), report("1"), report("2")));
        for _ in 0..100 {
            assert!(futures::poll!(&mut reports).is_pending(), "another one has the turn");
            tokio::task::yield_now().await;
        }
        drop(turn);
        reports.await
    });
    let is_refused = |end: &Result<(), ServiceError>| matches!(end, Err(ServiceError::Refused { class, .. }) if *class == "InvalidJobStateException");
    // Whichever had the first turn: the same report is taken again, another one is not.
    let (one, same, other) = &ends;
    let is_one = one.is_ok() && same.is_ok() && is_refused(other);
    let is_other = is_refused(one) && is_refused(same) && other.is_ok();
    assert!(is_one || is_other, "{ends:?}");
}

#[test]
fn whose_a_job_is_and_who_polled_last_is_listed() {
    let world = World::new();
    let maker = |world: &World| {
        let listed = world.run(workers::list(&world.service, &context(A))).unwrap();
        let listed = serde_json::to_value(listed).unwrap();
        let types = listed["actionTypes"].as_array().unwrap();
        types.iter().find(|row| row["actionType"] == "Build/Custom/Maker/1").cloned().unwrap()
    };
    let job = polled(&world);
    let offered = maker(&world);
    assert_eq!((&offered["waiting"], &offered["leased"][0]["jobId"]), (&json!([]), &job["id"]), "{offered}");
    assert_eq!(offered["leased"][0]["acknowledged"], false);
    assert!(text(&offered["polled"]["by"]).ends_with("/ada"), "{offered}");
    acknowledge(&world, &job);
    assert_eq!(maker(&world)["leased"][0]["acknowledged"], true);
    world.ok(A, jobs::fail, json!({ "jobId": job["id"], "failureDetails": { "type": "JobFailed", "message": "no" } }));
    assert_eq!(maker(&world)["leased"], json!([]));
}

#[test]
fn a_job_is_offered_in_its_turn_and_again_when_nobody_has_acknowledged_it_within_30_seconds() {
    const NAMES: [&str; 3] = ["b", "c", "a"];
    let clock = Simulated::new(NOW);
    let world = World::on(Quotas::default(), Arc::new(clock.clone()));
    let pass = |milliseconds| world.run(clock.advance(Duration::from_millis(milliseconds)));
    create_type(&world);
    for name in NAMES {
        create(&world, declared(name));
        pass(1);
    }
    let names = |jobs: &[Value]| -> Vec<String> {
        jobs.iter().map(|job| text(&job["data"]["pipelineContext"]["pipelineName"])).collect()
    };
    // One where the poll does not say how many, and no more than there are.
    let mut first = poll(&world, None);
    first.extend(poll(&world, Some(5)));
    assert_eq!(names(&first), NAMES);
    assert_eq!(poll(&world, Some(5)), [Value::Null; 0]);
    pass(29_999);
    assert_eq!(poll(&world, Some(5)), [Value::Null; 0]);
    pass(1);
    NAMES.iter().for_each(|name| until_queued(&world, name));
    let again = poll(&world, Some(5));
    assert_eq!(names(&again), NAMES);
    for (before, now) in first.iter().zip(&again) {
        assert_eq!(before["id"], now["id"]);
        let id = text(&now["id"]);
        let late =
            format!("InvalidNonceException: The job {id} cannot be taken with this nonce: poll again for a job.");
        world.refused(A, jobs::acknowledge, json!({ "jobId": id, "nonce": before["nonce"] }), &late);
        // Whoever lost it reads no artifact of it either.
        assert!(session(&world, before).is_none() && session(&world, now).is_some());
        acknowledge(&world, now);
    }
    pass(60_000);
    assert_eq!(poll(&world, Some(5)), [Value::Null; 0], "what is somebody's is offered to nobody");
}

#[test]
fn a_poll_gives_at_most_a_hundred_jobs() {
    let world = World::new();
    create_type(&world);
    let mut declaration = declared("site");
    (declaration["pipelineType"], declaration["executionMode"]) = (json!("V2"), json!("PARALLEL"));
    let actions = declaration["stages"][1]["actions"].as_array_mut().unwrap();
    actions[0]["outputArtifacts"] = json!([]);
    for number in 1..50 {
        let mut action = actions[0].clone();
        action["name"] = json!(format!("Make{number}"));
        world.script.does(&text(&action["name"]), Deed::Queue);
        actions.push(action);
    }
    create(&world, declaration);
    (0..2).for_each(|_| drop(world.start(A, "site")));
    let queued = |state: &State| {
        let runs = state.executions.values().flat_map(|execution| execution.runs.values());
        runs.filter(|run| run.job.is_some()).count()
    };
    world.until(A, "site", |state| queued(state) == 150);
    assert_eq!([poll(&world, Some(150)).len(), poll(&world, Some(150)).len()], [100, 50]);
}

/// Whatever the jobs before it uploaded, it counts with the report that ends the action.
#[test]
fn what_was_uploaded_becomes_artifacts_with_the_report_that_ends_the_action() {
    let check = |uploaded: Option<&[u8]>, expected: Result<&[&str], &str>| {
        let world = World::new();
        create_type(&world);
        create(&world, declared("site"));
        let job = taken(&world);
        if let Some(archive) = uploaded {
            put(&world, &session(&world, &job).unwrap(), archive).unwrap();
        }
        world.ok(A, jobs::succeed, json!({ "jobId": job["id"], "continuationToken": "half" }));
        let shown = world.action(A, "site", "Make");
        assert_eq!((&shown["status"], &shown["output"]["outputArtifacts"]), (&json!("InProgress"), &json!([])));
        let job = taken(&world);
        world.ok(A, jobs::succeed, json!({ "jobId": job["id"], "executionDetails": { "summary": "made" } }));
        let execution = world.newest(A, "site");
        world.ended(A, "site", &execution);
        let output = world.action(A, "site", "Make")["output"].clone();
        // What a worker says of its success is not shown with a failure.
        let summary = output["executionResult"]["externalExecutionSummary"].as_str();
        assert_eq!(summary, expected.is_ok().then_some("made"), "{output}");
        let artifacts: Vec<_> =
            output["outputArtifacts"].as_array().unwrap().iter().map(|it| text(&it["name"])).collect();
        let error = output["executionResult"]["errorDetails"]["message"].as_str();
        match expected {
            Ok(expected) => {
                assert_eq!(error, None);
                assert_eq!(artifacts, expected);
            }
            Err(expected) => assert!(error.is_some_and(|error| error.contains(expected)), "{output}"),
        }
    };
    check(Some(EMPTY), Ok(&["Site"]));
    check(None, Err("The worker has not uploaded the output artifact Site, to bucket/site/Site/"));
    check(Some(b"no zip file"), Err("not a usable zip file"));
}

/// A zip file with one folder.
fn packed(folder: &str) -> Vec<u8> {
    let tree = Tree::new(vec![Entry { path: folder.to_owned(), node: Node::Directory }]).unwrap();
    let blobs = Arc::new(pipewright_artifacts::files::BlobMemory::default());
    let mut zip = ZipOfTree::new(Arc::new(tree), blobs).unwrap();
    std::iter::from_fn(|| zip.next(1 << 20).unwrap()).flatten().collect()
}

#[test]
fn what_a_retry_makes_again_takes_the_place_of_what_was_there() {
    let world = World::new();
    create_type(&world);
    let mut declaration = declared("site");
    let mut check = pipeline("site")["stages"][1]["actions"][0].take();
    (check["name"], check["runOrder"], check["outputArtifacts"]) = (json!("Check"), json!(2), json!([]));
    declaration["stages"][1]["actions"].as_array_mut().unwrap().push(check);
    world.script.does("Check", Deed::Fail("not like this"));
    create(&world, declaration);
    let execution = world.newest(A, "site");
    let make = |folder: &str| {
        let job = taken(&world);
        put(&world, &session(&world, &job).unwrap(), &packed(folder)).unwrap();
        world.ok(A, jobs::succeed, json!({ "jobId": job["id"] }));
        world.ended(A, "site", &execution);
        let named =
            artifacts::Named { pipeline: "site".to_owned(), execution: execution.clone(), artifact: "Site".to_owned() };
        let tree = world.run(artifacts::get(&world.service, &context(A), &named)).unwrap();
        let paths: Vec<_> = tree.entries().iter().map(|entry| entry.path.clone()).collect();
        assert_eq!(paths, [folder]);
        tree.digest()
    };
    let again = || {
        world.ok(
            A,
            executions::retry_stage,
            json!({
                "pipelineName": "site", "stageName": "Build", "pipelineExecutionId": execution, "retryMode": "ALL_ACTIONS",
            }),
        );
    };
    let first = make("draft");
    again();
    let other = make("final");
    again();
    // The same content is the same artifact.
    assert!(first != other && make("draft") == first);
}
