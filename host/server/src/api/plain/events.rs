//! Events as server-sent events, of one pipeline or of the account.
//!
//! Must not know what an event says, or where a feed begins (the service).

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::Path;
use axum::http::request::Parts;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::Deserialize;

use super::super::error::ApiError;
use super::super::{Api, Call};
use super::Asked;
use crate::service::events::{self, Feed, From};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Which {
    from: Option<String>,
    detail_type: Option<String>,
}

/// Counts a stream while it is open.
struct Open(Arc<Api>);

impl Open {
    fn new(api: &Arc<Api>) -> Self {
        api.metrics.streams.inc();
        Self(Arc::clone(api))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.streams.dec();
    }
}

/// A client that comes back says where it was.
fn from<'a>(parts: &'a Parts, query: &Which) -> Result<From<'a>, ApiError> {
    let last = parts.headers.get("last-event-id").and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty());
    Ok(match (last, query.from.as_deref()) {
        (_, Some(other)) if other != "now" => {
            let message = format!("from={other}: write from=now, or leave it out to begin at the first that is kept");
            return Err(ApiError::validation(message));
        }
        (Some(cursor), _) => From::Cursor(cursor),
        (None, Some(_)) => From::Now,
        (None, None) => From::Start,
    })
}

pub async fn of_pipeline(
    call: Call,
    Path(name): Path<String>,
    Asked(query): Asked<Which>,
    parts: Parts,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let feed = events::of_pipeline(call.service(), call.context(), &name, from(&parts, &query)?).await?;
    sse(call.api(), feed, &query)
}

pub async fn of_account(
    call: Call,
    Asked(query): Asked<Which>,
    parts: Parts,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let feed = events::of_account(call.service(), call.context(), from(&parts, &query)?).await?;
    sse(call.api(), feed, &query)
}

fn sse(
    api: &Arc<Api>,
    feed: Feed,
    which: &Which,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>> + use<>>, ApiError> {
    let feed = match &which.detail_type {
        Some(detail_type) => feed.of_type(detail_type)?,
        None => feed,
    };
    let stream = futures::stream::unfold((feed, Open::new(api)), |(mut feed, open)| async move {
        match feed.event().await {
            Ok(Some(told)) => {
                let event = Event::default().id(told.cursor).data(told.event.to_string());
                Some((Ok(event), (feed, open)))
            }
            Ok(None) => None,
            Err(error) => {
                tracing::error!("a stream of events ends: {error}");
                None
            }
        }
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}
