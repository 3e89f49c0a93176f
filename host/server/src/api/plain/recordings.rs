//! The recording of an action execution: what was kept of its calls, with what they need to be made again.
//!
//! Must not know what a recording says (`recording`).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Path;
use axum::http::Response;

use super::super::error::ApiError;
use super::super::{Call, views};
use super::logs::Place;
use super::paced::{self, OfBytes};

pub async fn recording(call: Call, Path(names): Path<(String, String, String)>) -> Result<Response<Body>, ApiError> {
    let place = Place::find(&call, &names).await?;
    let (execution, action) = (place.execution.to_string(), place.action.to_string());
    let host = &call.api.host;
    let declaration = host.driver.version(place.aggregate, place.start.version).await?;
    let catalogue = call.catalogue();
    let secrets: Vec<String> =
        declaration.iter().flat_map(|declaration| views::secrets(declaration, catalogue.described())).collect();
    let grants = host.actions.pinned_grants(place.aggregate, &place.start.pins).await.ok();
    let (actions, work) = (Arc::clone(&host.actions), &host.actions.work_runtime);
    let turn = call.api.shares.making(call.account).await?;
    let made = work.blocking(move || actions.recording(grants.as_deref(), &secrets, &execution, &action)).await;
    drop(turn);
    let bytes = made.map_err(|error| ApiError::internal(&*error))?.ok_or_else(|| {
        ApiError::not_found(
            "Nothing is kept of this action execution: it has not ended, it was not run by a plugin, it did nothing, or what \
             was kept is removed like old logs",
        )
    })?;
    let held = call.api.shares.memory(call.account, bytes.len())?;
    Ok(paced::response(paced::body(work, OfBytes::new(bytes, held)), "application/zip"))
}
