//! What tests and coverage tools found, as plugins report it. Asked for by nobody and granted to all, within limits.
//!
//! Owns the form in which results are kept and shown, and what fits of them. Must not know where they are kept, or what is
//! made of them.

use std::fmt;
use std::sync::Arc;

use pipewright_base::memory::HostMemory;
use pipewright_text::{cut_chars, printable, printable_lines};
use serde::{Deserialize, Serialize};
use wasmtime::component::{HasSelf, Linker};

use crate::abi::{Status as TestStatus, TestCase, Tested};
use crate::bindings::pipewright::plugin::results as abi;
use crate::limits::{
    RESULT_MESSAGE_CHARS_MAX, RESULT_NAME_CHARS_MAX, RESULTS_BYTES_MAX, RESULTS_ITEMS_MAX, RESULTS_REPORTS_MAX,
};
use crate::outcome::masked_texts;
use crate::seam::{Level, Seam};
use crate::state::State;

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    abi::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

/// One report of an action, under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Results {
    pub name: String,
    #[serde(flatten)]
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Content {
    Tests(Tests),
    Coverage(Coverage),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tests {
    /// Of all cases.
    pub counts: Counts,
    pub cases: Vec<Case>,
    /// How many cases there was no room for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub succeeded: u64,
    pub failed: u64,
    pub error: u64,
    pub skipped: u64,
    pub unknown: u64,
}

/// With CodeBuild's names for what it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Case {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub test_suite_name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    pub name: String,
    pub status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_in_nano_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    Succeeded,
    Failed,
    Error,
    Skipped,
    Unknown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ratio {
    pub covered: u64,
    pub total: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Coverage {
    /// Of all files.
    pub lines: Ratio,
    pub branches: Ratio,
    pub files: Vec<CoveredFile>,
    /// How many files there was no room for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoveredFile {
    pub path: String,
    pub lines: Ratio,
    pub branches: Ratio,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tests(tests) => write!(f, "{}", tests.counts),
            Self::Coverage(coverage) => write!(f, "lines {}, branches {}", coverage.lines, coverage.branches),
        }
    }
}

/// `12 cases: 10 succeeded, 2 failed`
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { succeeded, failed, error, skipped, unknown } = *self;
        let parts = [
            (succeeded, "succeeded"),
            (failed, "failed"),
            (error, "with an error"),
            (skipped, "skipped"),
            (unknown, "unknown"),
        ];
        let there = parts.iter().filter(|(count, _)| *count > 0).map(|(count, status)| format!("{count} {status}"));
        match self.total() {
            0 => f.write_str("no cases"),
            total => write!(f, "{total} cases: {}", there.collect::<Vec<_>>().join(", ")),
        }
    }
}

/// `80.0 % (8 of 10)`
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self { total: 0, .. } => f.write_str("none"),
            Self { covered, total } => {
                write!(f, "{:.1} % ({covered} of {total})", covered as f64 * 100.0 / total as f64)
            }
        }
    }
}

impl Counts {
    pub fn total(&self) -> u64 {
        let all = [self.succeeded, self.failed, self.error, self.skipped, self.unknown];
        all.into_iter().fold(0, u64::saturating_add)
    }

    fn of(cases: &[Case]) -> Self {
        let count = |status| cases.iter().filter(|case| case.status == status).count() as u64;
        Self {
            succeeded: count(Status::Succeeded),
            failed: count(Status::Failed),
            error: count(Status::Error),
            skipped: count(Status::Skipped),
            unknown: count(Status::Unknown),
        }
    }

    fn holds(&self, other: &Self) -> bool {
        let pairs = |of: &Self| [of.succeeded, of.failed, of.error, of.skipped, of.unknown];
        pairs(self).iter().zip(pairs(other)).all(|(all, some)| *all >= some)
    }
}

impl Status {
    pub fn is_good(self) -> bool {
        matches!(self, Self::Succeeded | Self::Skipped)
    }
}

/// What about one case there is besides its texts, in JSON.
const ITEM_BYTES: usize = 128;

/// What one call has reported.
pub(crate) struct Reported {
    reports: Vec<Results>,
    bytes_left: usize,
    memory: Arc<HostMemory>,
}

impl Reported {
    pub(crate) fn new(memory: Arc<HostMemory>) -> Self {
        Self { reports: Vec::new(), bytes_left: RESULTS_BYTES_MAX, memory }
    }

    pub(crate) fn into_reports(self) -> Vec<Results> {
        self.reports
    }

    fn report(&mut self, name: String, content: abi::Content, seam: &Seam) -> wasmtime::Result<Result<(), abi::Error>> {
        if self.reports.len() >= RESULTS_REPORTS_MAX {
            let message = format!("a call keeps {RESULTS_REPORTS_MAX} reports: put several into one");
            return Ok(Err(abi::Error::Quota(message)));
        }
        let mut results = masked_texts(Results { name, content: content.into() }, seam);
        show_line(&mut results.name);
        if results.name.trim().is_empty() {
            return Ok(Err(abi::Error::Invalid("the report has no name: give it one, such as `unit`".to_owned())));
        }
        let before = self.bytes_left;
        if let Err(message) = results.content.fit(&mut self.bytes_left) {
            return Ok(Err(abi::Error::Invalid(format!("the report `{}`: {message}", results.name))));
        }
        self.memory.take(before - self.bytes_left)?;
        if results.content.left_out() > 0 {
            let line = format!(
                "the report {} is not kept whole: {} of it are left out",
                results.name,
                results.content.left_out()
            );
            seam.log_masked(Level::Warn, &line);
        }
        self.reports.push(results);
        Ok(Ok(()))
    }
}

impl abi::Host for State {
    fn report(&mut self, name: String, content: abi::Content) -> wasmtime::Result<Result<(), abi::Error>> {
        self.reported.report(name, content, &self.seam)
    }
}

impl Results {
    /// What a test action answered, as a report: for a plugin that reports nothing itself. It is masked already.
    pub fn of_tested(name: &str, tested: &Tested) -> Option<Self> {
        if tested.cases.is_empty() {
            return None;
        }
        let cases: Vec<Case> = tested.cases.iter().map(Case::from).collect();
        let mut content = Content::Tests(Tests { counts: Counts::of(&cases), cases, left_out: 0 });
        content.fit(&mut { RESULTS_BYTES_MAX }).ok()?;
        Some(Self { name: name.to_owned(), content })
    }
}

impl Content {
    pub fn left_out(&self) -> u64 {
        match self {
            Self::Tests(tests) => tests.left_out,
            Self::Coverage(coverage) => coverage.left_out,
        }
    }

    /// Makes it fit to be shown and kept, and takes what it needs of the bytes that are left.
    fn fit(&mut self, bytes_left: &mut usize) -> Result<(), String> {
        match self {
            Self::Tests(tests) => {
                if !tests.counts.holds(&Counts::of(&tests.cases)) {
                    return Err("its counts are fewer than its cases: count all of them".to_owned());
                }
                tests.cases.iter_mut().for_each(Case::fit);
                let fits = kept(&tests.cases, bytes_left, Case::bytes, |case| !case.status.is_good());
                tests.left_out = left_only(&mut tests.cases, &fits);
            }
            Self::Coverage(coverage) => {
                coverage.files.iter_mut().for_each(|file| show_line(&mut file.path));
                let fits = kept(&coverage.files, bytes_left, |file| file.path.len() + ITEM_BYTES, |_| false);
                coverage.left_out = left_only(&mut coverage.files, &fits);
            }
        }
        Ok(())
    }
}

/// Which of the items there is room for: those that come first before all others.
fn kept<T>(items: &[T], bytes_left: &mut usize, bytes: fn(&T) -> usize, is_first: fn(&T) -> bool) -> Vec<bool> {
    let mut fits = vec![false; items.len()];
    let mut room = RESULTS_ITEMS_MAX;
    for turn in [true, false] {
        for (item, fits) in items.iter().zip(&mut fits).filter(|(item, _)| is_first(item) == turn) {
            if let (Some(bytes), Some(items)) = (bytes_left.checked_sub(bytes(item)), room.checked_sub(1)) {
                (*bytes_left, room, *fits) = (bytes, items, true);
            }
        }
    }
    fits
}

fn left_only<T>(items: &mut Vec<T>, fits: &[bool]) -> u64 {
    let before = items.len();
    let mut fits = fits.iter();
    items.retain(|_| fits.next().is_some_and(|fits| *fits));
    (before - items.len()) as u64
}

impl Case {
    fn fit(&mut self) {
        let Self { test_suite_name, prefix, name, message, file, .. } = self;
        [test_suite_name, prefix, name].into_iter().chain(file).for_each(show_line);
        cut_chars(message, RESULT_MESSAGE_CHARS_MAX);
        if let std::borrow::Cow::Owned(lines) = printable_lines(message) {
            *message = lines;
        }
    }

    fn bytes(&self) -> usize {
        let Self { test_suite_name, prefix, name, message, file, .. } = self;
        [test_suite_name, prefix, name, message].into_iter().chain(file).map(String::len).sum::<usize>() + ITEM_BYTES
    }
}

fn show_line(text: &mut String) {
    cut_chars(text, RESULT_NAME_CHARS_MAX);
    if let std::borrow::Cow::Owned(line) = printable(text) {
        *text = line;
    }
}

impl From<abi::Content> for Content {
    fn from(content: abi::Content) -> Self {
        match content {
            abi::Content::Tests(abi::Tests { counts, cases }) => {
                let abi::Counts { succeeded, failed, error, skipped, unknown } = counts;
                let counts = Counts { succeeded, failed, error, skipped, unknown };
                Self::Tests(Tests { counts, cases: cases.into_iter().map(Into::into).collect(), left_out: 0 })
            }
            abi::Content::Coverage(abi::Coverage { lines, branches, files }) => {
                let file = |file: abi::CoveredFile| CoveredFile {
                    path: file.path,
                    lines: file.lines.into(),
                    branches: file.branches.into(),
                };
                let files = files.into_iter().map(file).collect();
                Self::Coverage(Coverage { lines: lines.into(), branches: branches.into(), files, left_out: 0 })
            }
        }
    }
}

impl From<abi::Ratio> for Ratio {
    fn from(abi::Ratio { covered, total }: abi::Ratio) -> Self {
        Self { covered, total }
    }
}

impl From<abi::TestCase> for Case {
    fn from(case: abi::TestCase) -> Self {
        let abi::TestCase { suite, prefix, name, status, duration_nanos, message, file, line } = case;
        let status = match status {
            abi::Status::Succeeded => Status::Succeeded,
            abi::Status::Failed => Status::Failed,
            abi::Status::Error => Status::Error,
            abi::Status::Skipped => Status::Skipped,
            abi::Status::Unknown => Status::Unknown,
        };
        Self {
            test_suite_name: suite,
            prefix,
            name,
            status,
            duration_in_nano_seconds: duration_nanos,
            message,
            file,
            line,
        }
    }
}

impl From<&TestCase> for Case {
    fn from(case: &TestCase) -> Self {
        let status = match case.status {
            TestStatus::Passed => Status::Succeeded,
            TestStatus::Failed => Status::Failed,
            TestStatus::Skipped => Status::Skipped,
        };
        Self {
            test_suite_name: String::new(),
            prefix: String::new(),
            name: case.name.clone(),
            status,
            duration_in_nano_seconds: None,
            message: case.message.clone().unwrap_or_default(),
            file: case.place.as_ref().map(|place| place.file.clone()),
            line: case.place.as_ref().and_then(|place| place.line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::masks::Masks;
    use crate::outside::Outside;
    use crate::rights::Asks;
    use crate::seam::Journal;

    fn seam(masks: Masks) -> Arc<Seam> {
        Seam::new("acme/x", "Test/It", Arc::new(Journal::default()), masks, Asks::default(), Outside::Live)
    }

    fn case(name: &str, status: abi::Status, message: &str) -> abi::TestCase {
        abi::TestCase {
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

    fn tests(cases: Vec<abi::TestCase>, failed: u64, succeeded: u64) -> abi::Content {
        let counts = abi::Counts { succeeded, failed, error: 0, skipped: 0, unknown: 0 };
        abi::Content::Tests(abi::Tests { counts, cases })
    }

    fn reported(name: &str, content: abi::Content, masks: Masks) -> Result<Results, abi::Error> {
        let mut reported = Reported::new(HostMemory::alone(64 << 20));
        reported.report(name.to_owned(), content, &seam(masks)).unwrap()?;
        Ok(reported.into_reports().remove(0))
    }

    #[test]
    fn what_is_reported_can_be_shown() {
        let masks = Masks::of(["hunter2hunter2"]);
        let long = "x".repeat(RESULT_MESSAGE_CHARS_MAX + 10);
        let cases = vec![
            case("forges\na line", abi::Status::Failed, "said hunter2hunter2\nand \u{1b}[31mred"),
            case("long", abi::Status::Succeeded, &long),
        ];
        let results = reported("unit", tests(cases, 1, 1), masks).unwrap();
        let Content::Tests(tests) = results.content else { panic!("{results:?}") };
        let [forged, long] = tests.cases.as_slice() else { panic!("{tests:?}") };
        assert!(!forged.name.contains('\n'), "{forged:?}");
        assert!(!forged.message.contains("hunter2") && !forged.message.contains('\u{1b}'), "{forged:?}");
        assert!(forged.message.contains('\n'), "a message has lines: {forged:?}");
        assert_eq!(long.message.chars().count(), RESULT_MESSAGE_CHARS_MAX);
    }

    #[test]
    fn what_did_not_succeed_is_kept_before_all_others() {
        let mut cases: Vec<_> = (0..RESULTS_ITEMS_MAX).map(|_| case("good", abi::Status::Succeeded, "")).collect();
        cases.push(case("bad", abi::Status::Failed, "why"));
        let results = reported("unit", tests(cases, 1, RESULTS_ITEMS_MAX as u64), Masks::default()).unwrap();
        let Content::Tests(tests) = results.content else { panic!("{results:?}") };
        assert_eq!((tests.cases.len(), tests.left_out), (RESULTS_ITEMS_MAX, 1));
        assert_eq!(tests.cases.last().unwrap().name, "bad");
        assert_eq!(tests.counts.total(), RESULTS_ITEMS_MAX as u64 + 1);
    }

    #[test]
    fn results_are_told_in_words() {
        let counts = Counts { succeeded: 10, failed: 2, ..Counts::default() };
        assert_eq!(counts.to_string(), "12 cases: 10 succeeded, 2 failed");
        assert_eq!(Counts::default().to_string(), "no cases");
        let coverage = Coverage { lines: Ratio { covered: 1, total: 3 }, ..Coverage::default() };
        assert_eq!(Content::Coverage(coverage).to_string(), "lines 33.3 % (1 of 3), branches none");
    }

    #[test]
    fn what_is_no_report_is_refused() {
        let refused = |name: &str, content, wanted: &str| {
            let Err(abi::Error::Invalid(message)) = reported(name, content, Masks::default()) else {
                panic!("{wanted}: it was taken")
            };
            assert!(message.contains(wanted), "{message}");
        };
        refused(" ", tests(Vec::new(), 0, 0), "the report has no name");
        let one = || vec![case("one", abi::Status::Failed, "")];
        refused("unit", tests(one(), 0, 1), "the report `unit`: its counts are fewer than its cases");
        let mut reported = Reported::new(HostMemory::alone(64 << 20));
        let mut report = || reported.report("unit".to_owned(), tests(one(), 1, 0), &seam(Masks::default())).unwrap();
        for _ in 0..RESULTS_REPORTS_MAX {
            report().unwrap();
        }
        assert!(matches!(report(), Err(abi::Error::Quota(_))));
    }
}
