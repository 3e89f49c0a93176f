//! A large artifact of many files: taken in from a directory, handed through three stages that read one file of it each,
//! and published into a directory. Against `cp -r`, the SHA-256 of every file, and one sync.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pipewright_base::clock::monotonic;
use pipewright_base::home::DataDirectory;
use pipewright_packages::plugins::Plugins;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{InputKind, StartRequest};
use pipewright_runner::grant_book::GrantBook;
use pipewright_runner::grants::GrantsFile;
use pipewright_runner::host::{ACCOUNT, Host, Identity};
use pipewright_sandbox::Sandbox;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Runtime;

use crate::measure::{Line, compare};
use crate::runs::cause;

const ROUNDS: usize = 5;
const GOAL: f64 = 1.5;

const FILES: u64 = 5_000;
const FILES_IN_A_FOLDER: u64 = 50;
const BYTES: u64 = 256 << 20;

pub(crate) fn run(runtime: &Runtime, sandbox: &Sandbox, plugin: &Path, folder: &Path) -> anyhow::Result<Line> {
    let source = folder.join("source");
    make(&source)?;
    // Nothing is removed before the end: a file system may be slow to reuse what was removed a moment ago, on either side.
    compare("256 MiB in 5,000 files, in, through and out", GOAL, (ROUNDS, 1), |round| {
        let (ours, bare) = (folder.join(format!("ours-{round}")), folder.join(format!("bare-{round}")));
        let host = runtime.block_on(host(sandbox, plugin, &source, &ours))?;
        settle(folder)?;
        let took = runtime.block_on(pipeline(&host, &ours))?;
        runtime.block_on(async { drop(host) });
        settle(folder)?;
        Ok((took, copy(&source, &bare)?))
    })
}

/// What is still to be written must not count for the one who comes next.
fn settle(folder: &Path) -> anyhow::Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
}

/// Files of about one size, no two alike and none that can be packed.
fn make(source: &Path) -> anyhow::Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = vec![0_u8; usize::try_from(BYTES / FILES)?];
    for number in 0..FILES {
        for chunk in bytes.chunks_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
        }
        let folder = source.join(format!("folder-{:03}", number / FILES_IN_A_FOLDER));
        fs::create_dir_all(&folder)?;
        File::create(folder.join(format!("file-{number:04}")))?.write_all(&bytes)?;
    }
    Ok(fs::write(source.join("file"), b"the file that the stages read\n")?)
}

/// A host with nothing in it but the pipeline.
async fn host(sandbox: &Sandbox, plugin: &Path, source: &Path, folder: &Path) -> anyhow::Result<Host> {
    let target = folder.join("target");
    fs::create_dir_all(&target)?;
    let grants = folder.join("grants.toml");
    fs::write(
        &grants,
        format!(
            "[action.\"Source/Source\"]\ndirectories.source = {{ path = {source:?}, access = \"read\" }}\n\
             [action.\"Deploy/Deploy\"]\ndirectories.target = {{ path = {target:?}, access = \"write\" }}\n"
        ),
    )?;
    let plugins = Plugins::load(sandbox, &[plugin.to_owned()], None).await?;
    let data = DataDirectory::open(&folder.join("data"))?;
    let host =
        Host::open(&data, Identity::default(), sandbox.clone(), plugins, GrantBook::one(GrantsFile::read(&grants)?))?;
    let pipeline = host.driver.named(ACCOUNT, "bench", &cause()).await?;
    host.driver.submit(pipeline, InputKind::Create { declaration: declaration() }, &cause()).await?;
    Ok(host)
}

fn declaration() -> Arc<PipelineDeclaration> {
    let stage = |name: &str, category: &str, provider: &str| {
        let id = json!({ "category": category, "owner": "Custom", "provider": provider, "version": "1" });
        let artifacts = if category == "Source" { "outputArtifacts" } else { "inputArtifacts" };
        json!({ "name": name, "actions": [{ "name": name, "actionTypeId": id, artifacts: [{ "name": "Code" }] }] })
    };
    let declaration = json!({
        "name": "bench",
        "roleArn": "arn:aws:iam::000000000000:role/bench",
        "stages": [
            stage("Source", "Source", "Directory"),
            stage("One", "Build", "Read"),
            stage("Two", "Build", "Read"),
            stage("Three", "Build", "Read"),
            stage("Deploy", "Deploy", "Directory"),
        ],
    });
    Arc::new(serde_json::from_value(declaration).expect("a declaration as it should be"))
}

async fn pipeline(host: &Host, folder: &Path) -> anyhow::Result<Duration> {
    let pipeline = host.driver.named(ACCOUNT, "bench", &cause()).await?;
    let mut watcher = host.driver.watch(Some(pipeline));
    let start = monotonic();
    host.driver.submit(pipeline, InputKind::Start(StartRequest::default()), &cause()).await?;
    while !host.driver.state(pipeline).await?.executions.is_empty() {
        watcher.changed().await;
    }
    let took = start.elapsed();
    let published = count(&folder.join("target/current"))?;
    anyhow::ensure!(published == (FILES + 1, BYTES / FILES * FILES + 30), "published {published:?}");
    Ok(took)
}

/// Files and their bytes.
fn count(folder: &Path) -> anyhow::Result<(u64, u64)> {
    let mut found = (0, 0);
    for file in files(folder)? {
        found.0 += 1;
        found.1 += fs::metadata(file)?.len();
    }
    Ok(found)
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut ahead = vec![folder.to_owned()];
    while let Some(folder) = ahead.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let list = if entry.file_type()?.is_dir() { &mut ahead } else { &mut found };
            list.push(entry.path());
        }
    }
    Ok(found)
}

fn copy(source: &Path, destination: &Path) -> anyhow::Result<Duration> {
    let start = monotonic();
    let copied = Command::new("cp").arg("-r").args([source, destination]).status()?;
    anyhow::ensure!(copied.success(), "cp: {copied}");
    for file in files(destination)? {
        std::hint::black_box(Sha256::digest(fs::read(file)?));
    }
    settle(destination)?;
    Ok(start.elapsed())
}
