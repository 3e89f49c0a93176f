//! RegisterWebhookWithThirdParty and its opposite, at a stand-in of each git host on loopback.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::connections::put;
use super::world::{A, World, pipeline, text, words};
use crate::service::{pipelines, webhooks};

const SECRET: &str = "a secret of ours";
const TOKEN: &str = "t0ken";
/// Of a webhook that somebody else made.
const OTHER: &str = "https://other.example/hook";

/// The webhooks of one repository, as a git host keeps them, and what was asked of it.
#[derive(Default)]
struct Kept {
    hooks: Vec<Value>,
    made: u64,
    heard: Vec<String>,
    /// What everything is answered with, in place of what it asks for.
    refuses: Option<u16>,
}

struct GitHost {
    address: String,
    kept: Arc<Mutex<Kept>>,
}

impl GitHost {
    /// Of the kind, whose repository has its webhooks at the path.
    fn start(kind: &'static str, path: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let hook = json!({ "id": 1, "uuid": "{1}", "url": OTHER, "config": { "url": OTHER } });
        let kept = Arc::new(Mutex::new(Kept { hooks: vec![hook], made: 1, ..Kept::default() }));
        let of = Arc::clone(&kept);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), kind, path, &of).unwrap();
            }
        });
        Self { address, kept }
    }

    /// The webhooks that are none of somebody else's.
    fn ours(&self) -> Vec<Value> {
        let kept = self.kept.lock().unwrap();
        kept.hooks.iter().filter(|hook| hook["url"] != OTHER).cloned().collect()
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.kept.lock().unwrap().heard)
    }
}

fn answer(mut stream: TcpStream, kind: &str, path: &str, kept: &Mutex<Kept>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut first, mut length, mut has_token) = (String::new(), 0, false);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" | "private-token" => has_token = value.ends_with(TOKEN),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let [method, target, _] = first.split(' ').collect::<Vec<_>>()[..] else { panic!("{first}") };
    let mut kept = kept.lock().unwrap();
    kept.heard.push(format!("{method} {target}"));
    let id = target.strip_prefix(&format!("{path}/"));
    let (status, body) = match (kept.refuses, method) {
        (Some(status), _) => (status, Value::Null),
        _ if !has_token => (401, Value::Null),
        (None, "GET") if target.starts_with(&format!("{path}?")) && kind == "bitbucket" => {
            (200, json!({ "values": kept.hooks }))
        }
        (None, "GET") if target.starts_with(&format!("{path}?")) => (200, json!(kept.hooks)),
        (None, "POST") if target == path => {
            let mut hook: Value = serde_json::from_slice(&body).unwrap();
            kept.made += 1;
            match kind {
                "bitbucket" => hook["uuid"] = json!(format!("{{{}}}", kept.made)),
                _ => hook["id"] = json!(kept.made),
            }
            kept.hooks.push(hook.clone());
            (201, hook)
        }
        (None, "DELETE") if id.is_some() => {
            let id = id.unwrap_or_default().replace("%7B", "{").replace("%7D", "}");
            let before = kept.hooks.len();
            kept.hooks.retain(|hook| format!("{}", hook["id"]) != id && hook["uuid"] != id);
            (if kept.hooks.len() < before { 204 } else { 404 }, Value::Null)
        }
        _ => (404, Value::Null),
    };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    write!(stream, "HTTP/1.1 {status} Is\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

/// A pipeline whose source is a repository of the connection `hub`, and a webhook `push` for it.
fn world(kind: &str, address: &str, authentication: (&str, Value)) -> World {
    let world = World::new();
    world.put_secret(A, "git/hub", TOKEN).unwrap();
    let secret = json!({ "store": "git/hub" });
    let connection = json!({ "kind": kind, "address": address, "private": true, "secret": secret });
    put(&world, A, "hub", connection).unwrap();
    let mut declaration = pipeline("site");
    let source = &mut declaration["stages"][0]["actions"][0];
    source["actionTypeId"] =
        json!({ "category": "Source", "owner": "AWS", "provider": "CodeStarSourceConnection", "version": "1" });
    source["configuration"] = json!({
        "ConnectionArn": "arn:aws:codeconnections:us-east-1:000000000000:connection/hub",
        "FullRepositoryId": "team/site", "BranchName": "main",
    });
    world.ok(A, pipelines::create, json!({ "pipeline": declaration }));
    let (authentication, configuration) = authentication;
    world.ok(
        A,
        webhooks::put,
        json!({ "webhook": {
        "name": "push", "targetPipeline": "site", "targetAction": "Source", "filters": [{ "jsonPath": "$.ref" }],
        "authentication": authentication, "authenticationConfiguration": configuration,
    } }),
    );
    world
}

fn listed(world: &World) -> Value {
    world.ok(A, webhooks::list, json!({}))["webhooks"][0].take()
}

fn hmac() -> (&'static str, Value) {
    ("GITHUB_HMAC", json!({ "SecretToken": SECRET }))
}

#[test]
fn a_webhook_is_put_into_the_settings_of_its_repository_once_and_taken_out() {
    let push = || json!({ "webhookName": "push" });
    let check = |kind: &'static str, path: &'static str, authentication, made: &dyn Fn(&Value) -> Value| {
        let host = GitHost::start(kind, path);
        let world = world(kind, &host.address, authentication);
        let url = listed(&world)["url"].take();
        world.ok(A, webhooks::register, push());
        world.ok(A, webhooks::register, push());
        let mut ours = host.ours();
        assert_eq!(ours.len(), 1, "{kind}: {ours:?}");
        let hook = ours[0].as_object_mut().unwrap();
        hook.remove("id");
        hook.remove("uuid");
        assert_eq!(ours[0], made(&url), "{kind}");
        let id = if kind == "bitbucket" { "%7B2%7D" } else { "2" };
        let list = |heard: &str| heard.starts_with(&format!("GET {path}?"));
        let heard = host.heard();
        assert!(heard.len() == 5 && list(&heard[0]) && list(&heard[2]), "{kind}: {heard:?}");
        assert_eq!([&heard[1], &heard[3]], [&format!("POST {path}"), &format!("DELETE {path}/{id}")]);
        world.ok(A, webhooks::deregister, push());
        assert_eq!((host.ours(), host.kept.lock().unwrap().hooks.len()), (Vec::new(), 1), "{kind}");
        // Nothing is registered any more, and nobody is asked.
        host.heard();
        world.ok(A, webhooks::deregister, push());
        assert_eq!(host.heard(), Vec::<String>::new(), "{kind}");
    };
    check("github", "/api/v3/repos/team/site/hooks", hmac(), &|url| {
        let config = json!({ "url": url, "content_type": "json", "insecure_ssl": "0", "secret": SECRET });
        json!({ "name": "web", "active": true, "events": ["push"], "config": config })
    });
    check("gitea", "/api/v1/repos/team/site/hooks", hmac(), &|url| {
        let config = json!({ "url": url, "content_type": "json", "secret": SECRET });
        json!({ "type": "gitea", "active": true, "events": ["push"], "config": config })
    });
    let open = ("UNAUTHENTICATED", json!({}));
    check(
        "gitlab",
        "/api/v4/projects/team%2Fsite/hooks",
        open,
        &|url| json!({ "url": url, "push_events": true, "tag_push_events": true }),
    );
    check(
        "bitbucket",
        "/2.0/repositories/team/site/hooks",
        hmac(),
        &|url| json!({ "description": "Pipewright", "url": url, "active": true, "events": ["repo:push"], "secret": SECRET }),
    );
}

#[test]
fn what_a_host_refuses_is_told_and_shown_until_it_is_mended() {
    let host = GitHost::start("gitea", "/api/v1/repos/team/site/hooks");
    let world = world("gitea", &host.address, hmac());
    host.kept.lock().unwrap().refuses = Some(403);
    let refused = world.ask(A, webhooks::register, json!({ "webhookName": "push" })).unwrap_err();
    assert_eq!(
        words(&refused),
        "ValidationException: The webhook 'push' cannot be registered at its git host: it answered with the status 403; the token \
         has to allow that webhooks of the repository are managed"
    );
    let shown = listed(&world);
    assert_eq!(text(&shown["errorCode"]), "403");
    assert!(text(&shown["errorMessage"]).starts_with("The git host: it answered with the status 403"), "{shown}");
    assert!(!shown.to_string().contains(TOKEN) && !shown.to_string().contains(SECRET), "{shown}");
    host.kept.lock().unwrap().refuses = None;
    world.ok(A, webhooks::register, json!({ "webhookName": "push" }));
    assert_eq!((&listed(&world)["errorCode"], host.ours().len()), (&Value::Null, 1));
}

#[test]
fn what_cannot_be_registered_is_refused_with_the_mend() {
    let check = |kind: &str, authentication, expected: &str| {
        let world = world(kind, "http://127.0.0.1:1", authentication);
        let refused = world.ask(A, webhooks::register, json!({ "webhookName": "push" })).unwrap_err();
        assert!(words(&refused).contains(expected), "{kind}: {refused}");
    };
    check("git", hmac(), "add one to the repository's settings, with the address https://ci.example/v1/webhooks/");
    check("gitlab", hmac(), "GitLab does not sign what it delivers");
    check("gitea", hmac(), "cannot be registered at its git host: ");
}
