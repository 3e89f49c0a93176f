//! How figures are printed, each with its goal.

use std::time::Duration;

/// Which of the figures is the `percent`th of a hundred, smallest first.
pub(crate) fn percentile(figures: &mut [Duration], percent: usize) -> Duration {
    figures.sort();
    figures[(figures.len() - 1) * percent / 100]
}

/// A figure without a goal of its own.
pub(crate) fn tell(name: &str, figure: &str) {
    println!("{name:<74} {figure:>14}");
}

/// A figure, and the most that it may be.
pub(crate) fn judge(name: &str, figure: f64, most: f64, show: impl Fn(f64) -> String) {
    let met = if figure <= most { "met" } else { "MISSED" };
    println!("{name:<74} {:>14}  ≤ {} {met}", show(figure), show(most));
}

pub(crate) fn time(time: Duration) -> String {
    seconds(time.as_secs_f64())
}

pub(crate) fn seconds(seconds: f64) -> String {
    match seconds {
        0.0..0.1 => format!("{:.2} ms", seconds * 1e3),
        0.1..1.0 => format!("{:.0} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}

pub(crate) fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / 1024.0 / 1024.0)
}

pub(crate) fn kib(bytes: f64) -> String {
    format!("{:.1} KiB", bytes / 1024.0)
}

pub(crate) fn times(ratio: f64) -> String {
    format!("{ratio:.2}×")
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
