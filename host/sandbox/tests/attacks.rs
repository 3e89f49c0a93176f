//! Guests that attack the file and the HTTP capability in the real sandbox, beside what they may do.
//!
//! A case is a list of steps for the guest `steps`, each with what must come of it.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use common::Memory;
use pipewright_artifacts::files;
use pipewright_artifacts::files::{BlobDir, Blobs, Entry, FileQuota, Node, Tree};
use pipewright_sandbox::abi::Output;
use pipewright_sandbox::files::Input;
use pipewright_sandbox::grants::{Access, DirectoryGrant, Grants, HttpGrant, SecretGrant, SecretValue};
use pipewright_sandbox::limits::CallLimits;
use pipewright_sandbox::seam::Sink;
use pipewright_sandbox::{Call, CallEnd, CallFailure, Plugin, Sandbox};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// A step, and what comes of it: the whole text, or how it begins where it begins with `refused: `.
type Step<'a> = (&'a str, &'a str);

/// The host's side: a directory with what guests must not reach, and two that they may.
struct World {
    root: tempfile::TempDir,
    blobs: BlobDir,
    input: Tree,
    sandbox: Sandbox,
    plugin: Plugin,
    quota: FileQuota,
    calls: AtomicUsize,
}

impl World {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["outside", "shelf/sub", "books/sub"] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        for file in ["outside/secret", "outside/shared", "shelf/note", "books/note", "books/sub/note"] {
            fs::write(root.path().join(file), file).unwrap();
        }
        let blobs = BlobDir::new(root.path().join("blobs")).unwrap();
        let input = input(&blobs);
        let sandbox = common::sandbox();
        let plugin = sandbox.load(pipewright_guests::get("steps").into()).await.unwrap();
        let quota = FileQuota {
            bytes_max: 1 << 20,
            entries_max: 300,
            directory_depth_max: 8,
            open_files_max: 16,
            ..FileQuota::default()
        };
        Self { root, blobs, input, sandbox, plugin, quota, calls: AtomicUsize::new(0) }
    }

    fn host(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn grants(&self) -> Grants {
        let directory = |name: &str, access| (name.to_owned(), DirectoryGrant { path: self.host(name), access });
        let directories = BTreeMap::from([directory("shelf", Access::Write), directory("books", Access::Read)]);
        Grants { directories, ..Grants::default() }
    }

    fn call(&self, script: &str, grants: Grants, input: &Tree, sink: Arc<dyn Sink>) -> Call {
        let mut call = common::call("Steps", &[("Script", script)], sink);
        call.request.inputs = vec!["in".to_owned()];
        call.request.outputs = vec![Output { name: "out".to_owned(), files: Vec::new() }];
        let input = Input { name: "in".to_owned(), tree: Arc::new(input.clone()), blobs: Arc::new(self.blobs.clone()) };
        let work_dir = self.host(&format!("work/{}", self.calls.fetch_add(1, Relaxed)));
        let limits = CallLimits { wall_seconds_max: 60, files: self.quota.clone(), ..CallLimits::default() };
        Call { grants, inputs: vec![input], work_dir, limits, ..call }
    }

    /// What must be the same after every attack.
    fn untouched(&self) -> BTreeMap<PathBuf, (Vec<u8>, u32, Option<std::time::SystemTime>)> {
        let mut found = BTreeMap::new();
        let mut ahead = vec![self.host("outside"), self.host("books")];
        while let Some(directory) = ahead.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                let metadata = fs::symlink_metadata(&path).unwrap();
                let content = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
                found.insert(path.clone(), (content, metadata.permissions().mode(), metadata.modified().ok()));
                if metadata.is_dir() {
                    ahead.push(path);
                }
            }
        }
        for entry in fs::read_dir(self.root.path()).unwrap() {
            let path = entry.unwrap().path();
            if !path.ends_with("work") {
                found.entry(path).or_default();
            }
        }
        found
    }

    async fn check(&self, steps: &[Step<'_>]) -> CallEnd {
        self.check_with(self.grants(), &self.input, steps).await
    }

    async fn check_with(&self, grants: Grants, input: &Tree, steps: &[Step<'_>]) -> CallEnd {
        let script: Vec<&str> = steps.iter().map(|(step, _)| *step).collect();
        let memory = Arc::new(Memory::default());
        let sink: Arc<dyn Sink> = Arc::<Memory>::clone(&memory);
        let before = self.untouched();
        let end = self.sandbox.call(&self.plugin, self.call(&script.join("\n"), grants, input, sink)).await;
        assert_eq!(self.untouched(), before, "what lies outside was changed");

        let log = memory.lines();
        let wrong: Vec<String> = steps.iter().filter_map(|(step, wanted)| mismatch(&log, step, wanted)).collect();
        assert!(wrong.is_empty(), "{}\n{:?}", wrong.join("\n"), end.result);
        let refused = steps.iter().any(|(_, wanted)| wanted.starts_with("refused: "));
        match &end.result {
            Ok(_) => assert!(!refused, "the action did not fail"),
            Err(CallFailure::Plugin(failure)) => assert!(refused, "{failure:?}"),
            Err(failure) => panic!("{failure:?}"),
        }
        let nothing = self.call("list /scratch", Grants::default(), &self.input, Arc::new(Memory::default()));
        assert!(self.sandbox.call(&self.plugin, nothing).await.result.is_ok(), "the host goes on");
        end
    }
}

fn mismatch(log: &[String], step: &str, wanted: &str) -> Option<String> {
    let before = format!("Info {step}: ");
    let Some(found) = log.iter().find_map(|line| line.strip_prefix(&before)) else {
        return Some(format!("{step}: nothing came of it\n{log:#?}"));
    };
    let right = if wanted.starts_with("refused: ") { found.starts_with(wanted) } else { found == wanted };
    (!right).then(|| format!("{step}\n  wanted: {wanted}\n  got:    {found}"))
}

/// An artifact with a few files, a link, and archives that mean harm.
fn input(blobs: &BlobDir) -> Tree {
    let file = |path: &str, bytes: &[u8]| {
        let digest = blobs.put(bytes).unwrap();
        let node = Node::File { digest, size: bytes.len() as u64, executable: false };
        Entry { path: path.to_owned(), node }
    };
    let with = |name: &'static str, content: &'static [u8]| {
        zipped(move |zip| {
            zip.start_file(name, SimpleFileOptions::default())?;
            Ok(zip.write_all(content)?)
        })
    };
    static ZEROS: [u8; 8 << 20] = [0; 8 << 20];
    let link = zipped(|zip| zip.add_symlink("l", "../../../secret", SimpleFileOptions::default()));
    let through = zipped(|zip| {
        zip.add_symlink("d", "..", SimpleFileOptions::default())?;
        zip.start_file("d/x", SimpleFileOptions::default())?;
        Ok(zip.write_all(b"x")?)
    });
    let many =
        zipped(|zip| (0..2_000).try_for_each(|n| zip.add_directory(n.to_string(), SimpleFileOptions::default())));
    let entries = vec![
        file("note", b"a note"),
        file("sub/note", b"another"),
        Entry { path: "sub/link".to_owned(), node: Node::Link { target: "../note".to_owned() } },
        file("slip.zip", &with("../x", b"x")),
        file("deep-slip.zip", &with("a/../../../x", b"x")),
        file("absolute.zip", &with("/etc/x", b"x")),
        file("bomb.zip", &with("zeros", &ZEROS)),
        file("link.zip", &link),
        file("through.zip", &through),
        file("many.zip", &many),
    ];
    Tree::new(entries).unwrap()
}

fn zipped(pack: impl FnOnce(&mut ZipWriter<io::Cursor<Vec<u8>>>) -> zip::result::ZipResult<()>) -> Vec<u8> {
    let mut writer = ZipWriter::new(io::Cursor::default());
    pack(&mut writer).unwrap();
    writer.finish().unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ordinary_programs_work() {
    let world = World::new().await;
    let end = world
        .check(&[
            ("mkdir /outputs/out/a/b", "done"),
            ("write /outputs/out/a/b/file one", "done"),
            ("append outputs/out/a/b/file two", "done"),
            ("read outputs/out/./a/../a/b/file", "onetwo"),
            ("create /outputs/out/a/b/file", "refused: File exists"),
            ("stat /outputs/out/a/b/file", "a file of 6 bytes, modified at 0 s"),
            ("stat /outputs/out/a", "a directory of 0 bytes, modified at 0 s"),
            ("write scratch/z 1", "done"),
            ("write /scratch/a 22", "done"),
            ("write scratch/m 333", "done"),
            ("list /scratch", "a m z"),
            ("rename /scratch/z scratch/y", "done"),
            ("remove /scratch/m", "done"),
            ("list scratch", "a y"),
            ("shrink /scratch/a", "done"),
            ("stat /scratch/a", "a file of 0 bytes, modified at 0 s"),
            ("rmdir /outputs/out/a", "refused: Directory not empty"),
            ("remove-all /outputs/out/a", "done"),
            ("list /outputs/out", ""),
            ("list /", "directories inputs outputs scratch"),
            ("list /directories", "books shelf"),
            ("list /inputs/in/sub", "link note"),
            ("read /inputs/in/sub/link", "a note"),
            ("read-link /inputs/in/sub/link", "../note"),
            ("stat /inputs/in/note", "a file of 6 bytes, modified at 0 s"),
            ("read /directories/books/sub/note", "books/sub/note"),
            ("write /directories/shelf/sub/new new", "done"),
            ("rename /directories/shelf/sub/new /directories/shelf/new", "done"),
            ("set-times /directories/shelf/new", "done"),
            ("stat /directories/shelf/new", "a file of 3 bytes, modified at 1 s"),
        ])
        .await;
    assert_eq!(fs::read_to_string(world.host("shelf/new")).unwrap(), "new");
    assert!(end.denials.is_empty() && end.undeclared.is_empty(), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_path_leads_out() {
    let world = World::new().await;
    let end = world
        .check(&[
            ("read /etc/passwd", "refused: No such file"),
            ("read etc/passwd", "refused: No such file"),
            ("read ../etc/passwd", "refused: Operation not permitted"),
            ("read /inputs/in/../../../etc/passwd", "refused: Operation not permitted"),
            ("read /outputs/out/../../../etc/passwd", "refused: Operation not permitted"),
            ("read /scratch/../../etc/passwd", "refused: Operation not permitted"),
            ("read /directories/shelf/../../../etc/passwd", "refused: Operation not permitted"),
            ("read /directories/shelf/../outside/secret", "refused: Operation not permitted"),
            ("fetch /etc/passwd", "refused: /etc/passwd does not exist: there are /inputs, /outputs"),
            ("fetch ../outside/secret", "refused: ../outside/secret leads above the root"),
            (
                "digest /directories/books/../../../secret",
                "refused: /directories/books/../../../secret leads above the root",
            ),
            ("copy /inputs/in /outputs/out/../../../x", "refused: /outputs/out/../../../x leads above the root"),
            ("write /inputs/in/new x", "refused: Read-only file system"),
            ("write /inputs/in/note x", "refused: Read-only file system"),
            ("remove /inputs/in/note", "refused: Read-only file system"),
            ("rename /inputs/in/note /scratch/note", "refused: Read-only file system"),
            ("make /inputs/in/new", "refused: the input artifact in is read-only"),
            ("mkdir /inputs/more", "refused: Operation not permitted"),
            ("write /new x", "refused: No such file"),
            ("write /outputs/new x", "refused: No such file"),
            ("make /outputs/more/x", "refused: this action has no output artifact more: it has out"),
            ("remove-all /outputs/out", "refused: Resource busy"),
            ("write /outputs/out/file x", "done"),
            ("rename /outputs/out/file /directories/shelf/file", "refused: Cross-device link"),
            ("hard-link /inputs/in/note /outputs/out/hard", "refused: Operation not permitted"),
            ("hard-link /outputs/out/file /outputs/out/hard", "refused: Operation not permitted"),
        ])
        .await;
    assert_eq!(end.undeclared, ["more", "new"]);
    check_denials(&end, &["directories.outside = { path = \"…\", access = \"read\" }"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_link_is_planted_that_leads_out() {
    let world = World::new().await;
    world
        .check(&[
            ("mkdir /outputs/out/a/b", "done"),
            ("symlink /etc/passwd /outputs/out/l", "refused: Operation not permitted"),
            ("symlink ../x /outputs/out/l", "refused: Operation not permitted"),
            ("symlink a/../../x /outputs/out/l", "refused: Operation not permitted"),
            ("symlink ../../../x /outputs/out/a/b/l", "refused: Operation not permitted"),
            ("symlink /etc /scratch/l", "refused: Operation not permitted"),
            ("symlink ../outside/secret /directories/shelf/l", "refused: Operation not permitted"),
            ("link /etc/passwd /outputs/out/l", "refused: the link /outputs/out/l has an absolute target"),
            ("link .. /outputs/out/l", "refused: the link /outputs/out/l leads outside"),
            ("list /outputs/out", "a"),
            // What stays inside where it lies may not once it lies elsewhere.
            ("symlink ../../a /outputs/out/a/b/up", "done"),
            ("rename /outputs/out/a/b/up /outputs/out/up", "refused: Operation not permitted"),
            ("rename /outputs/out/a/b /outputs/out/b", "refused: Operation not permitted"),
            // A chain of links that each stay inside, and whose text is deeper than where they lie.
            ("symlink . /outputs/out/self", "done"),
            ("symlink ../x /outputs/out/self/self/l", "refused: Operation not permitted"),
            ("write /outputs/out/self/self/a/b/up/file x", "done"),
            ("read /outputs/out/a/file", "x"),
            ("symlink two /outputs/out/one", "done"),
            ("symlink one /outputs/out/two", "done"),
            ("read /outputs/out/one", "refused: Symbolic link loop"),
            ("write /outputs/out/two x", "refused: Symbolic link loop"),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_end_with_a_limit() {
    let world = World::new().await;
    let cases: &[(Step<'_>, &str)] = &[
        (("flood-files /outputs/out", "refused: after 299: Quota exceeded"), "entries_max (300)"),
        (("flood-files /directories/shelf", "refused: after 300: Quota exceeded"), "entries_max (300)"),
        (("flood-bytes /outputs/out/x", "refused: after 64: I/O error"), "bytes_max (1048576)"),
        (("flood-bytes /scratch/x", "refused: after 64: I/O error"), "bytes_max (1048576)"),
        (("lengthen /outputs/out/x 1000000000000", "refused: Quota exceeded"), "bytes_max (1048576)"),
        (("write-behind /outputs/out/x 1000000000000", "refused: I/O error"), "bytes_max (1048576)"),
        (("hold-files /inputs/in/note", "refused: after 15: Quota exceeded"), "open_files_max (16)"),
        (
            ("unzip /inputs/in/bomb.zip /outputs/out", "refused: /inputs/in/bomb.zip: the limit bytes_max"),
            "bytes_max (1048576)",
        ),
        (
            ("unzip /inputs/in/many.zip /outputs/out", "refused: /inputs/in/many.zip: the limit entries_max"),
            "entries_max (300)",
        ),
    ];
    for (step, limit) in cases {
        let memory = check_flood(&world, *step).await;
        let told = format!("Warn the limit {limit} of this action is used up");
        assert!(memory.contains(&told), "{told:?} is not in {memory:#?}");
    }
    let listings = "hold-listings /inputs/in";
    let call = world.call(listings, world.grants(), &world.input, Arc::new(Memory::default()));
    // What the resources themselves take is counted from the start.
    let limits = CallLimits { resources_max: 100, host_memory_bytes_max: (100 << 9) + (4 << 10), ..call.limits };
    match world.sandbox.call(&world.plugin, Call { limits, ..call }).await.result {
        Err(CallFailure::Limit(reached)) => assert_eq!(reached.limit, "host_memory_bytes_max", "{reached}"),
        other => panic!("{listings}: {other:?}"),
    }
    world.check(&[("flood-directories /outputs/out", "refused: after 7: Filename too long")]).await;
    // Where each path is short, and what lies at its end is deep.
    for area in ["/scratch", "/outputs/out", "/directories/shelf"] {
        world.check(&[(&format!("nest {area}"), "refused: after 8: Filename too long")]).await;
        world.check(&[(&format!("nest-by-links {area}"), "refused: after 8: Filename too long")]).await;
    }
}

async fn check_flood(world: &World, step: Step<'_>) -> Vec<String> {
    let memory = Arc::new(Memory::default());
    let sink: Arc<dyn Sink> = Arc::<Memory>::clone(&memory);
    let end = world.sandbox.call(&world.plugin, world.call(step.0, world.grants(), &world.input, sink)).await;
    let lines = memory.lines();
    assert!(matches!(end.result, Err(CallFailure::Plugin(_))), "{}: {end:?}", step.0);
    assert_eq!(mismatch(&lines, step.0, step.1), None);
    lines
}

/// What a granted directory may hold that leads out of it, or waits for ever.
fn plant(world: &World) {
    let at = |name: &str| world.host("shelf").join(name);
    symlink(world.host("outside/secret"), at("absolute")).unwrap();
    symlink("../outside/secret", at("relative")).unwrap();
    symlink("/etc", at("etc")).unwrap();
    symlink("../outside", at("middle")).unwrap();
    symlink("../outside/new", at("dangling")).unwrap();
    symlink("middle/../note", at("chain")).unwrap();
    symlink("/proc/self/fd/0", at("magic")).unwrap();
    fs::hard_link(world.host("outside/shared"), at("hard")).unwrap();
    mknodat(CWD, at("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_planted_in_a_granted_directory_is_not_followed() {
    const OUT: &str = "refused: Operation not permitted";
    let world = World::new().await;
    plant(&world);
    world
        .check(&[
            ("read /directories/shelf/note", "shelf/note"),
            ("read /directories/shelf/absolute", OUT),
            ("read /directories/shelf/relative", OUT),
            ("read /directories/shelf/etc/passwd", OUT),
            ("list /directories/shelf/etc", OUT),
            ("read /directories/shelf/middle/secret", OUT),
            ("fetch /directories/shelf/middle/secret", "refused: /directories/shelf/middle/secret: "),
            ("digest /directories/shelf/relative", "refused: /directories/shelf/relative: "),
            ("read /directories/shelf/chain", OUT),
            ("read /directories/shelf/magic", OUT),
            ("write /directories/shelf/absolute x", OUT),
            ("write /directories/shelf/dangling x", OUT),
            ("write /directories/shelf/middle/new x", OUT),
            ("mkdir /directories/shelf/middle/new", OUT),
            ("remove /directories/shelf/middle/secret", OUT),
            ("rename /directories/shelf/note /directories/shelf/middle/note", OUT),
            ("rename /directories/shelf/middle/secret /directories/shelf/stolen", OUT),
            ("symlink note /directories/shelf/middle/l", OUT),
            ("set-times /directories/shelf/relative", OUT),
            ("executable /directories/shelf/relative", "refused: /directories/shelf/relative: "),
            (
                "copy /directories/shelf /outputs/out",
                "refused: copying /directories/shelf to /outputs/out: the link absolute has",
            ),
            ("copy /directories/shelf/relative /outputs/out/x", "refused: /directories/shelf/relative: "),
            ("unzip /inputs/in/bomb.zip /directories/shelf/middle", "refused: /directories/shelf: middle: "),
            // What waits for ever.
            ("read /directories/shelf/fifo", OUT),
            ("write /directories/shelf/fifo x", OUT),
            ("digest /directories/shelf/fifo", "refused: /directories/shelf/fifo is neither a file nor a directory"),
            (
                "copy /directories/shelf/fifo /outputs/out/x",
                "refused: /directories/shelf/fifo is neither a file nor a directory",
            ),
            ("set-times /directories/shelf/fifo", "refused: Operation not permitted"),
            // A second name of a file outside.
            ("read /directories/shelf/hard", "outside/shared"),
            ("write /directories/shelf/hard x", OUT),
            ("append /directories/shelf/hard x", OUT),
            ("truncate /directories/shelf/hard", OUT),
            ("set-times /directories/shelf/hard", OUT),
            ("executable /directories/shelf/hard", "refused: /directories/shelf/hard has other names (hard links)"),
            ("make /directories/shelf/hard", "done"),
            ("fetch /directories/shelf/hard", ""),
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_granted_is_denied_with_the_grant() {
    let world = World::new().await;
    let end = world
        .check(&[
            ("write /directories/books/note x", "refused: Operation not permitted"),
            ("append /directories/books/note x", "refused: Operation not permitted"),
            ("truncate /directories/books/note", "refused: Operation not permitted"),
            ("create /directories/books/new", "refused: Operation not permitted"),
            ("mkdir /directories/books/new", "refused: Operation not permitted"),
            ("remove /directories/books/note", "refused: Operation not permitted"),
            ("rename /directories/books/note /directories/books/new", "refused: Operation not permitted"),
            ("symlink note /directories/books/l", "refused: Operation not permitted"),
            ("set-times /directories/books/note", "refused: Operation not permitted"),
            ("executable /directories/books/note", "refused: guest/steps (action S/A) tried to write to the directory"),
            ("read /directories/books/note", "books/note"),
        ])
        .await;
    // Each once, however often it was tried: of `note`, `new` and `l`.
    assert_eq!(end.denials.len(), 3, "{:#?}", end.denials);
    check_denials(&end, &["directories.books = { path = \"…\", access = \"write\" }"]);
    let end = world
        .check(&[
            ("read /directories/cellar/x", "refused: Operation not permitted"),
            ("list /directories/cellar", "refused: Operation not permitted"),
            ("list-all /directories/cellar", "refused: guest/steps (action S/A) tried to use the directory"),
        ])
        .await;
    check_denials(&end, &["directories.cellar = { path = \"…\", access = \"read\" }"]);
}

/// Every denial ends with one of the grants, and every grant is the end of one.
fn check_denials(end: &CallEnd, grants: &[&str]) {
    let is_of = |denial: &String, grant: &&str| denial.ends_with(&format!("grant the action \"S/A\": {grant}"));
    for denial in &end.denials {
        assert!(grants.iter().any(|grant| is_of(denial, grant)), "{denial}");
    }
    for grant in grants {
        assert!(end.denials.iter().any(|denial| is_of(denial, grant)), "{grant}: {:#?}", end.denials);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archives_land_nowhere_else() {
    let world = World::new().await;
    for directory in ["/outputs/out/a", "/directories/shelf/a"] {
        let unzip = |name: &str| format!("unzip /inputs/in/{name}.zip {directory}");
        world
            .check(&[
                (&unzip("slip"), "refused: /inputs/in/slip.zip: the entry \"../x\" has `.` or `..` in it"),
                (&unzip("deep-slip"), "refused: /inputs/in/deep-slip.zip: the entry \"a/../../../x\" has `.` or `..`"),
                (&unzip("absolute"), "refused: /inputs/in/absolute.zip: the entry \"/etc/x\" has an empty name"),
                (&unzip("link"), "refused: /inputs/in/link.zip: the link l leads outside"),
                (&unzip("through"), "refused: /inputs/in/through.zip: d: Is a directory"),
                (&unzip("slip").replace("slip.zip", "note"), "refused: /inputs/in/note: not a usable zip file"),
            ])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outputs_keep_modes_and_links() {
    let world = World::new().await;
    let end = world
        .check(&[
            ("write /outputs/out/bin/run x", "refused: No such file"),
            ("mkdir /outputs/out/bin", "done"),
            ("mkdir /outputs/out/empty", "done"),
        ])
        .await;
    assert!(end.outputs.is_empty(), "a failed action has none");
    let end = world
        .check(&[
            ("mkdir /outputs/out/bin", "done"),
            ("mkdir /outputs/out/empty", "done"),
            ("write /outputs/out/bin/run x", "done"),
            ("executable /outputs/out/bin/run", "done"),
            ("symlink bin/run /outputs/out/start", "done"),
            ("link ../bin/run /outputs/out/bin/self", "done"),
            ("write /outputs/out/plain y", "done"),
        ])
        .await;
    let tree = files::collect(&end.outputs[0], &world.blobs, &world.quota).unwrap();
    let file = |path: &str, bytes: &[u8], executable| {
        let digest = pipewright_base::Digest::of(bytes);
        Entry { path: path.to_owned(), node: Node::File { digest, size: bytes.len() as u64, executable } }
    };
    let link =
        |path: &str, target: &str| Entry { path: path.to_owned(), node: Node::Link { target: target.to_owned() } };
    let wanted = [
        file("bin/run", b"x", true),
        link("bin/self", "../bin/run"),
        Entry { path: "empty".to_owned(), node: Node::Directory },
        file("plain", b"y", false),
        link("start", "bin/run"),
    ];
    assert_eq!(tree.entries(), wanted);
    let handed_on = [
        ("list-all /inputs/in", "bin bin/run bin/self empty plain start"),
        ("read /inputs/in/start", "x"),
        ("read /inputs/in/bin/self", "x"),
        ("copy /inputs/in /directories/shelf/copy", "2 files"),
    ];
    world.check_with(world.grants(), &tree, &handed_on).await;
    let mode = |path: &str| fs::metadata(world.host("shelf/copy").join(path)).unwrap().permissions().mode() & 0o100;
    assert_eq!((mode("start"), mode("plain")), (0o100, 0));
}

/// A server on the loopback that says hello, and remembers the heads of requests.
async fn server() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            seen.lock().unwrap().push(String::from_utf8(head).unwrap().to_lowercase());
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
            stream.write_all(answer).await.unwrap();
        }
    });
    (port, heads)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_where_they_may_and_secrets_with_them() {
    let world = World::new().await;
    let (port, heads) = server().await;
    let origin = |host: &str, private| HttpGrant { tls: false, host: host.to_owned(), port, private };
    let secret = |reveal| {
        let (value, hosts) = (SecretValue::new("pa55word-of-tests"), vec!["127.0.0.1".to_owned()]);
        SecretGrant { value, hosts, reveal, commands: false, commands_file: None, stored: None }
    };
    let secrets = BTreeMap::from([("token".to_owned(), secret(false))]);
    let (here, named) = (format!("http://127.0.0.1:{port}"), format!("http://localhost:{port}"));
    let (get, get_named) = (format!("get {here}/"), format!("get {named}/"));
    let (with, with_named) = (format!("get-with token {here}/"), format!("get-with token {named}/"));

    let denied = "refused: no grant allows the request to ";
    let nothing =
        [(get.as_str(), denied), ("get https://example.com/", denied), ("reveal token", "refused: guest/steps")];
    let end = world.check_with(Grants::default(), &world.input, &nothing).await;
    let line = format!("http = [{{ origin = \"{here}\", private = true }}]");
    check_denials(&end, &[&line, "http = [\"https://example.com\"]", "secrets.token = { env = \"…\", reveal = true }"]);

    let public = Grants { http: vec![origin("127.0.0.1", false), origin("localhost", false)], ..Grants::default() };
    let private = format!("refused: the request to {here}/ leads to a private address");
    let private_named = format!("refused: the request to {named}/ leads to a private address");
    let end = world.check_with(public, &world.input, &[(&get, &private), (&get_named, &private_named)]).await;
    let line_named = format!("http = [{{ origin = \"{named}\", private = true }}]");
    check_denials(&end, &[&line, &line_named]);
    assert!(heads.lock().unwrap().is_empty(), "a refused request was sent");

    let http = vec![origin("127.0.0.1", true), origin("localhost", true)];
    let granted = Grants { http, secrets, ..Grants::default() };
    let steps = [
        (get.as_str(), "200 hello"),
        (&with, "200 hello"),
        (&with_named, denied),
        ("reveal token", "refused: guest/steps"),
    ];
    let end = world.check_with(granted, &world.input, &steps).await;
    let hosts = "secrets.token = { …, hosts = [\"127.0.0.1\", \"localhost\"] }";
    check_denials(&end, &[hosts, "secrets.token = { …, reveal = true }"]);
    let heads = heads.lock().unwrap().clone();
    let got: Vec<bool> = heads.iter().map(|head| head.contains("authorization: pa55word-of-tests")).collect();
    assert_eq!(got, [false, true], "{heads:#?}");
    let revealing = Grants { secrets: BTreeMap::from([("token".to_owned(), secret(true))]), ..Grants::default() };
    world.check_with(revealing, &world.input, &[("reveal token", "****")]).await;
}
