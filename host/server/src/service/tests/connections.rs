//! Connections: who sees what of them, and which pipelines start by what a git host tells.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pipewright_base::hex;
use pipewright_runner::connections::Connection;
use ring::hmac;
use serde_json::{Value, json};

use super::world::{A, B, World, context, text, words};
use crate::service::deliveries::Delivery;
use crate::service::{connections, executions, pipelines};

const SECRET: &str = "a secret of both sides";
const COMMIT: &str = "2222222222222222222222222222222222222222";

/// A git host of account A by the name `hub`, with a webhook secret in this folder.
struct Hub {
    world: World,
    _folder: tempfile::TempDir,
    secret: PathBuf,
    url: String,
}

impl Hub {
    fn new() -> Self {
        let (world, folder) = (World::new(), tempfile::tempdir().unwrap());
        let secret = folder.path().join("secret");
        fs::write(&secret, format!("{SECRET}\n")).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        put(&world, A, "hub", json!({ "kind": "github", "webhook_secret": { "file": secret } })).unwrap();
        let url = text(&listed(&world, A)[0]["url"]);
        Self { world, _folder: folder, secret, url }
    }

    /// A pipeline of type V2 whose source is a repository of the connection.
    fn create(&self, name: &str, settings: Value, triggers: Option<Value>) {
        let mut pipeline = super::world::pipeline(name);
        let source = &mut pipeline["stages"][0]["actions"][0];
        source["actionTypeId"] =
            json!({ "category": "Source", "owner": "AWS", "provider": "CodeStarSourceConnection", "version": "1" });
        source["configuration"] = json!({
            "ConnectionArn": "arn:aws:codestar-connections:eu-west-1:123456789012:connection/hub",
            "FullRepositoryId": "team/site", "BranchName": "main",
        });
        source["configuration"].as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        pipeline["pipelineType"] = "V2".into();
        if let Some(mut git) = triggers {
            git["sourceActionName"] = "Source".into();
            pipeline["triggers"] = json!([{ "providerType": "CodeStarSourceConnection", "gitConfiguration": git }]);
        }
        self.world.ok(A, pipelines::create, json!({ "pipeline": pipeline }));
        let first = self.world.newest(A, name);
        self.world.ended(A, name, &first);
    }

    fn deliver(&self, event: &str, body: &Value, secret: &str) -> Result<Value, String> {
        let body = serde_json::to_vec(body).unwrap();
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), &body);
        let signature = format!("sha256={}", hex::encode(mac));
        // All have one name, which is nobody's to say (S233).
        let headers = [("x-github-event", event), ("x-hub-signature-256", &signature), ("x-github-delivery", "one")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let delivery =
            Delivery { from: [192, 0, 2, 7].into(), headers, body: Bytes::from(body), request: "told".to_owned() };
        let parts: Vec<&str> =
            self.url.strip_prefix("https://ci.example/v1/connections/").unwrap().split('/').collect();
        let service = &self.world.service;
        let delivered = self.world.run(async {
            let (account, found) = connections::at(service, parts[0], parts[1], parts[2]).await?;
            connections::deliver(service, account, found, delivery).await
        });
        delivered.map(|delivered| json!(format!("{delivered:?}"))).map_err(|error| words(&error))
    }

    /// Why the newest execution was started.
    fn newest(&self, name: &str) -> (String, String) {
        let listed = self.world.ok(A, executions::list, json!({ "pipelineName": name, "maxResults": 1 }));
        let newest = &listed["pipelineExecutionSummaries"][0];
        let id = text(&newest["pipelineExecutionId"]);
        self.world.ended(A, name, &id);
        (text(&newest["trigger"]["triggerType"]), text(&newest["trigger"]["triggerDetail"]))
    }
}

pub fn put(world: &World, account: u64, name: &str, connection: Value) -> Result<(), String> {
    let connection: Connection = serde_json::from_value(connection).unwrap();
    let (context, whose) = (context(A), format!("{account:012}"));
    let put = connections::put(&world.service, &context, Some(&whose), name, connection);
    world.run(put).map_err(|error| words(&error))
}

fn listed(world: &World, account: u64) -> Vec<Value> {
    let listed = world.run(connections::list(&world.service, &context(account))).unwrap();
    serde_json::to_value(listed).unwrap()["connections"].as_array().unwrap().clone()
}

fn push(reference: &str, number: u64) -> Value {
    json!({ "ref": reference, "after": COMMIT, "repository": { "full_name": "team/site" }, "number": number })
}

#[test]
fn what_a_host_tells_starts_the_pipelines_that_are_for_it() {
    let hub = Hub::new();
    hub.create("branch", json!({}), None);
    hub.create("other", json!({ "BranchName": "other" }), None);
    hub.create("silent", json!({ "DetectChanges": "false" }), None);
    hub.create("elsewhere", json!({ "FullRepositoryId": "team/Site" }), None);
    hub.create("tags", json!({}), Some(json!({ "push": [{ "tags": { "includes": ["v*"] } }] })));
    // Nothing tells what changed, so anything may have.
    let docs = json!({ "push": [{ "branches": { "includes": ["main"] }, "filePaths": { "includes": ["docs/**"] } }] });
    hub.create("docs", json!({}), Some(docs));
    let asked = json!({ "pullRequest": [{ "events": ["OPEN"], "branches": { "includes": ["main"] } }] });
    hub.create("asked", json!({}), Some(asked));
    let end = |name: &str| json!({ "ref": name, "sha": COMMIT, "repo": { "full_name": "team/site" } });
    let opened = json!({
        "action": "opened", "repository": { "full_name": "team/site" },
        "pull_request": { "head": end("feature"), "base": end("main") },
    });
    let check = |event: &str, body: &Value, expected: &[(&str, &str)]| {
        let outcome = match expected {
            [] => "Unmatched".to_owned(),
            some => format!("Started({})", some.len()),
        };
        assert_eq!(hub.deliver(event, body, SECRET), Ok(json!(outcome)), "{body}");
        for (name, detail) in expected {
            assert_eq!(hub.newest(name), ("WebhookV2".to_owned(), (*detail).to_owned()), "{name}");
        }
        let again = if expected.is_empty() { "Unmatched" } else { "Replayed" };
        assert_eq!(hub.deliver(event, body, SECRET), Ok(json!(again)), "{body}");
    };
    check(
        "push",
        &push("refs/heads/main", 1),
        &[("branch", "push to branch main"), ("docs", "push to branch main (push[0])")],
    );
    check("push", &push("refs/heads/other", 2), &[("other", "push to branch other")]);
    check("push", &push("refs/heads/third", 3), &[]);
    check("push", &push("refs/tags/v1", 4), &[("tags", "push of tag v1 (push[0])")]);
    check("push", &push("refs/tags/w1", 5), &[]);
    check("ping", &push("refs/heads/main", 6), &[]);
    check("pull_request", &opened, &[("asked", "pull request from branch feature into main opened (pullRequest[0])")]);
    let short = json!({ "ref": "refs/heads/main", "after": "2222", "repository": { "full_name": "team/site" } });
    let told = hub.deliver("push", &short, SECRET).unwrap_err();
    assert!(told.contains("The commit 2222 is not the newest of its branch"), "{told}");
}

#[test]
fn nothing_counts_without_the_webhook_secret() {
    let hub = Hub::new();
    hub.create("branch", json!({}), None);
    let denied = |outcome: Result<Value, String>| {
        assert!(outcome.as_ref().is_err_and(|told| told.starts_with("AccessDeniedException")), "{outcome:?}");
    };
    let body = push("refs/heads/main", 1);
    denied(hub.deliver("push", &body, "another"));
    let kept = json!({ "kind": "github", "webhook_secret": { "file": hub.secret } });
    put(&hub.world, A, "hub", json!({ "kind": "github" })).unwrap();
    denied(hub.deliver("push", &body, SECRET));
    denied(hub.deliver("push", &body, ""));
    put(&hub.world, A, "hub", kept).unwrap();
    fs::remove_file(&hub.secret).unwrap();
    let told = hub.deliver("push", &body, SECRET).unwrap_err();
    assert!(told.starts_with("host: "), "{told}");
    hub.world.run(connections::remove(&hub.world.service, &context(A), None, "hub")).unwrap();
    assert!(hub.deliver("push", &body, SECRET).unwrap_err().starts_with("ResourceNotFoundException"));
}

#[test]
fn a_connection_is_kept_changed_and_removed_and_shows_no_secret() {
    let hub = Hub::new();
    let shown = &listed(&hub.world, A)[0];
    assert_eq!(shown["arn"], "arn:aws:codeconnections:us-east-1:000000000000:connection/hub");
    assert_eq!((&shown["hasWebhookSecret"], &shown["hasSecret"]), (&json!(true), &json!(false)));
    assert!(!shown.to_string().contains(hub.secret.to_str().unwrap()));
    put(&hub.world, A, "hub", json!({ "kind": "gitea", "address": "https://git.example" })).unwrap();
    assert_eq!(listed(&hub.world, A)[0]["url"], hub.url.as_str());
    put(&hub.world, B, "team", json!({ "kind": "gitlab" })).unwrap();
    assert_eq!(listed(&hub.world, B)[0]["name"], "team");
    for (name, connection, told) in [
        ("a/b", json!({ "kind": "github" }), "letters, digits and hyphens"),
        ("own", json!({ "kind": "git" }), "needs one"),
        ("own", json!({ "kind": "github", "secret": { "file": "relative" } }), "give the whole path"),
    ] {
        let refused = put(&hub.world, A, name, connection).unwrap_err();
        assert!(refused.contains(told), "{refused}");
    }
    // Those of the configuration are its own, and go with it.
    let service = &hub.world.service;
    let configured: Connection = serde_json::from_value(json!({ "kind": "github" })).unwrap();
    let configured = configured.based(Path::new("/"));
    let wanted = [(A, [("set".to_owned(), configured)].into())].into();
    hub.world.run(connections::configure(service, wanted)).unwrap();
    let refused = put(&hub.world, A, "set", json!({ "kind": "gitlab" })).unwrap_err();
    assert!(refused.starts_with("ConflictException"), "{refused}");
    assert!(hub.world.run(connections::remove(service, &context(A), None, "set")).is_err());
    hub.world.run(connections::configure(service, [].into())).unwrap();
    let names: Vec<_> = listed(&hub.world, A).iter().map(|it| text(&it["name"])).collect();
    assert_eq!(names, ["hub"]);
}
