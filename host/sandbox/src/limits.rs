//! Every limit on what a plugin may use, each with the attack that it stops. The unit is the last word of the name but
//! for `max`.

/// The limits of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallLimits {
    // The engine's.
    /// Stops a guest that computes for ever.
    pub cpu_seconds_max: u64,
    /// Stops a guest that waits for ever: no other limit sees time spent in host calls.
    pub wall_seconds_max: u64,
    /// Stops a guest that takes the host's memory, by one memory or by many.
    pub memory_bytes_max: usize,
    /// Stops a guest that grows its tables instead of its memories.
    pub table_elements_max: usize,
    /// Stops a component made of a great many modules.
    pub instances_max: usize,
    /// Stops a guest that passes huge strings or lists to the host, which copies them.
    pub host_call_bytes_max: usize,
    /// Stops a guest that fills the log, counted over all of a call.
    pub log_bytes_max: u64,
    /// Stops a log of ten million empty lines.
    pub log_lines_max: u64,
    /// Stops one line that no viewer can show; what is longer is cut into several.
    pub log_line_bytes_max: usize,
    // The file capability's.

    // The HTTP capability's.
}

impl Default for CallLimits {
    fn default() -> Self {
        Self {
            cpu_seconds_max: 3_600,
            wall_seconds_max: 3_600,
            memory_bytes_max: 1 << 30,
            table_elements_max: 1_000_000,
            instances_max: 256,
            host_call_bytes_max: 64 << 20,
            log_bytes_max: 16 << 20,
            log_lines_max: 200_000,
            log_line_bytes_max: 16 << 10,
        }
    }
}
