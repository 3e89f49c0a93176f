//! What keeps a pipeline from running is told before it runs.

use serde_json::json;

use super::builds;
use super::world::{A, B, UNREADABLE, World, context, pipeline};
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
