//! Rules of stage conditions: ListRuleTypes, ListRuleExecutions, OverrideStageCondition, and the state of conditions.

use serde_json::{Value, json};

use super::lists::pages;
use super::world::{A, B, Deed, World, pipeline, text, words};
use crate::service::{executions, pipelines, rules};

fn rule(name: &str) -> Value {
    json!({
        "name": name,
        "ruleTypeId": { "category": "Rule", "owner": "AWS", "provider": "DeploymentWindow", "version": "1" },
        "configuration": { "Cron": "* * 9-17 ? * #{variables.Days}", "Password": "hunter22" },
    })
}

/// A pipeline whose stage `Build` has a condition of that kind and result with these rules.
pub fn conditional(gate: &str, result: &str, names: &[&str]) -> Value {
    let mut declaration = pipeline("site");
    let rules: Vec<_> = names.iter().map(|name| rule(name)).collect();
    declaration["stages"][1][gate] = json!({ "conditions": [{ "result": result, "rules": rules }] });
    declaration["pipelineType"] = json!("V2");
    declaration["variables"] = json!([{ "name": "Days", "defaultValue": "MON-FRI" }]);
    declaration
}

impl World {
    fn create_conditional(&self, declaration: Value) -> String {
        self.ok(A, pipelines::create, json!({ "pipeline": declaration }));
        let execution = self.newest(A, "site");
        self.ended(A, "site", &execution);
        execution
    }

    /// The status of the stage, of its condition, and of each rule with what it said.
    fn judged(&self, gate: &str) -> (String, String, Vec<String>) {
        let stage = self.state(A, "site")["stageStates"][1].clone();
        let condition = &stage[format!("{gate}ConditionState")];
        let rules = condition["conditionStates"][0]["ruleStates"].as_array().unwrap();
        let rules = rules.iter().map(|rule| {
            let latest = &rule["latestExecution"];
            let said = latest["summary"].as_str().or(latest["errorDetails"]["message"].as_str()).unwrap_or_default();
            format!("{}: {} {said}", text(&rule["ruleName"]), text(&latest["status"])).trim_end().to_owned()
        });
        let status = |of: &Value| text(&of["latestExecution"]["status"]);
        (status(&stage), status(condition), rules.collect())
    }

    fn rule_executions(&self) -> Vec<Value> {
        pages(self, A, rules::list_executions, json!({ "pipelineName": "site" }), 1, "ruleExecutionDetails").concat()
    }
}

#[test]
fn a_condition_decides_what_becomes_of_its_stage() {
    let check = |gate: &str, result: &str, deed: Option<Deed>, make: Option<Deed>, expected: [&str; 4]| {
        let world = World::new();
        deed.into_iter().for_each(|deed| world.script.does("Window", deed));
        make.into_iter().for_each(|deed| world.script.does("Make", deed));
        let execution = world.create_conditional(conditional(gate, result, &["Window", "Other"]));
        let (stage, condition, rules) = world.judged(gate);
        let status = world.status(A, "site", &execution);
        assert_eq!([&*stage, &*condition, &*rules[0], &*status], expected, "{gate} {result}");
        assert_eq!(rules[1], "Other: Succeeded", "{gate} {result}");
    };
    let object = || Some(Deed::Object("too late"));
    let fail = || Some(Deed::Fail("no such zone"));
    let (passed, not, error) = ("Window: Succeeded", "Window: Failed too late", "Window: Failed no such zone");
    check("beforeEntry", "FAIL", None, None, ["Succeeded", "Succeeded", passed, "Succeeded"]);
    check("beforeEntry", "FAIL", object(), None, ["Failed", "Failed", not, "Failed"]);
    check("beforeEntry", "FAIL", fail(), None, ["Failed", "Errored", error, "Failed"]);
    check("onSuccess", "FAIL", None, None, ["Succeeded", "Succeeded", passed, "Succeeded"]);
    check("onSuccess", "FAIL", object(), None, ["Failed", "Failed", not, "Failed"]);
    check("onSuccess", "ROLLBACK", object(), None, ["Failed", "Failed", not, "Failed"]);
    check("onFailure", "RETRY", None, fail(), ["Failed", "Succeeded", passed, "Failed"]);
    check("onFailure", "RETRY", object(), fail(), ["Failed", "Failed", not, "Failed"]);
}

#[test]
fn a_person_lets_an_execution_go_on_that_a_rule_did_not_let_pass() {
    let world = World::new();
    world.script.does("Window", Deed::Object("too late"));
    let execution = world.create_conditional(conditional("beforeEntry", "FAIL", &["Window"]));
    assert_eq!(world.script.calls(), ["Source", "Window"]);
    let which = json!({
        "pipelineName": "site", "stageName": "Build", "pipelineExecutionId": execution, "conditionType": "BEFORE_ENTRY",
    });
    world.ok(A, executions::override_condition, which);
    world.ended(A, "site", &execution);
    assert_eq!(world.script.calls(), ["Source", "Window", "Make"]);
    assert_eq!(world.judged("beforeEntry").1, "Overridden");
    assert_eq!(world.status(A, "site", &execution), "Succeeded");
}

#[test]
fn a_success_that_is_not_as_it_should_be_is_rolled_back() {
    let world = World::new();
    let mut declaration = conditional("onSuccess", "ROLLBACK", &["Window"]);
    declaration["stages"][1]["onFailure"] = json!({ "result": "RETRY" });
    let good = world.create_conditional(declaration);
    world.script.does("Window", Deed::Object("worse than before"));
    let bad = world.whole(A, "site");
    let rollback = world.newest(A, "site");
    assert!(rollback != bad && rollback != good);
    world.ended(A, "site", &rollback);
    assert_eq!(world.status(A, "site", &rollback), "Succeeded");
    let input = json!({ "pipelineName": "site", "pipelineExecutionId": rollback });
    let shown = world.ok(A, executions::get, input)["pipelineExecution"].clone();
    assert_eq!(shown["rollbackMetadata"]["rollbackTargetPipelineExecutionId"], *good);
    let detail = json!({ "FailedPipelineExecutionId": bad }).to_string();
    assert_eq!(shown["trigger"], json!({ "triggerType": "AutomatedRollback", "triggerDetail": detail }));
    // The rule that objects was not asked about the rollback, nor is one retried.
    world.script.does("Make", Deed::Fail("no such target"));
    let before = world.script.calls().len();
    let back = json!({ "pipelineName": "site", "stageName": "Build", "targetPipelineExecutionId": good });
    let failing = text(&world.ok(A, executions::rollback_stage, back)["pipelineExecutionId"]);
    world.ended(A, "site", &failing);
    assert_eq!(world.status(A, "site", &failing), "Failed");
    assert_eq!(world.script.calls()[before..], ["Make"]);
}

#[test]
fn rule_executions_are_listed_like_those_of_actions() {
    let world = World::new();
    world.script.does("Window", Deed::Object("too late"));
    let first = world.create_conditional(conditional("beforeEntry", "FAIL", &["Window", "Other"]));
    world.script.does("Window", Deed::Fail("no such zone"));
    let second = world.whole(A, "site");
    let listed = world.rule_executions();
    let names: Vec<_> = listed.iter().map(|it| [&it["ruleName"], &it["status"], &it["pipelineExecutionId"]]).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names[..2].iter().all(|[.., of]| **of == *second) && names[2..].iter().all(|[.., of]| **of == *first));
    let of_window = |execution: &str| {
        let is_it = |it: &&Value| it["ruleName"] == "Window" && it["pipelineExecutionId"] == *execution;
        listed.iter().find(is_it).unwrap()
    };
    let error = json!({ "code": "JobFailed", "message": "no such zone" });
    assert_eq!(of_window(&second)["output"]["executionResult"]["errorDetails"], error);
    let window = of_window(&first);
    assert_eq!(window["output"]["executionResult"], json!({ "externalExecutionSummary": "too late" }));
    assert_eq!((&window["stageName"], &window["pipelineVersion"]), (&json!("Build"), &json!(1)));
    let id = json!({ "category": "Rule", "owner": "AWS", "provider": "DeploymentWindow", "version": "1" });
    assert_eq!((&window["input"]["ruleTypeId"], &window["input"]["region"]), (&id, &json!("us-east-1")));
    let configuration = |days: &str| json!({ "Cron": format!("* * 9-17 ? * {days}"), "Password": "****" });
    assert_eq!(window["input"]["configuration"], configuration("#{variables.Days}"));
    assert_eq!(window["input"]["resolvedConfiguration"], configuration("MON-FRI"));
    // The actions are in a list of their own.
    let mut actions: Vec<_> = world.actions(A, "site").iter().map(|it| text(&it["actionName"])).collect();
    actions.sort();
    assert_eq!(actions, ["Source", "Source"]);
    let filter = json!({ "pipelineExecutionId": first });
    let input = json!({ "pipelineName": "site", "filter": filter });
    assert_eq!(pages(&world, A, rules::list_executions, input, 1, "ruleExecutionDetails").concat(), listed[2..]);
}

#[test]
fn a_rule_s_secret_is_read_back_masked_and_given_back() {
    let world = World::new();
    world.create_conditional(conditional("beforeEntry", "FAIL", &["Window"]));
    let shown = world.ok(A, pipelines::get, json!({ "name": "site" }))["pipeline"].clone();
    let password = |declaration: &Value| {
        declaration["stages"][1]["beforeEntry"]["conditions"][0]["rules"][0]["configuration"]["Password"].clone()
    };
    assert_eq!(password(&shown), "****");
    world.ok(A, pipelines::update, json!({ "pipeline": shown }));
    let pipeline = world.aggregate(A, "site");
    let stored = world.run(world.service.driver().state(pipeline)).unwrap().declaration.clone().unwrap();
    assert_eq!(password(&serde_json::to_value(&*stored).unwrap()), "hunter22");
}

#[test]
fn a_rule_needs_a_type_that_there_is() {
    let world = World::new();
    let with = |provider: &str| {
        let mut declaration = conditional("beforeEntry", "FAIL", &["Window"]);
        let rule = &mut declaration["stages"][1]["beforeEntry"]["conditions"][0]["rules"][0];
        rule["ruleTypeId"]["provider"] = json!(provider);
        if provider == "Commands" {
            (rule["commands"], rule["configuration"]) = (json!(["true"]), json!({}));
        }
        json!({ "pipeline": declaration })
    };
    let refusal = "InvalidStageDeclarationException: RuleType (Category: 'Rule', Provider: 'DeployWindow', Owner: 'AWS', Version: \
                   '1') in rule 'Window' is not available in region us-east-1. The nearest that there is: \
                   Rule/AWS/DeploymentWindow/1";
    world.refused(A, pipelines::create, with("DeployWindow"), refusal);
    // Like an action of a type of AWS's own, it can be declared, and fails.
    world.ok(A, pipelines::create, with("Commands"));
    // Whose a rule is, the declaration says as its plugin does.
    let gate = |owner: &str| {
        let mut input = with("Gate");
        let rule = &mut input["pipeline"]["stages"][1]["beforeEntry"]["conditions"][0]["rules"][0];
        (rule["ruleTypeId"]["owner"], rule["configuration"]) = (json!(owner), json!({}));
        input
    };
    let told = words(&world.ask(B, pipelines::create, gate("AWS")).unwrap_err());
    assert!(told.contains("Provider: 'Gate', Owner: 'AWS'") && told.contains("is not available"), "{told}");
    world.ok(B, pipelines::create, gate("Custom"));
}

#[test]
fn rule_types_are_those_that_plugins_serve() {
    let world = World::new();
    let listed = |account, input: Value| world.ok(account, rules::list_types, input)["ruleTypes"].clone();
    let property = |name: &str, secret: bool| {
        json!({
            "name": name, "required": false, "key": false, "secret": secret, "queryable": false,
            "description": format!("The {name}."), "type": "String",
        })
    };
    let window = json!([{
        "id": { "category": "Rule", "owner": "AWS", "provider": "DeploymentWindow", "version": "1" },
        "ruleConfigurationProperties": [property("Cron", false), property("Password", true)],
        "inputArtifactDetails": { "minimumCount": 0, "maximumCount": 1 },
    }]);
    assert_eq!(listed(A, json!({})), window);
    assert_eq!(listed(B, json!({ "ruleOwnerFilter": "AWS", "regionFilter": "us-east-1" })), window);
    assert_eq!(listed(A, json!({ "regionFilter": "eu-west-1" })), json!([]));
}
