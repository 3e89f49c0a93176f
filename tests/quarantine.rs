//! A server with one pipeline that is damaged beside a healthy one: everything else goes on, and whoever asks is told why,
//! and what can be done.

use bytes::Bytes;
use pipewright_aws::auth::profile;
use pipewright_aws::client::Client;
use pipewright_store::{Aggregate, Commit, PartKey, SledStore, Store as _};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::client::{Ended, Site, gate, make, program, wait_until};

/// Puts another value in the place of a part of the pipeline `slow`, or of its newest archived execution; gives what was there.
fn alter(site: &Site, part: &str, value: &[u8]) -> Bytes {
    Runtime::new().unwrap().block_on(async {
        let store = SledStore::open(&site.path("data/store"), SledStore::CACHE_BYTES_DEFAULT).unwrap();
        let names = store.load(Aggregate::of_account(0)).await.unwrap().parts;
        let name = PartKey::Live(Bytes::from_static(b"pipeline/slow"));
        let uid = names.into_iter().find(|(key, _)| *key == name).unwrap().1;
        let aggregate = Aggregate { account: 0, uid: uid[..].try_into().unwrap() };
        let key = match part {
            "archived" => {
                let archived = store.archived(aggregate, None, 100).await.unwrap();
                let name = archived.into_iter().find(|(name, _)| name.starts_with(b"execution/")).unwrap().0;
                PartKey::Archived(name)
            }
            live => PartKey::Live(Bytes::copy_from_slice(live.as_bytes())),
        };
        let before = store.get(aggregate, &key).await.unwrap().unwrap();
        let commit = Commit {
            aggregate,
            expected: store.load(aggregate).await.unwrap().sequence,
            puts: vec![(key, Some(Bytes::copy_from_slice(value)))],
            events: Vec::new(),
            fence: None,
            index: Vec::new(),
        };
        store.commit(commit).await.unwrap();
        before
    })
}

fn call(site: &Site, operation: &str, input: &Value) -> Result<Value, String> {
    let endpoint = std::fs::read_to_string(site.path("data/endpoint")).unwrap();
    let key = profile::read_credentials(&site.path("data/credentials"), "default").unwrap();
    let client = Client::new(endpoint.trim().parse().unwrap(), key, "us-east-1".to_owned());
    let answer = Runtime::new().unwrap().block_on(client.call(operation, input));
    answer.map_err(|error| error.to_string())
}

fn runs(site: &Site) {
    site.run(&["start", "site", "--follow"]).check(0, &["site succeeded"]);
}

#[test]
fn one_damaged_pipeline_ends_nothing_else() {
    const UNREADABLE: &str = "the store holds a part that this version cannot read";
    let mut site = Site::new();
    site.create("site", &[make()]).check(0, &[]);
    site.create("slow", &[gate(&["Ask"])]).check(0, &[]);
    wait_until(|| site.run(&["status", "slow"]).out.contains("waits for approval"));

    let mut before = Bytes::new();
    site.stop_and_serve(|site| {
        assert!(site.path("data/stopped").exists(), "an orderly stop leaves its mark");
        before = alter(site, "head", b"{}");
    });
    assert!(!site.path("data/stopped").exists());
    site.run(&["status", "slow"]).check(2, &["ValidationException", UNREADABLE, "pipewright reload"]);
    site.run(&["start", "slow"]).check(2, &["the pipeline is quarantined", UNREADABLE]);
    site.run(&["pipelines"]).check(0, &["slow\t1", "slow is quarantined", "pipewright reload slow --data data"]);
    assert_eq!(site.json(&["pipelines"])["quarantined"][0]["name"], "slow");
    runs(&site);
    site.run(&["export", "-o", "all.jsonl"]).check(0, &[]);
    let import = program(&site.path("")).args(["import", "--data", "imported", "all.jsonl"]).output().unwrap();
    Ended::new(import).check(0, &["3 accounts and pipelines"]);
    site.run(&["reload", "slow"]).check(2, &[UNREADABLE]);
    site.kill_and_serve();
    site.run(&["status", "slow"]).check(2, &[UNREADABLE]);
    runs(&site);

    site.stop_and_serve(|site| drop(alter(site, "head", &before)));
    site.run(&["reload", "slow"]).check(0, &["slow is loaded"]);
    site.run(&["reject", "slow"]).check(0, &[]);
    wait_until(|| site.run(&["history", "slow"]).out.contains("\tFailed\t"));
    assert_eq!(site.json(&["pipelines"])["quarantined"], json!([]));

    // What only this operation needs: the pipeline can be loaded again while the server runs.
    let execution = site.json(&["history", "slow"])["pipelineExecutionSummaries"][0]["pipelineExecutionId"].clone();
    site.stop_and_serve(|site| before = alter(site, "archived", b"{}"));
    let retry = json!({
        "pipelineName": "slow",
        "stageName": "Gate",
        "pipelineExecutionId": execution,
        "retryMode": "FAILED_ACTIONS",
    });
    let told = call(&site, "RetryStageExecution", &retry).unwrap_err();
    assert!(told.contains("the store holds an archived execution that this version cannot read"), "{told}");
    site.run(&["start", "slow"]).check(2, &["the pipeline is quarantined"]);
    runs(&site);
    site.run(&["reload", "slow"]).check(0, &[]);
    assert_eq!(site.json(&["pipelines"])["quarantined"], json!([]));
    site.stop_and_serve(|site| drop(alter(site, "archived", &before)));
    call(&site, "RetryStageExecution", &retry).unwrap();

    site.stop_and_serve(|site| drop(alter(site, "head", b"{}")));
    site.run(&["status", "slow"]).check(2, &[UNREADABLE]);
    call(&site, "DeletePipeline", &json!({ "name": "slow" })).unwrap();
    let listed = call(&site, "ListPipelines", &json!({})).unwrap();
    assert_eq!(listed["pipelines"].as_array().unwrap().len(), 1, "{listed}");
    let gone = call(&site, "GetPipelineState", &json!({ "name": "slow" })).unwrap_err();
    assert!(gone.contains("PipelineNotFoundException"), "{gone}");
    site.kill_and_serve();
    site.create("slow", &[gate(&["Ask"])]).check(0, &[]);
    wait_until(|| site.run(&["status", "slow"]).out.contains("waits for approval"));
    runs(&site);
}

/// A grants file that is not there, and a plugin that is none, cost what needs them.
#[test]
fn what_the_operator_has_wrong_ends_nothing_else() {
    let mut site = Site::new();
    site.create("site", &[make()]).check(0, &[]);
    let write = |name: &str, bytes: &[u8]| std::fs::write(site.path(name), bytes).unwrap();
    write("config.toml", b"plugins = \"plugins\"\n\n[grants]\nsite = \"grants.toml\"\nslow = \"missing.toml\"\n");
    write("plugins/none.wasm", b"no component");
    site.stop_and_serve(|_| {});
    site.create("slow", &[make()]).check(0, &[]);
    site.run(&["start", "slow"]).check(2, &["missing.toml", "cannot be read"]);
    assert_eq!(site.run(&["history", "slow"]).out.matches("InProgress").count(), 0);
    runs(&site);
    std::fs::copy(site.path("grants.toml"), site.path("missing.toml")).unwrap();
    site.run(&["start", "slow", "--follow"]).check(0, &["slow succeeded"]);
}
