//! Owns Visual Studio's test results.

use std::collections::HashMap;

use crate::xml::{Element, walk};
use crate::{Case, Mistake, Status, Tests, nanoseconds, told};

pub(crate) fn read(text: &str) -> Result<Tests, Mistake> {
    // Results come before the definitions that say of which class they are.
    let mut results: Vec<(String, Case)> = Vec::new();
    let mut classes: HashMap<String, (String, String)> = HashMap::new();
    let (mut message, mut trace, mut class, mut has_inner) = (String::new(), String::new(), String::new(), false);
    walk(text, &["TestRun"], |element, above| {
        match (element.name.as_str(), above.parent()) {
            ("Message", "ErrorInfo") => message.clone_from(&element.text),
            ("StackTrace", "ErrorInfo") => trace.clone_from(&element.text),
            ("TestMethod", "UnitTest") => class = element.attribute_text("className"),
            ("UnitTest", _) => {
                let of_test = (std::mem::take(&mut class), element.attribute_text("storage"));
                classes.insert(element.attribute_text("id"), of_test);
            }
            ("UnitTestResult" | "TestResult" | "GenericTestResult" | "WebTestResult" | "ManualTestResult", _) => {
                let message = told(&std::mem::take(&mut message), &std::mem::take(&mut trace));
                let is_inner = above.nearest("InnerResults").is_some();
                // What only sums up the rows of its data is no case.
                if is_inner || !std::mem::take(&mut has_inner) {
                    results.push((element.attribute_text("testId"), case(element, message)));
                }
                has_inner |= is_inner;
            }
            _ => {}
        }
        Ok(())
    })?;
    let mut tests = Tests::default();
    for (id, case) in results {
        tests.add(case.status, || {
            let (prefix, suite) = classes.get(&id).cloned().unwrap_or_default();
            Case { prefix, suite, ..case }
        });
    }
    Ok(tests)
}

fn case(result: &Element, message: String) -> Case {
    let status = match result.attribute("outcome").unwrap_or("Error") {
        "Passed" | "PassedButRunAborted" | "Completed" | "Warning" => Status::Succeeded,
        "Failed" => Status::Failed,
        "Error" | "Timeout" | "Aborted" | "NotRunnable" | "Disconnected" => Status::Error,
        "NotExecuted" => Status::Skipped,
        _ => Status::Unknown,
    };
    Case {
        name: result.attribute_text("testName"),
        status,
        duration_ns: result.attribute("duration").and_then(clock),
        message,
        ..Case::default()
    }
}

/// `00:01:02.5000000`, with days before a dot where there are any.
fn clock(text: &str) -> Option<u64> {
    let mut parts = text.rsplit(':');
    let seconds: f64 = parts.next()?.parse().ok()?;
    let minutes: f64 = parts.next()?.parse().ok()?;
    let (days, hours) = match parts.next()?.split_once('.') {
        Some((days, hours)) => (days.parse().ok()?, hours.parse().ok()?),
        None => (0.0, text.split(':').next()?.parse().ok()?),
    };
    let hours: f64 = hours;
    let days: f64 = days;
    nanoseconds((((days * 24.0 + hours) * 60.0 + minutes) * 60.0 + seconds) * 1e9)
}
