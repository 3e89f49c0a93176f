//! Webhooks of CodePipeline: how they are kept, and which deliveries start an execution.

use std::sync::Arc;

use bytes::Bytes;
use pipewright_base::hex;
use ring::hmac;
use serde_json::{Value, json};

use super::world::{A, B, World, text, words};
use crate::service::deliveries::Delivery;
use crate::service::{executions, pipelines, tags, webhooks};

const SECRET: &str = "a secret of ours";

fn definition(name: &str, authentication: &str, configuration: Value) -> Value {
    json!({ "webhook": {
        "name": name, "targetPipeline": "site", "targetAction": "Source", "authentication": authentication,
        "authenticationConfiguration": configuration,
        "filters": [{ "jsonPath": "$.ref", "matchEquals": "refs/heads/{Url}" }, { "jsonPath": "$.after" }],
    } })
}

fn github(name: &str) -> Value {
    definition(name, "GITHUB_HMAC", json!({ "SecretToken": SECRET }))
}

fn signed(body: &str, secret: &str) -> String {
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body.as_bytes());
    format!("sha256={}", hex::encode(mac))
}

const PUSH: &str = r#"{"ref":"refs/heads/main","after":"r2"}"#;

impl World {
    /// The pipeline `site`, whose source has the branch `main`.
    fn with_branch() -> Self {
        let world = Self::new();
        let mut pipeline = super::world::pipeline("site");
        pipeline["stages"][0]["actions"][0]["configuration"]["Url"] = "main".into();
        world.ok(A, pipelines::create, json!({ "pipeline": pipeline }));
        let first = world.newest(A, "site");
        world.ended(A, "site", &first);
        world
    }

    /// What comes of a delivery to the address of a webhook: its outcome, or the class of its error.
    fn deliver(&self, url: &str, headers: &[(&str, &str)], body: &str) -> String {
        let parts: Vec<&str> = url.strip_prefix("https://ci.example/v1/webhooks/").unwrap().split('/').collect();
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let body = Bytes::copy_from_slice(body.as_bytes());
        let delivery = Delivery { from: [192, 0, 2, 7].into(), headers, body, request: "delivered".to_owned() };
        let delivered = self.run(async {
            let (account, webhook) = webhooks::at(&self.service, parts[0], parts[1], parts[2]).await?;
            webhooks::deliver(&self.service, account, Arc::clone(&webhook), delivery).await
        });
        delivered.map_or_else(|error| words(&error).split(':').next().unwrap().to_owned(), |it| it.label().to_owned())
    }
}

#[test]
fn a_webhook_keeps_its_address_until_it_is_deleted_and_shows_no_secret() {
    let world = World::with_branch();
    let put = world.ok(A, webhooks::put, github("push"));
    let shown = &put["webhook"];
    assert_eq!(shown["definition"]["authenticationConfiguration"]["SecretToken"], "****");
    assert_eq!(shown["arn"], "arn:aws:codepipeline:us-east-1:000000000000:webhook:push");
    let url = text(&shown["url"]);
    let mut again = put.clone();
    again["webhook"] = shown["definition"].clone();
    again["webhook"]["filters"] = json!([]);
    assert_eq!(world.ok(A, webhooks::put, again)["webhook"]["url"], url.as_str());
    // The mask stood for the secret.
    assert_eq!(world.deliver(&url, &[("x-hub-signature-256", &signed("{}", SECRET))], "{}"), "started");
    world.ok(A, webhooks::put, definition("other", "UNAUTHENTICATED", json!({})));
    let page = world.ok(A, webhooks::list, json!({ "MaxResults": 1 }));
    assert_eq!(page["webhooks"][0]["definition"]["name"], "other");
    let rest = world.ok(A, webhooks::list, json!({ "NextToken": page["NextToken"] }));
    assert!(
        rest["webhooks"][0]["definition"]["name"] == "push" && rest["webhooks"][0]["lastTriggered"].is_f64(),
        "{rest}"
    );
    assert!(rest.get("NextToken").is_none() && world.ok(B, webhooks::list, json!({}))["webhooks"] == json!([]));
    let tagged = |account| json!({ "resourceArn": text(&shown["arn"]).replace("000000000000", account) });
    let tag = json!({ "key": "team", "value": "web" });
    let mut given = tagged("000000000000");
    given["tags"] = json!([tag]);
    world.ok(A, tags::tag, given);
    world.ok(A, webhooks::put, github("push"));
    assert_eq!(world.ok(A, tags::list, tagged("000000000000"))["tags"], json!([tag]));
    let mut taken = tagged("000000000000");
    taken["tagKeys"] = json!(["team"]);
    world.ok(A, tags::untag, taken);
    assert_eq!(world.ok(A, tags::list, tagged("000000000000"))["tags"], json!([]));
    assert!(world.ask(B, tags::list, tagged("111111111111")).is_err());
    for _ in 0..2 {
        world.ok(A, webhooks::delete, json!({ "name": "push" }));
    }
    assert_eq!(world.deliver(&url, &[], PUSH), "ResourceNotFoundException");
    assert_ne!(world.ok(A, webhooks::put, github("push"))["webhook"]["url"], url.as_str());
}

#[test]
fn what_cannot_be_a_webhook_is_refused() {
    let world = World::with_branch();
    let check = |change: &dyn Fn(&mut Value), expected: &str| {
        let mut input = github("push");
        change(&mut input["webhook"]);
        let error = world.ask(A, webhooks::put, input).expect_err(expected);
        assert!(words(&error).contains(expected), "{error}");
    };
    check(
        &|it| it["authenticationConfiguration"] = json!({}),
        "InvalidWebhookAuthenticationParametersException: For GITHUB",
    );
    check(&|it| it["authenticationConfiguration"]["SecretToken"] = "****".into(), "give the secret itself");
    check(
        &|it| {
            it["authentication"] = "IP".into();
            it["authenticationConfiguration"] = json!({ "AllowedIPRange": "10.0.0.0/99" });
        },
        "InvalidWebhookAuthenticationParametersException: AllowedIPRange",
    );
    check(&|it| it["filters"][0]["jsonPath"] = "ref".into(), "InvalidWebhookFilterPatternException");
    check(&|it| it["targetPipeline"] = "no".into(), "PipelineNotFoundException");
    check(&|it| it["targetAction"] = "Make".into(), "ValidationException: The pipeline 'site' has no source action");
    world.refused(
        A,
        webhooks::register,
        json!({ "webhookName": "no" }),
        "WebhookNotFoundException: The webhook with the name 'no' cannot be found",
    );
    world.ok(A, webhooks::put, github("push"));
    let error = world.ask(A, webhooks::register, json!({ "webhookName": "push" })).unwrap_err();
    assert!(words(&error).contains("which is no action of GitHub (ThirdParty)"), "{error}");
    for input in [json!({}), json!({ "webhookName": "push" })] {
        world.ok(A, webhooks::deregister, input);
    }
}

#[test]
fn only_a_new_delivery_of_the_right_sender_that_fits_starts_an_execution() {
    let world = World::with_branch();
    let url = text(&world.ok(A, webhooks::put, github("push"))["webhook"]["url"]);
    let (right, wrong) = (signed(PUSH, SECRET), signed(PUSH, "another"));
    let other = r#"{"ref":"refs/heads/other","after":"r2"}"#;
    let sha1 = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes()), PUSH.as_bytes());
    let sha1 = format!("sha1={}", hex::encode(sha1));
    const STRONG: &str = "x-hub-signature-256";
    /// Headers, the body, and what becomes of them.
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
    let cases: &[Case<'_>] = &[
        (&[], PUSH, "AccessDeniedException"),
        (&[(STRONG, &wrong)], PUSH, "AccessDeniedException"),
        (&[(STRONG, &right[..right.len() - 2])], PUSH, "AccessDeniedException"),
        (&[(STRONG, &right)], &PUSH[1..], "AccessDeniedException"),
        (&[(STRONG, &wrong), ("x-hub-signature", &sha1)], PUSH, "AccessDeniedException"),
        (&[(STRONG, &signed("no", SECRET))], "no", "ValidationException"),
        (&[(STRONG, &signed(other, SECRET))], other, "unmatched"),
        (&[(STRONG, &right)], PUSH, "started"),
        (&[(STRONG, &right)], PUSH, "replayed"),
        (&[("x-hub-signature", &sha1), ("x-github-delivery", "1")], PUSH, "started"),
        (&[(STRONG, &right), ("x-github-delivery", "1")], PUSH, "replayed"),
        (&[(STRONG, &right), ("x-github-delivery", "2")], PUSH, "started"),
    ];
    let mut started = 1;
    for (number, (headers, body, expected)) in cases.iter().enumerate() {
        assert_eq!(world.deliver(&url, headers, body), *expected, "case {number}");
        started += usize::from(*expected == "started");
        let listed = world.ok(A, executions::list, json!({ "pipelineName": "site" }));
        let listed = listed["pipelineExecutionSummaries"].as_array().unwrap();
        assert_eq!(listed.len(), started, "case {number}");
        let trigger = json!({
            "triggerType": "Webhook", "triggerDetail": "arn:aws:codepipeline:us-east-1:000000000000:webhook:push",
        });
        assert!(started == 1 || listed[0]["trigger"] == trigger, "{listed:?}");
    }
    let other_key = format!("{}0", &url[..url.len() - 1]);
    let other_key = if other_key == url { format!("{}1", &url[..url.len() - 1]) } else { other_key };
    for elsewhere in [other_key, url.replace("/000000000000/", "/111111111111/"), url.replace("/push/", "/other/")] {
        let outcome = world.deliver(&elsewhere, &[(STRONG, &right)], PUSH);
        assert_eq!(outcome, "ResourceNotFoundException", "{elsewhere}");
    }
}

#[test]
fn an_address_or_nothing_can_be_what_a_sender_proves() {
    let world = World::with_branch();
    let check = |name: &str, configuration: Value, expected: &[&str]| {
        let authentication = if configuration == json!({}) { "UNAUTHENTICATED" } else { "IP" };
        let mut webhook = definition(name, authentication, configuration);
        webhook["webhook"]["filters"] = json!([{ "jsonPath": "$.after" }]);
        let url = text(&world.ok(A, webhooks::put, webhook)["webhook"]["url"]);
        for expected in expected {
            assert_eq!(world.deliver(&url, &[], PUSH), *expected, "{name}");
        }
    };
    check("near", json!({ "AllowedIPRange": "192.0.2.0/24" }), &["started", "started"]);
    check("far", json!({ "AllowedIPRange": "198.51.100.0/24" }), &["AccessDeniedException"]);
    check("open", json!({}), &["started", "started"]);
    world.ok(A, pipelines::delete, json!({ "name": "site" }));
    check_error(&world);
}

/// Whoever lists it finds why a delivery that was let in started nothing.
#[track_caller]
fn check_error(world: &World) {
    let listed = world.ok(A, webhooks::list, json!({}));
    let url = text(&listed["webhooks"][2]["url"]);
    assert_eq!(world.deliver(&url, &[], PUSH), "PipelineNotFoundException");
    let open = world.ok(A, webhooks::list, json!({}))["webhooks"][2].clone();
    assert!(open["errorCode"] == "PipelineNotFoundException" && open["lastTriggered"].is_f64(), "{open}");
}
