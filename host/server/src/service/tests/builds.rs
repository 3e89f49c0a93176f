//! Projects of CodeBuild and their builds.

use std::sync::Arc;

use pipewright_base::clock::Simulated;
use serde_json::{Value, json};

use super::world::{A, B, Deed, World, context, text, told, words};
use crate::config::Quotas;
use crate::service::{EQUAL_ONES_COME_WITHIN, builds, pipelines, projects, quarantine, tags};
use pipewright_pipeline::machine::Success;
use pipewright_runner::builds::Build;

pub fn project(name: &str) -> Value {
    json!({
        "name": name,
        "description": "The site",
        "source": { "type": "GITHUB", "location": "https://git.example/site.git", "buildspec": "ci/buildspec.yml" },
        "artifacts": { "type": "S3", "location": "bucket" },
        "environment": {
            "type": "LINUX_CONTAINER", "image": "node:22", "computeType": "BUILD_GENERAL1_SMALL",
            "environmentVariables": [{ "name": "COLOUR", "value": "blue" }, { "name": "SIZE", "value": "1" }],
        },
        "serviceRole": "arn:aws:iam::000000000000:role/build",
        "tags": [{ "key": "team", "value": "web" }],
        "timeoutInMinutes": 10,
    })
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut project = project("site");
    change(&mut project);
    project
}

#[test]
fn a_project_is_read_back_as_it_was_made() {
    let world = World::new();
    let created = world.ok(A, projects::create, project("site"))["project"].take();
    for (member, given) in project("site").as_object().unwrap() {
        match member.as_str() {
            "environment" | "artifacts" => {
                let mut shown = created[member].clone();
                let given = given.as_object().unwrap().iter().filter(|(name, _)| *name != "environmentVariables");
                given.for_each(|(name, given)| assert_eq!(shown[name].take(), *given, "{name}"));
            }
            _ => assert_eq!(created[member], *given, "{member}"),
        }
    }
    assert_eq!(created["arn"], "arn:aws:codebuild:us-east-1:000000000000:project/site");
    assert_eq!(
        (&created["queuedTimeoutInMinutes"], &created["badge"]),
        (&json!(480), &json!({ "badgeEnabled": false }))
    );
    // One without an account is the caller's own (S7).
    let whose = "arn:aws:codebuild:us-east-1::project/site";
    assert_eq!(world.ok(A, projects::batch_get, json!({ "names": [whose] }))["projects"][0]["name"], "site");
    let got = world.ok(A, projects::batch_get, json!({ "names": ["site", created["arn"], "other"] }));
    assert_eq!(got["projects"], json!([created, created]));
    assert_eq!(got["projectsNotFound"], json!(["other"]));
    assert_eq!(world.ok(B, projects::batch_get, json!({ "names": ["site"] }))["projects"], json!([]));
    let updated = json!({ "name": "site", "description": "Another", "tags": [], "badgeEnabled": true });
    let updated = world.ok(A, projects::update, updated)["project"].take();
    assert_eq!((&updated["description"], &updated["tags"]), (&json!("Another"), &json!([])));
    assert_eq!((&updated["source"], &updated["badge"]["badgeEnabled"]), (&created["source"], &json!(true)));
    for (limit, shown) in [(json!(3), json!(3)), (Value::Null, json!(3)), (json!(-1), Value::Null)] {
        let updated = world.ok(A, projects::update, json!({ "name": "site", "concurrentBuildLimit": limit }));
        assert_eq!(updated["project"]["concurrentBuildLimit"], shown, "{limit}");
    }
    world.ok(A, projects::delete, json!({ "name": "site" }));
    world.ok(A, projects::delete, json!({ "name": "site" }));
    world.refused(
        A,
        projects::update,
        json!({ "name": "site" }),
        "ResourceNotFoundException: Project cannot be found: arn:aws:codebuild:us-east-1:000000000000:project/site",
    );
}

#[test]
fn what_cannot_be_a_project_is_not_made() {
    assert_eq!(Quotas::default().projects, 1000);
    let world = World::with(Quotas { projects: 1, ..Quotas::default() });
    let refused = |change: fn(&mut Value), expected: &str| {
        let error = format!("ValidationException: {expected}");
        world.refused(A, projects::create, changed(change), &error);
        assert_eq!(world.ok(A, projects::list, json!({}))["projects"], json!([]));
    };
    refused(
        |it| it["artifacts"] = json!({ "type": "CODEPIPELINE" }),
        "The source is GITHUB and the artifacts are CODEPIPELINE: of a project for pipelines both are CODEPIPELINE",
    );
    refused(
        |it| it["source"] = json!({ "type": "NO_SOURCE" }),
        "A project without a source needs the text of a buildspec: set source.buildspec",
    );
    refused(
        |it| it["source"] = json!({ "type": "GITHUB" }),
        "A source of type GITHUB needs a location: set source.location",
    );
    refused(
        |it| it["artifacts"] = json!({ "type": "S3" }),
        "Artifacts of type S3 need a location: set artifacts.location",
    );
    refused(
        |it| it["secondarySources"] = json!([{ "type": "GITHUB", "location": "https://a", "sourceIdentifier": "a-b" }]),
        "Each of secondarySources has a sourceIdentifier of its own, of letters, digits and `_`; `a-b` is none",
    );
    refused(|it| it["tags"] = json!([{ "key": "aws:x", "value": "" }]), "Tag keys that start with 'aws:' are reserved");
    refused(
        |it| it["source"]["buildspec"] = "#".repeat(70_000).into(),
        "The project has 70465 bytes; 65536 is the most: keep its buildspec in the source",
    );
    world.ok(A, projects::create, project("site"));
    world.refused(
        A,
        projects::create,
        project("site"),
        "ResourceAlreadyExistsException: Project already exists: arn:aws:codebuild:us-east-1:000000000000:project/site",
    );
    world.refused(A, projects::create, project("other"), "limit: The account has 1 projects, which is its limit");
}

#[test]
fn lists_are_in_pages_and_in_the_order_that_was_asked_for() {
    let world = World::new();
    let names: Vec<String> = (0..101).map(|number| format!("p{number:03}")).collect();
    names.iter().rev().for_each(|name| drop(world.ok(A, projects::create, project(name))));
    let first = world.ok(A, projects::list, json!({}));
    assert_eq!(first["projects"], json!(names[..100]));
    let rest = world.ok(A, projects::list, json!({ "nextToken": first["nextToken"] }));
    assert_eq!(rest, json!({ "projects": ["p100"] }));
    let last = world.ok(A, projects::list, json!({ "sortOrder": "DESCENDING" }));
    assert_eq!((&last["projects"][0], &last["projects"][99]), (&json!("p100"), &json!("p001")));
    let message =
        "InvalidNextTokenException: The next token is not one that a previous call of this operation returned";
    world.refused(A, projects::list, json!({ "nextToken": "made-up" }), message);
    let other = json!({ "sortOrder": "DESCENDING", "nextToken": first["nextToken"] });
    world.refused(A, projects::list, other, message);
}

/// The pipeline that runs a build.
fn pipeline_of(world: &World, id: &str) -> String {
    let known = world.run(world.service.host.actions.builds.all(A)).unwrap();
    known.into_iter().find(|build| build.id == id).unwrap().pipeline
}

/// Starts a build and waits for its end.
pub fn whole(world: &World, mut input: Value) -> Value {
    input["projectName"] = json!("site");
    let started = world.ok(A, builds::start, input)["build"].take();
    let id = text(&started["id"]);
    world.ended(A, &pipeline_of(world, &id), id.split_once(':').unwrap().1);
    shown(world, &id)
}

fn shown(world: &World, id: &str) -> Value {
    world.ok(A, builds::batch_get, json!({ "ids": [id] }))["builds"][0].take()
}

#[test]
fn a_build_that_no_pipeline_starts() {
    let world = World::new();
    world.ok(A, projects::create, project("site"));
    let variables = [("PAGES".to_owned(), "3".to_owned())].into();
    let success = Success { variables, told: told(), ..Success::default() };
    world.script.does("Build", Deed::Tell(Box::new(success)));
    let overrides = json!({
        "sourceVersion": "main", "timeoutInMinutesOverride": 5, "buildspecOverride": "other.yml",
        "environmentVariablesOverride": [{ "name": "COLOUR", "value": "red", "type": "PLAINTEXT" }],
    });
    let build = whole(&world, overrides);
    assert_eq!(world.script.calls(), ["Source", "Build"]);
    assert_eq!((&build["buildStatus"], &build["buildComplete"]), (&json!("SUCCEEDED"), &json!(true)));
    assert_eq!((&build["buildNumber"], &build["initiator"]), (&json!(1), &json!("ada")));
    assert_eq!((&build["sourceVersion"], &build["timeoutInMinutes"]), (&json!("main"), &json!(5)));
    assert_eq!((&build["source"]["buildspec"], &build["resolvedSourceVersion"]), (&json!("other.yml"), &json!("r1")));
    let variables = json!([
        { "name": "SIZE", "value": "1", "type": "PLAINTEXT" },
        { "name": "COLOUR", "value": "red", "type": "PLAINTEXT" },
    ]);
    assert_eq!(build["environment"]["environmentVariables"], variables);
    assert_eq!(build["exportedEnvironmentVariables"], json!([{ "name": "PAGES", "value": "3" }]));
    let phases: Vec<&Value> = build["phases"].as_array().unwrap().iter().map(|phase| &phase["phaseType"]).collect();
    assert_eq!(phases, ["SUBMITTED", "DOWNLOAD_SOURCE", "BUILD", "COMPLETED"]);
    assert!(text(&build["logs"]["deepLink"]).starts_with("http://pipewright.example/v1/pipelines/codebuild:site:"));
    // The project is as it was.
    let next = whole(&world, json!({}));
    assert_eq!((&next["buildNumber"], &next["timeoutInMinutes"]), (&json!(2), &json!(10)));
    let listed = world.ok(A, builds::list_for_project, json!({ "projectName": "site" }));
    assert_eq!(listed, json!({ "ids": [next["id"], build["id"]] }));
    let oldest = world.ok(A, builds::list, json!({ "sortOrder": "ASCENDING" }));
    assert_eq!(oldest["ids"][0], build["id"]);
    assert_eq!(world.ok(B, builds::list, json!({}))["ids"], json!([]));
    // What runs it is nobody's pipeline.
    assert_eq!(world.ok(A, pipelines::list, json!({}))["pipelines"], json!([]));
}

#[test]
fn the_longest_name_has_room() {
    let world = World::new();
    let name = "n".repeat(150);
    world.ok(A, projects::create, project(&name));
    let id = text(&world.ok(A, builds::start, json!({ "projectName": name }))["build"]["id"]);
    world.ended(A, &pipeline_of(&world, &id), id.split_once(':').unwrap().1);
    assert_eq!(
        (&shown(&world, &id)["buildStatus"], &shown(&world, &id)["buildNumber"]),
        (&json!("SUCCEEDED"), &json!(1))
    );
    assert_eq!(world.ok(A, projects::list, json!({}))["projects"], json!([name]));
}

#[test]
fn a_build_that_fails_says_in_which_phase() {
    let world = World::new();
    world.ok(A, projects::create, project("site"));
    let check = |action: &str, message: &'static str, status: &str, phase: &str, code: &str| {
        world.script.does(action, Deed::Fail(message));
        let build = whole(&world, json!({}));
        world.script.succeeds(action);
        assert_eq!(build["buildStatus"], *status, "{message}");
        let failed = build["phases"].as_array().unwrap().iter().find(|it| it["phaseType"] == *phase).unwrap();
        assert_eq!((&failed["phaseStatus"], &failed["contexts"][0]["statusCode"]), (&json!(status), &json!(code)));
    };
    let failed = "Build terminated with state: FAILED. Phase: PRE_BUILD, Code: COMMAND_EXECUTION_ERROR, Message: no";
    check("Build", failed, "FAILED", "PRE_BUILD", "COMMAND_EXECUTION_ERROR");
    let late = "Build terminated with state: TIMED_OUT. Phase: BUILD, Code: BUILD_TIMED_OUT, Message: late";
    check("Build", late, "TIMED_OUT", "BUILD", "BUILD_TIMED_OUT");
    check("Source", "there is no such branch", "FAILED", "DOWNLOAD_SOURCE", "JobFailed");
}

#[test]
fn a_build_is_started_once_for_each_signature() {
    let clock = Simulated::new(1_000_000);
    let world = World::on(Quotas::default(), Arc::new(clock.clone()));
    world.ok(A, projects::create, project("site"));
    let start =
        |signature: &str| world.signed(signature, builds::start, json!({ "projectName": "site" }))["build"].take();
    let [first, another, meant] = ["aa", "bb", "bb"].map(start);
    // Some clients tell two of one second apart by nothing.
    assert_eq!([&first, &another, &meant].map(|build| &build["buildNumber"]), [&json!(1), &json!(2), &json!(3)]);
    world.run(clock.advance(EQUAL_ONES_COME_WITHIN));
    assert_eq!(start("aa")["id"], first["id"]);
    assert_eq!(start("bb")["id"], meant["id"]);
}

#[test]
fn a_build_is_stopped_at_once() {
    let world = World::new();
    world.ok(A, projects::create, project("site"));
    world.script.does("Build", Deed::Hang);
    let started = world.ok(A, builds::start, json!({ "projectName": "site", "idempotencyToken": "t" }))["build"].take();
    let id = text(&started["id"]);
    let again = world.ok(A, builds::start, json!({ "projectName": "site", "idempotencyToken": "t" }));
    assert_eq!(again["build"]["id"], *id, "it is the same build");
    assert_eq!((&started["buildStatus"], &started["buildComplete"]), (&json!("IN_PROGRESS"), &json!(false)));
    world.until(A, &pipeline_of(&world, &id), |_| world.script.calls() == ["Source", "Build"]);
    // A build with other stages, which a pipeline of its own runs, ends nothing.
    let other = json!({ "projectName": "site", "artifactsOverride": { "type": "NO_ARTIFACTS" } });
    let other = text(&world.ok(A, builds::start, other)["build"]["id"]);
    assert_ne!(pipeline_of(&world, &other), pipeline_of(&world, &id));
    assert_eq!(shown(&world, &id)["buildStatus"], "IN_PROGRESS");
    world.ok(A, builds::stop, json!({ "id": id }));
    world.ended(A, &pipeline_of(&world, &id), id.split_once(':').unwrap().1);
    assert_eq!(shown(&world, &id)["buildStatus"], "STOPPED");
    assert_eq!(world.ok(A, builds::stop, json!({ "id": id }))["build"]["buildStatus"], "STOPPED");
    world.refused(
        A,
        builds::stop,
        json!({ "id": "site:x" }),
        "ResourceNotFoundException: Build cannot be found: site:x",
    );
    assert_eq!(world.ok(A, builds::batch_get, json!({ "ids": ["site:x"] }))["buildsNotFound"], json!(["site:x"]));
}

/// As the runner does for each attempt of an action: one after a crash has the build's id, a retry another one.
#[test]
fn builds_of_a_project_are_numbered_whoever_started_them() {
    let world = World::new();
    let begin = |id: &'static str| {
        let build = Build {
            id: id.to_owned(),
            project: id.split_once(':').unwrap().0.to_owned(),
            number: 0,
            pipeline: "p".to_owned(),
            uid: [7; 16],
            execution: "e".to_owned(),
            action: Some(id.to_owned()),
            initiator: "codepipeline/p".to_owned(),
            started: 1,
            was_stopped: false,
        };
        let (builds, cause) = (&world.service.host.actions.builds, context(A).cause);
        async move { builds.begin(A, build, &cause).await.unwrap().number }
    };
    world.ok(A, projects::create, project("site"));
    assert_eq!(world.run(async { [begin("site:a").await, begin("other:b").await, begin("site:a").await] }), [1, 1, 1]);
    let started = world.ok(A, builds::start, json!({ "projectName": "site" }));
    assert_eq!(started["build"]["buildNumber"], 2);
    // Of those at once, each has its own.
    let mut numbers = world.run(async { futures::future::join_all(["site:c", "site:d", "site:e"].map(begin)).await });
    numbers.sort_unstable();
    assert_eq!((numbers, world.run(begin("site:a"))), (vec![3, 4, 5], 1));
    world.ok(A, projects::delete, json!({ "name": "site" }));
    world.ok(A, projects::create, project("site"));
    assert_eq!(world.run(begin("site:f")), 1);
}

#[test]
fn a_build_ends_no_other_and_ends_with_its_project() {
    let world = World::new();
    world.ok(A, projects::create, project("site"));
    world.script.does("Build", Deed::Hang);
    let start = |more: Value| {
        let mut input = json!({ "projectName": "site" });
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        text(&world.ok(A, builds::start, input)["build"]["id"])
    };
    let ids = [json!({}), json!({}), json!({ "artifactsOverride": { "type": "NO_ARTIFACTS" } })].map(start);
    let completed = || [0, 1, 2].map(|number| shown(&world, &ids[number])["buildComplete"] == true);
    assert_eq!(completed(), [false, false, false]);
    world.ok(A, builds::stop, json!({ "id": ids[0] }));
    assert_eq!(completed(), [true, false, false]);
    world.ok(A, projects::delete, json!({ "name": "site" }));
    assert_eq!(completed(), [true, true, true]);
}

#[test]
fn what_cannot_be_built_is_told_before_anything_starts() {
    let world = World::new();
    let check = |project: Value, input: Value, expected: &str| {
        world.ok(A, projects::create, project);
        let mut input = input;
        input["projectName"] = json!("site");
        world.refused(A, builds::start, input, expected);
        world.ok(A, projects::delete, json!({ "name": "site" }));
        assert_eq!(world.ok(A, builds::list, json!({}))["ids"], json!([]));
    };
    check(
        changed(|it| {
            it["source"] = json!({ "type": "CODEPIPELINE" });
            it["artifacts"] = json!({ "type": "CODEPIPELINE" });
        }),
        json!({}),
        "ValidationException: The project's source is CODEPIPELINE: a pipeline starts its builds. Override the source to build \
         it otherwise",
    );
    check(
        changed(|it| it["source"] = json!({ "type": "S3", "location": "bucket/key.zip" })),
        json!({}),
        "ValidationException: A source of type S3 at `bucket/key.zip` is not fetched here: give the address of a git repository, \
         with https://",
    );
    check(
        project("site"),
        json!({ "sourceTypeOverride": "NO_SOURCE", "buildspecOverride": "" }),
        "ValidationException: A project without a source needs the text of a buildspec: set source.buildspec",
    );
    world.refused(
        A,
        builds::start,
        json!({ "projectName": "site" }),
        "ResourceNotFoundException: Project cannot be found: arn:aws:codebuild:us-east-1:000000000000:project/site",
    );
}

/// Starts a build whose artifacts are named so, which needs a pipeline of its own.
fn with_artifact(name: &str) -> Value {
    let artifact = json!({ "type": "S3", "location": "bucket", "artifactIdentifier": name });
    json!({ "projectName": "site", "secondaryArtifactsOverride": [artifact] })
}

fn runners(world: &World) -> usize {
    world.run(world.service.host.driver.pipelines(A)).unwrap().len()
}

#[test]
fn what_runs_builds_is_bounded() {
    let world = World::new();
    world.ok(A, projects::create, project("site"));
    let first = text(&whole(&world, with_artifact("first"))["id"]);
    let before = runners(&world);
    for number in 0..3 {
        whole(&world, json!({ "serviceRoleOverride": format!("arn:aws:iam::000000000000:role/r{number}") }));
        whole(&world, json!({ "sourceLocationOverride": format!("https://git.example/{number}.git") }));
    }
    assert_eq!(runners(&world), before + 1, "builds that differ in roles and addresses have one pipeline");
    for number in 0..2 * builds::VARIANTS_COUNT_MAX {
        whole(&world, with_artifact(&format!("a{number}")));
        assert!(runners(&world) <= builds::VARIANTS_COUNT_MAX);
    }
    // Its pipeline is gone; what it told is not.
    assert_eq!(shown(&world, &first)["buildStatus"], "SUCCEEDED");
    let execution = first.split_once(':').unwrap().1;
    let found = world.run(world.service.execution(&context(A), &pipeline_of(&world, &first), execution)).map(drop);
    found.unwrap_or_else(|error| panic!("{}", words(&error)));
    world.script.does("Build", Deed::Hang);
    let start = |name: &str| world.ask(A, builds::start, with_artifact(name));
    for number in 0..builds::VARIANTS_COUNT_MAX {
        start(&format!("b{number}")).unwrap_or_else(|error| panic!("{}", words(&error)));
    }
    let refused = start("one_more").unwrap_err();
    assert!(words(&refused).starts_with("limit: The project site has builds in progress with 10 different"));
    start("b0").unwrap_or_else(|error| panic!("{}", words(&error)));
    world.ok(A, projects::delete, json!({ "name": "site" }));
    assert_eq!(runners(&world), 0);
    assert_eq!(shown(&world, &first)["buildStatus"], "SUCCEEDED");
    let known = world.run(world.service.host.actions.builds.all(A)).unwrap();
    assert!(
        known.iter().all(|build| shown(&world, &build.id)["buildComplete"] == true),
        "none is in progress for ever"
    );
}

#[test]
fn what_runs_builds_is_reached_by_no_name() {
    let world = World::new();
    world.ok(A, projects::create, project("site"));
    let id = text(&whole(&world, json!({}))["id"]);
    let hidden = pipeline_of(&world, &id);
    let missing =
        format!("PipelineNotFoundException: Account '000000000000' does not have a pipeline with name '{hidden}'");
    let reloaded = world.run(quarantine::reload(&world.service, &context(A), &hidden)).map_err(|error| words(&error));
    assert_eq!(reloaded, Err(missing.clone()));
    let found = world.run(world.service.pipeline(&context(A), &hidden)).map(drop).map_err(|error| words(&error));
    assert_eq!(found, Err(missing));
    let arn = format!("arn:aws:codepipeline:us-east-1:000000000000:{hidden}");
    let missing = format!(
        "ResourceNotFoundException: The account with id '000000000000' does not include a pipeline with the name '{hidden}'"
    );
    let tag = json!({ "resourceArn": arn, "tags": [{ "key": "k", "value": "v" }] });
    world.refused(A, tags::tag, tag, &missing);
    world.refused(A, tags::untag, json!({ "resourceArn": arn, "tagKeys": ["k"] }), &missing);
    world.refused(A, tags::list, json!({ "resourceArn": arn }), &missing);
    // But what a build has left is read where its answer says.
    let execution = id.split_once(':').unwrap().1;
    assert!(world.run(world.service.execution(&context(A), &hidden, execution)).is_ok());
}
