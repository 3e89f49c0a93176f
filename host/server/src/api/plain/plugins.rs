//! The plugins of an account: what it can use, what it offers to others and says of its versions, who uses them, and the consent to
//! an upgrade that asks for more.
//!
//! Owns the documents. Must not know who sees what (`plugins`), nor what is kept of it (`catalogues`).

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use pipewright_pipeline::action_type::Property;
use pipewright_pipeline::declaration::ActionTypeId;
use pipewright_sandbox::Plugin;
use pipewright_sandbox::abi::Description;
use pipewright_sandbox::files::Digest;
use semver::Version;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::super::error::ApiError;
use super::super::{Api, BODY_BYTES_MAX, Call, read_body};
use pipewright_engine::driver::Aggregate;
use pipewright_packages::Entry;
use pipewright_packages::plugins::{Binding, Notice, NoticeKind, Whose, ask_in_words, label};
use pipewright_runner::actions::plugin_pin;

/// Pipelines that one page of uses goes over.
const PIPELINES_PER_PAGE: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    plugins: Vec<Listing>,
    /// What the account installed, also what is pending.
    installed: Vec<Entry>,
}

/// A plugin as the account sees it: of another account's, the action types that are offered and no others.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    name: String,
    version: String,
    /// Of the component.
    digest: String,
    /// `host`, or the id of the account that installed it.
    from: String,
    documentation: String,
    asks: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<Notice>,
    action_types: Vec<Offered>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Offered {
    id: ActionTypeId,
    documentation: String,
    settings: Vec<Property>,
    variables: BTreeMap<String, String>,
    /// The accounts to which the account offers it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    offered_to: Vec<String>,
}

pub async fn list(State(api): State<Arc<Api>>, parts: Parts) -> Result<Response<Body>, ApiError> {
    let call = super::caller(&api, &parts)?;
    let catalogue = call.catalogue();
    let sharing = api.host.actions.plugins.sharing();
    let mut plugins: BTreeMap<(String, String, String), Listing> = BTreeMap::new();
    for (id, binding) in catalogue.bindings() {
        let about = binding.served.plugin.description();
        let from = from(&call, binding);
        let digest = format!("sha256:{}", binding.served.plugin.digest());
        let listing = plugins.entry((about.name.clone(), digest.clone(), from.clone())).or_insert_with(|| Listing {
            name: about.name.clone(),
            version: about.version.clone(),
            digest,
            from,
            documentation: about.documentation.clone(),
            asks: about.asks.iter().map(|ask| ask_in_words(&ask.capability)).collect(),
            notice: binding.notice.clone(),
            action_types: Vec::new(),
        });
        let mut offered = offered(id, binding, about);
        if binding.whose == Whose::Own {
            let offer = sharing.offers.get(&(call.account, id.clone()));
            offered.offered_to = offer.into_iter().flat_map(|offer| offer.0.keys().cloned()).collect();
        }
        listing.action_types.push(offered);
    }
    let installed = api.catalogues.installed(call.account).map_err(|error| ApiError::internal(&error))?;
    let listed = Listed { plugins: plugins.into_values().collect(), installed: installed.entries().to_vec() };
    Ok(super::json(&listed))
}

fn from(call: &Call, binding: &Binding) -> String {
    match binding.whose {
        Whose::Host => "host".to_owned(),
        Whose::Own => call.account_id(),
        Whose::Offered { by } => format!("{by:012}"),
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Consent {
    name: String,
    version: Version,
    /// Of the package's manifest, as `installed` shows it.
    digest: String,
}

pub async fn consent(State(api): State<Arc<Api>>, request: Request) -> Result<Response<Body>, ApiError> {
    let (call, Consent { name, version, digest }) = read(&api, request).await?;
    let digest = digest.strip_prefix("sha256:").and_then(|digest| digest.parse::<Digest>().ok());
    let digest =
        digest.ok_or_else(|| ApiError::validation("digest: write it as `sha256:` and 64 hexadecimal digits"))?;
    api.catalogues.consent(call.account, &name, &version, &digest, &call.cause()).await?;
    done(&api)
}

/// What is installed was changed on this machine.
pub async fn load(State(api): State<Arc<Api>>, request: Request) -> Result<Response<Body>, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Load {}
    let (call, Load {}) = read(&api, request).await?;
    api.catalogues.load_account(call.account, &call.cause()).await?;
    done(&api)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Offer {
    action_type: ActionTypeId,
    /// All of them; none takes the offer back.
    accounts: Vec<String>,
}

pub async fn offer(State(api): State<Arc<Api>>, request: Request) -> Result<Response<Body>, ApiError> {
    let (call, Offer { action_type, accounts }) = read(&api, request).await?;
    api.catalogues.offer(call.account, &action_type, &accounts, &call.cause()).await?;
    done(&api)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Said {
    name: String,
    version: String,
    /// None takes back what was said.
    kind: Option<NoticeKind>,
    #[serde(default)]
    reason: String,
}

pub async fn notice(State(api): State<Arc<Api>>, request: Request) -> Result<Response<Body>, ApiError> {
    let (call, Said { name, version, kind, reason }) = read(&api, request).await?;
    let notice = kind.map(|kind| Notice { kind, reason });
    api.catalogues.notice(call.account, &name, &version, notice, &call.cause()).await?;
    done(&api)
}

async fn read<T: DeserializeOwned>(api: &Arc<Api>, request: Request) -> Result<(Call, T), ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_body(body, BODY_BYTES_MAX).await?;
    let call = api.authenticate(&parts, &body)?;
    let document = serde_json::from_slice(&body).map_err(|error| ApiError::validation(error.to_string()))?;
    Ok((call, document))
}

/// What can be used now is another matter than before.
fn done(api: &Api) -> Result<Response<Body>, ApiError> {
    api.poller.catalogues_changed();
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Uses {
    uses: Vec<Use>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Use {
    account: String,
    pipeline: String,
    /// `Stage/Action`
    action: String,
    action_type: ActionTypeId,
    version: String,
    digest: String,
    /// One that runs or waits, and holds on to this version; without it, this is what the next execution takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<String>,
}

/// Who uses a plugin: in the account's own pipelines, and in those of others where the account offers it. Those who run the host see
/// the uses of what comes with it everywhere.
pub async fn uses(
    State(api): State<Arc<Api>>,
    Path((team, plugin)): Path<(String, String)>,
    Query(page): Query<Page>,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    const SCOPE: &str = "uses";
    let plugin = format!("{team}/{plugin}");
    let call = super::caller(&api, &parts)?;
    let after = api.pages.after(SCOPE, page.next_token.as_deref())?;
    // How far the pages before went: an account, and how many of its pipelines. A name would tell of pipelines that are not the
    // caller's to know of.
    let after: Option<(u64, usize)> = after.and_then(|after| serde_json::from_slice(&after).ok());
    let (reached, passed) = after.unwrap_or_default();
    let sharing = api.host.actions.plugins.sharing();
    let looks_around = call.account == api.operator || sharing.offers.keys().any(|(by, _)| *by == call.account);
    let mut accounts = api.host.accounts().to_vec();
    accounts.retain(|account| *account >= reached && (looks_around || *account == call.account));
    accounts.sort_unstable();
    let mut found = Uses { uses: Vec::new(), next_token: None };
    let mut left = PIPELINES_PER_PAGE;
    for account in accounts {
        let passed = if account == reached { passed } else { 0 };
        for (number, (_, pipeline)) in api.host.driver.pipelines(account).await?.iter().enumerate().skip(passed) {
            if left == 0 {
                let reached = serde_json::to_vec(&(account, number)).map_err(|error| ApiError::internal(&error))?;
                found.next_token = Some(api.pages.token(SCOPE, &reached));
                return Ok(super::json(&found));
            }
            left -= 1;
            uses_of(&call, &plugin, *pipeline, &mut found.uses).await?;
        }
    }
    Ok(super::json(&found))
}

async fn uses_of(call: &Call, plugin: &str, pipeline: Aggregate, uses: &mut Vec<Use>) -> Result<(), ApiError> {
    let actions = &call.api.host.actions;
    let catalogue = actions.plugins.catalogue(pipeline.account);
    let state = call.api.host.driver.state(pipeline).await?;
    let Some(declaration) = &state.declaration else { return Ok(()) };
    for stage in &declaration.stages {
        for action in &stage.actions {
            let id = &action.action_type_id;
            let Some(binding) = catalogue.bindings().get(id) else { continue };
            let is_told = match binding.whose {
                _ if call.account == pipeline.account => true,
                Whose::Host => call.account == call.api.operator,
                Whose::Own => false,
                Whose::Offered { by } => call.account == by,
            };
            if !is_told {
                continue;
            }
            let place = format!("{}/{}", stage.name, action.name);
            let mut add = |served: &Plugin, execution: Option<String>| {
                let about = served.description();
                if about.name == plugin {
                    uses.push(Use {
                        account: format!("{:012}", pipeline.account),
                        pipeline: declaration.name.clone(),
                        action: place.clone(),
                        action_type: id.clone(),
                        version: about.version.clone(),
                        digest: format!("sha256:{}", served.digest()),
                        execution,
                    });
                }
            };
            add(&binding.served.plugin, None);
            let pin = plugin_pin(&stage.name, &action.name);
            for execution in state.executions.values() {
                let Some(digest) = execution.start.pins.get(&pin) else { continue };
                if let Some(served) = actions.plugins.load_pinned(&actions.sandbox, digest).await {
                    add(&served, Some(execution.id.to_string()));
                }
            }
        }
    }
    Ok(())
}
