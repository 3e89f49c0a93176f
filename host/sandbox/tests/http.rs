//! What a real guest hears of real servers: refusals as they are, bodies of any size, several answers at once.

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _, copy, repeat, sink};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;

use common::Memory;
use pipewright_sandbox::grants::{Grants, HttpGrant};
use pipewright_sandbox::limits::CallLimits;
use pipewright_sandbox::{CallFailure, Plugin, Sandbox};
use tokio::net::TcpSocket;

/// How often what a race decides is tried.
const TIMES: usize = 60;
/// How many requests the server lets come before it answers any.
const AT_ONCE: usize = 8;
/// More than the guest may have of memory.
const LARGE_BYTES: u64 = 64 << 20;

struct World {
    sandbox: Sandbox,
    plugin: Plugin,
    server: String,
    /// Where nobody listens.
    nobody: String,
    /// Has that port, so that no other test listens there.
    _taken: TcpSocket,
    grants: Grants,
}

impl World {
    async fn new() -> Self {
        let sandbox = common::sandbox();
        let plugin = sandbox.load(pipewright_guests::get("steps").into()).await.unwrap();
        let taken = TcpSocket::new_v4().unwrap();
        taken.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let nobody = taken.local_addr().unwrap().port();
        let port = serve();
        let granted = |port| HttpGrant { tls: false, host: Ipv4Addr::LOCALHOST.to_string(), port, private: true };
        let grants = Grants { http: vec![granted(port), granted(nobody)], ..Grants::default() };
        let origin = |port| format!("http://127.0.0.1:{port}");
        Self { sandbox, plugin, server: origin(port), nobody: origin(nobody), _taken: taken, grants }
    }

    /// Runs one step, and gives what came of it.
    async fn step(&self, step: &str) -> String {
        let memory = Arc::new(Memory::default());
        let mut call = common::call("Steps", &[("Script", step)], Arc::clone(&memory) as _);
        call.grants = self.grants.clone();
        call.limits = CallLimits { wall_seconds_max: 60, memory_bytes_max: 16 << 20, ..CallLimits::default() };
        match self.sandbox.call(&self.plugin, call).await.result {
            Ok(_) | Err(CallFailure::Plugin(_)) => {}
            Err(failure) => panic!("{step}: {failure}"),
        }
        let begin = format!("Info {step}: ");
        let lines = memory.lines();
        let told = lines.iter().find_map(|line| line.strip_prefix(&begin));
        told.unwrap_or_else(|| panic!("{step}: {lines:#?}")).to_owned()
    }

    async fn check(&self, step: &str, want: &str) {
        let step = step.replace("{server}", &self.server).replace("{nobody}", &self.nobody);
        let told = self.step(&step).await;
        assert!(told.starts_with(want), "{step}: {told}, not {want}");
    }
}

/// A server that does what its paths say. Its threads end with the test.
fn serve() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let together = Arc::new(Barrier::new(AT_ONCE));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let together = Arc::clone(&together);
            thread::spawn(move || answer(stream, &together));
        }
    });
    port
}

/// The client may hang up at any time.
fn answer(stream: TcpStream, together: &Barrier) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(' ') {
            Some(("content-length:", value)) => length = value.parse().ok()?,
            Some(("GET" | "POST", rest)) => path = rest.split(' ').next()?.to_owned(),
            _ if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    // In one piece: what a closed connection still holds back is lost.
    let mut say = |status: &str, bytes: u64, body: &str| {
        let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {bytes}\r\n\r\n{body}");
        writer.write_all(head.as_bytes()).ok()
    };
    match path.as_str() {
        // As large as what was sent.
        "/same" => {
            copy(&mut reader.take(length), &mut sink()).ok()?;
            say("200 OK", length, "")?;
            copy(&mut repeat(b'y').take(length), &mut writer).ok()?;
        }
        // Without having read the body: closing resets the connection.
        "/too-large" => say("413 Content Too Large", 5, "large")?,
        // The same, and the connection stays open.
        "/too-large-and-waits" => {
            say("413 Content Too Large", 5, "large")?;
            copy(&mut reader, &mut sink()).ok()?;
        }
        "/silent" => thread::park(),
        "/stalls" => {
            say("200 OK", 10, "")?;
            thread::park();
        }
        path => {
            let number = path.strip_prefix("/together/")?;
            together.wait();
            say("200 OK", number.len() as u64, number)?;
        }
    }
    Some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_told_as_it_is() {
    let world = World::new().await;
    let cases = [
        ("post {server}/too-large 5", "413 5"),
        ("post {server}/too-large 20000000", "413 5"),
        ("post-unsized {server}/too-large 20000000", "413 5"),
        ("post {server}/too-large-and-waits 20000000", "413 5"),
        ("post {nobody}/ 5", "refused: the request to {nobody}/ failed: the connection was refused"),
        ("post {nobody}/ 20000000", "refused: the request to {nobody}/ failed: the connection was refused"),
        ("post http://localhost:1/ 5", "refused: no grant allows the request to http://localhost:1/"),
        ("post http://localhost:1/ 20000000", "refused: no grant allows the request to http://localhost:1/"),
    ];
    for _ in 0..TIMES {
        for (step, want) in cases {
            world.check(step, &want.replace("{nobody}", &world.nobody)).await;
        }
    }
    let short = "refused: the body of the request to";
    world.check("post-short {server}/same 20", short).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_larger_than_the_guest() {
    let world = World::new().await;
    world.check(&format!("post {{server}}/same {LARGE_BYTES}"), &format!("200 {LARGE_BYTES}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_requests_are_under_way_at_once() {
    let world = World::new().await;
    // The server answers the first one when the last one of eight has come.
    world.check("get-all {server}/together/ 8", "0 1 2 3 4 5 6 7").await;
    // More than are under way at once.
    let numbers: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    world.check("get-all {server}/together/ 40", &numbers.join(" ")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_waits_no_longer_than_it_says() {
    let world = World::new().await;
    let silent = "refused: the request to {server}/silent failed: the response did not come in time";
    world.check("get-within {server}/silent 100", &silent.replace("{server}", &world.server)).await;
    world
        .check("get-flowing {server}/stalls 100", "refused: the response broke off: the response stopped coming")
        .await;
}
