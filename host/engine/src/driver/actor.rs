//! The actor of one pipeline: its only writer, from the time it is needed until it has been idle for a while.
//!
//! Owns the pipeline's state in memory, its running calls and its timers. Must not know the rules (the state machine).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use pipewright_pipeline::machine::{
    self, ActionExecutionId, Effect, Entropy, Event, FailureType, Input, Refusal, Reply, Report, RunAction, State,
    Step, TimerId, Timestamp, What,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use super::record::Token;
use super::writer::Writer;
use super::{DriverError, Shared, index, points, record};
use pipewright_store::{Aggregate, PartKey};

/// An actor with nothing to do unloads after this time; loading it again costs one read of the store.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// Longest sleep for a timer: the time of day may be set while we wait.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// How long a client's request token is good for.
pub const TOKEN_MILLISECONDS_MAX: u64 = 24 * 60 * 60 * 1000;

/// How often it is looked whether the store has room again.
const FULL_RETRY: Duration = Duration::from_secs(1);

pub(super) enum Message {
    Input {
        what: Box<What>,
        with: With,
        reply: oneshot::Sender<Result<Reply, DriverError>>,
    },
    /// Keep notes, with or without a pipeline.
    Note {
        notes: Vec<Note>,
        reply: oneshot::Sender<Result<(), DriverError>>,
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

/// What becomes durable together with an input, or not at all.
#[derive(Default)]
pub(super) struct With {
    /// Done next, unless it is refused: the first start of a new pipeline.
    pub then: Option<What>,
    /// The client's name for this start: the same again, within [`TOKEN_MILLISECONDS_MAX`], is answered with the execution
    /// that the first one started.
    pub token: Option<String>,
    pub notes: Vec<Note>,
}

/// The name of something kept beside the state, and what it becomes.
pub type Note = (String, Option<Bytes>);

/// The answer of a running call.
struct Answer {
    action: ActionExecutionId,
    call: u32,
    report: Report,
}

pub(super) struct Actor {
    shared: Arc<Shared>,
    aggregate: Aggregate,
    writer: Writer,
    state: State,
    calls: JoinSet<Answer>,
    running: HashMap<ActionExecutionId, Running>,
    timers: BTreeSet<(Timestamp, TimerId)>,
    /// What happened while the store had no room to keep it, in its order.
    postponed: VecDeque<What>,
}

struct Running {
    call: u32,
    handle: AbortHandle,
}

enum Next {
    Message(Option<Message>),
    Answer(Answer),
    Timer,
    Renew,
    /// Try to keep what was postponed.
    Again,
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
                actor.writer.release().await;
            }
            Err(error) => {
                tracing::error!(%aggregate, "the pipeline cannot be loaded: {error}");
                shared.fail(&error);
            }
        }
    }

    async fn load(shared: Arc<Shared>, aggregate: Aggregate) -> Result<Self, DriverError> {
        let (writer, loaded) = Writer::load(shared.pen(), aggregate).await?;
        let mut actor = Self {
            shared,
            aggregate,
            writer,
            state: record::state(&loaded)?,
            calls: JoinSet::new(),
            running: HashMap::new(),
            timers: BTreeSet::new(),
            postponed: VecDeque::new(),
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
        let (action, call) = (run.action_execution, run.call);
        let what = if self.shared.actions.may_run_again(self.aggregate, run).await {
            What::ActionRestarted { action }
        } else {
            let message = "the host died while the action ran, and its plugin says that it may not run again; \
                           check what it did, then retry the stage";
            let failure = Report::failed(FailureType::SystemUnavailable, message);
            What::ActionReported { action, call, report: failure }
        };
        self.happened(what).await
    }

    async fn work(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Result<(), DriverError> {
        loop {
            match self.next(inbox).await {
                Next::Message(Some(message)) => self.receive(message).await?,
                Next::Message(None) => return Ok(()),
                Next::Answer(answer) => self.answered(answer).await?,
                Next::Timer => self.timers_due().await?,
                Next::Renew => self.writer.renew().await?,
                Next::Again => {
                    for what in std::mem::take(&mut self.postponed) {
                        self.happened(what).await?;
                    }
                }
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
        let clock = &self.shared.clock;
        let now = clock.now_ms();
        let timer = self.timers.first().map(|(at, _)| Duration::from_millis(at.0.saturating_sub(now)).min(SLEEP_MAX));
        let postponed = !self.postponed.is_empty();
        let idle = self.running.is_empty() && !postponed;
        tokio::select! {
            message = inbox.recv() => Next::Message(message),
            Some(answer) = self.calls.join_next() => match answer {
                Ok(answer) => Next::Answer(answer),
                // It was stopped, and its answer is not wanted.
                Err(_) => Next::Timer,
            },
            () = clock.sleep(timer.unwrap_or_default()), if timer.is_some() => Next::Timer,
            () = self.writer.to_renew() => Next::Renew,
            () = clock.sleep(FULL_RETRY), if postponed => Next::Again,
            () = clock.sleep(IDLE_MAX), if idle => Next::Idle,
        }
    }

    async fn receive(&mut self, message: Message) -> Result<(), DriverError> {
        match message {
            Message::Input { what, with, reply } => match self.command(*what, with).await {
                Err(error @ (DriverError::Refused(_) | DriverError::TooLarge(_) | DriverError::Full(_))) => {
                    // The sender may have gone; the refusal changed nothing.
                    let _ = reply.send(Err(error));
                }
                Err(error) => return Err(error),
                Ok(answer) => {
                    let _ = reply.send(Ok(answer));
                }
            },
            Message::Note { notes, reply } => match self.note(notes).await {
                Err(error @ (DriverError::TooLarge(_) | DriverError::Full(_))) => {
                    let _ = reply.send(Err(error));
                }
                noted => {
                    noted?;
                    let _ = reply.send(Ok(()));
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

    /// A retry of an execution that has left the live state brings it along; a start that was made before is not made again.
    async fn command(&mut self, mut what: What, with: With) -> Result<Reply, DriverError> {
        if let Some(token) = &with.token
            && let Some(bytes) = self.shared.store.get(self.aggregate, &record::token(token)).await?
        {
            let Token { execution, at } = record::read("a request token", &bytes)?;
            if self.shared.clock.now_ms() < at.plus(TOKEN_MILLISECONDS_MAX).0 {
                return Ok(Reply::Execution(execution));
            }
        }
        if let What::RetryStage(retry) = &mut what
            && retry.ended.is_none()
            && !self.state.executions.contains_key(&retry.execution)
            && let Some(bytes) = self.shared.store.get(self.aggregate, &record::archived(retry.execution)).await?
        {
            retry.ended = Some(Box::new(record::execution(&bytes)?));
        }
        self.input_with(what, with).await
    }

    async fn answered(&mut self, answer: Answer) -> Result<(), DriverError> {
        let Answer { action, call, report } = answer;
        points::pass("answered");
        if self.running.get(&action).is_some_and(|running| running.call == call) {
            self.running.remove(&action);
        }
        match self.happened(What::ActionReported { action, call, report }).await {
            Err(DriverError::TooLarge(why)) => {
                let report =
                    Report::failed(FailureType::JobFailed, format!("what the action returned cannot be kept: {why}"));
                self.happened(What::ActionReported { action, call, report }).await
            }
            other => other,
        }
    }

    /// Something that happened, and that nobody would tell again: kept as soon as there is room. What comes too late, such as
    /// the answer of an action that was stopped meanwhile, has no effect.
    async fn happened(&mut self, what: What) -> Result<(), DriverError> {
        match self.input(what.clone()).await {
            Ok(_) | Err(DriverError::Refused(Refusal::Stale)) => Ok(()),
            Err(DriverError::Full(why)) => {
                tracing::warn!(aggregate = %self.aggregate, "{why}");
                self.postponed.push_back(what);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn timers_due(&mut self) -> Result<(), DriverError> {
        while let Some(&(at, timer)) = self.timers.first() {
            if at.0 > self.shared.clock.now_ms() {
                break;
            }
            self.timers.pop_first();
            self.happened(What::TimerDue { timer }).await?;
        }
        Ok(())
    }

    async fn input(&mut self, what: What) -> Result<Reply, DriverError> {
        self.input_with(what, With::default()).await
    }

    /// The heart: decide, make durable, and only then believe it and act on it.
    async fn input_with(&mut self, what: What, with: With) -> Result<Reply, DriverError> {
        let at = Timestamp(self.shared.clock.now_ms());
        let mut decided = Decided { state: self.state.clone(), ..Decided::default() };
        let reply = decided.take(what, at)?;
        if let Some(then) = with.then {
            match decided.take(then, at) {
                Ok(_) => {}
                Err(DriverError::Refused(refusal)) => tracing::info!(aggregate = %self.aggregate, "{refusal}"),
                Err(error) => return Err(error),
            }
        }
        let mut index = index::rows(&index::Stepped {
            aggregate: self.aggregate,
            sequence: self.writer.sequence() + 1,
            at,
            events: &decided.events,
            before: &self.state,
            after: &decided.state,
        });
        decided.puts.extend(with.notes.into_iter().map(|(name, value)| (record::note(&name), value)));
        if let (Some(token), Reply::Execution(execution)) = (with.token, reply) {
            decided.puts.push((record::token(&token), Some(record::json(&Token { execution, at })?)));
            index.push(index::token_row(self.aggregate, at, &token));
        }
        self.shared.counts.commit(&decided.events);
        let events = decided.events.into_iter().map(|event| record::event(at, event)).collect::<Result<_, _>>()?;
        points::pass("decided");
        self.commit(decided.puts, events, index).await?;
        points::pass("committed");
        self.state = decided.state;
        for effect in decided.effects {
            self.perform(effect);
        }
        points::pass("effected");
        Ok(reply)
    }

    async fn note(&mut self, notes: Vec<Note>) -> Result<(), DriverError> {
        let puts = notes.into_iter().map(|(name, value)| (record::note(&name), value)).collect();
        self.commit(puts, Vec::new(), Vec::new()).await
    }

    async fn commit(
        &mut self,
        puts: Vec<(PartKey, Option<Bytes>)>,
        events: Vec<Bytes>,
        index: index::Rows,
    ) -> Result<(), DriverError> {
        self.writer.commit(puts, events, index).await
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            // What is not begun now goes on at the next start.
            Effect::RunAction(_) if self.shared.stopping.load(Ordering::SeqCst) => {}
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
        let counted = Counted::new(&self.shared);
        let handle = self.calls.spawn(async move {
            let _counted = counted;
            // A panic is a defect of the host, but not a reason for the pipeline to hang.
            let report = AssertUnwindSafe(future).catch_unwind().await.unwrap_or_else(|_| {
                Report::failed(FailureType::SystemUnavailable, "the host failed while the action ran; its log says how")
            });
            Answer { action, call, report }
        });
        self.running.insert(action, Running { call, handle });
    }
}

/// A call that runs, counted until it ends or is dropped.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.running.send_modify(|running| *running += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

/// What one or more inputs come to, before it is durable.
#[derive(Default)]
struct Decided {
    state: State,
    puts: Vec<(PartKey, Option<Bytes>)>,
    events: Vec<Event>,
    effects: Vec<Effect>,
}

impl Decided {
    fn take(&mut self, what: What, at: Timestamp) -> Result<Reply, DriverError> {
        let input = Input { entropy: Entropy(super::random()?), what };
        let Step { changes, events, effects, reply } = machine::step(&self.state, input, at)?;
        self.puts.extend(record::puts(&changes)?);
        self.state.apply(changes).map_err(|error| DriverError::Damaged(error.to_string()))?;
        self.events.extend(events);
        self.effects.extend(effects);
        Ok(reply)
    }
}
