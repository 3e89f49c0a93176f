//! The plugins of an account: what it can use, what it offers to others and says of its versions, who uses them, and the consent to
//! an upgrade that asks for more.
//!
//! Must not know who sees what (`plugins`), nor what is kept of it (`account_plugins`).

use std::collections::BTreeMap;
use std::sync::Arc;

use pipewright_base::Cause;
use pipewright_base::Digest;
use pipewright_engine::driver::Aggregate;
use pipewright_packages::plugins::{Binding, Notice, NoticeKind, Provenance, ask_in_words, label};
use pipewright_packages::{Listed, PackageError};
use pipewright_pipeline::action_type::Property;
use pipewright_pipeline::declaration::ActionTypeId;
use pipewright_pipeline::machine::all;
use pipewright_runner::actions::plugin_pin;
use pipewright_runner::builds::is_own_pipeline;
use pipewright_sandbox::abi::Description;
use semver::Version;
use serde::{Deserialize, Serialize};

use super::{Context, Service, ServiceError};
use crate::account_plugins::{AccountPlugins, AccountPluginsError};
use crate::config::account_number;

/// Pipelines that one page of uses goes over.
const PIPELINES_PER_PAGE: usize = 100;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginList {
    pub plugins: Vec<PluginSummary>,
    /// What the account installed, also what is pending.
    pub installed: Vec<Listed>,
}

/// A plugin as the account sees it: of another account's, the action types that are offered and no others.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginSummary {
    pub name: String,
    pub version: String,
    /// Of the component.
    pub digest: String,
    /// `host`, or the id of the account that installed it.
    pub from: String,
    pub documentation: String,
    pub asks: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<Notice>,
    pub action_types: Vec<Offered>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Offered {
    pub id: ActionTypeId,
    pub documentation: String,
    pub settings: Vec<Property>,
    pub variables: BTreeMap<String, String>,
    /// The accounts to which the account offers it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub offered_to: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Uses {
    pub uses: Vec<Use>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    pub account: String,
    pub pipeline: String,
    /// `Stage/Action`
    pub action: String,
    pub action_type: ActionTypeId,
    pub version: String,
    pub digest: String,
    /// One that runs or waits, and holds on to this version; without it, this is what the next execution takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<String>,
}

pub async fn list(service: &Service, context: &Context) -> Result<PluginList, ServiceError> {
    let catalogue = service.catalogue(context);
    let sharing = service.host.actions.plugins.sharing();
    let mut plugins: BTreeMap<(String, String, String), PluginSummary> = BTreeMap::new();
    for (id, binding) in catalogue.bindings() {
        let about = &binding.served.about;
        let from = from(context, binding);
        let digest = format!("sha256:{}", binding.served.digest);
        let listing =
            plugins.entry((about.name.clone(), digest.clone(), from.clone())).or_insert_with(|| PluginSummary {
                name: about.name.clone(),
                version: about.version.clone(),
                digest,
                from,
                documentation: about.documentation.clone(),
                asks: about.asks.iter().map(|ask| ask_in_words(&ask.capability, about)).collect(),
                notice: binding.notice.clone(),
                action_types: Vec::new(),
            });
        let mut offered = offered(id, binding, about);
        if binding.whose == Provenance::Own {
            let offer = sharing.offers.get(&(context.account, id.clone()));
            offered.offered_to = offer.into_iter().flat_map(|offer| offer.0.keys().cloned()).collect();
        }
        listing.action_types.push(offered);
    }
    let (account_plugins, account) = (Arc::clone(&service.account_plugins), context.account);
    let installed =
        service.work().blocking(move || account_plugins.installed(account)).await.map_err(ServiceError::host)?;
    Ok(PluginList { plugins: plugins.into_values().collect(), installed: installed.listed() })
}

fn from(context: &Context, binding: &Binding) -> String {
    match binding.whose {
        Provenance::Host => "host".to_owned(),
        Provenance::Own => context.account_id(),
        Provenance::Offered { by } => format!("{by:012}"),
    }
}

fn offered(id: &ActionTypeId, binding: &Binding, about: &Description) -> Offered {
    let info = &binding.served.info;
    let described = about.action_types.iter().find(|described| label(&described.id) == id.to_string());
    let variables = described.into_iter().flat_map(|described| &described.variables);
    Offered {
        id: id.clone(),
        documentation: info.documentation.clone(),
        settings: info.properties.clone(),
        variables: variables.map(|variable| (variable.name.clone(), variable.documentation.clone())).collect(),
        offered_to: Vec::new(),
    }
}

/// Takes up what was installed on the host's machine since.
pub async fn load(service: &Service, context: &Context) -> Result<(), ServiceError> {
    change(service, context, |account_plugins, account, cause| async move {
        account_plugins.load_account(account, &cause).await
    })
    .await
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Consent {
    pub name: String,
    pub version: Version,
    /// Of the package's manifest, as `installed` shows it.
    pub digest: String,
}

pub async fn consent(service: &Service, context: &Context, input: Consent) -> Result<(), ServiceError> {
    let digest = input.digest.strip_prefix("sha256:").and_then(|digest| digest.parse::<Digest>().ok());
    let digest =
        digest.ok_or_else(|| ServiceError::validation("digest: write it as `sha256:` and 64 hexadecimal digits"))?;
    let Consent { name, version, .. } = input;
    change(service, context, move |account_plugins, account, cause| async move {
        account_plugins.consent(account, &name, &version, &digest, &cause).await
    })
    .await
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Offer {
    pub action_type: ActionTypeId,
    /// All of them; none takes the offer back.
    pub accounts: Vec<String>,
}

/// To accounts of this host: whoever is offered something is to be there. UpdateActionType takes any, as in CodePipeline.
pub async fn offer(service: &Service, context: &Context, input: Offer) -> Result<(), ServiceError> {
    let is_elsewhere = |id: &&String| account_number(id).is_some_and(|it| !service.host.accounts().contains(&it));
    if let Some(unknown) = input.accounts.iter().find(is_elsewhere) {
        let message = format!("There is no account {unknown} on this host to offer it to");
        return Err(ServiceError::validation(message));
    }
    let Offer { action_type, accounts } = input;
    change(service, context, move |account_plugins, account, cause| async move {
        account_plugins.offer(account, &action_type, &accounts, &cause).await
    })
    .await
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutNotice {
    pub name: String,
    pub version: String,
    /// None takes back what was said.
    pub kind: Option<NoticeKind>,
    #[serde(default)]
    pub reason: String,
}

pub async fn notice(service: &Service, context: &Context, input: PutNotice) -> Result<(), ServiceError> {
    let notice = input.kind.map(|kind| Notice { kind, reason: input.reason });
    let PutNotice { name, version, .. } = input;
    change(service, context, move |account_plugins, account, cause| async move {
        account_plugins.notice(account, &name, &version, notice, &cause).await
    })
    .await
}

/// Changes what an account has or says, apart from the threads that answer: files are read and written, and a plugin describes
/// itself. What can be used then is another matter than before.
pub(super) async fn change<F>(
    service: &Service,
    context: &Context,
    what: impl FnOnce(Arc<AccountPlugins>, u64, Cause) -> F + Send + 'static,
) -> Result<(), ServiceError>
where
    F: Future<Output = Result<(), AccountPluginsError>> + Send + 'static,
{
    let what = what(Arc::clone(&service.account_plugins), context.account, context.cause.clone());
    service.work().run(what).await.map_err(|error| match error {
        // The policy and its keys are files of the host (S124).
        AccountPluginsError::Package(error @ (PackageError::Policy(_) | PackageError::Key(_)))
            if context.account != service.operator =>
        {
            ServiceError::host(error)
        }
        error => error.into(),
    })?;
    service.changes.of_plugins();
    Ok(())
}

/// Who uses a plugin: in the account's own pipelines, and in those of others where the account offers it. Those who run the host see
/// the uses of what comes with it everywhere.
pub async fn uses(
    service: &Service,
    context: &Context,
    plugin: &str,
    next_token: Option<&str>,
) -> Result<Uses, ServiceError> {
    const SCOPE: &str = "uses";
    let after = service.after(context, SCOPE, next_token)?;
    // How far the pages before went: an account, and how many of its pipelines. A name would tell of pipelines that are not the
    // caller's to know of.
    let after: Option<(u64, usize)> = after.and_then(|after| serde_json::from_slice(&after).ok());
    let (reached, passed) = after.unwrap_or_default();
    let sharing = service.host.actions.plugins.sharing();
    let looks_around =
        context.account == service.operator || sharing.offers.keys().any(|(by, _)| *by == context.account);
    let mut accounts = service.host.accounts().to_vec();
    accounts.retain(|account| *account >= reached && (looks_around || *account == context.account));
    accounts.sort_unstable();
    let mut found = Uses { uses: Vec::new(), next_token: None };
    let mut left = PIPELINES_PER_PAGE;
    for account in accounts {
        let passed = if account == reached { passed } else { 0 };
        for (number, (name, pipeline)) in service.driver().pipelines(account).await?.iter().enumerate().skip(passed) {
            if left == 0 {
                let reached = serde_json::to_vec(&(account, number)).map_err(ServiceError::host)?;
                found.next_token = Some(service.token(context, SCOPE, &reached));
                return Ok(found);
            }
            left -= 1;
            // That of a project is shown by no list.
            if is_own_pipeline(name) {
                continue;
            }
            uses_of(service, context, plugin, *pipeline, &mut found.uses).await?;
        }
    }
    Ok(found)
}

async fn uses_of(
    service: &Service,
    context: &Context,
    plugin: &str,
    pipeline: Aggregate,
    uses: &mut Vec<Use>,
) -> Result<(), ServiceError> {
    let actions = &service.host.actions;
    let catalogue = actions.plugins.catalogue(pipeline.account);
    let state = service.driver().state(pipeline).await?;
    let Some(declaration) = &state.declaration else { return Ok(()) };
    for placed in all(declaration) {
        let id = placed.declared.type_id();
        let Some(binding) = catalogue.bindings().get(&id) else { continue };
        let is_told = match binding.whose {
            _ if context.account == pipeline.account => true,
            Provenance::Host => context.account == service.operator,
            Provenance::Own => false,
            Provenance::Offered { by } => context.account == by,
        };
        if !is_told {
            continue;
        }
        let place = placed.name_in_pipeline();
        let mut add = |about: &Description, digest: &str, execution: Option<String>| {
            if about.name == plugin {
                uses.push(Use {
                    account: format!("{:012}", pipeline.account),
                    pipeline: declaration.name.clone(),
                    action: place.clone(),
                    action_type: id.clone(),
                    version: about.version.clone(),
                    digest: format!("sha256:{digest}"),
                    execution,
                });
            }
        };
        let served = &binding.served;
        add(&served.about, &served.digest, None);
        let pin = plugin_pin(&place);
        for execution in state.executions.values() {
            let Some(digest) = execution.start.pins.get(&pin) else { continue };
            let execution = Some(execution.id.to_string());
            if *digest == served.digest {
                add(&served.about, digest, execution);
                continue;
            }
            let (loading, wanted) = (Arc::clone(actions), digest.clone());
            let load = async move { loading.plugins.load_pinned(&loading.sandbox, &wanted).await };
            if let Some(pinned) = service.work().run(load).await {
                add(pinned.description(), digest, execution);
            }
        }
    }
    Ok(())
}
