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
    goal: f64,
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
    let (mut ours, mut bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=rounds {
        let (one, other) = round(number)?;
        ratios.push(one.as_secs_f64() / other.as_secs_f64());
        ours.push(one);
        bare.push(other);
    }
    ours.sort();
    bare.sort();
    ratios.sort_by(f64::total_cmp);
    let of = |ratios: &[f64], quarter: usize| ratios[(ratios.len() - 1) * quarter / 4];
    Ok(Line {
        name: name.into(),
        ours: ours[rounds / 2],
        bare: bare[rounds / 2],
        ratio: of(&ratios, 2),
        spread: (of(&ratios, 1), of(&ratios, 3)),
        goal,
        count,
    })
}

/// The heads of the columns.
pub(crate) fn head() -> String {
    format!("{:<50} {:>10} {:>10} {:>10}  (quartiles)  goal", "", "ours", "bare", "ratio")
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, ours, bare, ratio, spread: (low, high), goal, count } = self;
        let met = if ratio <= goal { "met" } else { "MISSED" };
        let (ours, bare) = (each(*ours, *count), each(*bare, *count));
        write!(f, "{name:<50} {ours:>10} {bare:>10} {ratio:>9.2}×  ({low:.2}–{high:.2})  ≤ {goal}× {met}")
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
