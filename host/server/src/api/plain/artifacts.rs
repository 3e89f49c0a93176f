//! The artifacts of an execution: a listing, as a zip file, and file by file.
//!
//! Must not know how artifacts are kept (the service).

use std::io;
use std::mem::size_of;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{Response, header};
use pipewright_artifacts::files::{Entry, Tree, ZipOfTree};

use super::super::Call;
use super::super::error::ApiError;
use super::super::paced::{self, OfFile, PIECE_BYTES, Pieces};
use super::super::shares::Taken;
use crate::service::artifacts::{self, FileRow, Named};

/// What an answer holds of each entry of an artifact until it is read: the entry itself, and its line in the archive's
/// directory, which comes last.
const ENTRY_BYTES: usize = size_of::<Entry>() + 512;

type Names = Path<(String, String, String)>;

pub async fn list(call: Call, Path((pipeline, execution)): Path<(String, String)>) -> Result<Response<Body>, ApiError> {
    let _turn = turn(&call).await?;
    Ok(super::json(&artifacts::list(call.service(), call.context(), &pipeline, &execution).await?))
}

/// To read manifests: they may be large, and are held whole.
async fn turn(call: &Call) -> Result<Taken, ApiError> {
    call.api().shares.making(call.context().account).await
}

/// An artifact that is being answered with, counted against what the account's answers may hold.
struct Held {
    tree: Arc<Tree>,
    _memory: Taken,
}

async fn find(call: &Call, named: &Named) -> Result<Held, ApiError> {
    let _turn = turn(call).await?;
    let tree = artifacts::get(call.service(), call.context(), named).await?;
    let memory = call.api().shares.memory(call.context().account, tree.entries().len() * ENTRY_BYTES)?;
    Ok(Held { tree, _memory: memory })
}

pub async fn files(call: Call, Path((pipeline, execution, artifact)): Names) -> Result<Response<Body>, ApiError> {
    let held = find(&call, &Named { pipeline, execution, artifact }).await?;
    let listing = Listing { held, next: 0, has_ended: false };
    Ok(paced::response(paced::body(call.service().work(), listing), "application/json"))
}

/// `{"files": […]}`, some rows at a time.
struct Listing {
    held: Held,
    next: usize,
    has_ended: bool,
}

impl Pieces for Listing {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.has_ended {
            return Ok(None);
        }
        let mut piece = if self.next == 0 { b"{\"files\":[".to_vec() } else { Vec::new() };
        while piece.len() < PIECE_BYTES {
            let Some(entry) = self.held.tree.entries().get(self.next) else {
                piece.extend_from_slice(b"]}");
                self.has_ended = true;
                break;
            };
            if self.next > 0 {
                piece.push(b',');
            }
            serde_json::to_writer(&mut piece, &FileRow::of(entry))?;
            self.next += 1;
        }
        Ok(Some(piece.into()))
    }
}

pub async fn file(
    call: Call,
    Path((pipeline, execution, artifact, path)): Path<(String, String, String, String)>,
) -> Result<Response<Body>, ApiError> {
    let held = find(&call, &Named { pipeline, execution, artifact }).await?;
    let (file, size) = artifacts::open(call.service(), &held.tree, &path).await?;
    let body = paced::body(call.service().work(), OfFile { file, at: 0, left: size });
    let mut response = paced::response(body, "application/octet-stream");
    response.headers_mut().insert(header::CONTENT_LENGTH, size.into());
    Ok(response)
}

pub async fn zip(call: Call, Path((pipeline, execution, artifact)): Names) -> Result<Response<Body>, ApiError> {
    let held = find(&call, &Named { pipeline, execution, artifact }).await?;
    let zip = artifacts::zip(call.service(), &held.tree)?;
    Ok(paced::response(paced::body(call.service().work(), Zip { zip, _held: held }), "application/zip"))
}

struct Zip {
    zip: ZipOfTree,
    _held: Held,
}

impl Pieces for Zip {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.zip.next(PIECE_BYTES).map(|piece| piece.map(Bytes::from))
    }
}
