//! Each kind of thing that a plugin may reach, in a file of its own, and the table of them all.
//!
//! Owns what a capability says of itself ([`Capability`]), what one is whose uses are a request and its response
//! ([`Exchange`]), and the table, of which grants, recordings and what a call holds are made. Must not know what any of
//! them does. What is the same for all of them is the seam's: the journal, masks, the words of a denial, and whether a use
//! reaches what is outside, is recorded, replayed, or answered by what somebody made up.

pub mod caches;
pub mod clock;
pub mod commands;
pub mod directories;
pub mod http;
pub mod randomness;
pub mod secrets;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmtime::component::Linker;
use wasmtime_wasi::WasiCtxBuilder;

use crate::abi;
use crate::grants::{CaseFolder, Place, Use};
use crate::limits::CallLimits;
use crate::outside::{Exchanged, Kept};
use crate::rights::{Asked, Asks};
use crate::seam::{Denied, HostCallOutcome, Seam};
use crate::state::State;
use pipewright_base::memory::HostMemory;

use self::caches::{Caches, CachesAt};
use self::clock::Clock;
use self::commands::{Commands, Ended};
use self::directories::Directories;
use self::http::{Connector, Http};
use self::randomness::Randomness;
use self::secrets::Secrets;

table::capabilities! {
    directories: Directories,
    http: Http,
    secrets: Secrets,
    clock: Clock,
    randomness: Randomness,
    commands: Commands,
    caches: Caches,
}

/// A row of the table, which tests and documentation walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// As host calls are journaled, grants files have it as a key, and recordings keep it.
    pub name: &'static str,
    /// The cases of the WIT variant `capability` by which a plugin asks for it; none for what every plugin has.
    pub asks: &'static [&'static str],
    /// An example of the grant in the words of a grants file.
    pub grant: Option<&'static str>,
    /// What a plugin sees without the grant.
    pub without: &'static str,
    /// A plugin's test cases may make its answers up. Not where what it reaches is part of the case itself.
    pub can_be_made_up: bool,
}

/// What every plugin has.
const ALWAYS: [Row; 5] = [always("log"), always("settings"), always("artifacts"), always("results"), always("tools")];

const fn always(name: &'static str) -> Row {
    Row { name, asks: &[], grant: None, without: "", can_be_made_up: false }
}

/// One kind of thing that a plugin may reach. A value of it is what one call holds.
pub trait Capability: Sized + Send + 'static {
    const ROW: Row;
    /// What stands for it in a grants file; the default grants nothing.
    type Written: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned;
    /// What that means on this host. It is serialized as recordings keep it: without secret values and places.
    type Grant: Grant;
    /// What a recording keeps of one use.
    type Kept: Kept;

    /// Whether this is an ask for it, and for what of it.
    fn asked(ask: &abi::Capability) -> Option<Asked<'_>>;

    /// Takes away what the plugin does not ask for.
    fn narrow(granted: &mut Self::Grant, asks: &Asks);

    /// What in it contradicts itself, so that it is refused when it is read: said with the keys of all that does.
    fn contradiction(_written: &Self::Written) -> Option<String> {
        None
    }

    /// What is wrong is said with its key.
    fn resolve(written: &Self::Written, place: Place<'_>) -> Result<Self::Grant, String>;

    /// For a person who is to consent: one line for each thing, after "may".
    fn in_words(written: &Self::Written, base: &Path) -> Vec<String>;

    /// What in it takes something from outside of the folder `base`: for test cases, to which nobody consented.
    fn leaving(_written: &Self::Written, _base: &Path) -> Vec<String> {
        Vec::new()
    }

    /// Takes away what was not used, by the journals of all that was.
    fn least(written: &mut Self::Written, uses: &BTreeSet<Use>);

    /// The same grant for a test case that is made of a recording.
    fn in_case(granted: &Self::Grant, folder: &CaseFolder<'_>) -> Self::Written;

    /// Gives a call what it was granted of it.
    fn new(setup: &mut Setup<'_>) -> Self;

    /// What guests call, if WASI does not have it.
    fn link(_linker: &mut Linker<State>) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// A capability whose uses are a request and its response each: [`Seam::exchange`] does the rest.
pub trait Exchange: Tabled + Capability<Kept = Exchanged<Self::Request, Self::Response>> {
    /// What a guest wants. Its words are for whoever compares two. Without secret values.
    type Request: Clone + Debug + PartialEq + Display + Serialize + DeserializeOwned;
    /// What it gets; what may not be kept of it is not serialized. Its fields are kept beside those of the request.
    type Response: Clone + Debug + Serialize + DeserializeOwned;
    /// Nothing is refused and nothing fails, so that recordings need not say how a use ended.
    const IS_SURE: bool = false;

    fn operation(request: &Self::Request) -> &'static str;

    /// The target and the bytes, for the journal.
    fn journaled(request: &Self::Request, response: Option<&Self::Response>) -> (String, u64);

    /// Whether it is granted: asked for, granted and named. Reaches nothing.
    fn check(&self, _request: &Self::Request) -> Result<(), Denied> {
        Ok(())
    }

    /// Asks what is outside, for what [`Exchange::check`] allows. May block: guests have threads of their own.
    fn exchange(&self, request: &Self::Request) -> Result<Self::Response, HostCallOutcome>;
}

/// What a grant may be.
pub trait Grant: Clone + Debug + Default + Serialize + DeserializeOwned {
    /// Nothing is granted.
    fn is_nothing(&self) -> bool;

    /// Recordings do not even say so.
    fn is_unsaid(&self) -> bool {
        self.is_nothing()
    }
}

/// Granted or not.
impl Grant for bool {
    fn is_nothing(&self) -> bool {
        !self
    }

    fn is_unsaid(&self) -> bool {
        false
    }
}

impl<T: Clone + Debug + Serialize + DeserializeOwned> Grant for Vec<T> {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Clone + Debug + Serialize + DeserializeOwned> Grant for Option<T> {
    fn is_nothing(&self) -> bool {
        self.is_none()
    }
}

/// By name.
impl<T: Clone + Debug + Serialize + DeserializeOwned> Grant for BTreeMap<String, T> {
    fn is_nothing(&self) -> bool {
        self.is_empty()
    }
}

/// What a call's capabilities are made of.
pub struct Setup<'a> {
    pub(crate) seam: &'a Arc<Seam>,
    pub(crate) grants: &'a Grants,
    pub(crate) limits: &'a CallLimits,
    pub(crate) memory: &'a Arc<HostMemory>,
    pub(crate) wasi: &'a mut WasiCtxBuilder,
    /// The time of day at which the call starts, in milliseconds since 1970-01-01 UTC; none: now.
    pub(crate) time: Option<u64>,
    pub(crate) idempotency_key: &'a str,
    pub(crate) connector: &'a Connector,
    /// The stand-ins that guests are given, and requests are sent with.
    pub(crate) secrets: Secrets,
    /// The host's directory that the guest sees as its scratch, once it is there.
    pub(crate) scratch: &'a Path,
    /// The declaration's variables that are secrets.
    pub(crate) secret_environment: Vec<abi::NamedValue>,
    /// How the program ended for which the call is made.
    pub(crate) ended: Option<Ended>,
    pub(crate) caches: CachesAt,
}
