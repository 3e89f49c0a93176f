//! What an action gives on must not have a secret in it: its output artifacts, its variables, the cases of its report.
//!
//! Owns where is looked. What a secret looks like is known to `masks`.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use pipewright_artifacts::files::MadeOutput;

use crate::abi::{Outcome, Report};
use crate::masks::Masks;

/// Where in an answer one is, in words.
pub(crate) fn of_outcome(outcome: &Outcome, masks: &Masks) -> Option<String> {
    let in_report = |report: &Report| {
        let found =
            report.variables.iter().find(|it| masks.find(it.value.as_bytes()) || masks.find(it.name.as_bytes()));
        found.map(|variable| format!("the output variable {}", variable.name))
    };
    match outcome {
        Outcome::Fetched(fetched) => in_report(&fetched.report),
        Outcome::Built(report) | Outcome::Invoked(report) => in_report(report),
        Outcome::Tested(tested) => in_report(&tested.report).or_else(|| {
            let texts = |case: &crate::abi::TestCase| [Some(case.name.clone()), case.message.clone()];
            let mut texts = tested.cases.iter().flat_map(texts).flatten();
            texts.any(|text| masks.find(text.as_bytes())).then(|| "the report".to_owned())
        }),
        Outcome::Deployed(deployed) => in_report(&deployed.report),
        Outcome::Latest(_) | Outcome::Decided(_) | Outcome::Verdict(_) | Outcome::Waiting(_) => None,
    }
}

/// The same of what was made: in the content of a file, in the name of anything, or in where a link points. Blocks.
pub(crate) fn of_outputs(made: &[MadeOutput], masks: &Masks) -> io::Result<Option<String>> {
    for output in made {
        if let Some(path) = below(&output.directory, masks)? {
            return Ok(Some(format!("the output artifact {}, in {path}", output.name)));
        }
    }
    Ok(None)
}

fn below(top: &Path, masks: &Masks) -> io::Result<Option<String>> {
    let mut folders = VecDeque::from([top.to_owned()]);
    while let Some(folder) = folders.pop_front() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            let is_found = masks.find(entry.file_name().as_encoded_bytes())
                || kind.is_symlink() && masks.find(fs::read_link(&path)?.as_os_str().as_encoded_bytes())
                || kind.is_file() && masks.find_in(&mut File::open(&path)?)?;
            if is_found {
                return Ok(Some(path.strip_prefix(top).unwrap_or(&path).display().to_string()));
            }
            if kind.is_dir() {
                folders.push_back(path);
            }
        }
    }
    Ok(None)
}
