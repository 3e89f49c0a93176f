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
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
        "connect" => match std::net::TcpStream::connect("127.0.0.1:80") {
            Ok(_) => "connected".to_owned(),
            Err(error) => error.kind().to_string(),
        },
        "make a large variable" => "x".repeat(amount),
        "wait" => return Ok(Step::Waiting(Wait::for_signal("go").continuation(&"x".repeat(amount))?)),
        other => return Err(Failure::configuration(format!("no deed {other:?}"))),
    };
    Ok(Step::Done(Report::new("done").variables(Told { found })))
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
