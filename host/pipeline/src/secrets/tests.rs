//! Which settings are secret, and what a mask stands for.

use serde_json::{Value, json};

use super::*;

/// Stages with their actions, each of a provider and with a token: `Build/One=Jobs:token-1 Build/Two=Jobs:****`.
fn declared(text: &str) -> PipelineDeclaration {
    let mut stages: Vec<Value> = Vec::new();
    for word in text.split(' ') {
        let (place, rest) = word.split_once('=').unwrap();
        let ((stage, action), (provider, token)) = (place.split_once('/').unwrap(), rest.split_once(':').unwrap());
        let action = json!({
            "name": action,
            "actionTypeId": { "category": "Source", "owner": "ThirdParty", "provider": provider, "version": "1" },
            "configuration": { "OAuthToken": token, "Owner": token },
        });
        match stages.iter_mut().find(|it| it["name"] == stage) {
            Some(stage) => stage["actions"].as_array_mut().unwrap().push(action),
            None => stages.push(json!({ "name": stage, "actions": [action] })),
        }
    }
    serde_json::from_value(json!({ "name": "p", "roleArn": "r", "stages": stages })).unwrap()
}

/// What the tokens are, or which of them is not certain. Owners are no secret, and are as they are given.
#[test]
fn a_mask_stands_for_a_value_where_that_is_certain() {
    let check = |stored: &str, given: &str, wanted: Result<&str, &str>| {
        let mut declaration = declared(given);
        let stored = (!stored.is_empty()).then(|| declared(stored));
        let restored = restore(&mut declaration, stored.as_ref(), &ActionTypes::new());
        let tokens = secrets(&declaration, &ActionTypes::new()).join(" ");
        match (restored, wanted) {
            (Ok(()), Ok(wanted)) => assert_eq!(tokens, wanted, "{given}"),
            (Err(error), Err(place)) => {
                assert_eq!(error.path, format!("pipeline.stages{place}.configuration.OAuthToken"), "{given}");
            }
            (got, _) => panic!("{given}: {got:?} {tokens}"),
        }
    };
    let two = "A/One=GitHub:1 B/Two=GitHub:2";
    check(two, "A/One=GitHub:**** B/Two=GitHub:****", Ok("1 2"));
    check(two, "A/One=GitHub:new B/Two=GitHub:****", Ok("new 2"));
    // Moved, all of a stage, and two that changed places.
    check(two, "A/One=GitHub:**** C/Two=GitHub:****", Ok("1 2"));
    check(two, "B/Two=GitHub:**** B/One=GitHub:****", Ok("2 1"));
    check(two, "A/Two=GitHub:**** B/One=GitHub:****", Ok("2 1"));
    // Renamed, one of them; and both, of which nobody knows which is which.
    check(two, "A/One=GitHub:**** B/Other=GitHub:****", Ok("1 2"));
    check(two, "A/Three=GitHub:**** B/Four=GitHub:****", Err("[0].actions[0]"));
    // A copy within the pipeline, and beside one that was renamed.
    check(two, "A/One=GitHub:**** A/Copy=GitHub:**** B/Two=GitHub:****", Err("[0].actions[1]"));
    check(two, "A/One=GitHub:**** B/Three=GitHub:**** B/Four=GitHub:****", Err("[1].actions[0]"));
    check("A/One=GitHub:1 B/Two=GitHub:1", "A/Three=GitHub:**** B/Four=GitHub:****", Ok("1 1"));
    check("A/One=GitHub:1", "A/One=GitHub:**** A/Copy=GitHub:****", Ok("1 1"));
    // Of another type it is another secret, and of nothing it is none.
    check("A/One=Other:1", "A/One=GitHub:****", Err("[0].actions[0]"));
    check("", "A/One=GitHub:****", Err("[0].actions[0]"));
    check("", "A/One=GitHub:1", Ok("1"));
}

#[test]
fn what_code_pipeline_masks_is_masked_whoever_serves_the_type() {
    let check = |id: &str, setting: &str, wanted: bool| {
        let id: Vec<&str> = id.split('/').collect();
        let id = json!({ "category": id[0], "owner": id[1], "provider": id[2], "version": id[3] });
        let id: ActionTypeId = serde_json::from_value(id).unwrap();
        assert_eq!(is_secret(&ActionTypes::new(), &id, setting), wanted, "{id} {setting}");
        let served = json!({ "id": id, "inputs": { "min": 0, "max": 0 }, "outputs": { "min": 0, "max": 0 },
            "properties": [], "documentation": "" });
        let served = ActionTypes::from([(id.clone(), serde_json::from_value(served).unwrap())]);
        // A custom type's own plugin knows what is secret; where it is gone, nobody does.
        assert_eq!(
            is_secret(&served, &id, setting),
            wanted && id.owner == ActionOwner::ThirdParty,
            "{id} {setting}, served"
        );
    };
    check("Source/ThirdParty/GitHub/1", "OAuthToken", true);
    check("Source/ThirdParty/GitHub/1", "Owner", false);
    check("Deploy/ThirdParty/AlexaSkillsKit/1", "RefreshToken", true);
    check("Deploy/ThirdParty/AlexaSkillsKit/1", "SkillId", false);
    check("Build/AWS/CodeBuild/1", "ProjectName", false);
    check("Build/Custom/Gone/1", "Anything", true);
}
