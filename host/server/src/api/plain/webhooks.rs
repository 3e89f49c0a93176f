//! Where other systems deliver: addresses that need no signature of AWS's, and of which each proves in its own way who sends.
//!
//! Owns the way of a delivery from its bytes to the service: its bounds, and what is counted and told of it. Must not know what a
//! delivery starts, nor how its sender is verified.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use pipewright_text::printable;
use serde_json::json;

use super::super::error::ApiError;
use super::super::{Api, entrance, request_id};
use crate::connections::Peer;
use crate::service::deliveries::{Delivered, Delivery};
use crate::service::{connections, webhooks};

/// To a webhook of CodePipeline's own.
pub async fn deliver(
    State(api): State<Arc<Api>>,
    Path((account, name, key)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (parts, body) = request.into_parts();
    let found = webhooks::at(&api.service, &account, &name, &key).await;
    let to = format!("webhook {account}/{name}");
    take(&api, found.map_err(ApiError::from), &to, parts, body, |api, (account, webhook), delivery| async move {
        webhooks::deliver(&api.service, account, webhook, delivery).await.map_err(ApiError::from)
    })
    .await
}

/// To a connection.
pub async fn tell(
    State(api): State<Arc<Api>>,
    Path((account, name, key)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let (parts, body) = request.into_parts();
    let found = connections::at(&api.service, &account, &name, &key).await;
    let to = format!("connection {account}/{name}");
    take(&api, found.map_err(ApiError::from), &to, parts, body, |api, (account, found), delivery| async move {
        connections::deliver(&api.service, account, found, delivery).await.map_err(ApiError::from)
    })
    .await
}

/// Reads a delivery to an address that is there, and judges it to its end even where its sender does not wait for that.
async fn take<T: Send + 'static, F>(
    api: &Arc<Api>,
    found: Result<(u64, T), ApiError>,
    to: &str,
    parts: Parts,
    body: Body,
    judge: impl FnOnce(Arc<Api>, (u64, T), Delivery) -> F + Send + 'static,
) -> Result<Response<Body>, ApiError>
where
    F: Future<Output = Result<Delivered, ApiError>> + Send + 'static,
{
    let from = parts.extensions.get::<Arc<Peer>>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.address());
    let judged = async {
        let inside = match found {
            Ok(found) => api.doors.enter(found.0, to).map(|inside| (found, inside)),
            Err(error) => Err(error),
        };
        let (found, inside) = match inside {
            Ok(inside) => inside,
            Err(error) => {
                entrance::discard(body).await;
                return Err(error);
            }
        };
        let body = entrance::read(body).await?;
        let headers = parts
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())));
        let delivery = Delivery { from, headers: headers.collect::<BTreeMap<_, _>>(), body, request: request_id() };
        let judged = tokio::spawn({
            let judging = judge(Arc::clone(api), found, delivery);
            async move {
                let judged = judging.await;
                drop(inside);
                judged
            }
        });
        judged.await.unwrap_or_else(|error| Err(ApiError::internal(&error)))
    }
    .await;
    let outcome = judged.as_ref().map_or_else(|error| error.code, |delivered| delivered.label());
    api.metrics.delivery(outcome);
    match &judged {
        Ok(_) => tracing::info!("a delivery of {from} to {}: {outcome}", printable(to)),
        // Anybody can ask for what is not there, as often as they like.
        Err(error) if error.status == StatusCode::NOT_FOUND => tracing::debug!("a delivery of {from} to nothing"),
        Err(error) => {
            tracing::warn!("a delivery of {from} to {} is refused: {}", printable(to), printable(&error.message));
        }
    }
    let started = match judged? {
        Delivered::Started(count) => count,
        Delivered::Unmatched | Delivered::Replayed => 0,
    };
    Ok(super::json(&json!({ "outcome": outcome, "started": started })))
}
