//! One action by itself, without a pipeline: for the person who writes the plugin.
//!
//! Owns the temporary folder in which it runs, and its calls. Must not know how anything is shown.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use pipewright_artifacts::files::{BlobDir, Blobs, FileQuota, Tree, collect, remove_tree};
use pipewright_sandbox::abi::{Category, Context, Entry, NamedValue, Output, Request, Resumption, TypeId};
use pipewright_sandbox::capabilities::caches::CachesAt;
use pipewright_sandbox::capabilities::commands::{Ended, Started};
use pipewright_sandbox::files::{Input, OUTPUTS, SCRATCH};
use pipewright_sandbox::grants::Grants;
use pipewright_sandbox::limits::CallLimits;
use pipewright_sandbox::outside::{Outside, Recorder, Room};
use pipewright_sandbox::seam::Sink;
use pipewright_sandbox::{Call, CallEnd, Masks, Plugin, Sandbox};
use tempfile::TempDir;

use crate::cases::folder::{self, Names};
use pipewright_base::Digest;
use pipewright_base::fair::{Claim, Gate};
use pipewright_base::home::UserFolders;
use pipewright_runner::host::{ACCOUNT, REGION};
use pipewright_runner::images::ImagesAt;
use pipewright_runner::programs::{NotRun, Offered, Programs};
use pipewright_runner::recording::{self, Bundle, CallParameters, Keeper, RECORDING_BYTES_MAX};

/// The names of the stage and the action, as grants have them.
pub const STAGE: &str = "Plugin";
pub const ACTION: &str = "Run";
/// The names of the pipeline and the execution.
const NAME: &str = "single";

/// What the action is called with.
#[derive(Clone, Debug)]
pub struct Single {
    pub action: TypeId,
    /// Sources only: what would be fetched, without fetching it.
    pub latest: bool,
    /// Sources only: the revision to fetch; none: the newest.
    pub revision: Option<String>,
    pub settings: Vec<NamedValue>,
    pub environment: Vec<NamedValue>,
    pub commands: Vec<String>,
    /// Names and folders.
    pub inputs: Vec<(String, PathBuf)>,
    pub outputs: Vec<String>,
    pub grants: Grants,
    pub limits: CallLimits,
}

/// Where one runs; gone when it is dropped.
pub struct Place {
    directory: TempDir,
    pub blobs: Arc<dyn Blobs>,
    programs: Arc<Programs>,
}

/// What is between a call and the one before.
#[derive(Default)]
pub struct After {
    pub resumed: Option<Resumption>,
    pub ended: Option<Ended>,
}

impl Place {
    pub fn new() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("pipewright-run-").tempdir()?;
        let blobs = Arc::new(BlobDir::new(directory.path().join("blobs"))?);
        let images = ImagesAt { folder: UserFolders::find()?.images(), certificate_authorities: Vec::new() };
        Ok(Self { directory, blobs, programs: Programs::new(Offered::of_this_machine(), images, Gate::default()) })
    }

    /// One call: the first, or one that ends a wait. With `keeper` it is recorded.
    ///
    /// # Errors
    /// An input cannot be read.
    pub async fn call(
        &self,
        sandbox: &Sandbox,
        plugin: &Plugin,
        single: &Single,
        after: After,
        sink: Arc<dyn Sink>,
        keeper: Option<&mut Keeper>,
    ) -> anyhow::Result<CallEnd> {
        let call = Call {
            tenant: 0,
            entry: single.entry(),
            request: single.request(after.resumed),
            granted_as: None,
            grants: single.grants.clone(),
            time: None,
            inputs: self.inputs(single)?,
            work_dir: self.work(),
            secret_environment: Vec::new(),
            ended: after.ended,
            caches: CachesAt::Nowhere,
            tools: None,
            limits: single.limits.clone(),
            sink,
            outside: match &keeper {
                Some(keeper) => {
                    let bytes_max = RECORDING_BYTES_MAX.saturating_sub(keeper.bytes());
                    Outside::Recorded(Recorder::new(bytes_max, &Room::new(bytes_max), keeper.held()))
                }
                None => Outside::Live,
            },
        };
        // What the call before made is not this one's, but for the scratch that a program left.
        let unneeded = if call.ended.is_some() { self.work().join(OUTPUTS) } else { self.work() };
        tokio::task::spawn_blocking(move || remove_tree(&unneeded)).await??;
        let made = CallParameters::of(&call);
        let mut end = sandbox.call(plugin, call).await;
        if let Some(keeper) = keeper {
            keeper.add(made, &mut end);
        }
        Ok(end)
    }

    /// Runs the program that a call started, to its end.
    ///
    /// # Errors
    /// It cannot be run here.
    pub async fn run(&self, started: Started) -> Result<Ended, NotRun> {
        let scratch = self.work().join(SCRATCH);
        std::fs::create_dir_all(&scratch).map_err(|error| NotRun::Host(error.to_string()))?;
        let pins = self.programs.pins(self.directory.path().to_owned());
        Ok(self.programs.run(Claim { account: ACCOUNT, since: (0, 0) }, started, scratch, &pins, 0).await?.0)
    }

    /// The recording of the calls that were made here, with the component and the inputs.
    pub fn recording(&self, keeper: Keeper, component: Vec<u8>, single: &Single) -> anyhow::Result<Bundle> {
        let mut bundle = keeper.bundle();
        let inputs = self.inputs(single)?;
        let masks = Masks::of(single.grants.secrets.values().map(|grant| grant.value.expose()));
        let digest = bundle.recording.component.digest;
        let component = |of: &Digest| (*of == digest).then(|| component.clone().into());
        recording::complete(&mut bundle, component, Some(&masks), |digest| {
            let input = inputs.iter().find(|input| input.tree.digest() == *digest)?;
            Some((Arc::clone(&input.tree), self.blobs.clone()))
        });
        Ok(bundle)
    }

    /// The artifacts that the last call made.
    pub fn outputs(&self, end: &CallEnd, quota: &FileQuota) -> anyhow::Result<Vec<(String, Tree)>> {
        end.outputs.iter().map(|made| Ok((made.name.clone(), collect(made, &*self.blobs, quota)?))).collect()
    }

    fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    fn inputs(&self, single: &Single) -> anyhow::Result<Vec<Input>> {
        let input = |(name, folder): &(String, PathBuf)| {
            let tree = folder::tree(folder, Names::AsTheyAre, &*self.blobs);
            let tree = tree.with_context(|| format!("the input artifact {name}"))?;
            Ok(Input { name: name.clone(), tree: Arc::new(tree), blobs: self.blobs.clone() })
        };
        single.inputs.iter().map(input).collect()
    }
}

impl Single {
    fn entry(&self) -> Entry {
        match self.action.category {
            Category::Source if self.latest => Entry::SourceLatest,
            category => Entry::of(category, self.revision.clone()),
        }
    }

    fn request(&self, resumed: Option<Resumption>) -> Request {
        Request {
            action_type: self.action.clone(),
            context: Context {
                account: format!("{ACCOUNT:012}"),
                region: REGION.to_owned(),
                pipeline: NAME.to_owned(),
                execution_id: NAME.to_owned(),
                stage: STAGE.to_owned(),
                action: ACTION.to_owned(),
                action_execution_id: NAME.to_owned(),
            },
            settings: self.settings.clone(),
            inputs: self.inputs.iter().map(|(name, _)| name.clone()).collect(),
            outputs: self.outputs.iter().map(|name| Output { name: name.clone(), files: Vec::new() }).collect(),
            commands: self.commands.clone(),
            environment: self.environment.clone(),
            output_variables: Vec::new(),
            idempotency_key: NAME.to_owned(),
            attempt: 1,
            resumed,
        }
    }
}
