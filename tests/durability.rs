//! Nothing is acknowledged before its batch is synced: seen in the system calls of a real driver on the real store.
#![expect(clippy::print_stdout, reason = "the traced process says what it acknowledged")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use pipewright_base::{Cause, Source};
use pipewright_engine::driver::{Actions, Driver};
use pipewright_pipeline::machine::{FailureType, InputKind, Report, RunAction, TransitionKind};
use pipewright_store::{Aggregate, SledStore};
use serde_json::json;

use crate::tools;

/// Set for the process that is traced: the folder of its store.
const CHILD: &str = "PIPEWRIGHT_TEST_TRACED_STORE";
const COMMANDS: usize = 25;

struct Nothing;

impl Actions for Nothing {
    fn run(&self, _: Aggregate, _: RunAction) -> BoxFuture<'static, Report> {
        async { Report::failed(FailureType::JobFailed, "nothing runs here") }.boxed()
    }

    fn may_run_again(&self, _: Aggregate, _: RunAction) -> BoxFuture<'static, bool> {
        async { false }.boxed()
    }
}

/// In the traced process: commands one after the other, each told on the standard output once it is acknowledged.
#[test]
fn traced_process() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SledStore::open(Path::new(&folder), SledStore::CACHE_BYTES_DEFAULT).unwrap();
        let driver = Driver::new(Arc::new(store), Arc::new(Nothing), pipewright_base::clock::system());
        let cause = Cause::host("tests", Source::Start);
        let pipeline = driver.named(0, "p", &cause).await.unwrap();
        let stage = |name: &str, category: &str| {
            let id = json!({ "category": category, "owner": "Custom", "provider": "X", "version": "1" });
            json!({ "name": name, "actions": [{ "name": "A", "actionTypeId": id }] })
        };
        let declaration =
            json!({ "name": "p", "roleArn": "arn", "stages": [stage("S", "Source"), stage("D", "Deploy")] });
        let declaration = Arc::new(serde_json::from_value(declaration).unwrap());
        driver.submit(pipeline, InputKind::Create { declaration }, &cause).await.unwrap();
        println!("acknowledged create");
        for number in 0..COMMANDS {
            let (stage, kind, by) = ("D".to_owned(), TransitionKind::Inbound, None);
            let what = match number % 2 {
                0 => InputKind::DisableTransition { stage, kind, reason: format!("reason {number}"), by },
                _ => InputKind::EnableTransition { stage, kind, by },
            };
            driver.submit(pipeline, what, &cause).await.unwrap();
            println!("acknowledged {number}");
        }
    });
}

#[test]
fn nothing_is_acknowledged_before_its_batch_is_synced() {
    let Some(strace) = tools::find("strace") else { return };
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let output = Command::new(strace)
        .args(["-f", "-y", "-s", "80", "-e", "trace=write,pwrite64,fsync,fdatasync,sync_file_range", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "durability::traced_process", "--nocapture"])
        .env(CHILD, folder.path().join("store"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let trace = std::fs::read_to_string(&trace).unwrap();
    assert_eq!(check(&trace), Ok(COMMANDS + 1), "{trace}");
}

/// How many acknowledgements there are, each after a write to the store that a sync has made durable since.
fn check(trace: &str) -> Result<usize, String> {
    let (mut acknowledged, mut written, mut synced) = (0, false, false);
    for line in trace.lines() {
        let of_store = line.contains("/store/db>");
        let sync_ended = line.contains("fdatasync(") && line.trim_end().ends_with("= 0")
            || line.contains("<... fdatasync resumed>") && line.trim_end().ends_with("= 0");
        if line.contains("pwrite64(") && of_store {
            (written, synced) = (true, false);
        } else if sync_ended {
            synced = written;
        } else if line.contains("write(1<") && line.contains("\"acknowledged") {
            if !(written && synced) {
                return Err(format!("acknowledged before it was synced: {line}"));
            }
            acknowledged += 1;
            (written, synced) = (false, false);
        }
    }
    Ok(acknowledged)
}

#[test]
fn the_check_can_fail() {
    let write = "7 pwrite64(9</x/store/db>, \"a\", 1, 0) = 1\n";
    let sync = "7 fdatasync(10</x/store/db>) = 0\n";
    let acknowledge = "8 write(1<pipe:[1]>, \"acknowledged 0\\n\", 15) = 15\n";
    assert_eq!(check(&[write, sync, acknowledge].concat()), Ok(1));
    assert!(check(&[write, acknowledge].concat()).is_err());
    assert!(check(&[sync, acknowledge].concat()).is_err());
    assert!(check(&[write, sync, write, acknowledge].concat()).is_err());
    assert!(check(&[write, sync, acknowledge, acknowledge].concat()).is_err());
}
