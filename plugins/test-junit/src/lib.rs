//! Test `Custom/JUnit/1`: judges the reports in JUnit's format that an artifact has. Runs nothing.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use pipewright_buildspec::matches;
use pipewright_reports::{Format, REPORT_BYTES_MAX, Report as Read, Tests, read};
use pipewright_sdk::files::FileKind;
use pipewright_sdk::prelude::*;
use test_cases::{cases, counted, keep_tests};

#[derive(Settings)]
struct Judging {
    /// The reports: globs from the top of the input artifact, as in a buildspec.
    #[setting(default = r#"["**/*.xml"]"#)]
    files: Vec<String>,
    /// How many cases may fail, or end with an error.
    #[setting(default = "0")]
    failed_max: u32,
    /// How many cases may be skipped; any number without it.
    skipped_max: Option<u32>,
    /// How many cases there must be: a run that tested nothing is no success.
    #[setting(default = "1")]
    cases_min: u32,
}

#[derive(Variables)]
struct Judged {
    /// How many cases the reports have.
    cases: u64,
    /// How many of these failed, or ended with an error.
    failed: u64,
    /// How many were skipped.
    skipped: u64,
}

/// Judges the reports of tests, in JUnit's format, that the input artifact has. A report that cannot be read fails the action.
#[action(provider = "JUnit", inputs = 1)]
fn junit(action: &Action, settings: Judging) -> Result<Tested<Judged>> {
    let input = action.input()?;
    let mut tests = Tests::default();
    for path in reports(&input, &settings.files)? {
        let report = bounded(&input.join(&path)).doing(format_args!("reading {path}"))?;
        match read(Format::JunitXml, &report) {
            Ok(Read::Tests(more)) => {
                info!("{path}: {}", counted(&more.counts));
                tests.extend(more);
            }
            Ok(Read::Coverage(_)) => {}
            Err(mistake) => return Err(Failure::job(format!("{path}: {mistake}"))),
        }
    }
    let counts = tests.counts;
    let (total, failed, skipped) = (counts.total(), counts.failed + counts.error, counts.skipped);
    let summary = counted(&counts);
    info!("{summary}");
    keep_tests(&action.context().action, &tests)?;
    if total < u64::from(settings.cases_min) {
        let mend = "have the build write reports of all its tests, or correct `CasesMin`";
        return Err(Failure::job(format!("{summary}; there must be at least {}: {mend}", settings.cases_min)));
    }
    if let Some(most) = settings.skipped_max
        && skipped > u64::from(most)
    {
        return Err(Failure::job(format!("{summary}; {most} may be skipped (`SkippedMax`)")));
    }
    let allowed = format!("`FailedMax` allows {}", settings.failed_max);
    let excuse = (failed <= u64::from(settings.failed_max)).then_some(allowed.as_str());
    let report = Report::new(summary).variables(Judged { cases: total, failed, skipped });
    Ok(Tested { report, cases: cases(&tests, excuse) })
}

/// The files that the globs name, in the order of their names.
fn reports(input: &Input, globs: &[String]) -> Result<Vec<String>> {
    let files = files::list(input, &[])?.into_iter().filter(|entry| entry.kind == FileKind::File);
    let paths: Vec<String> =
        files.map(|entry| entry.path).filter(|path| globs.iter().any(|glob| matches(glob, path))).collect();
    if paths.is_empty() {
        let (name, globs) = (input.name(), globs.join("`, `"));
        return Err(Failure::job(format!(
            "the artifact `{name}` has no file `{globs}`: have the action that makes it put its reports in, or correct `Files`"
        )));
    }
    Ok(paths)
}

/// A byte more than there may be, so that a larger one is told.
fn bounded(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(fs::metadata(path)?.len().min(REPORT_BYTES_MAX as u64 + 1) as usize);
    File::open(path)?.take(REPORT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

plugin! {
    /// Judges reports of tests.
    name: "pipewright/test-junit",
    test: [junit],
}
