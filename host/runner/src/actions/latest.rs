//! A look at a source, without an execution.

use std::sync::Arc;

use pipewright_pipeline::declaration::{ActionDeclaration, PipelineDeclaration};
use pipewright_pipeline::machine::{self, Revision};
use pipewright_sandbox::Call;
use pipewright_sandbox::abi::{Entry, Outcome};
use pipewright_sandbox::outside::Outside;
use pipewright_sandbox::seam::{HostCall, Level, Sink};
use pipewright_store::Aggregate;

use super::{SandboxActions, failed_call};
use crate::outcome;
use crate::work_folder::WorkFolder;

impl SandboxActions {
    /// What a source action would fetch now, without fetching it.
    pub async fn latest(
        self: &Arc<Self>,
        pipeline: Aggregate,
        declaration: &PipelineDeclaration,
        action: &ActionDeclaration,
    ) -> Result<Option<Revision>, String> {
        let (stage, name) = (declaration.stages[0].name.as_str(), action.name.as_str());
        let plugin = self.plugins.bound(&self.sandbox, pipeline.account, &action.action_type_id).await;
        let plugin = &plugin.ok_or_else(|| format!("no plugin serves {}", action.action_type_id))?;
        let description = plugin.description();
        let grants = self.current_grants(pipeline.account, declaration.name.clone()).await?;
        let grants = grants.resolve(&format!("{stage}/{name}"), &description.name, &description.version);
        let folder = WorkFolder(self.work.join("polls").join(format!("{pipeline}-{name}").replace('/', "-")));
        folder.empty().await;
        let empty = Default::default();
        let request =
            self.bare_request(pipeline, declaration, stage, action, action.configuration.as_ref().unwrap_or(&empty));
        let call = Call {
            tenant: pipeline.account,
            entry: Entry::SourceLatest,
            request,
            grants: grants.map_err(|error| error.to_string())?,
            time: None,
            inputs: Vec::new(),
            work_dir: folder.0.clone(),
            ended: None,
            limits: self.limits.clone(),
            sink: Arc::new(Unheard),
            outside: Outside::Live,
        };
        let _turn = self.calls.acquire(pipeline.account).await;
        let end = self.sandbox.call(plugin, call).await;
        folder.empty().await;
        match end.result {
            Ok(Outcome::Latest(revision)) => Ok(revision.map(outcome::revision)),
            Ok(_) => Err("the plugin does not say what is the latest revision".to_owned()),
            Err(failure) => Err(match failed_call(failure, &end.denials, None).outcome {
                machine::Outcome::Failed(failure) => failure.error.message,
                _ => String::new(),
            }),
        }
    }
}

/// What a poll says goes nowhere: it has no execution to which it would belong.
struct Unheard;

impl Sink for Unheard {
    fn log(&self, level: Level, line: &str) {
        tracing::debug!("{level:?} {line}");
    }

    fn progress(&self, _: Option<u8>, _: &str) {}

    fn host_call(&self, _: HostCall) {}
}
