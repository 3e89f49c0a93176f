//! Every operation's input reads a full and a minimal document, and tells each constraint that is broken in AWS's words.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use serde_json::json;

use super::*;
use crate::validate::ErrorClass;

const UUID_TEXT: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";
const ARN_TEXT: &str = "arn:aws:codepipeline:us-east-1:000000000000:site";

/// A row with a document that has every member, and how that reads back.
struct Example {
    row: Row,
    full: Value,
    read_back: fn(&Value) -> Result<Value, Problems>,
}

fn example<T: Request + Serialize>(full: Value) -> Example {
    let read_back = |document: &Value| read::<T>(document).map(|input| serde_json::to_value(input).unwrap());
    Example { row: T::ROW, full, read_back }
}

fn action_type() -> Value {
    json!({
        "description": "Posts a release",
        "executor": {
            "configuration": {
                "lambdaExecutorConfiguration": {
                    "lambdaFunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:post",
                },
                "jobWorkerExecutorConfiguration": {
                    "pollingAccounts": ["000000000000"], "pollingServicePrincipals": ["pipelines.example"],
                },
            },
            "type": "JobWorker", "policyStatementsTemplate": "{}", "jobTimeout": 60,
        },
        "id": {"category": "Deploy", "owner": "ThirdParty", "provider": "Rollout", "version": "1"},
        "inputArtifactDetails": {"minimumCount": 0, "maximumCount": 1},
        "outputArtifactDetails": {"minimumCount": 0, "maximumCount": 0},
        "permissions": {"allowedAccounts": ["*"]},
        "properties": [{
            "name": "Url", "optional": false, "key": false, "noEcho": false, "queryable": false, "description": "Where",
        }],
        "urls": {
            "configurationUrl": "https://a", "entityUrlTemplate": "https://b", "executionUrlTemplate": "https://c",
            "revisionUrlTemplate": "https://d",
        },
    })
}

fn all_examples() -> Vec<Example> {
    examples().into_iter().chain(webhooks()).chain(examples_of_jobs()).collect()
}

fn webhooks() -> Vec<Example> {
    vec![
        example::<PutWebhookInput>(json!({
            "webhook": {
                "name": "push", "targetPipeline": "site", "targetAction": "Get",
                "filters": [{"jsonPath": "$.ref", "matchEquals": "refs/heads/{Branch}"}],
                "authentication": "GITHUB_HMAC",
                "authenticationConfiguration": {"AllowedIPRange": "10.0.0.0/8", "SecretToken": "s"},
            },
            "tags": [{"key": "team", "value": ""}],
        })),
        example::<ListWebhooksInput>(json!({"NextToken": "t", "MaxResults": 7})),
        example::<DeleteWebhookInput>(json!({"name": "push"})),
        example::<RegisterWebhookWithThirdPartyInput>(json!({"webhookName": "push"})),
        example::<DeregisterWebhookWithThirdPartyInput>(json!({"webhookName": "push"})),
    ]
}

fn deploy_targets() -> Example {
    let filter = json!({"name": "TARGET_STATUS", "values": ["Failed"]});
    example::<ListDeployActionExecutionTargetsInput>(json!({
        "pipelineName": "site", "actionExecutionId": UUID_TEXT, "maxResults": 100, "nextToken": "t", "filters": [filter],
    }))
}

fn examples() -> Vec<Example> {
    let transition = json!({"pipelineName": "site", "stageName": "Deploy", "transitionType": "Inbound"});
    let tag = json!({"key": "team", "value": ""});
    let latest = json!({"pipelineExecutionId": UUID_TEXT, "startTimeRange": "All"});
    let revision = json!({"actionName": "Get", "revisionType": "S3_OBJECT_KEY", "revisionValue": "a/b"});
    let disable = {
        let mut input = transition.clone();
        input["reason"] = "Not on a Friday (please)".into();
        input
    };
    vec![
        example::<GetPipelineInput>(json!({"name": "site", "version": 3})),
        example::<DeletePipelineInput>(json!({"name": "site"})),
        example::<ListPipelinesInput>(json!({"nextToken": "t", "maxResults": 1000})),
        example::<StartPipelineExecutionInput>(json!({
            "name": "site", "variables": [{"name": "Colour", "value": "blue"}],
            "clientRequestToken": "a-token", "sourceRevisions": [revision],
        })),
        example::<StopPipelineExecutionInput>(
            json!({"pipelineName": "site", "pipelineExecutionId": UUID_TEXT, "abandon": true, "reason": ""}),
        ),
        example::<GetPipelineStateInput>(json!({"name": "site"})),
        example::<GetPipelineExecutionInput>(json!({"pipelineName": "site", "pipelineExecutionId": UUID_TEXT})),
        example::<ListPipelineExecutionsInput>(json!({
            "pipelineName": "site", "maxResults": 1, "nextToken": "t",
            "filter": {"succeededInStage": {"stageName": "Deploy"}},
        })),
        example::<ListActionExecutionsInput>(json!({
            "pipelineName": "site", "maxResults": 100, "nextToken": "t",
            "filter": {"pipelineExecutionId": UUID_TEXT, "latestInPipelineExecution": latest},
        })),
        example::<ListRuleExecutionsInput>(json!({
            "pipelineName": "site", "maxResults": 100, "nextToken": "t",
            "filter": {"pipelineExecutionId": UUID_TEXT, "latestInPipelineExecution": latest},
        })),
        deploy_targets(),
        example::<RetryStageExecutionInput>(json!({
            "pipelineName": "site", "stageName": "Deploy", "pipelineExecutionId": UUID_TEXT, "retryMode": "ALL_ACTIONS",
        })),
        example::<RollbackStageInput>(json!({
            "pipelineName": "site", "stageName": "Deploy", "targetPipelineExecutionId": UUID_TEXT,
        })),
        example::<OverrideStageConditionInput>(json!({
            "pipelineName": "site", "stageName": "Deploy", "pipelineExecutionId": UUID_TEXT,
            "conditionType": "BEFORE_ENTRY",
        })),
        example::<PutActionRevisionInput>(json!({
            "pipelineName": "site", "stageName": "Source", "actionName": "Get",
            "actionRevision": {"revisionId": "r2", "revisionChangeId": "push-7", "created": 1_795_342_830.5},
        })),
        example::<EnableStageTransitionInput>(transition),
        example::<DisableStageTransitionInput>(disable),
        example::<PutApprovalResultInput>(json!({
            "pipelineName": "site", "stageName": "Deploy", "actionName": "Ask", "token": UUID_TEXT,
            "result": {"summary": "", "status": "Rejected"},
        })),
        example::<ListActionTypesInput>(
            json!({"actionOwnerFilter": "Custom", "nextToken": "t", "regionFilter": "us-east-1"}),
        ),
        example::<ListRuleTypesInput>(json!({"ruleOwnerFilter": "AWS", "regionFilter": "us-east-1"})),
        example::<GetActionTypeInput>(
            json!({"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"}),
        ),
        example::<UpdateActionTypeInput>(json!({"actionType": action_type()})),
        example::<TagResourceInput>(json!({"resourceArn": ARN_TEXT, "tags": [tag]})),
        example::<UntagResourceInput>(json!({"resourceArn": ARN_TEXT, "tagKeys": ["team"]})),
        example::<ListTagsForResourceInput>(json!({"resourceArn": ARN_TEXT, "nextToken": "t", "maxResults": 7})),
    ]
}

/// The same of custom action types and jobs.
fn examples_of_jobs() -> Vec<Example> {
    let id = json!({"category": "Build", "owner": "Custom", "provider": "Jenkins", "version": "1"});
    let property = json!({
        "name": "ProjectName", "required": true, "key": true, "secret": false, "queryable": true,
        "description": "of Jenkins", "type": "String"
    });
    let settings = json!({
        "thirdPartyConfigurationUrl": "https://ci.example", "entityUrlTemplate": "https://ci.example/{Config:ProjectName}",
        "executionUrlTemplate": "https://ci.example/{ExternalExecutionId}", "revisionUrlTemplate": "https://ci.example/r"
    });
    let count = json!({"minimumCount": 0, "maximumCount": 5});
    let custom = json!({
        "category": "Build", "provider": "Jenkins", "version": "1", "settings": settings,
        "configurationProperties": [property], "inputArtifactDetails": count, "outputArtifactDetails": count,
        "tags": [{"key": "team", "value": "web"}]
    });
    let revision = json!({
        "revision": "r1", "changeIdentifier": "c1", "created": 1_795_342_830.5, "revisionSummary": "more"
    });
    let details = json!({"summary": "done", "externalExecutionId": "7", "percentComplete": 100});
    let failed = json!({"type": "JobFailed", "message": "no", "externalExecutionId": "7"});
    let (job, nonce, token) = (UUID_TEXT, "3", "token");
    vec![
        example::<CreateCustomActionTypeInput>(custom),
        example::<DeleteCustomActionTypeInput>(json!({"category": "Build", "provider": "Jenkins", "version": "1"})),
        example::<PollForJobsInput>(
            json!({"actionTypeId": id, "maxBatchSize": 3, "queryParam": {"ProjectName": "site"}}),
        ),
        example::<AcknowledgeJobInput>(json!({"jobId": job, "nonce": nonce})),
        example::<GetJobDetailsInput>(json!({"jobId": job})),
        example::<PutJobSuccessResultInput>(json!({
            "jobId": job, "currentRevision": revision, "continuationToken": "t", "executionDetails": details,
            "outputVariables": {"Version": "1"}
        })),
        example::<PutJobFailureResultInput>(json!({"jobId": job, "failureDetails": failed})),
        example::<PollForThirdPartyJobsInput>(json!({"actionTypeId": id, "maxBatchSize": 3})),
        example::<AcknowledgeThirdPartyJobInput>(json!({"jobId": job, "nonce": nonce, "clientToken": token})),
        example::<GetThirdPartyJobDetailsInput>(json!({"jobId": job, "clientToken": token})),
        example::<PutThirdPartyJobSuccessResultInput>(json!({
            "jobId": job, "clientToken": token, "currentRevision": revision, "continuationToken": "t",
            "executionDetails": details
        })),
        example::<PutThirdPartyJobFailureResultInput>(
            json!({"jobId": job, "clientToken": token, "failureDetails": failed}),
        ),
    ]
}

fn members(shape: &'static Shape) -> &'static [crate::validate::shape::Member] {
    let Structure(members) = shape else { panic!("{shape:?} is no structure") };
    members
}

#[test]
fn every_row_has_an_example_that_uses_every_member() {
    let examples = all_examples();
    let proven: BTreeSet<_> = examples.iter().map(|example| example.row.operation).collect();
    let rows = || REQUESTS.iter().chain(JOB_REQUESTS);
    let all: BTreeSet<_> = rows().map(|row| row.operation).collect();
    assert_eq!(proven, all);
    assert_eq!(all.len(), rows().count(), "names are unique");
    for Example { row, full, read_back } in examples {
        let given: BTreeSet<_> = full.as_object().unwrap().keys().map(String::as_str).collect();
        let known: BTreeSet<_> = members(row.shape).iter().map(|member| member.name).collect();
        assert_eq!(given, known, "{}", row.operation);
        assert_eq!(read_back(&full).unwrap(), full, "{}: nothing is lost between JSON and types", row.operation);
    }
}

#[test]
fn what_is_optional_may_be_absent_or_null_and_what_is_unknown_is_ignored() {
    for Example { row, full, read_back } in all_examples() {
        let mut minimal = json!({"__type": "Input", "unknown": [{}]});
        let mut nulls = minimal.clone();
        for member in members(row.shape) {
            nulls[member.name] = if member.required { full[member.name].clone() } else { Value::Null };
            if member.required {
                minimal[member.name] = full[member.name].clone();
            }
        }
        let read = read_back(&minimal).unwrap_or_else(|problems| panic!("{}: {problems}", row.operation));
        assert_eq!(read_back(&nulls).unwrap(), read, "{}: null is absent", row.operation);
    }
}

/// Every way to break one constraint of a value, with AWS's path to what is broken.
fn breakages(shape: &'static Shape, value: &Value, path: &str) -> Vec<(Value, String)> {
    let mut wrong = match shape {
        Shape::Text { chars_min, chars_max, pattern } => {
            let too_long = (*chars_max != ANY).then(|| "x".repeat(chars_max + 1));
            let too_short = (*chars_min > 0).then(|| "x".repeat(chars_min - 1));
            let strange = pattern.map(|_| "\n".to_owned());
            [too_long, too_short, strange].into_iter().flatten().map(Value::from).chain([json!(7)]).collect()
        }
        Integer { min, max } => vec![json!(min - 1), json!(max + 1), json!("1"), json!(1.5)],
        Boolean => vec![json!("true"), json!(1)],
        Time => vec![json!("1970-01-01T00:00:00Z"), json!(true)],
        Choice(_) => vec![json!("nonsense"), json!([])],
        Shape::List { items_min, items_max, .. } => {
            let item = &value[0];
            let too_long = (*items_max != ANY).then(|| vec![item.clone(); items_max + 1]);
            let too_short = (*items_min > 0).then(Vec::new);
            [too_long, too_short].into_iter().flatten().map(Value::from).chain([json!({})]).collect()
        }
        Shape::Map { entries_max, .. } => {
            let entries = |count: usize| (0..count).map(|index| (index.to_string(), "x".into())).collect();
            let too_many = (*entries_max != ANY).then(|| Value::Object(entries(entries_max + 1)));
            too_many.into_iter().chain([json!([])]).collect()
        }
        Structure(_) => vec![json!("text")],
    }
    .into_iter()
    .map(|wrong| (wrong, path.to_owned()))
    .collect::<Vec<_>>();
    match shape {
        Structure(members) => wrong.extend(members_broken(members, value, &format!("{path}."))),
        Shape::List { of, .. } => {
            let item_path = if matches!(of, Structure(_)) { format!("{path}.1.member") } else { path.to_owned() };
            let right_type = |(item, _): &(Value, String)| item.is_string() || item.is_object();
            let items = breakages(of, &value[0], &item_path).into_iter().filter(right_type);
            wrong.extend(items.map(|(item, at)| (json!([item]), at)));
        }
        _ => {}
    }
    wrong
}

fn members_broken(
    members: &'static [crate::validate::shape::Member],
    value: &Value,
    path: &str,
) -> Vec<(Value, String)> {
    let mut all = Vec::new();
    for member in members {
        let member_path = format!("{path}{}", member.name);
        let mut broken = breakages(member.shape, &value[member.name], &member_path);
        if member.required {
            broken.push((Value::Null, member_path));
        }
        for (wrong, at) in broken {
            let mut value = value.clone();
            value[member.name] = wrong;
            all.push((value, at));
        }
    }
    all
}

#[test]
fn every_broken_constraint_is_told_at_its_place() {
    let mut told = 0;
    for Example { row, full, read_back } in all_examples() {
        for (broken, path) in members_broken(members(row.shape), &full, "") {
            let problems = read_back(&broken).expect_err(&format!("{}: {broken}", row.operation));
            let (class, message) = problems.error();
            let here = format!("Value at '{path}' failed to satisfy constraint: M");
            let (total, at_path) = (message.matches("Value at '").count(), message.matches(&here).count());
            assert!(at_path > 0 && at_path == total, "{}: {message} where {path} was broken", row.operation);
            assert_eq!(class, ErrorClass::Validation);
            told += 1;
        }
    }
    assert!(told > 200, "only {told} breakages were made");
}

/// The longest that each text of a value may be, as far as no pattern says of what it is made: of characters of two bytes.
fn longest(shape: &'static Shape, value: &Value) -> Vec<Value> {
    match shape {
        Shape::Text { chars_max, pattern: None, .. } if *chars_max != ANY => vec!["é".repeat(*chars_max).into()],
        Shape::List { of, .. } => longest(of, &value[0]).into_iter().map(|item| json!([item])).collect(),
        Structure(members) => {
            let longest = |member: &crate::validate::shape::Member| {
                let with = |text| {
                    let mut value = value.clone();
                    value[member.name] = text;
                    value
                };
                longest(member.shape, &value[member.name]).into_iter().map(with).collect::<Vec<_>>()
            };
            members.iter().flat_map(longest).collect()
        }
        _ => Vec::new(),
    }
}

#[test]
fn characters_are_counted_and_not_bytes() {
    let mut taken = 0;
    for Example { row, full, read_back } in all_examples() {
        for input in longest(row.shape, &full) {
            let read = read_back(&input).map_err(|problems| problems.error());
            assert_eq!(read.as_ref(), Ok(&input), "{}", row.operation);
            taken += 1;
        }
    }
    assert!(taken > 20, "only {taken} texts were given");
}

fn check<T: Request + std::fmt::Debug>(document: Value, expected: Expect) {
    let (class, message) = read::<T>(&document).unwrap_err().error();
    expected.assert_eq(&format!("{class}: {message}"));
}

#[test]
fn the_words_are_aws_own() {
    check::<ListActionExecutionsInput>(
        json!({"pipelineName": "site", "filter": {
            "latestInPipelineExecution": {"pipelineExecutionId": UUID_TEXT, "startTimeRange": "Some"},
        }}),
        expect![
            "ValidationException: 1 validation error detected: Value at 'filter.latestInPipelineExecution.startTimeRange' failed to satisfy constraint: Member must satisfy enum value set: [All, Latest]"
        ],
    );
    check::<OverrideStageConditionInput>(
        json!({"pipelineName": "site", "stageName": "Deploy", "pipelineExecutionId": UUID_TEXT, "conditionType": "ON_FAILURE"}),
        expect![
            "ValidationException: 1 validation error detected: Value at 'conditionType' failed to satisfy constraint: Member must satisfy enum value set: [BEFORE_ENTRY, ON_SUCCESS]"
        ],
    );
    check::<StopPipelineExecutionInput>(
        json!({"pipelineName": "", "pipelineExecutionId": "7"}),
        expect![[
            r#"ValidationException: 3 validation errors detected: Value at 'pipelineName' failed to satisfy constraint: Member must have length greater than or equal to 1; Value at 'pipelineName' failed to satisfy constraint: Member must satisfy regular expression pattern: [A-Za-z0-9.@\-_]+; Value at 'pipelineExecutionId' failed to satisfy constraint: Member must satisfy regular expression pattern: [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"#
        ]],
    );
    check::<StartPipelineExecutionInput>(
        json!({"name": "site", "variables": [{"name": "no.dots"}], "clientRequestToken": "no spaces"}),
        expect![[
            r#"ValidationException: 3 validation errors detected: Value at 'variables.1.member.name' failed to satisfy constraint: Member must satisfy regular expression pattern: [A-Za-z0-9@\-_]+; Value at 'variables.1.member.value' failed to satisfy constraint: Member must not be null; Value at 'clientRequestToken' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9-]+$"#
        ]],
    );
    check::<UntagResourceInput>(
        json!({"resourceArn": "site", "tagKeys": [""]}),
        expect![[
            r#"ValidationException: 2 validation errors detected: Value at 'resourceArn' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:aws(-[\w]+)*:codepipeline:.+:([0-9]{12})?:.+; Value at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1]"#
        ]],
    );
    check::<ListPipelinesInput>(
        json!({"maxResults": 0, "nextToken": ""}),
        expect![
            "ValidationException: 2 validation errors detected: Value at 'nextToken' failed to satisfy constraint: Member must have length greater than or equal to 1; Value at 'maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1"
        ],
    );
}
