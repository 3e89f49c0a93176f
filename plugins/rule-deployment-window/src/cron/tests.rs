//! What Quartz's documents say of each character, and that nothing makes the reader panic.

use jiff::civil::{Date, date};
use proptest::prelude::*;

use super::*;

fn is_at(cron: &str, at: DateTime) -> bool {
    cron.parse::<Cron>().unwrap_or_else(|error| panic!("{cron}: {error}")).is_at(&Time::of(at))
}

#[test]
fn minutes_and_hours_are_those_of_their_fields() {
    let check = |cron: &str, hour: i8, minute: i8, expected: bool| {
        let at = date(2024, 5, 15).at(hour, minute, 30, 0);
        assert_eq!(is_at(cron, at), expected, "{cron} at {hour}:{minute:02}");
    };
    check("* * * * * ?", 23, 59, true);
    check("* * 9-17 ? * MON-FRI", 9, 0, true);
    check("* * 9-17 ? * MON-FRI", 17, 59, true);
    check("* * 9-17 ? * MON-FRI", 18, 0, false);
    check("0 0 9-17 ? * MON-FRI *", 9, 0, true);
    check("0 0 9-17 ? * MON-FRI *", 9, 1, false);
    check("* 0/15 * * * ?", 3, 45, true);
    check("* 5/15 * * * ?", 3, 4, false);
    check("* */20 * * * ?", 3, 40, true);
    check("* 10-20/5,59 * * * ?", 3, 15, true);
    check("* 10-20/5,59 * * * ?", 3, 25, false);
    check("* 10-20/5,59 * * * ?", 3, 59, true);
    check("* * 22-2 * * ?", 1, 0, true);
    check("* * 22-2 * * ?", 22, 0, true);
    check("* * 22-2 * * ?", 3, 0, false);
    check("* * 22-4/3 * * ?", 1, 0, true);
    check("* * 22-4/3 * * ?", 0, 0, false);
}

#[test]
fn days_are_those_of_the_month_that_quartz_means() {
    let days = |cron: &str, first: Date| -> Vec<i8> {
        let last = first.days_in_month();
        (1..=last).filter(|day| is_at(cron, first.with().day(*day).build().unwrap().at(0, 0, 0, 0))).collect()
    };
    // May 2024 begins on a Wednesday, and June on a Saturday; February has 29 days.
    let (may, june, february) = (date(2024, 5, 1), date(2024, 6, 1), date(2024, 2, 1));
    let check = |cron: &str, month: Date, expected: &[i8]| assert_eq!(days(cron, month), expected, "{cron} in {month}");
    check("* * * L * ?", may, &[31]);
    check("* * * L * ?", february, &[29]);
    check("* * * L-3 * ?", may, &[28]);
    check("* * * LW * ?", may, &[31]);
    check("* * * LW * ?", june, &[28]);
    check("* * * 15W * ?", may, &[15]);
    check("* * * 15W * ?", june, &[14]);
    check("* * * 16W * ?", june, &[17]);
    check("* * * 1W * ?", june, &[3]);
    check("* * * 30W * ?", june, &[28]);
    check("* * * 31W * ?", june, &[]);
    check("* * * 1,15,L * ?", may, &[1, 15, 31]);
    check("* * * ? * SUN", may, &[5, 12, 19, 26]);
    check("* * * ? * 1", may, &[5, 12, 19, 26]);
    check("* * * ? * L", may, &[4, 11, 18, 25]);
    check("* * * ? * friL", may, &[31]);
    check("* * * ? * 6L", june, &[28]);
    check("* * * ? * 6#3", may, &[17]);
    check("* * * ? * WED#5", may, &[29]);
    check("* * * ? * WED#5", june, &[]);
    check("* * * ? * FRI-MON", june, &[1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 17, 21, 22, 23, 24, 28, 29, 30]);
    check("* * * 10 5 ?", may, &[10]);
    check("* * * 10 jun-AUG ?", may, &[]);
    check("* * * 10 NOV-MAY ?", may, &[10]);
    check("* * * 10 * ? 2024", may, &[10]);
    check("* * * 10 * ? 2025-2030", may, &[]);
    check("* * * 10 * ? 2020/4", may, &[10]);
}

#[test]
fn what_is_no_expression_is_told_with_its_mend() {
    let check = |cron: &str, told: &str| {
        let error = cron.parse::<Cron>().unwrap_err();
        assert!(error.contains(told), "{cron}: {error}");
    };
    check("", "has 0 fields");
    check("* * * * *", "as in `* * 9-17 ? * MON-FRI`");
    check("* * * * * ? * *", "has 8 fields");
    check("* 60 * * * ?", "`60` is no minute: it is 0 to 59");
    check("* * 24 * * ?", "`24` is no hour");
    check("60 * * * * ?", "`60` is no second");
    check("* * * 0 * ?", "`0` is no day of the month");
    check("* * * 32W * ?", "`32W` is no day of the month");
    check("* * * L-31 * ?", "`L-31` is no day of the month");
    check("* * * * 13 ?", "`13` is no month");
    check("* * * ? * MOND", "`MOND` is no day of the week");
    check("* * * ? * 8", "`8` is no day of the week");
    check("* * * ? * 6#6", "`6#6` is no day of the week");
    check("* * * * * ? 1969", "`1969` is no year");
    check("* */0 * * * ?", "`*/0` is no minute");
    check("* 1,,2 * * * ?", "`` is no minute");
    check("* ? * * * ?", "`?` is no minute");
    check("* +5 * * * ?", "`+5` is no minute");
    check("* * * 1 * MON", "write `?` in the place of one of them");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[0-9*?LW#/,A-Za-z -]{0,40}") {
        let _ = text.parse::<Cron>();
    }

    /// Each number by itself is the list of it, and a range is all that lie in it, around the end too.
    #[test]
    fn a_range_is_its_numbers(first in 0u16..24, last in 0u16..24, step in 1u16..30, hour in 0u16..24) {
        let mut numbers = vec![first];
        while *numbers.last().unwrap() != last {
            numbers.push((numbers.last().unwrap() + 1) % 24);
        }
        let expected = numbers.iter().step_by(step.into()).any(|number| *number == hour);
        let at = date(2024, 5, 15).at(hour as i8, 0, 0, 0);
        prop_assert_eq!(is_at(&format!("* * {first}-{last}/{step} * * ?"), at), expected);
    }

    /// There is one working day nearest to any day, at most two days away, in the same month.
    #[test]
    fn a_working_day_is_one_day(day in 1i8..=31, month in 1i8..=12, year in 1970i16..2199) {
        let first = date(year, month, 1);
        prop_assume!(day <= first.days_in_month());
        let days = (1..=first.days_in_month()).map(|day| first.with().day(day).build().unwrap());
        let found: Vec<_> = days.filter(|at| is_at(&format!("* * * {day}W * ?"), at.at(0, 0, 0, 0))).collect();
        prop_assert_eq!(found.len(), 1);
        prop_assert!(found[0].weekday().to_monday_one_offset() <= 5);
        prop_assert!((found[0].day() - day).abs() <= 2);
    }
}
