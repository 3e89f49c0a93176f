//! What keeps a pipeline from running is told before it runs.

use std::sync::Arc;

use pipewright_runner::grant_book::Files;
use serde_json::{Value, json};

use super::world::{A, B, UNREADABLE, World, context, pipeline};
use super::{builds, catalogue};
use crate::service::functions::{Function, configure};
use crate::service::{pipelines, projects, warnings};

#[test]
fn what_keeps_a_pipeline_from_running_is_told() {
    let world = World::new();
    let told =
        |account, name: &str| world.run(warnings::list(&world.service, &context(account), name)).unwrap().warnings;
    world.create(A, "site");
    assert!(told(A, "site").is_empty(), "{:?}", told(A, "site"));

    for (account, expected) in [
        (A, "no execution of unreadable can start: /of/the/host/grants.toml: cannot be read: No such file"),
        (B, "no execution of unreadable can start: the grants of the pipeline cannot be read; those who run the host"),
    ] {
        world.ok(account, pipelines::create, json!({ "pipeline": pipeline(UNREADABLE) }));
        let told = told(account, UNREADABLE);
        assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
    }

    let mut declaration = pipeline("shop");
    let s3 = json!({ "category": "Deploy", "owner": "AWS", "provider": "S3", "version": "1" });
    let action = json!({
        "name": "Ship", "actionTypeId": s3, "runOrder": 9, "configuration": { "BucketName": "b", "Extract": "true" },
        "inputArtifacts": [{ "name": "Code" }],
    });
    declaration["stages"][1]["actions"].as_array_mut().unwrap().push(action);
    world.ok(A, pipelines::create, json!({ "pipeline": declaration }));
    let told = told(A, "shop");
    let expected = "Build/Ship fails when it is due: this host has no plugin for Deploy/AWS/S3/1";
    assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
}

#[test]
fn a_build_of_a_project_that_is_not_there_is_told() {
    let world = World::new();
    let mut declaration = pipeline("shop");
    declaration["pipelineType"] = json!("V2");
    declaration["variables"] = json!([{ "name": "Version", "defaultValue": "1" }]);
    let id = json!({ "category": "Build", "owner": "AWS", "provider": "CodeBuild", "version": "1" });
    let build = |name: &str, project: &str| json!({ "name": name, "actionTypeId": id, "configuration": { "ProjectName": project }, "inputArtifacts": [{ "name": "Code" }] });
    let builds = [build("One", "site"), build("Other", "sitr"), build("Late", "#{variables.Version}")];
    declaration["stages"][1]["actions"].as_array_mut().unwrap().extend(builds);
    world.ok(A, pipelines::create, json!({ "pipeline": declaration }));
    let told = || {
        let mut told = world.run(warnings::list(&world.service, &context(A), "shop")).unwrap().warnings;
        told.retain(|warning| warning.contains("project"));
        told
    };
    let missing = |action: &str, project: &str| {
        let mend = "make it by CreateProject, or correct `ProjectName`";
        format!("Build/{action} fails when it is due: there is no project `{project}`: {mend}")
    };
    assert_eq!(told(), [missing("One", "site"), missing("Other", "sitr")]);
    world.ok(A, projects::create, builds::project("site"));
    assert_eq!(told(), [missing("Other", "sitr")]);
}

#[test]
fn what_is_not_there_or_not_granted_is_told() {
    let mut world = World::new();
    let service = Arc::get_mut(&mut world.service).unwrap();
    let tell: Function = serde_json::from_value(json!({ "url": "https://fn.example/tell" })).unwrap();
    service.functions = [(A, [("tell".to_owned(), tell)].into())].into();
    configure(&service.host, &service.functions);
    service.host.actions.plugins.know_installed(A, catalogue::commands()).unwrap();
    let mut declaration = pipeline("shop");
    declaration["pipelineType"] = json!("V2");
    declaration["variables"] = json!([{ "name": "Name", "defaultValue": "any" }]);
    let id = |category: &str, provider: &str| json!({ "category": category, "owner": "AWS", "provider": provider, "version": "1" });
    let source = &mut declaration["stages"][0]["actions"][0];
    source["actionTypeId"] = id("Source", "CodeStarSourceConnection");
    source["configuration"] = json!({
        "ConnectionArn": "arn:aws:codeconnections:us-east-1:000000000000:connection/hub",
        "FullRepositoryId": "team/site", "BranchName": "main",
    });
    let lambda = |name: &str, function: &str| json!({ "name": name, "actionTypeId": id("Invoke", "Lambda"), "configuration": { "FunctionName": function } });
    let commands = json!({
        "name": "Run", "actionTypeId": id("Compute", "Commands"), "commands": ["make"], "inputArtifacts": [{ "name": "Code" }],
    });
    let actions = declaration["stages"][1]["actions"].as_array_mut().unwrap();
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:tell:1";
    actions.extend([lambda("Tell", arn), lambda("Any", "#{variables.Name}"), lambda("Other", "other"), commands]);
    let rule = |name: &str, provider: &str, more: Value| {
        let mut rule = json!({ "name": name, "ruleTypeId": id("Rule", provider) });
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    };
    let rules = [
        rule("Judge", "LambdaInvoke", json!({ "configuration": { "FunctionName": "judge" } })),
        rule("Run", "Commands", json!({ "commands": ["make"], "inputArtifacts": [{ "name": "Code" }] })),
    ];
    declaration["stages"][1]["beforeEntry"] = json!({ "conditions": [{ "result": "FAIL", "rules": rules }] });
    world.ok(A, pipelines::create, json!({ "pipeline": declaration }));
    let told = || {
        let told = world.run(warnings::list(&world.service, &context(A), "shop")).unwrap().warnings;
        told.into_iter().filter(|told| !told.contains("has no plugin")).collect::<Vec<_>>()
    };
    let function = |place: &str, name: &str| {
        format!(
            "{place} fails when it is due: The AWS Lambda function {name} does not exist. Correct `FunctionName`, or name the \
             function in `[functions.{name}]` of the server's configuration"
        )
    };
    let ungranted = |place: &str| {
        format!(
            "{place} fails when it is due, for nothing lets it run programs: [action.\"{place}\"] of the pipeline's grants file \
             needs `commands`, like `commands = {{ level = \"toolchain\" }}`"
        )
    };
    let connection = "Source/Source fails when it is due: the account has no connection `hub`: those who run the host create it \
                      with `pipewright connection create`";
    let expected = [
        ungranted("Build/Run"),
        ungranted("Build/beforeEntry/Run"),
        connection.to_owned(),
        function("Build/Other", "other"),
        function("Build/beforeEntry/Judge", "judge"),
    ];
    assert_eq!(told(), expected);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("grants.toml");
    std::fs::write(&file, "[action.\"Build/beforeEntry/Run\"]\ncommands = { level = \"toolchain\" }\n").unwrap();
    world.service.host.actions.grants.replace(Files::from([((A, "sh*".to_owned()), file)]));
    super::connections::put(&world, A, "hub", json!({ "kind": "github" })).unwrap();
    assert_eq!(told(), [expected[0].clone(), expected[3].clone(), expected[4].clone()]);
}
