//! How answers are printed: tables on a terminal, tab-separated lines when piped, JSON for machines.
//!
//! Owns the printing. Must not know what an answer means.

use std::io::IsTerminal as _;

use pipewright_pipeline::machine::ActionStatus;
use pipewright_pipeline::responses::Time;
use pipewright_text::printable;
use serde::Deserialize as _;
use serde_json::Value;

use crate::out;

/// Columns under headings on a terminal, else tab-separated lines without headings.
pub fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) {
    if !std::io::stdout().is_terminal() {
        return rows.iter().for_each(|row| out::tabbed(row));
    }
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| printable(cell).into_owned())).collect();
    columns(headings, &rows).iter().for_each(|text| out::line(text));
}

fn columns<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let headings = headings.map(str::to_owned);
    let all = || std::iter::once(&headings).chain(rows);
    let widths: [usize; N] = std::array::from_fn(|i| all().map(|row| row[i].chars().count()).max().unwrap_or_default());
    let padded = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    all().map(padded).collect()
}

/// A text of an answer; empty where there is none.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What an action ended with, in one line; of an approval who answered it.
pub fn summary(status: ActionStatus, by: Option<&str>, said: &str) -> String {
    let said = said.lines().next().unwrap_or_default();
    let verb = match (status, by) {
        (ActionStatus::Succeeded, Some(_)) => "approved",
        (ActionStatus::Failed, Some(_)) => "rejected",
        _ => return said.to_owned(),
    };
    let said = said.strip_prefix(verb).map_or(said, |rest| rest.trim_start_matches([':', ' ']));
    // Of a user's ARN the name.
    let by = by.and_then(|by| by.rsplit('/').next()).unwrap_or_default();
    if said.is_empty() { format!("{verb} by {by}") } else { format!("{verb} by {by}: {said}") }
}

/// A time of an answer, which is in seconds since 1970, as UTC.
pub fn time(value: &Value) -> String {
    Time::deserialize(value).map(time_of).unwrap_or_default()
}

/// The same, once it is read.
pub fn time_of(time: Time) -> String {
    let time = i64::try_from(time.0.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

/// The same for milliseconds, which logs have.
pub fn time_ms(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned);
        let rows = [row(["site", "1", ""]), row(["größer", "12", "x"])];
        let expected = ["NAME    V   NOTE", "site    1", "größer  12  x"];
        assert_eq!(columns(["NAME", "V", "NOTE"], &rows), expected);
    }

    #[test]
    fn an_answer_is_told_with_who_gave_it() {
        let check = |status, by, said, expected: &str| assert_eq!(summary(status, by, said), expected, "{said}");
        check(ActionStatus::Succeeded, Some("arn:aws:iam::000000000000:user/maria"), "", "approved by maria");
        check(ActionStatus::Succeeded, Some("maria"), "fine\nindeed", "approved by maria: fine");
        check(ActionStatus::Failed, Some("maria"), "rejected", "rejected by maria");
        check(ActionStatus::Failed, Some("maria"), "rejected: too late", "rejected by maria: too late");
        check(ActionStatus::InProgress, Some("maria"), "Publish?", "Publish?");
        check(ActionStatus::Failed, None, "no such file\nat all", "no such file");
    }

    #[test]
    fn times_are_utc_in_seconds() {
        assert_eq!(time(&json!(1_795_342_830.5)), "2026-11-22T10:20:30Z");
        assert_eq!(time(&json!(0)), "1970-01-01T00:00:00Z");
        assert_eq!(time(&json!(1e300)), "");
        assert_eq!(time(&Value::Null), "");
    }
}
