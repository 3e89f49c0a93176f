//! The plugins of this host, and which of them serves which action type.
//!
//! Owns the bindings. Must not know pipelines that run, or how a plugin is called.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::RwLock;

use bytes::Bytes;
use pipewright_pipeline::action_type::{ActionTypeInfo, ActionTypes, ArtifactCount, Property, PropertyKind};
use pipewright_pipeline::declaration::{ActionCategory, ActionOwner, ActionTypeId};
use pipewright_sandbox::abi::{ActionType, Capability, Category, Owner, SettingKind, TypeId};
use pipewright_sandbox::files::{BlobDir, Digest};
use pipewright_sandbox::{LoadError, Plugin, Sandbox};

use crate::packages::{Installed, PackageError};

/// Larger files are refused before they are read into memory; a Python component has about 18 MB.
pub(crate) const COMPONENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

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
    #[error(transparent)]
    Installed(#[from] PackageError),
    #[error("this binary was built without its plugins (BUNDLE_PLUGINS=skip); build it again without that")]
    NoBundle,
}

/// The plugins that were loaded.
#[derive(Default)]
pub struct Plugins {
    by_digest: RwLock<HashMap<String, Plugin>>,
    bindings: BTreeMap<ActionTypeId, Binding>,
    /// Every component that was ever loaded here: an execution that waits may have pinned one that is bound no more.
    kept: Option<BlobDir>,
}

/// Which plugin serves an action type.
struct Binding {
    plugin: Plugin,
    info: ActionTypeInfo,
    bundled: bool,
}

impl Plugins {
    /// The bundle, and the files that the operator named: such a file may take over a type that the bundle offers, for the
    /// operator chose it; two files may not offer the same.
    pub async fn load(sandbox: &Sandbox, files: &[PathBuf], kept: Option<BlobDir>) -> Result<Self, PluginError> {
        if pipewright_bundle::PLUGINS.is_empty() {
            return Err(PluginError::NoBundle);
        }
        let load = async |name: &str, bytes: &[u8]| {
            sandbox.load(bytes.into()).await.map_err(|source| PluginError::Refused { name: name.to_owned(), source })
        };
        let mut plugins = Self { kept, ..Self::default() };
        let bundled = pipewright_bundle::PLUGINS.iter().map(|(name, bytes)| load(name, bytes));
        for (plugin, (_, bytes)) in
            futures::future::try_join_all(bundled).await?.into_iter().zip(pipewright_bundle::PLUGINS)
        {
            plugins.keep(bytes)?;
            plugins.add(plugin, true)?;
        }
        for path in files {
            let bytes = read(path)?;
            plugins.keep(&bytes)?;
            plugins.add(load(&path.display().to_string(), &bytes).await?, false)?;
        }
        Ok(plugins)
    }

    /// Adds the packages that are installed. Like a file that the operator named, one may take over a type that the bundle
    /// offers. What was installed later counts at the next start.
    pub async fn add_installed(&mut self, sandbox: &Sandbox, installed: &Installed) -> Result<(), PluginError> {
        for entry in installed.active() {
            let component = installed.component(entry)?;
            self.keep(&component)?;
            let plugin = sandbox.load(component.into()).await;
            self.add(plugin.map_err(|source| PluginError::Refused { name: entry.label(), source })?, false)?;
        }
        Ok(())
    }

    fn keep(&self, component: &[u8]) -> Result<(), PluginError> {
        let Some(kept) = &self.kept else { return Ok(()) };
        kept.put(component).and_then(|_| kept.sync()).map_err(PluginError::Keep)
    }

    fn add(&mut self, plugin: Plugin, bundled: bool) -> Result<(), PluginError> {
        for offered in &plugin.description().action_types {
            let Some(info) = info(offered) else { continue };
            let binding = Binding { plugin: plugin.clone(), info: info.clone(), bundled };
            match self.bindings.get(&info.id) {
                Some(bound) if bound.bundled == bundled && bound.plugin.digest() != plugin.digest() => {
                    return Err(PluginError::Conflict {
                        id: info.id,
                        first: bound.plugin.description().name.clone(),
                        second: plugin.description().name.clone(),
                    });
                }
                _ => self.bindings.insert(info.id, binding),
            };
        }
        self.by_digest.write().expect("no panic while held").insert(plugin.digest().to_owned(), plugin);
        Ok(())
    }

    /// The plugin that serves an action type today.
    pub fn bound(&self, id: &ActionTypeId) -> Option<&Plugin> {
        self.bindings.get(id).map(|binding| &binding.plugin)
    }

    /// The plugin that an execution pinned, if it is loaded.
    pub fn pinned(&self, digest: &str) -> Option<Plugin> {
        self.by_digest.read().expect("no panic while held").get(digest).cloned()
    }

    /// The same, loaded again if it was loaded here before. None where nothing of this digest was kept.
    pub async fn load_pinned(&self, sandbox: &Sandbox, digest: &str) -> Option<Plugin> {
        if let Some(plugin) = self.pinned(digest) {
            return Some(plugin);
        }
        let bytes = self.kept.as_ref()?.read(&digest.parse().ok()?, COMPONENT_BYTES_MAX).ok()?;
        let plugin = sandbox.load(bytes.into()).await;
        let plugin = plugin.inspect_err(|error| tracing::error!("plugin {digest}: {error}")).ok()?;
        self.by_digest.write().expect("no panic while held").insert(digest.to_owned(), plugin.clone());
        Some(plugin)
    }

    /// The component of this digest, if it was ever loaded here.
    pub fn component(&self, digest: &Digest) -> Option<Bytes> {
        if let Some(kept) = &self.kept {
            return kept.read(digest, COMPONENT_BYTES_MAX).ok().map(Bytes::from);
        }
        let bundled = pipewright_bundle::PLUGINS.iter().find(|(_, component)| Digest::of(component) == *digest);
        bundled.map(|(_, component)| Bytes::from_static(component))
    }

    /// What is known of a bound type.
    pub fn info(&self, id: &ActionTypeId) -> Option<&ActionTypeInfo> {
        self.bindings.get(id).map(|binding| &binding.info)
    }

    /// What validation knows of the bound types.
    pub fn action_types(&self) -> ActionTypes {
        self.bindings.iter().map(|(id, binding)| (id.clone(), binding.info.clone())).collect()
    }
}

/// Reads a component's file.
pub fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    let unreadable = |source| PluginError::Unreadable { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(unreadable)?.len() > COMPONENT_BYTES_MAX {
        return Err(PluginError::TooLarge { path: path.to_owned() });
    }
    std::fs::read(path).map_err(unreadable)
}

/// An offered type in the core's words; none for a stage rule, which is no action type.
fn info(offered: &ActionType) -> Option<ActionTypeInfo> {
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
        default: setting.default.clone(),
        choices: setting.choices.clone(),
    });
    Some(ActionTypeInfo {
        id: type_id(&offered.id)?,
        inputs: count(offered.inputs),
        outputs: count(offered.outputs),
        properties: properties.collect(),
    })
}

fn type_id(id: &TypeId) -> Option<ActionTypeId> {
    Some(ActionTypeId {
        category: match id.category {
            Category::Source => ActionCategory::Source,
            Category::Build => ActionCategory::Build,
            Category::Test => ActionCategory::Test,
            Category::Deploy => ActionCategory::Deploy,
            Category::Approval => ActionCategory::Approval,
            Category::Invoke => ActionCategory::Invoke,
            Category::Compute => ActionCategory::Compute,
            Category::Rule => return None,
        },
        owner: match id.owner {
            Owner::Aws => ActionOwner::AWS,
            Owner::ThirdParty => ActionOwner::ThirdParty,
            Owner::Custom => ActionOwner::Custom,
        },
        provider: id.provider.clone(),
        version: id.version.clone(),
    })
}

/// An action type's id as a case writes it.
pub fn label(id: &TypeId) -> String {
    let category = match id.category {
        Category::Source => "Source",
        Category::Build => "Build",
        Category::Test => "Test",
        Category::Deploy => "Deploy",
        Category::Approval => "Approval",
        Category::Invoke => "Invoke",
        Category::Compute => "Compute",
        Category::Rule => "Rule",
    };
    let owner = match id.owner {
        Owner::Aws => "AWS",
        Owner::ThirdParty => "ThirdParty",
        Owner::Custom => "Custom",
    };
    format!("{category}/{owner}/{}/{}", id.provider, id.version)
}

/// What a plugin asks for, in the words of a grants file where it has some.
pub fn ask_in_words(capability: &Capability) -> String {
    match capability {
        Capability::Http(host) if host == "*" => "requests to hosts that its settings name".to_owned(),
        Capability::Http(host) => format!("requests to {host}"),
        Capability::ReadDirectory(name) => format!("to read the directory {name}"),
        Capability::WriteDirectory(name) => format!("to write to the directory {name}"),
        Capability::Secret(name) => format!("to use the secret {name}"),
        Capability::RevealSecret(name) => format!("to read the secret {name} itself"),
        Capability::Clock => "the time of day".to_owned(),
        Capability::Randomness => "randomness".to_owned(),
    }
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
