//! What a plugin is asked apart from any action: what it is, and what is wrong with settings.
//!
//! With no grants, no files, and tight limits: the answer follows from the component and the question alone.

use std::path::PathBuf;
use std::sync::Arc;

use pipewright_artifacts::files::Floor;
use pipewright_base::memory::Budget;
use pipewright_text::{cut_bytes, printable};
use wasmtime::Store;
use wasmtime::component::{Instance, Val};

use crate::abi::{Description, NamedValue, Problem, TypeId};
use crate::call::{CallFailure, Making};
use crate::capabilities::caches::CachesAt;
use crate::description;
use crate::explain::NotOffered;
use crate::files::{Files, FilesConfig};
use crate::grants::Grants;
use crate::limits::{CallLimits, PROBLEM_BYTES_MAX};
use crate::masks::Masks;
use crate::outside::Outside;
use crate::plugin::{Code, Exports, Plugin};
use crate::rights::Asks;
use crate::sandbox::Sandbox;
use crate::seam::{HostCall, Level, Seam, Sink};
use crate::state::State;

/// Asks a plugin what it is.
pub(crate) async fn describe(sandbox: &Sandbox, code: &Arc<Code>) -> Result<Description, CallFailure> {
    let (asked, code) = (sandbox.clone(), Arc::clone(code));
    let described = sandbox.on_threads(async move {
        let whole = &asked.0.memory.whole;
        let describe = async |store: &mut Store<State>, instance: Instance, exports: &Exports| {
            let describe = instance.get_func(&mut *store, exports.describe).ok_or(NotOffered("plugin"))?;
            let mut described = [Val::Bool(false)];
            describe.call_async(store, &[], &mut described).await?;
            let [described] = described;
            wasmtime::Result::Ok(described)
        };
        ask(&asked, &code, "describe", CallLimits::describe(), whole, describe).await
    });
    description::read(&described.await?).map_err(CallFailure::Interface)
}

impl Sandbox {
    /// Asks a plugin what is wrong with settings of an action, for an account. It has nothing to say where it does not judge before it
    /// runs.
    ///
    /// # Errors
    /// What became of it instead of an answer; nothing is known of the settings then.
    pub async fn check(
        &self,
        tenant: u64,
        plugin: &Plugin,
        id: TypeId,
        mut settings: Vec<NamedValue>,
    ) -> Result<Vec<Problem>, CallFailure> {
        description::lower_booleans(plugin.description(), &id, &mut settings);
        let (asked, loaded) = (self.clone(), Arc::clone(&plugin.loaded));
        let checked = self.on_threads(async move {
            let code = asked.code(&loaded).await.map_err(|error| CallFailure::Host(error.into()))?;
            if code.on_demand.exports.checks.is_none() {
                return Ok(Vec::new());
            }
            let check = async |store: &mut Store<State>, instance: Instance, exports: &Exports| {
                let checks = exports.checks.as_ref().ok_or(NotOffered("checks"))?.load(&mut *store, &instance)?;
                checks.call_check(store, &id, &settings).await
            };
            let share = asked.0.memory.share(tenant);
            let mut problems = ask(&asked, &code, "check", CallLimits::check(), &share, check).await?;
            problems.retain(|problem| settings.iter().any(|given| given.name == problem.setting));
            problems.truncate(settings.len());
            for Problem { message, .. } in &mut problems {
                cut_bytes(message, PROBLEM_BYTES_MAX);
                *message = printable(message).into_owned();
            }
            Ok(problems)
        });
        checked.await
    }

    /// Where guests run.
    async fn on_threads<T: Send + 'static>(
        &self,
        question: impl Future<Output = Result<T, CallFailure>> + Send + 'static,
    ) -> Result<T, CallFailure> {
        let answered = self.0.guests.run(Box::pin(question)).await;
        answered.unwrap_or_else(|| Err(CallFailure::Host(anyhow::anyhow!("the sandbox was closed"))))
    }
}

async fn ask<T>(
    sandbox: &Sandbox,
    code: &Code,
    question: &str,
    limits: CallLimits,
    memory: &Arc<Budget>,
    work: impl AsyncFnOnce(&mut Store<State>, Instance, &Exports) -> wasmtime::Result<T>,
) -> Result<T, CallFailure> {
    struct Nowhere;
    impl Sink for Nowhere {
        fn log(&self, _: Level, _: &str) {}
        fn progress(&self, _: Option<u8>, _: &str) {}
        fn host_call(&self, _: HostCall) {}
    }
    let seam = Seam::new("the plugin", question, Arc::new(Nowhere), Masks::default(), Asks::default(), Outside::Live);
    let memory = limits.host_memory(memory);
    let files = Files::new(FilesConfig {
        inputs: Vec::new(),
        outputs: Vec::new(),
        directories: Default::default(),
        work_dir: PathBuf::new(),
        is_scratch_left: false,
        quota: limits.files.clone(),
        memory: Arc::clone(&memory),
        floor: Floor::of_disks(),
        seam: Arc::clone(&seam),
    });
    let making = Making {
        tenant: 0,
        seam,
        limits,
        memory,
        grants: Grants::default(),
        time: None,
        idempotency_key: question,
        secret_environment: Vec::new(),
        ended: None,
        caches: CachesAt::Nowhere,
        find: None,
        files,
        symbols: None,
    };
    sandbox.run(code, making, work).await.result
}
