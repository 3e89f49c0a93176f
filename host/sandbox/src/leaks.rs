//! What an action gives on must not have a secret in it that its programs are given: its output artifacts, its variables, the
//! cases of its report.
//!
//! Owns where is looked. What a secret looks like is known to `masks`.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use pipewright_artifacts::files::MadeOutput;

use crate::abi::{Failure, FailureKind, Outcome, Report, TestCase};
use crate::call::CallFailure;
use crate::capabilities::caches::SavedCache;
use crate::capabilities::commands::SECRET_CHARS_MIN;
use crate::grants::{Grants, SecretGrant};
use crate::masks::Masks;
use crate::seam::{Level, Seam};

/// What is looked for: all that programs may be given. Shorter values are not given to any, and are in ordinary texts, too.
pub(crate) fn masks(grants: &Grants) -> Masks {
    let given = grants.secrets.values().filter(|grant| grant.is_for_programs()).flat_map(SecretGrant::values);
    Masks::of(given.filter(|value| value.chars().count() >= SECRET_CHARS_MIN))
}

/// What a call gives on, if there is no secret in what it made.
pub(crate) async fn without(
    result: Result<Outcome, CallFailure>,
    made: Vec<MadeOutput>,
    masks: Arc<Masks>,
    seam: &Seam,
) -> (Result<Outcome, CallFailure>, Vec<MadeOutput>) {
    if made.is_empty() || masks.is_empty() {
        return (result, made);
    }
    let looked = tokio::task::spawn_blocking(move || (of_outputs(&made, &masks), made)).await;
    let (found, made) = match looked {
        Ok((found, made)) => (found.map_err(anyhow::Error::from), made),
        Err(error) => (Err(error.into()), Vec::new()),
    };
    let result = match found {
        Ok(None) => result,
        Ok(Some(place)) => Err(failure(&place, seam)),
        Err(error) => Err(CallFailure::Host(error.context("looking for secrets in what the action made"))),
    };
    (result, made)
}

/// Of what is to be kept for later executions, that in which there is no secret; of the rest the log tells.
pub(crate) async fn of_caches(saved: Vec<SavedCache>, masks: Arc<Masks>, seam: &Seam) -> Vec<SavedCache> {
    if saved.is_empty() || masks.is_empty() {
        return saved;
    }
    let look = move || saved.into_iter().map(|cache| (below(&cache.directory, &masks), cache)).collect::<Vec<_>>();
    let looked = tokio::task::spawn_blocking(look).await.unwrap_or_default();
    let clean = looked.into_iter().filter_map(|(found, SavedCache { key, directory })| {
        let why = match found {
            Ok(None) => return Some(SavedCache { key, directory }),
            Ok(Some(path)) => format!("a secret that the action was granted is in {path}"),
            Err(error) => error.to_string(),
        };
        seam.log(Level::Warn, &format!("The cache `{key}` is not kept: {why}"));
        None
    });
    clean.collect()
}

pub(crate) fn failure(place: &str, seam: &Seam) -> CallFailure {
    let place = seam.masked(place);
    let message = format!(
        "a secret that the action was granted is in {place}: nothing of what the action made is kept; make it without the secret"
    );
    CallFailure::Plugin(Failure { kind: FailureKind::JobFailed, message })
}

/// Where in an answer one is, in words.
pub(crate) fn of_outcome(outcome: &Outcome, masks: &Masks) -> Option<String> {
    let in_report = |report: &Report| {
        let found =
            report.variables.iter().find(|it| masks.find(it.value.as_bytes()) || masks.find(it.name.as_bytes()));
        found.map(|variable| format!("the output variable {}", variable.name))
    };
    match outcome {
        Outcome::Fetched(fetched) => in_report(&fetched.report),
        Outcome::Built(report) | Outcome::Invoked(report) => in_report(report),
        Outcome::Tested(tested) => in_report(&tested.report).or_else(|| {
            let texts = |case: &TestCase| [Some(case.name.clone()), case.message.clone()];
            let mut texts = tested.cases.iter().flat_map(texts).flatten();
            texts.any(|text| masks.find(text.as_bytes())).then(|| "the report".to_owned())
        }),
        Outcome::Deployed(deployed) => in_report(&deployed.report),
        Outcome::Latest(_) | Outcome::Decided(_) | Outcome::Verdict(_) | Outcome::Waiting(_) => None,
    }
}

/// The same of what was made: in the content of a file, in the name of anything, or in where a link points. Blocks.
fn of_outputs(made: &[MadeOutput], masks: &Masks) -> io::Result<Option<String>> {
    for output in made {
        if let Some(path) = below(&output.directory, masks)? {
            return Ok(Some(format!("the output artifact {}, in {path}", output.name)));
        }
    }
    Ok(None)
}

fn below(top: &Path, masks: &Masks) -> io::Result<Option<String>> {
    let mut folders = VecDeque::from([top.to_owned()]);
    while let Some(folder) = folders.pop_front() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let is_found = masks.find(entry.file_name().as_encoded_bytes())
                || kind.is_symlink() && masks.find(fs::read_link(&path)?.as_os_str().as_encoded_bytes())
                || kind.is_file() && masks.find_in(&mut File::open(&path)?)?;
            if is_found {
                return Ok(Some(path.strip_prefix(top).unwrap_or(&path).display().to_string()));
            }
            if kind.is_dir() {
                folders.push_back(path);
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{NamedValue, Status, Tested};

    /// Of files a test goes over real builds (`tests/secrets.rs`).
    #[test]
    fn a_secret_is_found_wherever_an_answer_has_it() {
        const SECRET: &str = "correct horse";
        let masks = Masks::of([SECRET]);
        let report = |name: &str, value: &str| {
            let variables = vec![NamedValue { name: name.to_owned(), value: value.to_owned() }];
            Report { summary: Some(SECRET.to_owned()), external_id: None, variables, links: Vec::new() }
        };
        let tested = |name: &str, message: Option<&str>| {
            let message = message.map(str::to_owned);
            let case = TestCase { name: name.to_owned(), status: Status::Failed, message, place: None };
            Outcome::Tested(Tested { report: report("Key", "value"), cases: vec![case] })
        };
        let check = |outcome: &Outcome, place: Option<&str>| {
            assert_eq!(of_outcome(outcome, &masks).as_deref(), place, "{outcome:?}");
        };
        // A summary is only shown, and masked.
        check(&Outcome::Built(report("Key", "value")), None);
        check(&Outcome::Built(report("Key", "the correct horse")), Some("the output variable Key"));
        check(&Outcome::Invoked(report("Key", "636f727265637420686f727365")), Some("the output variable Key"));
        check(&tested("adds", Some("1 is not 2")), None);
        check(&tested("correct horse", None), Some("the report"));
        check(&tested("adds", Some("it was correct horse")), Some("the report"));
    }
}
