//! What the accounts of a server can use: the packages that each installed, what it offers to others, and what it says of them.
//!
//! Owns what is kept of that: it is loaded at the server's start, and installed packages again whenever somebody says that
//! they changed. An account's record has what was loaded last, so that its history tells who changed what. Must not know who
//! sees what (`plugins`), nor how a package is judged (`packages`).

mod workers;

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use pipewright_base::Digest;
use pipewright_pipeline::declaration::ActionTypeId;
use pipewright_text::is_printable;
use semver::Version;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use pipewright_base::home::DataDirectory;
use pipewright_base::{Cause, Scope, Source};
use pipewright_engine::driver::DriverError;
use pipewright_packages::plugins::{Notice, Noticed, Offer, PluginError, Provenance};
use pipewright_packages::{Installed, Listed, PackageError};
use pipewright_runner::host::Host;

/// The parts of an account's record.
const OFFER: &str = "offer/";
const NOTICE: &str = "notice/";
/// Each package that is installed, as the lock has it.
const INSTALLED: &str = "plugin/";
/// Of a notice; shown wherever the plugin is.
const REASON_CHARS_MAX: usize = 500;
/// Of one account. Stops a record that grows with every version.
const NOTICES_MAX: usize = 1000;

/// Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountPluginsError {
    /// Name an action type that the account has.
    #[error("No plugin that account {account:012} installed serves an action type {id}")]
    NoActionType { account: u64, id: ActionTypeId },
    /// Name a version of a plugin that the account has.
    #[error("{0}")]
    NoPlugin(String),
    /// Write it in another way.
    #[error("{0}")]
    Invalid(String),
    /// There may not be more of it.
    #[error("{0}")]
    Limit(String),
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error(transparent)]
    Driver(#[from] DriverError),
}

pub struct AccountPlugins {
    host: Host,
    data: DataDirectory,
    operator: u64,
    /// Each account's is held while its plugins are loaded: of two loads the later one counts.
    loading: HashMap<u64, Mutex<()>>,
    /// Held while an account changes what it says: what is kept and what counts are to be the same.
    saying: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
struct KeptOffer {
    id: ActionTypeId,
    accounts: Offer,
}

impl AccountPlugins {
    pub async fn load(host: &Host, data: &DataDirectory, operator: u64) -> anyhow::Result<Self> {
        let account_plugins = Self {
            host: host.clone(),
            data: data.clone(),
            operator,
            loading: host.accounts().iter().map(|account| (*account, Mutex::default())).collect(),
            saying: Mutex::default(),
        };
        let misplaced = Installed::lock_path(data, Some(operator));
        if misplaced.exists() {
            let (place, right) = (misplaced.display(), data.plugins());
            anyhow::bail!(
                "{place}: {operator:012} is the account of those who run the host, whose plugins are in {}: leave out --account",
                right.display()
            );
        }
        for account in host.accounts().iter() {
            let loaded = account_plugins.load_account(*account, &Cause::host("plugins", Source::Start)).await;
            let remembered = account_plugins.remember(*account).await;
            for error in [loaded.err(), remembered.err()].into_iter().flatten() {
                match error {
                    AccountPluginsError::Driver(error) if error.scope() == Scope::Host => return Err(error.into()),
                    // Its other plugins, and those of other accounts, go on.
                    error => tracing::error!("account {account:012}: {error}; it goes without"),
                }
            }
        }
        Ok(account_plugins)
    }

    /// What an account has installed.
    pub fn installed(&self, account: u64) -> Result<Installed, PackageError> {
        Installed::open(&self.data, self.place(account))
    }

    /// As packages name an account.
    fn place(&self, account: u64) -> Option<u64> {
        (account != self.operator).then_some(account)
    }

    /// Takes up what an account has installed now. What cannot be used is told, and keeps nothing else from being used.
    pub async fn load_account(&self, account: u64, cause: &Cause) -> Result<(), AccountPluginsError> {
        let _alone = match self.loading.get(&account) {
            Some(loading) => Some(loading.lock().await),
            None => None,
        };
        let actions = &self.host.actions;
        let installed = self.installed(account)?;
        let (mut components, mut faults) = (Vec::new(), Vec::new());
        let verified = installed.components().await.unwrap_or_else(|fault| vec![Err(fault)]);
        for component in verified {
            match component {
                Ok(component) => components.push(component),
                Err(fault) => faults.push(AccountPluginsError::from(fault)),
            }
        }
        let unusable = actions.plugins.load_installed(&actions.sandbox, account, components).await;
        faults.extend(unusable.into_iter().map(AccountPluginsError::from));
        self.note(account, &installed, cause).await?;
        let told = faults.pop();
        faults.iter().for_each(|fault| tracing::error!("account {account:012}: {fault}; it goes without"));
        told.map_or(Ok(()), Err)
    }

    /// Brings the account's record in step with the lock.
    async fn note(&self, account: u64, installed: &Installed, cause: &Cause) -> Result<(), DriverError> {
        let mut there: BTreeMap<_, _> = installed.entries().iter().map(|entry| (entry.label(), entry)).collect();
        for (label, _) in self.host.driver.account_parts(account, INSTALLED).await? {
            if !there.contains_key(&label) {
                self.host.driver.put_account_part(account, &format!("{INSTALLED}{label}"), None, cause).await?;
            }
        }
        while let Some((label, entry)) = there.pop_first() {
            self.put(account, &format!("{INSTALLED}{label}"), Some(entry), cause).await?;
        }
        Ok(())
    }

    /// Lets a pending upgrade take its place at once.
    pub async fn consent(
        &self,
        account: u64,
        name: &str,
        version: &Version,
        manifest: &Digest,
        cause: &Cause,
    ) -> Result<(), AccountPluginsError> {
        self.installed(account)?.consent(name, version, manifest).await?;
        self.load_account(account, cause).await
    }

    /// Lets these accounts use an action type that `account` has, and no others.
    pub async fn offer(
        &self,
        account: u64,
        id: &ActionTypeId,
        accounts: &[String],
        cause: &Cause,
    ) -> Result<(), AccountPluginsError> {
        let _alone = self.saying.lock().await;
        let plugins = &self.host.actions.plugins;
        let is_own =
            plugins.catalogue(account).bindings().get(id).is_some_and(|binding| binding.whose == Provenance::Own);
        if !is_own {
            return Err(AccountPluginsError::NoActionType { account, id: id.clone() });
        }
        let key = (account, id.clone());
        let before = plugins.sharing().offers.get(&key).cloned().unwrap_or_default();
        let offer = before.to(accounts, self.host.driver.clock().now_ms()).ok_or_else(|| {
            AccountPluginsError::Invalid(
                "Offer it to at most 1000 accounts, each of them 12 digits, or `*` for all".to_owned(),
            )
        })?;
        let kept = (!accounts.is_empty()).then(|| KeptOffer { id: id.clone(), accounts: offer.clone() });
        self.put(account, &format!("{OFFER}{id}"), kept, cause).await?;
        plugins.share(|sharing| match accounts.is_empty() {
            true => drop(sharing.offers.remove(&key)),
            false => drop(sharing.offers.insert(key, offer)),
        });
        Ok(())
    }

    /// Says something of a version that `account` installed, or takes it back.
    pub async fn notice(
        &self,
        account: u64,
        name: &str,
        version: &str,
        notice: Option<Notice>,
        cause: &Cause,
    ) -> Result<(), AccountPluginsError> {
        let _alone = self.saying.lock().await;
        let plugins = &self.host.actions.plugins;
        let key = (account, name.to_owned(), version.to_owned());
        let known = plugins.sharing().notices;
        if let Some(notice) = &notice {
            let installed = self.installed(account)?;
            if !installed.entries().iter().any(|entry| entry.name == name && entry.version.to_string() == version) {
                let message = format!("Account {account:012} has no plugin {name} {version} installed");
                return Err(AccountPluginsError::NoPlugin(message));
            }
            if notice.reason.trim().is_empty()
                || notice.reason.chars().count() > REASON_CHARS_MAX
                || !notice.reason.chars().all(is_printable)
            {
                let message = format!("Give a reason, in one line of at most {REASON_CHARS_MAX} characters");
                return Err(AccountPluginsError::Invalid(message));
            }
            let of_account = known.keys().filter(|(of, ..)| *of == account).count();
            if of_account >= NOTICES_MAX && !known.contains_key(&key) {
                return Err(AccountPluginsError::Invalid(format!(
                    "There are {NOTICES_MAX} notices; take one of them back"
                )));
            }
        } else if !known.contains_key(&key) {
            return Err(AccountPluginsError::NoPlugin(format!("Nothing was said of {name} {version}")));
        }
        let kept = notice.clone().map(|notice| Noticed { name: key.1.clone(), version: key.2.clone(), notice });
        self.put(account, &format!("{NOTICE}{name}@{version}"), kept, cause).await?;
        plugins.share(|sharing| match notice {
            None => drop(sharing.notices.remove(&key)),
            Some(notice) => drop(sharing.notices.insert(key, notice)),
        });
        self.keep_notices(account)?;
        Ok(())
    }

    /// Tells whoever changes what is installed, too; gives what is.
    fn keep_notices(&self, account: u64) -> Result<Installed, PackageError> {
        let mut installed = self.installed(account)?;
        installed.notice(self.host.actions.plugins.sharing().noticed(account))?;
        Ok(installed)
    }

    async fn put(
        &self,
        account: u64,
        key: &str,
        kept: Option<impl Serialize>,
        cause: &Cause,
    ) -> Result<(), DriverError> {
        let damaged = |error| DriverError::Damaged(format!("{key} cannot be written: {error}"));
        let value = kept.map(|kept| serde_json::to_vec(&kept).map(Bytes::from)).transpose().map_err(damaged)?;
        self.host.driver.put_account_part(account, key, value, cause).await
    }

    /// Takes back what an account said before.
    async fn remember(&self, account: u64) -> Result<(), AccountPluginsError> {
        let driver = &self.host.driver;
        let damaged = |error| DriverError::Damaged(format!("what account {account:012} offers is damaged: {error}"));
        let offers = driver.account_parts(account, OFFER).await?;
        let offers =
            offers.iter().map(|(_, value)| serde_json::from_slice(value)).collect::<Result<Vec<KeptOffer>, _>>();
        let notices = driver.account_parts(account, NOTICE).await?;
        let notices =
            notices.iter().map(|(_, value)| serde_json::from_slice(value)).collect::<Result<Vec<Noticed>, _>>();
        let (offers, notices) = (offers.map_err(damaged)?, notices.map_err(damaged)?);
        self.host.actions.plugins.share(|sharing| {
            sharing.offers.extend(offers.into_iter().map(|offer| ((account, offer.id), offer.accounts)));
            let notices = notices.into_iter().map(|kept| ((account, kept.name, kept.version), kept.notice));
            sharing.notices.extend(notices);
        });
        self.remember_worker_types(account).await?;
        for Listed { entry, notice } in self.keep_notices(account)?.listed() {
            if let Some(notice) = notice {
                tracing::warn!("account {account:012}: {} is {notice}", entry.label());
            }
        }
        Ok(())
    }
}
