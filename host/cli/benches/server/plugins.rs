//! What the author of a plugin waits for: all of its cases, against one run of one of them, both with the command line and
//! a compiled component. And what it costs that a plugin was installed, and did not come with the host.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use pipewright_base::clock::monotonic;
use pipewright_base::home::DataDirectory;
use pipewright_engine::driver::Actions as _;
use pipewright_packages::Installed;
use pipewright_packages::plugins::{Plugins, Provenance};
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{
    ActionAddress, ActionExecutionId, ExecutionId, ExecutionType, Outcome, RunAction, Start, Timestamp, Trigger, Usage,
};
use pipewright_runner::actions::Runner;
use pipewright_runner::grant_book::GrantBook;
use pipewright_runner::grants::GrantsFile;
use pipewright_runner::host::{ACCOUNT, Host, Identity, sandbox_with_compiler};
use pipewright_store::Aggregate;

use crate::Bench;
use crate::measure::{Line, compare, head};

const CASES: usize = 20;
const ROUNDS: usize = 15;
const ROUNDS_QUICK: usize = 5;
const GOAL: f64 = 2.0;

const ACTION: &str = "Build/Custom/Small/1";

/// A plugin of the bundle that does little.
const BUNDLED: &str = "approval-manual";
const CALLS: u32 = 500;
const CALL_ROUNDS: usize = 40;
const CALL_ROUNDS_QUICK: usize = 10;
/// Equal but for noise.
const CALL_GOAL: f64 = 1.05;

pub(crate) fn run(bench: &Bench, folder: &Path) -> anyhow::Result<()> {
    println!("{}", head());
    println!("{}", cases(bench, &folder.join("cases"))?);
    println!("{}", installed(bench, &folder.join("installed"))?);
    Ok(())
}

fn cases(bench: &Bench, folder: &Path) -> anyhow::Result<Line> {
    std::fs::create_dir(folder)?;
    std::fs::copy(bench.plugins.join("bench.wasm"), folder.join("bench.wasm"))?;
    for number in 0..CASES {
        let input = folder.join(format!("cases/case-{number}/inputs/In"));
        std::fs::create_dir_all(&input)?;
        std::fs::write(input.join("file"), format!("the input of case {number}"))?;
        let case = format!("action = \"{ACTION}\"\noutputs = [\"Out\"]\n\n[expected]\noutcome = \"succeeded\"\n");
        std::fs::write(folder.join(format!("cases/case-{number}/case.toml")), case)?;
    }
    let input = format!("In={}", folder.join("cases/case-0/inputs/In").display());
    let timed = |arguments: &[&str]| command(folder, arguments);
    let all = ["plugin", "test", "bench.wasm"];
    let one = ["plugin", "run", "bench.wasm", "--action", ACTION, "--input", &input, "--output", "Out"];
    let rounds = bench.choose(ROUNDS_QUICK, ROUNDS);
    let name = format!("`plugin test` of {CASES} cases, against `plugin run` of one");
    compare(name, GOAL, (rounds, 1), |_| Ok((timed(&all)?, timed(&one)?)))
}

fn command(folder: &Path, arguments: &[&str]) -> anyhow::Result<Duration> {
    let start = monotonic();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipewright"));
    command.args(arguments).current_dir(folder).stdout(Stdio::null());
    let status = command.status()?;
    anyhow::ensure!(status.success(), "{}: {status}", arguments.join(" "));
    Ok(start.elapsed())
}

/// The very component of the bundle, added to a host as a package, which takes the bundled one's place there; beside a host
/// without it. Each call is an action as the driver runs it.
fn installed(bench: &Bench, folder: &Path) -> anyhow::Result<Line> {
    std::fs::create_dir_all(folder.join("added/plugins"))?;
    std::fs::write(folder.join("added/plugins/policy.toml"), "unsigned_files = [\"pipewright/*\"]\n")?;
    let component = pipewright_bundle::get(BUNDLED).expect("it is in the bundle");
    std::fs::write(folder.join("component.wasm"), component)?;
    command(folder, &["plugin", "add", "component.wasm", "--yes", "--data", "added"])?;

    let added = bench.runtime.block_on(Caller::new(&folder.join("added"), Provenance::Own))?;
    let bundled = bench.runtime.block_on(Caller::new(&folder.join("bundled"), Provenance::Host))?;
    let rounds = bench.choose(CALL_ROUNDS_QUICK, CALL_ROUNDS);
    compare("a call of an installed plugin, against a bundled one", CALL_GOAL, (rounds, CALLS), |round| {
        bench.runtime.block_on(async {
            let (mut ours, mut bare) = (Duration::ZERO, Duration::ZERO);
            for call in 0..CALLS {
                let key = ((round as u128) << 32) + u128::from(call);
                ours += added.call(key).await?;
                bare += bundled.call(key).await?;
            }
            Ok((ours, bare))
        })
    })
}

/// A host, and an action that it runs again and again.
struct Caller {
    runner: Runner,
    action: RunAction,
}

impl Caller {
    /// Over a data directory where the plugin is whose.
    async fn new(data: &Path, whose: Provenance) -> anyhow::Result<Self> {
        let data = DataDirectory::open(data)?;
        let sandbox = sandbox_with_compiler(data.compiled(), env!("CARGO_BIN_EXE_pipewright").into())?;
        let plugins = Plugins::load(&sandbox, &[], None).await?;
        let components = Installed::open(&data, None)?.components().await?.into_iter().collect::<Result<_, _>>()?;
        anyhow::ensure!(plugins.load_installed(&sandbox, ACCOUNT, components).await.is_empty(), "it is loaded");
        let host = Host::open(&data, Identity::default(), sandbox, plugins, GrantBook::one(GrantsFile::default()))?;
        let declaration: PipelineDeclaration = serde_json::from_value(crate::pipelines::with_approval("bench"))?;
        let (address, zero) = (ActionAddress { stage: 1, action: 0 }, Timestamp(0));
        let action = &declaration.stages[1].actions[0].action_type_id;
        let catalogue = host.actions.plugins.catalogue(ACCOUNT);
        anyhow::ensure!(catalogue.bindings()[action].whose == whose, "{action} is another's");
        let start = Start {
            number: 1,
            version: 1,
            at: zero,
            execution_type: ExecutionType::Standard,
            entry: 0,
            trigger: Trigger::default(),
            variables: Default::default(),
            source_revisions: Vec::new(),
            branch: None,
            pins: Runner(Arc::clone(&host.actions)).pins(ACCOUNT, &declaration),
        };
        let action = RunAction {
            execution: ExecutionId::from_bytes([0; 16]),
            start: Arc::new(start),
            declaration: Arc::new(declaration),
            address: address.into(),
            action_execution: ActionExecutionId::from_bytes([0; 16]),
            call: 1,
            attempt: 1,
            is_restart: false,
            spent: Usage::default(),
            started: zero,
            deadline: zero,
            configuration: Default::default(),
            commands: Vec::new(),
            environment: Vec::new(),
            inputs: Vec::new(),
            resumed: None,
            source_revision: None,
        };
        Ok(Self { runner: Runner(Arc::clone(&host.actions)), action })
    }

    /// As another action execution each time.
    async fn call(&self, key: u128) -> anyhow::Result<Duration> {
        let action_execution = ActionExecutionId::from_bytes(key.to_be_bytes());
        let action = RunAction { action_execution, ..self.action.clone() };
        let start = monotonic();
        let report = self.runner.run(Aggregate { account: ACCOUNT, uid: [0; 16] }, action).await;
        let took = start.elapsed();
        anyhow::ensure!(matches!(report.outcome, Outcome::Waiting(_)), "{report:?}");
        Ok(took)
    }
}
