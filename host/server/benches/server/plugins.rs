//! What the author of a plugin waits for: all of its cases, against one run of one of them, both with the command line and
//! a compiled component.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use pipewright::clock::monotonic;

use crate::Bench;
use crate::measure::{compare, head};

const CASES: usize = 20;
const ROUNDS: usize = 15;
const ROUNDS_QUICK: usize = 5;
const GOAL: f64 = 2.0;

const ACTION: &str = "Build/Custom/Small/1";

pub(crate) fn run(bench: &Bench, folder: &Path) -> anyhow::Result<()> {
    let component = folder.join("bench.wasm");
    std::fs::copy(bench.plugins.join("bench.wasm"), &component)?;
    for number in 0..CASES {
        let input = folder.join(format!("cases/case-{number}/inputs/In"));
        std::fs::create_dir_all(&input)?;
        std::fs::write(input.join("file"), format!("the input of case {number}"))?;
        let case = format!("action = \"{ACTION}\"\noutputs = [\"Out\"]\n\n[expected]\noutcome = \"succeeded\"\n");
        std::fs::write(folder.join(format!("cases/case-{number}/case.toml")), case)?;
    }
    let input = format!("In={}", folder.join("cases/case-0/inputs/In").display());
    let all = |_| command(folder, &["plugin", "test", "bench.wasm"]);
    let one = |_| {
        let run = ["plugin", "run", "bench.wasm", "--action", ACTION, "--input", &input, "--output", "Out"];
        command(folder, &run)
    };
    let rounds = bench.choose(ROUNDS_QUICK, ROUNDS);
    let name = format!("`plugin test` of {CASES} cases, against `plugin run` of one");
    let line = compare(name, GOAL, (rounds, 1), |round| Ok((all(round)?, one(round)?)))?;
    println!("{}", head());
    println!("{line}");
    Ok(())
}

fn command(folder: &Path, arguments: &[&str]) -> anyhow::Result<Duration> {
    let start = monotonic();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipewright"));
    let status = command.args(arguments).current_dir(folder).stdout(Stdio::null()).status()?;
    anyhow::ensure!(status.success(), "{}: {status}", arguments.join(" "));
    Ok(start.elapsed())
}
