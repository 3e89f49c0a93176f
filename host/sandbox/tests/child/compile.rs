//! The process in which the tests compile, as the hidden subcommand of `pipewright` does.

fn main() -> std::process::ExitCode {
    pipewright_sandbox::compile_child()
}
