//! Variables (S80 to S83): the `#{namespace.key}` syntax, its resolution, and the values of pipeline-level variables.
//!
//! Owns the one parser that validation and resolution share, and what a value becomes in the text around it. Must not know where a value comes from (the caller's lookup).

use std::borrow::Cow;
use std::collections::BTreeMap;

use pipewright_text::{Hole, holes};
use serde::de::IgnoredAny;

use crate::declaration::PipelineDeclaration;

/// What one template may grow to when it is resolved (S112). Stops a short
/// template that names one large variable many times.
pub const RESOLVED_BYTES_MAX: usize = 100 * 1024;

/// The namespace of pipeline-level variables; no action may take it.
pub const PIPELINE_NAMESPACE: &str = "variables";
/// The namespace of the built-in variables; no action may take it.
pub const BUILT_IN_NAMESPACE: &str = "codepipeline";
/// The only built-in variable: `#{codepipeline.PipelineExecutionId}`.
pub const EXECUTION_ID_KEY: &str = "PipelineExecutionId";

/// A piece of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    Text(&'a str),
    Reference(Reference<'a>),
}

/// One `#{namespace.key}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    pub namespace: &'a str,
    pub key: &'a str,
    /// what stands between the braces
    pub text: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("`#{{` at byte {at} has no closing `}}`: close the reference, as in `#{{namespace.key}}`")]
    Unclosed { at: usize },
    #[error("`#{{{text}}}` is not a namespace and a key separated by a period: write `#{{namespace.key}}`")]
    Malformed { text: String },
    #[error(
        "nothing gives `#{{{text}}}` a value: check the namespace, the key, and that the action that makes it has run"
    )]
    Unknown { text: String },
    #[error("the resolved value is larger than {RESOLVED_BYTES_MAX} bytes: use smaller variables, or an artifact")]
    TooLarge,
    #[error(
        "`#{{{text}}}` stands for a whole JSON value here, and what it has is not one: put it between quotes, to take it as text"
    )]
    NotJson { text: String },
}

/// Splits a template into text and references.
pub fn parse(template: &str) -> Result<Vec<Part<'_>>, TemplateError> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some(start) = rest.find("#{") {
        if start > 0 {
            parts.push(Part::Text(&rest[..start]));
        }
        let body = &rest[start + 2..];
        let end = body.find('}').ok_or(TemplateError::Unclosed { at: template.len() - rest.len() + start })?;
        parts.push(Part::Reference(reference(&body[..end])?));
        rest = &body[end + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

fn reference(text: &str) -> Result<Reference<'_>, TemplateError> {
    let is_namespace = |c: char| c.is_ascii_alphanumeric() || "@-_".contains(c);
    match text.split_once('.') {
        Some((namespace, key))
            if !namespace.is_empty()
                && namespace.chars().all(is_namespace)
                && !key.is_empty()
                && !key.contains(|c: char| c == '{' || c.is_whitespace()) =>
        {
            Ok(Reference { namespace, key, text })
        }
        _ => Err(TemplateError::Malformed { text: text.to_owned() }),
    }
}

/// Puts the value of every reference in its place. Values are taken as they are: what looks like a reference inside of one
/// stays text.
pub fn resolve<'v>(
    template: &str,
    lookup: impl Fn(&Reference<'_>) -> Option<&'v str>,
) -> Result<String, TemplateError> {
    fill(&parse(template)?, None, lookup)
}

/// The same for a setting. In JSON, a value stays the one value that it stands for: within a string it is escaped, and anywhere
/// else it is JSON itself.
pub fn resolve_setting<'v>(
    template: &str,
    lookup: impl Fn(&Reference<'_>) -> Option<&'v str>,
) -> Result<String, TemplateError> {
    let parts = parse(template)?;
    let holes = json_holes(&parts);
    fill(&parts, holes, lookup)
}

fn fill<'v>(
    parts: &[Part<'_>],
    holes: Option<Vec<Hole>>,
    lookup: impl Fn(&Reference<'_>) -> Option<&'v str>,
) -> Result<String, TemplateError> {
    let mut resolved = String::new();
    let mut holes = holes.into_iter().flatten();
    for part in parts {
        let text = match part {
            Part::Text(text) => Cow::Borrowed(*text),
            Part::Reference(reference) => {
                let unknown = || TemplateError::Unknown { text: reference.text.to_owned() };
                let value = lookup(reference).ok_or_else(unknown)?;
                match holes.next() {
                    Some(Hole::InString) => Cow::Owned(in_json_string(value)),
                    Some(Hole::Value) if !is_json(value) => {
                        return Err(TemplateError::NotJson { text: reference.text.to_owned() });
                    }
                    Some(Hole::Value) | None => Cow::Borrowed(value),
                }
            }
        };
        if resolved.len() + text.len() > RESOLVED_BYTES_MAX {
            return Err(TemplateError::TooLarge);
        }
        resolved.push_str(&text);
    }
    Ok(resolved)
}

/// Where in a JSON array or object the references stand; none where the template is something else.
fn json_holes(parts: &[Part<'_>]) -> Option<Vec<Hole>> {
    let mut pieces = vec![String::new()];
    for part in parts {
        match part {
            Part::Text(text) => pieces.last_mut()?.push_str(text),
            Part::Reference(_) => pieces.push(String::new()),
        }
    }
    let holes = holes(pieces.iter().map(String::as_str));
    let filled = |hole: &Hole| if *hole == Hole::Value { "null" } else { "" };
    let fillings = holes.iter().map(filled).chain([""]);
    let whole: String = pieces.iter().zip(fillings).flat_map(|(piece, filling)| [piece, filling]).collect();
    (whole.trim_start().starts_with(['[', '{']) && is_json(&whole)).then_some(holes)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

fn in_json_string(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Why an execution cannot get its pipeline-level variables; the words are CodePipeline's (S82, S83).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VariablesError {
    #[error("Values for required variables haven't been provided: {}", .names.join(","))]
    Missing { names: Vec<String> },
    #[error("Variable names must be unique. The following variable name is already in use: {name}")]
    Duplicate { name: String },
}

/// The pipeline-level variables of an execution: what it was started with, else the declared default. Names that the
/// pipeline does not declare are ignored; one given twice is refused.
pub fn pipeline_variables(
    declaration: &PipelineDeclaration,
    overrides: &[(String, String)],
) -> Result<BTreeMap<String, String>, VariablesError> {
    let mut given = BTreeMap::new();
    for (name, value) in overrides {
        if given.insert(name, value).is_some() {
            return Err(VariablesError::Duplicate { name: name.clone() });
        }
    }
    let mut values = BTreeMap::new();
    let mut missing = Vec::new();
    for variable in declaration.variables.iter().flatten() {
        match given.get(&variable.name).copied().or(variable.default_value.as_ref()) {
            Some(value) => drop(values.insert(variable.name.clone(), value.clone())),
            None => missing.push(variable.name.clone()),
        }
    }
    if missing.is_empty() { Ok(values) } else { Err(VariablesError::Missing { names: missing }) }
}

#[cfg(test)]
mod tests;
