//! Why something changed: who acted, by which request, and by which way it came in.
//!
//! Owns the words that every commit keeps. Must not know who may do what, or how a request was signed.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who acts: a user by ARN, or a part of the host by the name that it has in [`Principal::host`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Principal(String);

impl Principal {
    /// A user of an account, as IAM names one.
    pub fn user(account: u64, name: &str) -> Self {
        Self(format!("arn:aws:iam::{account:012}:user/{name}"))
    }

    /// A part of the host that acts by itself, such as `poller` or `timer`.
    pub fn host(part: &str) -> Self {
        Self(format!("pipewright:{part}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// By which way it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// An operation of CodePipeline.
    Api,
    /// A request of plain HTTP.
    Http,
    /// The command line on this machine, without a server.
    CommandLine,
    /// A look at a source.
    Poller,
    /// A request of another system.
    Webhook,
    /// A time that had come.
    Timer,
    /// The end of an action's call.
    Action,
    /// The start of the host, which goes on with what was interrupted or settles what is configured.
    Start,
}

/// What every commit keeps of its reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cause {
    #[serde(rename = "by")]
    pub principal: Principal,
    /// The id that the answer of the request carried; empty where nobody asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request: String,
    #[serde(rename = "from")]
    pub source: Source,
}

impl Cause {
    /// What the host does by itself.
    pub fn host(part: &str, source: Source) -> Self {
        Self { principal: Principal::host(part), request: String::new(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_kept_in_few_bytes_and_read_again() {
        let check = |cause: &Cause, json: &str| {
            assert_eq!(serde_json::to_string(cause).unwrap(), json);
            assert_eq!(serde_json::from_str::<Cause>(json).unwrap(), *cause);
        };
        check(&Cause::host("timer", Source::Timer), r#"{"by":"pipewright:timer","from":"timer"}"#);
        let principal = Principal::user(7, "administrator");
        check(
            &Cause { principal, request: "r-1".to_owned(), source: Source::CommandLine },
            r#"{"by":"arn:aws:iam::000000000007:user/administrator","request":"r-1","from":"command-line"}"#,
        );
    }
}
