//! Whether a plugin's answer keeps to the limits of the ABI. What is too large is refused and not cut, since half of a
//! result would be a wrong one; only messages for a person are cut.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::abi::{Failure, Outcome, Report, Request, Wait, Wake};
use crate::description::is_variable_name;
use crate::limits::{
    CASES_MAX, CONTINUATION_BYTES_MAX, LINKS_MAX, MESSAGE_BYTES_MAX, SUMMARY_BYTES_MAX, TARGETS_MAX,
    VARIABLES_BYTES_MAX,
};
use crate::seam::Seam;

/// The first thing that is wrong with it.
pub(crate) fn check(outcome: &mut Outcome) -> Result<(), String> {
    match outcome {
        Outcome::Latest(None) => Ok(()),
        Outcome::Latest(Some(revision)) => check_revision(revision),
        Outcome::Fetched(fetched) => {
            fetched.revision.as_ref().map_or(Ok(()), check_revision)?;
            check_report(&fetched.report)
        }
        Outcome::Built(report) | Outcome::Invoked(report) => check_report(report),
        Outcome::Tested(tested) => {
            at_most("test cases", tested.cases.len(), CASES_MAX)?;
            for case in &mut tested.cases {
                text("the name of a test case", &case.name, SUMMARY_BYTES_MAX)?;
                if let Some(place) = &case.place {
                    text("the file of a test case", &place.file, SUMMARY_BYTES_MAX)?;
                }
                if let Some(message) = &mut case.message {
                    cut(message);
                }
            }
            check_report(&tested.report)
        }
        Outcome::Deployed(deployed) => {
            at_most("targets", deployed.targets.len(), TARGETS_MAX)?;
            for target in &deployed.targets {
                text("the id of a target", &target.id, SUMMARY_BYTES_MAX)?;
                text("the kind of a target", &target.kind, SUMMARY_BYTES_MAX)?;
                text("the URL of a target", target.url.as_deref().unwrap_or_default(), SUMMARY_BYTES_MAX)?;
            }
            check_report(&deployed.report)
        }
        Outcome::Decided(decision) => {
            text("the summary", decision.summary.as_deref().unwrap_or_default(), SUMMARY_BYTES_MAX)
        }
        Outcome::Verdict(verdict) => {
            verdict.reason.as_mut().map(cut);
            Ok(())
        }
        Outcome::Waiting(wait) => check_wait(wait),
    }
}

/// The message for a person, cut to its limit.
pub(crate) fn checked(mut failure: Failure) -> Failure {
    cut(&mut failure.message);
    failure
}

/// The answer without secret values in its texts: it is shown, and passed on to other actions.
pub(crate) fn masked(outcome: Outcome, seam: &Seam) -> Outcome {
    masked_texts(outcome, seam)
}

/// Also without those in what a waiting action keeps for itself.
pub(crate) fn masked_whole(outcome: Outcome, seam: &Seam) -> Outcome {
    let mut outcome = masked_texts(outcome, seam);
    if let Outcome::Waiting(wait) = &mut outcome {
        mask_bytes(&mut wait.continuation, seam);
    }
    outcome
}

pub(crate) fn masked_request(request: Request, seam: &Seam) -> Request {
    let mut request = masked_texts(request, seam);
    if let Some(resumed) = &mut request.resumed {
        mask_bytes(&mut resumed.continuation, seam);
        if let Wake::Signal(signal) = &mut resumed.wake {
            mask_bytes(&mut signal.payload, seam);
        }
    }
    request
}

fn mask_bytes(bytes: &mut Vec<u8>, seam: &Seam) {
    if let Cow::Owned(masked) = seam.masks().bytes(bytes) {
        *bytes = masked;
    }
}

/// By way of the serialized form, so that no text can be forgotten.
fn masked_texts<T: Serialize + DeserializeOwned>(told: T, seam: &Seam) -> T {
    if seam.masks().is_empty() {
        return told;
    }
    let masked = serde_json::to_value(&told).map(|value| seam.masks().texts(&value));
    masked.and_then(serde_json::from_value).unwrap_or(told)
}

fn check_revision(revision: &crate::abi::Revision) -> Result<(), String> {
    text("the id of the revision", &revision.id, SUMMARY_BYTES_MAX)?;
    if revision.id.is_empty() {
        return Err("the id of the revision is empty".to_owned());
    }
    text("the summary of the revision", revision.summary.as_deref().unwrap_or_default(), SUMMARY_BYTES_MAX)?;
    text("the URL of the revision", revision.url.as_deref().unwrap_or_default(), SUMMARY_BYTES_MAX)
}

fn check_report(report: &Report) -> Result<(), String> {
    text("the summary", report.summary.as_deref().unwrap_or_default(), SUMMARY_BYTES_MAX)?;
    text("the external id", report.external_id.as_deref().unwrap_or_default(), SUMMARY_BYTES_MAX)?;
    let bytes = report.variables.iter().map(|variable| variable.name.len() + variable.value.len()).sum();
    at_most("bytes of output variables", bytes, VARIABLES_BYTES_MAX)?;
    let mut names = std::collections::BTreeSet::new();
    for variable in &report.variables {
        if !is_variable_name(&variable.name) {
            return Err(format!("the output variable {:?} is not named as variables are", variable.name));
        }
        if !names.insert(&variable.name) {
            return Err(format!("the output variable {:?} is there twice", variable.name));
        }
    }
    at_most("links", report.links.len(), LINKS_MAX)?;
    for link in &report.links {
        text("the title of a link", &link.title, SUMMARY_BYTES_MAX)?;
        text("the URL of a link", &link.url, SUMMARY_BYTES_MAX)?;
    }
    Ok(())
}

fn check_wait(wait: &Wait) -> Result<(), String> {
    if wait.until.is_none() && wait.signal.is_none() {
        return Err("it waits for nothing: neither for a time nor for a signal".to_owned());
    }
    text("the kind of the signal", wait.signal.as_deref().unwrap_or_default(), SUMMARY_BYTES_MAX)?;
    text("the summary", wait.summary.as_deref().unwrap_or_default(), SUMMARY_BYTES_MAX)?;
    at_most("bytes of continuation", wait.continuation.len(), CONTINUATION_BYTES_MAX)
}

fn text(what: &str, text: &str, max: usize) -> Result<(), String> {
    if text.len() > max {
        return Err(format!("{what} has {} bytes; at most {max} are allowed", text.len()));
    }
    Ok(())
}

fn at_most(what: &str, count: usize, max: usize) -> Result<(), String> {
    if count > max {
        return Err(format!("{count} {what}; at most {max} are allowed"));
    }
    Ok(())
}

fn cut(message: &mut String) {
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
}
