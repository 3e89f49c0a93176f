//! What an action of CodeBuild has besides others, while it runs.

use std::sync::Arc;
use std::time::Duration;

use pipewright_base::fair::{Claim, Shut};
use pipewright_engine::driver::DriverError;
use pipewright_pipeline::machine::{ActionExecutionId, FailureType, Report, RunAction};
use pipewright_sandbox::abi;
use pipewright_sandbox::grants::Grants;
use pipewright_sandbox::seam::Sink as _;
use pipewright_store::Aggregate;

use super::SandboxActions;
use super::request::named;
use crate::builds;
use crate::builds::Builds;
use crate::logs::ActionLog;
use crate::programs::{Behalf, in_queue};
use crate::work_folder::WorkFolder;

pub(super) struct ActionBuild {
    pub claim: Claim,
    log: Arc<ActionLog>,
    project: String,
    waits: builds::Waits,
    /// With its project.
    _folder: Option<Arc<WorkFolder>>,
    pub variables: Vec<abi::NamedValue>,
    stopping: builds::Stopping,
    pub kept: builds::Kept,
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes.saturating_mul(60))
}

impl ActionBuild {
    /// Until it has ended, or somebody stops it: then what runs of it is dropped, and so ended.
    pub async fn carry_out(self, folder: &WorkFolder, calls: impl Future<Output = Report>) -> Report {
        let in_turn = async {
            let tell = |before| {
                folder.wait();
                self.log.progress(None, &format!("waits for builds of its project: {}", in_queue(before)));
            };
            let _turn = self.stopping.turn(self.claim, &self.project, self.waits.at_once_max, tell).await;
            folder.go_on();
            let report = calls.await;
            self.kept.clone().await.map_or_else(|error| not_kept(&error), |()| report)
        };
        tokio::select! {
            report = in_turn => report,
            () = self.stopping.queued_for(minutes(self.waits.minutes_max)) => Report::failed(
                FailureType::JobFailed,
                format!(
                    "Build terminated with state: TIMED_OUT. Phase: QUEUED, Code: BUILD_TIMED_OUT, Message: Build has timed \
                     out. It was not its turn within queuedTimeoutInMinutes: {}",
                    self.waits.minutes_max,
                ),
            ),
            () = self.stopping.asked() => {
                Report::failed(FailureType::JobFailed, "Build terminated with state: STOPPED.")
            }
        }
    }
}

pub(super) fn not_kept(error: &DriverError) -> Report {
    tracing::error!("a build is not kept: {error}");
    Report::failed(
        FailureType::SystemUnavailable,
        "the build cannot be kept; those who run the host find the reason in its log",
    )
}

/// An action whose program is to run.
pub(super) struct OfAction {
    pub claim: Claim,
    pub action: ActionExecutionId,
    pub builds: Arc<Builds>,
    pub log: Arc<ActionLog>,
    /// In which the program works.
    pub folder: Arc<WorkFolder>,
}

impl Behalf for OfAction {
    fn claim(&self) -> Claim {
        self.claim
    }

    fn has_asked(&self) {
        self.builds.has_asked(self.action);
    }

    fn waits(&self) {
        self.folder.wait();
    }

    fn has_begun(&self) {
        self.folder.go_on();
        if self.builds.begun(self.action) {
            self.log.leave_queue();
        }
    }
}

impl SandboxActions {
    /// A project, and what the host knows of the build.
    pub(super) async fn build(
        &self,
        pipeline: Aggregate,
        run: &RunAction,
        grants: &mut Grants,
        log: &Arc<ActionLog>,
        returning: Option<Shut>,
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
        let project = run.configuration.get("ProjectName").cloned().unwrap_or_default();
        let folder = if self.builds.has_projects {
            let laid_out = || self.projects.with(&format!("{project}.json"), told.project.as_deref());
            builds::grant(grants, laid_out)
                .map_err(|error| failed(format!("its project cannot be laid out: {error}")))?
        } else {
            None
        };
        let variables = told.variables.iter().map(|(name, value)| named(name, value)).collect();
        log.begin_phases();
        let (claim, log) = (Claim { account: pipeline.account, since: told.since }, Arc::clone(log));
        let stopping = self.builds.stopping(run.action_execution, returning);
        Ok(ActionBuild {
            claim,
            log,
            project,
            waits: told.waits,
            _folder: folder,
            variables,
            stopping,
            kept: told.kept,
        })
    }
}
