//! The plugins of an account: what it sees, what it says of them, and who uses them.

use std::sync::Arc;

use pipewright_pipeline::machine::InputKind;
use serde_json::{Value, json};

use super::world::{A, B, C, Deed, World, context, pipeline, text, words};
use crate::service::{ServiceError, action_types, pipelines, plugins};

impl World {
    fn plugins(&self, account: u64) -> Vec<Value> {
        let listed = self.run(plugins::list(&self.service, &context(account))).unwrap();
        serde_json::to_value(listed).unwrap()["plugins"].as_array().unwrap().clone()
    }

    fn offer(&self, accounts: &[&str]) {
        let ship = json!({ "category": "Deploy", "owner": "ThirdParty", "provider": "Ship", "version": "1" });
        let input = serde_json::from_value(json!({ "actionType": ship, "accounts": accounts })).unwrap();
        self.run(plugins::offer(&self.service, &context(B), input)).unwrap();
    }

    /// Account, pipeline, action, and whether an execution holds on to it.
    fn uses(&self, account: u64, plugin: &str) -> Vec<(String, String, String, bool)> {
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = self.run(plugins::uses(&self.service, &context(account), plugin, token.as_deref())).unwrap();
            found.extend(page.uses.into_iter().map(|it| (it.account, it.pipeline, it.action, it.execution.is_some())));
            match page.next_token {
                Some(next) => token = Some(next),
                None => return found,
            }
        }
    }
}

fn row(account: u64, pipeline: &str, action: &str, is_pinned: bool) -> (String, String, String, bool) {
    (format!("{account:012}"), pipeline.to_owned(), action.to_owned(), is_pinned)
}

/// A pipeline whose second stage is what `B` installed.
fn shipping(name: &str) -> Value {
    let mut declared = pipeline(name);
    declared["stages"][1]["actions"][0] = json!({
        "name": "Ship",
        "actionTypeId": { "category": "Deploy", "owner": "ThirdParty", "provider": "Ship", "version": "1" },
        "inputArtifacts": [{ "name": "Code" }],
    });
    declared
}

#[test]
fn a_plugin_is_shown_with_all_that_it_says_of_itself() {
    let world = World::new();
    let names = |account| world.plugins(account).iter().map(|it| text(&it["name"])).collect::<Vec<_>>();
    assert_eq!(names(A), ["pipewright/approval", "pipewright/tools"]);
    assert_eq!(names(B), ["pipewright/approval", "pipewright/tools", "team/ship"]);
    let tools = world.plugins(A)[1].clone();
    assert_eq!((&tools["version"], &tools["from"]), (&json!("1.2.3"), &json!("host")));
    assert_eq!(tools["digest"], format!("sha256:{}", "a".repeat(64)));
    assert_eq!(tools["asks"], json!(["requests to git.example"]));
    let make = tools["actionTypes"].as_array().unwrap().iter().find(|it| it["id"]["provider"] == "Make").unwrap();
    assert_eq!(make["variables"], json!({ "Count": "how many" }));
    assert_eq!(make["settings"][1]["secret"], true);
    assert!(make.get("offeredTo").is_none(), "{make}");
    world.offer(&["222222222222"]);
    assert_eq!(world.plugins(B)[2]["from"], "111111111111");
    assert_eq!(world.plugins(B)[2]["actionTypes"][0]["offeredTo"], json!(["222222222222"]));
    // Who is offered it does not see who else is.
    assert_eq!(world.plugins(C)[2]["from"], "111111111111");
    assert!(world.plugins(C)[2]["actionTypes"][0].get("offeredTo").is_none());
}

#[test]
fn uses_are_told_to_those_whose_they_are() {
    let world = World::new();
    world.offer(&["222222222222"]);
    for account in [B, C] {
        world.ok(account, pipelines::create, json!({ "pipeline": shipping("ship") }));
    }
    world.create(A, "site");
    let ships = [row(B, "ship", "Build/Ship", false), row(C, "ship", "Build/Ship", false)];
    let of = |account: u64, plugin: &str| {
        let uses = world.uses(account, plugin);
        uses.into_iter().filter(|(.., is_pinned)| !is_pinned).collect::<Vec<_>>()
    };
    assert_eq!(of(B, "team/ship"), ships);
    assert_eq!(of(C, "team/ship"), ships[1..]);
    // Those who run the host see what comes with it everywhere, and what is another's nowhere.
    assert_eq!(of(A, "team/ship"), []);
    let sources = |account: u64, name: &str| row(account, name, "Source/Source", false);
    let tools = [row(A, "site", "Build/Make", false), sources(A, "site"), sources(B, "ship"), sources(C, "ship")];
    let mut seen = of(A, "pipewright/tools");
    seen.sort();
    assert_eq!(seen, tools);
    assert_eq!(of(B, "pipewright/tools"), [sources(B, "ship")]);
    assert_eq!(of(A, "nobody/nothing"), []);
}

/// The host's own, in which a project is built outside of a pipeline.
#[test]
fn uses_name_no_pipeline_of_a_project() {
    let world = World::new();
    let (driver, context) = (world.service.driver(), context(A));
    for name in ["site", "codebuild:site:variant"] {
        let declaration = serde_json::from_value(pipeline(name)).unwrap();
        let made = world.run(driver.named(A, name, &context.cause)).unwrap();
        world
            .run(driver.submit(made, InputKind::Create { declaration: Arc::new(declaration) }, &context.cause))
            .unwrap();
    }
    let mut named: Vec<_> = world.uses(A, "pipewright/tools").into_iter().map(|it| it.1).collect();
    named.dedup();
    assert_eq!(named, ["site"]);
}

#[test]
fn what_runs_holds_on_to_its_plugin() {
    let world = World::new();
    world.script.does("Make", Deed::Hang);
    world.create_running(A, "site");
    let made = world.uses(A, "pipewright/tools").into_iter().filter(|(_, _, action, _)| action == "Build/Make");
    assert_eq!(made.map(|(.., is_pinned)| is_pinned).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn uses_come_in_pages_that_tell_nothing_of_others() {
    let world = World::new();
    for number in 0..150 {
        world.ok(A, pipelines::create, json!({ "pipeline": pipeline(&format!("p{number:03}")) }));
    }
    let first = world.run(plugins::uses(&world.service, &context(A), "pipewright/tools", None)).unwrap();
    let token = first.next_token.unwrap();
    let mut seen: Vec<_> = world.uses(A, "pipewright/tools").into_iter().filter(|it| !it.3).map(|it| it.1).collect();
    seen.dedup();
    assert_eq!(seen.len(), 150);
    // Of another account it is no token at all.
    let other = world.run(plugins::uses(&world.service, &context(B), "pipewright/tools", Some(&token)));
    assert!(matches!(other, Err(ServiceError::Refused { class: "InvalidNextTokenException", .. })), "{other:?}");
}

#[test]
fn consent_and_notices_name_what_is_installed() {
    let world = World::new();
    let digest = format!("sha256:{}", "0".repeat(64));
    let consent = |digest: &str| {
        let input = json!({ "name": "team/ship", "version": "2.0.0", "digest": digest });
        world.run(plugins::consent(&world.service, &context(B), serde_json::from_value(input).unwrap())).unwrap_err()
    };
    assert_eq!(words(&consent("0000")), "ValidationException: digest: write it as `sha256:` and 64 hexadecimal digits");
    assert!(matches!(consent(&digest), ServiceError::Refused { class: "ResourceNotFoundException", .. }));
    let notice = |kind: Value| {
        let input = json!({ "name": "team/ship", "version": "1.2.3", "kind": kind, "reason": "old" });
        world.run(plugins::notice(&world.service, &context(B), serde_json::from_value(input).unwrap())).unwrap_err()
    };
    assert_eq!(
        words(&notice(json!("yanked"))),
        "ResourceNotFoundException: Account 111111111111 has no plugin team/ship 1.2.3 installed"
    );
    assert_eq!(words(&notice(Value::Null)), "ResourceNotFoundException: Nothing was said of team/ship 1.2.3");
}

#[test]
fn what_was_yanked_is_seen_and_cannot_be_used() {
    use pipewright_packages::plugins::{Notice, NoticeKind};
    let world = World::new();
    world.ok(B, pipelines::create, json!({ "pipeline": shipping("ship") }));
    let say = |kind| {
        world.service.host.actions.plugins.share(|sharing| {
            let notice = Notice { kind, reason: "it deletes too much".to_owned() };
            sharing.notices.insert((B, "team/ship".to_owned(), "1.2.3".to_owned()), notice);
        });
    };
    let id = json!({ "category": "Deploy", "owner": "ThirdParty", "provider": "Ship", "version": "1" });
    say(NoticeKind::Deprecated);
    let described = world.ok(B, action_types::get, id.clone())["actionType"]["description"].clone();
    assert_eq!(described, "Deprecated: it deletes too much\n\nShip does it.");
    // What the log of each action says that it serves: no other version's.
    let catalogue = world.service.host.actions.plugins.catalogue(B);
    let (ship, binding) = catalogue.bindings().iter().find(|(id, _)| id.provider == "Ship").unwrap();
    let warned = catalogue.deprecated(ship, &binding.served.digest);
    assert_eq!(warned.as_deref(), Some("team/ship 1.2.3 is deprecated: it deletes too much"));
    assert_eq!(catalogue.deprecated(ship, "another"), None);
    say(NoticeKind::Yanked);
    let why = "team/ship 1.2.3 was yanked: it deletes too much";
    let missing =
        format!("ActionTypeNotFoundException: No plugin serves an action type Deploy/ThirdParty/Ship/1 here: {why}");
    world.refused(B, action_types::get, id, &missing);
    let refused = format!(
        "InvalidActionDeclarationException: ActionType (Category: 'Deploy', Provider: 'Ship', Owner: 'ThirdParty', Version: \
         '1') in action 'Ship' is not available in region us-east-1: {why}"
    );
    world.refused(B, pipelines::create, json!({ "pipeline": shipping("another") }), &refused);
    assert_eq!(world.plugins(B)[2]["notice"], json!({ "kind": "yanked", "reason": "it deletes too much" }));
}
