//! Feeds of events: all of them, in order, from any point on, and as they happen.

use futures::FutureExt as _;
use serde_json::{Value, json};

use super::builds;
use super::executions::answer;
use super::rules::conditional;
use super::world::{A, Deed, World, context, gated, pipeline, text, words};
use crate::service::events::{self, Feed, FeedEvent, From};
use crate::service::{executions, pipelines, projects, state};

impl World {
    fn feed(&self, name: Option<&str>, from: From<'_>) -> Feed {
        self.run(async {
            match name {
                Some(name) => events::of_pipeline(&self.service, &context(A), name, from).await,
                None => events::of_account(&self.service, &context(A), from).await,
            }
        })
        .unwrap_or_else(|error| panic!("{}", words(&error)))
    }

    /// What a feed has to tell now.
    fn heard(&self, feed: &mut Feed) -> Vec<FeedEvent> {
        let mut heard = Vec::new();
        while let Some(told) = self.run(async { feed.event().now_or_never() }) {
            match told.unwrap() {
                Some(told) => heard.push(told),
                None => break,
            }
        }
        heard
    }
}

/// An event in one word each: what it is of, and its state.
fn short(told: &FeedEvent) -> String {
    let (event, detail) = (&told.event, &told.event["detail"]);
    let kind = text(&event["detail-type"]).split(' ').nth(1).unwrap().to_owned();
    let of = detail.get("action").or(detail.get("stage")).unwrap_or(&detail["pipeline"]);
    format!("{kind} {} {}", text(of), text(&detail["state"]))
}

const WHOLE: &[&str] = &[
    "Pipeline site STARTED",
    "Stage Source STARTED",
    "Action Source STARTED",
    "Action Source SUCCEEDED",
    "Stage Source SUCCEEDED",
    "Stage Build STARTED",
    "Action Make STARTED",
    "Action Make SUCCEEDED",
    "Stage Build SUCCEEDED",
    "Pipeline site SUCCEEDED",
];

#[test]
fn a_feed_from_the_start_has_every_event_in_its_order() {
    let world = World::new();
    world.create(A, "site");
    for name in [Some("site"), None] {
        let heard = world.heard(&mut world.feed(name, From::Start));
        assert_eq!(heard.iter().map(short).collect::<Vec<_>>(), WHOLE, "{name:?}");
    }
}

#[test]
fn an_account_is_told_nothing_of_what_runs_a_build() {
    let world = World::new();
    let mut live = world.feed(None, From::Now);
    world.ok(A, projects::create, builds::project("site"));
    builds::whole(&world, json!({}));
    world.create(A, "site");
    for feed in [&mut live, &mut world.feed(None, From::Start)] {
        assert_eq!(world.heard(feed).iter().map(short).collect::<Vec<_>>(), WHOLE);
    }
}

#[test]
fn an_event_has_eventbridge_s_shape() {
    let world = World::new();
    let execution = world.create(A, "site");
    let heard = world.heard(&mut world.feed(Some("site"), From::Start));
    let mut ids: Vec<_> = heard.iter().map(|told| text(&told.event["id"])).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), heard.len(), "ids are unique");
    for told in &heard {
        let event = &told.event;
        assert_eq!((&event["version"], &event["source"]), (&json!("0"), &json!("aws.codepipeline")));
        assert_eq!((&event["account"], &event["region"]), (&json!("000000000000"), &json!("us-east-1")));
        assert_eq!(event["resources"], json!(["arn:aws:codepipeline:us-east-1:000000000000:site"]));
        assert_eq!(event["detail"]["execution-id"], *execution);
        assert_eq!(event["detail"]["version"], json!(1.0));
        assert!(text(&event["time"]).ends_with('Z'), "{event}");
        let started: jiff::Timestamp = text(&event["detail"]["start-time"]).parse().unwrap();
        assert!(started <= jiff::Timestamp::from_millisecond(told.at.0 as i64).unwrap(), "{event}");
        let is_of_stage = event["detail-type"].as_str().is_some_and(|kind| kind.contains(" Stage "));
        assert_eq!(event["detail"]["pipeline-execution-attempt"], json!(if is_of_stage { 0.0 } else { 1.0 }));
    }
    let made = heard.iter().find(|told| short(told) == "Action Make SUCCEEDED").unwrap();
    assert_eq!(made.event["detail"]["output-artifacts"], json!([{ "name": "Site" }]));
    let cause = |told: &FeedEvent| told.event["detail"]["cause"].clone();
    let asked = json!({ "by": "arn:aws:iam::000000000000:user/ada", "request": "request-1", "from": "api" });
    assert_eq!((cause(&heard[0]), &cause(made)["from"]), (asked, &json!("action")));
    let action_type = json!({ "owner": "Custom", "provider": "Make", "category": "Build", "version": "1" });
    assert_eq!(made.event["detail"]["type"], action_type);
    let started = heard.iter().find(|told| short(told) == "Action Make STARTED").unwrap();
    assert_eq!(started.event["detail"]["input-artifacts"], json!([{ "name": "Code" }]));
}

#[test]
fn a_failure_is_told_with_its_class_and_words() {
    let world = World::new();
    world.script.does("Make", Deed::Fail("no such target"));
    world.create(A, "site");
    let heard = world.heard(&mut world.feed(Some("site"), From::Start));
    let failed = heard.iter().find(|told| short(told) == "Action Make FAILED").unwrap();
    let result = json!({ "error-code": "JobFailed", "external-execution-summary": "no such target" });
    assert_eq!(failed.event["detail"]["execution-result"], result);
    assert_eq!(short(heard.last().unwrap()), "Pipeline site FAILED");
}

#[test]
fn an_attempt_is_one_more_with_each_retry() {
    let world = World::new();
    world.script.does("Make", Deed::Fail("no such target"));
    let execution = world.create(A, "site");
    for _ in 0..2 {
        let retry = json!({
            "pipelineName": "site", "stageName": "Build", "pipelineExecutionId": execution, "retryMode": "ALL_ACTIONS",
        });
        world.ok(A, executions::retry_stage, retry);
        world.ended(A, "site", &execution);
    }
    let heard = world.heard(&mut world.feed(Some("site"), From::Start));
    let of_pipeline = heard.iter().filter(|told| short(told).starts_with("Pipeline "));
    let attempts = of_pipeline.map(|told| {
        let detail = &told.event["detail"];
        (text(&detail["state"]), detail["pipeline-execution-attempt"].as_f64().unwrap())
    });
    let expected =
        [("STARTED", 1.0), ("FAILED", 1.0), ("RESUMED", 2.0), ("FAILED", 2.0), ("RESUMED", 3.0), ("FAILED", 3.0)];
    assert_eq!(attempts.collect::<Vec<_>>(), expected.map(|(state, attempt)| (state.to_owned(), attempt)));
}

#[test]
fn who_answered_an_approval_is_told() {
    let world = World::new();
    world.script.does("Ask", Deed::Ask("ship it?"));
    world.ok(A, pipelines::create, json!({ "pipeline": gated("site") }));
    let execution = world.newest(A, "site");
    let token = world.token(A, "site", &execution);
    let mut put = answer("Ask", &token, "Rejected");
    put["result"]["summary"] = json!("too late");
    world.ok(A, executions::put_approval_result, put);
    world.ended(A, "site", &execution);
    let heard = world.heard(&mut world.feed(Some("site"), From::Start));
    let at = heard.iter().position(|told| short(told) == "Approval Ask REJECTED").unwrap();
    let (event, detail) = (&heard[at].event, &heard[at].event["detail"]);
    assert_eq!((&event["source"], &detail["execution-id"]), (&json!("pipewright"), &json!(execution)));
    assert_eq!((&detail["by"], &detail["summary"]), (&json!("arn:aws:iam::000000000000:user/ada"), &json!("too late")));
    assert_eq!(short(&heard[at + 1]), "Action Ask FAILED");
}

#[test]
fn conditions_and_rules_are_told_as_pipewrights_own() {
    let world = World::new();
    world.script.does("Window", Deed::Object("too late"));
    world.ok(A, pipelines::create, json!({ "pipeline": conditional("beforeEntry", "FAIL", &["Window"]) }));
    let execution = world.newest(A, "site");
    world.ended(A, "site", &execution);
    let heard = world.heard(&mut world.feed(Some("site"), From::Start));
    let own: Vec<&Value> =
        heard.iter().map(|told| &told.event).filter(|event| event["source"] == "pipewright").collect();
    let kinds = own.iter().map(|event| format!("{} {}", text(&event["detail-type"]), text(&event["detail"]["state"])));
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        [
            "Pipewright Condition Execution State Change STARTED",
            "Pipewright Rule Execution State Change STARTED",
            "Pipewright Rule Execution State Change FAILED",
            "Pipewright Condition Execution State Change FAILED",
        ]
    );
    for event in &own {
        assert_eq!((&event["account"], &event["detail"]["execution-id"]), (&json!("000000000000"), &json!(execution)));
        assert_eq!((&event["detail"]["stage"], &event["resources"]), (&json!("Build"), &heard[0].event["resources"]));
    }
    let rule = &own[2]["detail"];
    assert_eq!(
        (&rule["rule"], &rule["execution-result"]["external-execution-summary"]),
        (&json!("Window"), &json!("too late"))
    );
}

/// A stage that is skipped has a state of its own; what is done to a pipeline itself is no event of an execution.
#[test]
fn states_are_codepipelines_and_what_has_none_is_not_told() {
    let world = World::new();
    world.script.does("Make", Deed::Fail("no such target"));
    let mut declared = json!({ "pipeline": pipeline("site") });
    declared["pipeline"]["stages"][1]["onFailure"] = json!({ "result": "SKIP" });
    declared["pipeline"]["pipelineType"] = json!("V2");
    world.ok(A, pipelines::create, declared.clone());
    let first = world.newest(A, "site");
    world.ended(A, "site", &first);
    let inbound = json!({ "pipelineName": "site", "stageName": "Build", "transitionType": "Inbound", "reason": "no" });
    world.ok(A, state::disable_transition, inbound.clone());
    world.ok(A, state::enable_transition, inbound);
    world.ok(A, pipelines::update, declared);
    let skipped = [
        "Pipeline site STARTED",
        "Stage Source STARTED",
        "Action Source STARTED",
        "Action Source SUCCEEDED",
        "Stage Source SUCCEEDED",
        "Stage Build STARTED",
        "Action Make STARTED",
        "Action Make FAILED",
        "Stage Build SKIPPED",
        "Pipeline site SUCCEEDED",
    ];
    assert_eq!(world.heard(&mut world.feed(Some("site"), From::Start)).iter().map(short).collect::<Vec<_>>(), skipped);
}

#[test]
fn attempts_count_the_retries() {
    let world = World::new();
    world.script.does("Make", Deed::Fail("no such target"));
    let execution = world.create(A, "site");
    world.script.succeeds("Make");
    let retry = json!({
        "pipelineName": "site", "stageName": "Build", "pipelineExecutionId": execution, "retryMode": "FAILED_ACTIONS",
    });
    world.ok(A, executions::retry_stage, retry);
    world.ended(A, "site", &execution);
    let heard = world.heard(&mut world.feed(Some("site"), From::Start));
    let attempts = |of: &str| {
        let told = heard.iter().map(|told| (short(told), &told.event["detail"]["pipeline-execution-attempt"]));
        let told = told.filter_map(|(words, attempt)| Some(format!("{} {attempt}", words.strip_prefix(of)?)));
        told.collect::<Vec<_>>()
    };
    assert_eq!(attempts("Pipeline site "), ["STARTED 1.0", "FAILED 1.0", "RESUMED 2.0", "SUCCEEDED 2.0"]);
    assert_eq!(attempts("Stage Build "), ["STARTED 0.0", "FAILED 0.0", "RESUMED 1.0", "SUCCEEDED 1.0"]);
}

#[test]
fn whoever_comes_back_with_a_cursor_misses_nothing() {
    let world = World::new();
    world.create(A, "site");
    for name in [Some("site"), None] {
        let heard = world.heard(&mut world.feed(name, From::Start));
        let events: Vec<_> = heard.iter().map(|told| told.event.clone()).collect();
        for (number, told) in heard.iter().enumerate() {
            let again = world.heard(&mut world.feed(name, From::Cursor(&told.cursor)));
            let again: Vec<_> = again.iter().map(|told| told.event.clone()).collect();
            // What comes again is a part of one record at most; what was not heard comes in its order.
            let rest = &events[number + 1..];
            assert!(again.ends_with(rest), "{name:?} after {number}: {again:#?}");
            assert!(events.ends_with(&again), "{name:?} after {number}");
        }
    }
}

#[test]
fn a_cursor_of_nobody_is_refused() {
    let world = World::new();
    world.create(A, "site");
    let expected = "ValidationException: The Last-Event-ID is not one that this stream gave";
    let of_pipeline = |cursor: &str| {
        world.run(events::of_pipeline(&world.service, &context(A), "site", From::Cursor(cursor))).map(drop)
    };
    let of_account =
        |cursor: &str| world.run(events::of_account(&world.service, &context(A), From::Cursor(cursor))).map(drop);
    for wrong in ["", "x", "-1", "now", "99999999999999999999"] {
        assert_eq!(words(&of_pipeline(wrong).unwrap_err()), expected, "{wrong}");
        assert_eq!(words(&of_account(wrong).unwrap_err()), expected, "{wrong}");
    }
    assert_eq!(words(&of_pipeline(&u64::MAX.to_string()).unwrap_err()), expected);
}

#[test]
fn a_feed_from_now_has_only_what_follows() {
    let world = World::new();
    world.create(A, "site");
    for name in [Some("site"), None] {
        let mut feed = world.feed(name, From::Now);
        let before = world.heard(&mut feed).len();
        assert!(before == 0 || name.is_none(), "{before}");
        let execution = world.whole(A, "site");
        let heard: Vec<_> =
            world.heard(&mut feed).into_iter().filter(|it| it.event["detail"]["execution-id"] == *execution).collect();
        assert_eq!(heard.iter().map(short).collect::<Vec<_>>(), WHOLE, "{name:?}");
    }
}

#[test]
fn a_feed_of_one_kind_has_those_alone() {
    let world = World::new();
    world.create(A, "site");
    world.whole(A, "site");
    for name in [Some("site"), None] {
        for kind in ["Pipeline", "Stage", "Action"] {
            let detail_type = format!("CodePipeline {kind} Execution State Change");
            let mut feed =
                world.feed(name, From::Start).of_type(&detail_type).unwrap_or_else(|e| panic!("{}", words(&e)));
            let heard: Vec<_> = world.heard(&mut feed).iter().map(short).collect();
            let expected: Vec<_> = WHOLE.iter().filter(|told| told.starts_with(kind)).collect();
            assert_eq!(heard.iter().rev().take(expected.len()).rev().collect::<Vec<_>>(), expected, "{name:?}");
            assert!(heard.iter().all(|told| told.starts_with(kind)), "{heard:?}");
        }
        let unknown = world.feed(name, From::Start).of_type("Stage").map(drop).unwrap_err();
        assert!(words(&unknown).starts_with("ValidationException: detail-type=Stage: there is no such kind"));
    }
}

#[test]
fn an_event_is_waited_for() {
    let world = World::new();
    world.script.does("Make", Deed::Hang);
    world.create_running(A, "site");
    world.until(A, "site", |_| world.script.calls().len() == 2);
    let mut feed = world.feed(Some("site"), From::Now);
    world.heard(&mut feed);
    let started = async {
        let input = serde_json::from_value(json!({ "name": "site" })).unwrap();
        let context = context(A);
        let start = crate::service::executions::start(&world.service, &context, input);
        let (told, _) = tokio::join!(feed.event(), start);
        told.unwrap().unwrap()
    };
    assert_eq!(short(&world.run(started)), "Pipeline site STARTED");
}

#[test]
fn a_deleted_pipeline_s_feed_ends_and_the_account_s_tells_how_it_ended() {
    let world = World::new();
    world.script.does("Make", Deed::Hang);
    world.create_running(A, "site");
    world.until(A, "site", |_| world.script.calls().len() == 2);
    let mut one = world.feed(Some("site"), From::Start);
    let mut all = world.feed(None, From::Start);
    world.ok(A, pipelines::delete, json!({ "name": "site" }));
    let last = |heard: &[FeedEvent]| heard.last().map(short);
    assert_eq!(last(&world.heard(&mut one)).as_deref(), Some("Pipeline site CANCELED"));
    assert!(world.run(one.event()).unwrap().is_none(), "nothing follows");
    assert_eq!(last(&world.heard(&mut all)).as_deref(), Some("Pipeline site CANCELED"));
    // The same for who was away meanwhile.
    let back = world.heard(&mut world.feed(None, From::Start));
    assert_eq!(last(&back).as_deref(), Some("Pipeline site CANCELED"));
}

#[test]
fn a_pipeline_that_is_made_later_is_in_the_account_s_feed_by_its_name() {
    let world = World::new();
    let mut feed = world.feed(None, From::Start);
    assert_eq!(world.heard(&mut feed).len(), 0);
    world.ok(A, pipelines::create, json!({ "pipeline": pipeline("docs") }));
    let execution = world.newest(A, "docs");
    world.ended(A, "docs", &execution);
    let heard = world.heard(&mut feed);
    let names: Vec<Value> = heard.iter().map(|told| told.event["detail"]["pipeline"].clone()).collect();
    assert_eq!(names, vec![json!("docs"); WHOLE.len()]);
}
