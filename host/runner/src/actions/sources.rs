//! What is asked of a source apart from any execution: its latest revision, and which files two revisions do not share; and what
//! an action gets by its connection.
//!
//! Must not know what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pipewright_artifacts::files::{MadeOutput, Node, Tree};
use pipewright_pipeline::declaration::{ActionDeclaration, PipelineDeclaration};
use pipewright_pipeline::machine::{Declared, Revision};
use pipewright_sandbox::Call;
use pipewright_sandbox::abi::{self, Entry, Outcome};
use pipewright_sandbox::grants::Grants;
use pipewright_sandbox::outside::Outside;
use pipewright_sandbox::seam::{HostCall, Level, Sink};
use pipewright_store::Aggregate;

use super::SandboxActions;
use crate::connections::{self, Connected};
use crate::outcome;
use crate::work_folder::WorkFolder;

impl SandboxActions {
    /// What a source action would fetch now, without fetching it.
    pub async fn latest(
        self: &Arc<Self>,
        pipeline: Aggregate,
        declaration: &PipelineDeclaration,
        action: &ActionDeclaration,
    ) -> Result<Option<Revision>, String> {
        if self.is_for_workers(pipeline, action) {
            return Ok(None);
        }
        let folder = format!("polls/{}", format!("{pipeline}-{}", action.name).replace('/', "-"));
        let folder = self.work.folder(folder);
        let (outcome, _) = self.ask(pipeline, declaration, action, Entry::SourceLatest, &folder).await?;
        // What is left is told, and keeps the next look from beginning in it.
        let _ = folder.empty().await;
        match outcome {
            Outcome::Latest(revision) => Ok(revision.map(outcome::revision)),
            _ => Err("the plugin does not say what is the latest revision".to_owned()),
        }
    }

    /// The paths of the files that two revisions of a source do not share. It fetches both, with what the action is granted.
    pub async fn changed(
        self: &Arc<Self>,
        pipeline: Aggregate,
        declaration: &PipelineDeclaration,
        action: &ActionDeclaration,
        between: [&str; 2],
    ) -> Result<Vec<String>, String> {
        let mut trees = Vec::new();
        for revision in between {
            // The same two may be compared twice at once.
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let folder = format!("comparisons/{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let folder = self.work.folder(folder);
            let entry = Entry::of(abi::Category::Source, Some(revision.to_owned()));
            let (_, made) = self.ask(pipeline, declaration, action, entry, &folder).await?;
            let (artifacts, quota) = (Arc::clone(&self.artifacts), self.limits.files.clone());
            let taken = self.work_runtime.blocking(move || {
                let digests = artifacts.take_in(&made, &quota).map_err(|error| error.to_string())?;
                let tree = |(_, digest): &(String, String)| artifacts.tree(digest).map_err(|error| error.to_string());
                digests.iter().map(tree).collect::<Result<Vec<_>, _>>()
            });
            trees.push(taken.await?);
            let _ = folder.empty().await;
        }
        Ok(differing(&trees[0], &trees[1]))
    }

    /// One call of a source action that belongs to no execution.
    async fn ask(
        self: &Arc<Self>,
        pipeline: Aggregate,
        declaration: &PipelineDeclaration,
        action: &ActionDeclaration,
        entry: Entry,
        folder: &WorkFolder,
    ) -> Result<(Outcome, Vec<MadeOutput>), String> {
        let (stage, name) = (declaration.stages[0].name.as_str(), action.name.as_str());
        let plugin = self.plugins.bound(&self.sandbox, pipeline.account, &action.action_type_id).await;
        let plugin = &plugin.ok_or_else(|| format!("no plugin serves {}", action.action_type_id))?;
        let description = plugin.description();
        let grants = self.current_grants(pipeline.account, declaration.name.clone()).await?;
        let mut grants = self.resolved(pipeline.account, &grants, &format!("{stage}/{name}"), description).await?;
        let emptied = folder.empty().await;
        emptied.map_err(|error| format!("what an earlier look left behind cannot be removed: {error}"))?;
        let empty = Default::default();
        let settings = action.configuration.as_ref().unwrap_or(&empty);
        let mut request = self.bare_request(pipeline, declaration, stage, Declared::Action(action), settings);
        self.connect(pipeline.account, action, settings, &mut request, &mut grants).await?;
        let call = Call {
            tenant: pipeline.account,
            entry,
            request,
            granted_as: None,
            grants,
            time: None,
            inputs: Vec::new(),
            work_dir: folder.path.clone(),
            secret_environment: Vec::new(),
            ended: None,
            caches: Default::default(),
            tools: self.tools(pipeline.account, &BTreeMap::new()),
            limits: self.limits.clone(),
            sink: Arc::new(Unheard),
            outside: Outside::Live,
        };
        let _turn = self.calls.acquire(pipeline.account).await;
        let end = self.sandbox.call(plugin, call).await;
        match end.result {
            Ok(outcome) => Ok((outcome, end.outputs)),
            Err(failure) => {
                let _ = folder.empty().await;
                Err(outcome::failed_call(&failure, &end.denials, end.wants_grant, None).message)
            }
        }
    }

    /// The account's connection of this name, as it is now.
    pub async fn connection(&self, account: u64, name: &str) -> Result<Option<connections::Kept>, String> {
        connections::find(&*self.store, account, name).await.map_err(|error| error.to_string())
    }

    /// Adds what an action gets by the connection that it names.
    pub(super) async fn connect(
        &self,
        account: u64,
        action: &ActionDeclaration,
        settings: &BTreeMap<String, String>,
        request: &mut abi::Request,
        grants: &mut Grants,
    ) -> Result<(), String> {
        let Some(named) = connections::named(&action.action_type_id, settings) else { return Ok(()) };
        let Some(kept) = self.connection(account, &named.connection).await? else {
            return match named.is_needed {
                true => Err(connections::missing(&named.connection)),
                false => Ok(()),
            };
        };
        let unusable = |reason| self.told(account, "the connection of the action cannot be used", reason);
        let stored = self.secrets.values(account, kept.connection.stored()).await.map_err(unusable)?;
        let connected = self.work_runtime.blocking(move || kept.connection.connect(&named.repository, &stored)).await;
        let Connected { settings, grants: by_connection } = connected.map_err(unusable)?;
        request.settings.extend(settings);
        grants.http.extend(by_connection.http);
        grants.secrets.extend(by_connection.secrets);
        Ok(())
    }
}

/// The paths of the files that are in one alone, or differ.
fn differing(before: &[Arc<Tree>], after: &[Arc<Tree>]) -> Vec<String> {
    let files = |trees: &[Arc<Tree>]| -> BTreeMap<String, Node> {
        let entries = trees.iter().flat_map(|tree| tree.entries());
        entries.map(|entry| (entry.path.clone(), entry.node.clone())).collect()
    };
    let (before, after) = (files(before), files(after));
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    paths.into_iter().filter(|path| before.get(*path) != after.get(*path)).cloned().collect()
}

/// What a poll says goes nowhere: it has no execution to which it would belong.
struct Unheard;

impl Sink for Unheard {
    fn log(&self, level: Level, line: &str) {
        tracing::debug!("{level:?} {line}");
    }

    fn progress(&self, _: Option<u8>, _: &str) {}

    fn host_call(&self, _: HostCall) {}
}
