use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::action_type::{ArtifactCount, Property, PropertyKind};
use crate::declaration::{ActionCategory, ActionOwner};

/// A valid V2 pipeline that uses every member of the declaration; the examples below break it.
fn valid() -> Value {
    json!({
        "name": "Site",
        "roleArn": "arn:aws:iam::123456789012:role/Pipeline",
        "pipelineType": "V2",
        "executionMode": "QUEUED",
        "version": 7,
        "artifactStores": {
            "eu-west-1": {"type": "S3", "location": "artifacts-eu", "encryptionKey": {"id": "key", "type": "KMS"}},
            "us-east-1": {"type": "S3", "location": "artifacts-us"}
        },
        "variables": [{"name": "Stage", "defaultValue": "test", "description": "where to"}, {"name": "Zone"}],
        "triggers": [{
            "providerType": "CodeStarSourceConnection",
            "gitConfiguration": {
                "sourceActionName": "Git",
                "push": [{"tags": {"includes": ["v*"], "excludes": ["v0*"]}}, {"branches": {"includes": ["main"]}, "filePaths": {"excludes": ["docs/**"]}}],
                "pullRequest": [{"events": ["OPEN", "CLOSED"], "branches": {"includes": ["main"]}, "filePaths": {"includes": ["src/**"]}}]
            }
        }],
        "stages": [
            {"name": "Source", "actions": [
                {
                    "name": "Git", "namespace": "git", "outputArtifacts": [{"name": "Code"}],
                    "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "CodeStarSourceConnection", "version": "1"},
                    "configuration": {"ConnectionArn": "arn", "FullRepositoryId": "a/b", "BranchName": "main"}
                },
                {
                    "name": "Data", "outputArtifacts": [{"name": "Data"}],
                    "actionTypeId": {"category": "Source", "owner": "Custom", "provider": "Directory", "version": "1"},
                    "configuration": {"Path": "/data"}
                }
            ]},
            {"name": "Build", "actions": [
                {
                    "name": "Compile", "runOrder": 1, "namespace": "compile",
                    "inputArtifacts": [{"name": "Code"}, {"name": "Data"}], "outputArtifacts": [{"name": "Site", "files": ["out/**"]}],
                    "actionTypeId": {"category": "Compute", "owner": "AWS", "provider": "Commands", "version": "1"},
                    "commands": ["make STAGE=#{variables.Stage} ID=#{codepipeline.PipelineExecutionId}"],
                    "outputVariables": ["VERSION"],
                    "environmentVariables": [{"name": "COMMIT", "value": "#{git.CommitId}", "type": "PLAINTEXT"}],
                    "roleArn": "arn:aws-cn:iam::123456789012:role/Build", "region": "us-east-1"
                },
                {
                    "name": "Check", "runOrder": 2, "inputArtifacts": [{"name": "Site"}],
                    "actionTypeId": {"category": "Test", "owner": "Custom", "provider": "Site", "version": "1"},
                    "configuration": {"Depth": "3", "Strict": "true", "Mode": "fast", "Paths": "[\"a\"]", "Title": "#{compile.VERSION}"}
                }
            ],
            "beforeEntry": {"conditions": [{"result": "SKIP", "rules": [{
                "name": "IsMain", "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": "VariableCheck", "version": "1"},
                "configuration": {"Variable": "#{git.BranchName}", "Operator": "EQ", "Value": "main"}, "timeoutInMinutes": 10
            }]}]},
            "onSuccess": {"conditions": [{"result": "FAIL", "rules": [{
                "name": "Smoke", "ruleTypeId": {"category": "Rule", "provider": "Commands"},
                "commands": ["test -n \"#{compile.VERSION}\""], "inputArtifacts": [{"name": "Site"}]
            }]}]},
            "onFailure": {"result": "RETRY", "retryConfiguration": {"retryMode": "FAILED_ACTIONS"}}},
            {"name": "Release", "actions": [
                {
                    "name": "Approve", "timeoutInMinutes": 60,
                    "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"},
                    "configuration": {"CustomData": "Release #{compile.VERSION}?"}
                },
                {
                    "name": "Publish", "runOrder": 2, "inputArtifacts": [{"name": "Site"}],
                    "actionTypeId": {"category": "Deploy", "owner": "AWS", "provider": "S3", "version": "1"},
                    "configuration": {"BucketName": "site", "Extract": "false", "ObjectKey": "site.zip"}
                }
            ], "blockers": []}
        ]
    })
}

/// The types that plugins serve in these tests.
fn action_types() -> ActionTypes {
    let property = |name: &str, kind, required| {
        let (name, choices) = (name.to_owned(), Vec::new());
        Property { name, kind, required, secret: false, default: None, choices }
    };
    let id = |category, owner, provider: &str| ActionTypeId {
        category,
        owner,
        provider: provider.to_owned(),
        version: "1".to_owned(),
    };
    let count = |min, max| ArtifactCount { min, max };
    let site = ActionTypeInfo {
        id: id(ActionCategory::Test, ActionOwner::Custom, "Site"),
        inputs: count(1, 1),
        outputs: count(0, 0),
        properties: vec![
            property("Title", PropertyKind::String, true),
            property("Depth", PropertyKind::Number, false),
            property("Strict", PropertyKind::Boolean, false),
            property("Paths", PropertyKind::List, false),
            Property {
                choices: vec!["fast".to_owned(), "full".to_owned()],
                ..property("Mode", PropertyKind::String, false)
            },
        ],
    };
    let directory = ActionTypeInfo {
        id: id(ActionCategory::Source, ActionOwner::Custom, "Directory"),
        inputs: count(0, 0),
        outputs: count(1, 1),
        properties: vec![property("Path", PropertyKind::String, true)],
    };
    // A plugin that serves an AWS type and knows none of its keys.
    let approval = ActionTypeInfo {
        id: id(ActionCategory::Approval, ActionOwner::AWS, "Manual"),
        inputs: count(0, 0),
        outputs: count(0, 0),
        properties: Vec::new(),
    };
    [site, directory, approval].into_iter().map(|info| (info.id.clone(), info)).collect()
}

fn judge(pipeline: &Value) -> Result<PipelineDeclaration, Problems> {
    validate(pipeline, &Context { region: Some("eu-west-1"), action_types: &action_types() })
}

fn judge_input(input: &Value) -> Result<CreatePipelineInput, Problems> {
    validate_input(input, &Context { region: Some("eu-west-1"), action_types: &action_types() })
}

/// Sets what a JSON pointer names, making members and items that are not there; null removes.
fn set(document: &mut Value, pointer: &str, value: Value) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}"));
    match parent {
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => items[last.parse::<usize>().unwrap()] = value,
        Value::Object(members) if value.is_null() => drop(members.remove(last)),
        Value::Object(members) => drop(members.insert(last.to_owned(), value)),
        _ => panic!("{pointer} is not in a list or an object"),
    }
}

fn broken(changes: &[(&str, Value)]) -> Value {
    let mut pipeline = valid();
    for (pointer, value) in changes {
        set(&mut pipeline, pointer, value.clone());
    }
    pipeline
}

fn approvals(count: usize) -> Value {
    let approval = |index| {
        json!({"name": format!("A{index}"),
            "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"}})
    };
    (0..count).map(approval).collect()
}

#[test]
fn the_valid_pipeline_is_valid() {
    let declaration = judge(&valid()).unwrap();
    assert_eq!(declaration.version, None, "the server gives the version");
    let mut expected = valid();
    set(&mut expected, "/version", Value::Null);
    assert_eq!(serde_json::to_value(&declaration).unwrap(), expected, "nothing is lost between JSON and types");
}

/// For each rule, what breaks it, and where that must be reported.
#[rustfmt::skip] // a table
fn examples() -> Vec<(&'static str, Value, &'static str)> {
    let one = |pointer: &str, value: Value| broken(&[(pointer, value)]);
    let stage = |name: &str| json!({"name": name, "actions": approvals(1)});
    let many_stages = |count: usize, actions: usize| -> Value {
        (0..count).map(|index| json!({"name": format!("S{index}"), "actions": approvals(actions)})).collect()
    };
    let sources = valid()["stages"][0]["actions"][1].clone();
    let source = sources["actionTypeId"].clone();
    let store = json!({"type": "S3", "location": "artifacts"});
    let v1 = json!("V1");
    let lots: serde_json::Map<_, _> = (0..110).map(|index| (format!("K{index}"), json!("x".repeat(1000)))).collect();
    vec![
        ("stages-min", one("/stages", json!([valid()["stages"][0]])), "pipeline.stages"),
        ("stages-max", one("/stages", many_stages(51, 1)), "pipeline.stages"),
        ("actions-total-max", one("/stages", many_stages(11, 50)), "pipeline.stages"),
        ("first-stage-sources", one("/stages/0/actions/1", approvals(1)[0].clone()), "pipeline.stages[0].actions[1].actionTypeId.category"),
        ("sources-first-stage", one("/stages/2/actions/0/actionTypeId", source.clone()), "pipeline.stages[2].actions[0].actionTypeId.category"),
        ("non-source-action", one("/stages", json!([{"name": "A", "actions": [sources]}, {"name": "B", "actions": [sources]}])), "pipeline.stages"),
        ("one-artifact-store", one("/artifactStore", store.clone()), "pipeline.artifactStores"),
        ("one-artifact-store", one("/artifactStores", Value::Null), "pipeline.artifactStore"),
        ("artifact-store-regions", one("/artifactStores/eu-west-1", Value::Null), "pipeline.artifactStores"),
        ("artifact-store-regions", one("/stages/1/actions/0/region", json!("eu-north-1")), "pipeline.artifactStores"),
        ("artifact-store-regions", broken(&[("/artifactStores", Value::Null), ("/artifactStore", store)]), "pipeline.artifactStore"),
        ("execution-mode-v2", one("/pipelineType", v1.clone()), "pipeline.executionMode"),
        ("execution-mode-v2", one("/pipelineType", Value::Null), "pipeline.executionMode"),
        ("triggers-v2", one("/pipelineType", v1.clone()), "pipeline.triggers"),
        ("variables-v2", one("/pipelineType", v1.clone()), "pipeline.variables"),
        ("variable-names-unique", one("/variables/1/name", json!("Stage")), "pipeline.variables[1].name"),
        ("variables-not-in-sources", one("/stages/0/actions/1/configuration/Path", json!("/#{variables.Stage}")), "pipeline.stages[0].actions[1].configuration.Path"),
        ("variables-declared", one("/stages/1/actions/0/commands/0", json!("#{variables.Nope}")), "pipeline.stages[1].actions[0].commands[0]"),
        ("trigger-source-action", one("/triggers/0/gitConfiguration/sourceActionName", json!("Data")), "pipeline.triggers[0].gitConfiguration.sourceActionName"),
        ("trigger-per-source-action", one("/triggers/-", valid()["triggers"][0].clone()), "pipeline.triggers[1].gitConfiguration.sourceActionName"),
        ("trigger-filters", one("/triggers/0/gitConfiguration/push/0/branches", json!({"includes": ["main"]})), "pipeline.triggers[0].gitConfiguration.push[0]"),
        ("stage-names-unique", one("/stages/-", stage("Source")), "pipeline.stages[3].name"),
        ("stage-actions-min", one("/stages/2/actions", json!([])), "pipeline.stages[2].actions"),
        ("stage-actions-max", one("/stages/2/actions", approvals(51)), "pipeline.stages[2].actions"),
        ("conditions-v2", one("/pipelineType", v1.clone()), "pipeline.stages[1].onFailure"),
        ("condition-complete", one("/stages/1/beforeEntry/conditions/0/result", Value::Null), "pipeline.stages[1].beforeEntry.conditions[0]"),
        ("condition-complete", one("/stages/1/onSuccess/conditions/0/rules", Value::Null), "pipeline.stages[1].onSuccess.conditions[0]"),
        ("condition-results", one("/stages/1/beforeEntry/conditions/0/result", json!("ROLLBACK")), "pipeline.stages[1].beforeEntry.conditions[0].result"),
        ("condition-results", one("/stages/1/onSuccess/conditions/0/result", json!("RETRY")), "pipeline.stages[1].onSuccess.conditions[0].result"),
        ("failure-result-or-conditions", one("/stages/1/onFailure/conditions", valid()["stages"][1]["onSuccess"]["conditions"].clone()), "pipeline.stages[1].onFailure"),
        ("retry-configuration", one("/stages/1/onFailure/result", json!("ROLLBACK")), "pipeline.stages[1].onFailure"),
        ("parallel-rollback", broken(&[("/executionMode", json!("PARALLEL")), ("/stages/1/onFailure", json!({"result": "ROLLBACK"}))]), "pipeline.stages[1].onFailure.result"),
        ("parallel-rollback", broken(&[("/executionMode", json!("PARALLEL")), ("/stages/1/onSuccess/conditions/0/result", json!("ROLLBACK"))]), "pipeline.stages[1].onSuccess.conditions[0].result"),
        ("skip-rules", one("/stages/1/beforeEntry/conditions/0/rules/0/ruleTypeId/provider", json!("DeploymentWindow")), "pipeline.stages[1].beforeEntry.conditions[0].rules[0].ruleTypeId"),
        ("rule-configuration", one("/stages/1/beforeEntry/conditions/0/rules/0/configuration/Operator", Value::Null), "pipeline.stages[1].beforeEntry.conditions[0].rules[0].configuration"),
        ("rule-commands", one("/stages/1/onSuccess/conditions/0/rules/0/commands", Value::Null), "pipeline.stages[1].onSuccess.conditions[0].rules[0].commands"),
        ("rule-commands", one("/stages/1/onSuccess/conditions/0/rules/0/commands/0", json!("a\nb")), "pipeline.stages[1].onSuccess.conditions[0].rules[0].commands"),
        ("rule-commands", one("/stages/1/beforeEntry/conditions/0/rules/0/commands", json!(["true"])), "pipeline.stages[1].beforeEntry.conditions[0].rules[0].commands"),
        ("rule-inputs", one("/stages/1/beforeEntry/conditions/0/rules/0/inputArtifacts", json!([{"name": "Site"}])), "pipeline.stages[1].beforeEntry.conditions[0].rules[0].inputArtifacts[0].name"),
        ("blockers-reserved", one("/stages/2/blockers/-", json!({"name": "Friday", "type": "Schedule"})), "pipeline.stages[2].blockers"),
        ("action-names-unique", one("/stages/2/actions/1/name", json!("Approve")), "pipeline.stages[2].actions[1].name"),
        ("outputs-unique", one("/stages/0/actions/1/outputArtifacts/0/name", json!("Code")), "pipeline.stages[0].actions[1].outputArtifacts[0].name"),
        ("inputs-produced", one("/stages/1/actions/0/inputArtifacts/1/name", json!("Nothing")), "pipeline.stages[1].actions[0].inputArtifacts[1].name"),
        ("inputs-produced", one("/stages/1/actions/1/runOrder", json!(1)), "pipeline.stages[1].actions[1].inputArtifacts[0].name"),
        ("namespaces-reserved", one("/stages/0/actions/1/namespace", json!("variables")), "pipeline.stages[0].actions[1].namespace"),
        ("namespaces-reserved", one("/stages/0/actions/1/namespace", json!("codepipeline")), "pipeline.stages[0].actions[1].namespace"),
        ("namespaces-unique", one("/stages/0/actions/1/namespace", json!("git")), "pipeline.stages[0].actions[1].namespace"),
        ("reference-syntax", one("/stages/2/actions/0/configuration/CustomData", json!("#{git}")), "pipeline.stages[2].actions[0].configuration.CustomData"),
        ("reference-syntax", one("/stages/2/actions/0/configuration/CustomData", json!("a #{git.CommitId")), "pipeline.stages[2].actions[0].configuration.CustomData"),
        ("reference-built-in", one("/stages/2/actions/0/configuration/CustomData", json!("#{codepipeline.Name}")), "pipeline.stages[2].actions[0].configuration.CustomData"),
        ("reference-namespace", one("/stages/2/actions/0/configuration/CustomData", json!("#{nobody.X}")), "pipeline.stages[2].actions[0].configuration.CustomData"),
        ("reference-namespace", one("/variables", Value::Null), "pipeline.stages[1].actions[0].commands[0]"),
        ("reference-namespace", one("/stages/1/beforeEntry/conditions/0/rules/0/configuration/Value", json!("#{nobody.X}")), "pipeline.stages[1].beforeEntry.conditions[0].rules[0].configuration.Value"),
        ("reference-order", one("/stages/1/actions/0/environmentVariables/0/value", json!("#{compile.VERSION}")), "pipeline.stages[1].actions[0].environmentVariables[0].value"),
        ("reference-order", one("/stages/1/beforeEntry/conditions/0/rules/0/configuration/Value", json!("#{compile.X}")), "pipeline.stages[1].beforeEntry.conditions[0].rules[0].configuration.Value"),
        ("cross-region-owner", one("/stages/0/actions/0/region", json!("us-east-1")), "pipeline.stages[0].actions[0].region"),
        ("cross-region-owner", one("/stages/1/actions/1/region", json!("us-east-1")), "pipeline.stages[1].actions[1].region"),
        ("timeout-approval-only", one("/stages/1/actions/0/timeoutInMinutes", json!(5)), "pipeline.stages[1].actions[0].timeoutInMinutes"),
        ("commands-family", one("/stages/1/actions/1/commands", json!(["make"])), "pipeline.stages[1].actions[1].commands"),
        ("commands-family", one("/stages/1/actions/1/outputVariables", json!(["V"])), "pipeline.stages[1].actions[1].outputVariables"),
        ("commands-family", one("/stages/1/actions/1/environmentVariables", json!([{"name": "A", "value": "b"}])), "pipeline.stages[1].actions[1].environmentVariables"),
        ("commands-family", one("/stages/0/actions/0/outputArtifacts/0/files", json!(["*"])), "pipeline.stages[0].actions[0].outputArtifacts[0].files"),
        ("commands-required", one("/stages/1/actions/0/commands", Value::Null), "pipeline.stages[1].actions[0].commands"),
        ("commands-single-line", one("/stages/1/actions/0/commands/0", json!("a\nb")), "pipeline.stages[1].actions[0].commands[0]"),
        ("action-type-v2", one("/pipelineType", v1), "pipeline.stages[1].actions[0].actionTypeId"),
        ("inputs-count", one("/stages/2/actions/1/inputArtifacts", json!([])), "pipeline.stages[2].actions[1].inputArtifacts"),
        ("inputs-count", one("/stages/1/actions/1/inputArtifacts/-", json!({"name": "Code"})), "pipeline.stages[1].actions[1].inputArtifacts"),
        ("outputs-count", one("/stages/2/actions/1/outputArtifacts", json!([{"name": "More"}])), "pipeline.stages[2].actions[1].outputArtifacts"),
        ("configuration-required", one("/stages/2/actions/1/configuration/BucketName", Value::Null), "pipeline.stages[2].actions[1].configuration"),
        ("configuration-required", one("/stages/2/actions/1/configuration/ObjectKey", Value::Null), "pipeline.stages[2].actions[1].configuration"),
        ("configuration-required", one("/stages/1/actions/1/configuration", Value::Null), "pipeline.stages[1].actions[1].configuration"),
        ("configuration-unknown", one("/stages/2/actions/1/configuration/Nope", json!("x")), "pipeline.stages[2].actions[1].configuration.Nope"),
        ("configuration-unknown", one("/stages/1/actions/1/configuration/Nope", json!("x")), "pipeline.stages[1].actions[1].configuration.Nope"),
        ("configuration-values", one("/stages/1/actions/1/configuration/Depth", json!("deep")), "pipeline.stages[1].actions[1].configuration.Depth"),
        ("configuration-values", one("/stages/1/actions/1/configuration/Strict", json!("yes")), "pipeline.stages[1].actions[1].configuration.Strict"),
        ("configuration-values", one("/stages/1/actions/1/configuration/Mode", json!("slow")), "pipeline.stages[1].actions[1].configuration.Mode"),
        ("configuration-values", one("/stages/1/actions/1/configuration/Paths", json!("a,b")), "pipeline.stages[1].actions[1].configuration.Paths"),
        ("configuration-size", one("/stages/1/actions/0/configuration", Value::Object(lots)), "pipeline.stages[1].actions[0].configuration"),
    ]
}

fn tag_examples() -> Vec<(&'static str, Value, &'static str)> {
    let tags = |keys: &[String]| -> Value { keys.iter().map(|key| json!({"key": key, "value": ""})).collect() };
    let many: Vec<String> = (0..51).map(|index| format!("k{index}")).collect();
    vec![
        ("tags-max", tags(&many), "tags"),
        ("tag-keys", tags(&["a".into(), "a".into()]), "tags[1].key"),
        ("tag-keys", tags(&["aws:a".into()]), "tags[0].key"),
    ]
}

#[test]
fn every_rule_fires_with_its_class_at_its_place() {
    let tags =
        tag_examples().into_iter().map(|(rule, tags, path)| (rule, json!({"pipeline": valid(), "tags": tags}), path));
    let pipelines = examples().into_iter().map(|(rule, pipeline, path)| (rule, json!({"pipeline": pipeline}), path));
    let mut proven = BTreeSet::new();
    for (name, input, path) in pipelines.chain(tags) {
        let rule = RULES.iter().find(|rule| rule.name == name).unwrap_or_else(|| panic!("no rule {name}"));
        let problems = judge_input(&input).expect_err(name);
        assert!(
            problems.iter().any(|problem| problem.class == rule.class && problem.path == path),
            "{name} did not report {} at {path}:\n{problems}",
            rule.class
        );
        assert!(problems.iter().all(|problem| problem.class != ErrorClass::Validation), "{name}:\n{problems}");
        proven.insert(name);
    }
    let all: BTreeSet<_> = RULES.iter().map(|rule| rule.name).collect();
    assert_eq!(proven, all, "every rule has an example");
    assert_eq!(all.len(), RULES.len(), "names are unique");
}

/// All problems of the pipeline, then what the API answers.
fn check(pipeline: &Value, expected: Expect) {
    let report = match judge(pipeline) {
        Ok(_) => "valid\n".to_owned(),
        Err(problems) => {
            let (class, message) = problems.error();
            format!("{problems}\n=> {class}: {message}\n")
        }
    };
    expected.assert_eq(&report);
}

#[test]
fn shapes_come_first_in_aws_words() {
    check(
        &json!("text"),
        expect![[r#"
            pipeline: is a string where an object is needed (ValidationException): write an object
            => ValidationException: 1 validation error detected: Value at 'pipeline' failed to satisfy constraint: Member must be an object
        "#]],
    );
    check(
        &json!({}),
        expect![[r#"
        pipeline.name: is missing (ValidationException): add a string
        pipeline.roleArn: is missing (ValidationException): add a string
        pipeline.stages: is missing (ValidationException): add a list
        => ValidationException: 3 validation errors detected: Value at 'pipeline.name' failed to satisfy constraint: Member must not be null; Value at 'pipeline.roleArn' failed to satisfy constraint: Member must not be null; Value at 'pipeline.stages' failed to satisfy constraint: Member must not be null
    "#]],
    );
    check(
        &broken(&[
            ("/name", json!("a b")),
            ("/roleArn", json!("ARN")),
            ("/version", json!(0)),
            ("/executionMode", json!("FAST")),
            ("/stages/0/name", json!("x".repeat(101))),
            ("/stages/0/actions/0/runOrder", json!(1000)),
            ("/stages/0/actions/0/configuration/BranchName", json!("")),
            ("/stages/0/actions/1/configuration/Path", json!(7)),
            ("/stages/1/actions/0/commands/0", json!("")),
            ("/stages/1/actions/0/outputVariables", json!([])),
            ("/artifactStores/xy", json!({"type": "S3"})),
            ("/unknown", json!({"__type": "ignored"})),
            ("/stages/2/name", json!("Build")),
        ]),
        expect![[r#"
            pipeline.name: `a b` is not allowed (ValidationException): match the pattern `[A-Za-z0-9.@\-_]+`
            pipeline.roleArn: `ARN` is not allowed (ValidationException): match the pattern `arn:aws(-[\w]+)*:iam::[0-9]{12}:role/.*`
            pipeline.artifactStores.xy: has 2 characters (ValidationException): write 4 to 30 characters
            pipeline.artifactStores.xy.location: is missing (ValidationException): add a string
            pipeline.stages[0].name: has 101 characters (ValidationException): write 1 to 100 characters
            pipeline.stages[0].actions[0].runOrder: is 1000 (ValidationException): write an integer from 1 to 999
            pipeline.stages[0].actions[0].configuration.BranchName: is empty (ValidationException): write 1 to 1000 characters
            pipeline.stages[0].actions[1].configuration.Path: is a number where a string is needed (ValidationException): write a string
            pipeline.stages[1].actions[0].commands[0]: is empty (ValidationException): write 1 to 1000 characters
            pipeline.stages[1].actions[0].outputVariables: has 0 items (ValidationException): give 1 to 15 items
            pipeline.version: is 0 (ValidationException): write an integer from 1 to 2147483647
            pipeline.executionMode: `FAST` is not allowed (ValidationException): use one of QUEUED, SUPERSEDED, PARALLEL
            pipeline.stages[2].name: Stage name 'Build' is used more than once (InvalidStageDeclarationException): rename this stage or pipeline.stages[1]
            => ValidationException: 12 validation errors detected: Value at 'pipeline.name' failed to satisfy constraint: Member must satisfy regular expression pattern: [A-Za-z0-9.@\-_]+; Value at 'pipeline.roleArn' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:aws(-[\w]+)*:iam::[0-9]{12}:role/.*; Value at 'pipeline.artifactStores' failed to satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to 30, Member must have length greater than or equal to 4]; Value at 'pipeline.artifactStores.xy.member.location' failed to satisfy constraint: Member must not be null; Value at 'pipeline.stages.1.member.name' failed to satisfy constraint: Member must have length less than or equal to 100; Value at 'pipeline.stages.1.member.actions.1.member.runOrder' failed to satisfy constraint: Member must have value less than or equal to 999; Value at 'pipeline.stages.1.member.actions.1.member.configuration' failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 1000, Member must have length greater than or equal to 1]; Value at 'pipeline.stages.1.member.actions.2.member.configuration.Path.member' failed to satisfy constraint: Member must be a string; Value at 'pipeline.stages.2.member.actions.1.member.commands' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 1000, Member must have length greater than or equal to 1]; Value at 'pipeline.stages.2.member.actions.1.member.outputVariables' failed to satisfy constraint: Member must have length greater than or equal to 1; Value at 'pipeline.version' failed to satisfy constraint: Member must have value greater than or equal to 1; Value at 'pipeline.executionMode' failed to satisfy constraint: Member must satisfy enum value set: [PARALLEL, QUEUED, SUPERSEDED]
        "#]],
    );
}

#[test]
fn what_could_not_be_read_is_not_accused() {
    // The producer's name is missing: only that is reported, and not that its consumers have no producer.
    check(
        &broken(&[("/stages/0/actions/0/outputArtifacts/0", json!({}))]),
        expect![[r#"
        pipeline.stages[0].actions[0].outputArtifacts[0].name: is missing (ValidationException): add a string
        => ValidationException: 1 validation error detected: Value at 'pipeline.stages.1.member.actions.1.member.outputArtifacts.1.member.name' failed to satisfy constraint: Member must not be null
    "#]],
    );
    // The category is wrong: nothing is said of an action of unknown category, yet all is of the others.
    check(
        &broken(&[
            ("/stages/2/actions/1/actionTypeId/category", json!("Ship")),
            ("/stages/2/actions/1/commands", json!(["a"])),
            ("/stages/1/actions/1/commands", json!(["a"])),
        ]),
        expect![[r#"
            pipeline.stages[2].actions[1].actionTypeId.category: `Ship` is not allowed (ValidationException): use one of Source, Build, Deploy, Test, Invoke, Approval, Compute
            pipeline.stages[1].actions[1].commands: The following action cannot contain a commands field: Check. To use the commands field, use a compute action. (InvalidActionDeclarationException): remove it, or use an action of category Compute
            => ValidationException: 1 validation error detected: Value at 'pipeline.stages.3.member.actions.2.member.actionTypeId.category' failed to satisfy constraint: Member must satisfy enum value set: [Approval, Build, Compute, Deploy, Invoke, Source, Test]
        "#]],
    );
}

#[test]
fn messages_are_those_of_aws() {
    check(
        &examples().swap_remove(0).1,
        expect![[r#"
        pipeline.stages: Pipeline has only 1 stage(s). There should be a minimum of 2 stages in a pipeline (InvalidStructureException): add a stage: one with the sources, and one that does something with them
        pipeline.stages: Pipeline should contain at least 1 action whose category is not Source (InvalidStructureException): add an action that does something with the sources
        => InvalidStructureException: Pipeline has only 1 stage(s). There should be a minimum of 2 stages in a pipeline
    "#]],
    );
    check(
        &broken(&[
            ("/stages/2/actions/1/configuration", json!({"Unknown": "x", "Extract": "true"})),
            ("/stages/2/actions/1/inputArtifacts", json!([])),
            ("/stages/1/actions/1/configuration/Title", json!("#{variables.Nope}")),
        ]),
        expect![[r#"
            pipeline.stages[1].actions[1].configuration.Title: The referenced variables haven't been declared. (InvalidStructureException): declare `Nope` in `variables`
            pipeline.stages[2].actions[1].inputArtifacts: Action Publish declares 0 input artifacts which is less than the minimum count (1) (InvalidActionDeclarationException): declare 1
            pipeline.stages[2].actions[1].configuration: Action configuration for action 'Publish' is missing required configuration 'BucketName' (InvalidActionDeclarationException): add `BucketName`
            pipeline.stages[2].actions[1].configuration.Unknown: Action configuration for action 'Publish' contains unknown configuration 'Unknown' (InvalidActionDeclarationException): remove it, or use one of BucketName, CacheControl, CannedACL, Extract, KMSEncryptionKeyARN, ObjectKey
            => InvalidStructureException: The referenced variables haven't been declared.

        "#]],
    );
}

#[test]
fn a_document_may_be_either_form() {
    let types = ActionTypes::new();
    let context = Context { region: None, action_types: &types };
    let input = json!({"pipeline": valid(), "tags": [{"key": "a", "value": "b"}]});
    assert_eq!(validate_document(&valid(), &context), validate_document(&input, &context));
    assert_eq!(validate_input(&input, &context).unwrap().tags.unwrap().len(), 1);
    for wrong in [json!(null), json!([]), json!({"pipeline": []}), json!({"stages": 1})] {
        assert_eq!(validate_document(&wrong, &context).unwrap_err().error().0, ErrorClass::Validation, "{wrong}");
    }
}

#[test]
fn types_that_no_plugin_serves_are_listed() {
    let types = action_types();
    let context = Context { region: None, action_types: &types };
    let unbound = unbound(&judge(&valid()).unwrap(), &context);
    let lines: Vec<_> = unbound.iter().map(|unbound| format!("{}: {}\n", unbound.path, unbound.id)).collect();
    expect![[r#"
        pipeline.stages[0].actions[0].actionTypeId: Source/AWS/CodeStarSourceConnection/1
        pipeline.stages[1].actions[0].actionTypeId: Compute/AWS/Commands/1
        pipeline.stages[2].actions[1].actionTypeId: Deploy/AWS/S3/1
    "#]]
    .assert_eq(&lines.concat());
}

#[test]
fn defaults_are_filled_in_on_read() {
    let pipeline = json!({
        "name": "P", "roleArn": "arn:aws:iam::123456789012:role/R", "artifactStore": {"type": "S3", "location": "bucket"},
        "stages": [{"name": "A", "actions": [{"name": "B",
            "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"}}]}]
    });
    let pipeline: PipelineDeclaration = serde_json::from_value(pipeline).unwrap();
    let filled = with_defaults(&pipeline);
    assert_eq!(with_defaults(&filled), filled);
    expect![[r#"
        {
          "name": "P",
          "roleArn": "arn:aws:iam::123456789012:role/R",
          "artifactStore": {
            "type": "S3",
            "location": "bucket"
          },
          "stages": [
            {
              "name": "A",
              "actions": [
                {
                  "name": "B",
                  "actionTypeId": {
                    "category": "Approval",
                    "owner": "AWS",
                    "provider": "Manual",
                    "version": "1"
                  },
                  "runOrder": 1,
                  "configuration": {},
                  "outputArtifacts": [],
                  "inputArtifacts": []
                }
              ]
            }
          ],
          "version": 1,
          "executionMode": "SUPERSEDED",
          "pipelineType": "V1"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&filled).unwrap());
}

/// Every place of a document, as JSON pointers.
fn places(value: &Value, pointer: &str, all: &mut Vec<String>) {
    all.push(pointer.to_owned());
    match value {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| places(item, &format!("{pointer}/{index}"), all));
        }
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| places(member, &format!("{pointer}/{name}"), all));
        }
        _ => {}
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0i64..1100).prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        "[#{}.a-c]{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["V1", "V2", "Source", "Build", "AWS", "Custom", "RETRY", "SKIP", "Site", "PARALLEL"])
            .prop_map(Value::from),
        (0usize..1200).prop_map(|count| Value::from("é".repeat(count))),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("(name|type|[a-z.\\[\\]]{0,4})", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever is put anywhere: no panic, table and types agree, and what is refused is refused with a reason at a place.
    #[test]
    fn any_change_is_judged(changes in prop::collection::vec((any::<prop::sample::Index>(), any_json()), 1..5)) {
        let mut document = valid();
        for (place, value) in changes {
            let mut all = Vec::new();
            places(&document, "", &mut all);
            *document.pointer_mut(&all[place.index(all.len())]).unwrap() = value;
        }
        let read = shape::Reader::default().document(&shapes::CREATE_PIPELINE_INPUT, &json!({"pipeline": document}));
        prop_assert!(serde_json::from_value::<CreatePipelineInput>(read).is_ok(), "the table and the types disagree");
        match judge(&document) {
            Ok(declaration) => {
                let again = serde_json::to_value(&declaration).unwrap();
                prop_assert_eq!(judge(&again).unwrap(), declaration);
            }
            Err(problems) => {
                prop_assert!(problems.iter().all(|problem| !problem.message.is_empty() && !problem.mend.is_empty()));
                prop_assert!(problems.iter().all(|problem| problem.path.starts_with("pipeline")));
                let (class, message) = problems.error();
                prop_assert!(!message.is_empty());
                prop_assert_eq!(class, problems.iter().next().unwrap().class);
            }
        }
    }
}
