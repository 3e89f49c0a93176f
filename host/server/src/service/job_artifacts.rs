//! The artifacts of jobs on their way to a worker and back, as objects of a bucket: which a job's credentials reach, and what of
//! them becomes artifacts.
//!
//! Owns the credentials, which are good while the action waits for that very job, and the names of the objects. Must not know HTTP,
//! nor how the files lie (`folder`).

mod folder;

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use pipewright_artifacts::ArtifactError;
use pipewright_artifacts::files::{FileError, MadeOutput, ZipOfTree};
use pipewright_base::Digest;
use pipewright_engine::driver::Aggregate;
use pipewright_pipeline::machine::{ActionError, ActionExecutionId, FailureType, JobId, RunAction};
use pipewright_pipeline::responses::AwsSessionCredentials;

use super::jobs::{Seen, bucket_of};
use super::{Service, ServiceError};
use folder::Folder;
pub use folder::{Part, Upload, UploadError};

/// What a session token is sealed for.
const SESSION: &str = "job session";
const SECRET: &str = "job secret";
/// How often is looked for what was left behind.
const SWEPT: Duration = Duration::from_secs(60 * 60);
/// Of an archive that is packed, at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Which job a session is for.
struct Claims {
    pipeline: Aggregate,
    action: ActionExecutionId,
    job: JobId,
}

impl Claims {
    fn to_bytes(&self) -> Vec<u8> {
        let Aggregate { account, uid } = self.pipeline;
        [&account.to_be_bytes()[..], &uid, self.action.as_bytes(), self.job.as_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (account, rest) = bytes.split_first_chunk::<8>()?;
        let (uid, rest) = rest.split_first_chunk::<16>()?;
        let (action, rest) = rest.split_first_chunk::<16>()?;
        let job: [u8; 16] = rest.try_into().ok()?;
        Some(Self {
            pipeline: Aggregate { account: u64::from_be_bytes(*account), uid: *uid },
            action: ActionExecutionId::from_bytes(*action),
            job: JobId::from_bytes(job),
        })
    }
}

/// They follow from the job: whoever asks again is given the same, and nothing has to be kept.
pub(super) fn credentials(
    service: &Service,
    pipeline: Aggregate,
    action: ActionExecutionId,
    job: JobId,
) -> AwsSessionCredentials {
    let session_token = service.pages.token(SESSION, &Claims { pipeline, action, job }.to_bytes());
    let secret_access_key = secret(service, &session_token);
    AwsSessionCredentials { access_key_id: access_key(job), secret_access_key, session_token }
}

fn secret(service: &Service, session_token: &str) -> String {
    service.pages.token(SECRET, Digest::of(session_token.as_bytes()).as_bytes())
}

/// In the form of AWS's own temporary keys: `ASIA` and 16 of A–Z and 2–7.
fn access_key(job: JobId) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let characters = job.as_bytes().iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
    "ASIA".chars().chain(characters).collect()
}

/// What a request for an object may do whose session token is right, once its signature is.
pub struct Session {
    pub account: u64,
    pub access_key: String,
    pub secret: String,
    pub bucket: String,
    seen: Seen,
    folder: Folder,
}

/// Something that a job reads or makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    Input { name: String, digest: String },
    Output { name: String },
}

/// Of a session whose token is one of this host's, and whose job is not over.
pub async fn session(service: &Service, token: &str) -> Result<Option<Session>, ServiceError> {
    let Ok(Some(claims)) = service.pages.after(SESSION, Some(token)) else { return Ok(None) };
    let Some(Claims { pipeline, action, job }) = Claims::read(&claims) else { return Ok(None) };
    let Some(seen) = service.seen(pipeline.account, pipeline.uid, action, job).await? else { return Ok(None) };
    Ok(Some(Session {
        account: pipeline.account,
        access_key: access_key(job),
        secret: secret(service, token),
        bucket: bucket_of(service, &seen.called),
        folder: folder(service, pipeline, action),
        seen,
    }))
}

impl Session {
    /// The object of a key, if it is one of this job's.
    pub fn object(&self, key: &str) -> Option<Object> {
        let called = &self.seen.called;
        let mut inputs = called.inputs.iter();
        if let Some((name, digest)) = inputs.find(|(name, digest)| self::key(called, name, digest) == key) {
            return Some(Object::Input { name: name.clone(), digest: digest.clone() });
        }
        let output = called.outputs().find(|name| self::key(called, name, &made_up(called, name)) == key);
        output.map(|name| Object::Output { name: name.to_owned() })
    }

    /// Begins to take in what a worker sends: a whole object, or a part of one.
    pub async fn upload(&self, service: &Service, of: Part) -> Result<Upload, UploadError> {
        let (folder, bytes_max) = (self.folder.clone(), service.host.actions.limits.files.bytes_max);
        service.work().blocking(move || folder.upload(of, bytes_max)).await
    }

    /// Begins an upload in parts; gives its id.
    pub async fn begin_parts(&self, service: &Service, name: &str) -> Result<String, UploadError> {
        let (folder, name) = (self.folder.clone(), name.to_owned());
        service.work().blocking(move || folder.begin_parts(&name)).await
    }

    /// Makes an object of the parts, each given with its number and digest; gives the object's.
    pub async fn end_parts(
        &self,
        service: &Service,
        name: &str,
        id: &str,
        parts: Vec<(u32, String)>,
    ) -> Result<String, UploadError> {
        let (folder, name, id) = (self.folder.clone(), name.to_owned(), id.to_owned());
        let bytes_max = service.host.actions.limits.files.bytes_max;
        service.work().blocking(move || folder.end_parts(&name, &id, &parts, bytes_max)).await
    }

    pub async fn give_up_parts(&self, service: &Service, name: &str, id: &str) -> Result<(), UploadError> {
        let (folder, name, id) = (self.folder.clone(), name.to_owned(), id.to_owned());
        service.work().blocking(move || folder.give_up_parts(&name, &id)).await
    }

    /// An object's bytes, how many they are, and what they are known by; none where a worker has not made it yet.
    pub async fn open(&self, service: &Service, object: Object) -> Result<Option<(File, u64, String)>, ServiceError> {
        let (folder, artifacts) = (self.folder.clone(), Arc::clone(&service.host.actions.artifacts));
        let opened = service.work().blocking(move || match object {
            Object::Output { name } => folder.output(&name),
            Object::Input { name, digest } => {
                let known_by = format!("{}-1", &digest[..digest.len().min(32)]);
                let pack = |into: &mut File| {
                    let tree = artifacts.tree(&digest).map_err(std::io::Error::other)?;
                    let mut zip = ZipOfTree::new(tree, artifacts.blobs().clone()).map_err(std::io::Error::other)?;
                    while let Some(piece) = zip.next(PIECE_BYTES)? {
                        folder::write(into, &piece)?;
                    }
                    Ok(())
                };
                folder.input(&name, pack).map(|file| Some((file, known_by)))
            }
        });
        let Some((file, known_by)) = opened.await.map_err(ServiceError::host)? else { return Ok(None) };
        let bytes = file.metadata().map_err(ServiceError::host)?.len();
        Ok(Some((file, bytes, known_by)))
    }
}

fn folder(service: &Service, pipeline: Aggregate, action: ActionExecutionId) -> Folder {
    Folder::of(&service.jobs, pipeline, action)
}

/// Where an artifact is for a worker: at an address of S3's form (S76).
pub(super) fn key(called: &RunAction, name: &str, digest: &str) -> String {
    let first = |text: &str, count| text.chars().take(count).collect::<String>();
    format!("{}/{}/{}.zip", first(&called.declaration.name, 20), first(name, 10), first(digest, 7))
}

/// In place of the digest of what is not made yet.
pub(super) fn made_up(called: &RunAction, name: &str) -> String {
    Digest::of(format!("{}/{name}", called.action_execution).as_bytes()).to_string()
}

/// Makes artifacts of what a worker uploaded, or says why that cannot be.
pub(super) async fn take_in(
    service: &Service,
    seen: &Seen,
) -> Result<Result<BTreeMap<String, String>, ActionError>, ServiceError> {
    let folder = folder(service, seen.pipeline, seen.called.action_execution);
    let names: Vec<String> = seen.called.outputs().map(str::to_owned).collect();
    let (artifacts, quota) = (Arc::clone(&service.host.actions.artifacts), service.host.actions.limits.files.clone());
    let bucket = bucket_of(service, &seen.called);
    let keys: Vec<String> = names
        .iter()
        .map(|name| format!("{bucket}/{}", key(&seen.called, name, &made_up(&seen.called, name))))
        .collect();
    let failed = |message| Ok(Err(ActionError { kind: FailureType::JobFailed, message }));
    let taken = service.work().blocking(move || {
        let mut made = Vec::with_capacity(names.len());
        for (name, key) in names.iter().zip(&keys) {
            let Some((archive, _)) = folder.output(name)? else {
                return failed(format!("The worker has not uploaded the output artifact {name}, to {key}"));
            };
            match MadeOutput::unpacked(name, &archive, folder.tree()?, &quota) {
                Ok(unpacked) => made.push(unpacked),
                Err(error) => return failed(error.to_string()),
            }
        }
        match artifacts.take_in(&made, &quota) {
            Ok(digests) => Ok(Ok(digests.into_iter().collect())),
            Err(error @ ArtifactError::Refused(_)) => failed(error.to_string()),
            Err(error) => Err(std::io::Error::other(error)),
        }
    });
    taken.await.map_err(ServiceError::host)
}

/// An action is over: what its jobs fetched and uploaded goes.
pub(super) async fn forget(service: &Service, pipeline: Aggregate, action: ActionExecutionId) {
    let folder = folder(service, pipeline, action);
    let removed = service.work().blocking(move || folder.remove()).await;
    if let Err(error) = removed {
        tracing::warn!("what the jobs of {action} uploaded cannot be removed: {error}");
    }
}

/// Removes, now and from time to time, what belongs to actions that ended without a report.
pub async fn sweep(service: Arc<Service>) {
    loop {
        if let Err(error) = sweep_once(&service).await {
            tracing::warn!("what jobs left behind cannot be removed: {error}");
        }
        tokio::time::sleep(SWEPT).await;
    }
}

async fn sweep_once(service: &Service) -> Result<(), ServiceError> {
    let jobs = service.jobs.clone();
    let folders = service.work().blocking(move || Folder::all(&jobs)).await.map_err(ServiceError::host)?;
    for (pipeline, action) in folders {
        let is_waiting = match service.driver().state(pipeline).await {
            Ok(state) => state.called(action).is_some_and(|(run, _)| run.job.is_some()),
            // It may go on once that is mended.
            Err(_) => true,
        };
        if !is_waiting {
            forget(service, pipeline, action).await;
        }
    }
    Ok(())
}

impl From<FileError> for UploadError {
    fn from(error: FileError) -> Self {
        Self::Full(error.to_string())
    }
}
