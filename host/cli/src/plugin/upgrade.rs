//! `pipewright plugin upgrade`: puts a newer package in an installed one's place. Must not know what may (`packages`).

use std::process::ExitCode;

use super::super::exit::{self, Ended};
use super::super::remote::quoted;
use super::package::{self, DataArguments, RegistryArguments};
use crate::out::say;
use pipewright_packages::plugins::NoticeKind;
use pipewright_packages::{
    Candidate, Entry, Facts, Installed, Origin, PackageError, Reference, State, digest_text, tag_of, version_of,
};

#[derive(clap::Args)]
pub struct Arguments {
    /// What is installed, as team/name; with @1 where several majors are
    #[arg(value_name = "NAME")]
    name: String,
    /// Another place than the one it came from, or a certain version [default: the newest of the same major]
    #[arg(value_name = "REF|FILE.wasm")]
    package: Option<String>,
    /// Accept a version that is older than the installed one
    #[arg(long)]
    allow_downgrade: bool,
    /// Consent to what it asks for beyond the installed one, and take it though pipelines may fail by what it changes
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
    let entry = installed.find(&arguments.name)?.clone();
    let origin = match &arguments.package {
        Some(package) => arguments.registry.find(&sandbox, package, &installed.policy()?).await?,
        None => newest(&arguments.registry, &arguments.data, &installed, &entry).await?,
    };
    let candidate = Candidate::read(origin, &installed.policy()?).await?;
    let label = candidate.label();
    if candidate.name() != entry.name {
        return Err(PackageError::Refused(format!("{label} is no version of {}", entry.name)).into());
    }
    let (facts, version) = (candidate.facts(), candidate.version().clone());
    let upgrade =
        installed.may_upgrade(&candidate, arguments.allow_downgrade).map_err(|error| match &arguments.package {
            Some(package) if matches!(error, PackageError::Beside { .. }) => {
                let (options, given) = (arguments.data.options(), arguments.registry.given());
                Ended::Usage(format!("{error}: pipewright plugin add {}{options}{given}", quoted(package)))
            }
            _ => error.into(),
        })?;
    let wanted = format!("{}@{version}", entry.name);
    if upgrade.is_none() && installed.find(&wanted)?.state == State::Active {
        package::say_it_is_there(&mut installed, &candidate)?;
        return Ok(ExitCode::from(exit::SUCCEEDED));
    }
    if let Some(upgrade) = upgrade {
        // What asks for more waits for consent anyway.
        if !arguments.yes
            && breaks(&installed, &entry, &facts, &arguments.data.options_of_server()).await?
            && upgrade.widened.is_empty()
        {
            say!("To let it take its place nevertheless, add --yes");
            return Ok(ExitCode::from(exit::FAILED));
        }
        let fetched = candidate.fetch(&sandbox).await?;
        if let Some(upgrade) = installed.upgrade(&fetched, arguments.allow_downgrade)? {
            if upgrade.widened.is_empty() {
                say!("{label} takes the place of {}; {}", upgrade.from, arguments.data.tell().await?);
                return Ok(ExitCode::from(exit::SUCCEEDED));
            }
            package::introduce(&facts, &sandbox).await?;
            let in_words = |short: &String| {
                let asking = facts.asked.iter().find(|asking| asking.short == *short);
                asking.map_or_else(|| short.clone(), |asking| asking.words.clone())
            };
            let widened: Vec<String> = upgrade.widened.iter().map(in_words).collect();
            say!("{label} asks for more than {}, which stays: {}", upgrade.from, widened.join(", "));
        }
    }
    let there = installed.find(&wanted)?;
    if there.state == State::Active {
        return Ok(ExitCode::from(exit::SUCCEEDED));
    }
    let manifest = there.manifest;
    if arguments.yes {
        installed.consent(&entry.name, &version, &manifest).await?;
        say!("{label} takes the place of {}; {}", entry.version, arguments.data.tell().await?);
        return Ok(ExitCode::from(exit::SUCCEEDED));
    }
    say!("{label} waits for consent. To let it take its place:");
    let (digest, options) = (digest_text(&manifest), arguments.data.options());
    say!("pipewright plugin consent {}@{version} --digest {digest}{options}", entry.name);
    Ok(ExitCode::from(exit::FAILED))
}

/// Whether pipelines may fail by what the new one changes, which is told.
async fn breaks(installed: &Installed, entry: &Entry, new: &Facts, options: &str) -> Result<bool, Ended> {
    // What is not trusted any more says nothing of itself.
    let Ok(old) = Candidate::inspect(installed.origin(entry), &installed.policy()?).await else { return Ok(false) };
    let breaking = pipewright_packages::breaking(&old, new);
    if old.untrusted.is_some() || breaking.is_empty() {
        return Ok(false);
    }
    say!("{} {} stays, for pipelines that use it may fail by {}:", entry.name, entry.version, new.version);
    for line in breaking {
        say!("  {line}");
    }
    say!("`pipewright plugin uses {}{options}` lists them", entry.name);
    Ok(true)
}

/// The newest version of the same major, where the installed one came from; what was yanked is passed over.
async fn newest(
    registry: &RegistryArguments,
    data: &DataArguments,
    installed: &Installed,
    entry: &Entry,
) -> Result<Origin, Ended> {
    let Ok(reference) = entry.source.parse::<Reference>() else {
        let options = format!("{}{}", data.options(), registry.given());
        let command = format!("pipewright plugin upgrade {}@{} FILE.wasm{options}", entry.name, entry.version.major);
        let problem = format!("{} came from a file: say which to take: {command}", entry.label());
        return Err(Ended::usage(problem));
    };
    let tags = registry.registry(&reference).await?.tags().await?;
    let is_candidate = |version: &semver::Version| {
        version.major == entry.version.major && (version.pre.is_empty() || !entry.version.pre.is_empty())
    };
    let mut versions: Vec<_> = tags.iter().filter_map(|tag| version_of(tag)).filter(is_candidate).collect();
    versions.sort();
    let is_yanked = |version: &semver::Version| {
        let notice = installed.notice_of(&entry.name, version).filter(|notice| notice.kind == NoticeKind::Yanked);
        if let Some(notice) = notice
            && *version > entry.version
        {
            say!("{} {version} is passed over: it was {notice}", entry.name);
        }
        notice.is_some()
    };
    let newest = versions.into_iter().rev().find(|version| !is_yanked(version));
    let newest = newest.ok_or_else(|| {
        let (major, pinned) = (entry.version.major, digest_text(&entry.manifest));
        PackageError::Missing(format!("a version {major}.x of {reference} ({pinned} is installed)"))
    })?;
    registry.origin(reference.with_tag(tag_of(&newest))).await
}
