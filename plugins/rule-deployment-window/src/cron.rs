//! Cron expressions as Quartz writes them: what they say, and whether a minute is one of theirs.
//!
//! Owns the language. Must not know time zones, nor what time it is.

use std::ops::RangeInclusive;
use std::str::FromStr;

use jiff::civil::DateTime;

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
/// Sunday is the first.
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// A field of numbers: what it is called, what it may have, and names for its first numbers.
struct Field {
    name: &'static str,
    range: RangeInclusive<u16>,
    names: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", range: 0..=59, names: &[] };
const MINUTE: Field = Field { name: "minute", range: 0..=59, names: &[] };
const HOUR: Field = Field { name: "hour", range: 0..=23, names: &[] };
const DAY: Field = Field { name: "day of the month", range: 1..=31, names: &[] };
const MONTH: Field = Field { name: "month", range: 1..=12, names: &MONTHS };
const WEEKDAY: Field = Field { name: "day of the week", range: 1..=7, names: &DAYS };
const YEAR: Field = Field { name: "year", range: 1970..=2199, names: &[] };

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Cron {
    minutes: Vec<Span>,
    hours: Vec<Span>,
    days: Vec<Day>,
    months: Vec<Span>,
    years: Vec<Span>,
}

/// Every so many numbers from a first to a last; where the last is less, around the end of the field.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Span {
    first: u16,
    last: u16,
    step: u16,
    /// How many numbers the field has.
    of: u16,
}

/// Which days of a month are meant.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Day {
    Number(Span),
    /// `L`, `L-3`: so many days before the last.
    BeforeLast(u16),
    /// `15W`: the working day nearest to it in the month.
    Working(u16),
    /// `LW`: the last working day.
    LastWorking,
    Weekday(Span),
    /// `6L`: the last one of the month; Sunday is 1.
    LastWeekday(u16),
    /// `6#3`: the third one of the month.
    NthWeekday(u16, u16),
}

/// A minute, as the fields of an expression have it.
#[derive(Clone, Copy, Debug)]
pub struct Time {
    minute: u16,
    hour: u16,
    day: u16,
    month: u16,
    year: u16,
    /// Sunday is 1.
    weekday: u16,
    /// How many days the month has.
    days: u16,
}

impl Time {
    pub fn of(at: DateTime) -> Time {
        let number = |number: i8| number.unsigned_abs().into();
        Time {
            minute: number(at.minute()),
            hour: number(at.hour()),
            day: number(at.day()),
            month: number(at.month()),
            year: at.year().unsigned_abs(),
            weekday: number(at.weekday().to_sunday_one_offset()),
            days: number(at.days_in_month()),
        }
    }

    /// The day of the week of another day of the month.
    fn weekday_of(&self, day: u16) -> u16 {
        (self.weekday - 1 + 35 + day - self.day) % 7 + 1
    }

    fn is_working(&self, day: u16) -> bool {
        (2..=6).contains(&self.weekday_of(day))
    }
}

impl Cron {
    /// Whether a minute is meant.
    pub fn is_at(&self, time: &Time) -> bool {
        let any = |spans: &[Span], number| spans.iter().any(|span| span.has(number));
        any(&self.minutes, time.minute)
            && any(&self.hours, time.hour)
            && any(&self.months, time.month)
            && any(&self.years, time.year)
            && self.days.iter().any(|day| day.is_on(time))
    }
}

impl Span {
    fn has(&self, number: u16) -> bool {
        // How far behind the first, in a field that begins anew behind its end.
        let behind = |number: u16| (number + self.of - self.first) % self.of;
        behind(number) <= behind(self.last) && behind(number).is_multiple_of(self.step)
    }
}

impl Day {
    fn is_on(&self, time: &Time) -> bool {
        match *self {
            Day::Number(span) => span.has(time.day),
            Day::BeforeLast(days) => time.day + days == time.days,
            Day::Working(day) => nearest_working(time, day) == Some(time.day),
            Day::LastWorking => nearest_working(time, time.days) == Some(time.day),
            Day::Weekday(span) => span.has(time.weekday),
            Day::LastWeekday(weekday) => time.weekday == weekday && time.day + 7 > time.days,
            Day::NthWeekday(weekday, nth) => time.weekday == weekday && (time.day - 1) / 7 + 1 == nth,
        }
    }
}

/// The working day nearest to a day, in the same month; none where the month has no such day.
fn nearest_working(time: &Time, day: u16) -> Option<u16> {
    let near = [day, day - 1, day + 1, day.saturating_sub(2), day + 2];
    let is_there = |day: &u16| (1..=time.days).contains(day);
    near.into_iter().filter(|_| is_there(&day)).filter(is_there).find(|day| time.is_working(*day))
}

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Cron, String> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let (second, minute, hour, day, month, weekday, year) = match fields[..] {
            [second, minute, hour, day, month, weekday] => (second, minute, hour, day, month, weekday, "*"),
            [second, minute, hour, day, month, weekday, year] => (second, minute, hour, day, month, weekday, year),
            _ => {
                let count = fields.len();
                return Err(format!(
                    "it has {count} fields: write second, minute, hour, day of the month, month, day of the week, and \
                     perhaps the year, as in `* * 9-17 ? * MON-FRI`"
                ));
            }
        };
        SECOND.spans(second)?;
        let days = match (is_any(day), is_any(weekday)) {
            (_, true) => DAY.items(day, Day::of_month)?,
            (true, false) => WEEKDAY.items(weekday, Day::of_week)?,
            (false, false) => {
                let both = "it has days of the month and days of the week: write `?` in the place of one of them";
                return Err(both.to_owned());
            }
        };
        Ok(Cron {
            minutes: MINUTE.spans(minute)?,
            hours: HOUR.spans(hour)?,
            days,
            months: MONTH.spans(month)?,
            years: YEAR.spans(year)?,
        })
    }
}

fn is_any(field: &str) -> bool {
    matches!(field, "?" | "*")
}

impl Day {
    fn of_month(item: &str) -> Option<Day> {
        let number = |text: &str| text.parse().ok();
        Some(match item.to_ascii_uppercase().as_str() {
            "?" => Day::Number(DAY.whole()),
            "L" => Day::BeforeLast(0),
            "LW" | "WL" => Day::LastWorking,
            item => match (item.strip_prefix("L-"), item.strip_suffix('W')) {
                (Some(days), _) => Day::BeforeLast(number(days).filter(|days| *days < 31)?),
                (_, Some(day)) => Day::Working(number(day).filter(|day| DAY.range.contains(day))?),
                _ => Day::Number(DAY.span(item)?),
            },
        })
    }

    fn of_week(item: &str) -> Option<Day> {
        let item = item.to_ascii_uppercase();
        // By itself it is Saturday.
        if item == "L" {
            return Some(Day::Weekday(WEEKDAY.span("SAT")?));
        }
        if let Some((weekday, nth)) = item.split_once('#') {
            let nth = nth.parse().ok().filter(|nth| (1..=5).contains(nth))?;
            return Some(Day::NthWeekday(WEEKDAY.number(weekday)?, nth));
        }
        match item.strip_suffix('L').and_then(|weekday| WEEKDAY.number(weekday)) {
            Some(weekday) => Some(Day::LastWeekday(weekday)),
            None => Some(Day::Weekday(WEEKDAY.span(&item)?)),
        }
    }
}

impl Field {
    fn spans(&self, text: &str) -> Result<Vec<Span>, String> {
        self.items(text, |item| self.span(item))
    }

    fn items<T>(&self, text: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
        let item = |item: &str| {
            read(item).ok_or_else(|| {
                let Field { name, range, .. } = self;
                format!("`{item}` is no {name}: it is {} to {}, or what Quartz has for it", range.start(), range.end())
            })
        };
        text.split(',').map(item).collect()
    }

    fn whole(&self) -> Span {
        let (first, last) = (*self.range.start(), *self.range.end());
        Span { first, last, step: 1, of: last - first + 1 }
    }

    /// `*`, `4`, `4-7`, and each with a step: `*/2`, `4/2` (from there on), `4-7/2`.
    fn span(&self, item: &str) -> Option<Span> {
        let (numbers, step) = match item.split_once('/') {
            Some((numbers, step)) => (numbers, Some(step.parse().ok().filter(|step| *step > 0)?)),
            None => (item, None),
        };
        let whole = self.whole();
        let (first, last) = match numbers.split_once('-') {
            _ if numbers == "*" => (whole.first, whole.last),
            Some((first, last)) => (self.number(first)?, self.number(last)?),
            None => {
                let first = self.number(numbers)?;
                (first, if step.is_some() { whole.last } else { first })
            }
        };
        Some(Span { first, last, step: step.unwrap_or(1), ..whole })
    }

    fn number(&self, text: &str) -> Option<u16> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.map(|index| self.range.start() + index as u16);
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        named.or_else(|| text.parse().ok().filter(|number| is_number && self.range.contains(number)))
    }
}

#[cfg(test)]
mod tests;
