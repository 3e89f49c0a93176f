//! Makes the calls of a recording again, in a temporary folder and without network.
//!
//! Owns how a recorded call becomes a call of the sandbox, and stops at the first that differs. Must not know where the
//! plugin came from.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use pipewright_artifacts::files::{BlobDir, Blobs, Tree, collect, export};
use pipewright_base::Digest;
use pipewright_pipeline::machine;
use pipewright_sandbox::capabilities::caches::CachesAt;
use pipewright_sandbox::files::{Input, SCRATCH};
use pipewright_sandbox::grants::Access;
use pipewright_sandbox::outside::{LEFT_IN_SCRATCH, Outside, Recorded, Replay};
use pipewright_sandbox::seam::Sink;
use pipewright_sandbox::{Call, CallEnd, CallFailure, Plugin, Sandbox, without_stack};
use serde_json::Value;

use super::Difference;
use super::diff::{differ, trees, values};
use crate::cases::folder::{self, Names};
use pipewright_runner::outcome;
use pipewright_runner::outcome::failure_of;
use pipewright_runner::recording::{Bundle, RecordedCall, RecordedResult, RecordingError};

/// What came of it.
#[derive(Debug)]
pub struct Replayed {
    /// Calls that were made; those after one that differs are not.
    pub calls: usize,
    /// Empty if all is as it was recorded.
    pub differences: Vec<Difference>,
}

/// Calls `plugin` as the recorded one was called, and compares what it does.
///
/// # Errors
/// The recording left out what a call needs, or the temporary folder cannot be used.
pub async fn replay(
    sandbox: &Sandbox,
    plugin: &Plugin,
    bundle: &Bundle,
    sink: Arc<dyn Sink>,
) -> Result<Replayed, RecordingError> {
    let place = tempfile::Builder::new().prefix("pipewright-replay-").tempdir().map_err(anyhow::Error::from)?;
    let blobs: Arc<dyn Blobs> = Arc::new(BlobDir::new(place.path().join("blobs")).map_err(anyhow::Error::from)?);
    let recorded = &bundle.recording.calls;
    for (number, call) in recorded.iter().enumerate() {
        let stage = Stage { bundle, blobs: &blobs, folder: &place.path().join(number.to_string()) };
        let prepared = stage.prepare(call, Arc::clone(&sink))?;
        let end = sandbox.call(plugin, prepared).await;
        let mut differences = stage.compare(call, end)?;
        if !differences.is_empty() {
            if recorded.len() > 1 {
                differences.iter_mut().for_each(|found| found.what = format!("call {}: {}", number + 1, found.what));
            }
            return Ok(Replayed { calls: number + 1, differences });
        }
    }
    Ok(Replayed { calls: recorded.len(), differences: Vec::new() })
}

/// Where one call is made.
struct Stage<'a> {
    bundle: &'a Bundle,
    blobs: &'a Arc<dyn Blobs>,
    folder: &'a Path,
}

impl Stage<'_> {
    fn prepare(&self, call: &RecordedCall, sink: Arc<dyn Sink>) -> Result<Call, RecordingError> {
        let mut inputs = Vec::new();
        for (name, digest) in &call.inputs {
            let tree = self.bundle.unpacked(digest, &format!("the input artifact {name}"), &**self.blobs)?;
            inputs.push(Input { name: name.clone(), tree: Arc::new(tree), blobs: self.blobs.clone() });
        }
        let outside = Recorded { blobs: self.bundle.blobs.clone(), ..call.outside.clone() };
        let directories = self.folder.join("directories");
        for (name, directory) in &call.outside.directories {
            let what = format!("the directory {name}, as it was before the call");
            let Some(before) = &directory.before else { return Err(RecordingError::LeftOut(what)) };
            let tree = self.bundle.unpacked(before, &what, &**self.blobs)?;
            let exported = export(&**self.blobs, &tree, name, &directories.join(name));
            exported.map_err(|error| RecordingError::Malformed(format!("{what}: {error}")))?;
        }
        let work_dir = self.folder.join("work");
        if let Some(left) = self.bundle.scratch(call, &**self.blobs)? {
            let exported = export(&**self.blobs, &left, SCRATCH, &work_dir.join(SCRATCH));
            exported.map_err(|error| RecordingError::Malformed(format!("{LEFT_IN_SCRATCH}: {error}")))?;
        }
        Ok(Call {
            tenant: 0,
            entry: call.entry.clone(),
            request: call.request.clone(),
            granted_as: call.granted_as.clone(),
            grants: call.grants_in(&directories),
            time: Some(call.outside.time),
            inputs,
            work_dir,
            secret_environment: call.secret_environment.clone(),
            ended: call.ended.clone(),
            caches: CachesAt::Given(self.bundle.caches(call, self.blobs)?),
            tools: self.bundle.tools(call, self.blobs)?,
            limits: call.limits.clone(),
            sink,
            outside: Outside::Replayed(Replay::new(outside)),
        })
    }

    fn compare(&self, call: &RecordedCall, end: CallEnd) -> Result<Vec<Difference>, RecordingError> {
        let mut found = Vec::new();
        if let Err(CallFailure::Differs(difference)) = end.result {
            differ(&mut found, format!("host call {}", difference.number), difference.expected, difference.made);
            return Ok(found);
        }
        let outputs = self.outputs(call, &end)?;
        let results = [&call.results, &end.results].map(|results| serde_json::to_value(results).unwrap_or(Value::Null));
        values(&mut found, "results", &results[0], &results[1]);
        let replayed = match (end.kept.and_then(|kept| kept.outcome), end.result) {
            (Some(outcome), _) | (None, Ok(outcome)) => RecordedResult::Outcome(outcome),
            (None, Err(failure)) => {
                let (kind, message) = failure_of(&failure);
                RecordedResult::Failure { kind, message }
            }
        };
        let (recorded, replayed) = (shown(&call.result), shown(&replayed));
        values(&mut found, "result", &recorded, &replayed);
        for (name, digest) in &call.outputs {
            match outputs.get(name) {
                Some(tree) => trees(&mut found, &format!("outputs/{name}"), self.bundle, digest, tree),
                None => differ(&mut found, format!("outputs/{name}"), "it was made", "it was not made"),
            }
        }
        for name in outputs.keys().filter(|name| !call.outputs.contains_key(*name)) {
            differ(&mut found, format!("outputs/{name}"), "it was not made", "it was made");
        }
        self.directories(call, &mut found)?;
        if let Some(after) = call.outside.scratch.as_ref().and_then(|scratch| scratch.after) {
            self.compare_folder(&after, SCRATCH, &self.folder.join("work").join(SCRATCH), &mut found)?;
        }
        Ok(found)
    }

    /// As in a pipeline, only what succeeds makes artifacts.
    fn outputs(&self, call: &RecordedCall, end: &CallEnd) -> Result<BTreeMap<String, Tree>, RecordingError> {
        let declared = &call.request.outputs;
        let all_made = declared.iter().all(|output| end.outputs.iter().any(|made| made.name == output.name));
        let succeeded = match &end.result {
            Ok(outcome) => matches!(outcome::report(outcome.clone()).outcome, machine::Outcome::Succeeded(_)),
            Err(_) => false,
        };
        if !succeeded || !all_made || !end.undeclared.is_empty() {
            return Ok(BTreeMap::new());
        }
        let taken = |made| {
            let tree = collect(made, &**self.blobs, &call.limits.files).map_err(anyhow::Error::from)?;
            Ok((made.name.clone(), tree))
        };
        end.outputs.iter().map(taken).collect()
    }

    fn directories(&self, call: &RecordedCall, found: &mut Vec<Difference>) -> Result<(), RecordingError> {
        for (name, directory) in &call.outside.directories {
            if call.grants.directories.get(name).is_none_or(|grant| grant.access != Access::Write) {
                continue;
            }
            let Some(after) = &directory.after else { continue };
            let path = self.folder.join("directories").join(name);
            self.compare_folder(after, &format!("directories/{name}"), &path, found)?;
        }
        Ok(())
    }

    fn compare_folder(
        &self,
        recorded: &Digest,
        what: &str,
        path: &Path,
        found: &mut Vec<Difference>,
    ) -> Result<(), RecordingError> {
        std::fs::create_dir_all(path).map_err(anyhow::Error::from)?;
        let now = folder::tree(path, Names::AsTheyAre, &**self.blobs)?;
        let files = |tree: &Tree| {
            let kept = tree.entries().iter().filter(|entry| entry.node != pipewright_artifacts::files::Node::Directory);
            Tree::new(kept.cloned().collect()).map_err(anyhow::Error::from)
        };
        // Empty folders do not count.
        if files(&self.bundle.tree(recorded, what)?)?.digest() != now.digest() {
            trees(found, what, self.bundle, recorded, &now);
        }
        Ok(())
    }
}

/// As it is compared.
fn shown(result: &RecordedResult) -> Value {
    let told = match result {
        RecordedResult::Failure { kind, message } => {
            RecordedResult::Failure { kind: *kind, message: without_stack(message).to_owned() }
        }
        RecordedResult::Outcome(outcome) => RecordedResult::Outcome(outcome.clone()),
    };
    serde_json::to_value(told).unwrap_or(Value::Null)
}
