//! Files that Git LFS keeps elsewhere: the repository's server says where, for many at once (git-lfs's docs/api/batch.md), and
//! each is fetched from there.
//!
//! Whatever fails leaves pointers, and a line in the log: there may be no grant, and a website may do without its videos.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use pipewright_sdk::http::Response;
use pipewright_sdk::{Doing, Failure, Output, Result, files, info, warn};
use serde::{Deserialize, Serialize};
use source_files::listed;

use crate::checkout::Pointer;
use crate::remote::Remote;

/// As many as servers answer for at once.
const BATCH_OBJECTS_MAX: usize = 100;
/// Stops an answer that takes the memory; an object has about a kilobyte in it.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

#[derive(Serialize)]
struct Asked<'a> {
    operation: &'static str,
    transfers: [&'static str; 1],
    objects: Vec<Object<'a>>,
}

#[derive(Serialize)]
struct Object<'a> {
    oid: &'a str,
    size: u64,
}

#[derive(Deserialize)]
struct Answer {
    objects: Vec<Answered>,
}

#[derive(Deserialize)]
struct Answered {
    oid: String,
    #[serde(default)]
    actions: Actions,
    error: Option<Refused>,
}

#[derive(Default, Deserialize)]
struct Actions {
    download: Option<Download>,
}

#[derive(Deserialize)]
struct Download {
    href: String,
    #[serde(default)]
    header: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Refused {
    message: String,
}

/// Puts the files in the place of their pointers.
pub(crate) fn fetch(pointers: &[Pointer], remote: &Remote, output: &Output, scratch: &Path) {
    let (mut fetched, mut left, mut why) = (0, Vec::new(), None);
    for batch in pointers.chunks(BATCH_OBJECTS_MAX) {
        let answer = ask(batch, remote).map_err(|failure| failure.message);
        for pointer in batch {
            let placed = match &answer {
                Ok(answer) => place(pointer, answer, remote, output, scratch).map_err(|failure| failure.message),
                Err(why) => Err(why.clone()),
            };
            match placed {
                Ok(()) => fetched += 1,
                Err(message) => {
                    left.push(format!("`{}`", pointer.path));
                    why.get_or_insert(message);
                }
            }
        }
    }
    if fetched > 0 {
        info!("fetched {fetched} files that Git LFS keeps");
    }
    if let Some(why) = why {
        warn!(
            "Git LFS keeps these files elsewhere, and what was fetched are its pointers to them: {} ({why})",
            listed(&left)
        );
    }
}

fn ask(batch: &[Pointer], remote: &Remote) -> Result<Answer> {
    let objects = batch.iter().map(|Pointer { to, .. }| Object { oid: &to.id, size: to.size }).collect();
    let asked = Asked { operation: "download", transfers: ["basic"], objects };
    let body = serde_json::to_vec(&asked).map_err(|error| Failure::job(error.to_string()))?;
    let response = remote.lfs_batch(&body)?;
    if response.status() != 200 {
        return Err(Failure::job(format!("its server answers {} where it is asked for them", response.status())));
    }
    response.json(ANSWER_BYTES_MAX)
}

fn place(pointer: &Pointer, answer: &Answer, remote: &Remote, output: &Output, scratch: &Path) -> Result<()> {
    let answered = answer.objects.iter().find(|answered| answered.oid == pointer.to.id);
    let answered = answered.ok_or_else(|| Failure::job("its server does not say where they are"))?;
    if let Some(Refused { message }) = &answered.error {
        return Err(Failure::job(format!("its server says: {}", message.escape_debug())));
    }
    let download = answered.actions.download.as_ref();
    let Download { href, header } = download.ok_or_else(|| Failure::job("its server does not have them"))?;
    let mut response = remote.download(href, header)?;
    if response.status() != 200 {
        return Err(Failure::job(format!("its server answers {}", response.status())));
    }
    let aside = scratch.join("lfs");
    let size = save(&mut response, &aside, pointer.to.size)?;
    if size != pointer.to.size || files::digest(&aside)? != pointer.to.id {
        return Err(Failure::job("what its server sends is something else"));
    }
    let path = output.join(&pointer.path);
    files::copy(&aside, &path, &[])?;
    files::set_executable(&path, pointer.executable)
}

/// No more than it should have, and a byte by which that is seen.
fn save(response: &mut Response, to: &Path, size: u64) -> Result<u64> {
    let mut file = files::create(to, false)?;
    let copied = io::copy(&mut io::Read::take(response, size.saturating_add(1)), &mut file).doing("fetching it")?;
    file.finish()?;
    Ok(copied)
}
