//! A real git server on loopback: git's own CGI program behind lighttpd, with repositories in a directory of its own.
//!
//! Knows nothing of Pipewright.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::tools;

/// User name and password of whatever lies below `/private/`.
pub const USER: &str = "maria";
pub const PASSWORD: &str = "correct horse";
/// The bearer token of whatever lies below `/token/`.
pub const TOKEN: &str = "t0ken-of-the-server";

/// Stopped when dropped.
pub struct GitServer {
    process: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl GitServer {
    /// None where a program is missing; see [`tools::find`].
    ///
    /// Each repository has several addresses: `/git/NAME.git`, `/private/NAME.git` (basic authentication), `/token/NAME.git`
    /// (a bearer token), `/old/NAME.git` (in protocol 0, as behind a proxy that drops `Git-Protocol`), `/older/NAME.git` (in
    /// protocol 1), and `/moved/NAME.git`, which redirects to `localhost`, another origin, and there to `/private/`.
    pub fn start() -> Option<Self> {
        let lighttpd = tools::find("lighttpd")?;
        tools::find("git")?;
        // Whatever connects from now on waits for the server: it gets this socket as its standard input.
        let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("repositories")).unwrap();
        fs::write(folder.path().join("users"), format!("{USER}:{PASSWORD}\n")).unwrap();
        let configuration = folder.path().join("lighttpd.conf");
        fs::write(&configuration, configured(folder.path(), port)).unwrap();
        let process = Command::new(lighttpd)
            .arg("-D")
            .arg("-f")
            .arg(&configuration)
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { process, folder, port })
    }

    /// `http://127.0.0.1:PORT`
    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The same server under another name: `http://localhost:PORT`.
    pub fn other_origin(&self) -> String {
        format!("http://localhost:{}", self.port)
    }

    /// Offers the same on a port of its own by https, as `localhost`; that port, and the certificate authority's PEM file. As
    /// long as the runtime of the caller lives.
    pub async fn serve_tls(&self) -> (u16, tempfile::NamedTempFile) {
        let (acceptor, authority) = certified("localhost");
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (tls_port, port) = (listener.local_addr().unwrap().port(), self.port);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not believe the certificate hangs up.
                    let Ok(mut client) = acceptor.accept(client).await else { return };
                    let mut server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        (tls_port, authority)
    }

    pub fn url(&self, name: &str) -> String {
        format!("{}/git/{name}.git", self.origin())
    }

    /// The bare repository that is served.
    pub fn repository(&self, name: &str) -> PathBuf {
        self.folder.path().join("repositories").join(format!("{name}.git"))
    }

    /// Below it lies the work tree of each repository that was [made](Self::create) here.
    pub fn work_trees(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Says for the repository `odd` that Git LFS keeps this one file for it.
    pub fn keep_by_lfs(&self, id: &str, content: &str) {
        fs::create_dir(self.folder.path().join("lfs")).unwrap();
        fs::write(self.folder.path().join("lfs").join(id), content).unwrap();
        let href = format!("{}/lfs/{id}", self.origin());
        let answer =
            format!(r#"{{"objects":[{{"oid":"{id}","size":1,"actions":{{"download":{{"href":"{href}"}}}}}}]}}"#);
        let script = self.folder.path().join("lfs.sh");
        fs::write(
            &script,
            format!("#!/bin/sh\necho 'Content-Type: application/vnd.git-lfs+json'\necho\necho '{answer}'\n"),
        )
        .unwrap();
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes an empty repository, and a work tree for it with the branch `main`, from where `git push` works.
    pub fn create(&self, name: &str) -> PathBuf {
        let bare = self.repository(name);
        git(self.folder.path(), &["init", "--quiet", "--bare", "-b", "main", bare.to_str().unwrap()]);
        let work = self.work_trees().join(name);
        fs::create_dir_all(&work).unwrap();
        git(&work, &["init", "--quiet", "-b", "main"]);
        git(&work, &["remote", "add", "origin", bare.to_str().unwrap()]);
        work
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Commits everything in a work tree and pushes it; the new commit's id.
pub fn push(work: &Path, message: &str) -> String {
    git(work, &["add", "--all"]);
    git(work, &["commit", "--quiet", "--allow-empty", "-m", message]);
    git(work, &["push", "--quiet", "origin", "HEAD"]);
    git(work, &["rev-parse", "HEAD"])
}

/// Runs git, which must succeed, away from the configuration of this machine; what it prints.
pub fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .envs([("GIT_AUTHOR_NAME", "Maria"), ("GIT_AUTHOR_EMAIL", "maria@example.com")])
        .envs([("GIT_COMMITTER_NAME", "Jo"), ("GIT_COMMITTER_EMAIL", "jo@example.com")])
        .envs([("GIT_AUTHOR_DATE", "1700000000 +0100"), ("GIT_COMMITTER_DATE", "1700000060 +0100")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// A certificate for this name, and its authority's PEM file.
fn certified(name: &str) -> (TlsAcceptor, tempfile::NamedTempFile) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
        .unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), authority.pem()).unwrap();
    (TlsAcceptor::from(Arc::new(config)), file)
}

fn configured(folder: &Path, port: u16) -> String {
    let backend = Path::new(&git(folder, &["--exec-path"])).join("git-http-backend");
    let (folder, backend) = (folder.display(), backend.display());
    format!(
        r#"
server.modules = ("mod_access", "mod_auth", "mod_authn_file", "mod_redirect", "mod_alias", "mod_setenv", "mod_cgi")
server.document-root = "{folder}"
server.errorlog = "{folder}/errors.log"
server.bind = "/dev/stdin"
auth.backend = "plain"
auth.backend.plain.userfile = "{folder}/users"
auth.require = ("/private/" => ("method" => "basic", "realm" => "git", "require" => "valid-user"))
$HTTP["url"] =~ "^/token/" {{
    $REQUEST_HEADER["Authorization"] != "Bearer {TOKEN}" {{ url.access-deny = ("") }}
}}
$HTTP["url"] =~ "^/moved/" {{
    url.redirect = ("^/moved/(.*)$" => "http://localhost:{port}/private/$1")
}}
$HTTP["url"] =~ "^/round/" {{
    url.redirect = ("^/round/(.*)$" => "/round/$1")
}}
$HTTP["url"] =~ "^/old/" {{ setenv.set-request-header = ("Git-Protocol" => "") }}
$HTTP["url"] =~ "^/older/" {{ setenv.set-request-header = ("Git-Protocol" => "version=1") }}
$HTTP["url"] =~ "^/(git|private|token|old|older)/" {{
    alias.url = ("/git/" => "{backend}/", "/private/" => "{backend}/", "/token/" => "{backend}/", "/old/" => "{backend}/",
        "/older/" => "{backend}/")
    cgi.assign = ("" => "")
    setenv.add-environment = ("GIT_PROJECT_ROOT" => "{folder}/repositories", "GIT_HTTP_EXPORT_ALL" => "1")
}}
$HTTP["url"] =~ "^/git/[^/]*/info/lfs/objects/batch$" {{
    alias.url = ("/git/odd.git/info/lfs/objects/batch" => "{folder}/lfs.sh")
}}
"#
    )
}
