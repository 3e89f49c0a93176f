//! Actions and rules that no plugin serves, but workers or functions: what they wait for.
//!
//! Must not know what becomes of a job (the machine).

use pipewright_engine::driver::Aggregate;
use pipewright_pipeline::action_type::{FUNCTION_NAME, is_of_functions};
use pipewright_pipeline::declaration::{ActionDeclaration, ActionTypeId};
use pipewright_pipeline::machine::{Awaited, FailureType, Report, RunAction, Wait};

use crate::actions::{SandboxActions, check_settings, plugin_pin};

impl SandboxActions {
    /// A worker tells by itself what its source fetched, and when there is something new: by PutActionRevision.
    pub(crate) fn is_for_workers(&self, pipeline: Aggregate, action: &ActionDeclaration) -> bool {
        self.plugins.catalogue(pipeline.account).workers(&action.action_type_id).is_some()
    }

    /// What something waits for that no plugin serves, but workers or a function.
    pub(crate) fn job(&self, pipeline: Aggregate, run: &RunAction, id: &ActionTypeId) -> Option<Report> {
        if run.start.pins.contains_key(&plugin_pin(&run.placed().name_in_pipeline())) {
            return None;
        }
        let catalogue = self.plugins.catalogue(pipeline.account);
        let workers = catalogue.workers(id)?;
        if let Err(misfit) = check_settings(run, Some(&workers.info)) {
            return Some(Report::failed(FailureType::ConfigurationError, misfit));
        }
        let within_milliseconds = workers.job_timeout_seconds.map(|seconds| u64::from(seconds) * 1000);
        let function = run.configuration.get(FUNCTION_NAME).filter(|_| is_of_functions(id));
        let summary = Some(match function {
            Some(function) => format!("waits for the function {function}"),
            None => format!("waits for a worker of {id}"),
        });
        let awaits = vec![Awaited::Job { within_milliseconds }];
        Some(Report::waiting(Wait { awaits, summary, ..Wait::default() }))
    }
}
