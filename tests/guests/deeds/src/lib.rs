//! Does the deed that its setting names. What it finds out goes into the variable `found`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "what a plugin should rather not do is what it is for"
)]

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::hint::black_box;
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pipewright_sdk::SettingValue;
use pipewright_sdk::bindings::host::wasi::http::types::{Fields, Method, OutgoingRequest};
use pipewright_sdk::prelude::*;

#[derive(Settings)]
struct Asked {
    /// One of the functions below.
    deed: String,
    /// How many bytes, milliseconds or lines, where the deed wants to know.
    #[setting(default = "0")]
    amount: u64,
    /// Masked in the log.
    #[setting(secret)]
    password: Option<String>,
    /// What becomes of judging it, before anything runs.
    #[setting(name = "Judged")]
    _judged: Option<Judged>,
}

struct Judged;

impl SettingValue for Judged {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "compute" => Err(compute()),
            "panic" => panic!("as asked"),
            "talk" => Err("x".repeat(1 << 19)),
            "talk without end" => Err("x".repeat(8 << 20)),
            "log" => loop {
                info!("{}", "x".repeat(1_000));
            },
            other => Err(format!("something else\nthan {other}")),
        }
    }
}

#[derive(Variables)]
struct Told {
    /// What the deed found out.
    found: String,
}

/// Does it.
#[action(provider = "Deed", inputs = 0..=1)]
fn deed(_: &Action, asked: Asked) -> Result<Step<Report<Told>>> {
    let amount = usize::try_from(asked.amount).unwrap_or(usize::MAX);
    let found = match asked.deed.as_str() {
        "nothing" => String::new(),
        "compute" => compute(),
        "sleep" => {
            std::thread::sleep(Duration::from_millis(asked.amount));
            String::new()
        }
        "take memory" => take_memory(amount),
        "do without memory" => match Vec::<u8>::new().try_reserve(amount) {
            Ok(()) => String::new(),
            Err(error) => return Err(Failure::configuration(error.to_string())),
        },
        "recurse" => recurse(1).to_string(),
        "recurse with variables" => recurse_with_variables(1).to_string(),
        "log" => loop {
            info!("{}", "x".repeat(1_000));
        },
        "log lines" => loop {
            info!("");
        },
        "print" => loop {
            println!("{}", "x".repeat(1_000));
        },
        "log as much as asked" => {
            info!("{}", "x".repeat(amount));
            String::new()
        }
        "print in pieces" => print_in_pieces(asked.password.as_deref().unwrap_or_default()),
        "print over the cut" => print_over_the_cut(asked.password.as_deref().unwrap_or_default()),
        hoard if hoard.starts_with("hold ") => hold_what(hoard, amount)?,
        "print without end" => loop {
            print!("x");
        },
        "report progress" => loop {
            progress(None, "on and on");
        },
        "say" => say(asked.password.as_deref().unwrap_or_default()),
        "pass a huge string" => {
            info!("{}", "x".repeat(amount));
            String::new()
        }
        "panic" => panic!("as asked"),
        "exit" => std::process::exit(7),
        "fail" => return Err(Failure::configuration("as asked: ".to_owned() + &asked.password.unwrap_or_default())),
        "tell the time" => milliseconds().to_string(),
        "wait for the time to pass" => {
            let before = milliseconds();
            std::thread::sleep(Duration::from_millis(asked.amount));
            (milliseconds() - before).to_string()
        }
        "guess" => RandomState::new().hash_one(0).to_string(),
        "look around" => format!("{} {}", std::env::args().count(), std::env::vars().count()),
        "connect" => refused(std::net::TcpStream::connect("127.0.0.1:80")),
        "bind" => refused(std::net::UdpSocket::bind("0.0.0.0:0")),
        "look up" => refused(std::net::ToSocketAddrs::to_socket_addrs("localhost:80")),
        "make a large variable" => "x".repeat(amount),
        // Until a limit ends it.
        "compute and wait" => {
            let started = std::time::Instant::now();
            while started.elapsed() < Duration::from_millis(asked.amount) {}
            return Ok(Step::Waiting(Wait::until_time(0)));
        }
        "wait" => return Ok(Step::Waiting(Wait::for_signal("go").continuation(&"x".repeat(amount))?)),
        other => return Err(Failure::configuration(format!("no deed {other:?}"))),
    };
    Ok(Step::Done(Report::new("done").variables(Told { found })))
}

fn refused<T>(tried: std::io::Result<T>) -> String {
    tried.map_or_else(|error| error.kind().to_string(), |_| "it works".to_owned())
}

/// Makes the host hold something of so many bytes, until something stops it.
fn hold_what(hoard: &str, amount: usize) -> Result<String> {
    Ok(match hoard {
        "hold authorities" => hold(|| request_with(|request| request.set_authority(Some(&"a".repeat(amount))))),
        "hold methods" => hold(|| request_with(|request| request.set_method(&Method::Other("M".repeat(amount))))),
        "hold paths" => hold(|| request_with(|request| request.set_path_with_query(Some(&"/".repeat(amount))))),
        "hold fields" => hold(|| fields_of(amount)),
        "hold fields of requests" => hold(|| OutgoingRequest::new(fields_of(amount))),
        "hold bodies" => hold(|| {
            let request = OutgoingRequest::new(Fields::new());
            let body = request.body().expect("the first body");
            let stream = body.write().expect("the first stream");
            while let Ok(room @ 1..) = stream.check_write() {
                stream.write(&vec![0; usize::try_from(room).unwrap_or(0).min(amount)]).expect("there is room");
            }
            (request, stream, body)
        }),
        other => return Err(Failure::configuration(format!("no deed {other:?}"))),
    })
}

fn hold<T>(make: impl Fn() -> T) -> String {
    let mut held = Vec::new();
    loop {
        held.push(make());
        black_box(&held);
    }
}

fn request_with(set: impl FnOnce(&OutgoingRequest) -> std::result::Result<(), ()>) -> OutgoingRequest {
    let request = OutgoingRequest::new(Fields::new());
    set(&request).expect("it is taken");
    request
}

fn fields_of(bytes: usize) -> Fields {
    let fields = Fields::new();
    fields.append("x", &vec![b'x'; bytes]).expect("it is taken");
    fields
}

/// A few characters at a time, each written by itself.
fn print_in_pieces(password: &str) -> String {
    for length in 1..=password.len() {
        for piece in password.as_bytes().chunks(length) {
            let _ = std::io::stdout().write_all(piece).and_then(|()| std::io::stdout().flush());
        }
        println!(" in pieces of {length}");
    }
    String::new()
}

/// Wherever the host may cut a long line.
fn print_over_the_cut(password: &str) -> String {
    for ahead in 0..=password.len() {
        println!("{}{password}", "é".repeat((16 << 10) / 2).split_off(ahead & !1));
    }
    String::new()
}

fn milliseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

fn compute() -> String {
    let mut number = 1_u64;
    while black_box(number) != 0 {
        number = number.wrapping_mul(3) | 1;
    }
    number.to_string()
}

fn take_memory(bytes: usize) -> String {
    let mut taken = Vec::new();
    while taken.len() << 20 < bytes {
        taken.push(vec![1_u8; 1 << 20]);
        black_box(&taken);
    }
    taken.len().to_string()
}

/// Uses the engine's stack: nothing of it lies in the guest's memory.
fn recurse(depth: u64) -> u64 {
    if black_box(depth) == 0 { 0 } else { black_box(recurse(depth + 1)) + 1 }
}

/// Uses the stack in the guest's own memory.
fn recurse_with_variables(depth: u64) -> u64 {
    let variables = black_box([depth; 1_000]);
    if variables[0] == 0 { 0 } else { black_box(recurse_with_variables(depth + 1)) + black_box(variables)[1] }
}

fn say(password: &str) -> String {
    debug!("to whom it may concern");
    info!("first line\nsecond line, the password is {password}");
    println!("printed {password}");
    eprint!("without an end");
    progress(Some(50), "half way");
    String::new()
}

plugin! {
    /// Does deeds, good and bad.
    name: "guest/deeds",
    asks: [ask(Capability::Clock, "to wait"), ask(Capability::Randomness, "to guess")],
    invoke: [deed],
}
