//! Every limit on what a job may use, each with the attack that it stops. The unit is the last word of the name but for `max`.

use serde::{Deserialize, Serialize};

/// The limits of one job: of all its processes together, where it does not say otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Stops a program that computes for ever, on however many cores.
    pub cpu_seconds_max: u64,
    /// Stops a program that waits for ever.
    pub wall_seconds_max: u64,
    /// Stops a program that takes the machine's memory. One process cannot pass it; many together are ended when they are seen
    /// to have passed it, which is within about a twentieth of a second.
    pub memory_bytes_max: u64,
    /// Stops a fork bomb. Threads count.
    pub processes_max: u64,
    /// Stops a program that opens files, sockets and pipes without end, each of which costs memory of the kernel. Per process.
    pub files_open_max: u64,
    /// Stops a single file from filling the disk between two measurements.
    pub file_bytes_max: u64,
    /// Stops a program that fills the disk by the work directory, with what was in there when it began. It is measured at
    /// intervals: within one, a program can write more.
    pub disk_bytes_max: u64,
    /// Stops a program that fills the disk with empty files.
    pub disk_entries_max: u64,
    /// Stops a program that fills `/tmp`, `/dev/shm` or the image's root file system. They are in memory, and come on top of
    /// `memory_bytes_max`.
    pub scratch_bytes_max: u64,
    /// Stops one that fills those with empty files.
    pub scratch_entries_max: u64,
    /// Stops a program that writes output without end.
    pub output_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_seconds_max: 3_600,
            wall_seconds_max: 3_600,
            memory_bytes_max: 4 << 30,
            processes_max: 1_024,
            files_open_max: 1_024,
            file_bytes_max: 4 << 30,
            disk_bytes_max: 16 << 30,
            disk_entries_max: 1_000_000,
            scratch_bytes_max: 1 << 30,
            scratch_entries_max: 100_000,
            output_bytes_max: 256 << 20,
        }
    }
}
