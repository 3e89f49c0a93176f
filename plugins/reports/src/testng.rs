//! Owns TestNG's `testng-results.xml`.

use crate::xml::walk;
use crate::{Case, Mistake, Status, Tests, told};

pub(crate) fn read(text: &str) -> Result<Tests, Mistake> {
    let mut tests = Tests::default();
    let (mut message, mut trace) = (String::new(), String::new());
    walk(text, &["testng-results"], |element, above| {
        match (element.name.as_str(), above.parent()) {
            ("message", "exception") => message.clone_from(&element.text),
            ("full-stacktrace" | "short-stacktrace", "exception") => trace.clone_from(&element.text),
            ("test-method", _) => {
                let status = match element.attribute("status").unwrap_or_default() {
                    "PASS" => Status::Succeeded,
                    "FAIL" => Status::Failed,
                    "SKIP" => Status::Skipped,
                    _ => Status::Unknown,
                };
                let message = told(&std::mem::take(&mut message), &std::mem::take(&mut trace));
                // Setting up and tearing down is a case only where it went wrong.
                if element.attribute("is-config") == Some("true") && status == Status::Succeeded {
                    return Ok(());
                }
                tests.add(status, || Case {
                    suite: ["suite", "test"]
                        .map(|element| above.attribute_of(element, "name"))
                        .into_iter()
                        .filter(|name| !name.is_empty())
                        .collect::<Vec<_>>()
                        .join(" / "),
                    prefix: above.attribute_of("class", "name"),
                    name: element.attribute_text("name"),
                    duration_ns: element.number::<u64>("duration-ms").and_then(|ms| ms.checked_mul(1_000_000)),
                    message,
                    ..Case::default()
                });
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(tests)
}
