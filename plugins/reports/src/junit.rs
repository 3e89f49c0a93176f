//! Owns JUnit's XML, as Ant, Maven's Surefire, pytest and many others write it. There is no schema that all keep to: what is
//! not known is passed over.

use crate::xml::walk;
use crate::{Case, Mistake, Status, Tests, add_line, seconds, told};

pub(crate) fn read(text: &str) -> Result<Tests, Mistake> {
    let mut tests = Tests::default();
    // Of the case whose end has not come.
    let (mut status, mut message) = (Status::Succeeded, String::new());
    walk(text, &["testsuites", "testsuite"], |element, above| {
        match (element.name.as_str(), above.parent()) {
            (name @ ("failure" | "error" | "skipped"), "testcase") => {
                let this = match name {
                    "failure" => Status::Failed,
                    "error" => Status::Error,
                    _ => Status::Skipped,
                };
                // The first one counts: several assertions of one case can fail, and its teardown after that.
                if matches!(status, Status::Succeeded | Status::Skipped) {
                    status = this;
                }
                add_line(&mut message, &told(element.attribute("message").unwrap_or_default(), &element.text));
            }
            ("testcase", _) => {
                let is_off = matches!(element.attribute("status"), Some("disabled" | "notrun" | "skipped"));
                if is_off && status == Status::Succeeded {
                    status = Status::Skipped;
                }
                let status = std::mem::replace(&mut status, Status::Succeeded);
                let message = std::mem::take(&mut message);
                tests.add(status, || Case {
                    suite: above.attribute_of("testsuite", "name"),
                    prefix: element.attribute_text("classname"),
                    name: element.attribute_text("name"),
                    duration_ns: element.attribute("time").and_then(seconds),
                    message,
                    file: element.attribute("file").map(crate::name),
                    line: element.number("line").or_else(|| element.number("lineno")),
                    ..Case::default()
                });
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(tests)
}
