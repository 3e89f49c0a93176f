//! What a job costs over bubblewrap alone: `sh -c true`, with the same files, both ways in turns, in one run.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it found")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use pipewright_base::clock::monotonic;
use pipewright_isolation::{ChildCommand, Isolation, Job, Layers, Level, Limit, Limits, Root, Toolchain};
use tokio::sync::mpsc;

const ROUNDS: usize = 200;
const GOAL: f64 = 1.5;

const BARE: &str = "--unshare-all --die-with-parent --new-session --cap-drop ALL --uid 1000 --gid 1000 --ro-bind /usr /usr \
     --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 --ro-bind-try /etc/alternatives /etc/alternatives \
     --ro-bind-try /etc/ld.so.cache /etc/ld.so.cache --ro-bind-try /etc/ssl/certs /etc/ssl/certs --proc /proc --dev /dev \
     --tmpfs /tmp --bind WORK /work --chdir /work";

fn bare(work: &Path) {
    let options = BARE.replace("WORK", work.to_str().expect("a temporary directory's name"));
    let mut command = Command::new("bwrap");
    command.args(options.split_whitespace()).args(["--", "sh", "-c", "true"]).stdin(Stdio::null());
    assert!(command.output().expect("bubblewrap").status.success());
}

async fn through(isolation: &Isolation, job: &Job) {
    let (to, mut from) = mpsc::channel(1);
    let (ended, _) =
        tokio::join!(isolation.run(job, to, std::future::pending()), async { while from.recv().await.is_some() {} });
    assert!(ended.expect("a job").is_success());
}

fn quartiles(mut times: Vec<Duration>) -> [f64; 3] {
    times.sort();
    [1, 2, 3].map(|quarter| times[times.len() * quarter / 4].as_secs_f64() * 1e3)
}

/// From the word to stop until nothing is left of a job that sleeps.
async fn stopped(isolation: &Isolation, job: &Job) -> Duration {
    let job = Job { argv: ["sh", "-c", "echo; sleep 600 & sleep 600"].map(str::to_owned).to_vec(), ..job.clone() };
    let (to, mut from) = mpsc::channel(1);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (ended, began) = tokio::join!(isolation.run(&job, to, async { drop(stopped.await) }), async {
        // It runs once it has written something.
        from.recv().await.expect("a line");
        let began = monotonic();
        stop.send(()).expect("somebody to stop");
        began
    });
    assert_eq!(ended.expect("a job").ended_by, Some(Limit::Stopped));
    began.elapsed()
}

#[tokio::main]
async fn main() {
    let child = ChildCommand { program: env!("CARGO_BIN_EXE_isolation-child").into(), args: Vec::new() };
    let isolation = Isolation::probe(child, Level::Toolchain).await.expect("a temporary directory");
    let (work, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let image = tempfile::tempdir().expect("a directory");
    let toolchain = Toolchain::system([]).expect("a system");
    let job = Job {
        argv: ["sh", "-c", "true"].map(str::to_owned).to_vec(),
        root: Root::Toolchain(toolchain),
        work: work.path().to_owned(),
        directory: std::path::PathBuf::new(),
        binds: Vec::new(),
        files: Vec::new(),
        environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        network: None,
        limits: Limits::default(),
    };
    let bind = |path: &str| pipewright_isolation::Bind { from: path.into(), to: path.into(), writable: false };
    let binds = ["/usr", "/lib", "/lib64"].into_iter().filter(|path| Path::new(path).exists()).map(bind).collect();
    let argv = ["/usr/bin/sh", "-c", "true"].map(str::to_owned).to_vec();
    let in_image = Job { root: Root::Image(Layers::of_directory(image.path())), binds, argv, ..job.clone() };
    std::fs::set_permissions(image.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("its mode");
    for (name, job) in [("toolchain", &job), ("image", &in_image)] {
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            let began = monotonic();
            through(&isolation, job).await;
            let middle = monotonic();
            bare(other.path());
            times[0].push(middle - began);
            times[1].push(monotonic() - middle);
        }
        let [[low, median, high], [_, bare, _]] = times.map(quartiles);
        println!("{name}: {median:.2} ms ({low:.2}–{high:.2}), {:.2}× of bubblewrap's {bare:.2} ms", median / bare);
    }
    println!("goal: {GOAL}× for `toolchain`");
    let mut stops = Vec::new();
    for _ in 0..ROUNDS / 10 {
        stops.push(stopped(&isolation, &job).await);
    }
    let [low, median, high] = quartiles(stops);
    println!("stopping a job that sleeps: {median:.2} ms ({low:.2}–{high:.2})");
}
