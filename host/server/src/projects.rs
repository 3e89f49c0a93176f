//! Projects of CodeBuild that stand in the configuration: a folder of files, of which an account's record has what counts.
//!
//! Owns the reading of the folder. Must not know what a project's members mean, nor who builds it.

use std::collections::BTreeMap;
use std::path::Path;

use pipewright_base::{Cause, Mistake, Source};
use pipewright_pipeline::requests;
use pipewright_pipeline::requests::codebuild::{Members, UpdateProjectInput};
use pipewright_runner::builds::Project;
use pipewright_runner::host::Host;
use serde_json::Value;

/// A larger file is refused.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Brings an account's record in step with the folder; what clients made stays.
pub async fn configure(host: &Host, account: u64, folder: Option<&Path>) -> anyhow::Result<()> {
    let mut wanted = folder.map(read).transpose()?.unwrap_or_default();
    let (builds, cause) = (&host.actions.builds, Cause::host("projects", Source::Start));
    for (name, kept) in builds.projects(account).await? {
        match (wanted.remove(&name), kept.is_configured) {
            (Some(_), false) => {
                let what = format!("projects: a client has made {name} in account {account:012}");
                return Err(Mistake::of(format_args!("{what}: delete one of the two")).into());
            }
            (None, true) => builds.remove(account, &name, &cause).await?,
            (Some(members), true) if members != kept.members => {
                let modified = host.driver.clock().now_ms();
                builds.put(account, &name, &Project { members, modified, ..kept }, &cause).await?;
            }
            _ => {}
        }
    }
    for (name, members) in wanted {
        let now = host.driver.clock().now_ms();
        let project = Project { members, created: now, modified: now, is_configured: true, initiator: None };
        builds.put(account, &name, &project, &cause).await?;
    }
    Ok(())
}

fn read(folder: &Path) -> anyhow::Result<BTreeMap<String, Members>> {
    let mistake =
        |path: &Path, what: &dyn std::fmt::Display| Mistake::of(format_args!("projects: {}: {what}", path.display()));
    let mut projects = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(|error| mistake(folder, &error))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".json"));
        let Some(name) = name else { continue };
        let bytes = std::fs::metadata(&path).map_err(|error| mistake(&path, &error))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(mistake(&path, &format_args!("larger than {FILE_BYTES_MAX} bytes")).into());
        }
        let text = std::fs::read(&path).map_err(|error| mistake(&path, &error))?;
        let mut document: Value = serde_json::from_slice(&text).map_err(|error| mistake(&path, &error))?;
        if !document.is_object() {
            return Err(mistake(&path, &"a project is an object").into());
        }
        if document.get("name").is_some_and(|written| written != name) {
            return Err(mistake(&path, &"the file has another name than the project").into());
        }
        document["name"] = name.into();
        let UpdateProjectInput(members) = requests::read(&document).map_err(|problems| mistake(&path, &problems))?;
        projects.insert(name.to_owned(), members);
    }
    Ok(projects)
}
