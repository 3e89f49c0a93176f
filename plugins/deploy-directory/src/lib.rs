//! Deploy `Custom/Directory/1`: publishes an artifact into a granted directory, all at once or not at all.
//!
//!     releases/000012-5f1d…   a folder for each release
//!     current                 a link to one of them, switched atomically
//!
//! A release is copied under another name, made durable, and only then given its own: what has a release's name is whole.
//! Its name comes from the action and the idempotency key, so a repeat after a crash finds what it had done and does the
//! rest, and actions that share a directory leave each other's releases alone.

mod releases;

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use pipewright_sdk::prelude::*;
use releases::{Key, Release};

const CURRENT: &str = "current";
const RELEASES: &str = "releases";
/// No action takes as long to copy one folder: a release that was not whole before then was given up.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[derive(Settings)]
struct Where {
    /// The name under which the directory is granted.
    #[setting(default = "target")]
    directory: String,
    /// How many earlier releases of this action stay, for going back; the one that was live before always does.
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
/// switched atomically. Earlier releases are kept for going back, by pointing `current` at one of them. Whoever serves the
/// directory may read what is in it: files have the mode 644, or 755 if they are executable, and folders 755. Several actions
/// may publish into one directory: each removes nothing but its own releases.
#[action(provider = "Directory", inputs = 1)]
fn directory(action: &Action, settings: Where) -> Result<Deployed<Published>> {
    let input = action.input()?;
    let top = action.directory(&settings.directory)?;
    expect_kind(&top.join(CURRENT), fs::FileType::is_symlink, "a link", &settings.directory)?;
    expect_kind(&top.join(RELEASES), fs::FileType::is_dir, "a folder", &settings.directory)?;

    let folder = top.join(RELEASES);
    let names = names(&folder)?;
    let earlier = releases::of(names.iter().map(String::as_str));
    let of = action.context();
    let owner = [&*of.account, &*of.pipeline, &*of.stage, &*of.action];
    let key = Key::new(&owner, &[&*of.execution_id, action.idempotency_key()]);
    let release = releases::own_or_next(&earlier, key);
    let path = format!("{RELEASES}/{release}");

    if earlier.contains(&release) {
        info!("the release {release} is there already, from an attempt before this one");
    } else {
        publish(&input, &folder, &release)?;
    }
    remove_half_made(&folder, &names, &release);
    // Before the switch, by which the name of what is live is lost.
    let live = fs::read_link(top.join(CURRENT)).ok();
    let live = live.and_then(|live| Release::parse(live.file_name()?.to_str()?));
    for old in releases::to_remove(&earlier, release, live, settings.keep.into()) {
        info!("removing the release {old}");
        remove(&folder.join(old.to_string()));
    }
    files::link(top.join(CURRENT), &path).doing("switching the link `current`")?;
    files::sync(top.join(CURRENT))?;

    let current = top.join(CURRENT).display().to_string();
    let target = Target { id: current, kind: "Directory".to_owned(), status: TargetStatus::Succeeded, url: None };
    let report =
        Report::new(format!("published {release}")).variables(Published { release_id: release.to_string(), path });
    Ok(Deployed { report, targets: vec![target] })
}

fn publish(input: &Input, folder: &Path, release: &Release) -> Result<()> {
    let half_made = folder.join(release.half_made());
    fs::remove_dir_all(&half_made).or_else(absent).doing("removing what an earlier attempt left")?;
    let copied = || {
        progress(None, "copying");
        let copied = files::copy(input, &half_made, &[])?;
        info!("copied {} files, {} bytes", copied.files, copied.bytes);
        progress(None, "making it durable");
        files::sync(&half_made)?;
        fs::rename(&half_made, folder.join(release.to_string())).doing(format_args!("naming the release {release}"))
    };
    copied().inspect_err(|_| remove(&half_made))
}

/// What earlier attempts at this run left, and what this action gave up long before it made this release. Others may be at work
/// on theirs.
fn remove_half_made(folder: &Path, names: &[String], new: &Release) {
    let changed = |name: &str| fs::metadata(folder.join(name)).and_then(|metadata| metadata.modified());
    let is_given_up = |name: &str| {
        changed(name).is_ok_and(|then| changed(&new.to_string()).is_ok_and(|now| then + GIVEN_UP_AFTER < now))
    };
    for name in names {
        let Some(half_made) = Release::parse_half_made(name) else { continue };
        if half_made != *new && (half_made.is_of_run(new) || half_made.is_of_owner(new) && is_given_up(name)) {
            info!("removing the half-made release {name}");
            remove(&folder.join(name));
        }
    }
}

/// What cannot be removed costs room, and not the release.
fn remove(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path).or_else(absent) {
        warn!("{} cannot be removed: {error}", path.display());
    }
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
