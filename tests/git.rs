//! Source `Custom/Git/1` against a real git server: what it makes must be what `git clone` makes.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use pipewright_base::Digest;
use pipewright_sandbox::Sandbox;
use serde_json::{Value, json};

use crate::cases;
use crate::git_cases::{CREDENTIALS, FAILURES, REVISIONS};
use crate::git_server::{GitServer, PASSWORD, TOKEN, git, push};
use crate::run::{Ended, Home, action, published};
use crate::tools;

/// A source with these settings, and a deployment of what it made into the granted directory `public`.
fn pipeline(settings: &Value) -> String {
    let mut source = action("Source", "Custom", "Git", "Git");
    source["configuration"] = settings.clone();
    source["outputArtifacts"] = json!([{ "name": "Code" }]);
    source["namespace"] = json!("Git");
    published(&source)
}

/// Runs the pipeline, with grants for the server and for `public`.
fn run(home: &Home, server: &GitServer, settings: &Value) -> Ended {
    let file = home.write("pipeline.json", &pipeline(settings));
    let grants = format!(
        "[action.\"Source/Git\"]\nhttp = [{{ origin = \"{}\", private = true }}]\n\
         [action.\"Publish/Publish\"]\ndirectories.public = {{ path = \"public\", access = \"write\" }}\n",
        server.origin()
    );
    let grants = home.write("grants.toml", &grants);
    home.run(&["run", file.to_str().unwrap(), "--grants", grants.to_str().unwrap()])
}

/// What lies below a folder, but `.git`: paths with modes, and the targets of links or the bytes of files.
fn tree(folder: &Path) -> Vec<(String, String, Vec<u8>)> {
    fn walk(top: &Path, folder: &Path, found: &mut Vec<(String, String, Vec<u8>)>) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            let metadata = fs::symlink_metadata(&entry).unwrap();
            if metadata.is_symlink() {
                found.push((
                    name,
                    "link".to_owned(),
                    fs::read_link(&entry).unwrap().into_os_string().into_encoded_bytes(),
                ));
            } else if metadata.is_file() {
                let executable = metadata.permissions().mode() & 0o100 != 0;
                found.push((name, format!("executable: {executable}"), fs::read(&entry).unwrap()));
            } else if name != ".git" {
                walk(top, &entry, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

fn write(work: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = work.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn make_executable(work: &Path, name: &str) {
    fs::set_permissions(work.join(name), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Bytes that do not compress, always the same.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// Modes, links and odd names.
pub(crate) fn odd_files(work: &Path) {
    write(work, "run me.sh", "#!/bin/sh\n");
    make_executable(work, "run me.sh");
    write(work, "ünï/CON.txt", "odd\n");
    write(work, "a\\b:c*", "odder\n");
    write(work, "empty", "");
    write(work, ".github/x.yml", "");
    // Looking for deltas in noise takes git minutes.
    write(work, ".gitattributes", "*.bin -delta\n");
    fs::create_dir_all(work.join("links/deep")).unwrap();
    symlink("../run me.sh", work.join("links/run")).unwrap();
    symlink("../../ünï", work.join("links/deep/folder")).unwrap();
    symlink("nowhere", work.join("links/dangling")).unwrap();
}

/// Odd files, deltas in blobs and trees, many small files, and a history of noise. In the checks that decide the small
/// form; `PIPEWRIGHT_TESTS_FULL=1` selects the large one.
pub(crate) fn fill(work: &Path) -> String {
    const COMMITS: usize = 4;
    let (files, history_bytes) = if tools::is_full() { (20_000, 200 << 20) } else { (500, 2 << 20) };
    odd_files(work);
    for file in 0..files {
        // Similar in content and in name: git makes deltas of such blobs and trees.
        let common: String = (0..40).map(|line| format!("line {line} of every file\n")).collect();
        let text = format!("{file}\n{common}{}\n", file % 7);
        write(work, &format!("many/{:03}/{:02}/file-{file}.txt", file / 1_000, file / 100 % 10), text);
    }
    for commit in 0..COMMITS {
        // All of it is in the last commit as well: the pack is large, and the server cannot make it smaller.
        write(work, &format!("noise-{commit}.bin"), noise(commit as u64, history_bytes / COMMITS));
        write(
            work,
            "growing.txt",
            (0..commit * 1_000).fold(String::new(), |mut text, line| {
                let _ = writeln!(text, "line {line}");
                text
            }),
        );
        push(work, &format!("Commit {commit}\n\nWith a body."));
    }
    git(work, &["rev-parse", "HEAD"])
}

#[test]
fn the_tree_is_what_git_clone_makes() {
    let Some(server) = GitServer::start() else { return };
    let id = fill(&server.create("site"));
    git(&server.repository("site"), &["repack", "-adfq"]);
    check_cloned(&server, &server.url("site"), &id, "Commit 3");
}

#[test]
fn the_tree_is_what_git_clone_makes_in_older_protocols() {
    let Some(server) = GitServer::start() else { return };
    let work = server.create("site");
    odd_files(&work);
    push(&work, "First");
    write(&work, "later", "more\n");
    let id = push(&work, "Second");
    for protocol in ["old", "older"] {
        check_cloned(&server, &format!("{}/{protocol}/site.git", server.origin()), &id, "Second");
    }
}

fn check_cloned(server: &GitServer, url: &str, id: &str, subject: &str) {
    let home = Home::new();
    let ended = run(&home, server, &json!({ "RepositoryUrl": url }));
    ended.check(0, &[&format!("fetching {id}"), subject, "test succeeded"]);
    let clone = home.path("clone");
    git(&home.path(""), &["clone", "--quiet", url, clone.to_str().unwrap()]);
    let (deployed, cloned) = (tree(&home.path("public/current/")), tree(&clone));
    let differing = deployed.iter().zip(&cloned).find(|(one, other)| one != other);
    assert!(differing.is_none(), "{:?}", differing.map(|(one, other)| (&one.0, &one.1, &other.0, &other.1)));
    assert_eq!(deployed.len(), cloned.len());
}

/// The repository `site`, and others that are odd or cannot be fetched.
struct Repositories {
    server: GitServer,
    /// The first commit on `main`, and the tag `v1`.
    first: String,
    /// The second and last one.
    second: String,
    /// The one on the branch `feature/x`.
    other: String,
}

impl Repositories {
    fn new() -> Option<Self> {
        let server = GitServer::start()?;
        let work = server.create("site");
        write(&work, "a.txt", "one\n");
        let first = push(&work, "First\n\nWith a body.");
        git(&work, &["tag", "-a", "v1", "-m", "Version 1"]);
        git(&work, &["tag", "of-tree", "HEAD^{tree}"]);
        git(&work, &["tag", "-a", "of-file", "-m", "A file", "HEAD:a.txt"]);
        git(&work, &["push", "--quiet", "origin", "v1", "of-tree", "of-file"]);
        write(&work, "a.txt", "two\n");
        let second = push(&work, "Second");
        git(&work, &["checkout", "--quiet", "-b", "feature/x"]);
        write(&work, "b.txt", "three\n");
        let other = push(&work, "Other");

        server.create("empty");
        let work = server.create("submodule");
        git(&work, &["update-index", "--add", "--cacheinfo", &format!("160000,{first},docs/theme")]);
        git(&work, &["commit", "--quiet", "-m", "From the index"]);
        git(&work, &["push", "--quiet", "origin", "HEAD"]);
        let work = server.create("odd");
        fs::create_dir_all(work.join("docs/deep")).unwrap();
        write(&work, "docs/a.md", "a");
        write(&work, "docs/deep/b.md", "b");
        symlink("../../etc/passwd", work.join("docs/climbing")).unwrap();
        symlink("/etc/passwd", work.join("absolute")).unwrap();
        symlink("deep/../a.md", work.join("docs/roundabout")).unwrap();
        let pointer = |id: &str, size: usize| {
            format!("version https://git-lfs.github.com/spec/v1\noid sha256:{id}\nsize {size}\n")
        };
        write(&work, "gone.bin", pointer(&"0".repeat(64), 12_345));
        let id = Digest::of(b"kept elsewhere").to_string();
        server.keep_by_lfs(&id, "kept elsewhere");
        write(&work, "tool", pointer(&id, 14));
        make_executable(&work, "tool");
        push(&work, "Odd");
        let work = server.create("latin");
        git(&work, &["config", "i18n.commitEncoding", "ISO-8859-1"]);
        fs::write(work.join("message"), b"Gr\xfc\xdfe\n").unwrap();
        git(&work, &["add", "."]);
        git(&work, &["commit", "--quiet", "-F", "message"]);
        git(&work, &["push", "--quiet", "origin", "HEAD"]);
        let folder = server.repository("sha256");
        fs::create_dir(&folder).unwrap();
        git(&folder, &["init", "--quiet", "--bare", "--object-format=sha256", "."]);
        Some(Self { server, first, second, other })
    }

    /// Runs cases, pairs of a name and a `case.toml` without its `action`, in which `$URL` and `$OTHER_URL` stand for the
    /// server's two origins and `$FIRST`, `$SECOND` and `$OTHER` for commits. Both origins are granted, unless a case
    /// says what is.
    async fn check(&self, cases: &[(&str, &str)]) {
        self.check_in(&cases::sandbox(), cases).await;
    }

    async fn check_in(&self, sandbox: &Sandbox, cases: &[(&str, &str)]) {
        let granted = |origin: &str| format!("{{ origin = \"{origin}\", private = true }}");
        let (origin, other_origin) = (self.server.origin(), self.server.other_origin());
        let both = format!("grants.http = [{}, {}]\n", granted(&origin), granted(&other_origin));
        let mut files = vec![];
        for (name, case) in cases {
            let case = case
                .replace("$ORIGIN", &granted(&origin))
                .replace("$URL", &origin)
                .replace("$OTHER_URL", &other_origin)
                .replace("$FIRST", &self.first)
                .replace("$SECOND", &self.second)
                .replace("$OTHER", &self.other);
            let grants = if case.contains("grants.http") { "" } else { &both };
            let action = if case.contains("action = ") { "" } else { "action = \"Source/Custom/Git/1\"\n" };
            files.push((format!("{name}/case.toml"), format!("{action}network = true\n{grants}{case}")));
            files.push((format!("{name}/password"), PASSWORD.to_owned()));
            files.push((format!("{name}/token"), TOKEN.to_owned()));
        }
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let component = pipewright_bundle::get("source-git").unwrap();
        let results = cases::run_in(sandbox, component, &files).await.unwrap_or_else(|error| panic!("{error}"));
        assert!(results.iter().all(|result| result.passed()), "{}", cases::told(&results));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_tags_and_commits() {
    let Some(repositories) = Repositories::new() else { return };
    repositories.check(REVISIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_redirects() {
    let Some(repositories) = Repositories::new() else { return };
    repositories.check(CREDENTIALS).await;
}

/// The certificate is from an authority that only the host's configuration names.
#[tokio::test(flavor = "multi_thread")]
async fn https_with_an_authority_of_its_own() {
    let Some(repositories) = Repositories::new() else { return };
    let (port, authority) = repositories.server.serve_tls().await;
    let case = format!(
        "outputs = [\"Code\"]\ngrants.http = [{{ origin = \"https://localhost:{port}\", private = true }}]\n\
         settings.RepositoryUrl = \"https://localhost:{port}/git/site.git\"\n[expected]\n"
    );
    let known = cases::sandbox_that_trusts(vec![authority.path().to_owned()]);
    let expected = "outcome = \"succeeded\"\nrevision.id = \"$SECOND\"\n";
    repositories.check_in(&known, &[("known", &format!("{case}{expected}"))]).await;
    let expected =
        "outcome = \"failed\"\nfailure = { kind = \"SystemUnavailable\", contains = [\"TLS-certificate-error\"] }\n";
    repositories.check(&[("unknown", &format!("{case}{expected}"))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_fetched() {
    let Some(repositories) = Repositories::new() else { return };
    repositories.check(FAILURES).await;
}
