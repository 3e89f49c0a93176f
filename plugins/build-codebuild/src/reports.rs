//! Owns what is made of the reports that a buildspec names: cases, and lines in the log. Nothing about a report fails a build,
//! as with CodeBuild.

use std::fs::{self, File};
use std::io::Read as _;

use build_jobs::Ended;
use pipewright_buildspec::{Buildspec, Content, ReportGroup, Section, expanded};
use pipewright_reports::{Coverage, REPORT_BYTES_MAX, Ratio, Report as Read, Tests, read};
use pipewright_sdk::prelude::*;
use test_cases::{counted, keep_coverage, keep_tests};

/// All tests of a build; none where it has no report of any. `of_build` is the build's identifier, where it is one of a batch.
pub(crate) fn tests(buildspec: &Buildspec, ended: &Ended, of_build: Option<&str>) -> Option<Tests> {
    let mut all: Option<Tests> = None;
    for group in &buildspec.reports {
        let name = expanded(&group.name, ended.environment());
        let name = of_build.map_or(name.clone(), |build| format!("{build}/{name}"));
        let (tests, coverage) = group_of(group, &name, ended);
        if let Some(tests) = tests {
            info!("Report {name}: {}", counted(&tests.counts));
            kept(&name, keep_tests(&name, &tests));
            all.get_or_insert_default().extend(tests);
        }
        if let Some(coverage) = coverage {
            let total = coverage.total();
            let files = coverage.files.len();
            info!("Report {name}: {files} files, lines {}, branches {}", share(total.lines), share(total.branches));
            kept(&name, keep_coverage(&name, &coverage));
        }
    }
    all
}

fn kept(name: &str, kept: Result<()>) {
    if let Err(failure) = kept {
        warn!("Report {name}: {}", failure.message);
    }
}

fn group_of(group: &ReportGroup, name: &str, ended: &Ended) -> (Option<Tests>, Option<Coverage>) {
    let section = Section {
        files: group.files.clone(),
        base_directory: group.base_directory.clone(),
        discard_paths: group.discard_paths,
        ..Section::default()
    };
    let (mut tests, mut coverage): (Option<Tests>, Option<Coverage>) = (None, None);
    let files = match ended.select(&section, None) {
        Ok(files) => files,
        Err(context) => {
            warn!("Report {name}: {}", context.message);
            return (None, None);
        }
    };
    for (file, content) in files {
        let Content::File(path) = content else { continue };
        let report = bounded(&path).map(|bytes| read(group.format, &bytes).map_err(|mistake| mistake.to_string()));
        match report.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(Read::Tests(more)) => tests.get_or_insert_default().extend(more),
            Ok(Read::Coverage(more)) => coverage.get_or_insert_default().files.extend(more.files),
            Err(mistake) => warn!("Report {name}: {file}: {mistake}"),
        }
    }
    (tests, coverage)
}

/// A byte more than there may be, so that a larger one is told.
fn bounded(path: &str) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(fs::metadata(path)?.len().min(REPORT_BYTES_MAX as u64 + 1) as usize);
    File::open(path)?.take(REPORT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn share(ratio: Ratio) -> String {
    match ratio.total {
        0 => "none".to_owned(),
        total => format!("{:.1} % ({} of {total})", ratio.covered as f64 * 100.0 / total as f64, ratio.covered),
    }
}
