//! Owns SimpleCov's JSON: its `.resultset.json`, by the names of runs, and the `coverage.json` of its formatter.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use serde_json::Value;

use crate::coverage::{Files, Lines};
use crate::{Coverage, Mistake};

pub(crate) fn read(text: &str) -> Result<Coverage, Mistake> {
    let report: Value = serde_json::from_str(text).map_err(|error| Mistake {
        line: u32::try_from(error.line()).unwrap_or(u32::MAX),
        message: format!("the report is no JSON: {error}"),
    })?;
    let covered = |value: &Value| value.get("coverage").filter(|it| it.is_object()).cloned();
    let runs: Vec<Value> = match (covered(&report), report.as_object()) {
        (Some(one), _) => vec![one],
        (None, Some(runs)) => runs.values().filter_map(covered).collect(),
        (None, None) => Vec::new(),
    };
    if runs.is_empty() && report.as_object().is_none_or(|runs| !runs.is_empty()) {
        return Err(Mistake::whole("the report has no `coverage`: is the format right?"));
    }
    let mut files = Files::default();
    for run in runs {
        for (path, said) in run.as_object().into_iter().flatten() {
            let file = files.file(path)?;
            // Before version 0.18 a file is the list of its lines.
            lines(file, said.get("lines").unwrap_or(said));
            branches(file, said.get("branches").unwrap_or(&Value::Null));
        }
    }
    Ok(files.coverage())
}

/// A line that is no code has no number.
fn lines(file: &mut Lines, said: &Value) {
    for (number, hits) in (1..).zip(said.as_array().into_iter().flatten()) {
        if let Some(hits) = hits.as_f64() {
            file.line(number, hits > 0.0);
        }
    }
}

fn branches(file: &mut Lines, said: &Value) {
    let hits = |value: &Value| value.as_f64().is_some_and(|hits| hits > 0.0);
    match said {
        Value::Object(conditions) => {
            for (condition, ways) in conditions {
                // A condition may have many ways, and its name be long.
                let condition = BuildHasherDefault::<DefaultHasher>::default().hash_one(condition);
                for (way, count) in ways.as_object().into_iter().flatten() {
                    file.branch(0, format!("{condition} {way}"), hits(count));
                }
            }
        }
        Value::Array(ways) => {
            for (number, way) in ways.iter().enumerate() {
                file.branch(0, number.to_string(), way.get("coverage").is_some_and(hits));
            }
        }
        _ => {}
    }
}
