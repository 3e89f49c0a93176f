//! The recording of an action execution: what was kept of its calls, with what they need to be made again.
//!
//! Must not know what a recording says (`recording`).

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, header};

use pipewright_runner::grants::GrantsFile;

use super::super::error::ApiError;
use super::super::{Api, views};
use super::logs::Place;

pub async fn recording(
    State(api): State<Arc<Api>>,
    Path(names): Path<(String, String, String)>,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let call = super::caller(&api, &parts)?;
    let place = Place::find(&call, &names).await?;
    let (execution, action) = (place.execution.to_string(), place.action.to_string());
    let declaration = api.host.driver.version(place.aggregate, place.start.version).await?;
    let catalogue = call.catalogue();
    let secrets =
        declaration.iter().flat_map(|declaration| views::secrets(declaration, catalogue.described())).collect();
    let grants = api.host.actions.pinned_grants(place.aggregate, &place.start.pins).await.ok();
    let bundle = bundle(&api, grants, secrets, execution, action).await?;
    let mut response = Response::new(Body::from(bundle));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    Ok(response)
}

async fn bundle(
    api: &Arc<Api>,
    grants: Option<Arc<GrantsFile>>,
    secrets: Vec<String>,
    execution: String,
    action: String,
) -> Result<Bytes, ApiError> {
    let actions = Arc::clone(&api.host.actions);
    let made =
        tokio::task::spawn_blocking(move || actions.recording(grants.as_deref(), &secrets, &execution, &action)).await;
    let made = made.map_err(|error| ApiError::internal(&error))?.map_err(|error| ApiError::internal(&*error))?;
    made.ok_or_else(|| {
        ApiError::not_found(
            "Nothing is kept of this action execution: it has not ended, it was not run by a plugin, it did nothing, or what \
             was kept is removed like old logs",
        )
    })
}
