//! Owns JUnit's XML, as Ant, Maven's Surefire, pytest and many others write it. There is no schema that all keep to: what is
//! not known is passed over.

use crate::xml::walk;
use crate::{Case, Mistake, Status, Tests, seconds, told};

pub(crate) fn read(text: &str) -> Result<Tests, Mistake> {
    let mut tests = Tests::default();
    // Of the case whose end has not come.
    let (mut status, mut message) = (Status::Succeeded, String::new());
    walk(text, &["testsuites", "testsuite"], |element, above| {
        match (element.name.as_str(), above.parent()) {
            (name @ ("failure" | "error" | "skipped"), "testcase") => {
                let (this, told) = (
                    match name {
                        "failure" => Status::Failed,
                        "error" => Status::Error,
                        _ => Status::Skipped,
                    },
                    told(&element.attribute_text("message"), &element.text),
                );
                // The first one counts: several assertions of one case can fail, and its teardown after that.
                if matches!(status, Status::Succeeded | Status::Skipped) {
                    status = this;
                }
                message = if message.is_empty() { told } else { format!("{message}\n{told}") };
            }
            ("testcase", _) => {
                let is_off = matches!(element.attribute("status"), Some("disabled" | "notrun" | "skipped"));
                if is_off && status == Status::Succeeded {
                    status = Status::Skipped;
                }
                tests.add(Case {
                    suite: above.attribute_of("testsuite", "name"),
                    prefix: element.attribute_text("classname"),
                    name: element.attribute_text("name"),
                    status: std::mem::replace(&mut status, Status::Succeeded),
                    duration_ns: element.attribute("time").and_then(seconds),
                    message: std::mem::take(&mut message),
                    file: element.attribute("file").map(str::to_owned),
                    line: element.number("line").or_else(|| element.number("lineno")),
                });
            }
            _ => {}
        }
        Ok(())
    })?;
    Ok(tests)
}
