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

use super::limits::CaseLimits;
use super::reports::Report;
use pipewright_runner::grants::ActionGrants;

/// The time of day at which a case starts unless it says otherwise.
const TIME_DEFAULT: u64 = 1_700_000_000_000;
/// Stops a case that calls a plugin without end.
const CALLS_MAX: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CaseFile {
    /// The action type that is called, as `CATEGORY/OWNER/PROVIDER/VERSION`.
    pub(super) action: String,
    /// The input artifacts, in the order of the declaration; each is a folder in `inputs/`. Without it: all of those folders,
    /// by name.
    pub(super) inputs: Option<Vec<String>>,
    /// The output artifacts, in the order of the declaration. Without it: the folders in `outputs/`, by name.
    pub(super) outputs: Option<Vec<Output>>,
    /// The declaration's `commands`.
    #[serde(default)]
    pub(super) commands: Vec<String>,
    /// The declaration's `environmentVariables`.
    #[serde(default)]
    pub(super) environment: BTreeMap<String, String>,
    /// Those of them of the type `SECRETS_MANAGER`, each with what names its secret.
    #[serde(default)]
    pub(super) secret_environment: BTreeMap<String, String>,
    /// What earlier executions have kept: for each key the folder in `caches/` with its files.
    #[serde(default)]
    pub(super) caches: BTreeMap<String, String>,
    /// The declaration's `outputVariables`.
    #[serde(default)]
    pub(super) output_variables: Vec<String>,
    /// Of a source only: which of its functions is called. Without it: `fetch`.
    pub(super) call: Option<SourceCall>,
    /// Of a source's `fetch` only: the revision to fetch. Without it: the newest.
    pub(super) revision: Option<String>,
    /// What the plugin sees as its idempotency key.
    #[serde(default = "idempotency_key")]
    pub(super) idempotency_key: String,
    /// Which attempt at the action execution this is.
    #[serde(default = "attempt")]
    pub(super) attempt: u32,
    /// When the call starts, in milliseconds since 1970-01-01 UTC. The clock runs on from there, if it is granted.
    #[serde(default = "time")]
    pub(super) time: u64,
    /// The settings, as in `configuration`: all values are texts. One that the action type does not have is an error.
    #[serde(default)]
    pub(super) settings: BTreeMap<String, String>,
    /// What the action is granted. Paths start at a fresh copy of the case's folder and stay in it; secrets come from files.
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
    /// What each call may use.
    #[serde(default)]
    pub(super) limits: CaseLimits,
    /// A file beside `case.toml` with what is outside of each call: a recording, as `pipewright plugin case` makes it. Such a
    /// case has neither `http` nor `host-calls`.
    pub(super) recorded: Option<String>,
    /// Who is called, where that matters to the plugin.
    #[serde(default)]
    pub(super) names: CaseNames,
    /// What is expected of the call.
    pub(super) expected: Expected,
    /// More calls, one after the other, with the granted directories as the call before left them.
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

/// An output artifact whose declaration says which files it takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DetailedOutput {
    /// The artifact's name.
    name: String,
    /// The declaration's patterns, such as `**/*.xml`; the plugin sees them.
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

/// Who is called, where that matters to the plugin. A name that is not given is `case`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CaseNames {
    /// The account's id.
    pub(super) account: Option<String>,
    /// The region.
    pub(super) region: Option<String>,
    /// The pipeline's name.
    pub(super) pipeline: Option<String>,
    /// The pipeline execution's id.
    pub(super) execution: Option<String>,
    /// The stage's name.
    pub(super) stage: Option<String>,
    /// The action's name.
    pub(super) action: Option<String>,
    /// The action execution's id. Without it: the idempotency key.
    pub(super) action_execution: Option<String>,
}

/// A request that is to come, and the answer that it gets.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    /// Method and URL, as in `POST https://example.com/jobs`.
    request: String,
    /// What the request must have besides.
    #[serde(default)]
    with: With,
    /// The answer's status. Without it: 200.
    status: Option<u16>,
    /// The answer's headers.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The answer's body.
    body: Option<String>,
    /// The answer's body as JSON, which also says so in the header `content-type`. Give it or `body`.
    json: Option<Value>,
    /// Instead of an answer: an error code of wasi:http, such as `connection-refused`, `DNS-error` or `HTTP-response-timeout`.
    error: Option<String>,
}

/// What the request must have, besides what it is sent to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct With {
    /// Headers that it must have, with the values of secrets in the place of their stand-ins.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// The body that it must have.
    body: Option<String>,
    /// The same as JSON: the same value, however it is written. Give it or `body`.
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

/// One more call: a wake-up after *waiting*, with the continuation of the call before, where `signal` or `wake` is given; else a
/// call from the start, as of another attempt or of another execution. Outputs and scratch are empty again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Then {
    /// The signal that ends the wait.
    pub(super) signal: Option<Signal>,
    /// The wait ends because its time has come.
    pub(super) wake: Option<Wake>,
    /// Another attempt at the same action execution.
    pub(super) attempt: Option<u32>,
    /// Another action execution.
    pub(super) idempotency_key: Option<String>,
    /// Settings that are other ones now; those of the case stay beside them.
    #[serde(default)]
    pub(super) settings: BTreeMap<String, String>,
    /// The folder in `inputs/` for each artifact that is another one now.
    #[serde(default)]
    pub(super) inputs: BTreeMap<String, String>,
    /// When the call starts, in milliseconds since 1970-01-01 UTC.
    pub(super) time: Option<u64>,
    /// The program that the call before started has ended so.
    pub(super) ended: Option<EndedProgram>,
    /// The folder in `scratch/` that it left as the scratch; none: what the call before left there.
    pub(super) scratch: Option<String>,
    /// What is expected of this call.
    pub(super) expected: Expected,
}

/// How a program ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub(super) struct EndedProgram {
    /// What it ended with, or 128 and the number of the signal that ended it.
    status: i32,
    /// The signal that ended it.
    signal: Option<i32>,
    /// The limit that ended it, such as `wall-seconds`.
    limit: Option<String>,
    /// The CPU time of all its processes, in microseconds.
    cpu_micros: u64,
    /// The memory of all its processes, at most at once.
    memory_bytes_max: u64,
    /// How long it ran, in microseconds.
    wall_micros: u64,
    /// The last lines of its log.
    tail: String,
}

impl EndedProgram {
    pub(super) fn told(&self) -> Ended {
        let Self { status, signal, limit, cpu_micros, memory_bytes_max, wall_micros, tail } = self.clone();
        Ended { status, signal, limit, cpu_micros, memory_bytes_max, wall_micros, tail }
    }
}

/// What ends a wait.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Signal {
    /// The kind that the plugin waits for, such as `approval`.
    pub(super) kind: String,
    /// What comes with it. Of an approval: `{"status":"Approved|Rejected","summary":"…","by":"…"}`.
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
    /// How the call ends. `rejected`: an approval or a rule said no; `failed`: a failure, or a test with a failed case.
    pub(super) outcome: OutcomeKind,
    /// Of `failed`: what the failure says.
    pub(super) failure: Option<ExpectedFailure>,
    /// Texts that the summary contains: of a report, a decision or a wait, or the reason of a verdict.
    #[serde(default)]
    pub(super) summary: Vec<String>,
    /// The id of an outside system, exactly.
    pub(super) external_id: Option<String>,
    /// Exactly these output variables, with these values.
    pub(super) variables: Option<BTreeMap<String, String>>,
    /// Exactly these links.
    pub(super) links: Option<Vec<Link>>,
    /// Of a source: the revision, as far as it is given; `false`: there is none.
    pub(super) revision: Option<ExpectedRevision>,
    /// Of a deployment: exactly these targets, in this order, each as far as it is given.
    pub(super) targets: Option<Vec<Target>>,
    /// Of a test: cases that must be among its own, each as far as it is given.
    #[serde(default)]
    pub(super) cases: Vec<TestCase>,
    /// Of a test: how many cases there are.
    pub(super) counts: Option<Counts>,
    /// What is reported of tests and coverage, by name: exactly these reports, each as far as it is given.
    pub(super) results: Option<BTreeMap<String, Report>>,
    /// Of `waiting`: what for, as far as it is given.
    pub(super) waiting: Option<Waiting>,
    /// Texts that the log contains.
    #[serde(default)]
    pub(super) log: Vec<String>,
    /// For each host call that was refused a text of the refusal; no other may have been refused.
    #[serde(default)]
    pub(super) denials: Vec<String>,
    /// What the output artifacts must be, by name.
    #[serde(default)]
    pub(super) outputs: BTreeMap<String, ExpectedFiles>,
    /// What the granted directories must be after the call, by their folder in `directories/`.
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

/// What a failure must say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedFailure {
    /// CodePipeline's failure type.
    pub(super) kind: Option<FailureType>,
    /// Texts that the message contains.
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

/// What a source found, as far as it is given.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Revision {
    /// Such as a commit's id.
    pub(super) id: Option<String>,
    /// Such as a commit's first line.
    pub(super) summary: Option<String>,
    /// Where to see it.
    pub(super) url: Option<String>,
    /// In milliseconds since 1970-01-01 UTC.
    pub(super) created: Option<u64>,
}

/// A link of the report.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Link {
    /// What it is called.
    pub(super) title: String,
    /// Where it leads.
    pub(super) url: String,
}

/// Where something was deployed to, as far as it is given.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    /// Such as a host's name.
    pub(super) id: Option<String>,
    /// In a word of the plugin's own.
    pub(super) kind: Option<String>,
    /// How it went there.
    pub(super) status: Option<TargetStatus>,
    /// Where to see it.
    pub(super) url: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TargetStatus {
    Succeeded,
    Failed,
    Skipped,
}

/// One thing that a test looked at, as far as it is given.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestCase {
    /// What it is called.
    pub(super) name: Option<String>,
    /// How it went.
    pub(super) status: Option<TestStatus>,
    /// Contained in the message.
    pub(super) message: Option<String>,
    /// The file that it is about.
    pub(super) file: Option<String>,
    /// The line in it, from 1 on.
    pub(super) line: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TestStatus {
    Passed,
    Failed,
    Skipped,
}

/// How many cases a test has, as far as it is given.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    /// As they should be.
    pub(super) passed: Option<usize>,
    /// Not as they should be.
    pub(super) failed: Option<usize>,
    /// Not looked at.
    pub(super) skipped: Option<usize>,
}

/// What the action waits for, as far as it is given.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Waiting {
    /// The kind of signal.
    pub(super) signal: Option<String>,
    /// The time, in milliseconds since 1970-01-01 UTC.
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

impl CaseFile {
    /// What is expected of a call, and its key.
    pub(super) fn expected_of(&self, number: usize) -> (String, &Expected) {
        match number.checked_sub(1).map(|index| &self.then[index]) {
            None => ("expected".to_owned(), &self.expected),
            Some(then) => (format!("then.{number}.expected"), &then.expected),
        }
    }

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
