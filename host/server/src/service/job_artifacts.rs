//! The artifacts of jobs on their way to a worker and back, as objects of a bucket: which a job's credentials reach, and what of
//! them becomes artifacts.
//!
//! Owns the credentials, which are good while the worker that was offered the job has it, for writing only once it has acknowledged
//! it; and the names of the objects. Must not know HTTP,
//! nor how the files lie (`folder`).

mod folder;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pipewright_artifacts::ArtifactError;
use pipewright_artifacts::files::{FileError, MadeOutput, ZipOfTree};
use pipewright_base::Digest;
use pipewright_base::fair::Permits;
use pipewright_engine::driver::Aggregate;
use pipewright_pipeline::machine::{ActionError, ActionExecutionId, FailureType, JobId, Nonce, RunAction};
use pipewright_pipeline::responses::AwsSessionCredentials;

use super::jobs::{Seen, bucket_of};
use super::{Service, ServiceError};
use folder::{Folder, Folders};
pub use folder::{Part, Turn, Upload, UploadError};

/// What a session token is sealed for.
const SESSION: &str = "job session";
const SECRET: &str = "job secret";
/// How often is looked for what was left behind.
const SWEPT: Duration = Duration::from_secs(60 * 60);
/// Of an archive that is packed, at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Archives that are packed or unpacked at once, and those of one account. Stops workers from filling a disk, and all threads, with
/// what is not yet weighed.
const ARCHIVES_AT_ONCE_MAX: usize = 8;
const ARCHIVES_AT_ONCE_PER_ACCOUNT_MAX: usize = 2;

/// Where the artifacts of jobs are on their way.
pub struct Jobs {
    folders: Folders,
    archives: Permits,
}

impl Jobs {
    pub fn new(root: PathBuf) -> Self {
        let archives = Permits::new(ARCHIVES_AT_ONCE_MAX, ARCHIVES_AT_ONCE_PER_ACCOUNT_MAX);
        Self { folders: Folders::new(root), archives }
    }
}

/// Which job a session is for, and which worker's.
struct Claims {
    pipeline: Aggregate,
    action: ActionExecutionId,
    job: JobId,
    nonce: Nonce,
}

impl Claims {
    fn to_bytes(&self) -> Vec<u8> {
        let Aggregate { account, uid } = self.pipeline;
        [&account.to_be_bytes()[..], &uid, self.action.as_bytes(), self.job.as_bytes(), self.nonce.as_bytes()].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (account, rest) = bytes.split_first_chunk::<8>()?;
        let (uid, rest) = rest.split_first_chunk::<16>()?;
        let (action, rest) = rest.split_first_chunk::<16>()?;
        let (job, rest) = rest.split_first_chunk::<16>()?;
        let nonce: [u8; 16] = rest.try_into().ok()?;
        Some(Self {
            pipeline: Aggregate { account: u64::from_be_bytes(*account), uid: *uid },
            action: ActionExecutionId::from_bytes(*action),
            job: JobId::from_bytes(*job),
            nonce: Nonce::from_bytes(nonce),
        })
    }
}

/// They follow from the offer of the job: whoever asks again is given the same, and nothing has to be kept.
pub(super) fn credentials(
    service: &Service,
    pipeline: Aggregate,
    action: ActionExecutionId,
    job: JobId,
    nonce: Nonce,
) -> AwsSessionCredentials {
    let session_token = service.pages.token(SESSION, &Claims { pipeline, action, job, nonce }.to_bytes());
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

/// Of a session whose token is one of this host's, and whose worker has the job.
pub async fn session(service: &Service, token: &str) -> Result<Option<Session>, ServiceError> {
    let Ok(Some(claims)) = service.pages.after(SESSION, Some(token)) else { return Ok(None) };
    let Some(Claims { pipeline, action, job, nonce }) = Claims::read(&claims) else { return Ok(None) };
    let Some(seen) = service.seen(pipeline.account, pipeline.uid, action, job).await? else { return Ok(None) };
    if seen.nonce() != Some(nonce) {
        return Ok(None);
    }
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

    /// Its worker has acknowledged the job, and not reported it: only then is there something to write. Asked again before what
    /// came is kept, as that may have taken its time.
    pub async fn check_writable(&self, service: &Service) -> Result<(), UploadError> {
        let Seen { pipeline, run, job, .. } = &self.seen;
        let now = service.seen(pipeline.account, pipeline.uid, run.id, job.id).await;
        let now = now.map_err(|error| UploadError::Io(std::io::Error::other(format!("{error:?}"))))?;
        let is_in_progress = |now: Seen| now.nonce() == self.seen.nonce() && now.is_in_progress();
        if now.is_some_and(is_in_progress) { Ok(()) } else { Err(UploadError::NotInProgress) }
    }

    /// Begins to take in what a worker sends: a whole object, or a part of one.
    pub async fn upload(&self, service: &Service, of: Part) -> Result<Upload, UploadError> {
        self.check_writable(service).await?;
        let (folder, bytes_max) = (self.folder.clone(), service.host.actions.limits.files.bytes_max);
        service.work().blocking(move || folder.upload(of, bytes_max)).await
    }

    /// Begins an upload in parts; gives its id.
    pub async fn begin_parts(&self, service: &Service, name: &str) -> Result<String, UploadError> {
        self.check_writable(service).await?;
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
        let turn = folder.turn().await;
        self.check_writable(service).await?;
        let end = move || {
            let _turn = turn;
            folder.end_parts(&name, &id, &parts, bytes_max)
        };
        service.work().blocking(end).await
    }

    pub async fn give_up_parts(&self, service: &Service, name: &str, id: &str) -> Result<(), UploadError> {
        self.check_writable(service).await?;
        let (folder, name, id) = (self.folder.clone(), name.to_owned(), id.to_owned());
        service.work().blocking(move || folder.give_up_parts(&name, &id)).await
    }

    /// An object's bytes, how many they are, and what they are known by; none where a worker has not made it yet.
    pub async fn open(&self, service: &Service, object: Object) -> Result<Option<(File, u64, String)>, ServiceError> {
        let folder = self.folder.clone();
        let opened = match object {
            Object::Output { name } => service.work().blocking(move || folder.output(&name)).await,
            Object::Input { name, digest } => {
                let known_by = format!("{}-1", &digest[..digest.len().min(32)]);
                self.input(service, name, digest).await.map(|file| Some((file, known_by)))
            }
        };
        let Some((file, known_by)) = opened.map_err(ServiceError::host)? else { return Ok(None) };
        let bytes = file.metadata().map_err(ServiceError::host)?.len();
        Ok(Some((file, bytes, known_by)))
    }

    /// However many ask for it at once, one packs it.
    async fn input(&self, service: &Service, name: String, digest: String) -> std::io::Result<File> {
        let (folder, named) = (self.folder.clone(), name.clone());
        if let Some(packed) = service.work().blocking(move || folder.packed(&named)).await? {
            return Ok(packed);
        }
        let held = (self.folder.turn().await, service.jobs.archives.acquire(self.account).await);
        let (folder, artifacts) = (self.folder.clone(), Arc::clone(&service.host.actions.artifacts));
        let packed = service.work().blocking(move || {
            // Until it is packed, whoever still waits for it.
            let _held = held;
            folder.input(&name, |into: &mut File| {
                let tree = artifacts.tree(&digest).map_err(std::io::Error::other)?;
                let mut zip = ZipOfTree::new(tree, artifacts.blobs().clone()).map_err(std::io::Error::other)?;
                while let Some(piece) = zip.next(PIECE_BYTES)? {
                    folder::write(into, &piece)?;
                }
                Ok(())
            })
        });
        packed.await
    }
}

fn folder(service: &Service, pipeline: Aggregate, action: ActionExecutionId) -> Folder {
    service.jobs.folders.of(pipeline, action)
}

/// The right to end the action: while one report is worked on, another one waits.
pub(super) async fn turn(service: &Service, pipeline: Aggregate, action: ActionExecutionId) -> Arc<Turn> {
    Arc::new(folder(service, pipeline, action).turn().await)
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

/// Makes artifacts of what a worker uploaded, or says why that cannot be. The turn is held until that is done, whoever still waits
/// for it.
pub(super) async fn take_in(
    service: &Service,
    seen: &Seen,
    turn: Arc<Turn>,
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
    let held = (turn, service.jobs.archives.acquire(seen.pipeline.account).await);
    let taken = service.work().blocking(move || {
        let _held = held;
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

async fn sweep_once(service: &Arc<Service>) -> Result<(), ServiceError> {
    let at = Arc::clone(service);
    let folders = service.work().blocking(move || at.jobs.folders.all()).await.map_err(ServiceError::host)?;
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
