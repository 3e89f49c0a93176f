//! What the manifest and the repository of a plugin's folder tell of its component.

use std::path::Path;

use pipewright_sandbox::binary::Metadata;
use serde::Deserialize;
use tokio::process::Command as Process;

/// What manifests say of a plugin, by the names that they use.
#[derive(Default, Deserialize)]
struct Manifest {
    description: Option<String>,
    version: Option<String>,
    license: Option<toml::Value>,
    repository: Option<toml::Value>,
}

#[derive(Deserialize)]
struct TomlManifest {
    /// Cargo's.
    package: Option<Manifest>,
    /// Python's.
    project: Option<Manifest>,
}

/// What the manifest and the repository tell of a component's source. What they do not say is left out.
pub(super) async fn of(folder: &Path) -> Metadata {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let manifest = ["Cargo.toml", "pyproject.toml"].iter().find_map(|name| {
        let manifest: TomlManifest = toml::from_str(&read(name)?).ok()?;
        manifest.package.or(manifest.project)
    });
    let manifest = manifest.or_else(|| serde_json::from_str(&read("package.json")?).ok()).unwrap_or_default();
    let text = |value: Option<toml::Value>| value.and_then(|value| value.as_str().map(str::to_owned));
    Metadata {
        description: manifest.description,
        version: manifest.version,
        licenses: text(manifest.license),
        source: text(manifest.repository),
        revision: revision(folder).await,
    }
}

/// The commit that is checked out, and whether the folder is as it was committed.
async fn revision(folder: &Path) -> Option<String> {
    let git = async |arguments: &[&str]| {
        let output = Process::new("git").arg("-C").arg(folder).args(arguments).output().await.ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--verify", "HEAD"]).await?;
    let changes = git(&["status", "--porcelain", "--", "."]).await?;
    Some(if changes.is_empty() { commit } else { format!("{commit}-modified") })
}
