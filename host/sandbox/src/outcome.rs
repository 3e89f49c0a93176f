//! Whether a plugin's answer keeps to the limits of the ABI. What has a meaning is refused where it is too large, since half
//! of it would be a wrong one; what is only to be shown is cut at characters, and is no reason to fail.

use std::borrow::Cow;

use pipewright_text::{cut_bytes, cut_chars, is_printable, is_web_url, printable, quoted};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::abi::{Failure, Link, Outcome, Report, Request, Revision, Wait, Wake};
use crate::description::is_variable_name;
use crate::limits::{
    CASES_MAX, CONTINUATION_BYTES_MAX, ID_CHARS_MAX, LINKS_MAX, MESSAGE_BYTES_MAX, SIGNAL_BYTES_MAX, SUMMARY_CHARS_MAX,
    TARGETS_MAX, VARIABLES_BYTES_MAX,
};
use crate::seam::{Level, Seam};

/// Cuts what is to be shown, and gives the first thing that is wrong with the rest. The answer is masked already: a cut could
/// go through a secret.
/// `has_started` a program, for whose end it waits.
pub(crate) fn check(outcome: &mut Outcome, seam: &Seam, has_started: bool) -> Result<(), String> {
    if has_started && !matches!(outcome, Outcome::Waiting(_)) {
        return Err("it started a program, and does not wait for its end".to_owned());
    }
    match outcome {
        Outcome::Latest(None) => Ok(()),
        Outcome::Latest(Some(revision)) => check_revision(revision, seam),
        Outcome::Fetched(fetched) => {
            fetched.revision.as_mut().map_or(Ok(()), |revision| check_revision(revision, seam))?;
            check_report(&mut fetched.report, seam)
        }
        Outcome::Built(report) | Outcome::Invoked(report) => check_report(report, seam),
        Outcome::Tested(tested) => {
            at_most("test cases", tested.cases.len(), CASES_MAX)?;
            for case in &mut tested.cases {
                show_line(&mut case.name, SUMMARY_CHARS_MAX);
                if let Some(place) = &mut case.place {
                    show_line(&mut place.file, SUMMARY_CHARS_MAX);
                }
                if let Some(message) = &mut case.message {
                    cut_bytes(message, MESSAGE_BYTES_MAX);
                }
            }
            check_report(&mut tested.report, seam)
        }
        Outcome::Deployed(deployed) => {
            at_most("targets", deployed.targets.len(), TARGETS_MAX)?;
            for target in &mut deployed.targets {
                show_line(&mut target.id, SUMMARY_CHARS_MAX);
                show_line(&mut target.kind, SUMMARY_CHARS_MAX);
                check_url(&mut target.url, seam);
            }
            check_report(&mut deployed.report, seam)
        }
        Outcome::Decided(decision) => {
            show(&mut decision.summary);
            Ok(())
        }
        Outcome::Verdict(verdict) => {
            if let Some(reason) = &mut verdict.reason {
                cut_bytes(reason, MESSAGE_BYTES_MAX);
            }
            Ok(())
        }
        Outcome::Waiting(wait) => check_wait(wait, has_started),
    }
}

/// The message for a person, cut to its limit.
pub(crate) fn checked(mut failure: Failure) -> Failure {
    cut_bytes(&mut failure.message, MESSAGE_BYTES_MAX);
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
pub(crate) fn masked_texts<T: Serialize + DeserializeOwned>(told: T, seam: &Seam) -> T {
    if seam.masks().is_empty() {
        return told;
    }
    let masked = serde_json::to_value(&told).map(|value| seam.masks().texts(&value));
    masked.and_then(serde_json::from_value).unwrap_or(told)
}

fn check_revision(revision: &mut Revision, seam: &Seam) -> Result<(), String> {
    at_most("characters in the id of the revision", revision.id.chars().count(), ID_CHARS_MAX)?;
    if revision.id.is_empty() {
        return Err("the id of the revision is empty".to_owned());
    }
    if !revision.id.chars().all(is_printable) {
        return Err("the id of the revision has characters in it that cannot be printed".to_owned());
    }
    show(&mut revision.summary);
    check_url(&mut revision.url, seam);
    Ok(())
}

fn check_report(report: &mut Report, seam: &Seam) -> Result<(), String> {
    show(&mut report.summary);
    if let Some(id) = &mut report.external_id {
        show_line(id, ID_CHARS_MAX);
    }
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
    report.links.truncate(LINKS_MAX);
    report.links.retain(|Link { url, .. }| is_link(url, seam));
    report.links.iter_mut().for_each(|link| show_line(&mut link.title, SUMMARY_CHARS_MAX));
    Ok(())
}

fn check_wait(wait: &mut Wait, has_started: bool) -> Result<(), String> {
    if !has_started && wait.until.is_none() && wait.signal.is_none() {
        return Err("it waits for nothing: neither for a time nor for a signal".to_owned());
    }
    at_most("bytes in the kind of the signal", wait.signal.as_ref().map_or(0, String::len), SIGNAL_BYTES_MAX)?;
    show(&mut wait.summary);
    at_most("bytes of continuation", wait.continuation.len(), CONTINUATION_BYTES_MAX)
}

/// A text for a person; it may have several lines.
fn show(summary: &mut Option<String>) {
    if let Some(summary) = summary {
        cut_chars(summary, SUMMARY_CHARS_MAX);
    }
}

/// The same of one line.
fn show_line(text: &mut String, chars_max: usize) {
    cut_chars(text, chars_max);
    if let Cow::Owned(line) = printable(text) {
        *text = line;
    }
}

fn check_url(url: &mut Option<String>, seam: &Seam) {
    if url.as_ref().is_some_and(|url| !is_link(url, seam)) {
        *url = None;
    }
}

/// Whoever looks at a pipeline may follow a link: one that is not on the web is left out, and so is one that would have to be
/// cut, for it would lead somewhere else.
fn is_link(url: &str, seam: &Seam) -> bool {
    let is_link = is_web_url(url) && url.chars().nth(SUMMARY_CHARS_MAX).is_none();
    if !is_link {
        let wanted = format!("it is no address like https://example.com/x of at most {SUMMARY_CHARS_MAX} characters");
        seam.log_masked(Level::Warn, &format!("the link {} is left out: {wanted}", quoted(url, 100)));
    }
    is_link
}

fn at_most(what: &str, count: usize, max: usize) -> Result<(), String> {
    if count > max {
        return Err(format!("{count} {what}; at most {max} are allowed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::masks::Masks;
    use crate::outside::Outside;
    use crate::rights::Asks;
    use crate::seam::Journal;

    fn report(change: impl FnOnce(&mut Report)) -> Report {
        let mut report = Report { summary: None, external_id: None, variables: Vec::new(), links: Vec::new() };
        change(&mut report);
        report
    }

    /// What is checked, and what the log says to it.
    fn checked(mut outcome: Outcome) -> (Result<(), String>, Outcome, Vec<String>) {
        let journal = Arc::new(Journal::default());
        let sink: Arc<dyn crate::seam::Sink> = journal.clone();
        let seam = Seam::new("guest/x", "S/A", sink, Masks::default(), Asks::default(), Outside::Live);
        let result = check(&mut outcome, &seam, false);
        let lines = journal.lines.lock().unwrap().clone();
        (result, outcome, lines)
    }

    #[test]
    fn what_is_to_be_shown_is_cut_and_no_reason_to_fail() {
        let check = |told: &str, shown: &str, line: &str, id: &str| {
            let given = report(|it| {
                it.summary = Some(told.to_owned());
                it.external_id = Some(told.to_owned());
                let link = Link { title: told.to_owned(), url: "https://example.com/".to_owned() };
                it.links = vec![link; LINKS_MAX + 1];
            });
            let (result, outcome, log) = checked(Outcome::Built(given));
            let Outcome::Built(report) = outcome else { panic!("{outcome:?}") };
            assert_eq!((result, log), (Ok(()), Vec::new()));
            assert_eq!((report.summary.as_deref(), report.external_id.as_deref()), (Some(shown), Some(id)));
            assert_eq!((report.links.len(), &*report.links[0].title), (LINKS_MAX, line));
        };
        check("all\r\nis well", "all\r\nis well", "all  is well", "all  is well");
        let (long, id) = ("語".repeat(SUMMARY_CHARS_MAX), "語".repeat(ID_CHARS_MAX));
        check(&long, &long, &long, &id);
        check(&format!("{long}語"), &long, &long, &id);
    }

    #[test]
    fn links_lead_to_the_web_or_are_left_out() {
        let long = format!("https://example.com/{}", "x".repeat(SUMMARY_CHARS_MAX));
        let urls = ["javascript:alert(1)", "https://example.com/1", &long, "https://example.com/\r\nX: y"];
        let given = report(|it| it.links = urls.map(|url| Link { title: String::new(), url: url.to_owned() }).to_vec());
        let (result, outcome, log) = checked(Outcome::Invoked(given));
        let Outcome::Invoked(report) = outcome else { panic!("{outcome:?}") };
        assert_eq!((result, report.links.len(), &*report.links[0].url), (Ok(()), 1, urls[1]));
        assert_eq!(log.len(), 3);
        assert!(log[0].starts_with("the link \"javascript:alert(1)\" is left out: it is no address like"), "{log:?}");
        assert!(log.iter().all(|line| !line.contains(['\r', '\n'])), "{log:?}");
    }

    #[test]
    fn what_has_a_meaning_is_refused() {
        let revision = |id: &str| {
            let url = Some("data:text/html,x".to_owned());
            Outcome::Latest(Some(Revision { id: id.to_owned(), summary: None, url, created: None }))
        };
        let refused = |outcome: Outcome, wanted: &str| assert_eq!(checked(outcome).0, Err(wanted.to_owned()));
        refused(revision(""), "the id of the revision is empty");
        refused(revision("a\nb"), "the id of the revision has characters in it that cannot be printed");
        let long = "é".repeat(ID_CHARS_MAX + 1);
        refused(revision(&long), "1501 characters in the id of the revision; at most 1500 are allowed");
        let (result, outcome, _) = checked(revision(&long[..2 * ID_CHARS_MAX]));
        assert!(matches!(outcome, Outcome::Latest(Some(Revision { url: None, .. }))), "{outcome:?}");
        assert_eq!(result, Ok(()));
    }
}
