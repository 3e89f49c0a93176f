//! Follows one execution to its end: shows what happens, asks for approvals, and stops it on Ctrl-C.
//!
//! Must not know how things are drawn (`view`).

use std::collections::VecDeque;
use std::io::BufRead as _;
use std::process::ExitCode;
use std::time::Duration;

use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{
    ActionHappening, ApprovalAnswer, ApprovalStatus, Awaited, Event, ExecutionId, ExecutionState, InputKind,
    StageState, rule_in_stage,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{broadcast, mpsc};

use super::board::{Board, Status, Update, level_name};
use super::view::{Form, View};
use super::{Ended, cause, failed};
use crate::exit;
use crate::out::{self, in_one_quote};
use pipewright_engine::driver::{Aggregate, Driver, DriverError, Watcher};
use pipewright_runner::grants::GrantsFile;
use pipewright_runner::host::Host;
use pipewright_runner::logs::{LogContent, LogMessage};
use pipewright_runner::outcome::TARGETS;

/// How often durations on the terminal move on.
const TICK: Duration = Duration::from_millis(100);
/// Records that are read at a time.
const RECORDS_MAX: usize = 100;

/// Where the answers to approvals come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Approvals {
    /// `--approve`
    Given,
    /// On the terminal.
    Asked,
    /// There are no approvals.
    None,
}

/// An approval that waits.
struct Question {
    stage: String,
    action: String,
    token: String,
    text: String,
}

pub(super) struct Follower {
    driver: Driver,
    pipeline: Aggregate,
    watcher: Watcher,
    said: broadcast::Receiver<LogMessage>,
    /// The next record to read.
    next: u64,
    view: View,
    grants: GrantsFile,
    /// Approvals that a person is still to be asked about; the first is being asked.
    questions: VecDeque<Question>,
}

impl Follower {
    /// Watches from now on.
    pub(super) async fn new(
        host: &Host,
        pipeline: Aggregate,
        declaration: &PipelineDeclaration,
        form: Form,
        grants: GrantsFile,
    ) -> Result<Self, DriverError> {
        let watcher = host.driver.watch(Some(pipeline));
        let next = host.driver.sequence(pipeline).await? + 1;
        Ok(Self {
            driver: host.driver.clone(),
            pipeline,
            watcher,
            said: host.actions.logs.listen(),
            next,
            view: View::new(form, Board::new(declaration)),
            grants,
            questions: VecDeque::new(),
        })
    }

    pub(super) async fn follow(mut self, execution: ExecutionId, approvals: Approvals) -> Result<ExitCode, Ended> {
        let (answers, mut answered) = mpsc::channel(1);
        let mut tick = tokio::time::interval(TICK);
        let mut interrupts = signal(SignalKind::interrupt()).map_err(|error| Ended::Host(error.into()))?;
        let mut interrupted = false;
        let driver = self.driver.clone();
        let mut failure = std::pin::pin!(driver.failure());
        loop {
            tokio::select! {
                _ = self.watcher.changed() => {
                    if let Some(end) = self.read(execution, approvals, &answers).await? {
                        return Ok(self.end(end, interrupted));
                    }
                }
                said = self.said.recv() => self.said(said),
                Some(approved) = answered.recv() => {
                    self.view.resume();
                    if let Some(question) = self.questions.pop_front() {
                        self.approve(question, approved).await?;
                    }
                    self.ask_next(&answers);
                }
                _ = tick.tick() => self.view.tick(),
                reason = &mut failure => return Err(Ended::Host(anyhow::anyhow!(reason))),
                _ = interrupts.recv() => {
                    if interrupted {
                        return Ok(ExitCode::from(exit::INTERRUPTED));
                    }
                    interrupted = true;
                    self.stop(execution).await?;
                }
            }
        }
    }

    /// Reads what was committed since; gives the execution's last state once it has ended.
    async fn read(
        &mut self,
        execution: ExecutionId,
        approvals: Approvals,
        answers: &mpsc::Sender<bool>,
    ) -> Result<Option<Status>, Ended> {
        loop {
            let entries = self.driver.history(self.pipeline, self.next, RECORDS_MAX).await.map_err(failed)?;
            let Some(last) = entries.last() else { return Ok(None) };
            self.next = last.sequence + 1;
            let mut end = None;
            for event in entries.into_iter().flat_map(|entry| entry.events) {
                if of(&event) != Some(execution) {
                    continue;
                }
                self.hear();
                let question = question(&event);
                if let Some(update) = self.update(event) {
                    if let Update::Execution { status, .. } = &update
                        && *status != Status::Running
                    {
                        end = Some(*status);
                    }
                    self.view.update(&update);
                }
                if let Some(question) = question {
                    self.ask(question, approvals, answers).await?;
                }
            }
            if end.is_some() {
                return Ok(end);
            }
        }
    }

    /// Shows what was said before now, so that an action's last words come before its end.
    fn hear(&mut self) {
        while let Ok(said) = self.said.try_recv() {
            self.said(Ok(said));
        }
    }

    fn said(&mut self, said: Result<LogMessage, broadcast::error::RecvError>) {
        // Who lags behind misses lines here; the log file has them.
        let Ok(LogMessage { stage, action, what, .. }) = said else { return };
        let (stage, action) = (stage.to_string(), action.to_string());
        self.view.update(&match what {
            LogContent::Line(level, line) => Update::Log { stage, action, level: level_name(level), line },
            LogContent::Progress(percent, summary) => Update::Progress { stage, action, percent, summary },
        });
    }

    async fn stop(&mut self, execution: ExecutionId) -> Result<(), Ended> {
        let reason = Some("interrupted".to_owned());
        let stop = InputKind::Stop { execution, abandon: true, reason, by: None };
        match self.driver.submit(self.pipeline, stop, &cause()).await {
            // It ended in the same moment.
            Ok(_) | Err(DriverError::Refused(_)) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    async fn ask(
        &mut self,
        question: Question,
        approvals: Approvals,
        answers: &mpsc::Sender<bool>,
    ) -> Result<(), Ended> {
        match approvals {
            Approvals::Given => self.approve(question, true).await?,
            Approvals::None => {}
            Approvals::Asked => {
                self.questions.push_back(question);
                if self.questions.len() == 1 {
                    self.ask_next(answers);
                }
            }
        }
        Ok(())
    }

    fn ask_next(&mut self, answers: &mpsc::Sender<bool>) {
        let Some(Question { stage, action, text, .. }) = self.questions.front() else { return };
        self.view.pause();
        let said = if text.is_empty() { String::new() } else { format!("It says: {} ", in_one_quote(text)) };
        out::ask(&format!("Approve {stage}/{action}? {said}[y/N] "));
        let answers = answers.clone();
        // Reading a terminal cannot be cancelled: a thread of its own, which the end of the process ends.
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line).is_ok();
            let _ = answers.blocking_send(read && matches!(line.trim(), "y" | "Y" | "yes"));
        });
    }

    async fn approve(&mut self, question: Question, approved: bool) -> Result<(), Ended> {
        let answer = ApprovalAnswer {
            stage: question.stage,
            action: question.action,
            token: question.token,
            status: if approved { ApprovalStatus::Approved } else { ApprovalStatus::Rejected },
            summary: String::new(),
            by: std::env::var("USER").ok(),
        };
        match self.driver.submit(self.pipeline, InputKind::PutApprovalResult(answer), &cause()).await {
            // It timed out or was stopped meanwhile.
            Ok(_) | Err(DriverError::Refused(_)) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    fn end(mut self, status: Status, interrupted: bool) -> ExitCode {
        self.view.resume();
        self.hear();
        self.view.end();
        ExitCode::from(match (interrupted, status) {
            (true, _) => exit::INTERRUPTED,
            (false, Status::Succeeded) => exit::SUCCEEDED,
            (false, _) => exit::FAILED,
        })
    }

    fn update(&self, event: Event) -> Option<Update> {
        match event {
            Event::Execution(event) => Some(Update::Execution {
                pipeline: self.view.pipeline().to_owned(),
                execution_id: event.execution.to_string(),
                status: match event.state {
                    ExecutionState::Started | ExecutionState::Resumed | ExecutionState::Stopping => Status::Running,
                    ExecutionState::Succeeded => Status::Succeeded,
                    ExecutionState::Failed => Status::Failed,
                    ExecutionState::Canceled | ExecutionState::Stopped | ExecutionState::Superseded => Status::Stopped,
                },
                message: event.summary,
            }),
            Event::Stage(event) => Some(Update::Stage {
                stage: event.stage,
                status: match event.state {
                    StageState::Started | StageState::Resumed | StageState::Stopping => Status::Running,
                    StageState::Succeeded => Status::Succeeded,
                    StageState::Failed => Status::Failed,
                    StageState::Canceled | StageState::Stopped | StageState::Skipped => Status::Stopped,
                },
            }),
            Event::Action(event) => self.action(event.stage, event.action, event.what),
            Event::Rule(event) => self.action(event.stage, rule_in_stage(event.condition, &event.rule), event.what),
            _ => None,
        }
    }

    fn action(&self, stage: String, action: String, what: ActionHappening) -> Option<Update> {
        let (status, summary, told) = match what {
            ActionHappening::Started { .. } | ActionHappening::Resumed { .. } | ActionHappening::Restarted { .. } => {
                (Status::Running, None, None)
            }
            ActionHappening::Waiting(wait) => (Status::Waiting, wait.summary, None),
            ActionHappening::Succeeded { told, .. } => (Status::Succeeded, told.summary.clone(), Some(told)),
            ActionHappening::Failed { error, told } => (Status::Failed, Some(error.message), Some(told)),
            ActionHappening::NotPassed { told } => {
                let summary = told.summary.clone().unwrap_or_else(|| "did not pass".to_owned());
                (Status::Failed, Some(summary), Some(told))
            }
            ActionHappening::Abandoned | ActionHappening::Canceled => (Status::Stopped, None, None),
            ActionHappening::Decided(_) | ActionHappening::Job { .. } => return None,
        };
        let name = format!("{stage}/{action}");
        let targets = told.iter().flat_map(|told| told.details.get(TARGETS)).filter_map(|targets| targets.as_array());
        let targets = targets.flatten().filter_map(|target| target["id"].as_str());
        let targets = targets.map(|id| self.grants.host_path(&name, id).unwrap_or_else(|| id.to_owned())).collect();
        Some(Update::Action { stage, action, status, summary, targets })
    }
}

/// What an event asks a person.
fn question(event: &Event) -> Option<Question> {
    let Event::Action(event) = event else { return None };
    let ActionHappening::Waiting(wait) = &event.what else { return None };
    wait.awaits.contains(&Awaited::Approval).then(|| Question {
        stage: event.stage.clone(),
        action: event.action.clone(),
        token: event.action_execution.to_string(),
        text: wait.summary.clone().unwrap_or_default(),
    })
}

/// The execution that an event speaks of.
fn of(event: &Event) -> Option<ExecutionId> {
    match event {
        Event::Execution(event) => Some(event.execution),
        Event::Stage(event) => Some(event.execution),
        Event::Action(event) => Some(event.execution),
        Event::Rule(event) => Some(event.execution),
        _ => None,
    }
}
