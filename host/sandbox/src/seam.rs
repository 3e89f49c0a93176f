//! The one place that every host call passes: it is timed, journaled and masked here, and here a capability learns whether
//! it faces the outside, or what was kept of it (`outside`).
//!
//! Owns the journal's shape and the counting of what a call used. Must not know what any capability does.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use pipewright_base::Digest;
use pipewright_text::printable;
use serde::{Deserialize, Serialize};

use crate::capabilities::{Exchange, Tabled};
use crate::clock;
use crate::masks::Masks;
use crate::outside::{Difference, Exchanged, Observed, Outside, Recorded, masked_outcome};
use crate::rights::Asks;

/// Where what a call says and does goes to. Called from the thread that runs the guest: must not block.
pub trait Sink: Send + Sync {
    fn log(&self, level: Level, line: &str);
    fn progress(&self, percent: Option<u8>, summary: &str);
    fn host_call(&self, call: HostCall);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Keeps what a call said and did, for the tests of this crate.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Journal {
    pub(crate) calls: Mutex<Vec<HostCall>>,
    pub(crate) lines: Mutex<Vec<String>>,
}

#[cfg(test)]
impl Sink for Journal {
    fn log(&self, _: Level, line: &str) {
        self.lines.lock().unwrap().push(line.to_owned());
    }

    fn progress(&self, _: Option<u8>, _: &str) {}

    fn host_call(&self, call: HostCall) {
        self.calls.lock().unwrap().push(call);
    }
}

/// One use of a capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCall {
    /// A row of the capability table: `http`, `directories`, …
    pub capability: &'static str,
    pub operation: &'static str,
    /// What was reached or tried, without secrets: `GET https://example.com/x`.
    pub target: String,
    pub outcome: HostCallOutcome,
    pub bytes: u64,
    pub micros: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostCallOutcome {
    Done,
    /// Refused for want of a grant; the text names the plugin, what it tried, and the grant that would allow it.
    Denied(String),
    /// A named limit was used up.
    Limit(String),
    Failed(String),
}

impl HostCallOutcome {
    /// With its text as one line: the guest's names are in it.
    fn printable(self) -> Self {
        let line = |text: String| printable(&text).into_owned();
        match self {
            Self::Done => Self::Done,
            Self::Denied(text) => Self::Denied(line(text)),
            Self::Limit(text) => Self::Limit(line(text)),
            Self::Failed(text) => Self::Failed(line(text)),
        }
    }

    /// Why it is not done.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Done => None,
            Self::Denied(text) | Self::Limit(text) | Self::Failed(text) => Some(text),
        }
    }
}

/// The first this many host calls of an action execution are journaled whole, the rest only counted: stops a journal that grows with
/// a loop in a guest.
pub const JOURNAL_CALLS_MAX: u64 = 1_000;

/// What was tried without a grant.
pub struct Denied {
    /// After "tried".
    pub(crate) tried: String,
    /// The grant that would allow it, in the words of a grants file.
    pub(crate) grant: String,
    /// What the plugin does not ask for no grant allows.
    pub(crate) is_asked: bool,
}

/// One per call of a plugin.
pub struct Seam {
    plugin: Arc<str>,
    action: Arc<str>,
    sink: Arc<dyn Sink>,
    outside: Outside,
    /// Values that no log line, journal entry or error may show.
    masks: Masks,
    asks: Asks,
    calls: AtomicU64,
    /// How many more of them are journaled whole.
    journal_left: AtomicU64,
    /// The denials of this call, for tests and for the failure message of the action.
    denials: Mutex<Vec<String>>,
    /// Whether a grant would have allowed something that was denied.
    wants_grant: AtomicBool,
    /// What the guest may be waiting for just now: the targets of requests that have not ended.
    under_way: Mutex<Vec<String>>,
}

/// At most this many denials are logged, and kept for the end of the call.
const DENIALS_KEPT_MAX: usize = 32;

impl Seam {
    /// `plugin` and `action` are the words by which a denial names who asked: the plugin's name, and the name
    /// under which a grants file grants it something.
    pub(crate) fn new(
        plugin: &str,
        action: &str,
        sink: Arc<dyn Sink>,
        masks: Masks,
        asks: Asks,
        outside: Outside,
    ) -> Arc<Self> {
        Arc::new(Self {
            plugin: plugin.into(),
            action: action.into(),
            sink,
            outside,
            masks,
            asks,
            calls: AtomicU64::new(0),
            journal_left: AtomicU64::new(JOURNAL_CALLS_MAX),
            denials: Mutex::new(Vec::new()),
            wants_grant: AtomicBool::new(false),
            under_way: Mutex::default(),
        })
    }

    /// Earlier calls of the same action execution made so many host calls, which are in the same journal.
    pub(crate) fn journaled_before(&self, calls: u64) {
        self.journal_left.store(JOURNAL_CALLS_MAX.saturating_sub(calls), Ordering::Relaxed);
    }

    /// Starts the timing of one host call; `HostCallTimer::end` journals it.
    pub fn begin(self: &Arc<Self>, capability: &'static str, operation: &'static str) -> HostCallTimer {
        HostCallTimer { seam: Arc::clone(self), capability, operation, started: clock::monotonic() }
    }

    /// One use of a capability that is a request and its response: checked against the grants, asked of what is outside, or
    /// given from what was kept or made up; timed and journaled. An error is in the words of its outcome.
    pub(crate) fn exchange<C: Exchange>(
        self: &Arc<Self>,
        capability: &C,
        request: C::Request,
    ) -> Result<C::Response, String> {
        self.attempt(capability, request).map_err(|outcome| outcome.text().unwrap_or_default().to_owned())
    }

    /// The same for whoever wants to know how it ended.
    pub(crate) fn attempt<C: Exchange>(
        self: &Arc<Self>,
        capability: &C,
        request: C::Request,
    ) -> Result<C::Response, HostCallOutcome> {
        let timer = self.begin(C::ROW.name, C::operation(&request));
        let live = || {
            capability.check(&request).map_err(|denied| HostCallOutcome::Denied(self.denial(&denied)))?;
            let made_up = match &self.outside {
                Outside::Faked(fakes) => fakes.exchange::<C>(&request),
                _ => None,
            };
            made_up.unwrap_or_else(|| capability.exchange(&request))
        };
        let answer = match &self.outside {
            Outside::Replayed(replay) => replay.exchange::<C>(&request, &self.masks).unwrap_or_else(|| {
                // The call ends at once.
                Err(HostCallOutcome::Failed("it is not what was kept".to_owned()))
            }),
            _ => live(),
        };
        if let Outside::Recorded(recorder) = &self.outside {
            recorder.step(|| C::step(Exchanged::of(&request, &answer, C::IS_SURE)));
        }
        let (target, bytes) = C::journaled(&request, answer.as_ref().ok());
        timer.end(target, answer.as_ref().err().cloned().unwrap_or(HostCallOutcome::Done), bytes);
        answer
    }

    /// Denies something; gives the text: who, what, and the grant that would allow it.
    pub(crate) fn denial(&self, denied: &Denied) -> String {
        let Self { plugin, action, .. } = self;
        let Denied { tried, grant, is_asked } = denied;
        self.wants_grant.fetch_or(*is_asked, Ordering::Relaxed);
        match is_asked {
            true => format!(
                "{plugin} (action {action}) tried {tried}, which it was not granted. To allow it, grant the action \"{action}\": {grant}"
            ),
            false => format!(
                "{plugin} (action {action}) tried {tried}, which it does not ask for, so that no grant allows it. Its author adds it to \
                 the plugin's `asks`, or its user names it in the setting that is there for it"
            ),
        }
    }

    /// The text of the denial of what no grant allows; `instead` is what the plugin can use.
    pub(crate) fn denial_of_all(&self, tried: &str, instead: &str) -> String {
        let Self { plugin, action, .. } = self;
        format!("{plugin} (action {action}) tried {tried}, which no grant allows; there are {instead} instead")
    }

    /// A request begins, of which `under_way` knows until `no_more_under_way`.
    pub(crate) fn now_under_way(&self, target: &str) {
        self.under_way.lock().expect("no panic while held").push(target.to_owned());
    }

    pub(crate) fn no_more_under_way(&self, target: &str) {
        let mut under_way = self.under_way.lock().expect("no panic while held");
        if let Some(at) = under_way.iter().position(|it| it == target) {
            under_way.remove(at);
        }
    }

    /// The requests that have not ended, in words; none where there are none.
    pub(crate) fn under_way(&self) -> Option<String> {
        let under_way = self.under_way.lock().expect("no panic while held").join(", ");
        (!under_way.is_empty()).then(|| printable(&self.masked(&under_way)).into_owned())
    }

    /// What the plugin asks for.
    pub(crate) fn asks(&self) -> &Asks {
        &self.asks
    }

    pub fn log(&self, level: Level, line: &str) {
        self.sink.log(level, &self.masked(line));
    }

    /// A line in which nothing is to be masked any more.
    pub(crate) fn log_masked(&self, level: Level, line: &str) {
        self.sink.log(level, line);
    }

    pub fn progress(&self, percent: Option<u8>, summary: &str) {
        self.sink.progress(percent, &self.masked(summary));
    }

    /// How many host calls were made so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub fn denials(&self) -> Vec<String> {
        self.denials.lock().expect("no panic while held").clone()
    }

    /// Whether a grant would have allowed something that was denied.
    pub fn wants_grant(&self) -> bool {
        self.wants_grant.load(Ordering::Relaxed)
    }

    /// The text with every secret value in it replaced.
    pub fn masked<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.masks.text(text)
    }

    pub(crate) fn masks(&self) -> &Masks {
        &self.masks
    }

    pub(crate) fn outside(&self) -> &Outside {
        &self.outside
    }

    /// Ends when the guest did what was not kept; never where nothing is compared.
    pub(crate) async fn differed(&self) {
        match self.outside.stop() {
            Some(stop) => stop.reached().await,
            None => std::future::pending().await,
        }
    }

    /// What the guest did that was not kept. To be asked when it is gone, with the words in which it failed.
    pub(crate) fn difference(&self, failure: Option<&str>) -> Option<Difference> {
        if let Outside::Replayed(replay) = &self.outside {
            replay.finish(failure);
        }
        let found = self.outside.stop()?.difference()?;
        let masked = |text: &str| self.masked(text).into_owned();
        Some(Difference { number: found.number, expected: masked(&found.expected), made: masked(&found.made) })
    }

    /// What came from outside, of a call that is recorded, and nothing of one that is replayed. To be asked when the guest is
    /// gone.
    pub(crate) fn recorded(&self) -> Option<Recorded> {
        match &self.outside {
            Outside::Recorded(recorder) => Some(recorder.finish(&self.masks)),
            Outside::Replayed(_) => Some(Recorded::default()),
            Outside::Live | Outside::Faked(_) => None,
        }
    }

    /// The component of a package is run as a tool: whoever runs the call again needs the same.
    pub(crate) fn ran_tool(&self, package: &str, digest: Digest) {
        if let Outside::Recorded(recorder) = &self.outside {
            recorder.ran_tool(package, digest);
        }
    }

    /// Keeps what was done, or compares it with what was kept.
    fn observe<C: Tabled<Kept = Observed>>(&self, call: &HostCall) {
        let HostCall { operation, target, outcome, bytes, .. } = call.clone();
        let observed = Observed { operation: operation.to_owned(), target, bytes, outcome };
        match &self.outside {
            Outside::Recorded(recorder) => recorder.step(|| C::step(observed)),
            Outside::Replayed(replay) => replay.observed::<C>(&observed),
            Outside::Live | Outside::Faked(_) => {}
        }
    }

    /// `call` has no secret value.
    fn journal(&self, call: HostCall) {
        if let HostCallOutcome::Denied(text) = &call.outcome {
            let mut denials = self.denials.lock().expect("no panic while held");
            // A guest that tries again is told again; its log and its end need it once.
            if denials.len() < DENIALS_KEPT_MAX && !denials.contains(text) {
                self.sink.log(Level::Warn, text);
                denials.push(text.clone());
            }
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        let left = self.journal_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left.is_ok() {
            self.sink.host_call(call);
        }
    }
}

/// A host call under way.
#[must_use]
pub struct HostCallTimer {
    seam: Arc<Seam>,
    capability: &'static str,
    operation: &'static str,
    started: std::time::Instant,
}

impl HostCallTimer {
    pub fn end(self, target: impl Into<String>, outcome: HostCallOutcome, bytes: u64) {
        let seam = Arc::clone(&self.seam);
        seam.journal(self.call(target.into(), outcome, bytes));
    }

    /// The same for a use whose answer follows from what is kept otherwise, so that a replay makes it again: it must end as it
    /// did.
    pub(crate) fn end_observed<C: Tabled<Kept = Observed>>(self, target: String, outcome: HostCallOutcome, bytes: u64) {
        let seam = Arc::clone(&self.seam);
        let call = self.call(target, outcome, bytes);
        seam.observe::<C>(&call);
        seam.journal(call);
    }

    fn call(self, target: String, outcome: HostCallOutcome, bytes: u64) -> HostCall {
        let micros = u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX);
        let (capability, operation) = (self.capability, self.operation);
        let target = printable(&self.seam.masked(&target)).into_owned();
        let outcome = masked_outcome(&outcome, &self.seam.masks).printable();
        HostCall { capability, operation, target, outcome, bytes, micros }
    }
}
