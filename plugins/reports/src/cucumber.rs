//! Owns Cucumber's JSON: features, of which each scenario is a case.

use serde::Deserialize;

use crate::{Case, Mistake, Status, Tests};

#[derive(Deserialize)]
struct Feature {
    #[serde(default)]
    name: String,
    uri: Option<String>,
    #[serde(default)]
    elements: Vec<Scenario>,
}

#[derive(Deserialize)]
struct Scenario {
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    kind: String,
    line: Option<u32>,
    #[serde(default)]
    before: Vec<Step>,
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default)]
    after: Vec<Step>,
}

#[derive(Clone, Deserialize)]
struct Step {
    #[serde(default)]
    keyword: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    result: Outcome,
}

#[derive(Clone, Default, Deserialize)]
struct Outcome {
    #[serde(default)]
    status: String,
    #[serde(default)]
    duration: f64,
    #[serde(default)]
    error_message: String,
}

pub(crate) fn read(text: &str) -> Result<Tests, Mistake> {
    let features: Vec<Feature> = serde_json::from_str(text).map_err(|error| Mistake {
        line: u32::try_from(error.line()).unwrap_or(u32::MAX),
        message: format!("the report is no JSON of Cucumber: {error}"),
    })?;
    let mut tests = Tests::default();
    for feature in features {
        // What a background does is done for the scenario after it.
        let mut background: Vec<Step> = Vec::new();
        for scenario in feature.elements {
            let mut steps = std::mem::take(&mut background);
            steps.extend(scenario.before.into_iter().chain(scenario.steps).chain(scenario.after));
            if scenario.kind == "background" {
                background = steps;
                continue;
            }
            let (status, message) = judged(&steps);
            tests.add(status, || Case {
                suite: crate::name(&feature.name),
                name: crate::name(&scenario.name),
                duration_ns: crate::nanoseconds(steps.iter().map(|step| step.result.duration).sum()),
                message,
                file: feature.uri.as_deref().map(crate::name),
                line: scenario.line,
                ..Case::default()
            });
        }
    }
    Ok(tests)
}

/// A scenario is as its worst step.
fn judged(steps: &[Step]) -> (Status, String) {
    let worst = [
        (&["failed", "ambiguous"][..], Status::Failed),
        (&["undefined"], Status::Unknown),
        (&["pending", "skipped"], Status::Skipped),
    ];
    for (words, status) in worst {
        let is_so = |step: &&Step| words.contains(&step.result.status.to_ascii_lowercase().as_str());
        if let Some(step) = steps.iter().find(is_so) {
            let said = format!("{}{}", step.keyword, step.name);
            return (
                status,
                crate::told(&format!("{} ({})", said.trim(), step.result.status), &step.result.error_message),
            );
        }
    }
    let all_passed = steps.iter().all(|step| step.result.status.eq_ignore_ascii_case("passed"));
    (if all_passed { Status::Succeeded } else { Status::Unknown }, String::new())
}
