//! What actions reported of tests and coverage: a file beside the log of each action execution, a line for each report. So they
//! are collected and exported with the logs.
//!
//! Owns the form of the lines and how much there may be of them. Must not know what is made of results.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;

use pipewright_base::clock;
use pipewright_sandbox::CallEnd;
use pipewright_sandbox::abi::Outcome;
use pipewright_sandbox::results::Results;
use pipewright_sandbox::seam::{Level, Sink as _};
use serde::{Deserialize, Serialize};

use super::{ActionLog, Logs};

const RESULTS: &str = "results";

/// Of one action execution, over all its calls and attempts. Stops an action that fills the disk by reporting again and again.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// What one action execution reported: under each name what was reported last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionResults {
    pub stage_name: String,
    pub action_name: String,
    pub action_execution_id: String,
    pub reports: Vec<Results>,
    /// When the first was reported, in milliseconds since 1970.
    #[serde(skip)]
    pub at: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    at: u64,
    stage_name: String,
    action_name: String,
    report: Results,
}

impl ActionLog {
    /// Keeps what a call reported. A test action that reported nothing has its cases for a report. What cannot be written must not
    /// fail the action.
    pub fn keep_results(&self, end: &CallEnd) {
        let of_tested = match &end.result {
            Ok(Outcome::Tested(tested)) if end.results.is_empty() => Results::of_tested(&self.action, tested),
            _ => None,
        };
        end.results.iter().cloned().chain(of_tested).for_each(|report| self.keep(report));
    }

    pub fn keep(&self, report: Results) {
        let name = report.name.clone();
        let (stage_name, action_name) = (self.stage.to_string(), self.action.to_string());
        let line = Line { at: clock::now_ms(), stage_name, action_name, report };
        match append(&self.base.with_extension(RESULTS), &line) {
            Ok(true) => {}
            Ok(false) => {
                let message = format!("the report {name} is not kept: an action keeps {FILE_BYTES_MAX} bytes of them");
                self.log(Level::Warn, &message);
            }
            Err(error) => tracing::warn!("results {}: {error}", self.base.display()),
        }
    }
}

/// False where there is no room.
fn append(path: &Path, line: &Line) -> io::Result<bool> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::options().create(true).append(true).open(path)?;
    if file.metadata()?.len() + text.len() as u64 > FILE_BYTES_MAX {
        return Ok(false);
    }
    file.write_all(&text)?;
    Ok(true)
}

impl Logs {
    /// What the actions of an execution reported, in the order in which they did, and of how many of them there is no room in
    /// `bytes_left`, which is lessened. Blocks.
    pub fn results(&self, execution: &str, bytes_left: &mut u64) -> io::Result<(Vec<ActionResults>, usize)> {
        let entries = match fs::read_dir(self.folder.join(execution)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
            entries => entries?,
        };
        let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == RESULTS));
        paths.sort();
        let (mut found, mut left_out) = (Vec::new(), 0);
        for path in paths {
            let bytes = fs::metadata(&path)?.len().min(FILE_BYTES_MAX);
            match bytes_left.checked_sub(bytes) {
                Some(left) => {
                    *bytes_left = left;
                    found.extend(read(&path)?);
                }
                None => left_out += 1,
            }
        }
        found.sort_by_key(|action| action.at);
        Ok((found, left_out))
    }
}

fn read(path: &Path) -> io::Result<Option<ActionResults>> {
    let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut found: Option<ActionResults> = None;
    for line in BufReader::new(File::open(path)?.take(FILE_BYTES_MAX)).split(b'\n') {
        // A host that died may have left half a line.
        let Ok(Line { at, stage_name, action_name, report }) = serde_json::from_slice(&line?) else { continue };
        let action = found.get_or_insert_with(|| ActionResults {
            stage_name,
            action_name,
            action_execution_id: id.clone(),
            reports: Vec::new(),
            at,
        });
        action.reports.retain(|before| before.name != report.name);
        action.reports.push(report);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use pipewright_sandbox::results::{Content, Coverage};

    use super::*;

    fn line(name: &str, at: u64) -> Line {
        let report = Results { name: name.to_owned(), content: Content::Coverage(Coverage::default()) };
        Line { at, stage_name: "Test".to_owned(), action_name: "Unit".to_owned(), report }
    }

    #[test]
    fn the_last_report_of_a_name_counts_and_half_a_line_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::new(folder.path().to_owned());
        let mut left = u64::MAX;
        assert_eq!(logs.results("none", &mut left).unwrap(), (Vec::new(), 0));
        let path = |action: &str| folder.path().join("execution").join(format!("{action}.{RESULTS}"));
        for (action, name, at) in [("b", "first", 1), ("a", "one", 5), ("a", "two", 6), ("a", "one", 7)] {
            assert!(append(&path(action), &line(name, at)).unwrap());
        }
        File::options().append(true).open(path("a")).unwrap().write_all(b"{\"at\":8,").unwrap();
        let (found, left_out) = logs.results("execution", &mut left).unwrap();
        assert_eq!(left_out, 0);
        let names = |action: &ActionResults| action.reports.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
        let found: Vec<_> = found.iter().map(|action| (action.action_execution_id.as_str(), names(action))).collect();
        assert_eq!(found, [("b", vec!["first".to_owned()]), ("a", vec!["two".to_owned(), "one".to_owned()])]);
        assert_eq!(logs.results("execution", &mut 1).unwrap(), (Vec::new(), 2), "there is no room");
    }

    #[test]
    fn an_action_does_not_fill_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.results");
        File::create(&path).unwrap().set_len(FILE_BYTES_MAX - 10).unwrap();
        assert!(!append(&path, &line("one", 1)).unwrap());
    }
}
