//! The actor of one pipeline: its only writer, from the time it is needed until it has been idle for a while.
//!
//! Owns the pipeline's state in memory, its running calls and its timers. Must not know the rules (the state machine).

use std::collections::{BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use pipewright_pipeline::machine::{
    self, ActionExecutionId, Effect, Entropy, FailureType, Input, Refusal, Reply, Report, RunAction, State, Step,
    TimerId, Timestamp, What,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use super::{DriverError, Shared, record};
use crate::clock;
use crate::store::Aggregate;

/// An actor with nothing to do unloads after this time; loading it again costs one read of the store.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// Longest sleep for a timer: the time of day may be set while we wait.
const SLEEP_MAX: Duration = Duration::from_secs(60);

pub(super) enum Message {
    Input {
        what: Box<What>,
        reply: oneshot::Sender<Result<Reply, DriverError>>,
    },
    Read {
        reply: oneshot::Sender<Result<Arc<State>, DriverError>>,
    },
    /// Look at the timers.
    Wake,
    /// Let what was interrupted go on.
    Resume {
        reply: oneshot::Sender<Result<(), DriverError>>,
    },
}

/// The answer of a running call.
struct Answer {
    action: ActionExecutionId,
    call: u32,
    report: Report,
}

pub(super) struct Actor {
    shared: Arc<Shared>,
    aggregate: Aggregate,
    sequence: u64,
    state: State,
    calls: JoinSet<Answer>,
    running: HashMap<ActionExecutionId, Running>,
    timers: BTreeSet<(Timestamp, TimerId)>,
}

struct Running {
    call: u32,
    handle: AbortHandle,
}

enum Next {
    Message(Option<Message>),
    Answer(Answer),
    Timer,
    Idle,
}

impl Actor {
    pub(super) async fn run(shared: Arc<Shared>, aggregate: Aggregate, mut inbox: mpsc::Receiver<Message>) {
        match Self::load(Arc::clone(&shared), aggregate).await {
            Ok(mut actor) => {
                if let Err(error) = actor.work(&mut inbox).await {
                    tracing::error!(%aggregate, "the pipeline stops: {error}");
                    shared.fail(&error);
                }
            }
            Err(error) => {
                tracing::error!(%aggregate, "the pipeline cannot be loaded: {error}");
                shared.fail(&error);
            }
        }
    }

    async fn load(shared: Arc<Shared>, aggregate: Aggregate) -> Result<Self, DriverError> {
        let loaded = shared.store.load(aggregate).await?;
        let mut actor = Self {
            shared,
            aggregate,
            sequence: loaded.sequence,
            state: record::state(&loaded)?,
            calls: JoinSet::new(),
            running: HashMap::new(),
            timers: BTreeSet::new(),
        };
        for effect in actor.state.outstanding() {
            if !matches!(effect, Effect::RunAction(_)) {
                actor.perform(effect);
            }
        }
        Ok(actor)
    }

    /// What runs by the state and not here was interrupted by a crash or a stop: it goes on.
    async fn resume(&mut self) -> Result<(), DriverError> {
        for effect in self.state.outstanding() {
            if let Effect::RunAction(run) = effect
                && !self.running.contains_key(&run.action_execution)
            {
                self.restart(*run).await?;
            }
        }
        Ok(())
    }

    /// Counts the attempt durably, and runs the call again; or ends the action, where it may not run twice.
    async fn restart(&mut self, run: RunAction) -> Result<(), DriverError> {
        let action = run.action_execution;
        let what = if self.shared.actions.may_run_again(&run) {
            What::ActionRestarted { action }
        } else {
            let message = "the host died while the action ran, and its plugin says that it may not run again; \
                           check what it did, then retry the stage";
            let failure = Report::failed(FailureType::SystemUnavailable, message);
            What::ActionReported { action, call: run.call, report: failure }
        };
        self.input(what).await.map(drop)
    }

    async fn work(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Result<(), DriverError> {
        loop {
            match self.next(inbox).await {
                Next::Message(Some(message)) => self.receive(message).await?,
                Next::Message(None) => return Ok(()),
                Next::Answer(answer) => self.answered(answer).await?,
                Next::Timer => self.timers_due().await?,
                Next::Idle => {
                    if self.shared.retire(self.aggregate, inbox) {
                        if let Some((at, _)) = self.timers.first() {
                            self.shared.wakeups.set(at.0, self.aggregate);
                        }
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn next(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Next {
        let now = clock::now_ms();
        let timer = self.timers.first().map(|(at, _)| Duration::from_millis(at.0.saturating_sub(now)).min(SLEEP_MAX));
        let idle = self.running.is_empty();
        tokio::select! {
            message = inbox.recv() => Next::Message(message),
            Some(answer) = self.calls.join_next() => match answer {
                Ok(answer) => Next::Answer(answer),
                // It was stopped, and its answer is not wanted.
                Err(_) => Next::Timer,
            },
            () = tokio::time::sleep(timer.unwrap_or_default()), if timer.is_some() => Next::Timer,
            () = tokio::time::sleep(IDLE_MAX), if idle => Next::Idle,
        }
    }

    async fn receive(&mut self, message: Message) -> Result<(), DriverError> {
        match message {
            Message::Input { what, reply } => match self.command(*what).await {
                Err(error @ (DriverError::Refused(_) | DriverError::TooLarge(_))) => {
                    // The sender may have gone; the refusal changed nothing.
                    let _ = reply.send(Err(error));
                }
                Err(error) => return Err(error),
                Ok(answer) => {
                    let _ = reply.send(Ok(answer));
                }
            },
            Message::Read { reply } => {
                let _ = reply.send(Ok(Arc::new(self.state.clone())));
            }
            Message::Wake => self.timers_due().await?,
            Message::Resume { reply } => {
                self.resume().await?;
                let _ = reply.send(Ok(()));
            }
        }
        Ok(())
    }

    /// A retry of an execution that has left the live state brings it along.
    async fn command(&mut self, mut what: What) -> Result<Reply, DriverError> {
        if let What::RetryStage(retry) = &mut what
            && retry.ended.is_none()
            && !self.state.executions.contains_key(&retry.execution)
            && let Some(bytes) = self.shared.store.get(self.aggregate, &record::archived(retry.execution)).await?
        {
            retry.ended = Some(Box::new(record::execution(&bytes)?));
        }
        self.input(what).await
    }

    async fn answered(&mut self, answer: Answer) -> Result<(), DriverError> {
        let Answer { action, call, report } = answer;
        if self.running.get(&action).is_some_and(|running| running.call == call) {
            self.running.remove(&action);
        }
        match self.input(What::ActionReported { action, call, report }).await {
            // Too late: the action was stopped, timed out or cancelled meanwhile.
            Err(DriverError::Refused(Refusal::Stale)) => Ok(()),
            Err(DriverError::TooLarge(why)) => {
                let report =
                    Report::failed(FailureType::JobFailed, format!("what the action returned cannot be kept: {why}"));
                self.input(What::ActionReported { action, call, report }).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    async fn timers_due(&mut self) -> Result<(), DriverError> {
        while let Some(&(at, timer)) = self.timers.first() {
            if at.0 > clock::now_ms() {
                break;
            }
            self.timers.pop_first();
            match self.input(What::TimerDue { timer }).await {
                Ok(_) | Err(DriverError::Refused(Refusal::Stale)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The heart: decide, make durable, and only then believe it and act on it.
    async fn input(&mut self, what: What) -> Result<Reply, DriverError> {
        let at = Timestamp(clock::now_ms());
        let input = Input { entropy: Entropy(super::random()?), what };
        let Step { changes, events, effects, reply } = machine::step(&self.state, input, at)?;
        let commit = record::commit(self.aggregate, self.sequence, at, &changes, events)?;
        self.sequence = self.shared.store.commit(commit).await?;
        self.state.apply(changes).map_err(|error| DriverError::Damaged(error.to_string()))?;
        for effect in effects {
            self.perform(effect);
        }
        Ok(reply)
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::RunAction(run) => self.call(*run),
            Effect::StopAction { action, .. } => {
                if let Some(running) = self.running.remove(&action) {
                    running.handle.abort();
                }
            }
            Effect::SetTimer { id, at } => {
                self.timers.insert((at, id));
            }
            Effect::ClearTimer { id } => self.timers.retain(|(_, timer)| *timer != id),
        }
    }

    fn call(&mut self, run: RunAction) {
        let (action, call) = (run.action_execution, run.call);
        let future = self.shared.actions.run(self.aggregate, run);
        let handle = self.calls.spawn(async move {
            // A panic is a defect of the host, but not a reason for the pipeline to hang.
            let report = AssertUnwindSafe(future).catch_unwind().await.unwrap_or_else(|_| {
                Report::failed(FailureType::SystemUnavailable, "the host failed while the action ran; its log says how")
            });
            Answer { action, call, report }
        });
        self.running.insert(action, Running { call, handle });
    }
}
