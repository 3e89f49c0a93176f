//! The actor of one pipeline: its only writer, from the time it is needed until it has been idle for a while.
//!
//! Owns the pipeline's state in memory, its running calls and its timers. Must not know the rules (the state machine).

mod pinning;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use pipewright_pipeline::machine::{
    self, ActionExecutionId, Effect, Entropy, Event, Execution, ExecutionId, FailureType, Input, InputKind, Refusal,
    Reply, Report, RunAction, State, Step, TimerId, Timestamp,
};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use super::record::Token;
use super::timers::{Now, Timers};
use super::writer::Writer;
use super::{DriverError, Granted, Shared, entry, index, points, record};
use pipewright_base::{Cause, Scope, Source};
use pipewright_store::{Aggregate, PartKey};

/// An actor with nothing to do unloads after this time; loading it again costs one read of the store.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// Longest sleep for a timer: the time of day may be set while we wait.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// How long a client's request token is good for.
pub const TOKEN_MILLISECONDS_MAX: u64 = 24 * 60 * 60 * 1000;

/// How often it is looked whether the store has room again.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// A client's name for a start: the same again, within [`TOKEN_MILLISECONDS_MAX`], is answered with the execution that the first
/// one started (S94).
#[derive(Clone, Debug)]
pub struct StartToken {
    pub name: String,
    /// The same again within so many milliseconds is another start.
    pub meant_within: u64,
}

impl From<String> for StartToken {
    fn from(name: String) -> Self {
        Self { name, meant_within: 0 }
    }
}

pub(super) enum Message {
    Input(Box<Submission>),
    /// Keep notes, with or without a pipeline.
    Note {
        notes: Vec<Note>,
        cause: Cause,
        reply: oneshot::Sender<Result<(), DriverError>>,
    },
    Read {
        reply: oneshot::Sender<Result<Arc<State>, DriverError>>,
    },
    /// Look at the timers: this time has come, in milliseconds since 1970.
    Wake {
        at: u64,
    },
    /// Let go on what was interrupted; by the death of the host, or in an orderly way.
    Resume {
        died: bool,
        reply: oneshot::Sender<Result<(), DriverError>>,
    },
}

/// An input of somebody who waits for its answer.
pub(super) struct Submission {
    pub what: InputKind,
    pub with: SubmitOptions,
    pub cause: Cause,
    pub reply: oneshot::Sender<Result<Reply, DriverError>>,
}

/// What becomes durable together with an input, or not at all.
pub(super) struct SubmitOptions {
    /// Done next: the first start of a new pipeline.
    pub then: Option<InputKind>,
    pub token: Option<StartToken>,
    pub notes: Vec<Note>,
    /// What a start pins of what lies outside of the pipeline; a start that cannot have it is refused.
    pub grants: Granted,
    /// The same of the account's record, by the names of the parts. Those that are here are not read.
    pub parts: BTreeMap<String, Bytes>,
}

impl Default for SubmitOptions {
    fn default() -> Self {
        Self { then: None, token: None, notes: Vec::new(), grants: Ok(None), parts: BTreeMap::new() }
    }
}

type Puts = Vec<(PartKey, Option<Bytes>)>;

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
    /// Shared with whoever reads it.
    state: Arc<State>,
    calls: JoinSet<Answer>,
    /// Starts whose grants are being read.
    preparing: JoinSet<Box<Submission>>,
    running: HashMap<ActionExecutionId, Running>,
    /// The one that is being called again because the host went down.
    restarting: Option<ActionExecutionId>,
    timers: Timers<TimerId>,
    /// Executions that are to be loaded, each with the one that waits for it.
    wanted: VecDeque<(ExecutionId, ExecutionId)>,
    /// What happened while the store had no room to keep it, in its order.
    postponed: VecDeque<(InputKind, &'static Cause)>,
}

/// What the host does by itself.
static REPORT: LazyLock<Cause> = LazyLock::new(|| Cause::host("action", Source::Action));
static TIMER: LazyLock<Cause> = LazyLock::new(|| Cause::host("timer", Source::Timer));
static ROLLBACK: LazyLock<Cause> = LazyLock::new(|| Cause::host("rollback", Source::Start));
static START: LazyLock<Cause> = LazyLock::new(|| Cause::host("start", Source::Start));

struct Running {
    call: u32,
    handle: AbortHandle,
}

enum Next {
    Message(Option<Message>),
    Answer(Answer),
    Prepared(Box<Submission>),
    Timer,
    /// Load what is wanted.
    Wanted,
    Renew,
    /// Try to keep what was postponed.
    Again,
    Idle,
}

impl Actor {
    pub(super) async fn run(shared: Arc<Shared>, aggregate: Aggregate, mut inbox: mpsc::Receiver<Message>) {
        let life = async {
            let mut actor = Self::load(Arc::clone(&shared), aggregate).await?;
            actor.work(&mut inbox).await?;
            actor.writer.release().await;
            Ok(())
        };
        match guarded(life).await {
            // It was told to whoever met it, and the pipeline may be loaded again already.
            Ok(()) | Err(DriverError::Quarantined(_)) => {}
            // Before the inbox goes, with what waits in it: whoever is not answered finds out why.
            Err(error) => drop(shared.end(aggregate, &error)),
        }
    }

    async fn load(shared: Arc<Shared>, aggregate: Aggregate) -> Result<Self, DriverError> {
        let (writer, loaded) = Writer::load(shared.pen(), aggregate).await?;
        let mut actor = Self {
            shared,
            aggregate,
            writer,
            state: Arc::new(record::state(&loaded)?),
            calls: JoinSet::new(),
            preparing: JoinSet::new(),
            running: HashMap::new(),
            restarting: None,
            timers: Timers::default(),
            wanted: VecDeque::new(),
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
    async fn resume(&mut self, died: bool) -> Result<(), DriverError> {
        self.timers_due().await?;
        let interrupted = self.state.outstanding().into_iter().filter_map(|effect| match effect {
            Effect::RunAction(run) if !self.running.contains_key(&run.action_execution) => Some(*run),
            _ => None,
        });
        let interrupted: Vec<_> = interrupted.collect();
        for run in interrupted {
            self.restart(run, died).await?;
        }
        Ok(())
    }

    /// Counts the attempt durably, and runs the call again; or ends the action, where it may not run again.
    async fn restart(&mut self, run: RunAction, crashed: bool) -> Result<(), DriverError> {
        let (action, call) = (run.action_execution, run.call);
        let crashed = crashed && !self.shared.actions.only_waited(&run);
        let what = if self.shared.actions.may_run_again(self.aggregate, run).await {
            InputKind::ActionRestarted { action, crashed }
        } else {
            let message = "the host died while the action ran, and its plugin says that it may not run again; \
                           check what it did, then retry the stage";
            let report = Report::failed(FailureType::SystemUnavailable, message);
            InputKind::ActionReported { action, call, report }
        };
        self.restarting = Some(action);
        let done = self.happened(what, &START).await;
        self.restarting = None;
        done
    }

    async fn work(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Result<(), DriverError> {
        loop {
            match self.next(inbox).await {
                Next::Message(Some(message)) => self.receive(message).await?,
                Next::Message(None) => return Ok(()),
                Next::Answer(answer) => self.answered(answer).await?,
                Next::Prepared(asked) => self.asked(*asked).await?,
                Next::Timer => self.timers_due().await?,
                Next::Wanted => self.load_wanted().await?,
                Next::Renew => self.writer.renew().await?,
                Next::Again => {
                    for (what, cause) in std::mem::take(&mut self.postponed) {
                        self.happened(what, cause).await?;
                    }
                }
                Next::Idle => {
                    if self.shared.retire(self.aggregate, inbox) {
                        if let Some((due, Some(at))) = self.timers.first() {
                            self.shared.wakeups.set(self.aggregate, at, due);
                        }
                        return Ok(());
                    }
                }
            }
        }
    }

    async fn next(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Next {
        if !self.wanted.is_empty() {
            return Next::Wanted;
        }
        let now = self.now();
        let postponed = !self.postponed.is_empty();
        let idle = self.running.is_empty() && self.preparing.is_empty() && !postponed;
        let waits = [
            self.timers.wait(now).map(|wait| (wait.min(SLEEP_MAX), Next::Timer)),
            postponed.then_some((FULL_RETRY, Next::Again)),
            idle.then_some((IDLE_MAX, Next::Idle)),
        ];
        // One sleep, for whatever comes first: it is made anew with each message.
        let renew = (self.writer.renew_at().saturating_duration_since(now.monotonic), Next::Renew);
        let first = |first: (Duration, Next), other: (Duration, Next)| if other.0 < first.0 { other } else { first };
        let (wait, then) = waits.into_iter().flatten().fold(renew, first);
        tokio::select! {
            message = inbox.recv() => Next::Message(message),
            Some(answer) = self.calls.join_next() => match answer {
                Ok(answer) => Next::Answer(answer),
                // It was stopped, and its answer is not wanted.
                Err(_) => Next::Timer,
            },
            Some(prepared) = self.preparing.join_next() => match prepared {
                Ok(asked) => Next::Prepared(asked),
                // It panicked: whoever asked was told.
                Err(_) => Next::Timer,
            },
            () = self.shared.clock.sleep(wait) => then,
        }
    }

    async fn receive(&mut self, message: Message) -> Result<(), DriverError> {
        match message {
            Message::Input(asked) => match self.prepare(asked) {
                Some(asked) => self.asked(*asked).await,
                None => Ok(()),
            },
            Message::Note { notes, cause, reply } => {
                let done = guarded(self.note(notes, &cause)).await;
                self.answer(reply, done)
            }
            Message::Read { reply } => self.answer(reply, Ok(Arc::clone(&self.state))),
            Message::Wake { at } => {
                self.timers.reached(at, self.now());
                self.timers_due().await
            }
            Message::Resume { died, reply } => {
                let done = guarded(self.resume(died)).await;
                // Nobody would tell again what could not be kept.
                let ends = done.as_ref().err().filter(|error| error.scope() == Scope::Request);
                let done = match ends {
                    Some(error) => Err(DriverError::Damaged(format!("what was interrupted cannot go on: {error}"))),
                    None => done,
                };
                self.answer(reply, done)
            }
        }
    }

    async fn asked(&mut self, Submission { what, with, cause, reply }: Submission) -> Result<(), DriverError> {
        let done = guarded(self.command(what, with, &cause)).await;
        self.answer(reply, done)
    }

    /// Answers whoever asked, who may have gone. What ends more than the request ends the actor, and is known to all before it
    /// is answered.
    fn answer<T>(
        &self,
        reply: oneshot::Sender<Result<T, DriverError>>,
        done: Result<T, DriverError>,
    ) -> Result<(), DriverError> {
        let (told, ended) = match done {
            Err(error) if error.scope() != Scope::Request => {
                let told = self.shared.end(self.aggregate, &error);
                let again = match &told {
                    DriverError::Quarantined(reason) => DriverError::Quarantined(Arc::clone(reason)),
                    _ => error,
                };
                (Err(told), Err(again))
            }
            done => (done, Ok(())),
        };
        let _ = reply.send(told);
        ended
    }

    /// Brings executions that have ended to those that are to be rolled back to them.
    async fn load_wanted(&mut self) -> Result<(), DriverError> {
        while let Some((execution, target)) = self.wanted.pop_front() {
            let found = self.ended(target).await?;
            self.happened(InputKind::ExecutionLoaded { execution, target, found }, &ROLLBACK).await?;
        }
        Ok(())
    }

    /// An execution that has left the live state.
    async fn ended(&self, id: ExecutionId) -> Result<Option<Box<Execution>>, DriverError> {
        if self.state.executions.contains_key(&id) {
            return Ok(None);
        }
        let bytes = self.get(&record::archived(id)).await?;
        Ok(bytes.map(|bytes| record::execution(&bytes)).transpose()?.map(Box::new))
    }

    /// A command about an execution that has left the live state brings it along; a start that was made before is not made
    /// again.
    async fn command(&mut self, mut what: InputKind, with: SubmitOptions, cause: &Cause) -> Result<Reply, DriverError> {
        if let Some(token) = &with.token
            && self.state.head.is_some()
            && let Some(bytes) = self.get(&record::token(&token.name)).await?
            && let Some(execution) = record::started(&bytes, self.shared.clock.now_ms(), token.meant_within)?
        {
            return Ok(Reply::Execution(execution));
        }
        match &mut what {
            InputKind::RetryStage(request) => request.ended = self.ended(request.execution).await?,
            InputKind::RollbackStage(request) => request.ended = self.ended(request.target).await?,
            InputKind::OverrideCondition(request) => request.ended = self.ended(request.execution).await?,
            _ => {}
        }
        self.input(what, with, cause).await
    }

    async fn answered(&mut self, answer: Answer) -> Result<(), DriverError> {
        let Answer { action, call, report } = answer;
        points::pass("answered");
        if self.running.get(&action).is_some_and(|running| running.call == call) {
            self.running.remove(&action);
        }
        match self.happened(InputKind::ActionReported { action, call, report }, &REPORT).await {
            Err(DriverError::TooLarge(why)) => {
                let report =
                    Report::failed(FailureType::JobFailed, format!("what the action returned cannot be kept: {why}"));
                self.happened(InputKind::ActionReported { action, call, report }, &REPORT).await
            }
            other => other,
        }
    }

    /// Something that happened, and that nobody would tell again: kept as soon as there is room. What comes too late, such as
    /// the answer of an action that was stopped meanwhile or whose pipeline is gone, has no effect.
    async fn happened(&mut self, what: InputKind, cause: &'static Cause) -> Result<(), DriverError> {
        match self.input(what.clone(), SubmitOptions::default(), cause).await {
            Ok(_) | Err(DriverError::Refused(Refusal::Stale | Refusal::PipelineNotFound)) => Ok(()),
            Err(DriverError::Refused(refusal)) => {
                tracing::warn!(aggregate = %self.aggregate, "what happened has no effect: {refusal}");
                Ok(())
            }
            Err(DriverError::Full(why)) => {
                tracing::warn!(aggregate = %self.aggregate, "{why}");
                self.postponed.push_back((what, cause));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn timers_due(&mut self) -> Result<(), DriverError> {
        while let Some((timer, _)) = self.timers.take(self.now()) {
            self.happened(InputKind::TimerDue { timer }, &TIMER).await?;
        }
        Ok(())
    }

    /// The heart: decide, make durable, and only then believe it and act on it.
    async fn input(&mut self, what: InputKind, with: SubmitOptions, cause: &Cause) -> Result<Reply, DriverError> {
        let at = Timestamp(self.shared.clock.now_ms());
        let mut decided = Decided { state: State::clone(&self.state), ..Decided::default() };
        let pinned = (&with.grants, &with.parts);
        let reply = self.decide(&mut decided, what, pinned, at)?;
        if let Some(then) = with.then {
            match self.decide(&mut decided, then, pinned, at) {
                Ok(_) => {}
                Err(error @ DriverError::Unpinned(_)) => tracing::info!(aggregate = %self.aggregate, "{error}"),
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
        let (notes, kept) = noted(with.notes);
        decided.puts.extend(kept);
        if let (Some(token), Reply::Execution(execution)) = (with.token, reply) {
            decided.puts.push((record::token(&token.name), Some(record::json(&Token { execution, at })?)));
            index.push(index::token_row(self.aggregate, at, &token.name));
        }
        self.shared.counts.commit(&decided.events);
        let events = entry::write(cause, at, &decided.events, &notes)?;
        points::pass("decided");
        self.writer.commit(decided.puts, events, index).await?;
        points::pass("committed");
        self.state = Arc::new(decided.state);
        for effect in decided.effects {
            self.perform(effect);
        }
        points::pass("effected");
        Ok(reply)
    }

    /// Decides one input on top of what was decided before it. A start pins what counts now, in the same record.
    fn decide(
        &self,
        decided: &mut Decided,
        mut what: InputKind,
        pinned: (&Granted, &BTreeMap<String, Bytes>),
        at: Timestamp,
    ) -> Result<Reply, DriverError> {
        let kept = match (&mut what, &decided.state.declaration) {
            (InputKind::Start(request), Some(declaration)) => self.pin(request, declaration, pinned)?,
            _ => Puts::new(),
        };
        let reply = decided.take(what, at)?;
        decided.puts.extend(kept);
        Ok(reply)
    }

    async fn note(&mut self, notes: Vec<Note>, cause: &Cause) -> Result<(), DriverError> {
        let (notes, puts) = noted(notes);
        let at = Timestamp(self.shared.clock.now_ms());
        let events = entry::write::<Event>(cause, at, &[], &notes)?;
        self.writer.commit(puts, events, Vec::new()).await
    }

    async fn get(&self, part: &PartKey) -> Result<Option<Bytes>, DriverError> {
        Ok(self.shared.store.get(self.aggregate, part).await?)
    }

    fn now(&self) -> Now {
        Now::read(&*self.shared.clock)
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            // What is not begun now goes on at the next start.
            Effect::RunAction(_) if self.shared.stopping.load(Ordering::SeqCst) => {}
            Effect::RunAction(run) => {
                let is_restart = self.restarting == Some(run.action_execution);
                self.call(RunAction { is_restart, ..*run });
            }
            Effect::StopAction { action, .. } => {
                if let Some(running) = self.running.remove(&action) {
                    running.handle.abort();
                }
            }
            Effect::LoadExecution { execution, target } => self.wanted.push_back((execution, target)),
            Effect::SetTimer { id, at } => self.timers.set_at(id, at.0, self.now()),
            Effect::ClearTimer { id } => self.timers.clear(&id),
        }
    }

    fn call(&mut self, run: RunAction) {
        let (action, call) = (run.action_execution, run.call);
        let future = self.shared.actions.run(self.aggregate, run);
        let counted = Counted::new(&self.shared);
        let called = async move {
            let _counted = counted;
            // A panic is a defect of the host, but not a reason for the pipeline to hang.
            let report = AssertUnwindSafe(future).catch_unwind().await.unwrap_or_else(|_| {
                Report::failed(FailureType::SystemUnavailable, "the host failed while the action ran; its log says how")
            });
            Answer { action, call, report }
        };
        let handle = match self.shared.actions.runtime() {
            Some(runtime) => self.calls.spawn_on(called, &runtime),
            None => self.calls.spawn(called),
        };
        self.running.insert(action, Running { call, handle });
    }
}

/// The names of notes, and the parts in which they are kept.
fn noted(notes: Vec<Note>) -> (Vec<String>, Puts) {
    let part = |(name, value): Note| {
        let part = record::note(&name);
        (name, (part, value))
    };
    notes.into_iter().map(part).unzip()
}

/// A panic is a defect of this program, and an error like any other: of the pipeline that met it.
async fn guarded<T>(life: impl Future<Output = Result<T, DriverError>>) -> Result<T, DriverError> {
    AssertUnwindSafe(life).catch_unwind().await.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(DriverError::Defect(said.unwrap_or_else(|| "it panicked".to_owned())))
    })
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
    puts: Puts,
    events: Vec<Event>,
    effects: Vec<Effect>,
}

impl Decided {
    fn take(&mut self, what: InputKind, at: Timestamp) -> Result<Reply, DriverError> {
        let input = Input { entropy: Entropy(super::random()?), what };
        let Step { changes, events, effects, reply } = machine::step(&self.state, input, at)?;
        self.puts.extend(record::puts(&changes)?);
        self.state.apply(changes).map_err(|error| DriverError::Damaged(error.to_string()))?;
        self.events.extend(events);
        self.effects.extend(effects);
        Ok(reply)
    }
}
