//! Running jobs in tests: at each level, with small limits.
#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says so loudly")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pipewright_isolation::{ChildCommand, Ended, Isolation, Job, Level, Limits, Root, RunError, Toolchain};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// The program that is run again around jobs.
pub fn child() -> ChildCommand {
    ChildCommand { program: program("isolation-child", env!("CARGO_BIN_EXE_isolation-child")), args: Vec::new() }
}

/// As in a container that refuses namespaces.
pub fn child_without_namespaces() -> ChildCommand {
    ChildCommand { args: vec!["no-namespaces".into()], ..child() }
}

pub fn attack() -> PathBuf {
    program("isolation-attack", env!("CARGO_BIN_EXE_isolation-attack"))
}

/// A test that runs as another user has copies of the programs where that user can read them.
pub const PROGRAMS: &str = "ISOLATION_TEST_PROGRAMS";

fn program(name: &str, built: &str) -> PathBuf {
    std::env::var_os(PROGRAMS).map_or_else(|| PathBuf::from(built), |folder| Path::new(&folder).join(name))
}

/// A folder of a test, with what its jobs share.
pub struct World {
    pub folder: TempDir,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path());
        Self { folder }
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// A job of `sh`, in the machine's own `/usr`.
    pub fn shell(&self, script: &str) -> Job {
        self.job(&["sh", "-c", script])
    }

    pub fn job(&self, argv: &[&str]) -> Job {
        Job {
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            root: Root::Toolchain(Toolchain::system([]).unwrap()),
            work: self.folder("work"),
            directory: PathBuf::new(),
            binds: Vec::new(),
            files: Vec::new(),
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            network: None,
            limits: small(),
        }
    }

    /// A root file system with a program and the libraries that it needs.
    pub fn image(&self, programs: &[&Path]) -> PathBuf {
        let image = self.folder("image");
        for program in programs {
            let listed = Command::new("ldd").arg(program).output().unwrap();
            let listed = String::from_utf8(listed.stdout).unwrap();
            let libraries = listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
            for file in libraries.chain([program.to_path_buf()]) {
                let to = image.join(file.strip_prefix("/").unwrap());
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(file, to).unwrap();
            }
        }
        image
    }
}

pub fn open(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).unwrap();
}

pub fn small() -> Limits {
    Limits {
        cpu_seconds_max: 20,
        wall_seconds_max: 20,
        memory_bytes_max: 256 << 20,
        processes_max: 64,
        files_open_max: 256,
        file_bytes_max: 64 << 20,
        disk_bytes_max: 256 << 20,
        disk_entries_max: 2_000,
        scratch_bytes_max: 16 << 20,
        scratch_entries_max: 1_000,
        output_bytes_max: 4 << 20,
    }
}

/// What runs jobs at every level, also the weakest. Where this machine does not offer all of them, a test is to return at once,
/// which is told loudly; where `PIPEWRIGHT_TESTS_REQUIRE` names `isolation`, that is a failure.
pub async fn isolation() -> Option<Isolation> {
    let isolation = Isolation::probe(child(), Level::Restricted).await.unwrap();
    // Nobody offers the weakest one who is not root.
    let refusals = isolation.offers().refusals().filter(|it| it.level != Level::Restricted || is_root());
    let refusals: Vec<_> = refusals.map(ToString::to_string).collect();
    if refusals.is_empty() {
        return Some(isolation);
    }
    let required = std::env::var("PIPEWRIGHT_TESTS_REQUIRE").unwrap_or_default();
    assert!(!required.split_whitespace().any(|it| it == "isolation"), "{refusals:#?}");
    eprintln!("SKIPPED, and what this test checks was NOT checked: {refusals:#?}");
    None
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What became of a job, and what it wrote.
pub async fn run(isolation: &Isolation, job: &Job) -> (Result<Ended, RunError>, String) {
    run_until(isolation, job, std::future::pending()).await
}

pub async fn run_until(
    isolation: &Isolation,
    job: &Job,
    stop: impl Future<Output = ()>,
) -> (Result<Ended, RunError>, String) {
    let (to, mut from) = mpsc::channel(4);
    let (ended, output) = tokio::join!(isolation.run(job, to, stop), async {
        let mut output = Vec::new();
        while let Some(lines) = from.recv().await {
            // What is more is not looked at.
            if output.len() < 1 << 20 {
                output.extend(lines);
            }
        }
        output
    });
    (ended, String::from_utf8_lossy(&output).into_owned())
}

/// Processes of this machine whose command line has the text.
pub fn processes_with(text: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        (pid != std::process::id()).then(|| format!("{pid} {}", String::from_utf8_lossy(&line).replace('\0', " ")))
    });
    lines.filter(|line| line.contains(text)).collect()
}
