//! Compiling, in a child process with limits on its CPU time and memory, because a compiler cannot be interrupted and a
//! small component can keep it busy for minutes.
//!
//! Owns both sides: `Compiler` starts the child, `compile_child` is the child. Must not know what a plugin is, nor keep
//! what it makes.
//!
//! The child reads from its standard input three numbers (its limits of memory and CPU time, and the length of the
//! component; 8 bytes each, little-endian) and the component, and writes the compiled code to its standard output; an
//! error goes to its standard error with exit code 1. It ends when its standard input does: that is how it dies with its
//! parent.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::engine;
use crate::limits::{COMPILE_CHILDREN_MAX, COMPILED_BYTES_MAX, COMPONENT_BYTES_MAX, CompileLimits};

/// How to start a process that calls [`compile_child`].
#[derive(Clone, Debug)]
pub struct CompilerCommand {
    pub program: PathBuf,
    pub args: Vec<OsString>,
}

#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error(
        "compiling it took more than {} s of CPU time or {} s in all; build it smaller, or with fewer and shorter \
         functions", .0.cpu_seconds_max, .0.wall_seconds_max
    )]
    Time(CompileLimits),
    #[error(
        "compiling it needed more than {} MiB of memory; build it smaller, or with shorter functions",
        .0.memory_bytes_max >> 20
    )]
    Memory(CompileLimits),
    #[error("its compiled code is larger than {} MiB", COMPILED_BYTES_MAX >> 20)]
    TooLarge,
    /// The component is not valid.
    #[error("{0}")]
    Invalid(String),
    #[error("the compiler could not be run: {0}")]
    Host(String),
}

impl From<io::Error> for CompileError {
    fn from(error: io::Error) -> Self {
        Self::Host(error.to_string())
    }
}

pub(crate) struct Compiler {
    command: CompilerCommand,
    limits: CompileLimits,
    children: Semaphore,
}

/// How much of what the child says is read.
const CHILD_MESSAGE_BYTES_MAX: u64 = 16 << 10;
/// More threads cost address space, of which the child has little.
const CHILD_THREADS_MAX: usize = 4;

impl Compiler {
    pub(crate) fn new(command: CompilerCommand, limits: CompileLimits) -> Self {
        Self { command, limits, children: Semaphore::new(COMPILE_CHILDREN_MAX) }
    }

    pub(crate) async fn compile(&self, component: &[u8]) -> Result<Vec<u8>, CompileError> {
        let _permit = self.children.acquire().await.map_err(|closed| CompileError::Host(closed.to_string()))?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(CHILD_THREADS_MAX);
        let mut child = Command::new(&self.command.program)
            .args(&self.command.args)
            .env_clear()
            .env("RAYON_NUM_THREADS", threads.to_string())
            .env("MALLOC_ARENA_MAX", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| CompileError::Host(format!("{}: {error}", self.command.program.display())))?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(CompileError::Host("the child has no pipes".to_owned()));
        };
        let (mut compiled, mut message) = (Vec::new(), Vec::new());
        let work = async {
            let feed = async {
                // A child that ended early says why on its standard error.
                let header = [self.limits.memory_bytes_max, self.limits.cpu_seconds_max, component.len() as u64];
                let _ = stdin.write_all(header.map(u64::to_le_bytes).as_flattened()).await;
                let _ = stdin.write_all(component).await;
                let _ = stdin.flush().await;
            };
            let (mut output, mut errors) = (stdout.take(COMPILED_BYTES_MAX + 1), stderr.take(CHILD_MESSAGE_BYTES_MAX));
            let ((), output, errors) =
                tokio::join!(feed, output.read_to_end(&mut compiled), errors.read_to_end(&mut message));
            output.and(errors)
        };
        match tokio::time::timeout(Duration::from_secs(self.limits.wall_seconds_max), work).await {
            Err(_) => return Err(CompileError::Time(self.limits)),
            Ok(ended) => ended?,
        };
        if compiled.len() as u64 > COMPILED_BYTES_MAX {
            return Err(CompileError::TooLarge);
        }
        // Only now: the end of its standard input would end the child.
        drop(stdin);
        let status = child.wait().await?;
        if status.success() { Ok(compiled) } else { Err(self.explain(status, &String::from_utf8_lossy(&message))) }
    }

    fn explain(&self, status: ExitStatus, message: &str) -> CompileError {
        use std::os::unix::process::ExitStatusExt;
        let signal = status.signal();
        if [Signal::XCPU, Signal::KILL].iter().any(|kill| signal == Some(kill.as_raw())) {
            return CompileError::Time(self.limits);
        }
        // Rust says the one when memory is refused to it, wasmtime the other when it is refused a mapping.
        if message.contains("memory allocation of") || message.contains("Cannot allocate memory") {
            return CompileError::Memory(self.limits);
        }
        if status.code() == Some(i32::from(CHILD_REFUSED)) {
            return CompileError::Invalid(message.trim().to_owned());
        }
        CompileError::Host(format!("the compiler ended with {status}: {}", message.trim()))
    }
}

/// The component is not valid; what is wrong stands on the standard error.
const CHILD_REFUSED: u8 = 1;
const CHILD_FAILED: u8 = 3;

/// What a process says and ends with that was to be [`compile_child`] and cannot be.
pub fn compile_child_failed(message: &str) -> ExitCode {
    say(CHILD_FAILED, message)
}

fn say(code: u8, message: &str) -> ExitCode {
    let _ = io::stderr().write_all(message.as_bytes());
    ExitCode::from(code)
}

/// The whole of a process that [`CompilerCommand`] starts.
pub fn compile_child() -> ExitCode {
    let component = match read_component() {
        Ok(component) => component,
        Err(error) => return say(CHILD_FAILED, &error.to_string()),
    };
    std::thread::spawn(|| {
        // Nothing more comes: the read ends when the parent does, or when it is done with this process.
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(i32::from(CHILD_FAILED));
    });
    let engine = match engine::on_demand() {
        Ok(engine) => engine,
        Err(error) => return say(CHILD_FAILED, &format!("{error:#}")),
    };
    match engine.precompile_component(&component) {
        Ok(compiled) => match io::stdout().write_all(&compiled).and_then(|()| io::stdout().flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => say(CHILD_FAILED, &error.to_string()),
        },
        Err(error) => say(CHILD_REFUSED, &format!("{error:#}")),
    }
}

/// Reads the limits, and keeps to them from then on, and the component.
fn read_component() -> io::Result<Vec<u8>> {
    let mut numbers = [[0; 8]; 3];
    io::stdin().read_exact(numbers.as_flattened_mut())?;
    let [memory, cpu, length] = numbers.map(u64::from_le_bytes);
    let limit = |resource, max| setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) });
    limit(Resource::As, memory)?;
    limit(Resource::Cpu, cpu)?;
    limit(Resource::Core, 0)?;
    if length > COMPONENT_BYTES_MAX as u64 {
        return Err(io::Error::other("the component is too large"));
    }
    let mut component = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    io::stdin().read_exact(&mut component)?;
    Ok(component)
}
