//! How much of what its actions returned an execution keeps, so that its archived form has a bound whatever they return.
//!
//! Owns the limits. What is only to be read is cut or dropped, and is whole in the event; what has a meaning is refused.

use super::execution::{ActionRun, Execution};
use super::ids::Place;
use super::report::{Revision, Told, Variables};

/// All output variables of one action (contract §6); more fail it.
pub const OUTPUT_VARIABLES_BYTES_MAX: usize = 122_880;
/// All output variables that an execution keeps, as JSON; more fail the action. Stops a chain of actions with the largest
/// variables from making an execution that cannot be stored.
pub const EXECUTION_VARIABLES_BYTES_MAX: usize = 256 * 1024;
/// All summaries, messages, links and details that an execution keeps, as JSON; beyond it, they are in the events alone.
pub const EXECUTION_TEXT_BYTES_MAX: usize = 128 * 1024;
/// A failure's message is cut here, so that a plugin cannot fill the history with it.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// A summary or a URL is cut here (ExecutionSummary and Url, contract appendix A).
pub const SUMMARY_BYTES_MAX: usize = 2048;
/// An external execution id or a revision id is cut here (ExecutionId and Revision, contract appendix A).
pub const EXTERNAL_ID_BYTES_MAX: usize = 1500;
/// Links beyond these are dropped, as a page of them helps nobody.
pub const LINKS_COUNT_MAX: usize = 20;
/// Details larger than this, as JSON, are dropped: they are meant to be counts and a few targets.
pub const DETAILS_BYTES_MAX: usize = 16 * 1024;

/// What is wrong with keeping these output variables.
pub(super) fn objection(execution: &Execution, variables: &Variables, are_kept: bool) -> Option<String> {
    let bytes: usize = variables.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > OUTPUT_VARIABLES_BYTES_MAX {
        return Some(format!(
            "The output variables have {bytes} bytes, which is more than {OUTPUT_VARIABLES_BYTES_MAX}"
        ));
    }
    let kept = execution.actions.values().map(|run| json_bytes(&run.variables)).sum::<usize>();
    (are_kept && kept + json_bytes(variables) > EXECUTION_VARIABLES_BYTES_MAX).then(|| {
        format!("The output variables of all actions together are more than {EXECUTION_VARIABLES_BYTES_MAX} bytes")
    })
}

/// Drops what is only to be read of a run that ended, where the execution keeps enough of that already.
pub(super) fn trim(execution: &Execution, place: Place, run: &mut ActionRun) {
    let others = execution.actions.iter().filter(|(other, _)| **other != place);
    let kept = others.map(|(_, run)| text_bytes(run)).sum::<usize>();
    if kept + text_bytes(run) > EXECUTION_TEXT_BYTES_MAX {
        run.told = Told::default();
        if let Some(error) = &mut run.error {
            error.message.clear();
        }
        if let Some(revision) = &mut run.revision {
            revision.summary = None;
            revision.url = None;
        }
    }
}

fn json_bytes(variables: &Variables) -> usize {
    variables.iter().map(|(key, value)| text_json_bytes(key) + text_json_bytes(value) + ",:".len()).sum()
}

fn text_bytes(run: &ActionRun) -> usize {
    let told = &run.told;
    let revision = run.revision.iter().flat_map(|revision| [&revision.summary, &revision.url]);
    let optional = [&told.summary, &told.external_id].into_iter().chain(revision).flatten();
    let links = told.links.iter().flat_map(|link| [&link.title, &link.url]);
    let texts = optional.chain(links).chain(run.error.iter().map(|error| &error.message));
    texts.map(|text| text_json_bytes(text)).sum::<usize>() + details_bytes(told)
}

/// At most what a text takes in JSON: quotes, and up to six bytes for a byte that is escaped.
fn text_json_bytes(text: &str) -> usize {
    let escaped = text.bytes().filter(|byte| *byte < b' ' || matches!(byte, b'"' | b'\\')).count();
    text.len() + 5 * escaped + 2
}

fn details_bytes(told: &Told) -> usize {
    if told.details.is_empty() {
        0
    } else {
        serde_json::to_string(&told.details).map_or(usize::MAX / 2, |json| json.len())
    }
}

impl Told {
    /// Cuts each member to its limit.
    pub(super) fn clamp(&mut self) {
        cut(&mut self.summary, SUMMARY_BYTES_MAX);
        cut(&mut self.external_id, EXTERNAL_ID_BYTES_MAX);
        self.links.truncate(LINKS_COUNT_MAX);
        for link in &mut self.links {
            truncate(&mut link.title, SUMMARY_BYTES_MAX);
            truncate(&mut link.url, SUMMARY_BYTES_MAX);
        }
        if details_bytes(self) > DETAILS_BYTES_MAX {
            self.details.clear();
        }
    }
}

impl Revision {
    /// Cuts each member to its limit.
    pub(super) fn clamp(&mut self) {
        truncate(&mut self.id, EXTERNAL_ID_BYTES_MAX);
        cut(&mut self.summary, SUMMARY_BYTES_MAX);
        cut(&mut self.url, SUMMARY_BYTES_MAX);
    }
}

pub(super) fn cut(text: &mut Option<String>, bytes_max: usize) {
    if let Some(text) = text {
        truncate(text, bytes_max);
    }
}

pub(super) fn truncate(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}
