//! CreatePipeline, GetPipeline, UpdatePipeline, DeletePipeline.

use serde_json::{Value, json};

use super::world::{A, B, Deed, World, gated, pipeline, text, words};
use crate::config::Quotas;
use crate::service::{ServiceError, executions, pipelines, state};

#[test]
fn a_pipeline_is_read_back_as_it_was_made_without_its_secrets() {
    let world = World::new();
    let tags = json!([{ "key": "team", "value": "web" }]);
    let created = world.ok(A, pipelines::create, json!({ "pipeline": pipeline("site"), "tags": tags }));
    assert_eq!(created["tags"], tags);
    assert_eq!(created["pipeline"]["version"], 1);
    let got = world.ok(A, pipelines::get, json!({ "name": "site" }));
    assert_eq!(got["pipeline"], created["pipeline"]);
    assert_eq!(got["metadata"]["pipelineArn"], "arn:aws:codepipeline:us-east-1:000000000000:site");
    assert_eq!(got["metadata"]["created"], got["metadata"]["updated"]);
    let configuration = &got["pipeline"]["stages"][1]["actions"][0]["configuration"];
    assert_eq!(*configuration, json!({ "Target": "all", "Password": "****" }));
    for (member, default) in [("executionMode", "SUPERSEDED"), ("pipelineType", "V1")] {
        assert_eq!(got["pipeline"][member], default);
    }
}

#[test]
fn a_new_pipeline_starts_at_once_in_the_name_of_who_made_it() {
    let world = World::new();
    let execution = world.create(A, "site");
    assert_eq!(world.status(A, "site", &execution), "Succeeded");
    let input = json!({ "pipelineName": "site", "pipelineExecutionId": execution });
    let trigger = &world.ok(A, executions::get, input)["pipelineExecution"]["trigger"];
    let detail = "arn:aws:iam::000000000000:user/ada";
    assert_eq!(*trigger, json!({ "triggerType": "CreatePipeline", "triggerDetail": detail }));
    assert_eq!(world.script.calls(), ["Source", "Make"]);
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut changed = pipeline("site");
    change(&mut changed);
    json!({ "pipeline": changed })
}

#[test]
fn what_cannot_be_a_pipeline_is_not_made() {
    let world = World::new();
    let refused = |change: fn(&mut Value), expected: &str| {
        world.refused(A, pipelines::create, changed(change), expected);
        world.refused(
            A,
            state::get,
            json!({ "name": "site" }),
            "PipelineNotFoundException: Account '000000000000' does not have a pipeline with name 'site'",
        );
    };
    refused(
        |it| it["stages"][1]["actions"][0]["actionTypeId"]["provider"] = json!("Nobody"),
        "InvalidActionDeclarationException: ActionType (Category: 'Build', Provider: 'Nobody', Owner: 'Custom', Version: \
         '1') in action 'Make' is not available in region us-east-1",
    );
    // What another account installed is not there for this one.
    refused(
        |it| {
            let ship = json!({ "category": "Deploy", "owner": "ThirdParty", "provider": "Ship", "version": "1" });
            it["stages"][1]["actions"][0]["actionTypeId"] = ship;
            it["stages"][1]["actions"][0]["outputArtifacts"] = json!([]);
            it["stages"][1]["actions"][0]["configuration"] = json!({});
        },
        "InvalidActionDeclarationException: ActionType (Category: 'Deploy', Provider: 'Ship', Owner: 'ThirdParty', \
         Version: '1') in action 'Make' is not available in region us-east-1. The nearest that there is: Invoke/ThirdParty/Snyk/1",
    );
    let class = |change: fn(&mut Value)| {
        let error = world.ask(A, pipelines::create, changed(change)).unwrap_err();
        words(&error).split(':').next().unwrap().to_owned()
    };
    assert_eq!(class(|it| it["stages"] = json!([])), "InvalidStructureException");
    assert_eq!(class(|it| it["stages"][1]["name"] = json!("Source")), "InvalidStageDeclarationException");
    assert_eq!(class(|it| drop(it.as_object_mut().unwrap().remove("roleArn"))), "ValidationException");
    assert_eq!(class(|it| it["name"] = json!("no blanks please")), "ValidationException");
    let unknown: fn(&mut Value) = |it| it["stages"][1]["actions"][0]["configuration"]["Colour"] = json!("red");
    assert_eq!(class(unknown), "InvalidActionDeclarationException");
    let number: fn(&mut Value) = |it| it["stages"][1]["actions"][0]["configuration"]["Jobs"] = json!("many");
    assert_eq!(class(number), "InvalidActionDeclarationException");
    assert_eq!(world.script.calls(), [""; 0]);
}

/// The message is CodePipeline's, of the first fault; beside it are all of them (S121).
#[test]
fn all_that_is_wrong_is_told() {
    let world = World::new();
    let problems = |change: fn(&mut Value)| match world.ask(A, pipelines::create, changed(change)).unwrap_err() {
        ServiceError::Refused { problems, .. } => problems,
        other => panic!("{other}"),
    };
    let one = problems(|it| it["stages"][1]["actions"][0]["configuration"]["Colour"] = json!("red"));
    assert_eq!(one, [""; 0], "the message says it");
    let all = problems(|it| {
        it["stages"][1]["actions"][0]["configuration"]["Colour"] = json!("red");
        it["stages"][1]["actions"][0]["inputArtifacts"] = json!([{ "name": "Nothing" }]);
    });
    assert!(all.len() == 2 && all.iter().all(|one| one.starts_with("pipeline.stages[1].actions[0]")), "{all:?}");
    let missing = problems(|it| {
        for (stage, action) in [(0, "Nowhere"), (1, "Neither")] {
            let id = &mut it["stages"][stage]["actions"][0]["actionTypeId"];
            (id["owner"], id["provider"]) = (json!("Custom"), json!(action));
        }
    });
    assert!(missing.len() == 2 && missing[1].contains("Provider: 'Neither'"), "{missing:?}");
}

#[test]
fn a_name_is_one_pipeline_s_in_an_account() {
    let world = World::new();
    world.create(A, "site");
    world.refused(
        A,
        pipelines::create,
        json!({ "pipeline": pipeline("site") }),
        "PipelineNameInUseException: A pipeline with the name 'site' already exists in account '000000000000'",
    );
    world.create(B, "site");
    world.ok(A, pipelines::update, json!({ "pipeline": pipeline("site") }));
    world.ok(A, pipelines::delete, json!({ "name": "site" }));
    let again = world.create(A, "site");
    // The new one knows nothing of the old one's history.
    let listed = world.ok(A, executions::list, json!({ "pipelineName": "site" }));
    assert_eq!(listed["pipelineExecutionSummaries"].as_array().unwrap().len(), 1);
    assert_eq!(listed["pipelineExecutionSummaries"][0]["pipelineExecutionId"], *again);
    assert_eq!(world.ok(A, pipelines::get, json!({ "name": "site" }))["pipeline"]["version"], 1);
    let gone = "PipelineVersionNotFoundException: Pipeline 'site' does not have a version '2'";
    world.refused(A, pipelines::get, json!({ "name": "site", "version": 2 }), gone);
}

#[test]
fn an_account_has_as_many_pipelines_as_its_quota_says() {
    assert_eq!(Quotas::default().pipelines, 1000);
    let world = World::with(Quotas { pipelines: 2, ..Quotas::default() });
    world.create(A, "one");
    world.create(A, "two");
    let third = json!({ "pipeline": pipeline("three") });
    world.refused(A, pipelines::create, third.clone(), "limit: The account has 2 pipelines, which is its limit");
    // Each account has its own, and a deleted one makes room.
    world.create(B, "three");
    world.ok(A, pipelines::delete, json!({ "name": "one" }));
    world.ok(A, pipelines::create, third);
}

#[test]
fn each_update_is_a_version_that_stays_readable() {
    let world = World::new();
    world.create(A, "site");
    let target = |text: &str| changed(|it| it["stages"][1]["actions"][0]["configuration"]["Target"] = json!(text));
    let updated = world.ok(A, pipelines::update, target("docs"));
    assert_eq!(updated["pipeline"]["version"], 2);
    assert!(updated.get("tags").is_none());
    let shown = |version: Option<u32>| {
        let got = world.ok(A, pipelines::get, json!({ "name": "site", "version": version }));
        (
            got["pipeline"]["version"].clone(),
            got["pipeline"]["stages"][1]["actions"][0]["configuration"]["Target"].clone(),
        )
    };
    assert_eq!(shown(None), (json!(2), json!("docs")));
    assert_eq!(shown(Some(2)), (json!(2), json!("docs")));
    assert_eq!(shown(Some(1)), (json!(1), json!("all")));
    world.refused(
        A,
        pipelines::get,
        json!({ "name": "site", "version": 3 }),
        "PipelineVersionNotFoundException: Pipeline 'site' does not have a version '3'",
    );
}

/// What it does not say is not as it was before; and whatever version it gives, and under another name it is another pipeline's.
#[test]
fn an_update_replaces_the_whole() {
    let world = World::new();
    let mut first = pipeline("site");
    first["pipelineType"] = json!("V2");
    first["executionMode"] = json!("QUEUED");
    first["variables"] = json!([{ "name": "Colour" }]);
    first["stages"][1]["actions"][0]["region"] = json!("us-east-1");
    first["version"] = json!(7);
    let made = world.ok(A, pipelines::create, json!({ "pipeline": first }))["pipeline"].clone();
    assert_eq!((&made["version"], &made["executionMode"]), (&json!(1), &json!("QUEUED")));
    let mut second = pipeline("site");
    second["stages"][1]["name"] = json!("Construct");
    second["stages"][1]["actions"][0]["configuration"] = json!({ "Target": "docs" });
    second["version"] = json!(7);
    world.ok(A, pipelines::update, json!({ "pipeline": second }));
    let got = world.ok(A, pipelines::get, json!({ "name": "site" }))["pipeline"].clone();
    let mut expected = second;
    let defaults = json!({ "version": 2, "executionMode": "SUPERSEDED", "pipelineType": "V1" });
    expected.as_object_mut().unwrap().extend(defaults.as_object().unwrap().clone());
    for stage in [0, 1] {
        let action = expected["stages"][stage]["actions"][0].as_object_mut().unwrap();
        action.insert("runOrder".to_owned(), json!(1));
        for artifacts in ["inputArtifacts", "outputArtifacts"] {
            action.entry(artifacts).or_insert_with(|| json!([]));
        }
    }
    assert_eq!(got, expected);
    world.refused(
        A,
        pipelines::update,
        changed(|it| it["name"] = json!("other")),
        "ResourceNotFoundException: The account with id '000000000000' does not include a pipeline with the name 'other'",
    );
}

/// With the place, and nothing of it is there (S27, S28).
#[test]
fn what_could_not_be_kept_is_refused() {
    let world = World::new();
    world.create(A, "site");
    let large = |name: &str| {
        let mut declared = pipeline(name);
        let make = declared["stages"][1]["actions"][0].clone();
        let action = |number: usize| {
            let mut action = make.clone();
            (action["name"], action["outputArtifacts"]) = (json!(format!("A{number}")), json!([]));
            action["configuration"] = json!({ "Target": "x".repeat(1000), "Password": "x".repeat(1000) });
            action
        };
        let stage =
            |number: usize| json!({ "name": format!("S{number}"), "actions": (0..49).map(action).collect::<Vec<_>>() });
        declared["stages"].as_array_mut().unwrap().extend((0..10).map(stage));
        json!({ "pipeline": declared })
    };
    let asked = [world.ask(A, pipelines::create, large("other")), world.ask(A, pipelines::update, large("site"))];
    for refused in asked {
        let refusal = words(&refused.unwrap_err());
        let begins = "ValidationException: pipeline: The pipeline of ";
        assert!(refusal.starts_with(begins) && refusal.contains("more than 1000000 are not supported"), "{refusal}");
    }
    assert_eq!(world.ok(A, pipelines::get, json!({ "name": "site" }))["pipeline"]["version"], 1);
    assert_eq!(world.run(world.service.host.driver.find(A, "other")).unwrap(), None);
}

#[test]
fn a_secret_that_comes_back_masked_stays_what_it_was() {
    let world = World::new();
    world.create(A, "site");
    let got = world.ok(A, pipelines::get, json!({ "name": "site" }));
    world.ok(A, pipelines::update, json!({ "pipeline": got["pipeline"] }));
    let pipeline = world.aggregate(A, "site");
    let stored = world.run(world.service.host.driver.declaration(pipeline)).unwrap().unwrap();
    assert_eq!(stored.stages[1].actions[0].configuration.as_ref().unwrap()["Password"], "hunter22");
    assert_eq!(stored.version, Some(2));
}

/// What was read may be changed around a secret, for as long as it is certain which one is meant; the mask is never kept.
#[test]
fn a_mask_is_never_the_value() {
    let world = World::new();
    world.create(A, "site");
    let got = || world.ok(A, pipelines::get, json!({ "name": "site" }))["pipeline"].clone();
    let password = || {
        let pipeline = world.aggregate(A, "site");
        let stored = world.run(world.service.host.driver.declaration(pipeline)).unwrap().unwrap();
        stored.stages[1].actions[0].configuration.as_ref().unwrap()["Password"].clone()
    };
    let changes: [fn(&mut Value); 3] = [
        |it| it["stages"][1]["name"] = json!("Construct"),
        |it| it["stages"][1]["actions"][0]["name"] = json!("Renamed"),
        |it| it["stages"][1]["actions"][0]["configuration"]["Target"] = json!("docs"),
    ];
    for change in changes {
        let mut changed = got();
        change(&mut changed);
        world.ok(A, pipelines::update, json!({ "pipeline": changed }));
        assert_eq!(password(), "hunter22");
    }
    let mut copy = got();
    copy["name"] = json!("copy");
    world.refused(
        A,
        pipelines::create,
        json!({ "pipeline": copy }),
        "InvalidActionDeclarationException: pipeline.stages[1].actions[0].configuration.Password: the value is the mask ****, by \
         which a secret is shown, and it is not certain which secret was meant: give the value itself",
    );
    assert_eq!(world.run(world.service.host.driver.find(A, "copy")).unwrap(), None);
}

#[test]
fn what_code_pipeline_masks_is_masked_without_a_plugin() {
    let world = World::new();
    let mut declared = pipeline("site");
    let github = json!({ "category": "Source", "owner": "ThirdParty", "provider": "GitHub", "version": "1" });
    declared["stages"][0]["actions"][0]["actionTypeId"] = github;
    let configuration = |token: &str| json!({ "Owner": "ada", "Repo": "site", "Branch": "main", "OAuthToken": token });
    declared["stages"][0]["actions"][0]["configuration"] = configuration("ghp_12345678");
    let created = world.ok(A, pipelines::create, json!({ "pipeline": declared }));
    let execution = world.newest(A, "site");
    world.ended(A, "site", &execution);
    let got = world.ok(A, pipelines::get, json!({ "name": "site" }));
    for shown in [&created, &got] {
        assert_eq!(shown["pipeline"]["stages"][0]["actions"][0]["configuration"], configuration("****"));
    }
    let input = &world.action(A, "site", "Source")["input"];
    assert_eq!(
        (&input["configuration"], &input["resolvedConfiguration"]),
        (&configuration("****"), &configuration("****"))
    );
}

#[test]
fn what_is_not_there_cannot_be_updated_and_is_deleted_already() {
    let world = World::new();
    world.refused(
        A,
        pipelines::update,
        json!({ "pipeline": pipeline("site") }),
        "ResourceNotFoundException: The account with id '000000000000' does not include a pipeline with the name 'site'",
    );
    world.refused(
        A,
        pipelines::get,
        json!({ "name": "site" }),
        "PipelineNotFoundException: Account '000000000000' does not have a pipeline with name 'site'",
    );
    assert_eq!(world.ok(A, pipelines::delete, json!({ "name": "site" })), Value::Null);
    world.create(A, "site");
    for _ in 0..2 {
        world.ok(A, pipelines::delete, json!({ "name": "site" }));
    }
    world.refused(
        A,
        pipelines::update,
        json!({ "pipeline": pipeline("site") }),
        "ResourceNotFoundException: The account with id '000000000000' does not include a pipeline with the name 'site'",
    );
}

#[test]
fn a_pipeline_that_runs_can_be_deleted_and_its_late_answers_change_nothing() {
    let world = World::new();
    for _ in 0..20 {
        world.ok(A, pipelines::create, json!({ "pipeline": pipeline("site") }));
        world.ok(A, pipelines::delete, json!({ "name": "site" }));
    }
    world.create(A, "site");
    assert_eq!(world.service.host.driver.has_failed(), None);
}

#[test]
fn an_update_ends_what_runs_and_keeps_what_waits_for_nobody() {
    let world = World::new();
    world.script.does("Ask", Deed::Ask("ship it?"));
    world.ok(A, pipelines::create, json!({ "pipeline": gated("site") }));
    let first = world.newest(A, "site");
    world.token(A, "site", &first);
    world.ok(A, pipelines::update, json!({ "pipeline": gated("site") }));
    world.ended(A, "site", &first);
    assert_eq!(world.status(A, "site", &first), "Cancelled");
    let listed = world.ok(A, executions::list, json!({ "pipelineName": "site" }));
    assert_eq!(listed["pipelineExecutionSummaries"][0]["statusSummary"], "The pipeline was updated");
    // What is declared as before shows what became of it: a stage and its actions say the same (S35).
    let state = world.state(A, "site");
    let stages = state["stageStates"].as_array().unwrap().iter().map(|stage| {
        let of = |it: &Value| text(&it["latestExecution"]["status"]);
        (of(stage), of(&stage["actionStates"][0]))
    });
    let pair = |stage: &str, action: &str| (stage.to_owned(), action.to_owned());
    let expected = [pair("Succeeded", "Succeeded"), pair("Succeeded", "Succeeded"), pair("Cancelled", "Abandoned")];
    assert_eq!(stages.collect::<Vec<_>>(), expected);
    let listed = world.ok(A, pipelines::list, json!({}));
    assert_eq!(text(&listed["pipelines"][0]["name"]), "site");
    assert_eq!(listed["pipelines"][0]["version"], 2);
}

#[test]
fn what_an_update_moves_keeps_its_state_and_what_it_renames_has_none() {
    let world = World::new();
    let mut declared = pipeline("site");
    let mut second = declared["stages"][1]["actions"][0].clone();
    (second["name"], second["outputArtifacts"]) = (json!("Second"), json!([{ "name": "Other" }]));
    declared["stages"][1]["actions"].as_array_mut().unwrap().push(second);
    world.ok(A, pipelines::create, json!({ "pipeline": declared }));
    let execution = world.newest(A, "site");
    world.ended(A, "site", &execution);
    let ran_of = |name: &str| {
        let actions = world.actions(A, "site");
        text(&actions.iter().find(|action| action["actionName"] == name).unwrap()["actionExecutionId"])
    };
    let (make, second) = (ran_of("Make"), ran_of("Second"));
    // The actions of the stage after an update, each with the execution that is its latest.
    let check = |change: &dyn Fn(&mut Vec<Value>), expected: &[(&str, Option<&str>)]| {
        let mut declared = declared.clone();
        change(declared["stages"][1]["actions"].as_array_mut().unwrap());
        // What is before the stage moves it, too.
        let gate = gated("site")["stages"][2].clone();
        declared["stages"].as_array_mut().unwrap().insert(1, gate);
        world.ok(A, pipelines::update, json!({ "pipeline": declared }));
        let stage = world.state(A, "site")["stageStates"][2].clone();
        let actions = stage["actionStates"].as_array().unwrap().iter();
        let ran = actions.map(|it| (text(&it["actionName"]), it["latestExecution"]["actionExecutionId"].as_str()));
        let expected: Vec<_> = expected.iter().map(|(name, ran)| ((*name).to_owned(), *ran)).collect();
        assert_eq!(ran.collect::<Vec<_>>(), expected);
        assert_eq!(stage["latestExecution"]["pipelineExecutionId"], *execution);
    };
    let (make, second) = (Some(&*make), Some(&*second));
    check(&|actions| actions.reverse(), &[("Second", second), ("Make", make)]);
    check(&|actions| drop(actions.remove(0)), &[("Second", second)]);
    let renamed = |actions: &mut Vec<Value>| actions[0]["name"] = json!("Third");
    check(&renamed, &[("Third", None), ("Second", second)]);
    // Of another type it is another action.
    let retyped = |actions: &mut Vec<Value>| {
        actions[1] = gated("site")["stages"][2]["actions"][0].clone();
        actions[1]["name"] = json!("Second");
    };
    check(&retyped, &[("Make", make), ("Second", None)]);
}
