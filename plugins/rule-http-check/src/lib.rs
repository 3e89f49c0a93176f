//! Rule `AWS/HttpCheck/1`: asks an address, and looks at what it answers; where it may wait, again and again.
//!
//! CodePipeline has no such rule. Its owner is AWS all the same, for a declaration of CodePipeline's knows no other owner of rules.
//!
//! An answer that does not come is one that does not pass: only what the operator or the declaration has to mend is an error.

use std::io::Read as _;

use pipewright_sdk::FailureKind;
use pipewright_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// A body is looked at up to here.
const BODY_BYTES_MAX: u64 = 1 << 20;
const MINUTE_MILLISECONDS: u64 = 60 * 1000;

#[derive(Settings)]
struct Check {
    /// The address that is asked, beginning with `https://` or `http://`. A redirect is an answer, and not followed.
    url: String,
    /// `GET` or `HEAD`.
    #[setting(default = "GET")]
    method: Method,
    /// The status of an answer that passes.
    #[setting(default = "200")]
    status: u16,
    /// What the first MiB of the answer must have within.
    contains: Option<String>,
    /// How many minutes to wait for an answer that passes; with 0, the first answer counts.
    #[setting(default = "0")]
    wait_time: u32,
    /// How many seconds are between two questions.
    #[setting(default = "30")]
    interval: u32,
}

#[derive(Choice, Clone, Copy, PartialEq)]
#[allow(clippy::upper_case_acronyms, reason = "the words of HTTP")]
enum Method {
    GET,
    HEAD,
}

/// What is known from one question to the next.
#[derive(Serialize, Deserialize)]
struct Asked {
    /// In milliseconds since 1970.
    deadline: u64,
    times: u32,
}

/// Passes where an address answers as it should.
#[action(owner = "AWS", provider = "HttpCheck")]
fn http_check(action: &Action, check: Check) -> Result<Step<Verdict>> {
    let now = clock::milliseconds();
    let first = Asked { deadline: now + u64::from(check.wait_time) * MINUTE_MILLISECONDS, times: 0 };
    let Asked { deadline, times } = action.resumed()?.map_or(first, |resumed| resumed.continuation);
    let times = times + 1;
    let Some(objection) = objection(&check)? else { return Ok(Step::Done(Verdict::passed())) };
    info!("{objection}");
    let next = now + u64::from(check.interval.max(1)) * 1000;
    if next > deadline {
        let asked = if times > 1 { format!(" (asked {times} times)") } else { String::new() };
        return Ok(Step::Done(Verdict::failed(objection + &asked)));
    }
    Ok(Step::Waiting(Wait::until_time(next).summary(objection).continuation(&Asked { deadline, times })?))
}

/// Why an answer does not pass.
fn objection(check: &Check) -> Result<Option<String>> {
    let Check { url, method, status, contains, .. } = check;
    let request = match method {
        Method::GET => http::get(url),
        Method::HEAD => http::head(url),
    };
    let response = match request.send() {
        Ok(response) => response,
        Err(failure) if failure.kind == FailureKind::SystemUnavailable => return Ok(Some(failure.message)),
        Err(failure) => return Err(failure),
    };
    if response.status() != *status {
        return Ok(Some(format!("{url} answered {}, and not {status}", response.status())));
    }
    let Some(text) = contains else { return Ok(None) };
    let mut body = Vec::new();
    if let Err(error) = response.take(BODY_BYTES_MAX).read_to_end(&mut body) {
        return Ok(Some(format!("the answer of {url} broke off: {error}")));
    }
    let is_there = String::from_utf8_lossy(&body).contains(text.as_str());
    Ok((!is_there).then(|| format!("the answer of {url} does not contain `{text}`")))
}

plugin! {
    /// Looks whether an address answers.
    name: "pipewright/rule-http-check",
    asks: [ask(Capability::Http("*".into()), "to ask the address of `Url`")],
    rule: [http_check],
}
