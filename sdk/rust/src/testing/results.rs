//! Reports of tests and coverage natively, with the limits that the host has for them.

use super::{Told, host::told};
pub(crate) use crate::bindings::host::pipewright::plugin::results::{Content, Error};
use crate::results::{Case, CoveredFile, Status};

const REPORTS_MAX: usize = 100;
/// Of the cases or files of one report.
const ITEMS_MAX: usize = 10_000;
/// Of all reports of a call.
pub(super) const BYTES_MAX: usize = 4 << 20;
const NAME_CHARS_MAX: usize = 1_000;
const MESSAGE_CHARS_MAX: usize = 5_000;
/// What about one case or file there is besides its texts.
const ITEM_BYTES: usize = 128;

pub(crate) fn report(name: &str, content: &Content) -> Result<(), Error> {
    told(|told| told.report(name, content.clone()))
}

impl Told {
    fn report(&mut self, name: &str, mut content: Content) -> Result<(), Error> {
        if self.results.len() >= REPORTS_MAX {
            return Err(Error::Quota(format!("a call keeps {REPORTS_MAX} reports: put several into one")));
        }
        if name.trim().is_empty() {
            return Err(Error::Invalid("the report has no name: give it one, such as `unit`".to_owned()));
        }
        let left_out = match &mut content {
            Content::Tests(tests) => {
                let counts = &tests.counts;
                let counted = [
                    (Status::Succeeded, counts.succeeded),
                    (Status::Failed, counts.failed),
                    (Status::Error, counts.error),
                    (Status::Skipped, counts.skipped),
                    (Status::Unknown, counts.unknown),
                ];
                let there = |status| tests.cases.iter().filter(|case| case.status == status).count() as u64;
                if counted.into_iter().any(|(status, count)| count < there(status)) {
                    let why = "its counts are fewer than its cases: count all of them";
                    return Err(Error::Invalid(format!("the report `{name}`: {why}")));
                }
                tests.cases.iter_mut().for_each(fit);
                let is_good = |case: &Case| matches!(case.status, Status::Succeeded | Status::Skipped);
                keep(&mut tests.cases, &mut self.report_bytes_left, case_bytes, is_good)
            }
            Content::Coverage(coverage) => {
                coverage.files.iter_mut().for_each(|file| cut(&mut file.path, NAME_CHARS_MAX));
                let bytes = |file: &CoveredFile| file.path.len();
                keep(&mut coverage.files, &mut self.report_bytes_left, bytes, |_| true)
            }
        };
        if left_out > 0 {
            self.log += &format!("the report {name} is not kept whole: {left_out} of it are left out\n");
        }
        self.results.push((name.to_owned(), content));
        Ok(())
    }
}

fn fit(case: &mut Case) {
    let Case { suite, prefix, name, message, file, .. } = case;
    [suite, prefix, name].into_iter().chain(file).for_each(|text| cut(text, NAME_CHARS_MAX));
    cut(message, MESSAGE_CHARS_MAX);
}

fn cut(text: &mut String, chars_max: usize) {
    if let Some((end, _)) = text.char_indices().nth(chars_max) {
        text.truncate(end);
    }
}

fn case_bytes(case: &Case) -> usize {
    let Case { suite, prefix, name, message, file, .. } = case;
    [suite, prefix, name, message].into_iter().chain(file).map(String::len).sum()
}

/// Leaves those that there is room for, of which those that are not good come first; how many are left out.
fn keep<T>(items: &mut Vec<T>, bytes_left: &mut usize, bytes: fn(&T) -> usize, is_good: fn(&T) -> bool) -> usize {
    let (mut fits, mut room) = (vec![false; items.len()], ITEMS_MAX);
    for turn in [false, true] {
        for (item, fits) in items.iter().zip(&mut fits).filter(|(item, _)| is_good(item) == turn) {
            if let (Some(bytes), Some(items)) = (bytes_left.checked_sub(bytes(item) + ITEM_BYTES), room.checked_sub(1))
            {
                (*bytes_left, room, *fits) = (bytes, items, true);
            }
        }
    }
    let before = items.len();
    let mut fits = fits.into_iter();
    items.retain(|_| fits.next().unwrap_or_default());
    before - items.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{self, Counts, Coverage, Ratio, Tests};
    use crate::testing::Host;

    fn case(name: &str, status: Status, message: &str) -> Case {
        Case {
            suite: String::new(),
            prefix: String::new(),
            name: name.to_owned(),
            status,
            duration_nanos: None,
            message: message.to_owned(),
            file: None,
            line: None,
        }
    }

    fn tests(mut cases: Vec<Case>) -> Tests {
        cases.push(case("last", Status::Failed, ""));
        let counts = Counts { succeeded: cases.len() as u64, failed: 1, error: 0, skipped: 0, unknown: 0 };
        Tests { counts, cases }
    }

    /// How many cases or files are kept of what is reported, whether the last is among them, and what the log says.
    #[track_caller]
    fn check(content: &Content, kept: usize, has_last: bool, says: &str) {
        let host = Host::new();
        report("unit", content).unwrap();
        let (items, last) = match &host.results()[0].1 {
            Content::Tests(tests) => (tests.cases.len(), tests.cases.last().unwrap().name.clone()),
            Content::Coverage(coverage) => (coverage.files.len(), coverage.files.last().unwrap().path.clone()),
        };
        assert_eq!((items, last == "last"), (kept, has_last));
        assert_eq!(host.log(), says);
    }

    #[test]
    fn a_report_is_cut_as_the_host_cuts_it() {
        let small = |count| Content::Tests(tests(vec![case("x", Status::Succeeded, ""); count]));
        check(&small(ITEMS_MAX - 1), ITEMS_MAX, true, "");
        check(&small(ITEMS_MAX), ITEMS_MAX, true, "the report unit is not kept whole: 1 of it are left out\n");
        // 5,000 bytes of message, one of name, and what about each there is besides.
        let large = Content::Tests(tests(vec![case("x", Status::Succeeded, &"x".repeat(6_000)); 1_000]));
        let kept = (BYTES_MAX - ITEM_BYTES - "last".len()) / (MESSAGE_CHARS_MAX + 1 + ITEM_BYTES) + 1;
        let says = format!("the report unit is not kept whole: {} of it are left out\n", 1_001 - kept);
        check(&large, kept, true, &says);
        let none = || Ratio { covered: 0, total: 0 };
        let file = || CoveredFile { path: "é".repeat(1_001), lines: none(), branches: none() };
        let files = vec![file(); ITEMS_MAX + 1];
        let host = Host::new();
        results::coverage("unit", Coverage { lines: none(), branches: none(), files }).unwrap();
        let Content::Coverage(coverage) = &host.results()[0].1 else { panic!("it was coverage") };
        assert_eq!(coverage.files.len(), BYTES_MAX / (2 * NAME_CHARS_MAX + ITEM_BYTES));
        assert_eq!(coverage.files[0].path.chars().count(), NAME_CHARS_MAX);
    }

    #[test]
    fn reports_that_are_refused_say_why() {
        let host = Host::new();
        let wrong = Counts { succeeded: 0, failed: 0, error: 0, skipped: 0, unknown: 9 };
        let fewer = results::tests("unit", Tests { counts: wrong, cases: vec![case("x", Status::Failed, "")] });
        assert!(fewer.unwrap_err().message.contains("its counts are fewer than its cases"));
        for _ in 0..REPORTS_MAX {
            results::tests("unit", tests(Vec::new())).unwrap();
        }
        let one_more = results::tests("unit", tests(Vec::new()));
        assert!(one_more.unwrap_err().message.contains("a call keeps 100 reports"));
        assert_eq!(host.results().len(), REPORTS_MAX);
    }
}
