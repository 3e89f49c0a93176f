//! `pipewright serve` as a process of its own, and what the system says of it.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use pipewright_aws::auth::AccessKey;
use pipewright_aws::auth::profile::read_credentials;
use pipewright_base::clock::monotonic;
use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;

/// What a server is started with.
#[derive(Default, Clone)]
pub(crate) struct Settings {
    pub(crate) store_cache_mib: Option<u64>,
    pub(crate) poll_seconds: Option<u64>,
    /// Pipelines, each with this grants file.
    pub(crate) grants: Option<(PathBuf, Vec<String>)>,
}

/// More pipelines than CodePipeline's own quota.
const PIPELINES_MAX: usize = 20_000;

pub(crate) struct Server {
    child: Child,
    /// Kept open: a server that prints into a closed pipe would fail.
    _output: BufReader<std::process::ChildStdout>,
    pub(crate) address: SocketAddr,
    pub(crate) key: AccessKey,
    /// From the start of the process to its ready line.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// Over the data in `data`, with the components in `plugins`.
    pub(crate) fn start(data: &Path, plugins: &Path, settings: &Settings) -> anyhow::Result<Self> {
        let config = data.with_extension("toml");
        std::fs::write(&config, text(plugins, settings)?)?;
        let start = monotonic();
        let mut child = Command::new(env!("CARGO_BIN_EXE_pipewright"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("its output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let ready_after = start.elapsed();
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split(' ').next());
        let address = address.with_context(|| format!("the ready line: {line:?}"))?.parse()?;
        let key = read_credentials(&data.join("credentials"), "default")?;
        Ok(Self { child, _output: output, address, key, ready_after })
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        Client::connect(self.address, &self.key).await
    }

    fn proc(&self, file: &str) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?)
    }

    /// Of its own and of files, such as its program.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = self.proc("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    /// What it computed so far, on all cores.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let stat = self.proc("stat")?;
        // The name before may hold anything.
        let (_, fields) = stat.rsplit_once(") ").context("stat")?;
        let ticks: u64 = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse().unwrap_or(0)).sum();
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }

    /// As a system does that goes down.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "the server stopped with {status}");
        Ok(())
    }

    /// As a power cut does, but for what the system still writes.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, unless something else failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(plugins: &Path, settings: &Settings) -> anyhow::Result<String> {
    let mut text = format!("plugins = {plugins:?}\n");
    if let Some(mib) = settings.store_cache_mib {
        writeln!(text, "store_cache_mib = {mib}")?;
    }
    if let Some(seconds) = settings.poll_seconds {
        writeln!(text, "poll_seconds = {seconds}")?;
    }
    if let Some((file, pipelines)) = &settings.grants {
        writeln!(text, "[grants]")?;
        for pipeline in pipelines {
            writeln!(text, "{pipeline} = {file:?}")?;
        }
    }
    writeln!(text, "[quotas]\npipelines = {PIPELINES_MAX}")?;
    Ok(text)
}
