//! Each function that a host offers to plugins.

use crate::pipewright::plugin::{artifacts, log, secrets};
use crate::wasi::http::outgoing_handler::handle;
use crate::wasi::http::types::{ErrorCode, Fields, Method, OutgoingRequest, Scheme};

const FOLDER: &str = "/scratch/folder";

/// Logs what came of each; the error is that of the first that should have been answered.
pub fn all() -> Result<(), String> {
    for level in [log::Level::Debug, log::Level::Info, log::Level::Warn, log::Level::Error] {
        log::write(level, "a line\nand another");
    }
    log::progress(Some(50), "half done");
    log::progress(None, "nearly done");
    files().map_err(|error| match error {
        artifacts::Error::NotFound(text) => ["not found: ", &text].concat(),
        artifacts::Error::Denied(text) => ["denied: ", &text].concat(),
        artifacts::Error::Quota(text) => ["quota: ", &text].concat(),
        artifacts::Error::Invalid(text) => ["invalid: ", &text].concat(),
        artifacts::Error::Io(text) => ["io: ", &text].concat(),
    })?;
    hidden()?;
    refused()
}

fn files() -> Result<(), artifacts::Error> {
    let io = |_| artifacts::Error::Io("a stream".into());
    let stream = artifacts::write("/scratch/folder/run.sh", false)?;
    stream.blocking_write_and_flush(b"#!/bin/sh\n").map_err(io)?;
    drop(stream);
    artifacts::set_executable("/scratch/folder/run.sh", true)?;
    artifacts::link("/scratch/folder/link", "run.sh")?;
    let stream = artifacts::read("/scratch/folder/run.sh")?;
    let read = stream.blocking_read(64).map_err(io)?;
    drop(stream);
    told("read", &String::from_utf8_lossy(&read));
    told("digest", &artifacts::digest("/scratch/folder/run.sh")?);
    for entry in artifacts::list(FOLDER, &["none".into()])? {
        let kind = match entry.kind {
            artifacts::FileKind::File if entry.executable => "program",
            artifacts::FileKind::File => "file",
            artifacts::FileKind::Directory => "directory",
            artifacts::FileKind::Link => "link",
        };
        told(kind, &entry.path);
    }
    let copied = artifacts::copy(FOLDER, "/scratch/copy", &[])?;
    told("copied", &[copied.files.to_string(), copied.bytes.to_string()].join(" "));
    artifacts::zip(FOLDER, "/scratch/packed.zip")?;
    artifacts::unzip("/scratch/packed.zip", "/scratch/unpacked")?;
    told("unpacked", &artifacts::digest("/scratch/unpacked/run.sh")?);
    artifacts::sync("/directories/write")
}

fn hidden() -> Result<(), String> {
    let denied = |secrets::Error::Denied(text)| text;
    secrets::stand_in("token").map_err(denied)?;
    secrets::basic("user", "token").map_err(denied)?;
    told("revealed", &secrets::reveal("revealed").map_err(denied)?);
    Ok(())
}

/// What no grant allows.
fn refused() -> Result<(), String> {
    match secrets::stand_in("other") {
        Err(secrets::Error::Denied(text)) => told("denied", &text),
        Ok(_) => return Err("a secret without a grant".into()),
    }
    let request = OutgoingRequest::new(Fields::new());
    let set = request.set_method(&Method::Get).and_then(|()| request.set_scheme(Some(&Scheme::Https)));
    let set = set.and_then(|()| request.set_authority(Some("example.com")));
    set.and_then(|()| request.set_path_with_query(Some("/"))).map_err(|()| "a request")?;
    let answered = handle(request, None).and_then(|future| {
        future.subscribe().block();
        future.get().and_then(Result::ok).unwrap_or(Err(ErrorCode::InternalError(None)))
    });
    match answered {
        Err(ErrorCode::HttpRequestDenied) => {
            told("http", "denied");
            Ok(())
        }
        _ => Err("a request without a grant".into()),
    }
}

fn told(what: &str, text: &str) {
    log::write(log::Level::Info, &[what, text].join(": "));
}
