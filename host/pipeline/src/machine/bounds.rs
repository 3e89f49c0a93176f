//! How much an execution, and all of a pipeline's together, can hold: so much that no part of the state, no archived
//! execution and no step ever outgrows what a store takes, whatever users and plugins send.
//!
//! Owns the limits. What is only to be read is cut or dropped, and what has a meaning is refused. Bytes are those of JSON,
//! in which a control character takes six; limits that CodePipeline gives in characters are counted in characters.

use std::sync::Arc;

use pipewright_text::cut_chars;

use crate::declaration::PipelineDeclaration;

use super::address::Address;
use super::declared;
use super::execution::{ActionRun, Execution, Start};
use super::report::{ExecutionDetails, Revision, Variables};

/// What the store takes as one value, and as one commit.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
pub const COMMIT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A declaration; a larger one is refused when the pipeline is made.
pub const DECLARATION_BYTES_MAX: usize = 1_000_000;
/// The names and digests of all output artifacts of a pipeline; more are refused when the pipeline is made.
pub const ARTIFACTS_BYTES_MAX: usize = 128 * 1024;
/// A digest of an artifact, as text.
pub const DIGEST_BYTES_MAX: usize = 80;
/// The variables and source revisions of a start; more are refused.
pub const START_BYTES_MAX: usize = 160 * 1024;
/// What a start pins: the digest of a plugin for each of 500 actions with the longest names.
pub const PINS_BYTES_MAX: usize = 160 * 1024;
/// All output variables of one action, in bytes of their text, as CodePipeline has it; more fail it.
pub const OUTPUT_VARIABLES_BYTES_MAX: usize = 122_880;
/// All output variables and revision ids that an execution keeps; more fail the action. Stops a chain of actions with the
/// largest variables from making an execution that cannot be stored.
pub const EXECUTION_VARIABLES_BYTES_MAX: usize = 256 * 1024;
/// All summaries, messages, links, details and decisions that an execution keeps; beyond it, they are in the events alone.
pub const EXECUTION_TEXT_BYTES_MAX: usize = 64 * 1024;
/// As much as an execution tells at most, whatever its pipeline.
pub const TELLING_BYTES_MAX: usize = EXECUTION_VARIABLES_BYTES_MAX + EXECUTION_TEXT_BYTES_MAX;
/// What an action run takes besides all of these.
const RUN_BYTES_MAX: usize = 450;
/// What a step writes around a part or an event: its key, and its row in the index.
const ENTRY_BYTES_MAX: usize = 400;
/// The event that ends an action.
const EVENT_BYTES_MAX: usize = 700;
/// A stage that an execution entered, with its conditions.
const STAGE_BYTES_MAX: usize = 600;
/// The actions of a pipeline and the rules of all its conditions; more are refused when the pipeline is made. As many as
/// CodePipeline takes of actions alone.
pub const RUNS_COUNT_MAX: usize = 500;
/// What an execution takes besides its start, its stages and its runs: the words of who stopped it, and the events of its end.
const PROGRESS_BYTES_MAX: usize = 9 * 1024;
/// What the executions in progress can come to altogether, for an update or a deletion ends all of them in one step, which also
/// writes a declaration. Stops a pipeline full of large executions from being one that can be neither updated nor deleted.
pub const LIVE_BYTES_MAX: usize = COMMIT_BYTES_MAX - 4 * 1024 * 1024;

/// A failure's message is cut here, so that a plugin cannot fill the history with it.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// What an action tells to be read, without its message; links beyond it are dropped.
pub const TOLD_BYTES_MAX: usize = 64 * 1024;
/// Links beyond these are dropped, as a page of them helps nobody.
pub const LINKS_COUNT_MAX: usize = 20;
/// Details larger than this are dropped: they are meant to be counts and a few targets.
pub const DETAILS_BYTES_MAX: usize = 16 * 1024;
/// Where a summary or a URL is cut: CodePipeline's ExecutionSummary and Url.
pub const SUMMARY_CHARS_MAX: usize = 2048;
/// Where an external execution id or a revision id is cut: CodePipeline's ExecutionId and Revision.
pub const EXTERNAL_ID_CHARS_MAX: usize = 1500;
/// Where the id of a change is cut: CodePipeline's RevisionChangeIdentifier.
pub const CHANGE_ID_CHARS_MAX: usize = 100;
/// Where a reviewer's words are cut: CodePipeline's ApprovalSummary.
pub const APPROVAL_SUMMARY_CHARS_MAX: usize = 512;
/// Where the reason of a stop is cut: CodePipeline's StopPipelineExecutionReason.
pub const STOP_REASON_CHARS_MAX: usize = 200;
/// Where the reason of a disabled transition is cut: CodePipeline's DisabledReason.
pub const TRANSITION_REASON_CHARS_MAX: usize = 300;
/// Where a trigger's detail is cut: CodePipeline's TriggerDetail.
pub const TRIGGER_DETAIL_CHARS_MAX: usize = 1024;
/// Where the name of who asked for something is cut.
pub const CALLER_CHARS_MAX: usize = 512;

/// What is wrong with what a start would keep.
pub(super) fn start_objection(start: &Start) -> Option<String> {
    let revisions = start
        .source_revisions
        .iter()
        .map(|revision| text_bytes(&revision.action_name) + text_bytes(&revision.revision_value) + 100);
    let given = map_bytes(&start.variables) + revisions.sum::<usize>() + branch_bytes(start);
    let pins = map_bytes(&start.pins);
    if given > START_BYTES_MAX {
        Some(format!(
            "The variables and source revisions of the execution have {given} bytes as JSON, which is more than \
             {START_BYTES_MAX}"
        ))
    } else {
        (pins > PINS_BYTES_MAX).then(|| format!("The pins have {pins} bytes, which is more than {PINS_BYTES_MAX}"))
    }
}

/// What an execution holds from its start to its end; its trigger is told again when it ends.
fn start_bytes(start: &Start) -> usize {
    let revisions = start.source_revisions.iter().map(|revision| text_bytes(&revision.revision_value) + 200);
    let trigger = 2 * text_bytes(&start.trigger.detail);
    map_bytes(&start.variables) + map_bytes(&start.pins) + revisions.sum::<usize>() + trigger + branch_bytes(start)
}

fn branch_bytes(start: &Start) -> usize {
    start.branch.as_ref().map_or(0, |branch| text_bytes(branch) + 100)
}

/// What executions hold that differs from one to another, what they started with and what was told of them, once one has changed.
/// Costs what has changed.
pub(super) fn held_bytes(held: usize, before: Option<&Execution>, after: Option<&Execution>) -> usize {
    let same_start = before.zip(after).is_some_and(|(before, after)| Arc::ptr_eq(&before.start, &after.start));
    let start = |execution: Option<&Execution>| match execution {
        Some(execution) if !same_start => start_bytes(&execution.start),
        _ => 0,
    };
    let changed = |execution: Option<&Execution>, other: Option<&Execution>| {
        let is_same = |(address, run): &(&Address, &Arc<ActionRun>)| {
            other.and_then(|other| other.runs.get(address)).is_some_and(|other| Arc::ptr_eq(other, run))
        };
        let runs = execution.into_iter().flat_map(|execution| &execution.runs).filter(|run| !is_same(run));
        runs.map(|(_, run)| told_by(run)).sum::<usize>()
    };
    let (more, less) = (start(after) + changed(after, before), start(before) + changed(before, after));
    (held + more).saturating_sub(less)
}

fn told_by(run: &ActionRun) -> usize {
    kept_bytes(run) + read_bytes(run)
}

/// What of a run has a meaning for others.
fn kept_bytes(run: &ActionRun) -> usize {
    map_bytes(&run.variables) + run.revision.as_ref().map_or(0, |revision| text_bytes(&revision.id))
}

/// The most that any execution of a pipeline can come to besides, and that its end writes.
pub(super) fn reserved_bytes(declaration: &PipelineDeclaration) -> usize {
    let stages = declaration.stages.iter();
    let at_once = stages.map(|stage| stage.actions.len()).max().unwrap_or_default();
    runs_count(declaration) * (RUN_BYTES_MAX + ENTRY_BYTES_MAX)
        + at_once * (EVENT_BYTES_MAX + ENTRY_BYTES_MAX)
        + declaration.stages.len() * STAGE_BYTES_MAX
        + artifacts_bytes(declaration)
        + PROGRESS_BYTES_MAX
}

/// The actions and rules of a pipeline: as many runs as an execution can have.
pub fn runs_count(declaration: &PipelineDeclaration) -> usize {
    declared::all(declaration).count()
}

/// What all output artifacts of a pipeline take in an execution.
pub fn artifacts_bytes(declaration: &PipelineDeclaration) -> usize {
    let actions = declaration.stages.iter().flat_map(|stage| &stage.actions);
    actions.flat_map(|action| action.outputs()).map(|name| name.len() + DIGEST_BYTES_MAX + "\"\":\"\",".len()).sum()
}

/// What is wrong with keeping these output variables and this revision, where there is `room` for so much of the pipeline's
/// executions together.
pub(super) fn variables_objection(
    execution: &Execution,
    (variables, revision): (&Variables, Option<&Revision>),
    are_kept: bool,
    room: usize,
) -> Option<String> {
    let bytes: usize = variables.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > OUTPUT_VARIABLES_BYTES_MAX {
        return Some(format!(
            "The output variables have {bytes} bytes, which is more than {OUTPUT_VARIABLES_BYTES_MAX}"
        ));
    }
    let kept = execution.runs.values().map(|run| kept_bytes(run));
    let kept_variables = if are_kept { map_bytes(variables) } else { 0 };
    let more = kept_variables + revision.map_or(0, |revision| text_bytes(&revision.id));
    if more > 0 && kept.sum::<usize>() + more > EXECUTION_VARIABLES_BYTES_MAX {
        Some(format!(
            "The output variables of all actions together are more than {EXECUTION_VARIABLES_BYTES_MAX} bytes"
        ))
    } else {
        (more > room).then(|| {
            format!(
                "The output variables have {more} bytes, and the executions of the pipeline that are in progress leave room for \
                 {room}: run it again when fewer are"
            )
        })
    }
}

/// Drops what is only to be read of a run that ended, where the execution keeps enough of that already, or all of the pipeline's
/// together leave no room.
pub(super) fn trim(execution: &Execution, address: Address, run: &mut ActionRun, room: usize) {
    let own = read_bytes(run);
    if own == 0 {
        return;
    }
    let others = execution.runs.iter().filter(|(other, _)| **other != address);
    let kept = others.map(|(_, run)| read_bytes(run)).sum::<usize>();
    if kept + own > EXECUTION_TEXT_BYTES_MAX || told_by(run) > room {
        run.told = ExecutionDetails::default();
        if let Some(error) = &mut run.error {
            error.message.clear();
        }
        if let Some(revision) = &mut run.revision {
            revision.change = None;
            revision.summary = None;
            revision.url = None;
        }
        if let Some(decision) = &mut run.decision {
            decision.summary.clear();
            decision.by = None;
        }
    }
}

/// What of a run is only to be read.
fn read_bytes(run: &ActionRun) -> usize {
    let revision = run.revision.iter().flat_map(|revision| [&revision.change, &revision.summary, &revision.url]);
    let decision = run.decision.iter().flat_map(|decision| [Some(&decision.summary), decision.by.as_ref()]);
    let texts = revision.map(Option::as_ref).chain(decision).flatten();
    let texts = texts.chain(run.error.iter().map(|error| &error.message)).filter(|text| !text.is_empty());
    texts.map(|text| text_bytes(text) + 10).sum::<usize>() + told_bytes(&run.told)
}

fn told_bytes(told: &ExecutionDetails) -> usize {
    let texts = [&told.summary, &told.external_id].into_iter().flatten();
    let links = told.links.iter().map(|link| text_bytes(&link.title) + text_bytes(&link.url) + 20);
    texts.map(|text| text_bytes(text) + 20).sum::<usize>() + links.sum::<usize>() + details_bytes(told)
}

fn details_bytes(told: &ExecutionDetails) -> usize {
    if told.details.is_empty() {
        0
    } else {
        serde_json::to_string(&told.details).map_or(usize::MAX / 2, |json| json.len() + 20)
    }
}

pub(crate) fn map_bytes(map: &Variables) -> usize {
    map.iter().map(|(key, value)| text_bytes(key) + text_bytes(value) + ",:".len()).sum()
}

/// At most what a text takes in JSON, with its quotes.
pub(crate) fn text_bytes(text: &str) -> usize {
    let escapes = text.bytes().map(|byte| match byte {
        0..b' ' => 5,
        b'"' | b'\\' => 1,
        _ => 0,
    });
    text.len() + escapes.sum::<usize>() + 2
}

impl ExecutionDetails {
    /// Cuts each member to its limit.
    pub(super) fn clamp(&mut self) {
        cut(&mut self.summary, SUMMARY_CHARS_MAX);
        cut(&mut self.external_id, EXTERNAL_ID_CHARS_MAX);
        self.links.truncate(LINKS_COUNT_MAX);
        for link in &mut self.links {
            cut_chars(&mut link.title, SUMMARY_CHARS_MAX);
            cut_chars(&mut link.url, SUMMARY_CHARS_MAX);
        }
        if details_bytes(self) > DETAILS_BYTES_MAX {
            self.details.clear();
        }
        while told_bytes(self) > TOLD_BYTES_MAX && self.links.pop().is_some() {}
    }
}

impl Revision {
    /// Cuts each member to its limit.
    pub(super) fn clamp(&mut self) {
        cut_chars(&mut self.id, EXTERNAL_ID_CHARS_MAX);
        cut(&mut self.change, CHANGE_ID_CHARS_MAX);
        cut(&mut self.summary, SUMMARY_CHARS_MAX);
        cut(&mut self.url, SUMMARY_CHARS_MAX);
    }
}

pub(super) fn cut(text: &mut Option<String>, chars_max: usize) {
    if let Some(text) = text {
        cut_chars(text, chars_max);
    }
}

/// A text that was given, cut to its limit.
pub(super) fn cut_to(mut text: Option<String>, chars_max: usize) -> Option<String> {
    cut(&mut text, chars_max);
    text
}
