//! Notifications: who is told what, in which order, how often, and what becomes of what nobody takes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use pipewright_base::clock::Simulated;
use serde_json::{Value, json};
use tokio::sync::Notify as Bell;

use super::world::{A, B, Deed, World, context, gated, text, words};
use crate::config::Quotas;
use crate::notify::{Outgoing, Post, SigningSecret, Unsent};
use crate::service::notifications::{self, PutTarget};
use crate::service::{ServiceError, pipelines};

const NOW: u64 = 1_795_342_830_000;
const URL: &str = "https://chat.example/hook";

/// Whoever is told: takes everything, but for the answers that a test prepared.
#[derive(Clone, Default)]
pub struct Receiver {
    heard: Arc<Mutex<Vec<Outgoing>>>,
    answers: Arc<Mutex<VecDeque<Unsent>>>,
    bell: Arc<Bell>,
}

impl Receiver {
    pub fn post(&self) -> Post {
        let receiver = self.clone();
        Arc::new(move |outgoing| {
            receiver.heard.lock().unwrap().push(outgoing);
            receiver.bell.notify_one();
            let answer = receiver.answers.lock().unwrap().pop_front();
            async move { answer.map_or(Ok(()), Err) }.boxed()
        })
    }

    pub fn refuses(&self, times: usize, with: &Unsent) {
        self.answers.lock().unwrap().extend(std::iter::repeat_n(with.clone(), times));
    }

    pub fn all(&self) -> Vec<Outgoing> {
        self.heard.lock().unwrap().clone()
    }
}

pub fn header<'a>(outgoing: &'a Outgoing, name: &str) -> &'a str {
    outgoing.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str()).unwrap()
}

pub fn body(outgoing: &Outgoing) -> Value {
    serde_json::from_slice(&outgoing.body).unwrap()
}

/// What happened to which execution, in a few words.
fn short(outgoing: &Outgoing) -> String {
    let event = body(outgoing);
    let detail = &event["detail"];
    let of = detail.get("action").or(detail.get("stage")).unwrap_or(&detail["pipeline"]);
    format!("{} {}", text(of), text(&detail["state"]))
}

#[test]
fn a_target_where_nothing_arrives_is_told_of_at_once() {
    let world = World::new();
    let check = |url: &str, is_told: bool| {
        let input = PutTarget { url: url.to_owned(), secret: None };
        let put = world.run(notifications::put(&world.service, &context(A), "chat", input));
        let warning = put.unwrap().warning;
        let expected = format!(
            "nothing is delivered to {url}, which is not a public address: those who run the host allow its origin by \
             `private` in [notifications]"
        );
        assert_eq!(warning, is_told.then_some(expected));
    };
    check("https://chat.example/hook", false);
    check("https://203.0.114.7/hook", false);
    for url in [
        "http://127.0.0.1:9000/x",
        "http://localhost/x",
        "https://10.0.0.1/",
        "http://[::1]:80/",
        "http://169.254.169.254/",
    ] {
        check(url, true);
    }
}

impl World {
    fn put_target(&self, account: u64, name: &str, url: &str) -> Result<Option<String>, ServiceError> {
        let input = PutTarget { url: url.to_owned(), secret: None };
        Ok(self.run(notifications::put(&self.service, &context(account), name, input))?.secret)
    }

    pub fn target(&self, name: &str) -> Value {
        let listed = self.run(notifications::list(&self.service, &context(A))).unwrap();
        let listed = serde_json::to_value(listed).unwrap();
        let found = listed["targets"].as_array().unwrap().iter().find(|target| target["name"] == name);
        found.cloned().unwrap_or_else(|| panic!("{name} is not in {listed}"))
    }

    pub fn dead(&self, name: &str) -> Vec<Value> {
        let failed = self.run(notifications::failed(&self.service, &context(A), name)).unwrap();
        serde_json::to_value(failed).unwrap()["failed"].as_array().unwrap().clone()
    }

    pub fn retry(&self, name: &str, id: &str) -> Result<(), String> {
        self.run(notifications::retry(&self.service, &context(A), name, id)).map_err(|error| words(&error))
    }

    /// Lets the notifier run until the receiver was asked so often.
    pub fn notify_until(&mut self, times: usize) -> Vec<Outgoing> {
        self.notify_while(|heard| heard.len() < times)
    }

    pub fn notify_while(&mut self, missing: impl Fn(&[Outgoing]) -> bool) -> Vec<Outgoing> {
        self.start_notifier();
        let receiver = self.receiver.clone();
        self.run(async {
            while missing(&receiver.all()) {
                receiver.bell.notified().await;
            }
        });
        self.receiver.all()
    }

    pub fn start_notifier(&mut self) {
        if let Some(notifier) = self.notifier.take() {
            let service = Arc::clone(&self.service);
            self.run(async { drop(tokio::spawn(notifier.run(service))) });
        }
    }
}

const WHOLE: &[&str] = &[
    "site STARTED",
    "Source STARTED",
    "Source STARTED",
    "Source SUCCEEDED",
    "Source SUCCEEDED",
    "Build STARTED",
    "Make STARTED",
    "Make SUCCEEDED",
    "Build SUCCEEDED",
    "site SUCCEEDED",
];

#[test]
fn each_target_is_told_of_what_happens_in_its_account_in_order_and_signed() {
    let mut world = World::new();
    world.create(A, "before");
    let secret = SigningSecret::read(&world.put_target(A, "chat", URL).unwrap().unwrap()).unwrap();
    world.put_target(B, "chat", "https://b.example/").unwrap();
    world.create(A, "site");
    // What each pipeline tells is in order; between two of them there is none, and what one told just before may come too.
    let of = |heard: &[Outgoing]| -> Vec<String> {
        heard.iter().filter(|it| body(it)["detail"]["pipeline"] == "site").map(short).collect()
    };
    let heard = world.notify_while(|heard| of(heard).len() < WHOLE.len());
    assert_eq!(of(&heard), WHOLE);
    for outgoing in &heard {
        assert_eq!((&*outgoing.url, outgoing.private), (URL, false), "another account's is told nothing of this one");
        let (id, seconds) = (header(outgoing, "webhook-id"), header(outgoing, "webhook-timestamp"));
        assert_eq!(id, text(&body(outgoing)["id"]));
        let signed = secret.sign(id, seconds.parse().unwrap(), &outgoing.body);
        assert_eq!(header(outgoing, "webhook-signature"), signed);
    }
}

#[test]
fn what_is_not_taken_is_tried_again_and_nothing_overtakes_it() {
    let clock = Simulated::new(NOW);
    let mut world = World::on(Quotas::default(), Arc::new(clock.clone()));
    world.put_target(A, "chat", URL).unwrap();
    world.create(A, "site");
    world.receiver.refuses(2, &Unsent::Answered(500));
    world.receiver.refuses(3, &Unsent::Unreachable("nobody there".to_owned()));
    world.notify_until(1);
    world.run(clock.advance(Duration::from_millis(1_000)));
    world.run(clock.advance(Duration::from_millis(2_000)));
    assert_eq!(world.target("chat")["failing"]["reason"], "nobody there");
    world.run(clock.advance(Duration::from_secs(60)));
    let heard = world.receiver.all();
    let attempts: Vec<_> = heard.iter().map(|outgoing| header(outgoing, "pipewright-attempt").to_owned()).collect();
    assert_eq!(&attempts[..7], ["1", "2", "3", "4", "5", "6", "1"]);
    assert!(heard[..6].iter().all(|outgoing| outgoing.body == heard[0].body), "one event until it is taken");
    assert_eq!(heard[5..].iter().map(short).collect::<Vec<_>>(), WHOLE);
    let target = world.target("chat");
    assert_eq!((&target["delivered"], &target["failing"], &target["failed"]), (&json!(10), &Value::Null, &json!(0)));
}

#[test]
fn an_event_that_a_target_refuses_is_given_up_and_can_be_delivered_later() {
    let clock = Simulated::new(NOW);
    let mut world = World::on(Quotas::default(), Arc::new(clock.clone()));
    world.put_target(A, "chat", URL).unwrap();
    world.create(A, "site");
    world.receiver.refuses(10, &Unsent::Answered(302));
    world.notify_until(1);
    world.run(clock.advance(Duration::from_secs(3600)));
    let heard = world.receiver.all();
    assert_eq!(heard.len(), 10 + WHOLE.len() - 1, "the first event ten times, and the others");
    let dead = world.dead("chat");
    assert_eq!(dead.len(), 1);
    let (id, letter) = (text(&dead[0]["id"]), &dead[0]);
    assert_eq!((&letter["about"], &letter["attempts"]), (&json!("site STARTED"), &json!(10)));
    assert_eq!(letter["reason"], "it answered with the status 302");
    world.receiver.refuses(1, &Unsent::Answered(500));
    let refused = "ValidationException: chat did not take it: it answered with the status 500";
    assert_eq!(world.retry("chat", &id), Err(refused.to_owned()));
    assert_eq!(world.retry("chat", &id), Ok(()));
    let again = world.receiver.all();
    assert_eq!((again.last().unwrap().body.clone(), world.dead("chat").len()), (heard[0].body.clone(), 0));
    let gone = world.retry("chat", &id).unwrap_err();
    assert!(gone.starts_with("ResourceNotFoundException: There is no failed delivery"), "{gone}");
}

/// For a day; after that each event that is left has one more attempt.
#[test]
fn a_target_that_nobody_answers_for_is_waited_for() {
    let clock = Simulated::new(NOW);
    let mut world = World::on(Quotas::default(), Arc::new(clock.clone()));
    world.put_target(A, "chat", URL).unwrap();
    world.create(A, "site");
    world.receiver.refuses(100_000, &Unsent::Unreachable("nobody there".to_owned()));
    world.notify_until(1);
    world.run(clock.advance(Duration::from_secs(23 * 3600)));
    assert_eq!((world.target("chat")["delivered"].clone(), world.dead("chat").len()), (json!(0), 0));
    world.run(clock.advance(Duration::from_secs(2 * 3600)));
    assert_eq!(world.dead("chat").len(), WHOLE.len());
    world.receiver.answers.lock().unwrap().clear();
    world.start(A, "site");
    world.run(clock.advance(Duration::from_secs(1)));
    assert_eq!(world.target("chat")["delivered"], json!(10));
}

/// The notifier of a host that starts again goes on where the cursor is, or some seconds before.
#[test]
fn a_host_that_starts_again_loses_nothing() {
    let clock = Simulated::new(NOW);
    let mut world = World::on(Quotas::default(), Arc::new(clock.clone()));
    // What happened before a target was made is not told.
    world.create(A, "before");
    world.run(clock.advance(Duration::from_secs(1)));
    world.put_target(A, "chat", URL).unwrap();
    world.create(A, "site");
    world.notify_until(1);
    world.run(clock.advance(Duration::from_secs(60)));
    let kept = world.run(world.service.host.driver.account_part(A, "cursor/chat")).unwrap();
    assert!(kept.is_some(), "the cursor is kept");
    world.run(clock.advance(Duration::from_secs(60)));
    let target = world.run(notifications::targets(&world.service, A)).unwrap().remove(0);
    let cursor = world.run(notifications::cursor(&world.service, &target)).unwrap();
    let context = context(A);
    let from = crate::service::events::From::Cursor(&cursor);
    world.start(A, "site");
    world.run(clock.advance(Duration::from_secs(1)));
    let mut feed = world.run(crate::service::events::of_account(&world.service, &context, from)).unwrap();
    let mut told = Vec::new();
    while let Some(Ok(Some(event))) = world.run(async { feed.event().now_or_never() }) {
        told.push(event.id);
    }
    let second: Vec<_> = world.receiver.all()[10..].iter().map(|it| header(it, "webhook-id").to_owned()).collect();
    assert_eq!(second.len(), 10);
    assert!(told.ends_with(&second), "{told:?}");
}

#[test]
fn a_request_for_approval_is_told_as_sns_brings_it() {
    let mut world = World::new();
    world.put_target(A, "chat", URL).unwrap();
    world.script.does("Ask", Deed::Ask("May it go out?"));
    let mut pipeline = gated("site");
    pipeline["stages"][2]["actions"][0]["configuration"] = json!({
        "NotificationArn": "arn:aws:sns:us-east-1:000000000000:reviewers",
        "CustomData": "look at the tables",
    });
    world.ok(A, pipelines::create, json!({ "pipeline": pipeline }));
    let execution = world.newest(A, "site");
    let token = world.token(A, "site", &execution);
    let heard = world.notify_until(WHOLE.len() + 2);
    let messages: Vec<Value> = heard.iter().map(body).filter(|it| it["Type"] == "Notification").collect();
    assert_eq!(messages.len(), 1, "{heard:?}");
    assert_eq!(messages[0]["TopicArn"], "arn:aws:sns:us-east-1:000000000000:reviewers");
    assert_eq!(messages[0]["Subject"], "APPROVAL NEEDED: AWS CodePipeline site for action Ask");
    let message: Value = serde_json::from_str(&text(&messages[0]["Message"])).unwrap();
    let approval = &message["approval"];
    assert_eq!((&message["region"], &approval["token"]), (&json!("us-east-1"), &json!(token)));
    assert_eq!((&approval["stageName"], &approval["customData"]), (&json!("Gate"), &json!("look at the tables")));
    let expires = text(&approval["expires"]);
    assert_eq!((expires.len(), &expires[16..]), (17, "Z"));
}

#[test]
fn what_is_no_target_is_refused() {
    let world = World::new();
    let refused = |name: &str, url: &str, expected: &str| {
        let error = world.put_target(A, name, url).unwrap_err();
        assert!(words(&error).starts_with(expected), "{}", words(&error));
    };
    refused("a b", URL, "ValidationException: name: write 1 to 40 letters");
    refused("", URL, "ValidationException: name");
    refused("chat", "chat.example", "ValidationException: url: write an http or https address");
    refused("chat", "https://user@chat.example/", "ValidationException: url");
    for number in 0..16 {
        world.put_target(A, &format!("t{number}"), URL).unwrap();
    }
    refused("one-more", URL, "limit: An account has at most 16 targets");
    assert_eq!(world.put_target(A, "t3", "https://other.example/").unwrap(), None, "its secret stays");
    let remove = |name: &str| world.run(notifications::remove(&world.service, &context(A), name));
    remove("t3").unwrap();
    assert_eq!(
        words(&remove("t3").unwrap_err()),
        "ResourceNotFoundException: There is no target \"t3\" of notifications"
    );
    let parts = world.run(world.service.host.driver.account_parts(A, "")).unwrap();
    assert!(!parts.iter().any(|(key, _)| key.ends_with("/t3")), "nothing is left of it");
}
