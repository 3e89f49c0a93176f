//! Build and Test `Custom/WasiTool/1`: runs a command-line tool that is a WebAssembly component, inside of the sandbox and with
//! nothing but what the action has. Judges its exit status.

use std::path::PathBuf;

use pipewright_sdk::prelude::*;

#[derive(Settings)]
struct Run {
    /// The component, a program of the target `wasm32-wasip2`: its path in the input artifact, or in the directory. This or `Package` is needed.
    component: Option<String>,
    /// The package of the tool, which the account has installed, with its version: `team/name@1.0.0`.
    package: Option<String>,
    /// The input artifact that has the component; needed where there are several.
    component_artifact: Option<String>,
    /// The granted directory that has the component, instead of an artifact; then `Digest` is needed.
    directory: Option<String>,
    /// The SHA-256 that the component must have, in hexadecimal.
    digest: Option<String>,
    /// Its arguments. The input artifacts are `/inputs/NAME`, what it makes belongs into `/outputs/NAME`, and it may write to `/scratch`.
    #[setting(default = "[]")]
    arguments: Vec<String>,
    /// Its environment variables, each as `NAME=value`. There are no others.
    #[setting(default = "[]")]
    environment: Vec<String>,
    /// Whether it may reach the hosts that the action is granted.
    #[setting(default = "false")]
    network: bool,
}

/// Builds with a WebAssembly command-line tool: an exit status other than 0 fails the action.
#[action(provider = "WasiTool", inputs = 0..=5, outputs = 0..=5)]
fn build(action: &Action, settings: Run) -> Result<Report> {
    run(action, settings)
}

/// Tests with a WebAssembly command-line tool: an exit status other than 0 fails the action.
#[action(provider = "WasiTool", inputs = 0..=5, outputs = 0..=5)]
fn test(action: &Action, settings: Run) -> Result<Tested> {
    Ok(Tested { report: run(action, settings)?, cases: Vec::new() })
}

fn run(action: &Action, settings: Run) -> Result<Report> {
    let (name, tool) = tool(action, &settings)?;
    let mut tool = tool.network(settings.network);
    if let Some(digest) = &settings.digest {
        tool = tool.digest(digest);
    }
    for argument in &settings.arguments {
        tool = tool.argument(argument);
    }
    for variable in &settings.environment {
        let Some((name, value)) = variable.split_once('=') else {
            let mend = "write each as `NAME=value`";
            return Err(Failure::configuration(format!("`{variable}` of `Environment` is no variable: {mend}")));
        };
        tool = tool.env(name, value);
    }
    match tool.run()? {
        0 => Ok(Report::new(format!("{name} ended with status 0"))),
        status => Err(Failure::job(format!("{name} ended with status {status}; the log has what it said"))),
    }
}

/// The tool, and what it is called.
fn tool<'a>(action: &Action, settings: &'a Run) -> Result<(&'a str, tools::Tool)> {
    match (&settings.component, &settings.package) {
        (Some(path), None) => Ok((path, tools::Tool::new(component(action, settings, path)?))),
        (None, Some(_)) if settings.directory.is_some() || settings.component_artifact.is_some() => {
            Err(Failure::configuration("there is `Package`: remove `Directory` and `ComponentArtifact`"))
        }
        (None, Some(package)) => Ok((package, tools::Tool::of_package(package))),
        (Some(_), Some(_)) => Err(Failure::configuration("there are `Component` and `Package`: remove one of them")),
        (None, None) => Err(Failure::configuration(
            "there is no tool: add `Component`, such as `tools/lint.wasm`, or `Package`, such as `team/name@1.0.0`",
        )),
    }
}

fn component(action: &Action, settings: &Run, path: &str) -> Result<PathBuf> {
    if path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..") {
        let mend = "give the path of a file below its artifact or directory, such as `tools/lint.wasm`";
        return Err(Failure::configuration(format!("`{path}` is no path of a component; correct `Component`: {mend}")));
    }
    match (&settings.directory, &settings.component_artifact) {
        (Some(_), Some(_)) => {
            Err(Failure::configuration("there are `Directory` and `ComponentArtifact`: remove one of them"))
        }
        (Some(_), None) if settings.digest.is_none() => {
            let why = "what is in a directory may change without anybody noticing";
            Err(Failure::configuration(format!("a component in a directory needs its `Digest`: {why}")))
        }
        (Some(directory), None) => Ok(action.directory(directory)?.join(path)),
        (None, Some(name)) => match action.inputs().find(|input| input.name() == name) {
            Some(input) => Ok(input.join(path)),
            None => {
                let names: Vec<String> = action.inputs().map(|input| input.name().to_owned()).collect();
                let there = names.join("`, `");
                let message = format!("`ComponentArtifact` is `{name}`, and the input artifacts are `{there}`");
                Err(Failure::configuration(message))
            }
        },
        (None, None) => Ok(action.input()?.join(path)),
    }
}

plugin! {
    /// Runs WebAssembly command-line tools.
    name: "pipewright/wasi-tool",
    asks: [
        ask(Capability::ReadDirectory("Directory".into()), "the directory that has the component"),
        ask(Capability::Http("*".into()), "for a tool that may use the network"),
        ask(Capability::Clock, "for a tool that asks for the time"),
    ],
    build: [build],
    test: [test],
}

#[cfg(test)]
mod tests {
    use pipewright_sdk::testing::Host;

    use super::*;

    fn settings(component: &str) -> Run {
        Run {
            component: Some(component.to_owned()),
            package: None,
            component_artifact: None,
            directory: None,
            digest: None,
            arguments: vec!["--strict".to_owned()],
            environment: vec!["LEVEL=a=b".to_owned()],
            network: false,
        }
    }

    fn host() -> Host {
        Host::new().input("Source", &[("lint.wasm", "")]).directory("tools", &[("lint.wasm", "")])
    }

    #[test]
    fn the_status_is_judged() {
        let host = host().tool(0).tool(3);
        assert_eq!(
            run(&host.action(), settings("lint.wasm")).unwrap().summary.unwrap(),
            "lint.wasm ended with status 0"
        );
        let failed = run(&host.action(), settings("lint.wasm")).unwrap_err();
        assert_eq!(failed.message, "lint.wasm ended with status 3; the log has what it said");
        let tool = &host.tools()[0];
        assert!(tool.component.ends_with("inputs/Source/lint.wasm") && !tool.network, "{tool:?}");
        assert_eq!((&*tool.arguments[0], &*tool.environment[0].value), ("--strict", "a=b"));
    }

    #[test]
    fn a_tool_is_named_by_its_package() {
        let host = host().tool(0);
        let named = Run { component: None, package: Some("a/lint@1.0.0".to_owned()), ..settings("") };
        assert_eq!(run(&host.action(), named).unwrap().summary.unwrap(), "a/lint@1.0.0 ended with status 0");
        assert_eq!(host.tools()[0].component, "package:a/lint@1.0.0");
    }

    #[test]
    fn what_is_written_wrongly_is_told_with_its_mend() {
        let host = host();
        let refused = |change: &dyn Fn(&mut Run), wanted: &str| {
            let mut settings = settings("lint.wasm");
            change(&mut settings);
            let failed = run(&host.action(), settings).unwrap_err();
            assert!(failed.message.contains(wanted), "{}", failed.message);
        };
        refused(&|it| it.component = Some("../lint.wasm".to_owned()), "`../lint.wasm` is no path of a component");
        refused(&|it| it.component = None, "there is no tool: add `Component`");
        refused(&|it| it.package = Some("a/lint@1.0.0".to_owned()), "`Component` and `Package`: remove one");
        let package = |it: &mut Run| (it.component, it.package) = (None, Some("a/lint@1.0.0".to_owned()));
        refused(&|it| (package(it), it.directory = Some("tools".to_owned())).0, "remove `Directory`");
        refused(&|it| it.directory = Some("tools".to_owned()), "needs its `Digest`");
        refused(&|it| it.component_artifact = Some("Other".to_owned()), "the input artifacts are `Source`");
        refused(&|it| it.environment = vec!["LEVEL".to_owned()], "`LEVEL` of `Environment` is no variable");
    }
}
