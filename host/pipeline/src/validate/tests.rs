//! Every rule fires, the words are AWS's, and no document makes validation panic.

mod examples;

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::action_type::{ArtifactCount, Property, PropertyKind};
use crate::declaration::{ActionCategory, ActionOwner};

/// A valid V2 pipeline that uses every member of the declaration; the examples break it.
fn valid() -> Value {
    serde_json::from_str(include_str!("tests/valid.json")).unwrap()
}

/// The types that plugins serve in these tests.
fn action_types() -> ActionTypes {
    let property = |name: &str, kind, required| {
        let (name, choices) = (name.to_owned(), Vec::new());
        Property {
            name,
            kind,
            required,
            secret: false,
            key: false,
            queryable: false,
            default: None,
            choices,
            documentation: String::new(),
        }
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
        documentation: String::new(),
    };
    let directory = ActionTypeInfo {
        id: id(ActionCategory::Source, ActionOwner::Custom, "Directory"),
        inputs: count(0, 0),
        outputs: count(1, 1),
        properties: vec![property("Path", PropertyKind::String, true)],
        documentation: String::new(),
    };
    // A plugin that serves an AWS type and knows none of its keys.
    let approval = ActionTypeInfo {
        id: id(ActionCategory::Approval, ActionOwner::AWS, "Manual"),
        inputs: count(0, 0),
        outputs: count(0, 0),
        properties: Vec::new(),
        documentation: String::new(),
    };
    let window = ActionTypeInfo {
        id: id(ActionCategory::Rule, ActionOwner::AWS, "DeploymentWindow"),
        inputs: count(0, 0),
        outputs: count(0, 0),
        properties: vec![
            property("Cron", PropertyKind::String, true),
            property("Strict", PropertyKind::Boolean, false),
        ],
        documentation: String::new(),
    };
    [site, directory, approval, window].into_iter().map(|info| (info.id.clone(), info)).collect()
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

#[test]
fn the_valid_pipeline_is_valid() {
    let declaration = judge(&valid()).unwrap();
    assert_eq!(declaration.version, None, "the server gives the version");
    let mut expected = valid();
    set(&mut expected, "/version", Value::Null);
    assert_eq!(serde_json::to_value(&declaration).unwrap(), expected, "nothing is lost between JSON and types");
}

#[test]
fn an_update_knows_no_tags() {
    let types = action_types();
    let context = Context { region: Some("eu-west-1"), action_types: &types };
    let declaration = validate_update(&json!({"pipeline": valid(), "tags": "none of its business"}), &context).unwrap();
    assert_eq!(declaration, judge(&valid()).unwrap());
    let (_, message) = validate_update(&json!({"tags": []}), &context).unwrap_err().error();
    assert!(message.starts_with("1 validation error detected: Value at 'pipeline' failed"), "{message}");
}

#[test]
fn every_rule_fires_with_its_class_at_its_place() {
    let tags = examples::of_tags()
        .into_iter()
        .map(|(rule, tags, path)| (rule, json!({"pipeline": valid(), "tags": tags}), path));
    let pipelines = [examples::of_the_whole(), examples::of_conditions(), examples::of_actions()]
        .into_iter()
        .flatten()
        .map(|(rule, pipeline, path)| (rule, json!({"pipeline": pipeline}), path));
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

/// Both ends of what S11, S25 and S40 say, and one beyond each.
#[test]
fn what_is_at_a_limit_is_taken() {
    let check = |input: Value, refused: Option<&str>| {
        let found = judge_input(&input).err().and_then(|problems| Some(problems.iter().next()?.path.clone()));
        assert_eq!(found.as_deref(), refused, "{input}");
    };
    let sized = |stages: usize, actions: usize| json!({"pipeline": examples::of_size(stages, actions)});
    for (stages, actions) in [(2, 1), (50, 1), (2, 100)] {
        check(sized(stages, actions), None);
    }
    check(sized(51, 1), Some("pipeline.stages"));
    check(sized(2, 101), Some("pipeline.stages[1].actions"));
    // 499 approvals and a source; one more is the 501st.
    let whole = |last: usize| {
        let mut pipeline = examples::of_size(12, last);
        for stage in 1..11 {
            pipeline["stages"][stage]["actions"] = examples::approvals(45);
        }
        json!({ "pipeline": pipeline })
    };
    check(whole(49), None);
    check(whole(50), Some("pipeline.stages"));
    let tagged = |count: usize| {
        let tags = (0..count).map(|index| json!({"key": index.to_string(), "value": ""}));
        json!({"pipeline": valid(), "tags": tags.collect::<Vec<_>>()})
    };
    check(tagged(50), None);
    check(tagged(51), Some("tags"));
    let rules = "/stages/1/onSuccess/conditions/0/rules";
    let ruled = |count: usize| {
        let rule = |index: usize| {
            let mut rule = valid().pointer(rules).unwrap()[0].clone();
            rule["name"] = json!(format!("R{index}"));
            rule
        };
        json!({"pipeline": broken(&[(rules, (0..count).map(rule).collect())])})
    };
    check(ruled(1), None);
    check(ruled(5), None);
    for count in [0, 6] {
        check(ruled(count), Some("pipeline.stages[1].onSuccess.conditions[0].rules"));
    }
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
        &examples::of_the_whole().swap_remove(0).1,
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
            pipeline.stages[1].actions[1].configuration.Title: The referenced variables haven't been declared.
            StageName=[Build], ActionName=[Check], ActionConfigurationKey=[Title], VariableReferenceText=[variables.Nope] (InvalidStructureException): declare `Nope` in `variables`
            pipeline.stages[2].actions[1].inputArtifacts: Action Publish declares 0 input artifacts which is less than the minimum count (1) (InvalidActionDeclarationException): declare 1
            pipeline.stages[2].actions[1].configuration: Action configuration for action 'Publish' is missing required configuration 'BucketName' (InvalidActionDeclarationException): add `BucketName`
            pipeline.stages[2].actions[1].configuration.Unknown: Action configuration for action 'Publish' contains unknown configuration 'Unknown' (InvalidActionDeclarationException): remove it, or use one of BucketName, CacheControl, CannedACL, Extract, KMSEncryptionKeyARN, ObjectKey
            => InvalidStructureException: The referenced variables haven't been declared.
            StageName=[Build], ActionName=[Check], ActionConfigurationKey=[Title], VariableReferenceText=[variables.Nope]
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
        pipeline.stages[1].beforeEntry.conditions[0].rules[0].ruleTypeId: Rule/AWS/VariableCheck/1
        pipeline.stages[1].onSuccess.conditions[0].rules[0].ruleTypeId: Rule/AWS/Commands/1
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

#[test]
fn the_list_of_problems_is_bounded() {
    for tiny in [json!(1), json!("#{a.b}"), json!("")] {
        let commands = vec![tiny; 10 * PROBLEMS_MAX];
        let problems = judge(&broken(&[("/stages/1/actions/0/commands", commands.into())])).unwrap_err();
        assert_eq!(problems.iter().count(), PROBLEMS_MAX);
    }
}

/// What a request may have and a file has by mistake: each with its place, and what was meant where that is likely.
#[test]
fn members_that_mean_nothing_are_found() {
    let check = |document: Value, expected: &[&str]| {
        let found = unknown_members(&document).into_iter().map(|it| format!("{}: {}", it.path, it.mend));
        assert_eq!(found.collect::<Vec<_>>(), expected, "{document}");
    };
    check(valid(), &[]);
    check(json!({ "pipeline": valid(), "tags": [], "metadata": { "created": 1 } }), &[]);
    let mut wrong = valid();
    wrong["exectionMode"] = json!("QUEUED");
    wrong["stages"][1]["actions"][0]["runorder"] = json!(2);
    wrong["stages"][1]["actions"][0]["actionTypeId"]["comment"] = json!("of ours");
    // The keys of a configuration are another matter.
    wrong["stages"][1]["actions"][0]["configuration"] = json!({ "Anything": "goes" });
    let expected = [
        "pipeline.exectionMode: perhaps `executionMode` is meant",
        "pipeline.stages[1].actions[0].actionTypeId.comment: leave it out",
        "pipeline.stages[1].actions[0].runorder: perhaps `runOrder` is meant",
    ];
    check(wrong.clone(), &expected);
    check(json!({ "pipeline": wrong, "tagz": [] }), &[&expected[..], &["tagz: perhaps `tags` is meant"]].concat());
}
