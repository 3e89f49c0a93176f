//! The `pipewright` binary: server, command line, local runner and plugin tool in one.

fn main() -> std::process::ExitCode {
    pipewright::main()
}
