//! What reports of tests and of coverage say, in the formats that CodeBuild reads, and LCOV.
//!
//! Pure, for plugins and for tests without any: must not know where a report is from or what is made of it. Texts are given
//! as they are, each up to [`MESSAGE_BYTES_MAX`] or [`NAME_BYTES_MAX`]: whoever shows less of them hides first what is secret in them.

mod coverage;
mod cucumber;
mod junit;
mod nunit;
mod simplecov;
mod testng;
mod trx;
mod xml;

use std::borrow::Cow;
use std::collections::BTreeMap;

/// Against a report that is none: the plugin that reads it has little memory.
pub const REPORT_BYTES_MAX: usize = 32 << 20;
/// As many cases as an action of a pipeline can tell of; the others are counted.
pub const CASES_MAX: usize = 10_000;
pub const FILES_MAX: usize = 50_000;
/// Of the texts of one case, which are cut there: those of all cases must not come to more than a report by far.
pub const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// The same of a name.
pub const NAME_BYTES_MAX: usize = 4 << 10;
/// Of elements within elements.
pub const DEPTH_MAX: usize = 64;
/// Of one element.
pub const ATTRIBUTES_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    CucumberJson,
    JunitXml,
    NunitXml,
    Nunit3Xml,
    TestngXml,
    VisualStudioTrx,
    CloverXml,
    CoberturaXml,
    JacocoXml,
    SimpleCov,
    Lcov,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    Tests(Tests),
    Coverage(Coverage),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tests {
    /// The first ones.
    pub cases: Vec<Case>,
    /// Of all.
    pub counts: Counts,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// Empty where the format has none.
    pub suite: String,
    /// What makes the name unique within its suite: mostly a class.
    pub prefix: String,
    pub name: String,
    pub status: Status,
    pub duration_ns: Option<u64>,
    /// Why it did not succeed, with the trace that the report has.
    pub message: String,
    pub file: Option<String>,
    pub line: Option<u32>,
}

/// CodeBuild's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    Succeeded,
    /// What was expected is not so.
    Failed,
    /// It could not be found out.
    Error,
    Skipped,
    #[default]
    Unknown,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub succeeded: u64,
    pub failed: u64,
    pub error: u64,
    pub skipped: u64,
    pub unknown: u64,
}

impl Counts {
    pub fn total(&self) -> u64 {
        self.succeeded + self.failed + self.error + self.skipped + self.unknown
    }

    fn add(&mut self, status: Status) {
        let count = match status {
            Status::Succeeded => &mut self.succeeded,
            Status::Failed => &mut self.failed,
            Status::Error => &mut self.error,
            Status::Skipped => &mut self.skipped,
            Status::Unknown => &mut self.unknown,
        };
        *count += 1;
    }
}

impl Tests {
    /// What nobody is told of is not made.
    fn add(&mut self, status: Status, case: impl FnOnce() -> Case) {
        self.counts.add(status);
        if self.cases.len() < CASES_MAX {
            self.cases.push(Case { status, ..case() });
        }
    }

    /// Several files are one report.
    pub fn extend(&mut self, other: Self) {
        let all = [
            (&mut self.counts.succeeded, other.counts.succeeded),
            (&mut self.counts.failed, other.counts.failed),
            (&mut self.counts.error, other.counts.error),
            (&mut self.counts.skipped, other.counts.skipped),
            (&mut self.counts.unknown, other.counts.unknown),
        ];
        for (count, more) in all {
            *count += more;
        }
        let room = CASES_MAX.saturating_sub(self.cases.len());
        self.cases.extend(other.cases.into_iter().take(room));
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ratio {
    pub covered: u64,
    pub total: u64,
}

impl Ratio {
    fn add(&mut self, other: Self) {
        // A report may say any number.
        self.covered = self.covered.saturating_add(other.covered);
        self.total = self.total.saturating_add(other.total);
    }
}

/// By file. Where a file is in a report twice, each line and branch counts once, and is covered if it ever was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    pub files: BTreeMap<String, Covered>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Covered {
    pub lines: Ratio,
    pub branches: Ratio,
}

impl Coverage {
    pub fn total(&self) -> Covered {
        let mut total = Covered::default();
        for file in self.files.values() {
            total.lines.add(file.lines);
            total.branches.add(file.branches);
        }
        total
    }
}

/// Why a report cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct Mistake {
    /// From 1; 0 where it is the whole that is wrong.
    pub line: u32,
    pub message: String,
}

impl Mistake {
    fn whole(message: impl Into<String>) -> Self {
        Self { line: 0, message: message.into() }
    }
}

pub fn read(format: Format, report: &[u8]) -> Result<Report, Mistake> {
    let text = decoded(report)?;
    let tests = |tests: Result<Tests, Mistake>| tests.map(Report::Tests);
    let coverage = |coverage: Result<Coverage, Mistake>| coverage.map(Report::Coverage);
    match format {
        Format::CucumberJson => tests(cucumber::read(&text)),
        Format::JunitXml => tests(junit::read(&text)),
        Format::NunitXml => tests(nunit::read(&text, "test-results")),
        Format::Nunit3Xml => tests(nunit::read(&text, "test-run")),
        Format::TestngXml => tests(testng::read(&text)),
        Format::VisualStudioTrx => tests(trx::read(&text)),
        Format::CloverXml => coverage(coverage::clover(&text)),
        Format::CoberturaXml => coverage(coverage::cobertura(&text)),
        Format::JacocoXml => coverage(coverage::jacoco(&text)),
        Format::SimpleCov => coverage(simplecov::read(&text)),
        Format::Lcov => coverage(coverage::lcov(&text)),
    }
}

/// UTF-8, or UTF-16 that says so, as some tools of Windows write.
fn decoded(report: &[u8]) -> Result<Cow<'_, str>, Mistake> {
    if report.len() > REPORT_BYTES_MAX {
        let message = format!("the report has {} bytes; {REPORT_BYTES_MAX} is the most: write several", report.len());
        return Err(Mistake::whole(message));
    }
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        let text = String::from_utf16(&units).map(Cow::<str>::Owned);
        text.map_err(|_| Mistake::whole("the report is no UTF-16 text, though it begins as one"))
    };
    match report {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => match std::str::from_utf8(rest) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(_) => Err(Mistake::whole("the report is not UTF-8: have the tool write it in UTF-8")),
        },
    }
}

/// Seconds as `1.25`, `1,234.5` or `1E-3`.
fn seconds(text: &str) -> Option<u64> {
    let seconds: f64 = text.trim().replace(',', "").parse().ok()?;
    nanoseconds(seconds * 1e9)
}

fn nanoseconds(number: f64) -> Option<u64> {
    // Far from where a conversion would saturate.
    (0.0..1e18).contains(&number).then_some(number as u64)
}

/// The message of an attribute or an element, and the trace that follows it.
fn told(message: &str, trace: &str) -> String {
    let (message, trace) = (message.trim(), trace.trim());
    let mut told = String::new();
    if !trace.starts_with(message) {
        add_line(&mut told, message);
    }
    add_line(&mut told, trace);
    told
}

/// Adds a line to a message, as far as there is room.
fn add_line(message: &mut String, line: &str) {
    if !message.is_empty() && !line.is_empty() && message.len() < MESSAGE_BYTES_MAX {
        message.push('\n');
    }
    message.push_str(cut(line, MESSAGE_BYTES_MAX.saturating_sub(message.len())));
}

fn name(text: &str) -> String {
    cut(text, NAME_BYTES_MAX).to_owned()
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
