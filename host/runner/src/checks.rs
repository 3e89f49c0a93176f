//! What the plugins of an account say is wrong with the settings of a pipeline, before it runs (S280).
//!
//! Must not judge anything itself.

use std::time::Duration;

use pipewright_packages::plugins::{Plugins, abi_type_id};
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{Placed, all};
use pipewright_sandbox::Sandbox;
use pipewright_sandbox::abi::{NamedValue, Problem};
use tokio::time::timeout;

use crate::actions::SandboxActions;

/// For all actions together, while a client waits. What nobody judged in that time, the actions judge when they run.
const PATIENCE: Duration = Duration::from_secs(5);

/// A setting that the plugin which serves its action refuses.
#[derive(Debug)]
pub struct Refused<'a> {
    pub placed: Placed<'a>,
    pub setting: String,
    /// To follow the setting's name: `must be …`.
    pub message: String,
}

impl SandboxActions {
    pub async fn refused_settings<'a>(&self, account: u64, declaration: &'a PipelineDeclaration) -> Vec<Refused<'a>> {
        refused_settings(&self.sandbox, &self.plugins, account, declaration).await
    }
}

/// In the declaration's order.
pub async fn refused_settings<'a>(
    sandbox: &Sandbox,
    plugins: &Plugins,
    account: u64,
    declaration: &'a PipelineDeclaration,
) -> Vec<Refused<'a>> {
    let mut refused = Vec::new();
    let judging = async {
        for placed in all(declaration) {
            refused.extend(of_one(sandbox, plugins, account, placed).await);
        }
    };
    if timeout(PATIENCE, judging).await.is_err() {
        tracing::warn!(account, pipeline = declaration.name, "its plugins took too long to judge all of its settings");
    }
    refused
}

async fn of_one<'a>(sandbox: &Sandbox, plugins: &Plugins, account: u64, placed: Placed<'a>) -> Vec<Refused<'a>> {
    let id = placed.declared.type_id();
    let catalogue = plugins.catalogue(account);
    let Some(known) = catalogue.types().get(&id) else { return Vec::new() };
    let is_secret = |name: &str| known.properties.iter().any(|property| property.secret && property.name == name);
    let given = placed.declared.configuration().into_iter().flatten();
    let known: Vec<NamedValue> = given
        .filter(|(name, value)| !value.contains("#{") && !is_secret(name))
        .map(|(name, value)| NamedValue { name: name.clone(), value: value.clone() })
        .collect();
    if known.is_empty() {
        return Vec::new();
    }
    let Some(plugin) = plugins.bound(sandbox, account, &id).await else { return Vec::new() };
    match sandbox.check(account, &plugin, abi_type_id(&id), known).await {
        Ok(problems) => {
            problems.into_iter().map(|Problem { setting, message }| Refused { placed, setting, message }).collect()
        }
        Err(error) => {
            tracing::warn!(
                account,
                "{} cannot judge the settings of {}: {error}",
                plugin.digest(),
                placed.name_in_pipeline()
            );
            Vec::new()
        }
    }
}
