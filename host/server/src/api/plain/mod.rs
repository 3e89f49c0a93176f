//! What CodePipeline has no word for, over plain HTTP with the same signatures: logs, journals,
//! reports, artifacts, events, plugins.
//!
//! Owns the table of the routes (docs/server.md lists them), from which the router is made: a route without authentication
//! does not exist, unless its row says that it is public. Must not know what lies behind one.

mod artifacts;
mod connections;
mod events;
mod export;
mod health;
mod logs;
mod notifications;
mod plugins;
mod quarantine;
mod recordings;
mod reports;
mod secrets;
mod warnings;
mod webhooks;
mod workers;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Query, Request, State as Shared};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, MethodRouter, on};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument as _;

use super::error::ApiError;
use super::once::Whole;
use super::operations::CODEPIPELINE;
use super::permission::{Permission, Resource};
use super::shares::Answer;
use super::{Api, request_id};
use crate::connections::held;
use pipewright_base::Source;

/// One method of one path. Whole paths: a nested router would cut off what is signed.
pub struct Route {
    pub method: &'static str,
    pub path: &'static str,
    /// None: it needs no signature, for it tells nothing of what the pipelines hold, or has a proof of its own.
    pub permission: Option<Permission>,
    answer: Answer,
    /// The keys that a query may have; any other is refused, as it would be misspelled.
    query: &'static [&'static str],
    on: fn() -> MethodRouter<Arc<Api>>,
}

macro_rules! permission {
    ((public)) => {
        None
    };
    (($action:ident on $resource:ident)) => {
        Some(Permission { action: concat!("pipewright:", stringify!($action)), resource: Resource::$resource })
    };
}

macro_rules! routes {
    ($($method:ident $path:literal $permission:tt $answer:ident $(($($query:literal),*))? => $function:path,)*) => {
        pub const ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            permission: permission!($permission),
            answer: Answer::$answer,
            query: &[$($($query),*)?],
            on: || on(MethodFilter::$method, $function),
        }),*];
    };
}

routes! {
    GET "/healthz" (public) Document => health::healthz,
    GET "/metrics" (public) Document => health::metrics,
    GET "/v1/connections" (ListConnections on Account) Document => connections::list,
    PUT "/v1/connections/{connection}" (PutConnection on Host) Document("account") => connections::put,
    DELETE "/v1/connections/{connection}" (DeleteConnection on Host) Document("account") => connections::remove,
    POST "/v1/connections/{account}/{connection}/{key}" (public) Document => webhooks::tell,
    POST "/v1/webhooks/{account}/{webhook}/{key}" (public) Document => webhooks::deliver,
    GET "/v1/events" (GetEvents on Account) Stream("from", "detail-type") => events::of_account,
    GET "/v1/export" (Export on Host) Stream => export::export,
    GET "/v1/plugins" (ListPlugins on Account) Document => plugins::list,
    GET "/v1/plugins/{team}/{plugin}/uses" (ListPluginUses on Account) Document("nextToken") => plugins::uses,
    PUT "/v1/plugins/load" (LoadPlugins on Account) Document => plugins::load,
    PUT "/v1/plugins/consent" (ConsentToPlugin on Account) Document => plugins::consent,
    PUT "/v1/plugins/offer" (OfferActionType on ActionType) Document => plugins::offer,
    PUT "/v1/plugins/notice" (PutPluginNotice on Account) Document => plugins::notice,
    GET "/v1/workers" (ListWorkers on Account) Document => workers::list,
    GET "/v1/notifications" (ListTargets on Account) Document => notifications::list,
    PUT "/v1/notifications/{target}" (PutTarget on Account) Document => notifications::put,
    DELETE "/v1/notifications/{target}" (DeleteTarget on Account) Document => notifications::remove,
    GET "/v1/notifications/{target}/failed" (ListFailedDeliveries on Account) Document => notifications::failed,
    POST "/v1/notifications/{target}/failed/{delivery}/retry"
        (RetryDelivery on Account) Document => notifications::retry,
    GET "/v1/secrets" (ListSecrets on Account) Document => secrets::list,
    PUT "/v1/secrets" (PutSecret on Account) Document => secrets::put,
    PUT "/v1/secrets/remove" (RemoveSecret on Account) Document => secrets::remove,
    PUT "/v1/secrets/rotate-key" (RotateSecretKey on Host) Document => secrets::rotate_key,
    GET "/v1/quarantine" (ListQuarantine on Account) Document => quarantine::list,
    POST "/v1/pipelines/{pipeline}/reload" (ReloadPipeline on Pipeline) Document => quarantine::reload,
    GET "/v1/pipelines/{pipeline}/warnings" (ListPipelineWarnings on Pipeline) Document => warnings::list,
    GET "/v1/pipelines/{pipeline}/events" (GetPipelineEvents on Pipeline) Stream("from", "detail-type") => events::of_pipeline,
    GET "/v1/pipelines/{pipeline}/executions/{execution}/actions/{action}/log"
        (GetLog on Pipeline) Stream("follow") => logs::log,
    GET "/v1/pipelines/{pipeline}/executions/{execution}/actions/{action}/journal"
        (GetJournal on Pipeline) Stream => logs::journal,
    GET "/v1/pipelines/{pipeline}/executions/{execution}/actions/{action}/recording"
        (GetRecording on Pipeline) Stream => recordings::recording,
    GET "/v1/pipelines/{pipeline}/executions/{execution}/reports"
        (GetReports on Pipeline) Document => reports::get,
    GET "/v1/pipelines/{pipeline}/executions/{execution}/artifacts"
        (ListArtifacts on Pipeline) Document => artifacts::list,
    GET "/v1/pipelines/{pipeline}/executions/{execution}/artifacts/{artifact}"
        (GetArtifact on Pipeline) Stream => artifacts::zip,
    GET "/v1/pipelines/{pipeline}/executions/{execution}/artifacts/{artifact}/files"
        (ListArtifactFiles on Pipeline) Stream => artifacts::files,
    GET "/v1/pipelines/{pipeline}/executions/{execution}/artifacts/{artifact}/files/{*path}"
        (GetArtifactFile on Pipeline) Stream => artifacts::file,
}

pub(super) fn router(api: &Arc<Api>) -> Router<Arc<Api>> {
    ROUTES.iter().fold(Router::new(), |router, row| {
        let route = match &row.permission {
            None => (row.on)().layer(from_fn_with_state(row, enter_public)),
            Some(permission) => (row.on)().layer(from_fn_with_state((Arc::clone(api), row, permission), enter)),
        };
        router.route(row.path, route)
    })
}

/// Before each route that is not public.
async fn enter(
    Shared((api, row, permission)): Shared<(Arc<Api>, &'static Route, &'static Permission)>,
    request: Request,
    next: Next,
) -> Result<Response<Body>, ApiError> {
    let span = tracing::debug_span!("request", operation = permission.action);
    async {
        let (mut parts, body) = request.into_parts();
        let body = api.body(&parts, body).await?;
        let asked = (&CODEPIPELINE, request_id(), Source::Http);
        let (call, taken) = api.enter(&parts, &body, permission, asked, row.answer)?;
        check_query(row, &parts.uri)?;
        let context = call.context().clone();
        parts.extensions.insert(call);
        let request = Request::from_parts(parts, Body::from(body));
        let response = match row.method {
            "GET" => next.run(request).await,
            _ => {
                let whole = async { Whole::read(next.run(request).await).await };
                api.once.plain.answer(&context, whole).await.response()
            }
        };
        Ok(response.map(|body| held(body, taken)))
    }
    .instrument(span)
    .await
}

/// Before the others.
async fn enter_public(
    Shared(row): Shared<&'static Route>,
    request: Request,
    next: Next,
) -> Result<Response<Body>, ApiError> {
    check_query(row, request.uri())?;
    Ok(next.run(request).await)
}

fn check_query(row: &Route, uri: &Uri) -> Result<(), ApiError> {
    let Asked(given) = asked::<Vec<(String, String)>>(uri)?;
    for (index, (key, _)) in given.iter().enumerate() {
        if !row.query.contains(&key.as_str()) {
            let known = match row.query {
                [] => "none".to_owned(),
                known => known.join(", "),
            };
            return Err(ApiError::validation(format!("There is no query key {key:?} at this path; it takes: {known}")));
        }
        if given[..index].iter().any(|(before, _)| before == key) {
            return Err(ApiError::validation(format!("The query key {key:?} is given twice")));
        }
    }
    Ok(())
}

/// What a query says.
struct Asked<T>(T);

fn asked<T: DeserializeOwned>(uri: &Uri) -> Result<Asked<T>, ApiError> {
    let read = Query::try_from_uri(uri);
    read.map(|Query(read)| Asked(read)).map_err(|error| ApiError::validation(error.body_text()))
}

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        asked(&parts.uri)
    }
}

/// What a path names and is not there.
const NOT_FOUND: &[&str] =
    &["PipelineNotFoundException", "PipelineExecutionNotFoundException", "ResourceNotFoundException"];

pub(super) async fn no_such_path() -> ApiError {
    ApiError::not_found("There is nothing at this path")
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(rename = "__type")]
            code: &'a str,
            message: &'a str,
        }
        let mut response = json(&Shown { code: self.code, message: &self.message });
        *response.status_mut() = if NOT_FOUND.contains(&self.code) { StatusCode::NOT_FOUND } else { self.status };
        response
    }
}

/// A document that a request brings.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::validation(error.to_string()))
}

fn json(value: &impl Serialize) -> Response<Body> {
    let mut response = Response::new(Body::from(serde_json::to_vec(value).unwrap_or_default()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
