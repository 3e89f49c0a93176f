//! Pipelines from a few words: a line for each stage, `Stage: Action Action`.
//!
//! An action is its name and, in any order: `@2` its run order, `<App` an input artifact, `>App` an output artifact,
//! `=ns` its namespace, `!` an approval, `{Key:#{ns.key}}` a configuration value. The first stage's actions are sources.
//! A line `var Name` or `var Name=default` declares a pipeline variable, and `mode QUEUED` the execution mode. The lines
//! `before SKIP: Rule Rule`, `success FAIL: Rule` and `failure ROLLBACK: Rule` give the stage above them a condition; a rule is
//! written like an action. `failure RETRY` and `failure RETRY ALL_ACTIONS` give it a plain result.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::declaration::{
    ActionCategory, ActionDeclaration, ActionOwner, ActionTypeId, Condition, ConditionResult, FailureConditions,
    InputArtifact, OutputArtifact, PipelineDeclaration, PipelineType, PipelineVariableDeclaration, RetryConfiguration,
    RuleCategory, RuleDeclaration, RuleTypeId, StageConditions, StageDeclaration,
};

pub(super) fn pipeline(text: &str) -> Arc<PipelineDeclaration> {
    let mut declaration = PipelineDeclaration {
        name: "Demo".into(),
        role_arn: "arn:aws:iam::111122223333:role/demo".into(),
        artifact_store: None,
        artifact_stores: None,
        stages: Vec::new(),
        version: None,
        execution_mode: None,
        pipeline_type: Some(PipelineType::V2),
        variables: Some(Vec::new()),
        triggers: None,
    };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(mode) = line.strip_prefix("mode ") {
            declaration.execution_mode = serde_json::from_value(mode.into()).expect("an execution mode");
            continue;
        }
        if let Some(variable) = line.strip_prefix("var ") {
            let (name, default) =
                variable.split_once('=').map_or((variable, None), |(name, value)| (name, Some(value)));
            declaration.variables.get_or_insert_default().push(PipelineVariableDeclaration {
                name: name.into(),
                default_value: default.map(Into::into),
                description: None,
            });
            continue;
        }
        if let Some(stage) = declaration.stages.last_mut().filter(|_| is_gate(line)) {
            gate(stage, line);
            continue;
        }
        let (name, actions) = line.split_once(':').expect("a stage is `Name: actions`");
        let is_source = declaration.stages.is_empty();
        declaration.stages.push(StageDeclaration {
            name: name.into(),
            blockers: None,
            actions: actions.split_whitespace().map(|text| action(text, is_source)).collect(),
            on_failure: None,
            on_success: None,
            before_entry: None,
        });
    }
    Arc::new(declaration)
}

fn is_gate(line: &str) -> bool {
    ["before ", "success ", "failure "].iter().any(|word| line.starts_with(word))
}

fn gate(stage: &mut StageDeclaration, line: &str) {
    let (words, rules) = line.split_once(':').map_or((line, None), |(words, rules)| (words, Some(rules)));
    let words: Vec<&str> = words.split_whitespace().collect();
    let result: Option<ConditionResult> = Some(serde_json::from_value(words[1].into()).expect("a result"));
    let rules = rules.map(|rules| rules.split_whitespace().map(|text| rule(action(text, false))).collect());
    let conditions = rules.map(|rules| vec![Condition { result, rules: Some(rules) }]);
    match words[0] {
        "before" => stage.before_entry = conditions.map(|conditions| StageConditions { conditions }),
        "success" => stage.on_success = conditions.map(|conditions| StageConditions { conditions }),
        _ => {
            let mode = words.get(2).map(|mode| serde_json::from_value((*mode).into()).expect("a retry mode"));
            stage.on_failure = Some(FailureConditions {
                result: result.filter(|_| conditions.is_none()),
                retry_configuration: mode.map(|mode| RetryConfiguration { retry_mode: Some(mode) }),
                conditions,
            });
        }
    }
}

fn rule(like: ActionDeclaration) -> RuleDeclaration {
    RuleDeclaration {
        name: like.name,
        rule_type_id: RuleTypeId {
            category: RuleCategory::Rule,
            owner: Some(ActionOwner::AWS),
            provider: "VariableCheck".into(),
            version: Some("1".into()),
        },
        configuration: like.configuration,
        commands: None,
        input_artifacts: like.input_artifacts,
        role_arn: None,
        region: None,
        timeout_in_minutes: None,
    }
}

fn action(text: &str, is_source: bool) -> ActionDeclaration {
    let (text, configuration) = match text.split_once('{') {
        Some((text, rest)) => (text, rest.strip_suffix('}').and_then(|rest| rest.split_once(':'))),
        None => (text, None),
    };
    let marks: Vec<usize> =
        text.match_indices(['@', '<', '>', '=', '!']).map(|(at, _)| at).chain([text.len()]).collect();
    let category = if is_source { ActionCategory::Source } else { ActionCategory::Build };
    let mut action = ActionDeclaration {
        name: text[..marks[0]].into(),
        action_type_id: ActionTypeId {
            category,
            owner: ActionOwner::AWS,
            provider: "Demo".into(),
            version: "1".into(),
        },
        run_order: None,
        configuration: configuration.map(|(key, value)| BTreeMap::from([(key.to_owned(), value.to_owned())])),
        commands: None,
        output_artifacts: None,
        input_artifacts: None,
        output_variables: None,
        role_arn: None,
        region: None,
        namespace: None,
        timeout_in_minutes: None,
        environment_variables: None,
    };
    for mark in marks.windows(2) {
        let (kind, value) = (&text[mark[0]..=mark[0]], text[mark[0] + 1..mark[1]].to_owned());
        match kind {
            "@" => action.run_order = value.parse().ok(),
            "<" => action.input_artifacts.get_or_insert_default().push(InputArtifact { name: value }),
            ">" => action.output_artifacts.get_or_insert_default().push(OutputArtifact { name: value, files: None }),
            "=" => action.namespace = Some(value),
            _ => action.action_type_id.category = ActionCategory::Approval,
        }
    }
    action
}
