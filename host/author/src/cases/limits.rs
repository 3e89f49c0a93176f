//! `limits` of `case.toml`: what each call of a case may use. Must not know how a limit is held.

use pipewright_sandbox::CallFailure;
use serde::Deserialize;

/// What each call may use. The defaults are for a case that a person waits for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CaseLimits {
    /// The plugin's own CPU time, in seconds; at most 600.
    pub(super) cpu_seconds: u64,
    /// The time of day that passes, in seconds; at most 3,600.
    pub(super) wall_seconds: u64,
    /// The plugin's own memory, in MiB; at most 4,096.
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

impl CaseLimits {
    pub(super) fn problems(&self) -> Vec<String> {
        let given = [
            ("cpu-seconds", self.cpu_seconds, CPU_SECONDS_MAX),
            ("wall-seconds", self.wall_seconds, WALL_SECONDS_MAX),
            ("memory-mib", self.memory_mib as u64, MEMORY_MIB_MAX as u64),
        ];
        let wrong = given.into_iter().filter(|(_, value, max)| !(1..=*max).contains(value));
        wrong.map(|(key, value, max)| format!("limits.{key}: {value} is not between 1 and {max}")).collect()
    }
}

/// The key of a case's `limits` that was reached, if it is one of those.
pub(super) fn key_of(failure: &CallFailure) -> Option<&'static str> {
    let CallFailure::Limit(reached) = failure else { return None };
    match reached.limit {
        "cpu_seconds_max" => Some("cpu-seconds"),
        "wall_seconds_max" => Some("wall-seconds"),
        "memory_bytes_max" => Some("memory-mib"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_that_says_nothing_ends_while_a_person_waits() {
        let check = |text: &str, expected: [u64; 3], wrong: usize| {
            let limits: CaseLimits = toml::from_str(text).unwrap();
            assert_eq!([limits.cpu_seconds, limits.wall_seconds, limits.memory_mib as u64], expected, "{text}");
            assert_eq!(limits.problems().len(), wrong, "{text}");
        };
        check("", [10, 30, 1024], 0);
        check("cpu-seconds = 600", [600, 30, 1024], 0);
        check("cpu-seconds = 601\nwall-seconds = 0", [601, 0, 1024], 2);
    }
}
