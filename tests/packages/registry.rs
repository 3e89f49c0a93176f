//! A real registry on loopback (Debian's docker-registry, which asks for a password), and servers that are none.
//!
//! Knows where the registry keeps things on disk, so that a test can change them as somebody would who has broken in.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::world::Registered;
use crate::tools;

pub const USER: &str = "maria";
pub const PASSWORD: &str = "correct horse";

const LOOK: Duration = Duration::from_millis(20);
const LOOKS_MAX: u32 = 500;

/// Stopped when dropped.
pub struct Registry {
    process: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registered for Registry {
    fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }
}

impl Registry {
    /// None where a program is missing; see [`tools::find`].
    pub fn start() -> Option<Self> {
        Self::start_with(None, true)
    }

    /// One that asks for no password.
    pub fn start_open() -> Option<Self> {
        Self::start_with(None, false)
    }

    /// Over TLS, with a certificate and its key (PEM files).
    pub fn start_tls(certificate: &Path, key: &Path) -> Option<Self> {
        Self::start_with(Some((certificate, key)), true)
    }

    fn start_with(tls: Option<(&Path, &Path)>, has_password: bool) -> Option<Self> {
        let (registry, htpasswd) = (tools::find("docker-registry")?, tools::find("htpasswd")?);
        let folder = tempfile::tempdir().unwrap();
        let users = Command::new(htpasswd).args(["-Bbn", USER, PASSWORD]).output().unwrap();
        fs::write(folder.path().join("users"), users.stdout).unwrap();
        // The registry cannot be given a socket. Somebody else may take the port meanwhile: then it ends, and another is tried.
        loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let configuration = folder.path().join("registry.yml");
            fs::write(&configuration, configured(folder.path(), port, tls, has_password)).unwrap();
            let mut process = Command::new(&registry)
                .arg("serve")
                .arg(&configuration)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            for _ in 0..LOOKS_MAX {
                if process.try_wait().unwrap().is_some() {
                    break;
                }
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(Self { process, folder, port });
                }
                std::thread::sleep(LOOK);
            }
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("data/docker/registry/v2")
    }

    fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.root().join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// Changes a blob under its digest.
    pub fn change(&self, digest: &str, change: impl Fn(Vec<u8>) -> Vec<u8>) {
        let path = self.blob(digest);
        let bytes = fs::read(&path).unwrap();
        let changed = change(bytes.clone());
        assert_ne!(changed, bytes, "nothing was changed");
        fs::write(path, changed).unwrap();
    }

    pub fn read(&self, digest: &str) -> Vec<u8> {
        fs::read(self.blob(digest)).unwrap()
    }

    fn tag(&self, repository: &str, tag: &str) -> PathBuf {
        self.root().join("repositories").join(repository).join("_manifests/tags").join(tag).join("current/link")
    }

    /// What a tag points to.
    pub fn tagged(&self, repository: &str, tag: &str) -> String {
        fs::read_to_string(self.tag(repository, tag)).unwrap()
    }

    /// Points a tag to another manifest of the repository.
    pub fn move_tag(&self, repository: &str, tag: &str, digest: &str) {
        assert_ne!(self.tagged(repository, tag), digest, "nothing was changed");
        fs::write(self.tag(repository, tag), digest).unwrap();
    }

    pub fn remove_tag(&self, repository: &str, tag: &str) {
        fs::remove_file(self.tag(repository, tag)).unwrap();
    }
}

fn configured(folder: &Path, port: u16, tls: Option<(&Path, &Path)>, has_password: bool) -> String {
    let folder = folder.display();
    let tls = tls.map_or_else(String::new, |(certificate, key)| {
        format!("  tls:\n    certificate: {}\n    key: {}\n", certificate.display(), key.display())
    });
    let users = format!("auth:\n  htpasswd: {{ realm: registry, path: {folder}/users }}\n");
    let users = if has_password { users } else { String::new() };
    format!(
        "version: 0.1\nlog: {{ level: error }}\nstorage:\n  filesystem: {{ rootdirectory: {folder}/data }}\n\
         http:\n  addr: 127.0.0.1:{port}\n{tls}{users}"
    )
}

/// A server that answers each request by what `answer` writes; gives its address, and the requests' first lines with their
/// `Authorization` header.
pub fn server(
    answer: impl Fn(&str, &mut TcpStream) -> std::io::Result<()> + Send + Clone + 'static,
) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("localhost:{}", listener.local_addr().unwrap().port());
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer, sender) = (stream.unwrap(), answer.clone(), sender.clone());
            std::thread::spawn(move || {
                while let Some(head) = head(&mut stream) {
                    let asked = head.lines().filter(|line| {
                        line.contains(" HTTP/1.1") || line.to_ascii_lowercase().starts_with("authorization:")
                    });
                    let asked = asked.collect::<Vec<_>>().join(" ");
                    let _ = sender.send(asked.clone());
                    // Who has heard enough hangs up.
                    if answer(&asked, &mut stream).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, requests)
}

fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// A whole answer.
pub fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len())?;
    stream.write_all(body)
}
