//! Builds in numbers, on a real server: they wait for their turn, account by account and in the order of their starts, also over the
//! server's death; they end when they are stopped; and their logs, however long, are followed in bounded memory.
#![expect(clippy::print_stderr, reason = "what is measured is told")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use pipewright_base::clock;
use serde_json::{Value, json};

use crate::commands::{marker, runs};
use crate::crowds::world::{Client, World, action};
use crate::tools;

const LARGE: &str = "111111111111";
const SMALL: &str = "222222222222";
const PLUG: &str = "sleep 600";
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// A server with programs of which so many run at once; builds of any project of the accounts may run.
fn world(accounts: &[&str], projects: &[&str], commands: &str) -> Option<World> {
    tools::find("bwrap")?;
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(home.path().join(name), text).unwrap();
    fs::create_dir(home.path().join("source")).unwrap();
    write("source/a.md", "");
    let granted = "commands = { level = \"toolchain\" }\n";
    write("build.toml", &format!("[action.\"Build/Build\"]\n{granted}"));
    let source = "[action.\"Source/Source\"]\ndirectories.source = { path = \"source\", access = \"read\" }\n";
    write("site.toml", &format!("{source}[action.\"Then/Build\"]\n{granted}"));
    let mut config = format!("poll_seconds = 86400\n[commands]\n{commands}\n");
    for account in accounts {
        config += &format!("[accounts.{account}.grants]\nsite = \"site.toml\"\n");
        projects.iter().for_each(|name| config += &format!("\"codebuild:{name}\" = \"build.toml\"\n"));
    }
    write("serve.toml", &config);
    Some(World::of(home, accounts, "true"))
}

/// Those of one account.
struct Builds<'a> {
    world: &'a World,
    account: &'a str,
    client: Client<'a>,
    started: usize,
}

impl<'a> Builds<'a> {
    async fn of(world: &'a World, account: &'a str) -> Self {
        Self { world, account, client: world.client(account).await, started: 0 }
    }

    async fn create_project(&mut self, name: &str) {
        let project = json!({
            "name": name, "source": { "type": "NO_SOURCE", "buildspec": buildspec(&["true"]) },
            "artifacts": { "type": "NO_ARTIFACTS" }, "serviceRole": "arn:aws:iam::000000000000:role/build",
            "environment": { "type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL" },
        });
        self.client.call("CreateProject", &project).await;
    }

    async fn start(&mut self, project: &str, commands: &[&str]) -> String {
        self.started += 1;
        // Without it two that are alike would be one where the second took longer than two seconds to come (S94).
        let token = format!("start-{}", self.started);
        let input =
            json!({ "projectName": project, "buildspecOverride": buildspec(commands), "idempotencyToken": token });
        self.client.call("StartBuild", &input).await["build"]["id"].as_str().unwrap().to_owned()
    }

    async fn stop(&mut self, id: &str) {
        self.client.call("StopBuild", &json!({ "id": id })).await;
    }

    async fn get(&mut self, ids: &[String]) -> Vec<Value> {
        let mut output = self.client.call("BatchGetBuilds", &json!({ "ids": ids })).await;
        let Value::Array(builds) = output["builds"].take() else { panic!("{output}") };
        assert_eq!(builds.len(), ids.len(), "{output}");
        builds
    }

    /// Once all of them are so; none may end before it is.
    async fn until(&mut self, ids: &[String], what: &str, is_it: impl Fn(&Value) -> bool) -> Vec<Value> {
        let began = clock::monotonic();
        loop {
            let builds = self.get(ids).await;
            let Some(other) = builds.iter().find(|build| !is_it(build)) else { return builds };
            if other["buildComplete"] == true || began.elapsed() > PATIENCE {
                let log = self.log(other).await;
                panic!("{what}: {other}\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn until_in(&mut self, ids: &[String], phase: &str) -> Vec<Value> {
        self.until(ids, phase, |build| build["currentPhase"] == phase).await
    }

    async fn until_succeeded(&mut self, ids: &[String]) -> Vec<Value> {
        self.until(ids, "SUCCEEDED", |build| build["buildStatus"] == "SUCCEEDED").await
    }

    fn log_path(build: &Value) -> String {
        let link = build["logs"]["deepLink"].as_str().unwrap_or_else(|| panic!("{build}"));
        link[link.find("/v1/").unwrap()..].to_owned()
    }

    async fn log(&mut self, build: &Value) -> String {
        let request = self.world.signed(self.account, Method::GET, &Self::log_path(build), &[], b"");
        let response = self.client.send(request).await;
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    /// The logs of all of them.
    async fn logs(&mut self, builds: &[Value]) -> Vec<String> {
        let mut logs = Vec::new();
        for build in builds {
            logs.push(self.log(build).await);
        }
        logs
    }
}

fn buildspec(commands: &[&str]) -> String {
    json!({ "version": 0.2, "phases": { "build": { "commands": commands } } }).to_string()
}

/// What a build said of itself, without what was said of it.
fn said(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter_map(|line| line.splitn(3, ' ').nth(2))
}

/// A command by which a build says when it was somewhere, on the machine's own clock.
fn mark(name: &str) -> String {
    format!("echo mark {name} $(date +%s%N)")
}

/// When a build said that it was there.
#[track_caller]
fn marked(log: &str, name: &str) -> u64 {
    let begins = format!("mark {name} ");
    let mut marks = said(log).filter_map(|line| line.strip_prefix(&begins)?.parse().ok());
    marks.next().unwrap_or_else(|| panic!("{name}: {log}"))
}

/// How many of these lasted at one moment.
fn at_once(spans: &[(u64, u64)]) -> usize {
    let at = |moment: u64| spans.iter().filter(|(start, end)| (*start..*end).contains(&moment)).count();
    spans.iter().map(|(start, _)| at(*start)).max().unwrap_or_default()
}

/// Two builds of the large account run, 40 more of it wait, then ten of the small one and a pipeline's.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_builds_wait_visibly_and_share_the_places_by_account() {
    const AT_ONCE: usize = 2;
    let commands = format!("at_once = {AT_ONCE}\nat_once_per_account = {AT_ONCE}");
    let Some(world) = world(&[LARGE, SMALL], &["app"], &commands) else { return };
    let (mut large, mut small) = (Builds::of(&world, LARGE).await, Builds::of(&world, SMALL).await);
    large.create_project("app").await;
    small.create_project("app").await;
    let mut plugs = Vec::new();
    for _ in 0..AT_ONCE {
        plugs.push(large.start("app", &[PLUG]).await);
    }
    large.until_in(&plugs, "BUILD").await;
    let (start, end) = (mark("start"), mark("end"));
    let (mut many, mut few) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        many.push(large.start("app", &[&start, "sleep 0.2", &end]).await);
    }
    for _ in 0..10 {
        few.push(small.start("app", &[&start, "sleep 0.2", &end]).await);
    }
    let mut build = action("Build", "AWS", "CodeBuild", "Build", json!({ "ProjectName": "app" }));
    build["configuration"]["BuildspecOverride"] = buildspec(&["true"]).into();
    build["inputArtifacts"] = json!([{ "name": "Code" }]);
    world.create(LARGE, vec![build]).await;

    // Each says that it waits, and the pipeline's for how many.
    large.until_in(&many, "QUEUED").await;
    small.until_in(&few, "QUEUED").await;
    let waits = "waits for its turn to run";
    let before = "40 of the account are before it";
    loop {
        let state = large.client.call("GetPipelineState", &json!({ "name": "site" })).await;
        let latest = &state["stageStates"][1]["actionStates"][0]["latestExecution"];
        assert_eq!(latest["status"], "InProgress", "{state}");
        if latest["summary"].as_str().is_some_and(|summary| summary.starts_with(waits) && summary.ends_with(before)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let listed = large.client.call("ListActionExecutions", &json!({ "pipelineName": "site" })).await;
    let summary = &listed["actionExecutionDetails"][0]["output"]["executionResult"]["externalExecutionSummary"];
    assert!(summary.as_str().unwrap().contains(before), "{listed}");
    assert!(status(&world, LARGE).contains(before), "{}", status(&world, LARGE));

    for plug in &plugs {
        large.stop(plug).await;
    }
    let (many, few) = (large.until_succeeded(&many).await, small.until_succeeded(&few).await);
    let span = |log: &String| (marked(log, "start"), marked(log, "end"));
    let many: Vec<_> = large.logs(&many).await.iter().map(span).collect();
    let few: Vec<_> = small.logs(&few).await.iter().map(span).collect();
    assert_eq!(at_once(&[&many[..], &few[..]].concat()), AT_ONCE);
    // In turns, the small account's ten come before the last twenty and more of the other: how much later is a matter of the machine.
    let last = few.iter().map(|(_, end)| *end).max().unwrap();
    let after = many.iter().filter(|(start, _)| *start > last).count();
    assert!(after >= 15, "{after} builds of the large account began after the last of the small one");
}

/// What `pipewright status` says of the pipeline `site`.
fn status(world: &World, account: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipewright"));
    command.args(["status", "site", "--profile", account, "--data"]).arg(world.path("data"));
    let output = command.output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// One place, and builds of several projects: each has a pipeline of its own, so that nothing but the queue puts them in order.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_goes_on_in_its_order_whenever_the_server_ends() {
    const PROJECTS: [&str; 4] = ["dd", "bb", "cc", "aa"];
    let Some(mut world) = world(&[LARGE], &PROJECTS, "at_once = 1") else { return };
    let (mut plug, mut waiting) = (Vec::new(), Vec::new());
    {
        let mut builds = Builds::of(&world, LARGE).await;
        for project in PROJECTS {
            builds.create_project(project).await;
        }
        plug.push(builds.start("aa", &["echo runs", PLUG]).await);
        until_runs(&mut builds, &plug, 0).await;
        for number in 0..8 {
            waiting.push(builds.start(PROJECTS[number % PROJECTS.len()], &[&mark("start"), "echo effect"]).await);
        }
        all_wait(&mut builds, &waiting, 0).await;
    }
    for (times, is_killed) in [(1, true), (2, false)] {
        if is_killed {
            world.server.kill()
        } else {
            world.server.terminate()
        }
        world.start();
        let mut builds = Builds::of(&world, LARGE).await;
        until_runs(&mut builds, &plug, times).await;
        all_wait(&mut builds, &waiting, times).await;
    }
    world.server.kill();
    world.start();
    let mut builds = Builds::of(&world, LARGE).await;
    // It ran when the server was killed for the second time (S50); the others only waited.
    let ended = builds.until(&plug, "it ends", |build| build["buildComplete"] == true).await;
    assert_eq!(ended[0]["buildStatus"], "FAULT", "{ended:?}");
    let done = builds.until_succeeded(&waiting).await;
    let logs = builds.logs(&done).await;
    let starts: Vec<_> = logs.iter().map(|log| marked(log, "start")).collect();
    assert!(starts.is_sorted(), "{starts:?}");
    for log in &logs {
        assert_eq!(said(log).filter(|line| *line == "effect").count(), 1, "{log}");
        assert_eq!(interruptions(log), 3, "{log}");
    }
    let listed = builds.client.call("ListBuilds", &json!({ "sortOrder": "ASCENDING" })).await;
    assert_eq!(listed["ids"], json!([plug, waiting].concat()), "none is lost, and none is there twice");
}

/// Until the program of all of them runs, after the last interruption: it says so.
async fn until_runs(builds: &mut Builds<'_>, ids: &[String], interrupted: usize) {
    loop {
        let told = builds.until_in(ids, "BUILD").await;
        let logs = builds.logs(&told).await;
        let run = |log: &String| said(log).filter(|line| *line == "runs").count();
        if logs.iter().all(|log| interruptions(log) == interrupted && run(log) == interrupted + 1) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Until all of them have done nothing since they were interrupted for the last time but to come to the queue.
async fn all_wait(builds: &mut Builds<'_>, ids: &[String], interrupted: usize) {
    let waits = |id: &std::path::Path| id.join("waits").exists();
    loop {
        let told = builds.until_in(ids, "QUEUED").await;
        let logs = builds.logs(&told).await;
        let work = fs::read_dir(builds.world.path("data/work")).unwrap().flatten();
        let waiting = work.filter(|folder| waits(&folder.path())).count();
        if logs.iter().all(|log| interruptions(log) == interrupted) && waiting == ids.len() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn interruptions(log: &str) -> usize {
    said(log).filter(|line| line.starts_with("The host went down while this ran: it runs again")).count()
}

/// Each way in which a build that sleeps is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_sleeps_ends_when_it_is_stopped() {
    let Some(world) = world(&[LARGE], &["app"], "at_once = 4\nat_once_per_account = 4") else { return };
    let mut builds = Builds::of(&world, LARGE).await;
    builds.create_project("app").await;
    let asleep = marker();
    // By itself, beside its shell, and deaf.
    let sleeps = format!("trap '' TERM INT; setsid {asleep} & {asleep}");
    let sleeping = async || {
        while !runs(&asleep) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let own = [builds.start("app", &[&sleeps]).await];
    builds.until_in(&own, "BUILD").await;
    sleeping().await;
    builds.stop(&own[0]).await;
    let stopped = builds.until(&own, "STOPPED", |build| build["buildStatus"] == "STOPPED").await;
    gone(&asleep, "StopBuild").await;
    let phases = stopped[0]["phases"].as_array().unwrap();
    let build = phases.iter().find(|phase| phase["phaseType"] == "BUILD").unwrap();
    assert_eq!(build["phaseStatus"], "STOPPED", "{phases:?}");

    let mut build = action("Build", "AWS", "CodeBuild", "Build", json!({ "ProjectName": "app" }));
    build["configuration"]["BuildspecOverride"] = buildspec(&[&sleeps]).into();
    build["inputArtifacts"] = json!([{ "name": "Code" }]);
    let mut execution = world.create(LARGE, vec![build]).await;
    let of = |execution: &str| json!({ "pipelineName": "site", "pipelineExecutionId": execution });
    for way in ["abandon", "command", "wait"] {
        sleeping().await;
        let mut stop = of(&execution);
        stop["abandon"] = (way == "abandon").into();
        match way {
            "command" => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_pipewright"));
                command.args(["stop", "site", "--abandon", "--profile", LARGE, "--data"]).arg(world.path("data"));
                assert!(command.output().unwrap().status.success());
            }
            _ => drop(builds.client.call("StopPipelineExecution", &stop).await),
        }
        if way == "wait" {
            // What runs goes on to its end (S34); the build by itself can be stopped.
            let shown = builds.client.call("GetPipelineExecution", &of(&execution)).await;
            assert_eq!(shown["pipelineExecution"]["status"], "Stopping");
            assert!(runs(&asleep));
            let listed = builds.client.call("ListBuilds", &json!({})).await;
            builds.stop(listed["ids"][0].as_str().unwrap()).await;
        }
        loop {
            let shown = builds.client.call("GetPipelineExecution", &of(&execution)).await;
            let status = shown["pipelineExecution"]["status"].as_str().unwrap();
            if status == "Stopped" {
                break;
            }
            assert_eq!((status, way), ("Stopping", "wait"));
        }
        gone(&asleep, way).await;
        if way != "wait" {
            let start = json!({ "name": "site", "clientRequestToken": format!("after-{way}") });
            let started = builds.client.call("StartPipelineExecution", &start).await;
            execution = started["pipelineExecutionId"].as_str().unwrap().to_owned();
        }
    }
}

/// It would sleep for far longer.
async fn gone(asleep: &str, way: &str) {
    let began = clock::monotonic();
    while runs(asleep) {
        assert!(began.elapsed() < Duration::from_secs(60), "{way}: a process is left");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const LOG_BYTES: usize = 100 << 20;
/// What such a log costs the server beside itself without one, whatever its lines are like.
const GROWTH_BYTES_MAX: u64 = 32 << 20;

/// While it is written, one client follows it to its end, and one asks for it and does not read.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_log_is_followed_whole_and_in_bounded_memory() {
    const LINE_BYTES: usize = 100;
    let Some(world) = world(&[LARGE], &["app"], "at_once = 1") else { return };
    let mut builds = Builds::of(&world, LARGE).await;
    builds.create_project("app").await;
    let lines = LOG_BYTES / (LINE_BYTES + 1) + 1;
    let numbered = format!("seq -f %0{LINE_BYTES}.0f 1 {lines}");
    let endless = format!("yes x | tr -d '\\n' | head -c {LOG_BYTES}; echo");
    // The first one is for what is there once a build has run.
    for (command, is_long) in [("true", false), (&*numbered, true), (&*endless, true)] {
        let resident = memory(&world, "VmRSS");
        fs::write(format!("/proc/{}/clear_refs", world.server.id()), "5").unwrap();
        let build = [builds.start("app", &[command, "echo the end"]).await];
        let shown = builds.until(&build, "it has a log", |build| build["logs"]["deepLink"].is_string()).await;
        let path = format!("{}?follow=true", Builds::log_path(&shown[0]));
        let (status, unread) = world.ask(LARGE, &path).await;
        assert_eq!(status, StatusCode::OK);
        let (mut count, mut bytes, mut has_ended) = (0, 0, false);
        follow(&world, &path, |line| match line.strip_prefix("Info ") {
            Some("the end") => has_ended = true,
            Some(text) if command == numbered && text.len() == LINE_BYTES => {
                count += 1;
                assert_eq!(text.trim_start_matches('0').parse(), Ok(count), "a line is missing, or there twice");
            }
            Some(text) if command == endless && text.bytes().all(|byte| byte == b'x') => bytes += text.len(),
            _ => assert!(line.len() < 200, "{line}"),
        })
        .await;
        builds.until_succeeded(&build).await;
        assert!(has_ended);
        assert_eq!(count, if command == numbered { lines } else { 0 });
        assert_eq!(bytes, if command == endless { LOG_BYTES } else { 0 });
        let growth = memory(&world, "VmHWM").saturating_sub(resident);
        eprintln!("{command}: {} KiB more at most", growth >> 10);
        assert!(!is_long || growth < GROWTH_BYTES_MAX, "{command}: {growth} bytes more");
        drop(unread);
    }
}

/// Hands on each line of a log without its time, until it has ended.
async fn follow(world: &World, path: &str, mut hear: impl FnMut(&str)) {
    let mut client = world.client(LARGE).await;
    let response = client.send(world.signed(LARGE, Method::GET, path, &[], b"")).await;
    assert_eq!(response.status(), StatusCode::OK);
    let (mut body, mut rest, mut has_ended) = (response.into_body(), Vec::new(), false);
    while let Some(frame) = body.frame().await {
        rest.extend_from_slice(&frame.unwrap().into_data().unwrap_or_default());
        let Some(last) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
        for line in std::str::from_utf8(&rest[..last]).unwrap().lines() {
            has_ended |= line == "event: end";
            let told = line.strip_prefix("data: ").and_then(|told| told.split_once(' '));
            told.into_iter().for_each(|(_, line)| hear(line));
        }
        rest.drain(..=last);
    }
    assert!(has_ended);
}

fn memory(world: &World, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", world.server.id())).unwrap();
    let of = |line: &str| line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.parse::<u64>().ok();
    status.lines().find_map(of).unwrap() << 10
}

/// What a program writes beyond its limit ends it, and its log says so.
#[tokio::test(flavor = "multi_thread")]
async fn output_beyond_its_limit_is_told() {
    let Some(world) = world(&[LARGE], &["app"], "limits = { output_bytes_max = 1000000 }") else { return };
    let mut builds = Builds::of(&world, LARGE).await;
    builds.create_project("app").await;
    let build = [builds.start("app", &["yes", "echo never"]).await];
    let ended = builds.until(&build, "it fails", |build| build["buildStatus"] == "FAILED").await;
    let log = builds.log(&ended[0]).await;
    assert!(said(&log).any(|line| line.contains("used up output-bytes")), "{}", &log[log.len() - 1000..]);
    assert!(
        log.lines().filter(|line| line.ends_with(" y")).count() <= 500_000 && !said(&log).any(|line| line == "never")
    );
}
