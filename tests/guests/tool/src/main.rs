//! A command-line tool: does what its arguments say, a verb and its words each, one after another.
#![allow(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods, reason = "a program, and no plugin")]

use std::io::Read as _;
use std::net::TcpStream;
use std::process::ExitCode;
use std::{env, fs, io, process};

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    for deed in words.chunks(3) {
        let word = |number: usize| deed.get(number).map_or("", String::as_str);
        if let Err(error) = act(word(0), word(1), word(2)) {
            eprintln!("{}: {error}", deed.join(" "));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn act(verb: &str, one: &str, other: &str) -> io::Result<()> {
    match verb {
        "say" => println!("{one} {other}"),
        "variable" => println!("{one} is {}", env::var(one).unwrap_or_else(|_| other.to_owned())),
        "write" => fs::write(one, other)?,
        "copy" => drop(fs::copy(one, other)?),
        "input" => {
            let read = io::stdin().read_to_end(&mut Vec::new())?;
            println!("{read} bytes of input");
        }
        "connect" => drop(TcpStream::connect(one)?),
        "exit" => process::exit(1),
        "panic" => panic!("{one}"),
        "loop" => loop {
            std::hint::black_box(one);
        },
        "fill" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1_u8; 1 << 20]);
                std::hint::black_box(&all);
            }
        }
        _ => return Err(io::Error::other("no such verb")),
    }
    Ok(())
}
