//! Owns the XML of NUnit, in the form of its version 2 (`test-results`) and of its version 3 (`test-run`).

use crate::xml::{Element, walk};
use crate::{Case, Mistake, Status, Tests, seconds, told};

pub(crate) fn read(text: &str, root: &str) -> Result<Tests, Mistake> {
    let mut tests = Tests::default();
    let (mut message, mut trace) = (String::new(), String::new());
    walk(text, &[root], |element, above| {
        // In `failure`, and in `reason` for what was not run, of a case and not of its suite.
        let of_case = above.0.len() >= 2 && above.0[above.0.len() - 2].name == "test-case";
        match element.name.as_str() {
            "message" if of_case => message.clone_from(&element.text),
            "stack-trace" if of_case => trace.clone_from(&element.text),
            "test-case" => {
                let message = told(&std::mem::take(&mut message), &std::mem::take(&mut trace));
                tests.add(status(element), || {
                    let [full, short] = ["fullname", "name"].map(|name| above.attribute_of("test-suite", name));
                    Case {
                        suite: if full.is_empty() { short } else { full },
                        prefix: element.attribute_text("classname"),
                        name: element.attribute_text("name"),
                        duration_ns: element.attribute("duration").or(element.attribute("time")).and_then(seconds),
                        message,
                        ..Case::default()
                    }
                });
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(tests)
}

fn status(case: &Element) -> Status {
    // Before version 2.5 there is no `result`.
    let executed = case.attribute("executed").map(str::to_ascii_lowercase);
    let success = case.attribute("success").map(str::to_ascii_lowercase);
    match case.attribute("result").unwrap_or_default() {
        "Success" | "Passed" => Status::Succeeded,
        "Failed" | "Failure" if matches!(case.attribute("label"), Some("Error" | "Invalid" | "Cancelled")) => {
            Status::Error
        }
        "Failed" | "Failure" => Status::Failed,
        "Error" | "NotRunnable" | "Invalid" | "Cancelled" => Status::Error,
        "Skipped" | "Ignored" => Status::Skipped,
        "" if executed.as_deref() == Some("false") => Status::Skipped,
        "" if success.as_deref() == Some("true") => Status::Succeeded,
        "" if success.as_deref() == Some("false") => Status::Failed,
        _ => Status::Unknown,
    }
}
