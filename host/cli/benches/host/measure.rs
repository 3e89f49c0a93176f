//! Two sides of one measurement, taken in turns, and the line that compares them.

use std::time::Duration;

/// A comparison as it is printed.
pub(crate) struct Line {
    name: String,
    ours: Duration,
    bare: Duration,
    ratio: f64,
    /// The quarters of the ratios lie below and above.
    spread: (f64, f64),
    /// None where it is only told.
    goal: Option<f64>,
    /// How many of its thing each side did in a round; the times are of one.
    count: u32,
}

/// Measures both sides in turns: whatever disturbs this machine disturbs both. The first round warms up and does not count.
/// A round gives what it took; the ratio is the median over the rounds, each with its own two sides.
pub(crate) fn compare(
    name: impl Into<String>,
    goal: f64,
    (rounds, count): (usize, u32),
    mut round: impl FnMut(usize) -> anyhow::Result<(Duration, Duration)>,
) -> anyhow::Result<Line> {
    round(0)?;
    let rounds: Vec<_> = (1..=rounds).map(round).collect::<anyhow::Result<_>>()?;
    Ok(Line::new(name, Some(goal), count, &rounds))
}

impl Line {
    /// Of what each round gave.
    pub(crate) fn new(name: impl Into<String>, goal: Option<f64>, count: u32, rounds: &[(Duration, Duration)]) -> Self {
        let (mut ours, mut bare): (Vec<_>, Vec<_>) = rounds.iter().copied().unzip();
        let mut ratios: Vec<_> = rounds.iter().map(|(ours, bare)| ours.as_secs_f64() / bare.as_secs_f64()).collect();
        ours.sort();
        bare.sort();
        ratios.sort_by(f64::total_cmp);
        let of = |quarter: usize| ratios[(ratios.len() - 1) * quarter / 4];
        Self {
            name: name.into(),
            ours: ours[rounds.len() / 2],
            bare: bare[rounds.len() / 2],
            ratio: of(2),
            spread: (of(1), of(3)),
            goal,
            count,
        }
    }
}

/// The heads of the columns.
pub(crate) fn head() -> String {
    format!("{:<50} {:>10} {:>10} {:>10}  (quartiles)  goal", "", "ours", "bare", "ratio")
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, ours, bare, ratio, spread: (low, high), goal, count } = self;
        let (ours, bare) = (each(*ours, *count), each(*bare, *count));
        write!(f, "{name:<50} {ours:>10} {bare:>10} {ratio:>9.2}×  ({low:.2}–{high:.2})")?;
        let Some(goal) = goal else { return Ok(()) };
        let met = if ratio <= goal { "met" } else { "MISSED" };
        write!(f, "  ≤ {goal}× {met}")
    }
}

fn each(time: Duration, count: u32) -> String {
    let micros = time.as_secs_f64() * 1e6 / f64::from(count);
    match micros {
        0.0..1e3 => format!("{micros:.1} µs"),
        1e3..1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}
