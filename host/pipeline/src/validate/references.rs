//! The rules about `#{namespace.key}` references (S80, S81).
//!
//! Owns one function for each row of `rules::RULES` that names it, and where references may stand. Must not know how they are
//! parsed (`crate::variables`).

use std::collections::{BTreeMap, BTreeSet};

use super::conditions;
use super::rules::{Sink, Subject, Turn};
use crate::declaration::ActionCategory;
use crate::variables::{
    BUILT_IN_NAMESPACE, EXECUTION_ID_KEY, PIPELINE_NAMESPACE, Part, Reference, TemplateError, parse,
};

/// A text that is resolved before an action or a rule runs.
struct Template<'a> {
    text: &'a str,
    path: String,
    stage: &'a str,
    /// the action or rule
    name: &'a str,
    /// the configuration key, or the member
    key: &'a str,
    turn: Turn,
    in_source: bool,
}

impl<'a> Template<'a> {
    /// AWS's way to name a place.
    fn place(&self, reference: &str) -> String {
        format!(
            "StageName=[{}], ActionName=[{}], ActionConfigurationKey=[{}], VariableReferenceText=[{reference}]",
            self.stage, self.name, self.key
        )
    }

    fn references(&self) -> impl Iterator<Item = Reference<'a>> + use<'a> {
        let parts = parse(self.text).unwrap_or_default().into_iter();
        parts.filter_map(|part| match part {
            Part::Reference(reference) => Some(reference),
            Part::Text(_) => None,
        })
    }
}

/// Everything that is resolved: configuration values, commands and environment values of actions, configuration values and
/// commands of rules.
fn templates<'a>(subject: &Subject<'a>) -> Vec<Template<'a>> {
    let mut templates = Vec::new();
    for at in subject.actions() {
        let (stage, name, turn) = (at.stage.name.as_str(), at.action.name.as_str(), at.turn());
        let in_source = at.action.action_type_id.category == ActionCategory::Source;
        let mut add = |key: &'a str, member: String, text: &'a str| {
            if text.contains("#{") {
                templates.push(Template { text, path: at.path(&member), stage, name, key, turn, in_source });
            }
        };
        for (key, value) in at.action.configuration.iter().flatten() {
            add(key, format!("configuration.{key}"), value);
        }
        for (index, command) in at.action.commands.iter().flatten().enumerate() {
            add("commands", format!("commands[{index}]"), command);
        }
        for (index, variable) in at.action.environment_variables.iter().flatten().enumerate() {
            add(&variable.name, format!("environmentVariables[{index}].value"), &variable.value);
        }
    }
    for at in conditions::rules(subject) {
        let (stage, name, turn) = (at.stage.name.as_str(), at.rule.name.as_str(), at.turn());
        let mut add = |key: &'a str, member: String, text: &'a str| {
            if text.contains("#{") {
                let path = at.path(&member);
                templates.push(Template { text, path, stage, name, key, turn, in_source: false });
            }
        };
        for (key, value) in at.rule.configuration.iter().flatten() {
            add(key, format!("configuration.{key}"), value);
        }
        for (index, command) in at.rule.commands.iter().flatten().enumerate() {
            add("commands", format!("commands[{index}]"), command);
        }
    }
    templates
}

fn variables<'a>(subject: &Subject<'a>) -> BTreeSet<&'a str> {
    subject.pipeline().variables.iter().flatten().map(|variable| variable.name.as_str()).collect()
}

pub(super) fn syntax(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for template in templates(subject) {
        let Err(error) = parse(template.text) else { continue };
        let text = match &error {
            TemplateError::Malformed { text } => text,
            _ => "#{",
        };
        let message = format!(
            "Valid format for a pipeline execution variable reference is a namespace and a key separated by a period (.). \
             The following pipeline execution variables do not have that format.\n{}",
            template.place(text)
        );
        sink.report(template.path, message, error.to_string());
    }
}

pub(super) fn not_in_sources(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for template in templates(subject).iter().filter(|template| template.in_source) {
        for reference in template.references().filter(|reference| reference.namespace == PIPELINE_NAMESPACE) {
            sink.report(
                &template.path,
                format!(
                    "Variables at the pipeline level cannot be used in source actions.\n{}",
                    template.place(reference.text)
                ),
                "write the value itself",
            );
        }
    }
}

/// In a pipeline that declares no variables at all, AWS misses the namespace instead: `namespace`.
pub(super) fn declared(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let variables = variables(subject);
    for template in templates(subject).iter().filter(|template| !variables.is_empty() && !template.in_source) {
        let references = template.references().filter(|reference| reference.namespace == PIPELINE_NAMESPACE);
        for reference in references.filter(|reference| !variables.contains(reference.key)) {
            sink.report(
                &template.path,
                format!("The referenced variables haven't been declared.\n{}", template.place(reference.text)),
                format!("declare `{}` in `variables`", reference.key),
            );
        }
    }
}

pub(super) fn built_in(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for template in templates(subject) {
        let references = template.references().filter(|reference| reference.namespace == BUILT_IN_NAMESPACE);
        for reference in references.filter(|reference| reference.key != EXECUTION_ID_KEY) {
            sink.report(
                &template.path,
                format!("There is no built-in variable of this name.\n{}", template.place(reference.text)),
                format!("the only one is `#{{{BUILT_IN_NAMESPACE}.{EXECUTION_ID_KEY}}}`"),
            );
        }
    }
}

/// The namespaces of actions, with the turn in which they get their values.
fn namespaces<'a>(subject: &Subject<'a>) -> BTreeMap<&'a str, Turn> {
    subject.actions().filter_map(|at| Some((at.action.namespace.as_deref()?, at.turn()))).collect()
}

pub(super) fn namespace(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let namespaces = namespaces(subject);
    let has_variables = !variables(subject).is_empty();
    for template in templates(subject) {
        for reference in template.references() {
            let exists = match reference.namespace {
                BUILT_IN_NAMESPACE => true,
                // In source actions they are refused as such: `not_in_sources`.
                PIPELINE_NAMESPACE => has_variables || template.in_source,
                namespace => namespaces.contains_key(namespace),
            };
            if !exists {
                sink.report(
                    &template.path,
                    format!(
                        "Valid format for a pipeline execution variable reference is a namespace and a key separated by a \
                         period (.). The following pipeline execution variables are referencing a namespace that does not \
                         exist.\n{}",
                        template.place(reference.text)
                    ),
                    match reference.namespace {
                        PIPELINE_NAMESPACE => format!("declare `{}` in `variables`", reference.key),
                        namespace => format!("add `\"namespace\": \"{namespace}\"` to the action that makes the variable"),
                    },
                );
            }
        }
    }
}

pub(super) fn order(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    let namespaces = namespaces(subject);
    for template in templates(subject) {
        for reference in template.references() {
            if namespaces.get(reference.namespace).is_some_and(|made| *made >= template.turn) {
                sink.report(
                    &template.path,
                    format!(
                        "The following pipeline execution variables are referencing a namespace of an action that does not \
                         run before.\n{}",
                        template.place(reference.text)
                    ),
                    "run the action that makes the variable in an earlier stage, or at a lower runOrder of this stage",
                );
            }
        }
    }
}
