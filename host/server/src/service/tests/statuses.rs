//! Statuses of commits: which commit of which connection is told what, and what becomes of what a host does not take.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pipewright_base::clock::{self, Simulated};
use pipewright_pipeline::machine::Success;
use serde_json::{Value, json};

use super::connections::put;
use super::notifications::{body, header};
use super::world::{A, Deed, World, context, gated, pipeline, revision, text, words};
use crate::config::Quotas;
use crate::notify::Unsent;
use crate::service::{executions, notifications, pipelines};

const COMMIT: &str = "2222222222222222222222222222222222222222";
const NOW: u64 = 1_795_342_830_000;
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const TARGET: &str = "connection:hub";

/// A git host of account A by the name `hub`, whose commits are told.
struct Told {
    world: World,
    clock: Simulated,
    folder: tempfile::TempDir,
}

impl Told {
    fn new() -> Self {
        let (clock, folder) = (Simulated::new(NOW), tempfile::tempdir().unwrap());
        let world = World::on(Quotas::default(), Arc::new(clock.clone()));
        let told = Self { world, clock, folder };
        told.keep_token("t0ken");
        told.put("hub", true).unwrap();
        told.world.script.does("Source", fetches(COMMIT));
        told
    }

    fn keep_token(&self, token: &str) {
        let file = self.folder.path().join("token");
        fs::write(&file, token).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn put(&self, name: &str, status: bool) -> Result<(), String> {
        let secret = json!({ "file": self.folder.path().join("token") });
        let connection =
            json!({ "kind": "gitea", "address": "https://git.example", "secret": secret, "status": status });
        put(&self.world, A, name, connection)
    }

    /// A pipeline whose source is a repository of a connection.
    fn create(&self, mut pipeline: Value, connection: &str) -> String {
        let source = &mut pipeline["stages"][0]["actions"][0];
        source["actionTypeId"] =
            json!({ "category": "Source", "owner": "AWS", "provider": "CodeStarSourceConnection", "version": "1" });
        source["configuration"] = json!({
            "ConnectionArn": format!("arn:aws:codeconnections:us-east-1:000000000000:connection/{connection}"),
            "FullRepositoryId": "team/site", "BranchName": "main",
        });
        self.world.ok(A, pipelines::create, json!({ "pipeline": pipeline }));
        self.world.newest(A, &text(&pipeline["name"]))
    }

    fn create_whole(&self, name: &str, connection: &str) {
        let execution = self.create(pipeline(name), connection);
        self.world.ended(A, name, &execution);
    }

    /// A person lets an execution of the pipeline `site` go on, which ends.
    fn approve(&self, execution: &str) {
        let token = self.world.token(A, "site", execution);
        let answer = json!({
            "pipelineName": "site", "stageName": "Gate", "actionName": "Ask", "token": token,
            "result": { "summary": "yes", "status": "Approved" },
        });
        self.world.ok(A, executions::put_approval_result, answer);
        self.world.ended(A, "site", execution);
    }

    /// Lets time pass until it is so. A secret is read by a thread of its own, for which the simulated time does not wait.
    fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let until = clock::monotonic() + PATIENCE;
        while !is_so(self) {
            assert!(clock::monotonic() < until, "nothing happens any more");
            self.world.run(async { tokio::time::sleep(Duration::from_millis(10)).await });
            self.pass(30);
        }
    }

    fn pass(&self, seconds: u64) {
        self.world.run(self.clock.advance(Duration::from_secs(seconds)));
    }

    /// What the host was told: contexts and states.
    fn heard(&self) -> Vec<(String, String)> {
        let heard = self.world.receiver.all();
        heard.iter().map(|it| (text(&body(it)["context"]), text(&body(it)["state"]))).collect()
    }
}

fn fetches(commit: &str) -> Deed {
    Deed::Tell(Box::new(Success { revision: Some(revision(commit)), ..Success::default() }))
}

fn said(name: &str, states: &[&str]) -> Vec<(String, String)> {
    states.iter().map(|state| (format!("pipewright/{name}"), (*state).to_owned())).collect()
}

#[test]
fn a_commit_is_told_that_it_is_in_progress_and_how_that_ended() {
    let mut told = Told::new();
    told.world.script.does("Ask", Deed::Ask("May it go out?"));
    let execution = told.create(gated("site"), "hub");
    told.world.token(A, "site", &execution);
    told.world.notify_until(1);
    told.approve(&execution);
    let heard = told.world.notify_until(2);
    assert_eq!(told.heard(), said("site", &["pending", "success"]));
    for outgoing in &heard {
        assert_eq!(outgoing.url, format!("https://git.example/api/v1/repos/team/site/statuses/{COMMIT}"));
        assert_eq!((header(outgoing, "authorization"), outgoing.private), ("token t0ken", false));
        assert_eq!(body(outgoing)["target_url"], "https://ci.example/v1/pipelines/site/events");
    }
    let listed = &told.world.target(TARGET);
    assert_eq!((&listed["url"], &listed["delivered"]), (&json!("https://git.example"), &json!(2)));
    assert!(!listed.to_string().contains("t0ken"));
}

#[test]
fn a_commit_is_told_of_a_rollback_to_it() {
    const LATER: &str = "3333333333333333333333333333333333333333";
    let mut told = Told::new();
    told.world.script.does("Ask", Deed::Ask("May it go out?"));
    let first = told.create(gated("site"), "hub");
    told.approve(&first);
    told.world.script.does("Source", fetches(LATER));
    let second = told.world.start(A, "site");
    told.approve(&second);
    let input = json!({ "pipelineName": "site", "stageName": "Gate", "targetPipelineExecutionId": first });
    let rollback = text(&told.world.ok(A, executions::rollback_stage, input)["pipelineExecutionId"]);
    told.world.token(A, "site", &rollback);
    told.world.notify_until(3);
    told.approve(&rollback);
    let heard = told.world.notify_until(4);
    let heard: Vec<_> = heard
        .iter()
        .map(|it| (it.url.rsplit('/').next().unwrap_or_default().to_owned(), text(&body(it)["state"])))
        .collect();
    let expected = [(COMMIT, "success"), (LATER, "success"), (COMMIT, "pending"), (COMMIT, "success")];
    assert_eq!(heard, expected.map(|(commit, state)| (commit.to_owned(), state.to_owned())));
}

#[test]
fn a_commit_is_told_of_a_failure_and_of_a_retry() {
    let mut told = Told::new();
    told.world.script.does("Make", Deed::Fail("it does not build"));
    told.create_whole("site", "hub");
    told.world.notify_until(1);
    told.world.script.succeeds("Make");
    let execution = told.world.newest(A, "site");
    let retry = json!({
        "pipelineName": "site", "stageName": "Build", "pipelineExecutionId": execution, "retryMode": "FAILED_ACTIONS",
    });
    told.world.ok(A, executions::retry_stage, retry);
    told.world.ended(A, "site", &execution);
    told.world.notify_while(|heard| heard.last().is_none_or(|last| body(last)["state"] != "success"));
    let states: Vec<_> = told.heard().into_iter().map(|(_, state)| state).collect();
    // That it is in progress may have been over before it was told.
    assert_eq!((states.first().unwrap().as_str(), states.last().unwrap().as_str()), ("failure", "success"));
}

#[test]
fn nobody_is_told_whose_connection_does_not_say_so() {
    let mut told = Told::new();
    told.put("silent", false).unwrap();
    told.create_whole("quiet", "silent");
    told.world.script.does("Source", fetches("r1"));
    told.create_whole("no-commit", "hub");
    told.world.script.does("Source", fetches(COMMIT));
    told.create_whole("site", "hub");
    told.world.notify_until(1);
    told.pass(60);
    assert_eq!(told.heard(), said("site", &["success"]));
    // Not even of what ended before, once it is said.
    told.put("silent", true).unwrap();
    told.pass(60);
    assert_eq!(told.heard().len(), 1);
    let context = context(A);
    let removed = notifications::remove(&told.world.service, &context, TARGET);
    let refused = words(&told.world.run(removed).unwrap_err());
    assert!(refused.ends_with("is there as long as the connection hub has `status`"), "{refused}");
    told.put("hub", false).unwrap();
    let parts = told.world.run(told.world.service.host.driver.account_parts(A, "")).unwrap();
    assert!(!parts.iter().any(|(key, _)| key.contains(TARGET)), "nothing is left of it");
}

#[test]
fn a_token_that_is_refused_is_shown_with_the_failed_delivery_and_mended() {
    let mut told = Told::new();
    told.world.receiver.refuses(10, &Unsent::Answered(401));
    told.create_whole("site", "hub");
    told.world.start_notifier();
    told.until(|told| !told.world.dead(TARGET).is_empty());
    let dead = told.world.dead(TARGET);
    assert_eq!((dead.len(), &dead[0]["reason"]), (1, &json!("it answered with the status 401")));
    assert!(!dead[0].to_string().contains("t0ken"));
    told.keep_token("another");
    assert_eq!(told.world.retry(TARGET, &text(&dead[0]["id"])), Ok(()));
    let heard = told.world.receiver.all();
    assert_eq!((heard.len(), header(&heard[10], "authorization")), (11, "token another"));
    let counts = &told.world.service.notify.counts;
    let counts = [&counts.delivered, &counts.failed, &counts.given_up].map(|count| count.load(Ordering::Relaxed));
    assert_eq!(counts, [1, 10, 1]);
}

#[test]
fn a_commit_that_a_host_does_not_know_is_in_the_way_of_no_other() {
    for status in [400, 404, 405, 410, 422] {
        let mut told = Told::new();
        told.world.receiver.refuses(1, &Unsent::Answered(status));
        told.create_whole("gone", "hub");
        told.world.notify_until(1);
        told.create_whole("site", "hub");
        told.world.notify_while(|heard| heard.last().is_none_or(|last| body(last)["context"] == "pipewright/gone"));
        assert_eq!(told.heard()[0], said("gone", &["success"])[0], "{status}");
        let asked = told.heard().into_iter().filter(|(context, _)| context == "pipewright/gone").count();
        assert_eq!((asked, told.world.dead(TARGET).len()), (1, 1), "{status}");
    }
}

#[test]
fn a_secret_that_cannot_be_read_is_waited_for() {
    let mut told = Told::new();
    fs::remove_file(told.folder.path().join("token")).unwrap();
    told.create_whole("site", "hub");
    told.world.start_notifier();
    told.until(|told| !told.world.target(TARGET)["failing"].is_null());
    let reason = text(&told.world.target(TARGET)["failing"]["reason"]);
    assert!(reason.contains("the connection's secret cannot be read"), "{reason}");
    told.keep_token("t0ken");
    told.until(|told| told.world.target(TARGET)["failing"].is_null());
    assert_eq!(told.heard(), said("site", &["success"]));
}

#[test]
fn the_token_may_be_a_stored_secret() {
    let mut told = Told::new();
    told.world.put_secret(A, "git/hub", "of the store").unwrap();
    let connection = json!({
        "kind": "gitea", "address": "https://git.example", "secret": { "store": "git/hub" }, "status": true,
    });
    put(&told.world, A, "hub", connection).unwrap();
    told.create_whole("site", "hub");
    let heard = told.world.notify_until(1);
    assert_eq!(header(&heard[0], "authorization"), "token of the store");
}

#[test]
fn a_status_needs_a_token_and_a_host_that_takes_it() {
    let told = Told::new();
    for (wrong, kind) in [("git", json!({ "env": "T" })), ("github", Value::Null)] {
        let connection = json!({ "kind": wrong, "address": "https://git.example", "secret": kind, "status": true });
        let refused = put(&told.world, A, "other", connection).unwrap_err();
        assert!(refused.contains("status: it needs a `secret`"), "{refused}");
    }
}
