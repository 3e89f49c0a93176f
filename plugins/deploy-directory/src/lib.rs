//! Deploy `Custom/Directory/1`: publishes an artifact into a granted directory, all at once or not at all.
//!
//!     releases/000012-5f1d…   a folder for each release
//!     current                 a link to one of them, switched atomically
//!
//! A release is copied under another name, made durable, and only then given its own: what has a release's name is whole.
//! Its name comes from the idempotency key, so a repeat after a crash finds what it had done and does the rest.

mod releases;

use std::fs;
use std::io;
use std::path::Path;

use pipewright_sdk::prelude::*;
use releases::Release;

const CURRENT: &str = "current";
const RELEASES: &str = "releases";
/// Begins the names of releases that are not whole.
const HALF_MADE: &str = ".half-made-";

#[derive(Settings)]
struct Where {
    /// The name under which the directory is granted.
    #[setting(default = "target")]
    directory: String,
    /// How many earlier releases stay, for going back.
    #[setting(default = "5")]
    keep: u16,
}

#[derive(Variables)]
struct Published {
    /// The release's name.
    release_id: String,
    /// Where it lies in the granted directory.
    path: String,
}

/// Publishes the input artifact into a directory of the host: a folder for each release, and a link `current` that is
/// switched atomically. Earlier releases are kept for going back.
#[action(provider = "Directory", inputs = 1)]
fn directory(action: &Action, settings: Where) -> Result<Deployed<Published>> {
    let input = action.input()?;
    let top = action.directory(&settings.directory)?;
    expect_kind(&top.join(CURRENT), fs::FileType::is_symlink, "a link", &settings.directory)?;
    expect_kind(&top.join(RELEASES), fs::FileType::is_dir, "a folder", &settings.directory)?;

    let folder = top.join(RELEASES);
    let names = names(&folder)?;
    let earlier = releases::of(names.iter().map(String::as_str));
    let key = releases::key(&action.context().execution_id, action.idempotency_key());
    let release = releases::own_or_next(&earlier, key);
    let path = format!("{RELEASES}/{release}");

    if earlier.contains(&release) {
        info!("the release {release} is there already, from an attempt before this one");
    } else {
        publish(&input, &folder, &release)?;
    }
    files::link(top.join(CURRENT), &path).doing("switching the link `current`")?;
    files::sync(top.join(CURRENT))?;

    for name in names.iter().filter(|name| name.starts_with(HALF_MADE)) {
        fs::remove_dir_all(folder.join(name))
            .or_else(absent)
            .doing(format_args!("removing the half-made release {name}"))?;
    }
    for old in releases::to_remove(&earlier, release, settings.keep.into()) {
        info!("removing the release {old}");
        fs::remove_dir_all(folder.join(old.to_string())).doing(format_args!("removing the release {old}"))?;
    }
    let current = top.join(CURRENT).display().to_string();
    let target = Target { id: current, kind: "Directory".to_owned(), status: TargetStatus::Succeeded, url: None };
    let report =
        Report::new(format!("published {release}")).variables(Published { release_id: release.to_string(), path });
    Ok(Deployed { report, targets: vec![target] })
}

fn publish(input: &Input, folder: &Path, release: &Release) -> Result<()> {
    let half_made = folder.join(format!("{HALF_MADE}{release}"));
    fs::remove_dir_all(&half_made).or_else(absent).doing("removing what an earlier attempt left")?;
    progress(None, "copying");
    let copied = files::copy(input, &half_made, &[])?;
    info!("copied {} files, {} bytes", copied.files, copied.bytes);
    progress(None, "making it durable");
    files::sync(&half_made)?;
    fs::rename(&half_made, folder.join(release.to_string())).doing(format_args!("naming the release {release}"))
}

/// What is at `path`, if anything, must be of this kind: anything else was put there by somebody, and is not ours to remove.
fn expect_kind(path: &Path, is_kind: fn(&fs::FileType) -> bool, kind: &str, directory: &str) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if !is_kind(&found.file_type()) => Err(Failure::job(format!(
            "`{}` in the granted directory `{directory}` is not {kind} as this action makes it; move it away, or grant another \
             directory",
            path.file_name().unwrap_or_default().display()
        ))),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// None, where the folder is not there yet.
fn names(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    match fs::read_dir(folder) {
        Err(error) => absent(error)?,
        Ok(entries) => {
            for entry in entries {
                names.extend(entry?.file_name().into_string());
            }
        }
    }
    Ok(names)
}

fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

plugin! {
    /// Publishes artifacts into a directory of the host.
    name: "pipewright/deploy-directory",
    asks: [ask(Capability::WriteDirectory("Directory".into()), "the directory into which releases are published")],
    deploy: [directory],
}
