//! PollForJobs and what follows, and the artifacts of jobs.

use std::pin::pin;

use futures::future::join3;
use serde_json::{Value, json};

use super::world::{A, Deed, Given, World, context, pipeline, text};
use crate::service::job_artifacts::{self, Part, Session, UploadError};
use crate::service::{ServiceError, custom_types, jobs, pipelines, workers};

/// A zip file with nothing in it.
const EMPTY: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// A job that was polled for, of a pipeline that waits for a worker.
fn polled(world: &World) -> Value {
    let count = json!({ "minimumCount": 0, "maximumCount": 5 });
    let made = json!({
        "category": "Build", "provider": "Maker", "version": "1",
        "inputArtifactDetails": count, "outputArtifactDetails": count,
    });
    world.ok(A, custom_types::create, made);
    world.script.does("Make", Deed::Queue);
    let mut declaration = pipeline("site");
    let action = &mut declaration["stages"][1]["actions"][0];
    action["actionTypeId"]["provider"] = json!("Maker");
    action["configuration"] = json!({});
    world.ok(A, pipelines::create, json!({ "pipeline": declaration }));
    world.until(A, "site", |state| {
        state.executions.values().flat_map(|execution| execution.runs.values()).any(|run| run.job.is_some())
    });
    let id = json!({ "category": "Build", "owner": "Custom", "provider": "Maker", "version": "1" });
    world.ok(A, jobs::poll, json!({ "actionTypeId": id }))["jobs"][0].take()
}

fn acknowledge(world: &World, job: &Value) {
    world.ok(A, jobs::acknowledge, json!({ "jobId": job["id"], "nonce": job["nonce"] }));
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
    let (Ok(()), Ok(()), Err(ServiceError::Refused { class, .. })) = ends else { panic!("{ends:?}") };
    assert_eq!(class, "InvalidJobStateException");
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
