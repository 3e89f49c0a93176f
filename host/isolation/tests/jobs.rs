//! A job's way from its order to its end: what it sees, what it writes, how it ends, and that nothing is left of it.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use common::{World, child, child_without_namespaces, is_root, isolation, processes_with, run, run_until, small};
use pipewright_isolation::{
    Bind, ChildCommand, Isolation, Job, JobError, Layers, Level, Limit, Root, RunError, Toolchain, WORK,
};
use tokio::sync::mpsc;

#[tokio::test]
async fn a_program_runs_in_its_work_directory_with_its_environment() {
    let Some(isolation) = isolation().await else { return };
    let world = World::new();
    let mut job =
        world.shell("pwd; cat in; echo out >out; echo $A; env | sort | cut -d= -f1; hostname; id -u; echo e >&2");
    job.environment.push(("A".to_owned(), "b c".to_owned()));
    fs::write(job.work.join("in"), "in\n").unwrap();
    let (ended, output) = run(&isolation, &job).await;
    let ended = ended.unwrap();
    assert_eq!(output, "/work\nin\nb c\nA\nPATH\nPWD\njob\n1000\ne\n");
    assert_eq!((ended.status, ended.signal, ended.ended_by, ended.level), (0, None, None, Level::Toolchain));
    assert!(ended.is_success());
    assert!(ended.memory_bytes_max > 100 << 10 && ended.memory_bytes_max < 64 << 20, "{ended:?}");
    assert_eq!(fs::read_to_string(job.work.join("out")).unwrap(), "out\n");
    let work = fs::metadata(&job.work).unwrap();
    assert_eq!(work.permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_program_ends_as_it_ends() {
    let world = World::new();
    let Some(isolation) = isolation().await else { return };
    for (script, status, signal) in [
        ("exit 0", 0, None),
        ("exit 3", 3, None),
        ("exit 255", 255, None),
        ("kill -TERM $$", 128 + 15, Some(15)),
        ("kill -SEGV $$", 128 + 11, Some(11)),
        // The end of the first process is the end of the job.
        ("sleep 600 & exit 4", 4, None),
    ] {
        let (ended, output) = run(&isolation, &world.shell(script)).await;
        let ended = ended.unwrap();
        assert_eq!((ended.status, ended.signal, ended.ended_by), (status, signal, None), "{script}: {output}");
    }
}

#[tokio::test]
async fn what_cannot_be_run_is_refused_with_the_reason() {
    let world = World::new();
    let Some(isolation) = isolation().await else { return };
    let (ended, _) = run(&isolation, &world.job(&["no-such-program"])).await;
    let said = ended.unwrap_err().to_string();
    assert!(said.contains("no-such-program") && said.contains("No such file"), "{said}");
    let mut job = world.job(&["./orphan"]);
    fs::write(job.work.join("orphan"), "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(job.work.join("orphan"), fs::Permissions::from_mode(0o755)).unwrap();
    for path in ["/usr/bin", "/no/such/directory:/work:/usr/bin"] {
        job.environment = vec![("PATH".to_owned(), path.to_owned())];
        let said = run(&isolation, &job).await.0.unwrap_err().to_string();
        assert!(said.contains("orphan`: what is to run it is not there"), "{said}");
        job.argv = vec!["orphan".to_owned()];
    }
    let mut job = world.job(&["true"]);
    job.work = world.folder.path().join("missing");
    let said = run(&isolation, &job).await.0.unwrap_err().to_string();
    assert!(said.contains("missing: No such file"), "{said}");
    let mut job = world.job(&["true"]);
    job.binds.push(Bind { from: "/no/such/file".into(), to: "/given".into(), writable: false });
    let said = run(&isolation, &job).await.0.unwrap_err().to_string();
    assert!(said.contains("/no/such/file: No such file") && said.contains("let what it names be there"), "{said}");
    type Change = fn(&mut Job);
    let changes: [(Change, JobError); 6] = [
        (|job| job.argv.clear(), JobError::NoProgram),
        (|job| job.argv.push("a\0b".to_owned()), JobError::Argument(1)),
        (|job| job.environment.push(("A=".to_owned(), String::new())), JobError::Variable("A=".to_owned())),
        (|job| job.files.push(("../a".to_owned(), String::new())), JobError::File("../a".to_owned())),
        (|job| job.work = "work".into(), JobError::Path("work".into())),
        (|job| job.environment.push(("PATH".to_owned(), ":/usr/bin".repeat(300))), JobError::Directories(301)),
    ];
    for (change, error) in changes {
        let mut job = world.job(&["true"]);
        change(&mut job);
        let Err(RunError::Job(found)) = run(&isolation, &job).await.0 else { panic!("{error}") };
        assert_eq!(found, error);
    }
    let mut job = world.job(&["true"]);
    job.binds.push(Bind { from: "/usr".into(), to: WORK.into(), writable: true });
    assert!(matches!(run(&isolation, &job).await.0, Err(RunError::Job(JobError::Place(_)))));
    let mut job = world.job(&["true"]);
    job.files.push(("long".to_owned(), "x".repeat(16 << 20)));
    assert!(matches!(run(&isolation, &job).await.0, Err(RunError::Job(JobError::TooLong(_)))));
}

#[tokio::test]
async fn a_program_can_begin_below_its_work_directory() {
    let Some(isolation) = isolation().await else { return };
    let world = World::new();
    let mut job = world.shell("pwd; cat file");
    job.directory = "a/b".into();
    fs::create_dir_all(job.work.join("a/b")).unwrap();
    fs::write(job.work.join("a/b/file"), "file\n").unwrap();
    assert_eq!(run(&isolation, &job).await.1, "/work/a/b\nfile\n");
    job.directory = "../x".into();
    assert!(matches!(run(&isolation, &job).await.0, Err(RunError::Job(JobError::Directory(_)))));
}

#[tokio::test]
async fn binds_are_seen_as_they_were_given() {
    let Some(isolation) = isolation().await else { return };
    let world = World::new();
    let (given, kept) = (world.folder("given"), world.folder("kept"));
    fs::write(given.join("a"), "a\n").unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o777)).unwrap();
    let mut job = world.shell("cat /given/a; echo x >/given/x; echo y >/kept/y; echo z >/z; ls / | tr '\\n' ' '");
    job.binds.push(Bind { from: given.clone(), to: "/given".into(), writable: false });
    job.binds.push(Bind { from: kept.clone(), to: "/kept".into(), writable: true });
    let (_, output) = run(&isolation, &job).await;
    assert!(output.starts_with("a\n"), "{output}");
    assert_eq!(output.matches("Read-only file system").count(), 2, "{output}");
    assert!(output.contains("bin dev etc given kept lib"), "{output}");
    assert!(!given.join("x").exists());
    assert_eq!(fs::read_to_string(kept.join("y")).unwrap(), "y\n");
}

/// As a toolchain in root's home is: what is named is seen, and nothing beside it.
#[tokio::test]
async fn a_toolchain_in_a_closed_directory_is_seen() {
    let Some(isolation) = isolation().await else { return };
    let world = World::new();
    // Jobs have a /tmp and a /work of their own.
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    let (home, tools) = (home.path(), home.path().join("tools"));
    fs::create_dir(&tools).unwrap();
    for file in ["tools/tool", "file", "secret"] {
        fs::write(home.join(file), format!("{file}\n")).unwrap();
    }
    fs::set_permissions(home, fs::Permissions::from_mode(0o700)).unwrap();
    let script = format!("cd {} && cat tools/tool file; ls; touch tools/x", home.display());
    let toolchain = Toolchain::system([tools, home.join("file")]).unwrap();
    let job = Job { root: Root::Toolchain(toolchain), ..world.shell(&script) };
    let (_, output) = run(&isolation, &job).await;
    assert!(output.starts_with("tools/tool\nfile\nfile\ntools\n"), "{output}");
    assert!(output.ends_with("Read-only file system\n"), "{output}");
}

/// Of 100 MB, the host has a few pieces in memory at most, and the program waits for whoever reads.
#[tokio::test]
async fn output_is_passed_on_as_fast_as_it_is_taken() {
    let world = World::new();
    let mut job = world.shell("head -c 104857600 /dev/zero | tr '\\0' 'x' | fold -w 99");
    job.limits.output_bytes_max = 1 << 30;
    (job.limits.cpu_seconds_max, job.limits.wall_seconds_max) = (300, 300);
    let Some(isolation) = isolation().await else { return };
    let (to, mut from) = mpsc::channel::<Vec<u8>>(1);
    let (ended, (bytes, lines)) = tokio::join!(isolation.run(&job, to, std::future::pending()), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let (mut bytes, mut lines) = (0, 0);
        while let Some(some) = from.recv().await {
            assert!(some.len() <= pipewright_isolation::LINES_BYTES_MAX);
            bytes += some.len();
            lines += some.iter().filter(|byte| **byte == b'\n').count();
        }
        (bytes, lines)
    });
    assert!(ended.unwrap().is_success());
    assert_eq!((bytes - lines, lines), (104_857_600, 104_857_600_usize / 99));
}

#[tokio::test]
async fn a_job_that_is_stopped_ends_at_once() {
    let Some(isolation) = isolation().await else { return };
    let world = World::new();
    for (isolation, level) in [
        (isolation, Level::Toolchain),
        (Isolation::probe(child_without_namespaces(), Level::Restricted).await.unwrap(), Level::Restricted),
    ] {
        if level == Level::Restricted && !is_root() {
            let refusal = isolation.offers().at(level).unwrap_err().to_string();
            assert!(refusal.contains("ordinary user") && refusal.contains("run the host as root"), "{refusal}");
            continue;
        }
        let marker = format!("36{}.{}", std::process::id(), level as u32);
        let job = world.shell(&format!("trap '' TERM; (setsid sleep {marker} &) ; sleep {marker}"));
        let (ended, _) = run_until(&isolation, &job, begun(&format!("sleep {marker}"), 2)).await;
        let ended = ended.unwrap();
        assert_eq!((ended.status, ended.ended_by, ended.level), (137, Some(Limit::Stopped), level));
        assert_eq!(processes_with(&marker), Vec::<String>::new());
    }
}

/// Where the host is root, jobs are not: not on the machine, whatever they are to themselves.
#[tokio::test]
async fn no_job_is_root() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let inside = world.folder("inside");
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o700)).unwrap();
    let sleep = format!("sleep 3612.{}", std::process::id());
    let mut job = world.shell(&format!("echo x >made; {sleep}"));
    let Some(isolation) = isolation().await else { return };
    let seen = async {
        loop {
            let pids = processes_with(&sleep).into_iter().filter(|it| !it.contains("bwrap") && !it.contains("sh -c"));
            if let Some(pid) = pids.map(|it| it.split(' ').next().unwrap().to_owned()).next() {
                return fs::metadata(format!("/proc/{pid}")).unwrap().uid();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (to, _from) = mpsc::channel(1);
    tokio::select! {
        _ = isolation.run(&job, to, std::future::pending()) => panic!("it ended"),
        uid = seen => assert_eq!(uid, 1_900_000_000),
    }
    gone(&sleep).await;
    job = world.shell("echo x >made");
    assert!(run(&isolation, &job).await.0.unwrap().is_success());
    assert_eq!(fs::metadata(job.work.join("made")).unwrap().uid(), 0, "what it made is the host's afterwards");
    job.work = inside.join("work");
    fs::create_dir(&job.work).unwrap();
    // The host's user makes it reachable, but nothing else that is inside.
    assert!(run(&isolation, &job).await.0.unwrap().is_success());
    job.binds.push(Bind { from: job.work.join("made"), to: "/given".into(), writable: false });
    let said = run(&isolation, &job).await.0.unwrap_err().to_string();
    assert!(said.contains("Permission denied") && said.contains("reachable for the user"), "{said}");
}

/// What waits for the next job has its view already.
#[tokio::test]
async fn what_is_replaced_between_two_jobs_is_seen_as_it_is() {
    let Some(isolation) = isolation().await else { return };
    let (world, home) = (World::new(), tempfile::tempdir_in("/var/tmp").unwrap());
    common::open(home.path());
    let file = home.path().join("version");
    let mut job = world.shell(&format!("cat {}", file.display()));
    for version in ["1", "2", "3"] {
        let made = file.with_extension("new");
        fs::write(&made, version).unwrap();
        fs::rename(made, &file).unwrap();
        job.root = Root::Toolchain(Toolchain::system([file.clone()]).unwrap());
        let (ended, output) = run(&isolation, &job).await;
        assert_eq!((ended.unwrap().status, output.as_str()), (0, version));
    }
}

/// A host has many, on whatever threads.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_run_beside_each_other() {
    let Some(isolation) = isolation().await else { return };
    let world = std::sync::Arc::new(World::new());
    let isolation = std::sync::Arc::new(isolation);
    let mut jobs = tokio::task::JoinSet::new();
    for number in 0..8 {
        let (world, isolation) = (world.clone(), isolation.clone());
        jobs.spawn(async move {
            let mut job = world.shell(&format!("sleep 0.2; ls; exit {number}"));
            job.work = world.folder(&format!("work-{number}"));
            fs::write(job.work.join(format!("file-{number}")), "").unwrap();
            let (ended, output) = run(&isolation, &job).await;
            assert_eq!((ended.unwrap().status, output), (number, format!("file-{number}\n")));
        });
    }
    while let Some(done) = jobs.join_next().await {
        done.unwrap();
    }
}

/// The host gives up the job: nobody waits for it any more.
#[tokio::test]
async fn a_job_that_is_dropped_ends() {
    let world = World::new();
    let Some(isolation) = isolation().await else { return };
    let sleep = format!("sleep 3611.{}", std::process::id());
    let job = world.shell(&sleep);
    let (to, _from) = mpsc::channel(1);
    tokio::select! {
        _ = isolation.run(&job, to, std::future::pending()) => panic!("it ended"),
        () = begun(&sleep, 1) => {}
    }
    gone(&sleep).await;
}

/// Waits until so many processes are this command, and not those around it that have it in their command line.
async fn begun(command: &str, processes: usize) {
    let is_it = |line: &String| line.split_once(' ').is_some_and(|(_, line)| line.trim_end() == command);
    while processes_with(command).iter().filter(|line| is_it(line)).count() < processes {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until no process has the text in its command line: what is killed may take a moment to be gone.
async fn gone(text: &str) {
    for _ in 0..600 {
        if processes_with(text).is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{:?}", processes_with(text));
}

#[tokio::test]
async fn a_refused_level_says_why_and_what_to_do() {
    let world = World::new();
    let isolation = Isolation::probe(child_without_namespaces(), Level::Toolchain).await.unwrap();
    let (ended, _) = run(&isolation, &world.shell("true")).await;
    let Err(RunError::Refused(refusal)) = ended else { panic!("{ended:?}") };
    assert_eq!(refusal.level, Level::Toolchain);
    assert!(refusal.reason.contains("user namespaces are refused"), "{refusal}");
    assert!(refusal.mend.contains("user.max_user_namespaces"), "{refusal}");
    let missing = ChildCommand { program: "/no/such/program".into(), ..child() };
    let isolation = Isolation::probe(missing, Level::Toolchain).await.unwrap();
    assert_eq!(isolation.offers().refusals().count(), 3);
    let image = Root::Image(Layers::of_directory(&world.folder("image")));
    assert!(isolation.level_of(&image).unwrap_err().to_string().contains("/no/such/program"));
}

#[tokio::test]
async fn limits_end_a_job_and_say_which() {
    let world = World::new();
    let Some(isolation) = isolation().await else { return };
    let mut job = world.shell("while :; do :; done");
    // On a loaded machine a second of computing takes many.
    job.limits = pipewright_isolation::Limits { cpu_seconds_max: 1, wall_seconds_max: 600, ..small() };
    let (ended, _) = run(&isolation, &job).await;
    let ended = ended.unwrap();
    assert_eq!((ended.ended_by, ended.status), (Some(Limit::CpuSeconds), 137));
    assert!(ended.cpu_micros >= 1_000_000, "{ended:?}");
    let mut job = world.shell("sleep 600");
    job.limits.wall_seconds_max = 1;
    assert_eq!(run(&isolation, &job).await.0.unwrap().ended_by, Some(Limit::WallSeconds));
}
