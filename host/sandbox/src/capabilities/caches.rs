//! Directories that are kept for later executions, under keys.
//!
//! Owns what is granted and asked of them, and which one a call finds. A call only says what is to be kept: that is in its `CallEnd`,
//! for whoever made the call to keep once the action has succeeded. Must not know whose caches they are.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pipewright_artifacts::caches::{self as kept, Space};
use pipewright_base::Digest;
use pipewright_text::first_bytes;
use serde::{Deserialize, Serialize};
use wasmtime::component::HasSelf;

use super::{Capability, Exchange, Row, Setup};
use crate::abi;
use crate::bindings::pipewright::plugin::caches as bindings;
use crate::files::{Input, SCRATCH};
use crate::grants::{CaseFolder, Place, Use, stays_below};
use crate::outside::Exchanged;
use crate::rights::{Asked, Asks};
use crate::seam::{Denied, HostCallOutcome, Level, Seam};
use crate::state::State;

const CACHES: &str = "caches";
/// Stops keys that fill the journal.
const KEY_BYTES_MAX: usize = 1 << 10;
/// Stops a search through all that is kept for a great many fallbacks.
const FALLBACKS_MAX: usize = 16;
/// How much of a key or a directory is told.
const SHOWN_BYTES_MAX: usize = 1 << 8;
/// Of one call.
const SAVED_MAX: usize = 16;

/// Where a call finds what is kept.
#[derive(Clone, Default)]
pub enum CachesAt {
    #[default]
    Nowhere,
    Kept(Arc<kept::Caches>, Space),
    /// By their keys: those of a test case, or of a recording.
    Given(Vec<(String, Input)>),
}

/// What a call wants of what is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CacheUse {
    pub operation: Operation,
    pub key: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallback_keys: Vec<String>,
    /// Below the scratch.
    pub directory: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    Restore,
    Save,
}

impl fmt::Display for CacheUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operation = Caches::operation(self);
        write!(
            f,
            "to {operation} the cache `{}` in {}",
            first_bytes(&self.key, SHOWN_BYTES_MAX),
            first_bytes(&self.directory, SHOWN_BYTES_MAX)
        )
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Answer {
    /// None where nothing was, or something is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<FoundCache>,
}

/// By it a replay finds the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundCache {
    pub key: String,
    pub digest: Digest,
}

/// What is to be kept if the action succeeds.
#[derive(Clone, Debug)]
pub struct SavedCache {
    pub key: String,
    /// On the host. Nothing on the way from the scratch was a link.
    pub directory: PathBuf,
}

/// One per call.
pub struct Caches {
    is_granted: bool,
    at: CachesAt,
    seam: Arc<Seam>,
    scratch: PathBuf,
    saved: Mutex<Vec<SavedCache>>,
    /// What was found last, whole until it is laid out.
    found: Mutex<Option<Arc<kept::Found>>>,
}

impl Capability for Caches {
    const ROW: Row = Row {
        name: CACHES,
        asks: &[CACHES],
        grant: Some("caches = true"),
        without: "the error `denied`",
        can_be_made_up: false,
    };
    type Written = bool;
    type Grant = bool;
    type Kept = Exchanged<CacheUse, Answer>;

    fn asked(ask: &abi::Capability) -> Option<Asked<'_>> {
        matches!(ask, abi::Capability::Caches)
            .then(|| Asked::of_all(CACHES, "to keep directories for later executions"))
    }

    fn narrow(granted: &mut bool, asks: &Asks) {
        *granted &= asks.any(CACHES);
    }

    fn resolve(written: &bool, _: Place<'_>) -> Result<bool, String> {
        Ok(*written)
    }

    fn in_words(written: &bool, _: &Path) -> Vec<String> {
        written.then(|| "keep directories for later executions, and find them".to_owned()).into_iter().collect()
    }

    fn least(written: &mut bool, uses: &BTreeSet<Use>) {
        *written &= uses.iter().any(|used| used.capability == CACHES);
    }

    fn in_case(granted: &bool, _: &CaseFolder<'_>) -> bool {
        *granted
    }

    fn new(setup: &mut Setup<'_>) -> Self {
        Self {
            is_granted: setup.grants.caches,
            at: setup.caches.clone(),
            seam: Arc::clone(setup.seam),
            scratch: setup.scratch.to_owned(),
            saved: Mutex::default(),
            found: Mutex::default(),
        }
    }

    fn link(linker: &mut wasmtime::component::Linker<State>) -> wasmtime::Result<()> {
        bindings::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
    }
}

impl Caches {
    pub(crate) fn into_saved(self) -> Vec<SavedCache> {
        self.saved.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn invalid(&self, used: &CacheUse) -> Option<String> {
        let keys = || used.fallback_keys.iter().chain([&used.key]);
        let directory = Path::new(&used.directory);
        if used.key.is_empty()
            || keys().any(|key| key.len() > KEY_BYTES_MAX)
            || used.fallback_keys.len() > FALLBACKS_MAX
        {
            return Some(format!("a key has 1 to {KEY_BYTES_MAX} bytes, and at most {FALLBACKS_MAX} fallbacks"));
        }
        if keys().any(|key| matches!(self.seam.masked(key), std::borrow::Cow::Owned(_))) {
            return Some("a secret is in the key: make the key without it".to_owned());
        }
        let is_below =
            !used.directory.is_empty() && !used.directory.contains('\0') && stays_below(&self.scratch, directory);
        if !is_below || used.operation == Operation::Save && !self.scratch.join(directory).is_dir() {
            let shown = first_bytes(&used.directory, SHOWN_BYTES_MAX);
            return Some(format!(
                "there is no directory {shown:?} below /{SCRATCH}, without `..` and links on the way"
            ));
        }
        None
    }

    fn find(&self, used: &CacheUse) -> Result<Option<FoundCache>, String> {
        let CacheUse { key, fallback_keys, .. } = used;
        match &self.at {
            CachesAt::Nowhere => Ok(None),
            CachesAt::Kept(caches, space) => {
                let found = caches.find(space, key, fallback_keys).map_err(|error| error.to_string())?;
                self.found.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&found);
                Ok(found.map(|found| FoundCache { key: found.key.clone(), digest: found.digest }))
            }
            CachesAt::Given(given) => {
                let of = |is: &dyn Fn(&str) -> bool| given.iter().find(|(key, _)| is(key));
                let fallback = || fallback_keys.iter().find_map(|prefix| of(&|key| key.starts_with(prefix.as_str())));
                let found = of(&|it| it == key).or_else(fallback);
                Ok(found.map(|(key, input)| FoundCache { key: key.clone(), digest: input.tree.digest() }))
            }
        }
    }

    /// The files of what was found, and what keeps them whole.
    fn files(&self, found: &FoundCache) -> Option<(Input, Option<Arc<kept::Found>>)> {
        if let CachesAt::Given(given) = &self.at {
            let same = |(_, input): &&(String, Input)| input.tree.digest() == found.digest;
            return given.iter().find(same).map(|(_, input)| (input.clone(), None));
        }
        let held = self.found.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let (name, tree, blobs) = (held.key.clone(), Arc::clone(&held.tree), Arc::clone(&held.blobs));
        Some((Input { name, tree, blobs }, Some(held)))
    }
}

impl Exchange for Caches {
    type Request = CacheUse;
    type Response = Answer;

    fn operation(used: &CacheUse) -> &'static str {
        match used.operation {
            Operation::Restore => "restore",
            Operation::Save => "save",
        }
    }

    fn journaled(used: &CacheUse, answer: Option<&Answer>) -> (String, u64) {
        match answer.and_then(|answer| answer.found.as_ref()) {
            Some(FoundCache { key, digest }) => (format!("{} as {key} ({digest})", used.key), 0),
            None => (first_bytes(&used.key, KEY_BYTES_MAX).to_owned(), 0),
        }
    }

    fn check(&self, used: &CacheUse) -> Result<(), Denied> {
        if self.is_granted {
            return Ok(());
        }
        Err(Denied {
            tried: used.to_string(),
            grant: "caches = true".to_owned(),
            is_asked: self.seam.asks().any(CACHES),
        })
    }

    fn exchange(&self, used: &CacheUse) -> Result<Answer, HostCallOutcome> {
        if let Some(problem) = self.invalid(used) {
            return Err(HostCallOutcome::Failed(problem));
        }
        if used.operation == Operation::Restore {
            return Ok(Answer { found: self.find(used).map_err(HostCallOutcome::Failed)? });
        }
        let mut saved = self.saved.lock().unwrap_or_else(PoisonError::into_inner);
        if saved.len() == SAVED_MAX {
            return Err(HostCallOutcome::Limit(format!("a call keeps at most {SAVED_MAX} caches")));
        }
        saved.push(SavedCache { key: used.key.clone(), directory: self.scratch.join(&used.directory) });
        Ok(Answer { found: None })
    }
}

type Said<T> = wasmtime::Result<Result<T, bindings::Error>>;

impl State {
    fn cache(&self, used: CacheUse) -> Result<Answer, bindings::Error> {
        self.seam.attempt(&self.held.caches, used).map_err(|outcome| match outcome {
            HostCallOutcome::Denied(text) => bindings::Error::Denied(text),
            outcome => bindings::Error::Invalid(outcome.text().unwrap_or_default().to_owned()),
        })
    }
}

impl bindings::Host for State {
    async fn is_granted(&mut self) -> wasmtime::Result<bool> {
        Ok(self.held.caches.is_granted)
    }

    async fn restore(
        &mut self,
        key: String,
        fallback_keys: Vec<String>,
        directory: String,
    ) -> Said<Option<bindings::Found>> {
        let used = CacheUse { operation: Operation::Restore, key, fallback_keys, directory: directory.clone() };
        let found = match self.cache(used) {
            Ok(Answer { found: Some(found) }) => found,
            Ok(Answer { found: None }) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error)),
        };
        let Some((input, held)) = self.held.caches.files(&found) else {
            return Ok(Err(bindings::Error::Io(format!("the files of the cache `{}` are not here", found.key))));
        };
        let laid_out = self.files.lay_out(input, format!("/{SCRATCH}/{directory}")).await?;
        drop(held);
        let FoundCache { key, digest } = found;
        Ok(match laid_out {
            Ok(copied) => {
                let line = format!(
                    "The cache `{key}` (sha256:{digest}) is used: {} files in /{SCRATCH}/{directory}",
                    copied.files
                );
                self.seam.log(Level::Info, &line);
                Ok(Some(bindings::Found { key, digest: digest.to_string() }))
            }
            Err(error) => Err(bindings::Error::Io(format!("the cache `{key}` cannot be laid out: {error}"))),
        })
    }

    async fn save(&mut self, key: String, directory: String) -> Said<()> {
        let used = CacheUse { operation: Operation::Save, key, fallback_keys: Vec::new(), directory };
        Ok(self.cache(used).map(drop))
    }
}
