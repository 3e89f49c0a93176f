//! What a person sees of one execution: its stages and actions with their state, durations and last log lines.
//!
//! Owns the picture and how updates change it. Must not know where updates come from or how the picture is drawn.

use std::collections::VecDeque;
use std::time::Duration;

use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::all;
use pipewright_sandbox::seam::Level;
use serde::Serialize;

/// At most this many of an action's last log lines are kept for showing.
const LOG_LINES_KEPT_MAX: usize = 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Status {
    /// Not reached.
    Pending,
    Running,
    /// For an approval, a signal or a time.
    Waiting,
    Succeeded,
    Failed,
    Stopped,
}

/// One thing that happened, as the JSON lines of `--json` have it.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Update {
    Execution {
        pipeline: String,
        execution_id: String,
        status: Status,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    Stage {
        stage: String,
        status: Status,
    },
    Action {
        stage: String,
        action: String,
        status: Status,
        #[serde(skip_serializing_if = "Option::is_none")]
        summary: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        targets: Vec<String>,
    },
    Progress {
        stage: String,
        action: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        percent: Option<u8>,
        summary: String,
    },
    Log {
        stage: String,
        action: String,
        level: &'static str,
        line: String,
    },
}

pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

pub struct Board {
    pub pipeline: String,
    pub status: Status,
    pub message: Option<String>,
    pub stages: Vec<StageRow>,
}

pub struct StageRow {
    pub name: String,
    pub status: Status,
    pub actions: Vec<ActionRow>,
}

/// Of an action, or of a rule of the stage's conditions (`beforeEntry/Rule`).
pub struct ActionRow {
    pub name: String,
    pub status: Status,
    pub summary: Option<String>,
    pub targets: Vec<String>,
    started: Option<Duration>,
    ended: Option<Duration>,
    pub log: VecDeque<String>,
}

impl Board {
    pub fn new(declaration: &PipelineDeclaration) -> Self {
        let action = |name: String| ActionRow {
            name,
            status: Status::Pending,
            summary: None,
            targets: Vec::new(),
            started: None,
            ended: None,
            log: VecDeque::new(),
        };
        let stages = declaration.stages.iter().map(|stage| StageRow {
            name: stage.name.clone(),
            status: Status::Pending,
            actions: Vec::new(),
        });
        let mut stages: Vec<StageRow> = stages.collect();
        for placed in all(declaration) {
            stages[placed.address.stage()].actions.push(action(placed.name_in_stage()));
        }
        Self { pipeline: declaration.name.clone(), status: Status::Pending, message: None, stages }
    }

    /// `at` is the time since the run began.
    pub fn apply(&mut self, update: &Update, at: Duration) {
        match update {
            Update::Execution { status, message, .. } => {
                self.status = *status;
                self.message.clone_from(message);
            }
            Update::Stage { stage, status } => {
                if let Some(row) = self.stages.iter_mut().find(|row| row.name == *stage) {
                    row.status = *status;
                }
            }
            Update::Action { stage, action, status, summary, targets } => {
                if let Some(row) = self.action(stage, action) {
                    row.status = *status;
                    row.started = row.started.or(Some(at));
                    row.ended = (!matches!(status, Status::Running | Status::Waiting)).then_some(at);
                    row.summary.clone_from(summary);
                    row.targets.clone_from(targets);
                }
            }
            Update::Progress { stage, action, percent, summary } => {
                if let Some(row) = self.action(stage, action) {
                    let percent = percent.map(|percent| format!("{percent}% ")).unwrap_or_default();
                    row.summary = Some(format!("{percent}{summary}"));
                }
            }
            Update::Log { stage, action, line, .. } => {
                if let Some(row) = self.action(stage, action) {
                    if row.log.len() == LOG_LINES_KEPT_MAX {
                        row.log.pop_front();
                    }
                    row.log.push_back(line.clone());
                }
            }
        }
    }

    fn action(&mut self, stage: &str, action: &str) -> Option<&mut ActionRow> {
        let stage = self.stages.iter_mut().find(|row| row.name == stage)?;
        stage.actions.iter_mut().find(|row| row.name == action)
    }
}

impl ActionRow {
    /// How long the action took, or has taken until `now`.
    pub fn duration(&self, now: Duration) -> Option<Duration> {
        Some(self.ended.unwrap_or(now).saturating_sub(self.started?))
    }
}
