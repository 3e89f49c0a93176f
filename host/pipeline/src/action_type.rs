//! What is known of an action type before it runs: how many artifacts it takes and makes, and which configuration keys.
//!
//! Owns the description that a plugin gives of its types (`ActionTypeInfo`) and the table of AWS's own types (S22),
//! which counts where no plugin serves a type. Must not know how a declaration is checked against them (`validate`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::declaration::{ActionCategory, ActionOwner, ActionTypeId};

/// As CodePipeline has it of a value by which workers ask for jobs.
const QUERYABLE_BYTES_MAX: usize = 20;

/// So many types are named in place of one that nothing serves.
const NAMED_MAX: usize = 8;

/// The action types that plugins serve, by id.
pub type ActionTypes = BTreeMap<ActionTypeId, ActionTypeInfo>;

/// An action type as the plugin that serves it describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionTypeInfo {
    pub id: ActionTypeId,
    pub inputs: ArtifactCount,
    pub outputs: ArtifactCount,
    pub properties: Vec<Property>,
    pub documentation: String,
}

/// How many artifacts an action may declare, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactCount {
    pub min: u32,
    pub max: u32,
}

/// One configuration key of an action type: CodePipeline's ActionConfigurationProperty, with a default and choices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Property {
    pub name: String,
    pub kind: PropertyKind,
    pub required: bool,
    pub secret: bool,
    /// It is part of what tells two actions of the type apart.
    #[serde(default)]
    pub key: bool,
    /// Workers ask for jobs by its value.
    #[serde(default)]
    pub queryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// if not empty, the only values allowed
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    pub documentation: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PropertyKind {
    String,
    Number,
    Boolean,
    /// a JSON array as text
    List,
}

impl ActionTypeInfo {
    /// What is wrong with a configuration once it is resolved: of the values that have variables as they are `declared`, the
    /// first that its property does not take (S16). The others were judged with the declaration.
    pub fn misfit(&self, declared: &BTreeMap<String, String>, resolved: &BTreeMap<String, String>) -> Option<String> {
        self.properties.iter().find_map(|property| {
            declared.get(&property.name).filter(|template| template.contains("#{"))?;
            let mend = property.refuses(resolved.get(&property.name)?)?;
            Some(format!(
                "configuration.{}: the type does not take the value that came of the variables: {mend}",
                property.name
            ))
        })
    }
}

impl Property {
    /// What to do about a resolved value that the property does not take; nothing if it takes it.
    pub fn refuses(&self, value: &str) -> Option<String> {
        if !self.choices.is_empty() {
            let allowed = self.choices.iter().any(|choice| choice == value);
            return (!allowed).then(|| format!("use one of {}", self.choices.join(", ")));
        }
        let is_queryable = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if self.queryable && (value.len() > QUERYABLE_BYTES_MAX || !value.bytes().all(is_queryable)) {
            return Some(format!(
                "write at most {QUERYABLE_BYTES_MAX} letters, digits, `_` and `-`: workers ask by it"
            ));
        }
        let (fits, kind) = match self.kind {
            PropertyKind::String => (true, ""),
            PropertyKind::Number => (value.parse::<f64>().is_ok_and(f64::is_finite), "a number"),
            PropertyKind::Boolean => {
                (["true", "false"].iter().any(|word| value.eq_ignore_ascii_case(word)), "`true` or `false`")
            }
            PropertyKind::List => (serde_json::from_str::<Vec<serde_json::Value>>(value).is_ok(), "a JSON array"),
        };
        (!fits).then(|| format!("write {kind}"))
    }
}

/// One row (S22): one of AWS's own action types, or of its partners'; all of them are of version 1.
#[derive(Debug)]
pub(crate) struct AwsActionType {
    category: ActionCategory,
    owner: ActionOwner,
    provider: &'static str,
    pub(crate) inputs: ArtifactCount,
    pub(crate) outputs: ArtifactCount,
    pub(crate) required: &'static [&'static str],
    pub(crate) optional: Optional,
}

/// The keys that a type takes besides the required ones.
#[derive(Debug)]
pub(crate) enum Optional {
    Known(&'static [&'static str]),
    /// not all of them are known, so that no key can be called unknown
    Open,
}

/// The row for a type, if AWS has it.
pub(crate) fn aws(id: &ActionTypeId) -> Option<&'static AwsActionType> {
    predefined(id).or((id.owner == Custom).then_some(&CUSTOM))
}

/// A row for AWS's own rules (S40): the keys that one must have, and those that it may have besides.
pub(crate) struct AwsRuleType {
    provider: &'static str,
    pub(crate) required: &'static [&'static str],
    pub(crate) optional: &'static [&'static str],
}

/// The row for a rule type, if AWS has it.
pub(crate) fn aws_rule(id: &ActionTypeId) -> Option<&'static AwsRuleType> {
    let is_own = id.category == Rule && id.owner == AWS && id.version == "1";
    AWS_RULES.iter().find(|row| is_own && row.provider == id.provider)
}

/// What to do about a value of one of AWS's own rules that has not the form that the rule reads; nothing if it has. Which windows and
/// zones there are, is known only to the plugin that serves the rule (S40).
pub(crate) fn aws_rule_refuses(id: &ActionTypeId, key: &str, value: &str) -> Option<String> {
    match (aws_rule(id)?.provider, key) {
        ("DeploymentWindow", "Cron") => {
            let fields = value.split_whitespace().count();
            let fits = matches!(fields, 6 | 7);
            (!fits).then(|| {
                format!(
                    "write second, minute, hour, day of the month, month, day of the week, and perhaps the year, as in \
                     `* * 9-17 ? * MON-FRI`; it has {fields} fields"
                )
            })
        }
        ("DeploymentWindow", "TimeZone") => {
            let is_of_zones = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-:".contains(&byte);
            let fits = !value.is_empty() && value.bytes().all(is_of_zones);
            (!fits).then(|| "write a region like `Europe/Berlin`, `UTC`, or `UTC+05:30`".to_owned())
        }
        _ => None,
    }
}

fn predefined(id: &ActionTypeId) -> Option<&'static AwsActionType> {
    AWS_TYPES.iter().find(|row| {
        row.category == id.category && row.owner == id.owner && row.provider == id.provider && id.version == "1"
    })
}

/// Whether there is such a type only where a plugin serves it. One that AWS or one of its partners has can be declared anywhere.
pub fn is_of_plugins(id: &ActionTypeId) -> bool {
    predefined(id).is_none() && !known().any(|known| known == *id)
}

/// Whether actions and rules of a type are done by functions: `Invoke/AWS/Lambda/1`, and the rule `LambdaInvoke` (S198).
pub fn is_of_functions(id: &ActionTypeId) -> bool {
    let is_one = matches!((id.category, id.provider.as_str()), (Invoke, "Lambda") | (Rule, "LambdaInvoke"));
    is_one && id.owner == AWS && id.version == "1"
}

/// The key that names the function.
pub const FUNCTION_NAME: &str = "FunctionName";

/// Those types.
pub fn of_functions() -> [ActionTypeInfo; 2] {
    let property = |name: &str, required: bool, documentation: &str| Property {
        name: name.to_owned(),
        kind: PropertyKind::String,
        required,
        secret: false,
        key: required,
        queryable: false,
        default: None,
        choices: Vec::new(),
        documentation: documentation.to_owned(),
    };
    [(Invoke, "Lambda", 5), (Rule, "LambdaInvoke", 0)].map(|(category, provider, outputs)| ActionTypeInfo {
        id: ActionTypeId { category, owner: AWS, provider: provider.to_owned(), version: "1".to_owned() },
        inputs: ArtifactCount { min: 0, max: 5 },
        outputs: ArtifactCount { min: 0, max: outputs },
        properties: vec![
            property(FUNCTION_NAME, true, "Which of the functions of the server's configuration is invoked."),
            property("UserParameters", false, "What it is told, as it stands."),
        ],
        documentation: "Gives a job to a function, which reports it as a worker does.".to_owned(),
    })
}

/// All types of AWS and its partners.
fn known() -> impl Iterator<Item = ActionTypeId> {
    let rows = AWS_TYPES.iter().map(|row| (row.category, row.owner, row.provider));
    let rules = AWS_RULES.iter().map(|row| (Rule, AWS, row.provider));
    let partners = PARTNERS.iter().map(|(category, provider)| (*category, ThirdParty, *provider));
    rows.chain(rules).chain(partners).map(|(category, owner, provider)| ActionTypeId {
        category,
        owner,
        provider: provider.to_owned(),
        version: "1".to_owned(),
    })
}

/// The type of AWS or its partners that is most like one that there is not; none for a custom one.
pub fn nearest(id: &ActionTypeId) -> Option<ActionTypeId> {
    let is_alike = |known: &ActionTypeId| (known.owner, known.category == Rule) == (id.owner, id.category == Rule);
    let same = known().filter(|known| id.owner != Custom && is_alike(known));
    same.min_by_key(|known| {
        let edits = edits(&known.provider.to_lowercase(), &id.provider.to_lowercase());
        // A category is chosen from a list, and a provider written.
        edits + if known.category == id.category { 0 } else { 4 }
    })
}

/// That nothing serves a type here, and what is served instead in its category (S22).
pub fn unserved(id: &ActionTypeId, served: &ActionTypes) -> String {
    let same: Vec<_> = served.keys().filter(|it| it.category == id.category).collect();
    if is_of_functions(id) {
        return format!(
            "functions do {id}, and there is none: `[functions.NAME]` of the server's configuration names one"
        );
    }
    let mut text = format!("this host has no plugin for {id}");
    for (index, other) in same.iter().take(NAMED_MAX).enumerate() {
        let before = if index == 0 { "; it has " } else { ", " };
        text += &format!("{before}{other}");
    }
    if same.len() > NAMED_MAX {
        text += &format!(" and {} more", same.len() - NAMED_MAX);
    }
    text
}

/// How many letters are to be written, deleted or replaced to make one text the other.
pub(crate) fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

/// Whether AWS refuses the type in pipelines of type V1 (S22).
pub(crate) fn is_v2_only(id: &ActionTypeId) -> bool {
    id.owner == AWS && V2_ONLY.contains(&(id.category, id.provider.as_str()))
}

type Count = (u32, u32);
type Keys = &'static [&'static str];

const fn row(
    category: ActionCategory,
    owner: ActionOwner,
    provider: &'static str,
    inputs: Count,
    outputs: Count,
    required: Keys,
    optional: Optional,
) -> AwsActionType {
    let inputs = ArtifactCount { min: inputs.0, max: inputs.1 };
    let outputs = ArtifactCount { min: outputs.0, max: outputs.1 };
    AwsActionType { category, owner, provider, inputs, outputs, required, optional }
}

use ActionCategory::{Approval, Build, Compute, Deploy, Invoke, Rule, Source, Test};
use ActionOwner::{AWS, Custom, ThirdParty};
use Optional::{Known, Open};

/// A custom type that nothing else is known of: up to five artifacts each way (S16).
static CUSTOM: AwsActionType = row(Build, Custom, "", (0, 5), (0, 5), &[], Open);

const CODE_BUILD: Keys = &["PrimarySource", "BatchEnabled", "CombineArtifacts", "EnvironmentVariables"];

/// Where AWS's documents leave something open, the row is the laxer reading (S22).
static AWS_TYPES: &[AwsActionType] = &[
    row(
        Source,
        AWS,
        "S3",
        (0, 0),
        (1, 1),
        &["S3Bucket", "S3ObjectKey"],
        Known(&["PollForSourceChanges", "AllowOverrideForS3ObjectKey"]),
    ),
    row(
        Source,
        AWS,
        "CodeCommit",
        (0, 0),
        (1, 1),
        &["RepositoryName", "BranchName"],
        Known(&["PollForSourceChanges", "OutputArtifactFormat"]),
    ),
    row(Source, AWS, "ECR", (0, 0), (1, 1), &["RepositoryName"], Known(&["ImageTag"])),
    row(
        Source,
        AWS,
        "CodeStarSourceConnection",
        (0, 0),
        (1, 1),
        &["ConnectionArn", "FullRepositoryId", "BranchName"],
        Known(&["OutputArtifactFormat", "DetectChanges"]),
    ),
    row(
        Source,
        ThirdParty,
        "GitHub",
        (0, 0),
        (1, 1),
        &["Owner", "Repo", "Branch", "OAuthToken"],
        Known(&["PollForSourceChanges"]),
    ),
    row(Build, AWS, "CodeBuild", (1, 5), (0, 5), &["ProjectName"], Known(CODE_BUILD)),
    row(Test, AWS, "CodeBuild", (1, 5), (0, 5), &["ProjectName"], Known(CODE_BUILD)),
    row(Build, AWS, "ECRBuildAndPublish", (1, 1), (0, 1), &["ECRRepositoryName"], Open),
    row(
        Compute,
        AWS,
        "Commands",
        (1, 10),
        (0, 1),
        &[],
        Known(&["EnvironmentType", "ComputeType", "VpcId", "Subnets", "SecurityGroupIds"]),
    ),
    row(Test, AWS, "DeviceFarm", (1, 1), (0, 0), &["App", "AppType", "ProjectId", "DevicePoolArn", "TestType"], Open),
    row(
        Deploy,
        AWS,
        "S3",
        (1, 1),
        (0, 0),
        &["BucketName", "Extract"],
        Known(&["ObjectKey", "KMSEncryptionKeyARN", "CannedACL", "CacheControl"]),
    ),
    row(
        Deploy,
        AWS,
        "CloudFormation",
        (0, 10),
        (0, 1),
        &["ActionMode", "StackName"],
        Known(&[
            "ChangeSetName",
            "TemplatePath",
            "RoleArn",
            "Capabilities",
            "OutputFileName",
            "ParameterOverrides",
            "TemplateConfiguration",
        ]),
    ),
    row(Deploy, AWS, "CloudFormationStackSet", (1, 3), (0, 0), &["StackSetName", "TemplatePath"], Open),
    row(Deploy, AWS, "CloudFormationStackInstances", (1, 3), (0, 0), &["StackSetName"], Open),
    row(Deploy, AWS, "CodeDeploy", (1, 1), (0, 0), &["ApplicationName", "DeploymentGroupName"], Known(&[])),
    row(
        Deploy,
        AWS,
        "EC2",
        (1, 1),
        (0, 0),
        &["InstanceTagKey", "InstanceType"],
        Known(&[
            "InstanceTagValue",
            "TargetDirectory",
            "PreScript",
            "PostScript",
            "DeploySpec",
            "MaxBatch",
            "MaxError",
            "TargetGroupNameList",
        ]),
    ),
    row(Deploy, AWS, "ECS", (1, 1), (0, 0), &["ClusterName", "ServiceName"], Known(&["FileName", "DeploymentTimeout"])),
    row(
        Deploy,
        AWS,
        "CodeDeployToECS",
        (1, 5),
        (0, 0),
        &["ApplicationName", "DeploymentGroupName", "TaskDefinitionTemplateArtifact", "AppSpecTemplateArtifact"],
        Open,
    ),
    row(Deploy, AWS, "EKS", (1, 1), (0, 0), &[], Open),
    row(Deploy, AWS, "Lambda", (1, 1), (0, 0), &["FunctionName"], Open),
    row(Deploy, AWS, "ElasticBeanstalk", (1, 1), (0, 0), &["ApplicationName", "EnvironmentName"], Known(&[])),
    row(
        Deploy,
        AWS,
        "AppConfig",
        (1, 1),
        (0, 0),
        &["Application", "Environment", "ConfigurationProfile", "InputArtifactConfigurationPath", "DeploymentStrategy"],
        Known(&[]),
    ),
    row(Deploy, AWS, "OpsWorks", (1, 1), (0, 0), &[], Open),
    row(Deploy, AWS, "ServiceCatalog", (1, 1), (0, 0), &[], Open),
    row(Deploy, ThirdParty, "AlexaSkillsKit", (1, 2), (0, 0), &[], Open),
    row(
        Approval,
        AWS,
        "Manual",
        (0, 0),
        (0, 0),
        &[],
        Known(&["NotificationArn", "ExternalEntityLink", "CustomData", "IsSummaryRequired"]),
    ),
    row(Invoke, AWS, "Lambda", (0, 5), (0, 5), &["FunctionName"], Known(&["UserParameters"])),
    row(
        Invoke,
        AWS,
        "StepFunctions",
        (0, 1),
        (0, 1),
        &["StateMachineArn"],
        Known(&["ExecutionNamePrefix", "InputType", "Input"]),
    ),
    row(Invoke, AWS, "CodePipeline", (0, 0), (0, 0), &["PipelineName"], Known(&["SourceRevisions", "Variables"])),
    row(Invoke, AWS, "InspectorScan", (1, 1), (0, 1), &[], Open),
    row(Invoke, ThirdParty, "Snyk", (1, 1), (1, 1), &[], Open),
];

static AWS_RULES: &[AwsRuleType] = &[
    AwsRuleType { provider: "CloudWatchAlarm", required: &["AlarmName"], optional: &["AlarmStates", "WaitTime"] },
    AwsRuleType {
        provider: "CodeBuild",
        required: &["ProjectName"],
        optional: &["PrimarySource", "BatchEnabled", "CombineArtifacts", "EnvironmentVariables"],
    },
    AwsRuleType { provider: "Commands", required: &[], optional: &[] },
    AwsRuleType { provider: "DeploymentWindow", required: &["Cron"], optional: &["TimeZone"] },
    AwsRuleType { provider: "LambdaInvoke", required: &["FunctionName"], optional: &["UserParameters"] },
    AwsRuleType { provider: "VariableCheck", required: &["Variable", "Operator", "Value"], optional: &[] },
];

/// Types of partners of which no more than the name is known.
static PARTNERS: &[(ActionCategory, &str)] = &[
    (Build, "CloudBees"),
    (Build, "TeamCity"),
    (Deploy, "XebiaLabs"),
    (Test, "Apica"),
    (Test, "BlazeMeter"),
    (Test, "GhostInspector"),
    (Test, "Nouvola"),
    (Test, "Runscope"),
    (Test, "StormRunner"),
];

static V2_ONLY: &[(ActionCategory, &str)] = &[
    (Build, "ECRBuildAndPublish"),
    (Compute, "Commands"),
    (Deploy, "EC2"),
    (Deploy, "EKS"),
    (Deploy, "Lambda"),
    (Invoke, "CodePipeline"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What has no variables was judged before, whatever it is.
    #[test]
    fn a_value_is_judged_when_it_is_resolved() {
        let property = |name: &str, kind: &str| serde_json::json!({ "name": name, "kind": kind, "required": false, "secret": false, "documentation": "" });
        let mut mode = property("Mode", "String");
        mode["choices"] = serde_json::json!(["fast", "full"]);
        let properties = [property("Depth", "Number"), property("Strict", "Boolean"), property("Paths", "List"), mode];
        let counts = serde_json::json!({ "min": 0, "max": 0 });
        let info = serde_json::json!({
            "id": { "category": "Test", "owner": "Custom", "provider": "Site", "version": "1" },
            "inputs": counts, "outputs": counts, "properties": properties, "documentation": "",
        });
        let info: ActionTypeInfo = serde_json::from_value(info).expect("a type");
        let check = |key: &str, declared: &str, resolved: &str, mend: Option<&str>| {
            let [declared, resolved] =
                [declared, resolved].map(|value| BTreeMap::from([(key.to_owned(), value.to_owned())]));
            let told = mend.map(|mend| {
                format!("configuration.{key}: the type does not take the value that came of the variables: {mend}")
            });
            assert_eq!(info.misfit(&declared, &resolved), told, "{resolved:?}");
        };
        let variable = "#{variables.Value}";
        check("Depth", variable, "3", None);
        check("Depth", "1#{variables.Value}", "1e", Some("write a number"));
        check("Depth", "deep", "deep", None);
        check("Strict", variable, "yes", Some("write `true` or `false`"));
        check("Strict", variable, "True", None);
        check("Strict", variable, "FALSE", None);
        check("Paths", variable, "a,b", Some("write a JSON array"));
        check("Mode", variable, "slow", Some("use one of fast, full"));
        check("Mode", variable, "full", None);
        check("Other", variable, "slow", None);
    }

    #[test]
    fn a_type_that_there_is_not_has_a_nearest_one() {
        let check = |text: &str, nearest_text: Option<&str>| {
            let parts: Vec<&str> = text.split('/').collect();
            let id = serde_json::json!({
                "category": parts[0], "owner": parts[1], "provider": parts[2], "version": parts[3]
            });
            let id: ActionTypeId = serde_json::from_value(id).expect("a type");
            let found = is_of_plugins(&id).then(|| nearest(&id)).flatten().map(|id| id.to_string());
            assert_eq!(found.as_deref(), nearest_text, "{text}");
        };
        check("Build/AWS/CodeBuild/1", None);
        check("Test/ThirdParty/Runscope/1", None);
        check("Build/Custom/Jenkins/1", None);
        check("Build/AWS/CodeBuld/1", Some("Build/AWS/CodeBuild/1"));
        check("Build/AWS/codebuild/1", Some("Build/AWS/CodeBuild/1"));
        check("Build/AWS/CodeBuild/2", Some("Build/AWS/CodeBuild/1"));
        check("Approval/AWS/Zorp/1", Some("Approval/AWS/Manual/1"));
        check("Deploy/AWS/CodeCommit/1", Some("Source/AWS/CodeCommit/1"));
        check("Source/ThirdParty/GitHb/1", Some("Source/ThirdParty/GitHub/1"));
        check("Rule/AWS/DeploymentWindow/1", None);
        check("Rule/AWS/DeployWindow/1", Some("Rule/AWS/DeploymentWindow/1"));
        check("Rule/AWS/Manual/1", Some("Rule/AWS/Commands/1"));
    }
}
