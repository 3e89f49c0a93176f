//! What is said of a pipeline, and of the plugins that it uses, for whoever makes, starts or looks at it.
//!
//! Must not keep anybody from starting something.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Server;
use super::show::text;
use crate::out::note;

/// Says on standard error what keeps a pipeline from running as it is declared. It is advice: where it is not to be had, nothing is
/// said.
pub async fn warn(server: &Server, pipeline: &str) {
    let Ok(known) = server.client.document(&["v1", "pipelines", pipeline, "warnings"], "").await else { return };
    for warning in known["warnings"].as_array().into_iter().flatten() {
        note!("warning: {}", text(warning));
    }
}

/// The same, and which of the plugins that serve a declared pipeline are deprecated.
pub async fn tell(server: &Server, declaration: &Value) {
    warn(server, &text(&declaration["name"])).await;
    let Ok(known) = server.client.document(&["v1", "plugins"], "").await else { return };
    for notice in deprecated(declaration, &known["plugins"]) {
        note!("{notice}");
    }
}

fn deprecated(declaration: &Value, plugins: &Value) -> BTreeSet<String> {
    let items = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let actions: Vec<Value> = items(&declaration["stages"]).iter().flat_map(|stage| items(&stage["actions"])).collect();
    let mut notices = BTreeSet::new();
    for plugin in items(plugins) {
        if plugin["notice"]["kind"] != "deprecated" {
            continue;
        }
        for offered in items(&plugin["actionTypes"]) {
            for action in actions.iter().filter(|action| action["actionTypeId"] == offered["id"]) {
                let (name, version) = (text(&plugin["name"]), text(&plugin["version"]));
                let (action, reason) = (text(&action["name"]), text(&plugin["notice"]["reason"]));
                notices.insert(format!("{action} is served by {name} {version}, which is deprecated: {reason}"));
            }
        }
    }
    notices
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_deprecated_and_used_is_told() {
        let id =
            |provider: &str| json!({ "category": "Deploy", "owner": "Custom", "provider": provider, "version": "1" });
        let declaration = json!({ "stages": [
            { "actions": [{ "name": "Source", "actionTypeId": id("Files") }] },
            { "actions": [{ "name": "Ship", "actionTypeId": id("Ship") }, { "name": "Again", "actionTypeId": id("Ship") }] },
        ] });
        let check = |kind: &str, provider: &str, expected: &[&str]| {
            let plugins = json!([
                { "name": "team/other", "version": "1.0.0", "actionTypes": [{ "id": id("Files") }] },
                {
                    "name": "team/ship", "version": "1.2.0", "actionTypes": [{ "id": id(provider) }],
                    "notice": { "kind": kind, "reason": "use 2.0.0" },
                },
            ]);
            let told: Vec<String> = deprecated(&declaration, &plugins).into_iter().collect();
            assert_eq!(told, expected, "{kind}, {provider}");
        };
        let told = "is served by team/ship 1.2.0, which is deprecated: use 2.0.0";
        check("deprecated", "Ship", &[&format!("Again {told}"), &format!("Ship {told}")]);
        check("deprecated", "Unused", &[]);
        check("yanked", "Ship", &[]);
    }
}
