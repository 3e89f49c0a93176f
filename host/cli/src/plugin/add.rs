//! `pipewright plugin add`: installs a package that a person consented to. Must not know how one is judged (`packages`).

use std::path::Path;
use std::process::ExitCode;

use super::super::exit::{self, Ended};
use super::super::remote::quoted;
use super::package::{self, DataArguments, RegistryArguments, ToolArguments};
use crate::out::say;
use pipewright_packages::{Candidate, Installed, Origin, PackageError};

#[derive(clap::Args)]
pub struct Arguments {
    /// A package in a registry (registry.example/team/name:1.0.0), or a component's file
    #[arg(value_name = "REF|FILE.wasm")]
    package: String,
    #[command(flatten)]
    tool: ToolArguments,
    /// Consent to what it asks for
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    data: DataArguments,
    #[command(flatten)]
    registry: RegistryArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Ended> {
    let data = arguments.data.open()?;
    let sandbox = package::sandbox(&data)?;
    let mut installed = arguments.data.installed()?;
    let (package, policy) = (&arguments.package, installed.policy()?);
    let origin = match arguments.tool.is_given() {
        true if package::is_file(package) => {
            policy.check_files(package)?;
            Origin::of_file(&arguments.tool.package(&sandbox, Path::new(package)).await?.0)?
        }
        true => return Err(Ended::Usage(format!("{package} says itself what it is: leave --tool out"))),
        false => arguments.registry.find(&sandbox, package, &policy).await?,
    };
    let added = add(&mut installed, &arguments.data, &sandbox, origin, arguments.yes).await;
    let added = added.map_err(|ended| match ended {
        Ended::Package(error @ PackageError::Taken { .. }) if !arguments.tool.is_given() => upgrade(error, &arguments),
        other => other,
    })?;
    Ok(ExitCode::from(if added { exit::SUCCEEDED } else { exit::FAILED }))
}

/// With the command that puts the package in the place of what is there.
fn upgrade(error: PackageError, Arguments { package, data, registry, .. }: &Arguments) -> Ended {
    let PackageError::Taken { name, there, new } = &error else { return error.into() };
    let back = if new < there { " --allow-downgrade" } else { "" };
    let (options, given) = (data.options(), registry.given());
    let command = format!("pipewright plugin upgrade {name}@{} {}{back}{options}{given}", there.major, quoted(package));
    Ended::Usage(format!("{error}: {command}"))
}

/// Says whether it is installed now.
pub(super) async fn add(
    installed: &mut Installed,
    data: &DataArguments,
    sandbox: &pipewright_sandbox::Sandbox,
    origin: Origin,
    yes: bool,
) -> Result<bool, Ended> {
    let candidate = Candidate::read(origin, &installed.policy()?).await?;
    let label = candidate.label();
    if !installed.may_add(&candidate)? {
        package::say_it_is_there(installed, &candidate)?;
        return Ok(true);
    }
    package::introduce(&candidate.facts(), sandbox).await?;
    if !package::consented(yes, &format!("Install {label}?"))? {
        say!("{label} was not installed");
        return Ok(false);
    }
    installed.add(&candidate.fetch(sandbox).await?)?;
    say!("{label} is installed; {}", data.tell().await?);
    Ok(true)
}
