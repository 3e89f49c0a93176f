//! A real `pipewright serve` for one test: on a free port, with a data directory of its own, killed at the end.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

pub struct Server {
    child: Child,
    /// Open as long as the server runs: it must be able to print.
    _stdout: BufReader<ChildStdout>,
    data: PathBuf,
}

impl Server {
    /// Starts it and waits until it answers. `home` holds its configuration, `serve.toml`; its data lie in `home/data`.
    pub fn start(home: &Path) -> Self {
        Self::start_within(home, "true")
    }

    /// The same, with more in its environment.
    pub fn start_with(home: &Path, environment: &[(&str, &str)]) -> Self {
        Self::start_as(home, "true", environment)
    }

    /// The same, after a shell did something that counts for the server too, such as setting a limit.
    pub fn start_within(home: &Path, first: &str) -> Self {
        Self::start_as(home, first, &[])
    }

    fn start_as(home: &Path, first: &str, environment: &[(&str, &str)]) -> Self {
        let data = home.join("data");
        share_compiled(&data);
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{first} && exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_pipewright")])
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .arg("--config")
            .arg(home.join("serve.toml"))
            .env("HOME", home)
            .env("XDG_CACHE_HOME", cache_home())
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        assert!(!ready.is_empty(), "the server ended before it was ready: {}", child.wait().unwrap());
        Self { child, _stdout: stdout, data }
    }

    /// As the system does where there is no memory left.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As an operator does.
    pub fn terminate(&mut self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "{ended}");
    }

    /// Of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn endpoint(&self) -> String {
        fs::read_to_string(self.data.join("endpoint")).unwrap().trim().to_owned()
    }

    /// The administrator's key, in AWS's format.
    pub fn credentials(&self) -> PathBuf {
        self.data.join("credentials")
    }
}

/// The caches of a user whom all tests have in common: what is in them is found by its content, so none sees another's.
pub fn cache_home() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// Gives a data directory the compiled components of that user, so that the bundle is compiled once for all tests.
pub fn share_compiled(data: &Path) {
    let compiled = cache_home().join("pipewright/compiled");
    fs::create_dir_all(&compiled).unwrap();
    fs::create_dir_all(data).unwrap();
    let link = data.join("compiled");
    if !link.exists() {
        symlink(compiled, link).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
