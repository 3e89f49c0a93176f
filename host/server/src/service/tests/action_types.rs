//! ListActionTypes, GetActionType, UpdateActionType.

use serde_json::{Value, json};

use super::catalogue;
use super::world::{A, B, C, World, text, words};
use crate::service::{action_types, plugins};

const SHIP: &str = "Deploy/ThirdParty/Ship/1";

fn id(category: &str, owner: &str, provider: &str) -> Value {
    json!({ "category": category, "owner": owner, "provider": provider, "version": "1" })
}

impl World {
    /// The providers that an account can use.
    fn providers(&self, account: u64, filter: Value) -> Vec<String> {
        let listed = self.ok(account, action_types::list, filter);
        listed["actionTypes"].as_array().unwrap().iter().map(|it| text(&it["id"]["provider"])).collect()
    }

    fn ship(&self, account: u64) -> Value {
        self.ok(account, action_types::get, id("Deploy", "ThirdParty", "Ship"))["actionType"].clone()
    }
}

#[test]
fn an_account_lists_what_comes_with_the_host_and_what_it_installed() {
    let world = World::new();
    assert_eq!(world.providers(A, json!({})), ["Repo", "Make", "Manual"]);
    assert_eq!(world.providers(B, json!({})), ["Repo", "Make", "Ship", "Manual"]);
    assert_eq!(world.providers(A, json!({ "actionOwnerFilter": "AWS" })), ["Manual"]);
    assert_eq!(world.providers(A, json!({ "actionOwnerFilter": "ThirdParty" })), [""; 0]);
    assert_eq!(world.providers(B, json!({ "actionOwnerFilter": "ThirdParty" })), ["Ship"]);
    assert_eq!(world.providers(A, json!({ "regionFilter": "us-east-1" })).len(), 3);
    assert_eq!(world.providers(A, json!({ "regionFilter": "eu-west-1" })), [""; 0]);
}

#[test]
fn a_type_is_shown_with_no_more_than_codepipeline_s_structures_hold() {
    let world = World::new();
    let listed = world.ok(B, action_types::list, json!({}));
    let of = |provider: &str| {
        let types = listed["actionTypes"].as_array().unwrap();
        types.iter().find(|it| it["id"]["provider"] == provider).unwrap().clone()
    };
    let make = of("Make");
    assert_eq!(make["inputArtifactDetails"], json!({ "minimumCount": 0, "maximumCount": 5 }));
    let shown = |property: &Value| (text(&property["name"]), text(&property["type"]), property["secret"].clone());
    let properties = make["actionConfigurationProperties"].as_array().unwrap();
    let expected = [("Target", "String", false), ("Password", "String", true), ("Jobs", "Number", false)]
        .map(|(name, kind, secret)| (name.to_owned(), kind.to_owned(), json!(secret)));
    assert_eq!(properties.iter().map(shown).collect::<Vec<_>>(), expected);
    assert_eq!(of("Ship")["actionConfigurationProperties"].as_array().unwrap().len(), 10);
    assert_eq!(world.ship(B)["properties"].as_array().unwrap().len(), 10);
}

#[test]
fn a_type_is_got_where_it_can_be_seen() {
    let world = World::new();
    let ship = world.ship(B);
    assert_eq!(ship["description"], "Ship does it.");
    assert_eq!(
        ship["executor"],
        json!({ "type": "JobWorker", "configuration": { "jobWorkerExecutorConfiguration": {} } })
    );
    assert_eq!(ship["permissions"], json!({ "allowedAccounts": ["111111111111"] }));
    let missing = format!("ActionTypeNotFoundException: No plugin serves an action type {SHIP} here");
    world.refused(A, action_types::get, id("Deploy", "ThirdParty", "Ship"), &missing);
    let manual = world.ok(A, action_types::get, id("Approval", "AWS", "Manual"));
    assert_eq!(manual["actionType"]["permissions"], json!({ "allowedAccounts": ["000000000000"] }));
}

#[test]
fn a_type_is_offered_by_its_permissions_and_taken_back() {
    let world = World::new();
    let mut ship = world.ship(B);
    let offer = |ship: &Value| world.ok(B, action_types::update, json!({ "actionType": ship }));
    ship["permissions"]["allowedAccounts"] = json!(["111111111111", "222222222222"]);
    assert_eq!(offer(&ship), Value::Null);
    assert_eq!(world.ship(B)["permissions"]["allowedAccounts"], json!(["111111111111", "222222222222"]));
    assert_eq!(world.providers(C, json!({})), ["Repo", "Make", "Ship", "Manual"]);
    assert_eq!(world.providers(A, json!({})).len(), 3);
    // Who is offered it sees itself alone.
    assert_eq!(world.ship(C)["permissions"]["allowedAccounts"], json!(["222222222222"]));
    ship["permissions"]["allowedAccounts"] = json!(["*"]);
    offer(&ship);
    assert_eq!(world.providers(A, json!({})).len(), 4);
    ship["permissions"]["allowedAccounts"] = json!(["111111111111"]);
    offer(&ship);
    assert_eq!(world.providers(A, json!({})).len(), 3);
    assert_eq!(world.providers(C, json!({})).len(), 3);
}

#[test]
fn only_permissions_can_be_updated_and_only_by_whose_it_is() {
    let world = World::new();
    let ship = world.ship(B);
    let refused = |account, change: fn(&mut Value), expected: &str| {
        let mut changed = ship.clone();
        change(&mut changed);
        world.refused(account, action_types::update, json!({ "actionType": changed }), expected);
    };
    refused(
        B,
        |it| it["description"] = json!("Mine is better."),
        "ValidationException: Value at 'actionType.description' differs from what the plugin says of the action type: only \
         its permissions can be updated",
    );
    let missing = format!("ActionTypeNotFoundException: No plugin serves an action type {SHIP} here");
    refused(A, |it| it["permissions"]["allowedAccounts"] = json!(["*"]), &missing);
    let mut manual = world.ok(A, action_types::get, id("Approval", "AWS", "Manual"))["actionType"].clone();
    manual["permissions"]["allowedAccounts"] = json!(["*"]);
    world.refused(
        A,
        action_types::update,
        json!({ "actionType": manual }),
        "ActionTypeNotFoundException: No plugin that account 000000000000 installed serves an action type \
         Approval/AWS/Manual/1",
    );
    assert_eq!(world.providers(C, json!({})).len(), 3);
}

#[test]
fn an_offer_names_accounts_that_are_there() {
    let world = World::new();
    let offer = |accounts: &[&str]| {
        let input = json!({ "actionType": id("Deploy", "ThirdParty", "Ship"), "accounts": accounts });
        let input = serde_json::from_value(input).unwrap();
        world.run(plugins::offer(&world.service, &super::world::context(B), input))
    };
    let said = |accounts: &[&str]| super::world::words(&offer(accounts).unwrap_err());
    assert_eq!(
        said(&["999999999999"]),
        "ValidationException: There is no account 999999999999 on this host to offer it to"
    );
    assert_eq!(
        said(&["7"]),
        "ValidationException: Offer it to at most 1000 accounts, each of them 12 digits, or `*` for all"
    );
    assert_eq!(said(&["*"; 1001]), said(&["7"]));
    assert_eq!(offer(&["222222222222"]), Ok(()));
    assert_eq!(world.providers(C, json!({})).len(), 4);
    assert_eq!(offer(&[]), Ok(()));
    assert_eq!(world.providers(C, json!({})).len(), 3);
    // CodePipeline's own operation takes any.
    let mut ship = world.ship(B);
    ship["permissions"]["allowedAccounts"] = json!(["111111111111", "999999999999"]);
    world.ok(B, action_types::update, json!({ "actionType": ship }));
    assert_eq!(world.ship(B)["permissions"], ship["permissions"]);
}

#[test]
fn types_come_in_pages_whose_tokens_are_of_their_filters() {
    let world = World::new();
    world.service.host.actions.plugins.know_installed(A, catalogue::many(100)).unwrap();
    let all = |filter: Value| {
        let page = |token: &Value| {
            let mut filter = filter.clone();
            filter["nextToken"] = token.clone();
            world.ask(A, action_types::list, filter)
        };
        let first = page(&Value::Null).unwrap();
        let rest = page(&first["nextToken"]).unwrap();
        assert!(rest.get("nextToken").is_none(), "{rest}");
        let count = |listed: &Value| listed["actionTypes"].as_array().unwrap().len();
        (first["nextToken"].clone(), count(&first), count(&rest))
    };
    let (token, first, rest) = all(json!({}));
    assert_eq!((first, rest), (100, 3));
    for filter in [json!({ "actionOwnerFilter": "Custom" }), json!({ "regionFilter": "us-east-1" })] {
        assert_eq!(all(filter.clone()).1, 100);
        let mut filter = filter;
        filter["nextToken"] = token.clone();
        let refused = words(&world.ask(A, action_types::list, filter).unwrap_err());
        assert!(refused.starts_with("InvalidNextTokenException"), "{refused}");
    }
}
