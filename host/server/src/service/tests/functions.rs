//! Functions: what each is told of a job, what becomes of it, and what its report means to an action and a rule.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pipewright_base::clock::{self, Simulated};
use serde_json::{Value, json};

use super::notifications::{body, header};
use super::world::{A, Deed, World, pipeline, text};
use crate::config::Quotas;
use crate::functions;
use crate::notify::{Outgoing, Unsent};
use crate::service::functions::{Function, configure};
use crate::service::{jobs, pipelines};

const NOW: u64 = 1_795_342_830_000;
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host with the function `tell`, a pipeline of which `Make` is an action of it, and who asks it.
struct Asking {
    world: World,
    clock: Simulated,
}

impl Asking {
    fn new() -> Self {
        let clock = Simulated::new(NOW);
        let mut world = World::on(Quotas::default(), Arc::new(clock.clone()));
        let service = Arc::get_mut(&mut world.service).unwrap();
        let tell: Function = serde_json::from_value(json!({ "url": "https://fn.example/tell" })).unwrap();
        service.functions = [(A, [("tell".to_owned(), tell)].into())].into();
        configure(&service.host, &service.functions);
        world.script.does("Make", Deed::Queue);
        world.script.does("Judge", Deed::Queue);
        let service = Arc::clone(&world.service);
        world.run(async { drop(tokio::spawn(functions::run(service))) });
        Self { world, clock }
    }

    fn create(&self, function: &str) -> String {
        let mut declaration = pipeline("site");
        let action = &mut declaration["stages"][1]["actions"][0];
        action["actionTypeId"] = json!({ "category": "Invoke", "owner": "AWS", "provider": "Lambda", "version": "1" });
        action["configuration"] = json!({ "FunctionName": function, "UserParameters": "{\"to\":\"all\"}" });
        action["outputArtifacts"] = json!([]);
        action["namespace"] = json!("Told");
        self.world.ok(A, pipelines::create, json!({ "pipeline": declaration }));
        self.world.newest(A, "site")
    }

    /// One whose stage `Build` is entered where the function says so.
    fn create_judged(&self) -> String {
        let mut declaration = pipeline("site");
        let rule = json!({
            "name": "Judge", "configuration": { "FunctionName": "tell" },
            "ruleTypeId": { "category": "Rule", "owner": "AWS", "provider": "LambdaInvoke", "version": "1" },
        });
        declaration["stages"][1]["beforeEntry"] = json!({ "conditions": [{ "result": "FAIL", "rules": [rule] }] });
        declaration["pipelineType"] = json!("V2");
        self.world.script.succeeds("Make");
        self.world.ok(A, pipelines::create, json!({ "pipeline": declaration }));
        self.world.newest(A, "site")
    }

    /// Lets time pass until the function was asked so often.
    fn asked(&self, times: usize) -> Vec<Outgoing> {
        let until = clock::monotonic() + PATIENCE;
        while self.world.receiver.all().len() < times {
            assert!(clock::monotonic() < until, "nobody asks");
            self.pass(1);
        }
        self.world.receiver.all()
    }

    fn pass(&self, seconds: u64) {
        self.world.run(self.clock.advance(Duration::from_secs(seconds)));
        self.world.run(async { tokio::task::yield_now().await });
    }

    fn ended(&self, execution: &str) -> String {
        let until = clock::monotonic() + PATIENCE;
        while self.world.status(A, "site", execution) == "InProgress" {
            assert!(clock::monotonic() < until, "it does not end");
            self.pass(1);
        }
        self.world.status(A, "site", execution)
    }
}

fn job(outgoing: &Outgoing) -> Value {
    body(outgoing)["CodePipeline.job"].take()
}

#[test]
fn a_function_is_told_of_its_job_and_reports_it() {
    let asking = Asking::new();
    let execution = asking.create("tell");
    let asked = asking.asked(1);
    assert_eq!(
        (asked[0].url.as_str(), header(&asked[0], "x-amz-invocation-type")),
        ("https://fn.example/tell", "Event")
    );
    let mut job = job(&asked[0]);
    let id = text(&job["id"]);
    let credentials = job["data"]["artifactCredentials"].take();
    assert!(credentials["expirationTime"].as_u64().unwrap() > NOW, "{credentials}");
    let input = job["data"]["inputArtifacts"][0].take();
    assert_eq!((&input["name"], &input["revision"]), (&json!("Code"), &json!("r1")));
    let configuration = json!({ "FunctionName": "tell", "UserParameters": "{\"to\":\"all\"}" });
    let data = json!({
        "actionConfiguration": { "configuration": configuration },
        "inputArtifacts": [null], "outputArtifacts": [], "artifactCredentials": null,
    });
    assert_eq!(job, json!({ "id": id, "accountId": "000000000000", "data": data }));
    let told = json!({ "summary": "done", "externalExecutionId": "7" });
    let report = json!({ "jobId": id, "outputVariables": { "To": "all" }, "executionDetails": told });
    asking.world.ok(A, jobs::succeed, report);
    assert_eq!(asking.ended(&execution), "Succeeded");
    let action = asking.world.action(A, "site", "Make");
    assert_eq!(action["output"]["outputVariables"], json!({ "To": "all" }));
    let result = &action["output"]["executionResult"];
    // As CodePipeline shows it.
    assert_eq!((&result["externalExecutionId"], &result["externalExecutionSummary"]), (&json!("tell"), &Value::Null));
}

#[test]
fn a_function_that_goes_on_is_asked_again_after_a_while() {
    let asking = Asking::new();
    let execution = asking.create("tell");
    let first = text(&job(&asking.asked(1)[0])["id"]);
    asking.world.ok(A, jobs::succeed, json!({ "jobId": first, "continuationToken": "{\"step\":2}" }));
    let before = asking.world.service.host.driver.clock().now_ms();
    let again = job(&asking.asked(2)[1]);
    assert!(asking.world.service.host.driver.clock().now_ms() >= before + 30_000);
    assert_eq!(again["data"]["continuationToken"], "{\"step\":2}");
    assert_ne!(text(&again["id"]), first);
    asking.world.ok(A, jobs::succeed, json!({ "jobId": again["id"] }));
    assert_eq!(asking.ended(&execution), "Succeeded");
}

#[test]
fn what_a_function_answers_says_what_becomes_of_its_job() {
    /// How often it is told of it, and whether it takes twenty minutes until the job has failed.
    enum Told {
        Never,
        Once,
        OnceAndWaitedFor,
        AgainAndAgain,
    }
    let check = |function: &str, answer: Option<Unsent>, told: Told, kind: &str, expected: &str| {
        let asking = Asking::new();
        answer.iter().for_each(|answer| asking.world.receiver.refuses(100, answer));
        let execution = asking.create(function);
        assert_eq!(asking.ended(&execution), "Failed");
        let minutes = (asking.world.service.host.driver.clock().now_ms() - NOW) / 60_000;
        let asked = asking.asked(0);
        let jobs: BTreeSet<_> = asked.iter().map(|asked| text(&job(asked)["id"])).collect();
        let is_as_told = match told {
            Told::Never => asked.is_empty() && minutes == 0,
            Told::Once => asked.len() == 1 && minutes == 0,
            Told::OnceAndWaitedFor => asked.len() == 1 && minutes == 20,
            Told::AgainAndAgain => asked.len() > 20 && jobs.len() == 1 && minutes == 20,
        };
        assert!(is_as_told, "{function}: {} times, {minutes} minutes, {jobs:?}", asked.len());
        let stage = asking.world.state(A, "site")["stageStates"][1].take();
        let error = &stage["actionStates"][0]["latestExecution"]["errorDetails"];
        assert_eq!((text(&error["code"]).as_str(), text(&error["message"]).as_str()), (kind, expected), "{function}");
    };
    let missing = "The AWS Lambda function other does not exist. Correct `FunctionName`, or name the function in `[functions.other]` of the server's configuration";
    check("other", None, Told::Never, "ConfigurationError", missing);
    let missing = "The AWS Lambda function tell does not exist. Correct `FunctionName`, or name the function in `[functions.tell]` of the server's configuration";
    check("tell", Some(Unsent::Answered(404)), Told::Once, "ConfigurationError", missing);
    check(
        "arn:aws:lambda:us-east-1:000000000000:function:tell",
        Some(Unsent::Answered(403)),
        Told::Once,
        "PermissionError",
        "The AWS Lambda function arn:aws:lambda:us-east-1:000000000000:function:tell cannot be invoked: it answered with the \
         status 403",
    );
    check(
        "tell",
        Some(Unsent::Answered(503)),
        Told::AgainAndAgain,
        "SystemUnavailable",
        "The AWS Lambda function tell cannot be invoked: it answered with the status 503",
    );
    for taken in [None, Some(Unsent::Late(10))] {
        check(
            "tell",
            taken,
            Told::OnceAndWaitedFor,
            "JobFailed",
            "The AWS Lambda function tell failed to return a result. Check the function to verify that it has permission to call the \
             PutJobSuccessResult action and that it made a call to PutJobSuccessResult.",
        );
    }
}

#[test]
fn a_function_that_cannot_be_reached_is_told_of_the_same_job_again() {
    let asking = Asking::new();
    asking.world.receiver.refuses(1, &Unsent::Answered(503));
    // It may have begun, and is not asked twice.
    asking.world.receiver.refuses(1, &Unsent::Late(10));
    let execution = asking.create("tell");
    let asked = asking.asked(2);
    assert_eq!(job(&asked[0])["id"], job(&asked[1])["id"]);
    for _ in 0..100 {
        asking.pass(1);
    }
    assert_eq!(asking.asked(2).len(), 2);
    asking.world.ok(A, jobs::succeed, json!({ "jobId": job(&asked[1])["id"] }));
    assert_eq!(asking.ended(&execution), "Succeeded");
}

#[test]
fn a_rule_is_judged_by_its_function() {
    let check = |failure: Option<&str>, expected: [&str; 3]| {
        let asking = Asking::new();
        let execution = asking.create_judged();
        let id = job(&asking.asked(1)[0])["id"].take();
        match failure {
            None => asking.world.ok(A, jobs::succeed, json!({ "jobId": id })),
            Some(kind) => {
                let details = json!({ "type": kind, "message": "not today" });
                asking.world.ok(A, jobs::fail, json!({ "jobId": id, "failureDetails": details }))
            }
        };
        let status = asking.ended(&execution);
        let condition = asking.world.state(A, "site")["stageStates"][1]["beforeEntryConditionState"].take();
        let rule = &condition["conditionStates"][0]["ruleStates"][0]["latestExecution"];
        let of = |of: &Value| text(&of["status"]);
        assert_eq!([status, of(&condition["latestExecution"]), of(rule)], expected.map(str::to_owned), "{failure:?}");
    };
    check(None, ["Succeeded", "Succeeded", "Succeeded"]);
    check(Some("JobFailed"), ["Failed", "Failed", "Failed"]);
    // A rule has no such status, and its condition does.
    check(Some("SystemUnavailable"), ["Failed", "Errored", "Failed"]);
}
