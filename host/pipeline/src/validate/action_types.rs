//! The rules that an action's type makes: artifact counts, configuration keys and values, pipeline type (S16, S22).
//!
//! Owns one function for each row of `rules::RULES` that names it, and what two sources say of one type together: the plugin
//! that serves it, and AWS's own table. A type that neither knows is not judged.

use std::collections::BTreeSet;

use super::Context;
use super::rules::{At, Sink, Subject};
use super::structure::MAKE_V2;
use crate::action_type::{ArtifactCount, Optional, Property, aws, is_v2_only};
use crate::declaration::{ActionDeclaration, ActionOwner, ActionTypeId};

/// The whole configuration of an action (S112).
const CONFIGURATION_BYTES_MAX: usize = 100 * 1024;

/// What is known of the type of an action.
struct Wanted<'a> {
    inputs: ArtifactCount,
    outputs: ArtifactCount,
    required: BTreeSet<&'a str>,
    /// none: not all keys are known
    known: Option<BTreeSet<&'a str>>,
    properties: &'a [Property],
}

/// A plugin that serves one of AWS's types need not know all its keys: what AWS takes stays allowed, and required.
fn wanted<'a>(context: &Context<'a>, id: &ActionTypeId) -> Option<Wanted<'a>> {
    let (bound, aws) = (context.bound(id), aws(id));
    // The row for custom types says nothing that a plugin does not know better.
    let aws = aws.filter(|_| bound.is_none() || id.owner != ActionOwner::Custom);
    let counts = bound.map(|bound| (bound.inputs, bound.outputs)).or(aws.map(|aws| (aws.inputs, aws.outputs)));
    let (inputs, outputs) = counts?;
    let properties = bound.map(|bound| bound.properties.as_slice()).unwrap_or_default();
    let needs = properties.iter().filter(|property| property.required && property.default.is_none());
    let mut required: BTreeSet<&str> = needs.map(|property| property.name.as_str()).collect();
    let mut known: BTreeSet<&str> = properties.iter().map(|property| property.name.as_str()).collect();
    let mut open = false;
    if let Some(aws) = aws {
        required.extend(aws.required);
        known.extend(aws.required);
        match aws.optional {
            Optional::Known(keys) => known.extend(keys),
            Optional::Open => open = true,
        }
    }
    Some(Wanted { inputs, outputs, required, known: (!open).then_some(known), properties })
}

fn each<'a>(subject: &Subject<'a>) -> impl Iterator<Item = (At<'a>, Wanted<'a>)> {
    let context = *subject.context;
    subject.actions().filter_map(move |at| Some((at, wanted(&context, &at.action.action_type_id)?)))
}

pub(super) fn v2(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for at in subject.actions().filter(|at| subject.is_v1() && is_v2_only(&at.action.action_type_id)) {
        let provider = &at.action.action_type_id.provider;
        let message = format!("{provider} Action can only be used with V2 pipelines.");
        sink.report(at.path("actionTypeId"), message, MAKE_V2);
    }
}

pub(super) fn inputs_count(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (at, wanted) in each(subject) {
        count(&at, "input", at.action.inputs().count(), wanted.inputs, sink);
    }
}

pub(super) fn outputs_count(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (at, wanted) in each(subject) {
        count(&at, "output", at.action.outputs().count(), wanted.outputs, sink);
    }
}

fn count(at: &At<'_>, which: &str, declared: usize, allowed: ArtifactCount, sink: &mut Sink<'_>) {
    let (min, max) = (allowed.min as usize, allowed.max as usize);
    let (than, bound) = if declared < min {
        ("less than the minimum", min)
    } else if declared > max {
        ("more than the maximum", max)
    } else {
        return;
    };
    sink.report(
        at.path(&format!("{which}Artifacts")),
        format!("Action {} declares {declared} {which} artifacts which is {than} count ({bound})", at.action.name),
        if min == max { format!("declare {min}") } else { format!("declare {min} to {max}") },
    );
}

pub(super) fn required(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (at, wanted) in each(subject) {
        let configuration = at.action.configuration.as_ref();
        let has = |key: &str| configuration.is_some_and(|configuration| configuration.contains_key(key));
        let sometimes = SOMETIMES_REQUIRED.iter().filter(|row| {
            let id = &at.action.action_type_id;
            let takes_it = wanted.known.as_ref().is_some_and(|known| known.contains(row.key));
            takes_it && id.owner == ActionOwner::AWS && id.provider == row.provider && (row.when)(at.action)
        });
        for key in wanted.required.iter().copied().chain(sometimes.map(|row| row.key)).filter(|key| !has(key)) {
            sink.report(
                at.path("configuration"),
                format!(
                    "Action configuration for action '{}' is missing required configuration '{key}'",
                    at.action.name
                ),
                format!("add `{key}`"),
            );
        }
    }
}

/// A key of an AWS type that is required only sometimes (S16).
struct SometimesRequired {
    provider: &'static str,
    key: &'static str,
    when: fn(&ActionDeclaration) -> bool,
}

static SOMETIMES_REQUIRED: &[SometimesRequired] = &[
    SometimesRequired { provider: "CodeBuild", key: "PrimarySource", when: |action| action.inputs().count() > 1 },
    SometimesRequired {
        provider: "S3",
        key: "ObjectKey",
        when: |action| {
            let extract = action.configuration.as_ref().and_then(|configuration| configuration.get("Extract"));
            extract.is_some_and(|extract| extract.eq_ignore_ascii_case("false"))
        },
    },
];

pub(super) fn unknown(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (at, wanted) in each(subject) {
        let Some(known) = wanted.known else { continue };
        let keys = at.action.configuration.iter().flatten().map(|(key, _)| key.as_str());
        for key in keys.filter(|key| !known.contains(key)) {
            let mend = match known.len() {
                0 => "remove it: the type takes no configuration".to_owned(),
                _ => format!("remove it, or use one of {}", Vec::from_iter(known.iter().copied()).join(", ")),
            };
            sink.report(
                at.path(&format!("configuration.{key}")),
                format!("Action configuration for action '{}' contains unknown configuration '{key}'", at.action.name),
                mend,
            );
        }
    }
}

/// Values against the kinds and choices that a plugin declares; what has a reference is checked when it is resolved.
pub(super) fn values(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for (at, wanted) in each(subject) {
        let configuration = at.action.configuration.as_ref();
        for property in wanted.properties {
            let value = configuration.and_then(|configuration| configuration.get(&property.name));
            if let Some(mend) = value.filter(|value| !value.contains("#{")).and_then(|value| property.refuses(value)) {
                sink.report(
                    at.path(&format!("configuration.{}", property.name)),
                    format!(
                        "Action configuration for action '{}' has an invalid value for configuration '{}'",
                        at.action.name, property.name
                    ),
                    mend,
                );
            }
        }
    }
}

pub(super) fn size(subject: &Subject<'_>, sink: &mut Sink<'_>) {
    for at in subject.actions() {
        let bytes: usize = at.action.configuration.iter().flatten().map(|(key, value)| key.len() + value.len()).sum();
        if bytes > CONFIGURATION_BYTES_MAX {
            sink.report(
                at.path("configuration"),
                format!("Action configuration for action '{}' has {bytes} bytes", at.action.name),
                format!("keep it under {CONFIGURATION_BYTES_MAX} bytes: put large values into an artifact"),
            );
        }
    }
}
