//! The log, the journal and the recording of an action execution, and its log as it grows.
//!
//! Must not know how lines get into the files (`logs`), nor what a recording says (`recording`).

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use pipewright_engine::driver::Aggregate;
use pipewright_pipeline::machine::{ActionExecutionId, ExecutionId, Start};
use pipewright_pipeline::secrets;
use pipewright_runner::logs::{Listener, Logs};

use super::{Context, Service, ServiceError};

/// What is read at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Which action execution: of a pipeline's execution, by their names.
#[derive(Clone, Debug)]
pub struct Named {
    pub pipeline: String,
    pub execution: String,
    pub action: String,
}

/// An action execution that was named.
struct LogLocation {
    pipeline: Aggregate,
    execution: ExecutionId,
    action: ActionExecutionId,
    /// With what the execution started.
    start: Arc<Start>,
}

impl LogLocation {
    async fn find(service: &Service, context: &Context, named: &Named) -> Result<Self, ServiceError> {
        let (pipeline, execution) = service.execution(context, &named.pipeline, &named.execution).await?;
        let not_found =
            || ServiceError::not_found(format!("The execution has no action execution with ID '{}'", named.action));
        let action = named.action.parse().map_err(|_| not_found())?;
        match service.driver().has_run(pipeline, execution.id, action).await? {
            true => Ok(Self { pipeline, execution: execution.id, action, start: Arc::clone(&execution.start) }),
            false => Err(not_found()),
        }
    }

    /// Nothing is written any more to the log of one that has ended.
    async fn has_ended(&self, service: &Service) -> Result<bool, ServiceError> {
        let state = service.driver().state(self.pipeline).await?;
        let live = state.executions.get(&self.execution);
        let run = live.and_then(|live| live.runs.values().find(|run| run.id == self.action));
        Ok(run.is_none_or(|run| !run.in_progress()))
    }
}

/// A file, as far as it is written now.
#[derive(Debug)]
pub struct Written {
    pub file: File,
    pub bytes: u64,
}

/// One that was never written to is none.
fn open(path: &Path) -> io::Result<Option<Written>> {
    match File::open(path) {
        Ok(file) => file.metadata().map(|metadata| Some(Written { file, bytes: metadata.len() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What an action said. There is nothing before it said something.
pub async fn log(service: &Service, context: &Context, named: &Named) -> Result<Option<Written>, ServiceError> {
    written(service, context, named, Logs::log_path).await
}

/// An action's host calls. There is nothing before it made one.
pub async fn journal(service: &Service, context: &Context, named: &Named) -> Result<Option<Written>, ServiceError> {
    written(service, context, named, Logs::journal_path).await
}

async fn written(
    service: &Service,
    context: &Context,
    named: &Named,
    path: fn(&Logs, &str, &str) -> PathBuf,
) -> Result<Option<Written>, ServiceError> {
    let place = LogLocation::find(service, context, named).await?;
    let (actions, execution, action) =
        (Arc::clone(&service.host.actions), place.execution.to_string(), place.action.to_string());
    let opened = service.work().blocking(move || {
        actions.logs.flush(&action);
        open(&path(&actions.logs, &execution, &action))
    });
    opened.await.map_err(ServiceError::host)
}

/// What was kept of an action's calls, with what they need to be made again, as a zip file.
pub async fn recording(service: &Service, context: &Context, named: &Named) -> Result<Bytes, ServiceError> {
    let place = LogLocation::find(service, context, named).await?;
    let (execution, action) = (place.execution.to_string(), place.action.to_string());
    let declaration = service.driver().version(place.pipeline, place.start.version).await?;
    let catalogue = service.catalogue(context);
    let secrets: Vec<String> =
        declaration.iter().flat_map(|declaration| secrets::secrets(declaration, catalogue.described())).collect();
    let actions = Arc::clone(&service.host.actions);
    let granted = match actions.pinned_grants(place.pipeline, &place.start.pins).await {
        Ok(grants) => actions.secrets_of(context.account, &grants).await,
        Err(_) => None,
    };
    let made = actions.recording(granted, secrets, execution, action).await.map_err(ServiceError::host)?;
    made.ok_or_else(|| {
        ServiceError::not_found(
            "Nothing is kept of this action execution: it has not ended, it was not run by a plugin, it did nothing, or what \
             was kept is removed like old logs",
        )
    })
}

/// A log that is read as it grows.
pub struct Following {
    service: Arc<Service>,
    place: LogLocation,
    listener: Listener,
    file: Option<Arc<File>>,
    /// How far the file is read.
    at: u64,
    /// The start of a line that is not whole yet.
    partial: Vec<u8>,
    lines: VecDeque<String>,
    ended: bool,
}

pub async fn follow(service: &Arc<Service>, context: &Context, named: &Named) -> Result<Following, ServiceError> {
    let place = LogLocation::find(service, context, named).await?;
    let listener = service.host.actions.logs.listen_to(&place.execution.to_string(), &place.action.to_string());
    Ok(Following {
        service: Arc::clone(service),
        place,
        listener,
        file: None,
        at: 0,
        partial: Vec::new(),
        lines: VecDeque::new(),
        ended: false,
    })
}

impl Following {
    /// The next line, once it is there; none when the action has ended.
    pub async fn line(&mut self) -> Result<Option<String>, ServiceError> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Some(line));
            }
            // In this order: what is written before the end is read after it was seen.
            let ended = self.ended || self.place.has_ended(&self.service).await?;
            let read = self.read().await.map_err(ServiceError::host)?;
            if read {
                continue;
            }
            if ended {
                return Ok(None);
            }
            self.ended = !self.wait().await;
        }
    }

    /// Waits until there may be more. False once there will be nothing more.
    async fn wait(&mut self) -> bool {
        // Whoever is called says so when there is more, and when the call has ended.
        if self.listener.is_called() {
            self.listener.something().await;
            return true;
        }
        let mut watcher = self.service.driver().watch(Some(self.place.pipeline));
        // It may have ended before the watcher watched.
        if self.place.has_ended(&self.service).await.unwrap_or(true) {
            return true;
        }
        tokio::select! {
            () = self.listener.something() => true,
            changed = watcher.changed() => changed.is_some(),
        }
    }

    /// Reads what is there; false if that is nothing.
    async fn read(&mut self) -> io::Result<bool> {
        let (log, file, at) = (self.listener.log(), self.file.clone(), self.at);
        let read = self.service.work().blocking(move || -> io::Result<_> {
            log.flush();
            let file = match file {
                Some(file) => file,
                None => match open(log.path())? {
                    Some(written) => Arc::new(written.file),
                    None => return Ok(None),
                },
            };
            let mut piece = vec![0; CHUNK_BYTES];
            let read = file.read_at(&mut piece, at)?;
            piece.truncate(read);
            Ok(Some((file, piece)))
        });
        let Some((file, piece)) = read.await? else { return Ok(false) };
        self.file = Some(file);
        self.at += piece.len() as u64;
        self.partial.extend_from_slice(&piece);
        if let Some(last) = self.partial.iter().rposition(|byte| *byte == b'\n') {
            let lines = self.partial[..last].split(|byte| *byte == b'\n');
            self.lines.extend(lines.map(|line| String::from_utf8_lossy(line).replace('\r', "")));
            self.partial.drain(..=last);
        }
        Ok(!piece.is_empty())
    }
}
