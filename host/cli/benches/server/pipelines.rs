//! The pipelines that are measured.

use serde_json::{Value, json};

fn pipeline(name: &str, stages: &[Value]) -> Value {
    let store = json!({ "type": "S3", "location": "bench" });
    let role = "arn:aws:iam::000000000000:role/bench";
    json!({ "name": name, "roleArn": role, "artifactStore": store, "stages": stages })
}

fn stage(name: &str, category: &str, owner: &str, provider: &str, configuration: &Value) -> Value {
    let id = json!({ "category": category, "owner": owner, "provider": provider, "version": "1" });
    json!({ "name": name, "actions": [{ "name": provider, "actionTypeId": id, "configuration": configuration }] })
}

fn nothing(name: &str, category: &str) -> Value {
    stage(name, category, "Custom", "Nothing", &json!({}))
}

/// Three actions that do nothing, one after the other.
pub(crate) fn of_nothing(name: &str) -> Value {
    pipeline(name, &[nothing("One", "Source"), nothing("Two", "Build"), nothing("Three", "Build")])
}

pub(crate) fn with_approval(name: &str) -> Value {
    pipeline(name, &[nothing("One", "Source"), stage("Two", "Approval", "AWS", "Manual", &json!({}))])
}

/// With a git source that is polled.
pub(crate) fn of_repository(name: &str, url: &str) -> Value {
    let which = json!({ "RepositoryUrl": url, "BranchName": "main" });
    let mut source = stage("One", "Source", "Custom", "Git", &which);
    source["actions"][0]["outputArtifacts"] = json!([{ "name": "Code" }]);
    pipeline(name, &[source, nothing("Two", "Build")])
}
