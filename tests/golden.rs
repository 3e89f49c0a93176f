//! What earlier releases kept opens in this one: data directories and exports, whose executions go on to their ends. What is in
//! them, and how it came there, says `tests/golden/make.py`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pipewright_aws::auth::profile;
use pipewright_aws::client::Client;
use serde_json::{Value, json};

use crate::server::Server;

const OPERATOR: &str = "000000000000";
const TEAM: &str = "111111111111";

/// Nothing of the old server's configuration: what waits holds on to the plugins and grants that it began with. The grants are for
/// executions that begin here.
const CONFIG: &str = r#"
plugins = "plugins"
poll_seconds = 86400

[grants]
many = "grants.toml"

[accounts.111111111111.grants]

[retention]
executions_age_days = 36500
logs_age_days = 36500
"#;
const GRANTS: &str = "[action.\"Source/Source\"]\ndirectories.source = { path = \"source\", access = \"read\" }\n";
const SECRET: &str = "of today's server";
/// The second was not there when the action that uses it failed.
const ENVIRONMENT: &[(&str, &str)] = &[("GOLDEN_TOKEN", SECRET), ("GOLDEN_TOKEN_LATER", SECRET)];

/// The pipelines of each account and the statuses of their executions, newest first: as they were kept, and in the end. Those of
/// `many` are counted apart.
const HISTORIES: &[(&str, &str, &str, &str)] = &[
    (OPERATOR, "again", "Succeeded", "Succeeded"),
    (OPERATOR, "borrowed", "InProgress", "Succeeded"),
    (OPERATOR, "changed", "InProgress Cancelled", "Succeeded Cancelled"),
    (OPERATOR, "failed", "Failed", "Succeeded"),
    (OPERATOR, "held", "InProgress Succeeded", "Succeeded Succeeded"),
    (
        OPERATOR,
        "release",
        "InProgress Superseded InProgress Failed Succeeded",
        "Succeeded Superseded Succeeded Failed Succeeded",
    ),
    (OPERATOR, "stopped", "Stopped", "Stopped"),
    (TEAM, "release", "InProgress Succeeded", "Succeeded Succeeded"),
];
/// Executions of `many`, each of two actions.
const MANY: usize = 30;
/// What ran when the server was killed, and how it ends. It may have ended by the time that we ask.
const KILLED: &[(&str, &str)] = &[("running", "Succeeded"), ("stopping", "Stopped")];

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_a_server_that_was_stopped_open() {
    let site = Site::unpack("data-v1.tar.gz");
    site.check_packages().await;
    site.check(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_data_of_a_server_that_was_killed_open() {
    let site = Site::unpack("data-v1-killed.tar.gz");
    site.check_packages().await;
    site.check(KILLED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_when_it_was_exported_goes_on_elsewhere() {
    Site::import("export-v1-waiting.jsonl").check(&[]).await;
}

/// Its approval has run out, or will.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_export_is_served() {
    let site = Site::import("export-v1.jsonl");
    assert_eq!(site.pipelines(OPERATOR).await, ["p"]);
    let executions = site.executions(OPERATOR, "p").await;
    assert_eq!(executions.len(), 3);
    assert!(executions[1..].iter().all(|it| it["status"] == "Succeeded"), "{executions:?}");
}

/// A server of today over the data of yesterday.
struct Site {
    server: Server,
    home: tempfile::TempDir,
}

impl Site {
    fn unpack(archive: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let packed = flate2::read::GzDecoder::new(fs::File::open(kept(archive)).unwrap());
        tar::Archive::new(packed).unpack(home.path()).unwrap();
        let credentials = |home: &Path| fs::read_to_string(home.join("data/credentials")).unwrap();
        let before = credentials(home.path());
        let site = Self::serve(home);
        assert_eq!(credentials(site.home.path()), before, "clients keep their keys");
        site
    }

    fn import(export: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut import = Command::new(env!("CARGO_BIN_EXE_pipewright"));
        let imported = import.arg("import").arg(kept(export)).arg("--data").arg(home.path().join("data")).output();
        let imported = imported.unwrap();
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        Self::serve(home)
    }

    fn serve(home: tempfile::TempDir) -> Self {
        let path = |name: &str| home.path().join(name);
        for folder in ["plugins", "source"] {
            fs::create_dir(path(folder)).unwrap();
        }
        for guest in ["steps", "deeds"] {
            fs::write(path(&format!("plugins/{guest}.wasm")), pipewright_guests::get(guest)).unwrap();
        }
        fs::write(path("source/page.md"), "# The page of today\n").unwrap();
        fs::write(path("serve.toml"), CONFIG).unwrap();
        fs::write(path("grants.toml"), GRANTS).unwrap();
        Self { server: Server::start_with(home.path(), ENVIRONMENT), home }
    }

    fn client(&self, account: &str) -> Client {
        let profile = if account == OPERATOR { profile::DEFAULT } else { account };
        let key = profile::read_credentials(&self.server.credentials(), profile).unwrap();
        Client::new(self.server.endpoint().parse().unwrap(), key, "us-east-1".to_owned())
    }

    async fn call(&self, account: &str, operation: &str, input: Value) -> Value {
        let answer = self.client(account).call(operation, &input).await;
        answer.unwrap_or_else(|error| panic!("{operation} {input}: {error}"))
    }

    /// All pages of a list.
    async fn list(&self, account: &str, operation: &str, mut input: Value, of: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        loop {
            let page = self.call(account, operation, input.clone()).await;
            rows.extend(page[of].as_array().unwrap().iter().cloned());
            match page.get("nextToken") {
                Some(token) => input["nextToken"] = token.clone(),
                None => return rows,
            }
        }
    }

    async fn pipelines(&self, account: &str) -> Vec<String> {
        let listed = self.list(account, "ListPipelines", json!({}), "pipelines").await;
        listed.iter().map(|it| text(&it["name"]).to_owned()).collect()
    }

    /// Newest first.
    async fn executions(&self, account: &str, pipeline: &str) -> Vec<Value> {
        let input = json!({ "pipelineName": pipeline, "maxResults": 20 });
        self.list(account, "ListPipelineExecutions", input, "pipelineExecutionSummaries").await
    }

    async fn statuses(&self, account: &str, pipeline: &str) -> String {
        let executions = self.executions(account, pipeline).await;
        executions.iter().map(|it| text(&it["status"])).collect::<Vec<_>>().join(" ")
    }

    async fn id(&self, account: &str, pipeline: &str, place: usize) -> String {
        text(&self.executions(account, pipeline).await[place]["pipelineExecutionId"]).to_owned()
    }

    /// The action of an execution, as it succeeded.
    async fn succeeded(&self, account: &str, pipeline: &str, execution: &str, action: &str) -> Value {
        let input = json!({ "pipelineName": pipeline, "filter": { "pipelineExecutionId": execution } });
        let listed = self.list(account, "ListActionExecutions", input, "actionExecutionDetails").await;
        listed.into_iter().find(|it| it["actionName"] == action && it["status"] == "Succeeded").unwrap()
    }

    async fn stage(&self, account: &str, pipeline: &str, stage: &str) -> Value {
        let state = self.call(account, "GetPipelineState", json!({ "name": pipeline })).await;
        state["stageStates"].as_array().unwrap().iter().find(|it| it["stageName"] == stage).unwrap().clone()
    }

    /// What lies beside the API, below an execution.
    async fn read(&self, pipeline: &str, execution: &str, path: &[&str]) -> String {
        let path = [&["v1", "pipelines", pipeline, "executions", execution], path].concat();
        let mut stream = self.client(OPERATOR).stream(&path, 64 << 20).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = stream.next().await.unwrap() {
            bytes.extend(piece);
        }
        String::from_utf8(bytes).unwrap()
    }

    async fn log(&self, pipeline: &str, execution: &str, action: &str) -> String {
        let action = self.succeeded(OPERATOR, pipeline, execution, action).await;
        self.read(pipeline, execution, &["actions", text(&action["actionExecutionId"]), "log"]).await
    }
}

impl Site {
    /// Everything is there as it was kept; then what waits goes on, and all comes to its end.
    async fn check(&self, killed: &[(&str, &str)]) {
        self.check_lists(killed).await;
        self.check_kept().await;
        self.check_states().await;
        self.go_on().await;
        for (account, pipeline, _, last) in HISTORIES {
            self.until_statuses(account, pipeline, last).await;
        }
        for (pipeline, last) in killed {
            self.until_statuses(OPERATOR, pipeline, last).await;
        }
        self.check_what_went_on().await;
        self.check_anew().await;
    }

    async fn check_lists(&self, killed: &[(&str, &str)]) {
        let of = |account| HISTORIES.iter().filter(move |row| row.0 == account).map(|row| row.1);
        let mut expected: Vec<&str> = of(OPERATOR).chain(["many"]).chain(killed.iter().map(|row| row.0)).collect();
        expected.sort_unstable();
        assert_eq!(self.pipelines(OPERATOR).await, expected);
        assert_eq!(self.pipelines(TEAM).await, of(TEAM).collect::<Vec<_>>());
        for (account, pipeline, before, _) in HISTORIES {
            assert_eq!(self.statuses(account, pipeline).await, *before, "{account} {pipeline}");
        }
        assert_eq!(self.statuses(OPERATOR, "many").await, ["Succeeded"; MANY].join(" "));
        let input = json!({ "pipelineName": "many", "maxResults": 20 });
        let actions = self.list(OPERATOR, "ListActionExecutions", input, "actionExecutionDetails").await;
        assert_eq!(actions.len(), 2 * MANY);
        assert!(actions.iter().all(|it| it["status"] == "Succeeded"), "{actions:?}");
        for (account, pipeline, expected) in [
            (OPERATOR, "release", json!([{ "key": "team", "value": "golden" }])),
            (OPERATOR, "many", json!([{ "key": "a", "value": "b" }, { "key": "c", "value": "" }])),
            (TEAM, "release", json!([{ "key": "team", "value": "other" }])),
        ] {
            let arn = format!("arn:aws:codepipeline:us-east-1:{account}:{pipeline}");
            let tags = self.call(account, "ListTagsForResource", json!({ "resourceArn": arn })).await;
            assert_eq!(tags["tags"], expected, "{arn}");
        }
    }

    /// Artifacts, logs, variables, and what a client may ask for once more.
    async fn check_kept(&self) {
        let newest = self.id(OPERATOR, "many", 0).await;
        let made = format!("text-{}", MANY - 1);
        assert_eq!(self.read("many", &newest, &["artifacts", "Made", "files", "text"]).await, made);
        assert_eq!(self.read("many", &newest, &["artifacts", "Code", "files", "page.md"]).await, "# The page\n");
        let log = self.log("many", &newest, "Steps").await;
        assert!(log.contains("read /inputs/Code/page.md: # The page"), "{log}");
        let input = json!({ "pipelineName": "many", "pipelineExecutionId": newest });
        let execution = self.call(OPERATOR, "GetPipelineExecution", input).await;
        let variables = json!([{ "name": "Text", "resolvedValue": made }]);
        assert_eq!(execution["pipelineExecution"]["variables"], variables);

        let asked = json!({ "name": "release", "clientRequestToken": "golden" });
        let asked = self.call(OPERATOR, "StartPipelineExecution", asked).await;
        assert_eq!(asked["pipelineExecutionId"], json!(self.id(OPERATOR, "release", 0).await));
    }

    async fn check_states(&self) {
        let (waits, inbound) = (self.id(OPERATOR, "release", 2).await, self.id(OPERATOR, "release", 0).await);
        let approve = self.stage(OPERATOR, "release", "Approve").await;
        assert_eq!(approve["latestExecution"]["pipelineExecutionId"], json!(waits));
        assert_eq!(approve["inboundExecution"]["pipelineExecutionId"], json!(inbound));
        let ask = &approve["actionStates"][0]["latestExecution"];
        assert!(text(&ask["summary"]).contains("Go on with the third?"), "{ask}");

        let make = self.stage(OPERATOR, "held", "Make").await;
        let transition = &make["inboundTransitionState"];
        assert_eq!((&transition["enabled"], &transition["disabledReason"]), (&json!(false), &json!("frozen")));
        assert_eq!(make["inboundExecution"]["pipelineExecutionId"], json!(self.id(OPERATOR, "held", 0).await));
    }

    /// A person does what each execution waits for.
    async fn go_on(&self) {
        for (account, pipeline, place) in [
            (OPERATOR, "borrowed", 0),
            (OPERATOR, "changed", 0),
            (OPERATOR, "release", 2),
            // It waited in front of the stage.
            (OPERATOR, "release", 0),
            (TEAM, "release", 0),
        ] {
            self.approve(account, pipeline, place).await;
        }
        let failed = self.id(OPERATOR, "failed", 0).await;
        let retried = json!({
            "pipelineName": "failed", "stageName": "Make", "pipelineExecutionId": failed, "retryMode": "FAILED_ACTIONS",
        });
        self.call(OPERATOR, "RetryStageExecution", retried).await;
        let enabled = json!({ "pipelineName": "held", "stageName": "Make", "transitionType": "Inbound" });
        self.call(OPERATOR, "EnableStageTransition", enabled).await;
    }

    /// As soon as the execution waits for it.
    async fn approve(&self, account: &str, pipeline: &str, place: usize) {
        let id = self.id(account, pipeline, place).await;
        let what = format!("{id} of {pipeline} of {account} waits");
        let token = until(&what, async || {
            let stage = self.stage(account, pipeline, "Approve").await;
            let is_there = stage["latestExecution"]["pipelineExecutionId"] == json!(id);
            is_there.then(|| stage["actionStates"][0]["latestExecution"]["token"].as_str().map(str::to_owned)).flatten()
        })
        .await;
        let approved = json!({
            "pipelineName": pipeline, "stageName": "Approve", "actionName": "Ask", "token": token,
            "result": { "status": "Approved", "summary": "by the release of today" },
        });
        self.call(account, "PutApprovalResult", approved).await;
    }

    async fn until_statuses(&self, account: &str, pipeline: &str, expected: &str) {
        let what = format!("the executions of {pipeline} of {account} are {expected}");
        until(&what, async || (self.statuses(account, pipeline).await == expected).then_some(())).await;
    }

    /// They used the artifacts, grants, plugins and declarations that they began with.
    async fn check_what_went_on(&self) {
        for (pipeline, place) in [("release", 0), ("release", 2), ("failed", 0)] {
            let log = self.log(pipeline, &self.id(OPERATOR, pipeline, place).await, "Steps").await;
            assert!(log.contains("reveal token: ") && !log.contains(SECRET), "{pipeline}: {log}");
            assert!(log.contains("read /inputs/Code/page.md: # The page\n"), "{pipeline}: {log}");
        }
        let changed = self.succeeded(OPERATOR, "changed", &self.id(OPERATOR, "changed", 0).await, "Steps").await;
        assert_eq!(changed["input"]["resolvedConfiguration"]["Script"], "list /inputs/Code");
        for (account, pipeline) in [(OPERATOR, "borrowed"), (TEAM, "release")] {
            let said = self.succeeded(account, pipeline, &self.id(account, pipeline, 0).await, "Say").await;
            let summary = &said["output"]["executionResult"]["externalExecutionSummary"];
            assert_eq!(summary, "team/packaged 1.0.0", "{account}");
        }
    }

    /// An execution that begins here.
    async fn check_anew(&self) {
        self.call(OPERATOR, "StartPipelineExecution", json!({ "name": "many" })).await;
        self.until_statuses(OPERATOR, "many", &["Succeeded"; MANY + 1].join(" ")).await;
        let newest = self.id(OPERATOR, "many", 0).await;
        let page = self.read("many", &newest, &["artifacts", "Code", "files", "page.md"]).await;
        assert_eq!(page, "# The page of today\n");
    }

    /// What the team installed, what it says of it, and what it offers. Not part of an export.
    async fn check_packages(&self) {
        let document = async |account| self.client(account).document(&["v1", "plugins"], "").await.unwrap();
        let team = document(TEAM).await;
        let installed = team["installed"].as_array().unwrap().iter();
        let installed: Vec<_> = installed.map(|it| (text(&it["version"]), text(&it["state"]))).collect();
        assert_eq!(installed, [("1.0.0", "active"), ("1.1.0", "pending")]);
        let operator = document(OPERATOR).await;
        let plugins = operator["plugins"].as_array().unwrap();
        let offered = plugins.iter().find(|it| it["name"] == "team/packaged").unwrap();
        assert_eq!((&offered["from"], &offered["version"]), (&json!(TEAM), &json!("1.0.0")));
        assert_eq!(offered["notice"], json!({ "kind": "deprecated", "reason": "Use another" }));
    }
}

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden").join(name)
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// Asks again until there is an answer; what takes longer than two minutes never comes.
async fn until<T>(what: &str, mut asked: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(answer) = asked().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("waited in vain until {what}");
}
