//! How a recording comes about: call by call while an action runs, and completed with what it needs when somebody wants it.
//!
//! Owns what is worth keeping and what fits. Must not know where a recording is kept.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use pipewright_artifacts::files::{Blobs, Node, Tree};
use pipewright_base::Digest;
use pipewright_sandbox::abi::{Entry, NamedValue, Outcome};
use pipewright_sandbox::capabilities::commands::Ended;
use pipewright_sandbox::files::Input;
use pipewright_sandbox::grants::Grants;
use pipewright_sandbox::limits::CallLimits;
use pipewright_sandbox::{Call, CallEnd, Masks, Plugin};

use super::bundle::{BUNDLE_BYTES_MAX, Bundle};
use super::{Component, FORMAT, RecordedCall, RecordedResult, Recording};
use crate::outcome::failure_of;

/// One file of an input that is larger is left out, whatever room there is.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// What is left out is named up to this; the rest is counted. Stops a list as long as the artifacts.
const LEFT_OUT_MAX: usize = 100;

/// What a call is made with, taken down before it is made.
pub struct CallParameters {
    entry: Entry,
    granted_as: Option<String>,
    grants: Grants,
    limits: CallLimits,
    inputs: Vec<(String, Digest)>,
    secret_environment: Vec<NamedValue>,
    ended: Option<Ended>,
}

impl CallParameters {
    pub fn of(call: &Call) -> Self {
        let digest = |input: &Input| (input.name.clone(), input.tree.digest());
        Self {
            entry: call.entry.clone(),
            granted_as: call.granted_as.clone(),
            grants: call.grants.recorded(),
            limits: call.limits.clone(),
            inputs: call.inputs.iter().map(digest).collect(),
            secret_environment: call.secret_environment.clone(),
            ended: call.ended.clone(),
        }
    }
}

/// Whether nobody could want to see it again: it succeeded, and did and said nothing.
pub fn did_nothing(end: &CallEnd) -> bool {
    let is_silent = match &end.result {
        Ok(Outcome::Built(report) | Outcome::Invoked(report)) => report.variables.is_empty(),
        Ok(Outcome::Fetched(fetched)) => fetched.revision.is_none() && fetched.report.variables.is_empty(),
        _ => false,
    };
    let used_nothing = end.kept.as_ref().is_none_or(|kept| kept.outside.is_empty());
    is_silent && end.outputs.is_empty() && end.results.is_empty() && used_nothing && end.usage.log_bytes == 0
}

/// Puts a recording together.
pub struct Keeper {
    bundle: Bundle,
}

impl Keeper {
    pub fn new(plugin: &Plugin) -> Option<Self> {
        let description = plugin.description();
        let (name, version) = (description.name.clone(), description.version.clone());
        let component = Component { name, version, digest: plugin.digest().parse().ok()? };
        let recording =
            Recording { format: FORMAT, component, calls: Vec::new(), log: Vec::new(), left_out: Vec::new() };
        Some(Self { bundle: Bundle { recording, blobs: BTreeMap::new() } })
    }

    /// A call that was made with `Outside::Recorded`.
    pub fn add(&mut self, made: CallParameters, end: &mut CallEnd) {
        let Some(mut kept) = end.kept.take() else { return };
        let result = match (&end.result, kept.outcome) {
            (Err(failure), _) => {
                let (kind, message) = failure_of(failure);
                RecordedResult::Failure { kind, message }
            }
            (Ok(outcome), None) => RecordedResult::Outcome(outcome.clone()),
            (Ok(_), Some(outcome)) => RecordedResult::Outcome(outcome),
        };
        self.bundle.blobs.append(&mut kept.outside.blobs);
        self.bundle.recording.calls.push(RecordedCall {
            entry: made.entry,
            request: kept.request,
            granted_as: made.granted_as,
            grants: made.grants,
            limits: made.limits,
            inputs: made.inputs,
            secret_environment: made.secret_environment,
            ended: made.ended,
            outside: kept.outside,
            result,
            results: end.results.clone(),
            outputs: BTreeMap::new(),
            usage: end.usage,
        });
    }

    /// How much of calls it holds.
    pub fn bytes(&self) -> u64 {
        self.bundle.bytes()
    }

    /// The bodies and files of calls that it holds.
    pub fn held(&self) -> HashSet<Digest> {
        self.bundle.blobs.keys().copied().collect()
    }

    /// The output artifacts of the last call, by the digests of their manifests.
    pub fn outputs(&mut self, outputs: impl IntoIterator<Item = (String, Digest)>) {
        if let Some(call) = self.bundle.recording.calls.last_mut() {
            call.outputs.extend(outputs);
        }
    }

    pub fn bundle(self) -> Bundle {
        self.bundle
    }
}

impl Bundle {
    /// Adds the calls that came after these.
    pub fn append(&mut self, mut later: Self) {
        self.recording.calls.append(&mut later.recording.calls);
        self.recording.left_out.append(&mut later.recording.left_out);
        self.blobs.append(&mut later.blobs);
    }
}

/// Adds what the calls need, as far as it fits: the component, the tools of packages, the input artifacts, and the manifests of the
/// outputs. `component` finds a component by its digest, and `artifact` an artifact by the digest of its manifest. What holds a secret
/// of `masks` is left out, also of what was kept before: the call itself knew only its own. Without `masks`, inputs cannot be searched,
/// and are left out.
pub fn complete(
    bundle: &mut Bundle,
    component: impl Fn(&Digest) -> Option<Bytes>,
    masks: Option<&Masks>,
    artifact: impl Fn(&Digest) -> Option<(Arc<Tree>, Arc<dyn Blobs>)>,
) {
    let holds_secret = |bytes: &[u8]| masks.is_some_and(|masks| masks.find(bytes));
    let kept = bundle.blobs.len();
    bundle.blobs.retain(|_, bytes| !holds_secret(bytes));
    let secret = kept - bundle.blobs.len();
    let mut room = Room { left: BUNDLE_BYTES_MAX.saturating_sub(bundle.bytes() + 1024 * 1024), bundle, left_out: 0 };
    if secret > 0 {
        room.leave_out(format!("{secret} of what came from outside: a secret's value is in it"));
    }
    let Recording { component: of, calls, .. } = &room.bundle.recording;
    let tools = calls.iter().flat_map(|call| &call.outside.tools).map(|(name, digest)| (tool(name), *digest));
    for (what, digest) in std::iter::once(("the component".to_owned(), of.digest)).chain(tools).collect::<Vec<_>>() {
        match component(&digest).filter(|component| Digest::of(component) == digest) {
            Some(component) => room.add(&what, digest, component),
            None => room.leave_out(format!("{what}: it is not here any more")),
        }
    }
    let outputs = room.bundle.recording.calls.iter().flat_map(|call| call.outputs.clone()).collect::<Vec<_>>();
    for (name, digest) in outputs {
        let Some((tree, _)) = artifact(&digest) else { continue };
        let (what, manifest) = (format!("the manifest of the output artifact {name}"), tree.to_bytes());
        match holds_secret(&manifest) {
            true => room.leave_out(format!("{what}: a secret's value is in the name of a file")),
            false => room.add(&what, digest, manifest.into()),
        }
    }
    let calls = &room.bundle.recording.calls;
    let inputs = calls
        .iter()
        .flat_map(|call| &call.inputs)
        .map(|(name, digest)| (format!("the input artifact {name}"), *digest));
    let caches =
        calls.iter().flat_map(|call| call.outside.caches()).map(|(key, digest)| (format!("the cache {key}"), digest));
    for (what, digest) in inputs.chain(caches).collect::<Vec<_>>() {
        match (artifact(&digest), masks) {
            (Some((tree, blobs)), Some(masks)) => room.artifact(&what, &tree, &*blobs, masks),
            (Some(_), None) => room.leave_out(format!("{what}: the secrets cannot be read that may be in it")),
            (None, _) => room.leave_out(format!("{what}: it is not here any more")),
        }
    }
    if room.left_out > LEFT_OUT_MAX {
        let more = format!("{} more", room.left_out - LEFT_OUT_MAX);
        room.bundle.recording.left_out.push(more);
    }
}

/// What a recording calls the component of a tool.
pub(super) fn tool(package: &str) -> String {
    format!("the tool {package}")
}

/// What still fits.
struct Room<'a> {
    bundle: &'a mut Bundle,
    left: u64,
    left_out: usize,
}

impl Room<'_> {
    fn leave_out(&mut self, what: String) {
        self.left_out += 1;
        if self.left_out <= LEFT_OUT_MAX {
            self.bundle.recording.left_out.push(what);
        }
    }

    fn add(&mut self, what: &str, digest: Digest, bytes: Bytes) {
        if self.bundle.blobs.contains_key(&digest) {
            return;
        }
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => {
                self.left = left;
                self.bundle.blobs.insert(digest, bytes);
            }
            None => self.leave_out(format!("{what}: its {} bytes do not fit", bytes.len())),
        }
    }

    fn artifact(&mut self, what: &str, tree: &Tree, blobs: &dyn Blobs, masks: &Masks) {
        let manifest = tree.to_bytes();
        if masks.find(&manifest) {
            return self.leave_out(format!("{what}: a secret's value is in the name of a file"));
        }
        self.add(what, tree.digest(), manifest.into());
        for entry in tree.entries() {
            let Node::File { digest, size, .. } = &entry.node else { continue };
            if self.bundle.blobs.contains_key(digest) {
                continue;
            }
            let what = format!("{what}: {}", entry.path);
            if *size > FILE_BYTES_MAX.min(self.left) {
                self.leave_out(format!("{what}: its {size} bytes do not fit"));
                continue;
            }
            match blobs.read(digest, *size) {
                Ok(bytes) if masks.find(&bytes) => self.leave_out(format!("{what}: a secret's value is in it")),
                Ok(bytes) => self.add(&what, *digest, bytes.into()),
                Err(error) => self.leave_out(format!("{what}: {error}")),
            }
        }
    }
}
