//! The action types that an account's workers serve: kept in its record, and remembered when the host starts.
//!
//! Owns that a version is never used again once it was deleted. Must not know what an action type is used for.

use std::collections::BTreeMap;

use pipewright_base::Cause;
use pipewright_engine::driver::DriverError;
use pipewright_packages::plugins::WorkerType;
use pipewright_pipeline::declaration::{ActionOwner, ActionTypeId};
use serde::{Deserialize, Serialize};

use super::{AccountPlugins, AccountPluginsError};

/// The parts of an account's record.
const WORKER_TYPE: &str = "worker-type/";
/// Custom action types of one account, as CodePipeline has it.
pub const CUSTOM_TYPES_MAX: usize = 50;
/// The same with those that were deleted, whose versions stay taken. Stops a record that grows with every version.
const CUSTOM_TYPES_EVER_MAX: usize = 1000;

/// What is kept of one; of one that was deleted only that it was there.
#[derive(Serialize, Deserialize)]
struct KeptType {
    id: ActionTypeId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    served: Option<WorkerType>,
}

impl AccountPlugins {
    /// Makes a custom action type that there never was.
    pub async fn create_worker_type(
        &self,
        account: u64,
        served: WorkerType,
        cause: &Cause,
    ) -> Result<(), AccountPluginsError> {
        let _alone = self.saying.lock().await;
        let id = &served.info.id;
        let plugins = &self.host.actions.plugins;
        let workers = plugins.sharing().workers;
        let refused = |message: String| Err(AccountPluginsError::Invalid(message));
        match workers.get(&(account, id.clone())) {
            Some(Some(_)) => return refused(format!("The action type {id} already exists")),
            Some(None) => {
                return refused(format!("The action type {id} was deleted: use a version that was never used before"));
            }
            None if plugins.catalogue(account).bindings().contains_key(id) => {
                return refused(format!("The action type {id} already exists: a plugin serves it"));
            }
            None => {}
        }
        let custom = || workers.iter().filter(|((of, id), _)| *of == account && id.owner == ActionOwner::Custom);
        if custom().filter(|(_, served)| served.is_some()).count() >= CUSTOM_TYPES_MAX {
            return Err(AccountPluginsError::Limit(format!(
                "The account has {CUSTOM_TYPES_MAX} custom action types, which is its limit"
            )));
        }
        if custom().count() >= CUSTOM_TYPES_EVER_MAX {
            return Err(AccountPluginsError::Limit(format!(
                "The account has made {CUSTOM_TYPES_EVER_MAX} custom action types, which is its limit; those that were \
                 deleted count"
            )));
        }
        self.keep_worker_type(account, id.clone(), Some(served), cause).await
    }

    /// Puts what is said of an action type in the place of what was; none: it is not there any more, for ever.
    pub async fn put_worker_type(
        &self,
        account: u64,
        id: &ActionTypeId,
        served: Option<WorkerType>,
        cause: &Cause,
    ) -> Result<(), AccountPluginsError> {
        let _alone = self.saying.lock().await;
        self.keep_worker_type(account, id.clone(), served, cause).await
    }

    /// One that is not there any more stays so.
    pub async fn tag_worker_type(
        &self,
        account: u64,
        id: &ActionTypeId,
        tags: BTreeMap<String, String>,
        cause: &Cause,
    ) -> Result<(), AccountPluginsError> {
        let _alone = self.saying.lock().await;
        let workers = self.host.actions.plugins.sharing().workers;
        let Some(Some(served)) = workers.get(&(account, id.clone())).cloned() else { return Ok(()) };
        self.keep_worker_type(account, id.clone(), Some(WorkerType { tags, ..served }), cause).await
    }

    async fn keep_worker_type(
        &self,
        account: u64,
        id: ActionTypeId,
        served: Option<WorkerType>,
        cause: &Cause,
    ) -> Result<(), AccountPluginsError> {
        let kept = KeptType { id: id.clone(), served: served.clone() };
        self.put(account, &format!("{WORKER_TYPE}{id}"), Some(kept), cause).await?;
        self.host.actions.plugins.share(|sharing| drop(sharing.workers.insert((account, id), served)));
        Ok(())
    }

    /// Takes back what an account said before.
    pub(super) async fn remember_worker_types(&self, account: u64) -> Result<(), AccountPluginsError> {
        let parts = self.host.driver.account_parts(account, WORKER_TYPE).await?;
        let damaged = |error| DriverError::Damaged(format!("an action type of account {account:012}: {error}"));
        let kept = parts.iter().map(|(_, value)| serde_json::from_slice(value)).collect::<Result<Vec<KeptType>, _>>();
        let kept = kept.map_err(damaged)?;
        self.host.actions.plugins.share(|sharing| {
            sharing.workers.extend(kept.into_iter().map(|kept| ((account, kept.id), kept.served)));
        });
        Ok(())
    }
}
