//! `case.toml`: what is called, with what, and what is expected.
//!
//! Owns the format; an unknown key is an error. Must not know how a case is run.

use std::collections::BTreeMap;

use pipewright_base::Digest;
use pipewright_pipeline::machine::FailureType;
use pipewright_sandbox::capabilities::commands::Ended;
use pipewright_sandbox::capabilities::http::{Fake, FakeAnswer, FakeBody};
use pipewright_sandbox::capabilities::{CAPABILITIES, Step};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use pipewright_runner::grants::ActionGrants;

/// The time of day at which a case starts unless it says otherwise.
const TIME_DEFAULT: u64 = 1_700_000_000_000;
/// Stops a case that calls a plugin without end.
const CALLS_MAX: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CaseFile {
    /// `CATEGORY/OWNER/PROVIDER/VERSION`
    pub(super) action: String,
    pub(super) inputs: Option<Vec<String>>,
    pub(super) outputs: Option<Vec<Output>>,
    #[serde(default)]
    pub(super) commands: Vec<String>,
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) output_variables: Vec<String>,
    pub(super) call: Option<SourceCall>,
    pub(super) revision: Option<String>,
    #[serde(default = "idempotency_key")]
    pub(super) idempotency_key: String,
    #[serde(default = "attempt")]
    pub(super) attempt: u32,
    /// milliseconds since 1970-01-01 UTC
    #[serde(default = "time")]
    pub(super) time: u64,
    #[serde(default)]
    pub(super) settings: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) grants: ActionGrants,
    /// Answers to requests, in the order in which those are to come, over all calls of the case.
    pub(super) http: Option<Vec<Answer>>,
    /// Answers to other host calls as a recording has them, those of one capability in the order in which they are to come.
    #[serde(default)]
    pub(super) host_calls: Vec<Step>,
    /// Requests without made-up answers reach the network, as far as they are granted.
    #[serde(default)]
    pub(super) network: bool,
    #[serde(default)]
    pub(super) limits: CaseLimits,
    /// A file beside `case.toml` with what is outside of each call: a recording.
    pub(super) recorded: Option<String>,
    #[serde(default)]
    pub(super) names: CaseNames,
    pub(super) expected: Expected,
    #[serde(default)]
    pub(super) then: Vec<Then>,
}

fn idempotency_key() -> String {
    "case".to_owned()
}

fn attempt() -> u32 {
    1
}

fn time() -> u64 {
    TIME_DEFAULT
}

/// What each call may use. The defaults are for a case that a person waits for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CaseLimits {
    /// At most [`CPU_SECONDS_MAX`].
    pub(super) cpu_seconds: u64,
    /// At most [`WALL_SECONDS_MAX`].
    pub(super) wall_seconds: u64,
    /// At most [`MEMORY_MIB_MAX`].
    pub(super) memory_mib: usize,
}

impl Default for CaseLimits {
    fn default() -> Self {
        Self { cpu_seconds: 10, wall_seconds: 30, memory_mib: 1024 }
    }
}

/// Stops a case that a mistake in its file lets run for ever.
const CPU_SECONDS_MAX: u64 = 600;
const WALL_SECONDS_MAX: u64 = 3600;
const MEMORY_MIB_MAX: usize = 4096;

/// Which of a source's two functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SourceCall {
    Latest,
    Fetch,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "must be the name of an output artifact, or { name = \"…\", files = [\"…\"] }")]
pub(super) enum Output {
    Name(String),
    Detailed(DetailedOutput),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DetailedOutput {
    name: String,
    #[serde(default)]
    files: Vec<String>,
}

impl Output {
    pub(super) fn parts(&self) -> (&str, &[String]) {
        match self {
            Self::Name(name) => (name, &[]),
            Self::Detailed(output) => (&output.name, &output.files),
        }
    }
}

/// Who is called, where that matters to the plugin.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CaseNames {
    pub(super) account: Option<String>,
    pub(super) region: Option<String>,
    pub(super) pipeline: Option<String>,
    pub(super) execution: Option<String>,
    pub(super) stage: Option<String>,
    pub(super) action: Option<String>,
    /// Default: the idempotency key.
    pub(super) action_execution: Option<String>,
}

/// A request that is to come, and the answer that it gets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    /// `POST https://example.com/jobs`
    request: String,
    #[serde(default)]
    with: With,
    status: Option<u16>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    json: Option<Value>,
    /// Instead of an answer: one of wasi:http's error codes.
    error: Option<String>,
}

/// What the request must have, besides what it is sent to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct With {
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    json: Option<Value>,
}

impl Answer {
    /// As the sandbox takes it, or what is wrong with it.
    pub(super) fn fake(&self) -> Result<Fake, String> {
        let wrong = |problem: &str| Err(format!("{}: {problem}", self.request));
        let Some((method, url)) = self.request.split_once(' ').filter(|(_, url)| url.contains("://")) else {
            return wrong("write it as \"GET https://example.com/path\"");
        };
        let body = match (&self.with.body, &self.with.json) {
            (None, None) => FakeBody::Any,
            (Some(text), None) => FakeBody::Bytes(text.clone().into()),
            (None, Some(value)) => FakeBody::Json(value.clone()),
            (Some(_), Some(_)) => return wrong("with: give body or json, not both"),
        };
        let mut headers: Vec<_> = self.headers.clone().into_iter().collect();
        let given = match (&self.body, &self.json) {
            (text, None) => text.clone().unwrap_or_default(),
            (None, Some(value)) => {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
                value.to_string()
            }
            (Some(_), Some(_)) => return wrong("give body or json, not both"),
        };
        let answer = match (&self.error, self.status) {
            (None, status) => {
                let status = status.unwrap_or(200);
                if !(100..600).contains(&status) {
                    return wrong("status: there is no such HTTP status");
                }
                FakeAnswer::Response { status, headers, body: given.into() }
            }
            (Some(code), None) if given.is_empty() && headers.is_empty() => match FakeAnswer::error(code) {
                Some(answer) => answer,
                None => return wrong(&format!("error: wasi:http has no error code {code}")),
            },
            (Some(_), _) => return wrong("an error has no status, headers or body"),
        };
        let headers = self.with.headers.clone().into_iter().collect();
        Ok(Fake { method: method.to_owned(), url: url.to_owned(), headers, body, answer })
    }
}

/// One more call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Then {
    pub(super) signal: Option<Signal>,
    pub(super) wake: Option<Wake>,
    pub(super) attempt: Option<u32>,
    pub(super) idempotency_key: Option<String>,
    #[serde(default)]
    pub(super) settings: BTreeMap<String, String>,
    /// The folder in `inputs/` for each artifact that is another one now.
    #[serde(default)]
    pub(super) inputs: BTreeMap<String, String>,
    pub(super) time: Option<u64>,
    /// The program that the call before started has ended so.
    pub(super) ended: Option<EndedProgram>,
    /// The folder in `scratch/` that it left as the scratch; none: what the call before left there.
    pub(super) scratch: Option<String>,
    pub(super) expected: Expected,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct EndedProgram {
    status: i32,
    signal: Option<i32>,
    limit: Option<String>,
    cpu_micros: u64,
    memory_bytes_max: u64,
    wall_micros: u64,
    tail: String,
}

impl EndedProgram {
    pub(super) fn told(&self) -> Ended {
        let Self { status, signal, limit, cpu_micros, memory_bytes_max, wall_micros, tail } = self.clone();
        Ended { status, signal, limit, cpu_micros, memory_bytes_max, wall_micros, tail }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signal {
    pub(super) kind: String,
    #[serde(default)]
    pub(super) payload: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Wake {
    Time,
}

impl Then {
    pub(super) fn wakes(&self) -> bool {
        self.signal.is_some() || self.wake.is_some() || self.ended.is_some()
    }
}

/// What is expected of a call; everything but the outcome counts only where it is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Expected {
    pub(super) outcome: OutcomeKind,
    pub(super) failure: Option<ExpectedFailure>,
    #[serde(default)]
    pub(super) summary: Vec<String>,
    pub(super) external_id: Option<String>,
    pub(super) variables: Option<BTreeMap<String, String>>,
    pub(super) links: Option<Vec<Link>>,
    pub(super) revision: Option<ExpectedRevision>,
    pub(super) targets: Option<Vec<Target>>,
    #[serde(default)]
    pub(super) cases: Vec<TestCase>,
    pub(super) counts: Option<Counts>,
    pub(super) waiting: Option<Waiting>,
    #[serde(default)]
    pub(super) log: Vec<String>,
    #[serde(default)]
    pub(super) denials: Vec<String>,
    #[serde(default)]
    pub(super) outputs: BTreeMap<String, ExpectedFiles>,
    #[serde(default)]
    pub(super) directories: BTreeMap<String, ExpectedFiles>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OutcomeKind {
    Succeeded,
    Rejected,
    Failed,
    Waiting,
}

impl std::fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Succeeded => "succeeded",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Waiting => "waiting",
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedFailure {
    pub(super) kind: Option<FailureType>,
    #[serde(default)]
    pub(super) contains: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "must be false, or some of { id, summary, url, created }")]
pub(super) enum ExpectedRevision {
    /// `false`: there is none.
    Is(bool),
    Like(Revision),
}

// The records that a case expects as far as it gives them, and in which the plugin's answer is compared and shown.

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revision {
    pub(super) id: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) url: Option<String>,
    pub(super) created: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    pub(super) title: String,
    pub(super) url: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    pub(super) id: Option<String>,
    pub(super) kind: Option<String>,
    pub(super) status: Option<TargetStatus>,
    pub(super) url: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TargetStatus {
    Succeeded,
    Failed,
    Skipped,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestCase {
    pub(super) name: Option<String>,
    pub(super) status: Option<TestStatus>,
    /// Contained in the message.
    pub(super) message: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TestStatus {
    Passed,
    Failed,
    Skipped,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    pub(super) passed: Option<usize>,
    pub(super) failed: Option<usize>,
    pub(super) skipped: Option<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiting {
    pub(super) signal: Option<String>,
    pub(super) until: Option<u64>,
}

/// What an output artifact or a directory must be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedFiles {
    /// Exactly this content, with its paths, links and modes.
    pub(super) digest: Option<Digest>,
    /// Exactly these paths.
    pub(super) files: Option<Vec<String>>,
    /// Texts that must be found, by path.
    #[serde(default)]
    pub(super) contains: BTreeMap<String, Vec<String>>,
    /// Texts that must not be found, by path.
    #[serde(default)]
    pub(super) lacks: BTreeMap<String, Vec<String>>,
}

impl CaseLimits {
    fn problems(&self) -> Vec<String> {
        let given = [
            ("cpu-seconds", self.cpu_seconds, CPU_SECONDS_MAX),
            ("wall-seconds", self.wall_seconds, WALL_SECONDS_MAX),
            ("memory-mib", self.memory_mib as u64, MEMORY_MIB_MAX as u64),
        ];
        let wrong = given.into_iter().filter(|(_, value, max)| !(1..=*max).contains(value));
        wrong.map(|(key, value, max)| format!("limits.{key}: {value} is not between 1 and {max}")).collect()
    }
}

impl CaseFile {
    /// What cannot be right by itself, each with its key.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let is_source = self.action.starts_with("Source/");
        if !is_source && self.call.is_some() {
            problems.push("call: only a source has more than one".to_owned());
        }
        if self.revision.is_some() && (!is_source || self.call == Some(SourceCall::Latest)) {
            problems.push("revision: only a source's `fetch` is given one".to_owned());
        }
        if self.recorded.is_some() && self.http.is_some() {
            problems.push("recorded: give it or http, not both".to_owned());
        }
        if self.network && (self.http.is_some() || self.recorded.is_some()) {
            problems.push("network: give it or made-up answers, not both".to_owned());
        }
        problems.extend(self.limits.problems());
        if self.recorded.is_some() && !self.host_calls.is_empty() {
            problems.push("recorded: give it or host-calls, not both".to_owned());
        }
        for (step, number) in self.host_calls.iter().zip(1..) {
            let name = step.capability();
            let instead = match CAPABILITIES.iter().find(|row| row.name == name) {
                _ if name == "http" => "give it as [[http]]",
                Some(row) if !row.can_be_made_up => "what it reaches is in the case's folder",
                _ => continue,
            };
            problems.push(format!("host-calls.{number}: {name} cannot be made up here: {instead}"));
        }
        if self.recorded.as_ref().is_some_and(|file| file.contains('/')) {
            problems.push("recorded: the name of a file beside case.toml".to_owned());
        }
        let answers = self.http.iter().flatten().zip(1..);
        problems
            .extend(answers.filter_map(|(answer, number)| Some(format!("http.{number}: {}", answer.fake().err()?))));
        if self.then.len() >= CALLS_MAX {
            problems.push(format!("then: at most {CALLS_MAX} calls"));
        }
        let mut before = &self.expected;
        for (number, then) in self.then.iter().enumerate() {
            let key = format!("then.{}", number + 1);
            if then.signal.is_some() && then.wake.is_some() {
                problems.push(format!("{key}: a call is woken by a signal or by time, not by both"));
            }
            if then.wakes() && before.outcome != OutcomeKind::Waiting {
                problems.push(format!("{key}: nothing waits: the call before is expected to end {}", before.outcome));
            }
            before = &then.expected;
        }
        let all = std::iter::once(&self.expected).chain(self.then.iter().map(|then| &then.expected));
        if all.into_iter().any(|expected| matches!(expected.revision, Some(ExpectedRevision::Is(true)))) {
            problems.push("expected.revision: must be false, or some of { id, summary, url, created }".to_owned());
        }
        problems
    }
}
