//! CreateCustomActionType and DeleteCustomActionType, what workers ask for by, and what is shown of what they tell.

use pipewright_pipeline::requests::{self, CreateCustomActionTypeInput};
use serde_json::{Value, json};

use super::world::{A, B, Deed, World, pipeline, text, words};
use crate::service::{custom_types, jobs, pipelines};

fn maker(change: impl FnOnce(&mut Value)) -> Value {
    let count = json!({ "minimumCount": 0, "maximumCount": 5 });
    let mut made = json!({
        "category": "Build", "provider": "Maker", "version": "1",
        "inputArtifactDetails": count, "outputArtifactDetails": count,
    });
    change(&mut made);
    made
}

fn property(name: &str, more: Value) -> Value {
    let mut property = json!({ "name": name, "required": true, "key": false, "secret": false });
    property.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    property
}

/// One whose jobs are asked for by a project.
fn queryable() -> Value {
    maker(|it| {
        let project = property("ProjectName", json!({ "key": true, "queryable": true }));
        it["configurationProperties"] =
            json!([project, property("Token", json!({ "required": false, "secret": true }))]);
        it["settings"] = json!({
            "entityUrlTemplate": "https://ci.example/{Config:ProjectName}",
            "executionUrlTemplate": "https://ci.example/{Config:ProjectName}/{ExternalExecutionId}",
            "revisionUrlTemplate": "https://ci.example/{Config:ProjectName}/configure",
        });
    })
}

/// A pipeline whose action `Make` is of the type.
fn of_project(name: &str, project: &str) -> Value {
    let mut declaration = pipeline(name);
    let action = &mut declaration["stages"][1]["actions"][0];
    action["actionTypeId"]["provider"] = json!("Maker");
    action["configuration"] = json!({ "ProjectName": project });
    action["outputArtifacts"] = json!([]);
    declaration
}

fn poll(world: &World, project: &str) -> Vec<Value> {
    let id = json!({ "category": "Build", "owner": "Custom", "provider": "Maker", "version": "1" });
    let polled = world.ok(A, jobs::poll, json!({ "actionTypeId": id, "queryParam": { "ProjectName": project } }));
    polled["jobs"].as_array().unwrap().clone()
}

/// The next job of a project, acknowledged.
fn taken(world: &World, project: &str) -> String {
    world.until(A, project, |state| {
        let mut runs = state.executions.values().flat_map(|execution| execution.runs.values());
        runs.any(|run| run.job.is_some())
    });
    let job = poll(world, project).remove(0);
    world.ok(A, jobs::acknowledge, json!({ "jobId": job["id"], "nonce": job["nonce"] }));
    text(&job["id"])
}

#[test]
fn an_account_has_fifty_custom_types_and_makes_none_twice() {
    let world = World::new();
    let version = |number: u32| maker(|it| it["version"] = json!(number.to_string()));
    let id = |number: u32| json!({ "category": "Build", "provider": "Maker", "version": number.to_string() });
    for number in 1..=50 {
        world.ok(A, custom_types::create, version(number));
    }
    let full = "limit: The account has 50 custom action types, which is its limit";
    world.refused(A, custom_types::create, version(51), full);
    world.ok(B, custom_types::create, version(51));
    let there = "ValidationException: The action type Build/Custom/Maker/1 already exists";
    world.refused(A, custom_types::create, version(1), there);
    let mut used = of_project("site", "any");
    used["stages"][1]["actions"][0]["configuration"] = json!({});
    world.ok(A, pipelines::create, json!({ "pipeline": used }));
    let in_use = "ValidationException: The action type Build/Custom/Maker/1 is in use by the pipelines 'site': take its actions out \
                  of them first";
    world.refused(A, custom_types::delete, id(1), in_use);
    world.ok(A, pipelines::update, json!({ "pipeline": pipeline("site") }));
    for _ in 0..2 {
        world.ok(A, custom_types::delete, id(1));
    }
    let gone = "ValidationException: The action type Build/Custom/Maker/1 was deleted: use a version that was never used before";
    world.refused(A, custom_types::create, version(1), gone);
    world.ok(A, custom_types::create, version(51));
}

#[test]
fn what_cannot_be_a_custom_type_is_refused() {
    let world = World::new();
    let check = |properties: Value, settings: Value, expected: &str| {
        let input = maker(|it| {
            it["configurationProperties"] = properties;
            it["settings"] = settings;
        });
        let error = world.ask(A, custom_types::create, input).expect_err(expected);
        assert_eq!(words(&error), format!("ValidationException: {expected}"));
    };
    let plain = |name: &str| property(name, json!({}));
    let asked = |name: &str| property(name, json!({ "queryable": true }));
    let secret = property("Token", json!({ "secret": true }));
    check(
        json!([plain("A"), plain("A")]),
        json!({}),
        "The configuration property 'A' is there twice: give each its own name",
    );
    check(
        json!([asked("A"), asked("B")]),
        json!({}),
        "More than one configuration property is queryable: an action type can have up to one",
    );
    for wrong in [json!({ "required": false }), json!({ "secret": true })] {
        let mut asked = asked("A");
        asked.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        let expected = "The configuration property 'A' is queryable: it must be both required and not secret";
        check(json!([asked]), json!({}), expected);
    }
    for (member, name) in
        [("entityUrlTemplate", "Token"), ("executionUrlTemplate", "Nothing"), ("revisionUrlTemplate", "Token")]
    {
        let expected = format!(
            "Value at 'settings.{member}' names the configuration property '{name}', which must be one that is both required and \
             not secret"
        );
        check(json!([secret]), json!({ member: format!("https://a/{{Config:{name}}}") }), &expected);
    }
    let many = maker(|it| it["configurationProperties"] = (0..11).map(|number| plain(&number.to_string())).collect());
    let problems = requests::read::<CreateCustomActionTypeInput>(&many).unwrap_err();
    assert!(format!("{problems:?}").contains("configurationProperties"), "{problems:?}");
    world.ok(A, custom_types::create, queryable());
    let create = |characters| {
        let of_project = of_project("site", &"x".repeat(characters));
        world.ask(A, pipelines::create, json!({ "pipeline": of_project })).map_err(|error| words(&error))
    };
    let refused = create(21).unwrap_err();
    assert!(refused.ends_with("has an invalid value for configuration 'ProjectName'"), "{refused}");
    create(20).unwrap();
}

#[test]
fn workers_ask_for_the_jobs_of_a_project() {
    let world = World::new();
    world.ok(A, custom_types::create, queryable());
    world.script.does("Make", Deed::Queue);
    for name in ["one", "two"] {
        world.ok(A, pipelines::create, json!({ "pipeline": of_project(name, name) }));
    }
    taken(&world, "two");
    assert_eq!((poll(&world, "two"), poll(&world, "three")), (Vec::new(), Vec::new()));
    taken(&world, "one");
    let poll = |id: Value, query: Value| world.ask(A, jobs::poll, json!({ "actionTypeId": id, "queryParam": query }));
    let id = |owner: &str, version: &str| json!({ "category": "Build", "owner": owner, "provider": "Maker", "version": version });
    for (id, query, expected) in [
        (
            id("Custom", "1"),
            json!({}),
            "ValidationException: Value at 'queryParam' must have the action type's queryable property",
        ),
        (
            id("Custom", "1"),
            json!({ "Token": "t" }),
            "ValidationException: Value at 'queryParam' must have the action type's",
        ),
        (
            id("Custom", "2"),
            json!({}),
            "ActionTypeNotFoundException: There is no action type Build/Custom/Maker/2 here that workers",
        ),
        (id("ThirdParty", "1"), json!({}), "ValidationException: Value at 'actionTypeId.owner' must be Custom"),
    ] {
        let refused = words(&poll(id, query).unwrap_err());
        assert!(refused.starts_with(expected), "{refused}");
    }
}

/// The worker was given it.
#[test]
fn what_a_worker_tells_has_no_secret_of_the_action() {
    let world = World::new();
    world.ok(A, custom_types::create, queryable());
    world.script.does("Make", Deed::Queue);
    let mut declaration = of_project("site", "site");
    declaration["stages"][1]["actions"][0]["configuration"]["Token"] = json!("hunter2hunter2");
    world.ok(A, pipelines::create, json!({ "pipeline": declaration }));
    let details = json!({ "summary": "with hunter2hunter2", "externalExecutionId": "id-hunter2hunter2" });
    let job = taken(&world, "site");
    world.ok(A, jobs::succeed, json!({ "jobId": job, "continuationToken": "t", "executionDetails": details }));
    let shown = world.state(A, "site").to_string();
    assert!(shown.contains("with ****") && shown.contains("id-****"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
    let execution = world.newest(A, "site");
    let failure =
        json!({ "type": "JobFailed", "message": "no hunter2hunter2", "externalExecutionId": "hunter2hunter2" });
    world.ok(A, jobs::fail, json!({ "jobId": taken(&world, "site"), "failureDetails": failure }));
    world.ended(A, "site", &execution);
    let shown = world.state(A, "site").to_string();
    assert!(shown.contains("no ****") && !shown.contains("hunter2"), "{shown}");

    let execution = world.start(A, "site");
    let variables = json!({ "Fine": "1", "Version": "hunter2hunter2" });
    world.ok(A, jobs::succeed, json!({ "jobId": taken(&world, "site"), "outputVariables": variables }));
    world.ended(A, "site", &execution);
    let shown = world.state(A, "site").to_string();
    assert!(shown.contains("the output variable Version has the value of a secret setting"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_a_worker_tells_is_shown_and_made_variables() {
    let world = World::new();
    world.ok(A, custom_types::create, queryable());
    world.script.does("Make", Deed::Queue);
    let mut declaration = of_project("site", "site");
    declaration["stages"][1]["actions"][0]["namespace"] = json!("Made");
    let mut use_it = pipeline("site")["stages"][1]["actions"][0].take();
    (use_it["name"], use_it["runOrder"]) = (json!("Use"), json!(2));
    use_it["configuration"] = json!({ "Target": "#{Made.Version}" });
    declaration["stages"][1]["actions"].as_array_mut().unwrap().push(use_it);
    world.ok(A, pipelines::create, json!({ "pipeline": declaration }));
    let action = || world.state(A, "site")["stageStates"][1]["actionStates"][0].take();
    let state = || action()["latestExecution"].take();
    let addresses = ["https://ci.example/site", "https://ci.example/site/configure"];
    assert_eq!([text(&action()["entityUrl"]), text(&action()["revisionUrl"])], addresses);
    let half = json!({ "summary": "half", "externalExecutionId": "7", "percentComplete": 50 });
    let job = taken(&world, "site");
    let both = json!({ "jobId": job, "continuationToken": "t", "outputVariables": { "Version": "1" } });
    let refused = "ValidationException: Output variables can be given only where there is no continuation token";
    world.refused(A, jobs::succeed, both, refused);
    world.ok(A, jobs::succeed, json!({ "jobId": job, "continuationToken": "t", "executionDetails": half }));
    let shown = state();
    assert_eq!(
        [&shown["summary"], &shown["externalExecutionId"], &shown["percentComplete"]],
        [&json!("half"), &json!("7"), &json!(50)]
    );
    let job = taken(&world, "site");
    let done = json!({ "summary": "made it", "percentComplete": 100 });
    world.ok(
        A,
        jobs::succeed,
        json!({ "jobId": job, "outputVariables": { "Version": "1.2" }, "executionDetails": done }),
    );
    let execution = world.newest(A, "site");
    world.ended(A, "site", &execution);
    let shown = state();
    assert_eq!([&shown["summary"], &shown["percentComplete"]], [&json!("made it"), &json!(100)]);
    // It need not say again which one it is.
    assert_eq!(shown["externalExecutionUrl"], "https://ci.example/site/7");
    let made = world.action(A, "site", "Make")["output"].take();
    assert_eq!(made["outputVariables"], json!({ "Version": "1.2" }));
    let result = &made["executionResult"];
    assert_eq!((&result["externalExecutionId"], &result["externalExecutionSummary"]), (&json!("7"), &json!("made it")));
    assert_eq!(world.action(A, "site", "Use")["input"]["resolvedConfiguration"]["Target"], "1.2");
    let execution = world.start(A, "site");
    let details = json!({ "type": "RevisionOutOfSync", "message": "too old", "externalExecutionId": "8" });
    world.ok(A, jobs::fail, json!({ "jobId": taken(&world, "site"), "failureDetails": details }));
    world.ended(A, "site", &execution);
    let shown = state();
    assert_eq!(shown["errorDetails"], json!({ "code": "RevisionOutOfSync", "message": "too old" }));
    assert_eq!(
        (&shown["status"], &shown["externalExecutionUrl"]),
        (&json!("Failed"), &json!("https://ci.example/site/8"))
    );
}

/// What a source fetches that workers serve is what they say.
#[test]
fn a_worker_s_source_has_the_revision_that_it_tells() {
    let world = World::new();
    world.ok(A, custom_types::create, maker(|it| it["category"] = json!("Source")));
    world.script.does("Source", Deed::Queue);
    let mut declaration = pipeline("site");
    let source = &mut declaration["stages"][0]["actions"][0];
    source["actionTypeId"]["provider"] = json!("Maker");
    source["configuration"] = json!({});
    source["outputArtifacts"] = json!([]);
    let make = &mut declaration["stages"][1]["actions"][0];
    make["inputArtifacts"] = json!([]);
    world.ok(A, pipelines::create, json!({ "pipeline": declaration }));
    world.until(A, "site", |state| {
        let mut runs = state.executions.values().flat_map(|execution| execution.runs.values());
        runs.any(|run| run.job.is_some())
    });
    let id = json!({ "category": "Source", "owner": "Custom", "provider": "Maker", "version": "1" });
    let job = world.ok(A, jobs::poll, json!({ "actionTypeId": id }))["jobs"][0].take();
    world.ok(A, jobs::acknowledge, json!({ "jobId": job["id"], "nonce": job["nonce"] }));
    let told =
        json!({ "revision": "r7", "changeIdentifier": "c7", "created": 1_795_342_830.5, "revisionSummary": "seven" });
    world.ok(A, jobs::succeed, json!({ "jobId": job["id"], "currentRevision": told }));
    let execution = world.newest(A, "site");
    world.ended(A, "site", &execution);
    assert_eq!(world.status(A, "site", &execution), "Succeeded");
    let shown = world.state(A, "site")["stageStates"][0]["actionStates"][0]["currentRevision"].take();
    assert_eq!(shown, json!({ "revisionId": "r7", "revisionChangeId": "c7", "created": 1_795_342_830.5 }));
}
