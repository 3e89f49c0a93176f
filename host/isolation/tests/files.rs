//! A job's files: it reads them, and nobody else has them.

mod common;

use std::path::Path;
use std::time::Duration;

use common::{World, child_without_namespaces, is_root, isolation, run, run_until};
use pipewright_isolation::{FILES, Isolation, Job, Layers, Level, Root};

const TEXT: &str = "for this job alone";

fn with_file(job: Job, name: &str) -> Job {
    Job { files: vec![(name.to_owned(), TEXT.to_owned())], ..job }
}

/// In the work directory there is none, nor a copy.
#[tokio::test]
async fn a_job_reads_its_files_and_changes_none() {
    let Some(isolation) = isolation().await else { return };
    let world = World::new();
    let script = format!(
        "cd {FILES} && cat A; stat -c ' %a %U' A; ls -A . /work; (echo x >A); chmod 666 A; rm -f A; (echo x >B); mv A /work/A; \
         cat A; ls /proc/self/fd | wc -w"
    );
    let mut job = with_file(world.shell(&script), "A");
    job.files.push(("empty".to_owned(), String::new()));
    let (ended, output) = run(&isolation, &job).await;
    assert!(ended.unwrap().is_success(), "{output}");
    // What `ls` has open is the last of four.
    let (begin, end) = (format!("{TEXT} 400 job\n.:\nA\nempty\n\n/work:\n"), format!("{TEXT}4\n"));
    assert!(output.starts_with(&begin) && output.ends_with(&end), "{output}");
    assert_eq!(output.matches("Read-only file system").count(), 5, "{output}");

    let cat = Path::new("/usr/bin/cat");
    let image = Root::Image(Layers::of_directory(&world.image(&[cat])));
    let job = Job { root: image, ..with_file(world.job(&["/usr/bin/cat", &format!("{FILES}/A")]), "A") };
    let (ended, output) = run(&isolation, &job).await;
    assert_eq!((ended.unwrap().level, output.as_str()), (Level::Image, TEXT));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_job_has_none_of_them() {
    let Some(isolation) = isolation().await else { return };
    let restricted = Isolation::probe(child_without_namespaces(), Level::Restricted).await.unwrap();
    let world = World::new();
    let job = with_file(world.shell(&format!("cat {FILES}/A; touch begun; sleep 600")), "A");
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let others = async {
        while !job.work.join("begun").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let script = format!("cat {FILES}/* /proc/*/root{FILES}/* /proc/*/fd/* {}/*", job.work.display());
        for (isolation, level) in [(&isolation, Level::Toolchain), (&restricted, Level::Restricted)] {
            if level == Level::Restricted && !is_root() {
                continue;
            }
            let other =
                Job { work: world.folder("other"), ..world.shell(&format!("({script}) 2>&1 </dev/null; exit 0")) };
            let (ended, output) = run(isolation, &other).await;
            assert_eq!(ended.unwrap().level, level);
            assert!(!output.contains(TEXT), "{level}: {output}");
        }
        stop.send(()).unwrap();
    };
    let ((ended, output), ()) = tokio::join!(run_until(&isolation, &job, async { drop(stopped.await) }), others);
    assert!(output == TEXT && !ended.unwrap().is_success(), "{output}");
}

/// There a file would be one of the machine's.
#[tokio::test]
async fn a_job_without_memory_of_its_own_gets_no_files() {
    if !is_root() {
        return;
    }
    let isolation = Isolation::probe(child_without_namespaces(), Level::Restricted).await.unwrap();
    let world = World::new();
    let said = run(&isolation, &with_file(world.job(&["true"]), "A")).await.0.unwrap_err().to_string();
    assert!(said.contains("no memory of its own for files that nobody else is to read"), "{said}");
    assert!(said.contains("allow user namespaces"), "{said}");
}
