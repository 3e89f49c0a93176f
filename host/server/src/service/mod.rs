//! Commands and queries: all that can be asked of a host, each a function of who asks, a typed input and a typed output.
//!
//! Owns who may see what, the words of refusals that need more than a state machine knows, and what is shown of what is kept. Must
//! not know HTTP, a terminal or a wire protocol: the edges read a request, call one of these functions and write what it gives.

pub mod action_types;
pub mod actions;
mod approvals;
pub mod artifacts;
pub mod builds;
pub mod connections;
pub mod custom_types;
pub mod deliveries;
pub mod deploys;
mod error;
pub mod eventbridge;
pub mod events;
pub mod executions;
pub mod functions;
pub mod host;
pub mod identity;
pub mod job_artifacts;
pub mod jobs;
pub mod logs;
pub mod notifications;
mod pages;
pub mod partner_jobs;
pub mod pipelines;
mod placeholders;
pub mod plugins;
pub mod projects;
pub mod quarantine;
mod reading;
pub mod reports;
pub mod rules;
mod runs;
pub mod secrets;
pub mod state;
pub mod tags;
#[cfg(test)]
mod tests;
mod views;
pub mod warnings;
pub mod webhooks;
pub mod workers;

use std::sync::Arc;
use std::time::Duration;

use pipewright_base::{Cause, Source};
use pipewright_engine::driver::{Driver, DriverError, StartToken};
use pipewright_engine::export::Exported;
use pipewright_packages::plugins::Catalogue;
use pipewright_pipeline::machine::Refusal;
use pipewright_runner::host::Host;
use pipewright_runner::work::Work;

use crate::account_plugins::AccountPlugins;
use crate::config::Quotas;
use crate::notify::Notify;
use crate::poll::Changes;
pub use error::ServiceError;
pub use pages::Pages;

/// What every command and query needs.
pub struct Service {
    pub host: Host,
    /// Of this account are those who run the host.
    pub operator: u64,
    pub quotas: Quotas,
    pub pages: Pages,
    pub account_plugins: Arc<AccountPlugins>,
    pub exported: Exported,
    /// Tells whoever looks at sources that they may have changed.
    pub changes: Changes,
    pub jobs: job_artifacts::Jobs,
    pub changing: Changing,
    /// Where this host is reached: `http://ADDRESS:PORT`, or https.
    pub endpoint: String,
    /// Where others reach this server: `https://HOST`.
    pub public_address: String,
    pub notify: Arc<Notify>,
    pub functions: functions::Functions,
    pub polls: workers::Polls,
}

/// Each is held while what it is called for changes: what it becomes depends on what it is.
#[derive(Default)]
pub struct Changing {
    tags: tokio::sync::Mutex<()>,
    /// Or while one is built.
    projects: tokio::sync::Mutex<()>,
    /// And connections.
    webhooks: tokio::sync::Mutex<()>,
    /// Of notifications.
    targets: tokio::sync::Mutex<()>,
}

/// On whose behalf something is done, and why.
#[derive(Clone, Debug)]
pub struct Context {
    pub account: u64,
    pub cause: Cause,
    /// Of the request, where one was signed.
    pub signature: Option<String>,
}

/// A signature has the second in it, so two equal requests of one second have the same where the client tells them apart by no
/// header: disable, enable, disable, or two builds, as quickly as a script says it. They are meant, and each is done (S94).
pub const EQUAL_ONES_COME_WITHIN: Duration = Duration::from_secs(2);

impl Context {
    /// What stands for the token that a start lacks: a request that somebody captured starts nothing when it is sent again.
    fn token(&self) -> Option<StartToken> {
        let meant_within = EQUAL_ONES_COME_WITHIN.as_millis() as u64;
        self.signature.clone().map(|name| StartToken { name, meant_within })
    }
}

impl Service {
    pub fn region(&self) -> &str {
        &self.host.actions.region
    }

    /// Where files are read, and whatever else must not keep a thread from a request.
    pub fn work(&self) -> &Work {
        &self.host.actions.work_runtime
    }

    fn driver(&self) -> &Driver {
        &self.host.driver
    }

    /// What an action execution, or one of a rule, that is being called told last of how far it is.
    fn progress(&self, action_execution: &str) -> Option<String> {
        views::summary(self.host.actions.logs.progress(action_execution).as_ref())
    }

    /// What the account can use now.
    fn catalogue(&self, context: &Context) -> Arc<Catalogue> {
        self.host.actions.plugins.catalogue(context.account)
    }

    /// After which row a page of a list of this account starts.
    fn after(&self, context: &Context, list: &str, token: Option<&str>) -> Result<Option<Vec<u8>>, ServiceError> {
        self.pages.after(&format!("{} {list}", context.account), token)
    }

    fn token(&self, context: &Context, list: &str, after: &[u8]) -> String {
        self.pages.token(&format!("{} {list}", context.account), after)
    }

    /// What the ARN of a service's resource names in this account and region. One without an account is of the caller's own (S7).
    fn of_arn<'a>(&self, context: &Context, of: &str, arn: &'a str) -> Option<&'a str> {
        let mut parts = arn.strip_prefix("arn:aws")?.splitn(5, ':').skip(1);
        let (service, region, account) = (parts.next()?, parts.next()?, parts.next()?);
        let is_own = account.is_empty() || account == context.account_id();
        parts.next().filter(|_| service == of && region == self.region() && is_own)
    }

    fn arn(&self, context: &Context, pipeline: &str) -> String {
        format!("arn:aws:codepipeline:{}:{}:{pipeline}", self.region(), context.account_id())
    }
}

impl Context {
    /// What the host does by itself in an account.
    pub fn of_host(part: &str, source: Source, account: u64) -> Self {
        Self { account, cause: Cause::host(part, source), signature: None }
    }

    pub fn account_id(&self) -> String {
        format!("{:012}", self.account)
    }

    /// The ARN of who asks.
    pub fn principal(&self) -> String {
        self.cause.principal.to_string()
    }

    /// A refused input, in the words of the API where the core does not know the account.
    fn refused(&self, name: &str, error: DriverError) -> ServiceError {
        let account = self.account_id();
        match error {
            DriverError::Refused(Refusal::PipelineNotFound) => self.no_pipeline(name),
            DriverError::Refused(Refusal::PipelineNameInUse(name)) => ServiceError::refused(
                "PipelineNameInUseException",
                format!("A pipeline with the name '{name}' already exists in account '{account}'"),
            ),
            error => error.into(),
        }
    }

    fn no_pipeline(&self, name: &str) -> ServiceError {
        let message = format!("Account '{}' does not have a pipeline with name '{name}'", self.account_id());
        ServiceError::refused("PipelineNotFoundException", message)
    }
}
