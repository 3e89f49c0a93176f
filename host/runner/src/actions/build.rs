//! What an action of CodeBuild has besides others, while it runs.

use pipewright_pipeline::machine::{FailureType, Report, RunAction};
use pipewright_sandbox::abi;
use pipewright_sandbox::grants::Grants;
use pipewright_store::Aggregate;

use super::SandboxActions;
use super::request::named;
use crate::builds;
use crate::work_folder::WorkFolder;

pub(super) struct ActionBuild {
    /// Its project, while it runs.
    folder: WorkFolder,
    pub variables: Vec<abi::NamedValue>,
    stopping: builds::Stopping,
}

impl ActionBuild {
    /// Until it has ended, or somebody stops it: then what runs of it is dropped, and so ended.
    pub async fn carry_out(self, calls: impl Future<Output = Report>) -> Report {
        let report = tokio::select! {
            report = calls => report,
            () = self.stopping.asked() => {
                Report::failed(FailureType::JobFailed, "Build terminated with state: STOPPED.")
            }
        };
        self.folder.empty().await;
        report
    }
}

impl SandboxActions {
    /// A project, and what the host knows of the build.
    pub(super) async fn build(
        &self,
        pipeline: Aggregate,
        run: &RunAction,
        grants: &mut Grants,
    ) -> Result<ActionBuild, String> {
        let failed = |reason| self.told(pipeline.account, "the build cannot begin", reason);
        let artifact_arn = match run.inputs.as_slice() {
            [(name, digest)] => Some(run.declaration.artifact_arn(name, digest)),
            _ => None,
        };
        let told = self
            .builds
            .told(&*self.store, pipeline, run, artifact_arn)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let folder = WorkFolder::new(self.work.join("projects").join(run.action_execution.to_string()));
        if told.has_projects {
            let name = run.configuration.get("ProjectName").map_or("", String::as_str);
            let granted = builds::grant(grants, &folder.path, name, told.project.as_ref());
            granted.map_err(|error| failed(format!("{}: {error}", folder.path.display())))?;
        }
        let variables = told.variables.iter().map(|(name, value)| named(name, value)).collect();
        Ok(ActionBuild { folder, variables, stopping: self.builds.stopping(run.action_execution) })
    }
}
