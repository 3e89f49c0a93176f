//! The artifacts of an execution: a listing, as a zip file, and file by file.
//!
//! Must not know how artifacts are kept (the service).

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, header};
use futures::Stream;
use tokio::sync::mpsc;

use super::super::Api;
use super::super::error::ApiError;
use crate::service::artifacts::{self, Named};

/// What is read and sent at once, and how many of these wait for a slow client.
const CHUNK_BYTES: usize = 64 * 1024;
const CHUNKS_MAX: usize = 8;

type Names = Path<(String, String, String)>;

pub async fn list(
    State(api): State<Arc<Api>>,
    Path((pipeline, execution)): Path<(String, String)>,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let context = super::caller(&api, &parts)?;
    Ok(super::json(&artifacts::list(&api.service, &context, &pipeline, &execution).await?))
}

pub async fn files(
    State(api): State<Arc<Api>>,
    Path((pipeline, execution, artifact)): Names,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let context = super::caller(&api, &parts)?;
    let named = Named { pipeline, execution, artifact };
    Ok(super::json(&artifacts::files(&api.service, &context, &named).await?))
}

pub async fn file(
    State(api): State<Arc<Api>>,
    Path((pipeline, execution, artifact, path)): Path<(String, String, String, String)>,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let context = super::caller(&api, &parts)?;
    let named = Named { pipeline, execution, artifact };
    let (digest, size) = artifacts::file(&api.service, &context, &named, &path).await?;
    // Whatever a build made is data here, and nothing for a browser to run.
    let mut response = stream(written(artifacts::write_file(&api.service, digest)), "application/octet-stream");
    response.headers_mut().insert(header::CONTENT_LENGTH, size.into());
    Ok(response)
}

pub async fn zip(
    State(api): State<Arc<Api>>,
    Path((pipeline, execution, artifact)): Names,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let context = super::caller(&api, &parts)?;
    let tree = artifacts::get(&api.service, &context, &Named { pipeline, execution, artifact }).await?;
    Ok(stream(written(artifacts::write_zip(&api.service, tree)), "application/zip"))
}

fn stream(body: impl Stream<Item = io::Result<Bytes>> + Send + 'static, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What a blocking writer writes, as a stream with little in memory; one that fails breaks the stream off.
fn written(
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::task::spawn_blocking(move || {
        let mut out = io::BufWriter::with_capacity(CHUNK_BYTES, Sending(sender.clone()));
        if let Err(error) = write(&mut out).and_then(|()| out.flush()) {
            // The client may be what has gone.
            let _ = sender.blocking_send(Err(error));
        }
    });
    futures::stream::unfold(
        receiver,
        |mut receiver| async move { receiver.recv().await.map(|chunk| (chunk, receiver)) },
    )
}

struct Sending(mpsc::Sender<io::Result<Bytes>>);

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into()).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
