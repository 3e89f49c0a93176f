//! The plugins of this host: those that come with it, and those that its accounts installed.
//!
//! Owns what is loaded, and the catalogue of each account (`catalogue`). Must not know pipelines that run, or how a plugin is
//! called.

mod catalogue;
mod workers;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use bytes::Bytes;
use pipewright_artifacts::files::Blobs;
use pipewright_base::Digest;
use pipewright_base::fair::Permits;
use pipewright_pipeline::action_type::{ActionTypeInfo, ArtifactCount, Property, PropertyKind};
use pipewright_pipeline::declaration::{ActionCategory, ActionOwner, ActionTypeId};
use pipewright_sandbox::abi::{ActionType, Capability, Category, Description, Owner, SettingKind, TypeId};
use pipewright_sandbox::binary::{Interfaces, has_debug_information};
use pipewright_sandbox::capabilities::asked;
use pipewright_sandbox::{LoadError, Plugin, Sandbox, Symbols};

use catalogue::Known;
pub use catalogue::{Binding, Catalogue, Notice, NoticeKind, Noticed, Offer, Provenance, Served, Sharing};
pub use workers::WorkerType;

/// Larger files are refused before they are read into memory; a Python component has about 18 MB.
pub(crate) const COMPONENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Of the file beside a component that has its debug information.
pub const DEBUG_EXTENSION: &str = "debug.wasm";

/// Every one of these is the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    #[error("plugin {path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("plugin {path}: larger than {COMPONENT_BYTES_MAX} bytes")]
    TooLarge { path: PathBuf },
    #[error("plugin {name}: {source}")]
    Refused { name: String, source: LoadError },
    #[error("{first} and {second} both offer {id}; leave one of them out")]
    Conflict { id: ActionTypeId, first: String, second: String },
    #[error("the components cannot be kept in the data directory: {0}")]
    Keep(std::io::Error),
    #[error("this binary was built without its plugins (BUNDLE_PLUGINS=skip); build it again without that")]
    NoBundle,
}

/// Components that are loaded at once, and of one account: the sandbox compiles no more of them side by side. Stops an account
/// with many plugins from being waited for by the others.
const LOADS_AT_ONCE_MAX: usize = 2;
const LOADS_OF_ACCOUNT_MAX: usize = 1;
/// Plugins that are kept in memory; others are loaded again when they are needed. Stops a host of many plugins, and one whose
/// plugins are often upgraded, from holding all that it ever ran.
const LOADED_MAX: usize = 128;

struct Loading(Permits);

impl Default for Loading {
    fn default() -> Self {
        Self(Permits::new(LOADS_AT_ONCE_MAX, LOADS_OF_ACCOUNT_MAX))
    }
}

/// The plugins that were used last, by the digests of their components.
struct Recent<P = Plugin> {
    /// Each with the number of its last use.
    plugins: HashMap<String, (P, u64)>,
    uses: u64,
}

impl<P> Default for Recent<P> {
    fn default() -> Self {
        Self { plugins: HashMap::new(), uses: 0 }
    }
}

impl<P: Clone> Recent<P> {
    fn get(&mut self, digest: &str) -> Option<P> {
        self.uses += 1;
        let (plugin, used) = self.plugins.get_mut(digest)?;
        *used = self.uses;
        Some(plugin.clone())
    }

    fn put(&mut self, digest: &str, plugin: P) {
        self.uses += 1;
        self.plugins.insert(digest.to_owned(), (plugin, self.uses));
        if self.plugins.len() > LOADED_MAX {
            let oldest = self.plugins.iter().min_by_key(|(_, (_, used))| *used).map(|(digest, _)| digest.clone());
            if let Some(oldest) = oldest {
                self.plugins.remove(&oldest);
            }
        }
    }
}

/// The plugins that were loaded.
#[derive(Default)]
pub struct Plugins {
    loaded: Mutex<Recent>,
    known: RwLock<Known>,
    /// Each account's turn to have its components compiled.
    loading: Loading,
    /// Every component that was ever loaded here: an execution that waits may have pinned one that is bound no more.
    kept: Option<Arc<dyn Blobs>>,
    /// The files that lie beside components with their debug information, by the digests of the components.
    debug_files: RwLock<HashMap<String, PathBuf>>,
}

impl Plugins {
    /// The bundle, and the files that the operator named: such a file may take over a type that the bundle offers, for the
    /// operator chose it; two files may not offer the same.
    pub async fn load(sandbox: &Sandbox, files: &[PathBuf], kept: Option<Arc<dyn Blobs>>) -> Result<Self, PluginError> {
        if pipewright_bundle::PLUGINS.is_empty() {
            return Err(PluginError::NoBundle);
        }
        let plugins = Self { kept, ..Self::default() };
        let bundle = pipewright_bundle::PLUGINS.iter();
        let bundle = bundle.map(|(name, component)| ((*name).to_owned(), component.to_vec())).collect();
        let mut host = served(plugins.load_all(sandbox, bundle).await?.iter().map(about))?;
        let read = |path: &PathBuf| Ok((path.display().to_string(), plugins.read(path)?));
        let files = files.iter().map(read).collect::<Result<_, PluginError>>()?;
        host.extend(served(plugins.load_all(sandbox, files).await?.iter().map(about))?);
        plugins.known.write().expect("no panic while held").host = host;
        Ok(plugins)
    }

    /// The same; a file that cannot be used is left out and told, and keeps no other from being loaded.
    pub async fn load_usable(
        sandbox: &Sandbox,
        files: &[PathBuf],
        kept: Option<Arc<dyn Blobs>>,
    ) -> Result<(Self, Vec<PluginError>), PluginError> {
        let plugins = Self::load(sandbox, &[], kept).await?;
        let load = async |path: &PathBuf| {
            let component = (path.display().to_string(), plugins.read(path)?);
            plugins.load_all(sandbox, vec![component]).await
        };
        let (host, faults) = usable(futures::future::join_all(files.iter().map(load)).await);
        plugins.known.write().expect("no panic while held").host.extend(host);
        Ok((plugins, faults))
    }

    /// Puts what an account has installed now in the place of what it had before: components, each with the name that errors tell.
    /// In that account it may take over a type that the host has. Command-line tools are among them. One that cannot be used is left out, and given back as a fault.
    pub async fn load_installed(
        &self,
        sandbox: &Sandbox,
        account: u64,
        mut components: Vec<(String, Vec<u8>)>,
    ) -> Vec<PluginError> {
        let is_tool = |(_, component): &mut (String, Vec<u8>)| Interfaces::of(component).is_ok_and(|it| it.is_tool());
        let tools = components.extract_if(.., is_tool).collect();
        let (tools, unkept) = self.keep_tools(tools);
        let mut loaded = Vec::with_capacity(components.len());
        for component in components {
            let _turn = self.loading.0.acquire(account).await;
            loaded.push(self.load_all(sandbox, vec![component]).await);
        }
        let (installed, mut faults) = usable(loaded);
        faults.extend(unkept);
        self.change(|known| {
            known.installed.insert(account, installed);
            known.tools.insert(account, tools);
        });
        faults
    }

    /// Keeps the components of tools for whoever runs them, each by the name of its package. They are compiled when they are first run.
    fn keep_tools(&self, tools: Vec<(String, Vec<u8>)>) -> (BTreeMap<String, Digest>, Option<PluginError>) {
        let Some(kept) = self.kept.as_ref().filter(|_| !tools.is_empty()) else { return Default::default() };
        let put = |(label, component): (String, Vec<u8>)| {
            kept.put(&component).map(|digest| (label.replace(' ', "@"), digest))
        };
        let put = tools.into_iter().map(put).collect::<std::io::Result<BTreeMap<_, _>>>();
        match put.and_then(|tools| kept.sync().map(|()| tools)) {
            Ok(tools) => (tools, None),
            Err(error) => (BTreeMap::new(), Some(PluginError::Keep(error))),
        }
    }

    /// The command-line tools that an account can use now, by the names and versions of their packages, as `team/name@1.2.3`.
    pub fn tools(&self, account: u64) -> BTreeMap<String, Digest> {
        self.known.read().expect("no panic while held").tools(account)
    }

    /// Where the components are; none where nothing is kept.
    pub fn kept(&self) -> Option<&Arc<dyn Blobs>> {
        self.kept.as_ref()
    }

    /// Plugins that are only described, each with the digest of its component: for a host where something else runs the actions.
    pub fn described(host: impl IntoIterator<Item = (Description, String)>) -> Result<Self, PluginError> {
        let plugins = Self::default();
        plugins.known.write().expect("no panic while held").host = served(host)?;
        Ok(plugins)
    }

    /// The same for what an account has installed.
    pub fn know_installed(
        &self,
        account: u64,
        plugins: impl IntoIterator<Item = (Description, String)>,
    ) -> Result<(), PluginError> {
        let installed = served(plugins)?;
        self.change(|known| drop(known.installed.insert(account, installed)));
        Ok(())
    }

    /// Loads components side by side, each with the name that errors tell.
    async fn load_all(
        &self,
        sandbox: &Sandbox,
        components: Vec<(String, Vec<u8>)>,
    ) -> Result<Vec<Plugin>, PluginError> {
        if let Some(kept) = &self.kept {
            let mut is_new = false;
            for (_, component) in &components {
                is_new |= !kept.contains(&Digest::of(component));
                // Also one that is there: it was kept now, and is not collected.
                kept.put(component).map_err(PluginError::Keep)?;
            }
            if is_new {
                kept.sync().map_err(PluginError::Keep)?;
            }
        }
        let load = async |(name, component): (String, Vec<u8>)| {
            self.loaded_from(sandbox, component.into()).await.map_err(|source| PluginError::Refused { name, source })
        };
        let plugins = futures::future::try_join_all(components.into_iter().map(load)).await?;
        let mut loaded = self.loaded();
        plugins.iter().for_each(|plugin| loaded.put(plugin.digest(), plugin.clone()));
        Ok(plugins)
    }

    /// What accounts say of their plugins counts from now on.
    pub fn share(&self, change: impl FnOnce(&mut Sharing)) {
        self.change(|known| change(&mut known.sharing));
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.write().expect("no panic while held");
        change(&mut known);
        known.made.clear();
    }

    /// The plugin that serves an action type in an account today.
    pub async fn bound(&self, sandbox: &Sandbox, account: u64, id: &ActionTypeId) -> Option<Plugin> {
        let catalogue = self.catalogue(account);
        self.load_pinned(sandbox, &catalogue.bound(id)?.digest).await
    }

    /// What an account can use now.
    pub fn catalogue(&self, account: u64) -> Arc<Catalogue> {
        if let Some(made) = self.known.read().expect("no panic while held").made.get(&account) {
            return Arc::clone(made);
        }
        let mut known = self.known.write().expect("no panic while held");
        let catalogue = Arc::new(known.catalogue(account));
        known.made.insert(account, Arc::clone(&catalogue));
        catalogue
    }

    /// What accounts say of their plugins.
    pub fn sharing(&self) -> Sharing {
        self.known.read().expect("no panic while held").sharing.clone()
    }

    /// The plugin that an execution pinned, loaded again if it was loaded here before. None where nothing of this digest was kept.
    pub async fn load_pinned(&self, sandbox: &Sandbox, digest: &str) -> Option<Plugin> {
        if let Some(plugin) = self.loaded().get(digest) {
            return Some(plugin);
        }
        // In a box: it is large, and seldom needed.
        let plugin = Box::pin(self.loaded_from(sandbox, self.component(&digest.parse().ok()?)?.to_vec().into())).await;
        let plugin = plugin.inspect_err(|error| tracing::error!("plugin {digest}: {error}")).ok()?;
        self.loaded().put(digest, plugin.clone());
        Some(plugin)
    }

    /// Reads the file of a component, and knows the one beside it that has its debug information.
    fn read(&self, path: &Path) -> Result<Vec<u8>, PluginError> {
        let component = read(path)?;
        let beside = path.with_extension(DEBUG_EXTENSION);
        if beside.is_file() {
            let mut debug_files = self.debug_files.write().expect("no panic while held");
            debug_files.insert(Digest::of(&component).to_string(), beside);
        }
        Ok(component)
    }

    /// A component, whose crashes are told with names and places where its debug information lies beside it or in it.
    async fn loaded_from(&self, sandbox: &Sandbox, component: Arc<[u8]>) -> Result<Plugin, LoadError> {
        let plugin = sandbox.load(Arc::clone(&component)).await?;
        let beside = self.debug_files.read().expect("no panic while held").get(plugin.digest()).cloned();
        if let Some(file) = beside {
            return Ok(plugin.with_symbols(Symbols::new(move || read(&file).ok())));
        }
        let kept = self.kept.clone().filter(|_| has_debug_information(&component));
        let Some((kept, digest)) = kept.zip(plugin.digest().parse().ok()) else { return Ok(plugin) };
        Ok(plugin.with_symbols(Symbols::new(move || kept.read(&digest, COMPONENT_BYTES_MAX).ok())))
    }

    fn loaded(&self) -> MutexGuard<'_, Recent> {
        self.loaded.lock().expect("no panic while held")
    }

    /// The components that may go once no execution pins them: kept before a time, in milliseconds since 1970, and neither bound
    /// nor in memory, so that nothing that starts now can take one.
    pub fn candidates(&self, before: u64) -> std::io::Result<Vec<Digest>> {
        let Some(kept) = &self.kept else { return Ok(Vec::new()) };
        let mut candidates = kept.stored_before(before)?;
        let (known, loaded) = (self.known.read().expect("no panic while held"), self.loaded());
        let bound: HashSet<&str> = known.served().map(|served| served.digest.as_str()).collect();
        let tools: HashSet<&Digest> = known.tools.values().flat_map(BTreeMap::values).collect();
        candidates.retain(|digest| {
            let is_tool = tools.contains(digest);
            let digest = digest.to_string();
            !is_tool && !bound.contains(digest.as_str()) && !loaded.plugins.contains_key(&digest)
        });
        Ok(candidates)
    }

    /// Removes components that nothing needs, unless they were kept again since; says how many went and their bytes.
    pub fn remove(&self, unneeded: Vec<Digest>, before: u64) -> std::io::Result<(u64, u64)> {
        self.kept.as_ref().map_or(Ok((0, 0)), |kept| kept.remove_unused(&unneeded, before))
    }

    /// The component of this digest, if it was ever loaded here.
    pub fn component(&self, digest: &Digest) -> Option<Bytes> {
        if let Some(kept) = &self.kept {
            return kept.read(digest, COMPONENT_BYTES_MAX).ok().map(Bytes::from);
        }
        let bundled = pipewright_bundle::PLUGINS.iter().find(|(_, component)| Digest::of(component) == *digest);
        bundled.map(|(_, component)| Bytes::from_static(component))
    }
}

fn about(plugin: &Plugin) -> (Description, String) {
    (plugin.description().clone(), plugin.digest().to_owned())
}

/// The action types that plugins offer. Which of two serves one is not to depend on chance.
fn served(
    plugins: impl IntoIterator<Item = (Description, String)>,
) -> Result<BTreeMap<ActionTypeId, Served>, PluginError> {
    let mut served: BTreeMap<ActionTypeId, Served> = BTreeMap::new();
    for (about, digest) in plugins {
        let about = Arc::new(about);
        for info in about.action_types.iter().map(info) {
            let id = info.id.clone();
            let other = served.insert(id.clone(), Served { about: Arc::clone(&about), digest: digest.clone(), info });
            if let Some(other) = other.filter(|other| other.digest != digest) {
                return Err(PluginError::Conflict { id, first: other.about.name.clone(), second: about.name.clone() });
            }
        }
    }
    Ok(served)
}

/// The action types of those that were loaded, but for what cannot stand beside what came before it; and what is left out, and why.
fn usable(loaded: Vec<Result<Vec<Plugin>, PluginError>>) -> (BTreeMap<ActionTypeId, Served>, Vec<PluginError>) {
    let (mut usable, mut types, mut faults) = (Vec::<Plugin>::new(), BTreeMap::new(), Vec::new());
    for loaded in loaded {
        let more = loaded.and_then(|plugins| {
            let more = [&usable[..], &plugins[..]].concat();
            served(more.iter().map(about)).map(|types| (more, types))
        });
        match more {
            Ok(more) => (usable, types) = more,
            Err(fault) => faults.push(fault),
        }
    }
    (types, faults)
}

/// Reads a component's file.
pub fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    let unreadable = |source| PluginError::Unreadable { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(unreadable)?;
    // Whoever opens a pipe waits for somebody to write.
    if !metadata.is_file() {
        return Err(unreadable(std::io::Error::other("it is no regular file")));
    }
    if metadata.len() > COMPONENT_BYTES_MAX {
        return Err(PluginError::TooLarge { path: path.to_owned() });
    }
    std::fs::read(path).map_err(unreadable)
}

/// What a plugin says of one of its types, in the core's words.
pub fn described_type(plugin: &Description, id: &ActionTypeId) -> Option<ActionTypeInfo> {
    plugin.action_types.iter().find(|offered| type_id(&offered.id) == *id).map(info)
}

/// An offered type in the core's words.
fn info(offered: &ActionType) -> ActionTypeInfo {
    let count = |count: pipewright_sandbox::abi::Count| ArtifactCount { min: count.min, max: count.max };
    let properties = offered.settings.iter().map(|setting| Property {
        name: setting.name.clone(),
        kind: match setting.kind {
            SettingKind::Text => PropertyKind::String,
            SettingKind::Number => PropertyKind::Number,
            SettingKind::Boolean => PropertyKind::Boolean,
            SettingKind::List => PropertyKind::List,
        },
        required: setting.required,
        secret: setting.secret,
        key: false,
        queryable: false,
        default: setting.default.clone(),
        choices: setting.choices.clone(),
        documentation: setting.documentation.clone(),
    });
    ActionTypeInfo {
        id: type_id(&offered.id),
        inputs: count(offered.inputs),
        outputs: count(offered.outputs),
        properties: properties.collect(),
        documentation: offered.documentation.clone(),
    }
}

fn type_id(id: &TypeId) -> ActionTypeId {
    ActionTypeId {
        category: match id.category {
            Category::Source => ActionCategory::Source,
            Category::Build => ActionCategory::Build,
            Category::Test => ActionCategory::Test,
            Category::Deploy => ActionCategory::Deploy,
            Category::Approval => ActionCategory::Approval,
            Category::Invoke => ActionCategory::Invoke,
            Category::Compute => ActionCategory::Compute,
            Category::Rule => ActionCategory::Rule,
        },
        owner: match id.owner {
            Owner::Aws => ActionOwner::AWS,
            Owner::ThirdParty => ActionOwner::ThirdParty,
            Owner::Custom => ActionOwner::Custom,
        },
        provider: id.provider.clone(),
        version: id.version.clone(),
    }
}

/// A type's id as a case writes it.
pub fn label(id: &TypeId) -> String {
    type_id(id).to_string()
}

/// What a plugin asks for, for whoever consents.
pub fn ask_in_words(capability: &Capability, about: &Description) -> String {
    asked(capability).in_words(&about.action_types)
}

/// The same id in the ABI's words.
pub fn abi_type_id(id: &ActionTypeId) -> TypeId {
    TypeId {
        category: match id.category {
            ActionCategory::Source => Category::Source,
            ActionCategory::Build => Category::Build,
            ActionCategory::Test => Category::Test,
            ActionCategory::Deploy => Category::Deploy,
            ActionCategory::Approval => Category::Approval,
            ActionCategory::Invoke => Category::Invoke,
            ActionCategory::Compute => Category::Compute,
            ActionCategory::Rule => Category::Rule,
        },
        owner: match id.owner {
            ActionOwner::AWS => Owner::Aws,
            ActionOwner::ThirdParty => Owner::ThirdParty,
            ActionOwner::Custom => Owner::Custom,
        },
        provider: id.provider.clone(),
        version: id.version.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_loaded_plugins_those_used_last_stay() {
        let mut recent = Recent::<usize>::default();
        for number in 0..LOADED_MAX {
            recent.put(&number.to_string(), number);
        }
        assert_eq!(recent.get("0"), Some(0));
        recent.put("one more", 1000);
        let is_there = |digest: &str| recent.plugins.contains_key(digest);
        assert_eq!(
            (is_there("0"), is_there("1"), is_there("one more"), recent.plugins.len()),
            (true, false, true, LOADED_MAX)
        );
    }
}
