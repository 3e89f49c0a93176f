//! One package: a component as an OCI image in the CNCF Wasm layout, and how one is read back.
//!
//! Owns what the manifest and the configuration say. The configuration also carries what the plugin says of itself, so that it can be
//! read without the code; other tools pass that over. Must not know where a package comes from, or who is trusted.
//!
//! The same component always makes the same bytes: two people who sign what they built sign one
//! package.

use std::collections::BTreeMap;

use pipewright_base::Digest;
use pipewright_sandbox::abi::Description;
use pipewright_sandbox::binary::{Interfaces, Metadata};
use pipewright_sandbox::{ABI_VERSION, Plugin};
use semver::Version;
use serde::{Deserialize, Serialize};

use super::oci::{self, Descriptor, Manifest};
use super::{PackageError, oci::text};

/// Stops a registry that answers with something endless, and a manifest that hides the one layer among a million.
pub const MANIFEST_BYTES_MAX: u64 = 256 * 1024;
/// The limits on what a plugin may say of itself keep well below.
pub const CONFIG_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// As for a component's file.
pub const COMPONENT_BYTES_MAX: u64 = crate::plugins::COMPONENT_BYTES_MAX;
/// A note about the source, such as an address or a commit.
const NOTE_BYTES_MAX: usize = 1024;

const ARCHITECTURE: &str = "wasm";
const SYSTEM: &str = "wasip2";
/// The layout wants a time, and a package that is built again must have the same bytes.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// A package as it is published.
pub struct Package {
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    pub component: Vec<u8>,
}

/// `application/vnd.wasm.config.v0+json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config {
    created: String,
    architecture: String,
    os: String,
    layer_digests: Vec<String>,
    component: Named,
    /// Ours; absent from components that are no plugins, such as tools.
    plugin: Option<About>,
}

/// The WIT interfaces by name, with their versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    exports: Vec<String>,
    imports: Vec<String>,
}

/// What the plugin says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct About {
    /// The version of `pipewright:plugin` in whose records the description is written.
    abi: String,
    description: serde_json::Value,
}

impl Package {
    /// Of a component as `pipewright plugin build` makes it, which says where its source is.
    ///
    /// # Errors
    /// It is no component, or says too much.
    pub fn new(plugin: &Plugin, component: Vec<u8>) -> Result<Self, PackageError> {
        let description = plugin.description();
        let about = serde_json::to_value(description).map_err(|error| PackageError::Host(error.into()))?;
        let about = About { abi: ABI_VERSION.to_owned(), description: about };
        Self::made(&description.name, &description.version, Some(about), component)
    }

    /// Of a command-line tool, which does not say what it is called.
    ///
    /// # Errors
    /// It is no component, or the name is none.
    pub fn of_tool(name: &str, version: &Version, component: Vec<u8>) -> Result<Self, PackageError> {
        if !is_name(name) {
            return Err(PackageError::Usage(format!("{name:?} is no name of a package; write it as team/name")));
        }
        Self::made(name, &version.to_string(), None, component)
    }

    fn made(name: &str, version: &str, plugin: Option<About>, component: Vec<u8>) -> Result<Self, PackageError> {
        let what = format!("{name} {version}");
        let metadata = Metadata::of(&component).map_err(|error| PackageError::invalid(&what, error))?;
        let Interfaces { imports, exports } =
            Interfaces::of(&component).map_err(|error| PackageError::invalid(&what, error))?;
        let code = Descriptor::of(oci::WASM, &component);
        let mut annotations = BTreeMap::new();
        annotations.insert(oci::TITLE.to_owned(), name.to_owned());
        annotations.insert(oci::VERSION.to_owned(), version.to_owned());
        for (key, note) in [(oci::SOURCE, metadata.source), (oci::REVISION, metadata.revision)] {
            let Some(note) = note else { continue };
            if note.len() > NOTE_BYTES_MAX {
                return Err(PackageError::invalid(what, format!("its {key} has more than {NOTE_BYTES_MAX} bytes")));
            }
            annotations.insert(key.to_owned(), note);
        }
        let config = Config {
            created: CREATED.to_owned(),
            architecture: ARCHITECTURE.to_owned(),
            os: SYSTEM.to_owned(),
            layer_digests: vec![text(&code.digest)],
            component: Named { exports, imports },
            plugin,
        };
        let config = json(&config)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: oci::MANIFEST.to_owned(),
            artifact_type: None,
            config: Descriptor::of(oci::WASM_CONFIG, &config),
            layers: vec![code],
            subject: None,
            annotations,
        };
        Ok(Self { manifest: json(&manifest)?, config, component })
    }

    /// The digest by which the package is pinned and signed.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
}

pub(super) fn json(document: &impl Serialize) -> Result<Vec<u8>, PackageError> {
    serde_json::to_vec(document).map_err(|error| PackageError::Host(error.into()))
}

/// What the manifest alone tells.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub bytes: Vec<u8>,
    pub digest: Digest,
    pub name: String,
    pub version: Version,
    pub source: Option<String>,
    pub revision: Option<String>,
    pub config: Descriptor,
    pub component: Descriptor,
}

impl Head {
    /// # Errors
    /// It is no manifest of a plugin package.
    pub fn read(what: &str, bytes: Vec<u8>) -> Result<Self, PackageError> {
        let invalid = |reason: String| PackageError::invalid(what, reason);
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|error| invalid(format!("its manifest: {error}")))?;
        if manifest.config.media_type != oci::WASM_CONFIG {
            let got = &manifest.config.media_type;
            return Err(invalid(format!("its configuration is {got:?}, not {}", oci::WASM_CONFIG)));
        }
        let [component] = &manifest.layers[..] else {
            return Err(invalid(format!("it has {} layers, not the one of a component", manifest.layers.len())));
        };
        if component.media_type != oci::WASM {
            return Err(invalid(format!("its layer is {:?}, not {}", component.media_type, oci::WASM)));
        }
        for (part, size, max) in [
            ("configuration", manifest.config.size, CONFIG_BYTES_MAX),
            ("component", component.size, COMPONENT_BYTES_MAX),
        ] {
            if size > max {
                return Err(invalid(format!("its {part} has {size} bytes; at most {max} are allowed")));
            }
        }
        let note = |key: &str| manifest.annotations.get(key).filter(|note| note.len() <= NOTE_BYTES_MAX).cloned();
        let needed = |key: &str| note(key).ok_or_else(|| invalid(format!("its manifest lacks the annotation {key}")));
        let name = needed(oci::TITLE)?;
        if !is_name(&name) {
            return Err(invalid(format!("its name is {name:?}, not like `team/name`")));
        }
        let version = needed(oci::VERSION)?;
        let version = version.parse().map_err(|error| invalid(format!("its version is {version:?}: {error}")))?;
        Ok(Self {
            digest: Digest::of(&bytes),
            name,
            version,
            source: note(oci::SOURCE),
            revision: note(oci::REVISION),
            config: manifest.config.clone(),
            component: component.clone(),
            bytes,
        })
    }

    /// `team/name 1.0.0`.
    pub fn label(&self) -> String {
        format!("{} {}", self.name, self.version)
    }

    /// Reads the configuration, whose digest was compared already, and compares it with the manifest.
    pub fn config(&self, bytes: &[u8]) -> Result<(Interfaces, Description), PackageError> {
        let invalid = |reason: String| PackageError::invalid(self.label(), reason);
        let config: Config =
            serde_json::from_slice(bytes).map_err(|error| invalid(format!("its configuration: {error}")))?;
        if config.architecture != ARCHITECTURE || config.os != SYSTEM {
            return Err(invalid(format!(
                "it is for {}/{}, not {SYSTEM}/{ARCHITECTURE}",
                config.os, config.architecture
            )));
        }
        let Named { exports, imports } = config.component;
        let interfaces = Interfaces { imports, exports };
        let description: Description = match config.plugin {
            Some(About { abi, description }) => serde_json::from_value(description).map_err(|error| {
                invalid(format!(
                    "it describes itself for version {abi} of the plugin ABI, and this host offers {ABI_VERSION}: {error}"
                ))
            })?,
            None if interfaces.is_tool() => self.of_tool(),
            None => return Err(invalid("it is a component, and neither a plugin nor a command-line tool".to_owned())),
        };
        let differs = |what: &str| {
            let reason = format!("{what} in its configuration is not that of its manifest");
            Err(PackageError::False { package: self.label(), reason })
        };
        if config.layer_digests != [text(&self.component.digest)] {
            return differs("the digest of the component");
        }
        if description.name != self.name {
            return differs("the name");
        }
        if description.version != self.version.to_string() {
            return differs("the version");
        }
        Ok((interfaces, description))
    }

    /// What is said of a tool: it offers nothing and asks for nothing.
    fn of_tool(&self) -> Description {
        Description {
            name: self.name.clone(),
            version: self.version.to_string(),
            documentation: String::new(),
            action_types: Vec::new(),
            asks: Vec::new(),
            may_run_again: true,
        }
    }
}

/// `team/name`, each part of a-z, 0-9 and `-`. The name becomes part of messages and of the policy's decisions before the
/// description is read, which has the same rule.
pub(super) fn is_name(text: &str) -> bool {
    let is_part = |part: &str| {
        (1..=64).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.split_once('/').is_some_and(|(team, name)| is_part(team) && is_part(name))
}
