//! For each rule, what breaks it, and where that must be reported.

use serde_json::{Value, json};

use super::{broken, valid};

/// The rule, the broken pipeline, and the place.
pub(super) type Example = (&'static str, Value, &'static str);

fn one(pointer: &str, value: Value) -> Value {
    broken(&[(pointer, value)])
}

pub(super) fn approvals(count: usize) -> Value {
    let approval = |index| {
        json!({"name": format!("A{index}"),
            "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"}})
    };
    (0..count).map(approval).collect()
}

fn stages(count: usize, actions: usize) -> Value {
    (0..count).map(|index| json!({"name": format!("S{index}"), "actions": approvals(actions)})).collect()
}

#[rustfmt::skip] // a table
pub(super) fn of_the_whole() -> Vec<Example> {
    let source = valid()["stages"][0]["actions"][1].clone();
    let store = json!({"type": "S3", "location": "artifacts"});
    vec![
        ("stages-min", one("/stages", json!([valid()["stages"][0]])), "pipeline.stages"),
        ("stages-max", one("/stages", stages(51, 1)), "pipeline.stages"),
        ("actions-total-max", one("/stages", stages(11, 50)), "pipeline.stages"),
        ("first-stage-sources", one("/stages/0/actions/1", approvals(1)[0].clone()), "pipeline.stages[0].actions[1].actionTypeId.category"),
        ("sources-first-stage", one("/stages/2/actions/0/actionTypeId", source["actionTypeId"].clone()), "pipeline.stages[2].actions[0].actionTypeId.category"),
        ("non-source-action", one("/stages", json!([{"name": "A", "actions": [source]}, {"name": "B", "actions": [source]}])), "pipeline.stages"),
        ("one-artifact-store", one("/artifactStore", store.clone()), "pipeline.artifactStores"),
        ("one-artifact-store", one("/artifactStores", Value::Null), "pipeline.artifactStore"),
        ("artifact-store-regions", one("/artifactStores/eu-west-1", Value::Null), "pipeline.artifactStores"),
        ("artifact-store-regions", one("/stages/1/actions/0/region", json!("eu-north-1")), "pipeline.artifactStores"),
        ("artifact-store-regions", broken(&[("/artifactStores", Value::Null), ("/artifactStore", store)]), "pipeline.artifactStore"),
        ("execution-mode-v2", one("/pipelineType", json!("V1")), "pipeline.executionMode"),
        ("execution-mode-v2", one("/pipelineType", Value::Null), "pipeline.executionMode"),
        ("triggers-v2", one("/pipelineType", json!("V1")), "pipeline.triggers"),
        ("variables-v2", one("/pipelineType", json!("V1")), "pipeline.variables"),
        ("variable-names-unique", one("/variables/1/name", json!("Stage")), "pipeline.variables[1].name"),
        ("variables-not-in-sources", one("/stages/0/actions/1/configuration/Path", json!("/#{variables.Stage}")), "pipeline.stages[0].actions[1].configuration.Path"),
        ("variables-declared", one("/stages/1/actions/0/commands/0", json!("#{variables.Nope}")), "pipeline.stages[1].actions[0].commands[0]"),
        ("trigger-source-action", one("/triggers/0/gitConfiguration/sourceActionName", json!("Data")), "pipeline.triggers[0].gitConfiguration.sourceActionName"),
        ("trigger-per-source-action", one("/triggers/-", valid()["triggers"][0].clone()), "pipeline.triggers[1].gitConfiguration.sourceActionName"),
        ("trigger-patterns", one("/triggers/0/gitConfiguration/push/0/tags", json!({"includes": ["v1", "{a"]})), "pipeline.triggers[0].gitConfiguration.push[0].tags.includes[1]"),
        ("trigger-filters", one("/triggers/0/gitConfiguration/push/0/branches", json!({"includes": ["main"]})), "pipeline.triggers[0].gitConfiguration.push[0]"),
        ("stage-names-unique", one("/stages/-", json!({"name": "Source", "actions": approvals(1)})), "pipeline.stages[3].name"),
        ("stage-actions-min", one("/stages/2/actions", json!([])), "pipeline.stages[2].actions"),
        ("stage-actions-max", one("/stages/2/actions", approvals(101)), "pipeline.stages[2].actions"),
        ("blockers-reserved", one("/stages/2/blockers/-", json!({"name": "Friday", "type": "Schedule"})), "pipeline.stages[2].blockers"),
    ]
}

/// A rule that a plugin of these tests serves.
fn window(configuration: Value) -> Value {
    let id = json!({"category": "Rule", "owner": "AWS", "provider": "DeploymentWindow", "version": "1"});
    json!({"name": "Window", "ruleTypeId": id, "configuration": configuration})
}

fn inputs_of(mut rule: Value) -> Value {
    rule["inputArtifacts"] = json!([{"name": "Code"}]);
    rule
}

#[rustfmt::skip] // a table
pub(super) fn of_conditions() -> Vec<Example> {
    vec![
        ("conditions-v2", one("/pipelineType", json!("V1")), "pipeline.stages[1].onFailure"),
        ("condition-complete", one("/stages/1/beforeEntry/conditions/0/result", Value::Null), "pipeline.stages[1].beforeEntry.conditions[0]"),
        ("condition-complete", one("/stages/1/onSuccess/conditions/0/rules", Value::Null), "pipeline.stages[1].onSuccess.conditions[0]"),
        ("condition-results", one("/stages/1/beforeEntry/conditions/0/result", json!("ROLLBACK")), "pipeline.stages[1].beforeEntry.conditions[0].result"),
        ("condition-results", one("/stages/1/onSuccess/conditions/0/result", json!("RETRY")), "pipeline.stages[1].onSuccess.conditions[0].result"),
        ("failure-result-or-conditions", one("/stages/1/onFailure/conditions", valid()["stages"][1]["onSuccess"]["conditions"].clone()), "pipeline.stages[1].onFailure"),
        ("retry-configuration", one("/stages/1/onFailure/result", json!("ROLLBACK")), "pipeline.stages[1].onFailure"),
        ("parallel-rollback", broken(&[("/executionMode", json!("PARALLEL")), ("/stages/1/onFailure", json!({"result": "ROLLBACK"}))]), "pipeline.stages[1].onFailure.result"),
        ("parallel-rollback", broken(&[("/executionMode", json!("PARALLEL")), ("/stages/1/onSuccess/conditions/0/result", json!("ROLLBACK"))]), "pipeline.stages[1].onSuccess.conditions[0].result"),
        ("source-rollback", one("/stages/0/onFailure", json!({"result": "ROLLBACK"})), "pipeline.stages[0].onFailure.result"),
        ("skip-rules", one("/stages/1/beforeEntry/conditions/0/rules/0/ruleTypeId/provider", json!("DeploymentWindow")), "pipeline.stages[1].beforeEntry.conditions[0].rules[0].ruleTypeId"),
        ("rule-configuration", one("/stages/1/beforeEntry/conditions/0/rules/0/configuration/Operator", Value::Null), "pipeline.stages[1].beforeEntry.conditions[0].rules[0].configuration"),
        ("rule-names-unique", one("/stages/1/onSuccess/conditions/0/rules/-", valid()["stages"][1]["onSuccess"]["conditions"][0]["rules"][0].clone()), "pipeline.stages[1].onSuccess.conditions[0].rules[1].name"),
        ("rule-configuration", one("/stages/1/onSuccess/conditions/0/rules/-", window(json!({}))), "pipeline.stages[1].onSuccess.conditions[0].rules[1].configuration"),
        ("rule-configuration-unknown", one("/stages/1/onSuccess/conditions/0/rules/-", window(json!({"Cron": "* * * * * ?", "Zone": "UTC"}))), "pipeline.stages[1].onSuccess.conditions[0].rules[1].configuration.Zone"),
        ("rule-configuration-values", one("/stages/1/onSuccess/conditions/0/rules/-", window(json!({"Cron": "* * * * * ?", "Strict": "yes"}))), "pipeline.stages[1].onSuccess.conditions[0].rules[1].configuration.Strict"),
        ("rule-configuration-values", one("/stages/1/onSuccess/conditions/0/rules/-", window(json!({"Cron": "* * * * MON"}))), "pipeline.stages[1].onSuccess.conditions[0].rules[1].configuration.Cron"),
        ("rule-configuration-values", one("/stages/1/onSuccess/conditions/0/rules/-", window(json!({"Cron": "* * * * * ?", "TimeZone": "Europe Berlin"}))), "pipeline.stages[1].onSuccess.conditions[0].rules[1].configuration.TimeZone"),
        ("rule-inputs-count", one("/stages/1/onSuccess/conditions/0/rules/-", inputs_of(window(json!({"Cron": "* * * * * ?"})))), "pipeline.stages[1].onSuccess.conditions[0].rules[1].inputArtifacts"),
        ("rule-commands", one("/stages/1/onSuccess/conditions/0/rules/0/commands", Value::Null), "pipeline.stages[1].onSuccess.conditions[0].rules[0].commands"),
        ("rule-commands", one("/stages/1/onSuccess/conditions/0/rules/0/commands/0", json!("a\nb")), "pipeline.stages[1].onSuccess.conditions[0].rules[0].commands"),
        ("rule-commands", one("/stages/1/beforeEntry/conditions/0/rules/0/commands", json!(["true"])), "pipeline.stages[1].beforeEntry.conditions[0].rules[0].commands"),
        ("rule-inputs", one("/stages/1/beforeEntry/conditions/0/rules/0/inputArtifacts", json!([{"name": "Site"}])), "pipeline.stages[1].beforeEntry.conditions[0].rules[0].inputArtifacts[0].name"),
    ]
}

/// An action of a third party's type.
fn snyk() -> Value {
    let id = json!({"category": "Invoke", "owner": "ThirdParty", "provider": "Snyk", "version": "1"});
    json!({"name": "Scan", "actionTypeId": id, "inputArtifacts": [{"name": "Code"}], "outputArtifacts": [{"name": "Scanned"}]})
}

#[rustfmt::skip] // a table
pub(super) fn of_actions() -> Vec<Example> {
    let lots: serde_json::Map<_, _> = (0..110).map(|index| (format!("K{index}"), json!("x".repeat(1000)))).collect();
    vec![
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
        ("cross-region-owner", broken(&[("/stages/2/actions/1", snyk()), ("/stages/2/actions/1/region", json!("us-east-1"))]), "pipeline.stages[2].actions[1].region"),
        ("timeout-approval-only", one("/stages/1/actions/0/timeoutInMinutes", json!(5)), "pipeline.stages[1].actions[0].timeoutInMinutes"),
        ("commands-family", one("/stages/1/actions/1/commands", json!(["make"])), "pipeline.stages[1].actions[1].commands"),
        ("commands-family", one("/stages/1/actions/1/outputVariables", json!(["V"])), "pipeline.stages[1].actions[1].outputVariables"),
        ("commands-family", one("/stages/1/actions/1/environmentVariables", json!([{"name": "A", "value": "b"}])), "pipeline.stages[1].actions[1].environmentVariables"),
        ("commands-family", one("/stages/0/actions/0/outputArtifacts/0/files", json!(["*"])), "pipeline.stages[0].actions[0].outputArtifacts[0].files"),
        ("commands-required", one("/stages/1/actions/0/commands", Value::Null), "pipeline.stages[1].actions[0].commands"),
        ("commands-single-line", one("/stages/1/actions/0/commands/0", json!("a\nb")), "pipeline.stages[1].actions[0].commands[0]"),
        ("action-type-v2", one("/pipelineType", json!("V1")), "pipeline.stages[1].actions[0].actionTypeId"),
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

/// A pipeline of so many stages, of which the last one has so many actions.
pub(super) fn of_size(count: usize, actions: usize) -> Value {
    let more = stages(count - 1, 1).as_array().unwrap().clone();
    let last = json!({"name": "Last", "actions": approvals(actions)});
    let source = json!({"name": "Source", "actions": [valid()["stages"][0]["actions"][1]]});
    let all: Vec<_> = [source].into_iter().chain(more.into_iter().skip(1)).chain([last]).collect();
    broken(&[("/stages", all.into()), ("/triggers", Value::Null)])
}

/// Instead of a pipeline: tags.
pub(super) fn of_tags() -> Vec<Example> {
    let tags = |keys: &[String]| -> Value { keys.iter().map(|key| json!({"key": key, "value": ""})).collect() };
    let many: Vec<String> = (0..51).map(|index| format!("k{index}")).collect();
    vec![
        ("tags-max", tags(&many), "tags"),
        ("tag-keys", tags(&["a".into(), "a".into()]), "tags[1].key"),
        ("tag-keys", tags(&["aws:a".into()]), "tags[0].key"),
    ]
}
