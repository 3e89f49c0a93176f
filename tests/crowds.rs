//! Crowds: strangers, tenants and slow readers beside a client that goes on. Each attack is made on the real binary.

pub mod world;

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use http::StatusCode;
use pipewright_base::raise_open_files;
use pipewright_server::api::{OPERATIONS, ROUTES, Resource, Route};
use pipewright_server::connections::Bounds;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use world::{OPERATOR, Unread, World, action};

const TEAM: &str = "111111111111";
const OTHER: &str = "222222222222";

/// Of the file that is downloaded and not read: what the kernel holds of it between two sockets is less, 4 MiB at most where
/// nobody has raised the limit (`tcp_wmem`).
const LARGE_BYTES: usize = 6 << 20;

fn runtime() -> tokio::runtime::Runtime {
    raise_open_files();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn ask() -> Vec<Value> {
    vec![action("Approval", "AWS", "Manual", "Ask", json!({}))]
}

/// Nothing that makes it smaller.
fn large_file(folder: &Path) {
    let mut bytes = vec![0; LARGE_BYTES];
    fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
    fs::write(folder.join("large"), bytes).unwrap();
}

fn file_of(execution: &str) -> String {
    format!("/v1/pipelines/site/executions/{execution}/artifacts/Code/files/large")
}

/// Asks until one more than so many is refused; gives what was not. All of it stays open.
async fn fill(world: &World, account: &str, target: &str, max: usize) -> Vec<Unread> {
    let mut open = Vec::new();
    // What was open before may still count: that it was dropped is noticed a little later.
    for _ in 0..max + 1200 {
        let (status, unread) = world.ask(account, target).await;
        if status == StatusCode::OK {
            open.push(unread);
            assert!(open.len() <= max, "{} are open", open.len());
            continue;
        }
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        let refusal = String::from_utf8(unread.rest().await).unwrap();
        assert!(refusal.contains("\"ThrottlingException\"") && refusal.contains("at once"), "{refusal}");
        if open.len() == max {
            return open;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} are open, and no more are let in", open.len());
}

/// Asks again while it is refused.
async fn until_let_in(world: &World, account: &str, target: &str) {
    for _ in 0..120 {
        if world.ask(account, target).await.0 == StatusCode::OK {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!("{target} is refused for ever");
}

fn strangers(limits: &str, many: usize) {
    // Twice as many are open here.
    let many = many.min(raise_open_files() / 4);
    runtime().block_on(async {
        let world = World::new(&[], limits, |_| {});
        let mut kept = world.client(OPERATOR).await;
        kept.call("ListPipelines", &json!({})).await;
        let mut silent = Vec::new();
        for _ in 0..many {
            silent.push(world.connect().await);
        }
        world.goes_on(&[OPERATOR]).await;
        kept.call("ListPipelines", &json!({})).await;
        // The oldest was not left to wait for its time to be up while newer ones came.
        assert_eq!(silent[0].read(&mut [0]).await.unwrap_or(0), 0);

        // Requests one after the other whose answers are not taken, and one that never ends.
        let metrics = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n".repeat(200);
        let mut pipelined = Vec::new();
        for _ in 0..many {
            let mut stream = world.connect().await;
            let _ = stream.write_all(&metrics).await;
            pipelined.push(stream);
        }
        let mut endless = world.connect().await;
        endless.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2000000\r\n").await.unwrap();
        world.goes_on(&[OPERATOR]).await;
        kept.call("ListPipelines", &json!({})).await;

        // A stranger is answered once.
        let mut last = pipelined.pop().unwrap();
        let mut answers = Vec::new();
        let _ = last.read_to_end(&mut answers).await;
        assert_eq!(String::from_utf8_lossy(&answers).matches("HTTP/1.1 200").count(), 1);
        // And what says something now and then has no more time than what says nothing.
        let cut = async {
            while endless.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), cut).await.expect("it is cut");
        kept.call("ListPipelines", &json!({})).await;
    });
}

#[test]
fn strangers_lock_nobody_out() {
    strangers("ulimit -S -n 256", 1500);
}

/// A quarter of the files that it may have open are for connections, so that accepting them never fails.
#[test]
fn strangers_lock_nobody_out_of_a_host_with_few_files() {
    strangers("ulimit -n 256", 400);
}

#[test]
fn a_host_has_as_many_files_open_as_it_is_allowed_to() {
    let world = World::new(&[], "ulimit -S -n 128", |_| {});
    let limits = fs::read_to_string(format!("/proc/{}/limits", world.server.id())).unwrap();
    let files: Vec<&str> = limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split(' ').collect();
    let numbers: Vec<&str> = files.into_iter().filter(|word| word.parse::<u64>().is_ok()).collect();
    assert_eq!(numbers[0], numbers[1], "{limits}");
    assert_ne!(numbers[0], "128");
}

#[test]
fn a_tenants_streams_are_bounded_and_what_nobody_reads_is_cut() {
    runtime().block_on(async {
        let world = World::new(&[TEAM, OTHER], "ulimit -n 1024", large_file);
        let max = Bounds::new(1024, 3).streams_per_account_max;
        let execution = world.create(TEAM, ask()).await;
        let mut kept = world.client(TEAM).await;

        let mut streams = fill(&world, TEAM, "/v1/events", max).await;
        // The account itself still asks, and the others still follow.
        world.goes_on(&[OPERATOR, TEAM, OTHER]).await;
        assert_eq!(world.ask(OTHER, "/v1/events").await.0, StatusCode::OK);
        kept.call("ListPipelines", &json!({})).await;
        drop(streams.pop());
        until_let_in(&world, TEAM, "/v1/events").await;
        drop(streams);

        until_let_in(&world, TEAM, &file_of(&execution)).await;
        let downloads = fill(&world, TEAM, &file_of(&execution), max).await;
        world.goes_on(&[OPERATOR, TEAM, OTHER]).await;
        kept.call("ListPipelines", &json!({})).await;
        // Nobody reads: the server gives them up, and there is room again.
        until_let_in(&world, TEAM, &file_of(&execution)).await;
        for download in downloads {
            if download.rest().await.len() < LARGE_BYTES {
                return;
            }
        }
        panic!("all were written to their ends");
    });
}

/// More downloads than a runtime has threads for what blocks.
#[test]
fn downloads_that_nobody_reads_hold_no_threads() {
    runtime().block_on(async {
        let teams = [OPERATOR, TEAM, OTHER];
        let world = World::new(&teams[1..], "true", large_file);
        let each = (Bounds::new(raise_open_files(), teams.len()).streams_per_account_max / 2).min(100);
        let mut open = Vec::new();
        for account in teams {
            let execution = world.create(account, ask()).await;
            for kind in [file_of(&execution), file_of(&execution).replace("/files/large", "")] {
                for _ in 0..each {
                    let (status, unread) = world.ask(account, &kind).await;
                    assert_eq!(status, StatusCode::OK);
                    open.push(unread);
                }
            }
            for _ in 0..10 {
                world.goes_on(&teams).await;
            }
        }
    });
}

#[test]
fn a_long_listing_of_files_is_not_held() {
    const FILES: usize = 1_000;
    runtime().block_on(async {
        let world = World::new(&[], "true", |folder| {
            // Long paths, for a listing of a megabyte.
            let deep = folder.join([&*"x".repeat(240); 4].join("/"));
            fs::create_dir_all(&deep).unwrap();
            for number in 0..FILES {
                fs::write(deep.join(number.to_string()), "x").unwrap();
            }
        });
        let execution = world.create(OPERATOR, ask()).await;
        let target = format!("/v1/pipelines/site/executions/{execution}/artifacts/Code/files");
        let (status, listing) = world.ask(OPERATOR, &target).await;
        assert_eq!(status, StatusCode::OK);
        let listing = listing.rest().await;
        let rows = listing.windows(8).filter(|bytes| *bytes == b"\"path\":\"").count();
        assert_eq!(rows, FILES);

        let before = resident_bytes(&world);
        let mut open = Vec::new();
        for _ in 0..60 {
            open.push(world.ask(OPERATOR, &target).await);
        }
        world.goes_on(&[OPERATOR]).await;
        let more = resident_bytes(&world).saturating_sub(before);
        assert!(more < 60 * listing.len() / 2, "{more} bytes more for 60 listings of {} bytes", listing.len());
    });
}

fn resident_bytes(world: &World) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", world.server.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn guests_that_use_every_thread_keep_nobody_waiting() {
    runtime().block_on(async {
        let world = World::new(&[TEAM], "true", |folder| fs::write(folder.join("page.md"), "# Page").unwrap());
        let threads = std::thread::available_parallelism().unwrap().get();
        let burners = (0..2 * threads).map(|number| {
            action("Invoke", "Custom", "Deed", &format!("Compute{number}"), json!({ "Deed": "compute" }))
        });
        let callers = (0..threads).map(|number| {
            let script = json!({ "Script": "flood-files scratch" });
            action("Invoke", "Custom", "Steps", &format!("Files{number}"), script)
        });
        world.create(TEAM, burners.chain(callers).collect()).await;
        let mut kept = world.client(TEAM).await;
        for _ in 0..50 {
            world.goes_on(&[OPERATOR, TEAM]).await;
            kept.call("ListPipelines", &json!({})).await;
            kept.call("GetPipelineState", &json!({ "name": "site" })).await;
        }
        let state = kept.call("GetPipelineState", &json!({ "name": "site" })).await;
        let actions = state["stageStates"][1]["actionStates"].as_array().unwrap();
        let burn = actions.iter().filter(|action| action["latestExecution"]["status"] == "InProgress").count();
        assert!(burn >= 2 * threads, "{state}");
    });
}

/// Together they would have more files open than the host may.
#[test]
fn guests_that_hold_files_keep_nobody_waiting() {
    runtime().block_on(async {
        let world = World::new(&[TEAM], "ulimit -n 512", |folder| fs::write(folder.join("page.md"), "# Page").unwrap());
        let holders = (0..6).map(|number| {
            let script = json!({ "Script": "keep-files /inputs/Code/page.md" });
            action("Invoke", "Custom", "Steps", &format!("Files{number}"), script)
        });
        world.create(TEAM, holders.collect()).await;
        let mut kept = world.client(TEAM).await;
        for _ in 0..20 {
            world.goes_on(&[OPERATOR, TEAM]).await;
        }
        let state = kept.call("GetPipelineState", &json!({ "name": "site" })).await;
        let actions = state["stageStates"][1]["actionStates"].as_array().unwrap();
        assert!(actions.iter().all(|action| action["latestExecution"]["status"] == "InProgress"), "{state}");
    });
}

#[test]
fn whoever_does_not_sign_is_refused_at_every_route() {
    runtime().block_on(async {
        let world = World::new(&[], "true", |_| {});
        for row in ROUTES {
            let target = row.path.replace(['{', '}', '*'], "");
            let request = http::Request::builder().method(row.method).uri(&target).header("host", "x");
            let response = world.client(OPERATOR).await.send(request.body(bytes::Bytes::new()).unwrap()).await;
            // Nobody guesses where something is delivered.
            let expected = match (&row.permission, row.path.ends_with("{key}")) {
                (Some(_), _) => StatusCode::FORBIDDEN,
                (None, true) => StatusCode::NOT_FOUND,
                (None, false) => StatusCode::OK,
            };
            check_unsigned(expected, &format!("{} {target}", row.method), response).await;
        }
        for operation in OPERATIONS {
            let request = http::Request::post("/").header("host", "x");
            let (request, body) = match operation.of.target_prefix {
                Some(prefix) => (
                    request
                        .header("content-type", "application/x-amz-json-1.1")
                        .header("x-amz-target", format!("{prefix}.{}", operation.name)),
                    "{}".to_owned(),
                ),
                None => (
                    request.header("content-type", "application/x-www-form-urlencoded"),
                    format!("Action={}&Version=2011-06-15", operation.name),
                ),
            };
            let request = request.header("content-length", body.len()).body(bytes::Bytes::from(body)).unwrap();
            check_unsigned(StatusCode::FORBIDDEN, operation.name, world.client(OPERATOR).await.send(request).await)
                .await;
        }
        // What is for those who run the host is refused to whoever else signs.
        let team = World::new(&[TEAM], "true", |_| {});
        let is_hosts = |row: &&Route| row.permission.is_some_and(|it| it.resource == Resource::Host);
        let rows: Vec<_> = ROUTES.iter().filter(is_hosts).collect();
        assert!(rows.iter().any(|row| row.path == "/v1/export"));
        for row in rows {
            let (method, target) = (row.method.parse().unwrap(), row.path.replace(['{', '}'], ""));
            let request = team.signed(TEAM, method, &target, &[], b"");
            assert_eq!(team.client(TEAM).await.send(request).await.status(), StatusCode::FORBIDDEN, "{target}");
        }
    });
}

async fn check_unsigned(expected: StatusCode, about: &str, response: http::Response<hyper::body::Incoming>) {
    use http_body_util::BodyExt as _;
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(status, expected, "{about}");
    if expected != StatusCode::FORBIDDEN {
        return;
    }
    let told = String::from_utf8_lossy(&body);
    let in_json = r#""__type":"MissingAuthenticationTokenException""#;
    assert!(told.contains(in_json) || told.contains("<Code>MissingAuthenticationToken</Code>"), "{about}: {told}");
}

#[test]
fn every_permission_has_a_name_of_its_own() {
    let plain = ROUTES.iter().filter_map(|row| row.permission);
    let mut actions: Vec<&str> = plain.chain(OPERATIONS.iter().map(|row| row.permission)).map(|it| it.action).collect();
    let is_named = |action: &str| {
        let (service, name) = action.split_once(':').unwrap();
        ["codebuild", "codepipeline", "pipewright", "sts"].contains(&service)
            && name.bytes().all(|byte| byte.is_ascii_alphabetic())
    };
    assert!(actions.iter().all(|action| is_named(action)), "{actions:?}");
    let all = actions.len();
    actions.sort_unstable();
    actions.dedup();
    assert_eq!(actions.len(), all);
    let public: Vec<&str> = ROUTES.iter().filter(|row| row.permission.is_none()).map(|row| row.path).collect();
    let delivered = ["/v1/connections/{account}/{connection}/{key}", "/v1/webhooks/{account}/{webhook}/{key}"];
    assert_eq!(public, [&["/healthz", "/metrics"][..], &delivered].concat());
}

#[test]
fn what_a_host_keeps_is_its_owners_alone() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let check = |path: &Path, mode: u32| {
        assert_eq!(fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    };
    let open = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("serve.toml"), "").unwrap();
    let data = home.path().join("data");
    drop(crate::server::Server::start(home.path()));
    // As another program, or an older one, left it; with links that lead elsewhere.
    let aside = home.path().join("aside");
    fs::write(&aside, "as it was").unwrap();
    for folder in [data.clone(), data.join("store")] {
        open(&folder, 0o755);
    }
    for entry in fs::read_dir(data.join("store")).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_file() {
            open(&entry, 0o644);
        }
    }
    open(&data.join("credentials"), 0o644);
    let _ = fs::remove_file(data.join("endpoint"));
    symlink(&aside, data.join("endpoint")).unwrap();

    let server = crate::server::Server::start(home.path());
    assert!(server.endpoint().starts_with("http://127.0.0.1:"));
    assert_eq!(fs::read_to_string(&aside).unwrap(), "as it was");
    check(&data, 0o700);
    check(&data.join("store"), 0o700);
    for entry in fs::read_dir(data.join("store")).unwrap().map(|entry| entry.unwrap().path()) {
        check(&entry, if entry.is_dir() { 0o700 } else { 0o600 });
    }
    for file in ["credentials", "endpoint"] {
        check(&data.join(file), 0o600);
    }
    drop(server);
    fs::rename(data.join("credentials"), &aside).unwrap();
    symlink(&aside, data.join("credentials")).unwrap();
    drop(crate::server::Server::start(home.path()));
    check(&data.join("credentials"), 0o600);

    // What others may have to reach is not closed to them.
    fs::write(data.join("report.txt"), "of somebody else").unwrap();
    open(&data, 0o755);
    let refused = std::process::Command::new(env!("CARGO_BIN_EXE_pipewright"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("report.txt") && said.contains("chmod 700"), "{said}");
    check(&data, 0o755);
}
