//! Every limit on what a plugin may use, each with the attack that it stops. The unit is the last word of the name but
//! for `max`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use pipewright_artifacts::files::FileQuota;
use pipewright_base::memory::Budget;
use pipewright_base::memory::HostMemory;

/// The limits of one call of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallLimits {
    /// Stops a guest that computes for ever. Counted over all calls of an action execution.
    pub cpu_seconds_max: u64,
    /// Stops a guest that waits for ever: no other limit sees time spent in host calls.
    pub wall_seconds_max: u64,
    /// Stops a guest that takes the host's memory, by one memory or by many.
    pub memory_bytes_max: usize,
    /// Stops a guest that grows its tables instead of its memories.
    pub table_elements_max: usize,
    /// Stops a component made of a great many modules.
    pub instances_max: usize,
    /// Stops a guest that opens streams, requests or descriptors without end: each costs the host memory.
    pub resources_max: usize,
    /// Stops a guest that grows the host's memory instead of its own: texts and fields of requests, listings, open bodies,
    /// whatever the host holds from one host call to the next. The resources are counted in full, used or not.
    pub host_memory_bytes_max: usize,
    /// Stops a guest that passes huge strings or lists to the host, which copies them; for each host call.
    pub host_call_bytes_max: usize,
    /// Stops a guest that fills the log. Counted over all calls of an action execution.
    pub log_bytes_max: u64,
    /// Stops a log of ten million empty lines, and as many reports of progress.
    pub log_lines_max: u64,

    /// What it may do with files.
    pub files: FileQuota,

    /// What its requests may take.
    pub http: HttpLimits,

    /// What earlier calls of the same action execution used of them.
    #[serde(skip)]
    pub spent: Usage,
}

/// What a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub cpu_micros: u64,
    /// At most at once.
    pub memory_bytes: u64,
    pub log_bytes: u64,
    pub host_calls: u64,
}

impl Usage {
    /// What a further call used, too.
    pub fn add(&mut self, other: &Self) {
        self.cpu_micros += other.cpu_micros;
        self.memory_bytes = self.memory_bytes.max(other.memory_bytes);
        self.log_bytes += other.log_bytes;
        self.host_calls += other.host_calls;
    }
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            cpu_seconds_max: 3_600,
            wall_seconds_max: 3_600,
            memory_bytes_max: 1 << 30,
            table_elements_max: 1_000_000,
            instances_max: 256,
            resources_max: 10_000,
            // A listing of as many entries as a call may make.
            host_memory_bytes_max: 128 << 20,
            host_call_bytes_max: 16 << 20,
            log_bytes_max: 16 << 20,
            log_lines_max: 200_000,
            files: FileQuota::default(),
            http: HttpLimits::default(),
            spent: Usage::default(),
        }
    }
}

/// The limits of the HTTP requests of one call. A plugin may shorten a request's times, never lengthen them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpLimits {
    /// Stops a guest that uses the host to flood a server.
    pub requests_max: u64,
    /// Stops a guest that takes the host's connections and buffers; further requests wait.
    pub requests_in_flight_max: usize,
    /// Stops a name server, or a server that never answers the connection or the TLS handshake: one limit for the lookup,
    /// and one for the rest.
    pub connect_ms_max: u64,
    /// Stops a server that accepts a request and never answers. Begins anew while the request's body goes out.
    pub first_byte_ms_max: u64,
    /// Stops a server that answers and then falls silent.
    pub between_bytes_ms_max: u64,
    /// Stops a server that sends a byte now and then, for ever.
    pub total_ms_max: u64,
    /// Stops a guest that sends huge values, or a stand-in for a long secret very often.
    pub request_header_bytes_max: usize,
    /// Stops a guest that uses the host to fill a server.
    pub request_body_bytes_max: u64,
    /// Stops a server that answers with thousands of headers.
    pub response_headers_max: usize,
    /// Stops a server whose headers never end; at least 8,192.
    pub response_header_bytes_max: usize,
    /// Stops a server that sends for ever.
    pub response_body_bytes_max: u64,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            requests_max: 1_000,
            requests_in_flight_max: 16,
            connect_ms_max: 30_000,
            first_byte_ms_max: 300_000,
            between_bytes_ms_max: 60_000,
            total_ms_max: 1_800_000,
            request_header_bytes_max: 64 << 10,
            request_body_bytes_max: 1 << 30,
            response_headers_max: 100,
            response_header_bytes_max: 64 << 10,
            response_body_bytes_max: 1 << 30,
        }
    }
}

impl CallLimits {
    /// For another call of an action execution, whose calls before it used this together: CPU time, the bytes of the log
    /// and the host calls that a journal holds count over all calls. Stops a plugin that waits for no time again and again, and
    /// has fresh limits each time.
    pub fn less(self, spent: &Usage) -> Self {
        Self { spent: *spent, ..self }
    }

    /// The same with no more time for the call than the action has.
    pub fn within_minutes(self, minutes: Option<u32>) -> Self {
        let seconds = minutes.map_or(u64::MAX, |minutes| u64::from(minutes) * 60);
        Self { wall_seconds_max: self.wall_seconds_max.min(seconds), ..self }
    }

    pub(crate) fn host_memory(&self, all: &Arc<Budget>) -> Arc<HostMemory> {
        let reserved = self.resources_max.saturating_mul(RESOURCE_BYTES).min(self.host_memory_bytes_max);
        HostMemory::new(self.host_memory_bytes_max, reserved, Arc::clone(all))
    }

    /// What asking a plugin what is wrong with settings may cost, while a client waits.
    pub(crate) fn check() -> Self {
        Self { cpu_seconds_max: 1, wall_seconds_max: 2, ..Self::describe() }
    }

    /// What asking a plugin what it is may cost: enough for a component that brings an interpreter.
    pub(crate) fn describe() -> Self {
        Self {
            cpu_seconds_max: 10,
            wall_seconds_max: 20,
            memory_bytes_max: 256 << 20,
            resources_max: 1_000,
            host_memory_bytes_max: 4 << 20,
            host_call_bytes_max: 1 << 20,
            log_bytes_max: 64 << 10,
            log_lines_max: 1_000,
            // No scratch: there is no directory for it.
            files: FileQuota { bytes_max: 0, entries_max: 0, ..FileQuota::default() },
            ..Self::default()
        }
    }
}

/// What a resource costs the host besides its texts: its entries in two tables, and its structure. So much for each of
/// `resources_max` is held out of `host_memory_bytes_max` from the start of a call.
pub(crate) const RESOURCE_BYTES: usize = 512;

/// Stops a component that no disk or memory was planned for, before anything looks into it.
pub const COMPONENT_BYTES_MAX: usize = 64 << 20;
/// The limits of compiling one component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// Stops a component that takes minutes to compile: 132 KB can be made to take 46 s. All threads together.
    pub cpu_seconds_max: u64,
    /// The same where the compiler waits instead of computing.
    pub wall_seconds_max: u64,
    /// Stops a component whose compilation takes the host's memory; counted as address space.
    pub memory_bytes_max: u64,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self { cpu_seconds_max: 60, wall_seconds_max: 120, memory_bytes_max: 3 << 30 }
    }
}

/// Stops many such components at once.
pub const COMPILE_CHILDREN_MAX: usize = 2;
/// Stops a small component that compiles to a huge one.
pub const COMPILED_BYTES_MAX: u64 = 512 << 20;
/// Stops a cache that grows with every component ever seen; the entries not used for longest go first.
pub const CACHE_BYTES_MAX: u64 = 4 << 30;

/// The stack of the guest. Stops endless recursion; the host's own stack lies behind it.
pub(crate) const STACK_BYTES_MAX: usize = 1 << 20;
/// How often a computing guest gives way to others, and its CPU limit is looked at.
pub(crate) const EPOCH_MILLIS: u64 = 10;

/// Stops one line that no viewer can show; what is longer is cut into several.
pub(crate) const LOG_LINE_BYTES_MAX: usize = 16 << 10;
/// Stops progress reports that are a log of their own; what is longer is cut.
pub(crate) const PROGRESS_BYTES_MAX: usize = 1_024;

/// What a person reads at a glance: summaries, titles, names; and URLs. As CodePipeline counts them; what is longer is cut.
pub(crate) const SUMMARY_CHARS_MAX: usize = 2_048;
/// An id of an outside system; what is longer is cut. And of a revision, which is refused.
pub(crate) const ID_CHARS_MAX: usize = 1_500;
/// The kind of a signal that an action waits for; what is longer is refused.
pub(crate) const SIGNAL_BYTES_MAX: usize = 2_048;
/// The reason of an ask; what is longer is refused.
pub(crate) const REASON_BYTES_MAX: usize = 2_048;
/// Output variables of one action, names and values together (S111): more is refused.
pub(crate) const VARIABLES_BYTES_MAX: usize = 122_880;
/// What a waiting action may keep as its continuation: more is refused.
pub(crate) const CONTINUATION_BYTES_MAX: usize = 16 << 10;
/// A failure's message; what is longer is cut.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// Stops a test report that no page can show.
pub(crate) const CASES_MAX: usize = 10_000;
/// The same of the links of a report.
pub(crate) const LINKS_MAX: usize = 100;
/// The same of the targets of a deployment.
pub(crate) const TARGETS_MAX: usize = 1_000;

/// Stops actions that have tools compiled all the time: fewer than `COMPILE_CHILDREN_MAX`, so that plugins are compiled meanwhile.
pub(crate) const TOOL_COMPILES_MAX: usize = 1;
/// Stops a call that has one component after another compiled.
pub(crate) const TOOL_RUNS_MAX: usize = 64;
/// Stops a tool whose arguments and environment fill the host's memory.
pub(crate) const TOOL_WORDS_BYTES_MAX: usize = 1 << 20;

/// Stops results that no page can show: the cases or files of one report; further ones are counted.
pub(crate) const RESULTS_ITEMS_MAX: usize = 10_000;
/// Stops a guest that reports for ever: the reports of one call.
pub(crate) const RESULTS_REPORTS_MAX: usize = 100;
/// Stops a call that makes the host hold, and keep for as long as its log, whatever it likes: of all its reports together.
pub(crate) const RESULTS_BYTES_MAX: usize = 4 << 20;
/// The names of suites, cases and files, as CodeBuild has them; what is longer is cut.
pub(crate) const RESULT_NAME_CHARS_MAX: usize = 1_000;
/// The message of a case, as CodeBuild has it; what is longer is cut.
pub(crate) const RESULT_MESSAGE_CHARS_MAX: usize = 5_000;

/// A plugin's documentation, and that of each action type and setting.
pub(crate) const DOCUMENTATION_BYTES_MAX: usize = 64 << 10;
/// Stops a description that fills a catalogue.
pub(crate) const ACTION_TYPES_MAX: usize = 32;
/// The same of an action type's settings, and of its variables.
pub(crate) const SETTINGS_MAX: usize = 100;
/// Of what a plugin says is wrong with a setting, the rest is cut.
pub(crate) const PROBLEM_BYTES_MAX: usize = 1 << 10;
/// The same of a setting's choices.
pub(crate) const CHOICES_MAX: usize = 100;
/// The same of a plugin's asks.
pub(crate) const ASKS_MAX: usize = 64;
