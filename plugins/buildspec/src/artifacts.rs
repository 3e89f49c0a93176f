//! Owns which files an artifact has: base directories, patterns, exclusions, links, and what belongs to which output. A
//! function of a listing; reads no files.

use std::collections::{BTreeMap, BTreeSet};

use crate::build::Context;
use crate::globs::{cleaned, has_wildcard, matches};
use crate::model::{Artifacts, Section};
use crate::texts::expanded;

/// Against links that show the same directories again and again.
pub const SEEN_MAX: usize = 500_000;
/// Of lines about files and links that are passed over or replaced.
const NOTES_MAX: usize = 1_000;
/// Of links on the way to one file.
const LINKS_MAX: usize = 40;

/// What is on the disk, by absolute path. Directories need no entry.
pub type Listing = BTreeMap<String, Entry>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    File,
    /// With its target, as it is written in the link.
    Link(String),
    Directory,
}

/// One entry of an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked {
    /// In the artifact.
    pub name: String,
    pub content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// The absolute path of a file.
    File(String),
    /// A symbolic link with this target.
    Link(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// In the byte order of their names, each name once.
    pub picked: Vec<Picked>,
    pub log: Vec<String>,
}

/// Where the paths of a section begin.
#[derive(Clone, Copy, Debug)]
pub struct Where<'a> {
    /// CODEBUILD_SRC_DIR, absolute: not the directory in which the commands ended.
    pub source_directory: &'a str,
    /// For a message: there.
    pub working_directory: &'a str,
    pub variables: &'a BTreeMap<String, String>,
}

impl Where<'_> {
    /// The absolute pattern of a section's base directory.
    fn base(&self, section: &Section) -> String {
        let base = section.base_directory.as_deref().map(|base| expanded(base, self.variables)).unwrap_or_default();
        let whole = if base.starts_with('/') { base } else { format!("{}/{base}", self.source_directory) };
        resolved(&whole)
    }

    /// The directory that has to be listed for a section, without following links: the whole source, since a base directory in
    /// it may be a link; or else that part of the base directory which has no wildcards.
    pub fn listed(&self, section: &Section) -> String {
        let base = self.base(section);
        if is_below(&base, self.source_directory) {
            return self.source_directory.to_owned();
        }
        let plain: Vec<_> = base.split('/').take_while(|name| !has_wildcard(name)).collect();
        if plain.len() > 1 { plain.join("/") } else { "/".to_owned() }
    }
}

/// The files of one section. `identifier` is that of a secondary artifact.
pub fn select(
    section: &Section,
    identifier: Option<&str>,
    at: &Where<'_>,
    listing: &Listing,
) -> Result<Selection, Context> {
    let base = at.base(section);
    let said = section.base_directory.as_deref().unwrap_or(".");
    let mut selection = Selection::default();
    selection.log.push(format!("Expanding base directory path: {said}"));
    // The source is there though nothing is in it.
    let is_source = base == resolved(at.source_directory);
    let bases = if is_source { BTreeSet::from([base.clone()]) } else { bases(&base, listing) };
    if bases.is_empty() {
        let message = format!("no matching base directory path found for {said} (there is no directory {base})");
        return Err(Context::new("CLIENT_ERROR", message));
    }
    selection.log.push("Assembling file list".to_owned());
    let mut picked: BTreeMap<String, Content> = BTreeMap::new();
    for base in &bases {
        let below = base.strip_prefix(at.source_directory).map(|rest| rest.trim_start_matches('/'));
        let shown = below.map_or(base.as_str(), |below| if below.is_empty() { "." } else { below });
        selection.log.push(format!("Expanding file paths for base directory {shown}"));
        let files = Shown::of(base, listing, section.enable_symlinks, &mut selection.log)?;
        pick(section, base, at, &files, &mut picked, &mut selection.log);
    }
    if picked.is_empty() {
        let of = identifier.map(|name| format!(" for artifact {name}")).unwrap_or_default();
        let (source, working) = (at.source_directory, at.working_directory);
        let hint = if working == source {
            String::new()
        } else {
            format!("; paths begin there, not in {working}, where the last command ended")
        };
        let message = format!("no matching artifact paths found{of} (base directory {base}{hint})");
        return Err(Context::new("CLIENT_ERROR", message));
    }
    selection.log.push(format!("Found {} file(s)", picked.len()));
    selection.picked = picked.into_iter().map(|(name, content)| Picked { name, content }).collect();
    Ok(selection)
}

/// Adds what the section's patterns name below one base directory.
fn pick(
    section: &Section,
    base: &str,
    at: &Where<'_>,
    files: &BTreeMap<String, Content>,
    picked: &mut BTreeMap<String, Content>,
    log: &mut Vec<String>,
) {
    let relative = |pattern: &String| {
        let pattern = cleaned(&expanded(pattern, at.variables));
        let below = pattern.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
        below.map(str::to_owned).unwrap_or(pattern)
    };
    let excluded: Vec<String> = section.exclude_paths.iter().map(relative).collect();
    for pattern in &section.files {
        log.push(format!("Expanding {pattern}"));
        let glob = relative(pattern);
        let mut found = false;
        for (path, content) in files.iter().filter(|(path, _)| matches(&glob, path)) {
            found = true;
            if excluded.iter().any(|glob| matches(glob, path)) {
                continue;
            }
            let name = if section.discard_paths { path.rsplit('/').next().unwrap_or(path) } else { path };
            if let Some(other) = picked.insert(name.to_owned(), content.clone())
                && other != *content
            {
                note(log, format!("Two files are called {name}: {path} takes the place of the other"));
            }
        }
        if !found {
            log.push(format!("Skipping invalid file path {pattern}"));
        }
    }
}

fn note(log: &mut Vec<String>, line: String) {
    if log.len() < NOTES_MAX {
        log.push(line);
    }
}

/// The directories that an absolute pattern names, in byte order.
fn bases(pattern: &str, listing: &Listing) -> BTreeSet<String> {
    let mut directories = BTreeSet::from(["/".to_owned()]);
    for (path, entry) in listing {
        let mut end = match entry {
            Entry::Directory => path.len(),
            _ => path.rfind('/').unwrap_or(0),
        };
        while end > 0 && directories.insert(path[..end].to_owned()) {
            end = path[..end].rfind('/').unwrap_or(0);
        }
        if let Entry::Link(_) = entry
            && path == pattern
            && let Some(target) = followed(path, listing)
            && listing.range(format!("{target}/")..).next().is_some_and(|(below, _)| is_below(below, &target))
        {
            directories.insert(path.clone());
        }
    }
    directories.into_iter().filter(|path| path == pattern || has_wildcard(pattern) && matches(pattern, path)).collect()
}

/// What is below a base directory when its links are followed, or kept.
struct Shown<'a> {
    base: String,
    listing: &'a Listing,
    keeps_links: bool,
    files: BTreeMap<String, Content>,
}

impl<'a> Shown<'a> {
    /// By path from the base directory.
    fn of(
        base: &str,
        listing: &'a Listing,
        keeps_links: bool,
        log: &mut Vec<String>,
    ) -> Result<BTreeMap<String, Content>, Context> {
        let real = followed(base, listing).unwrap_or_else(|| base.to_owned());
        let mut shown = Self { base: real.clone(), listing, keeps_links, files: BTreeMap::new() };
        // A directory, the name by which it is seen, and the directories through which links led there.
        let mut open = vec![(real.clone(), String::new(), vec![real])];
        let mut seen = 0;
        while let Some((directory, name, through)) = open.pop() {
            let prefix = if directory == "/" { directory.clone() } else { format!("{directory}/") };
            for (path, entry) in listing.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix)) {
                seen += 1;
                if seen > SEEN_MAX {
                    let message = format!("more than {SEEN_MAX} files below {base}: name a smaller base directory");
                    return Err(Context::new("CLIENT_ERROR", message));
                }
                let name = join(&name, &path[prefix.len()..]);
                match entry {
                    Entry::Directory => {}
                    Entry::File => {
                        shown.files.insert(name, Content::File(path.clone()));
                    }
                    Entry::Link(target) => open.extend(shown.link(path, target, name, &through, log)),
                }
            }
        }
        Ok(shown.files)
    }

    /// A link to a directory gives one more to look into.
    fn link(
        &mut self,
        path: &str,
        target: &str,
        name: String,
        through: &[String],
        log: &mut Vec<String>,
    ) -> Option<(String, String, Vec<String>)> {
        let Some(there) = followed(path, self.listing).filter(|there| is_below(there, &self.base)) else {
            note(log, format!("Skipping link {name} to {target}: it leads out of the base directory or nowhere"));
            return None;
        };
        let is_file = self.listing.get(&there) == Some(&Entry::File);
        if self.keeps_links {
            self.files.insert(name, Content::Link(target.to_owned()));
            None
        } else if is_file {
            self.files.insert(name, Content::File(there));
            None
        } else if through.iter().any(|directory| is_below(directory, &there)) || is_below(path, &there) {
            note(log, format!("Skipping link {name} to {target}: it leads to where it stands"));
            None
        } else {
            let through = through.iter().chain([&there]).cloned().collect();
            Some((there, name, through))
        }
    }
}

/// The path with every link on it followed; `None` where it leads nowhere.
fn followed(path: &str, listing: &Listing) -> Option<String> {
    let mut path = path.to_owned();
    'again: for _ in 0..LINKS_MAX {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
        for end in ends {
            if let Some(Entry::Link(target)) = listing.get(&path[..end]) {
                let parent = &path[..path[..end].rfind('/').unwrap_or(0)];
                let whole = if target.starts_with('/') { target.clone() } else { format!("{parent}/{target}") };
                path = resolved(&format!("{whole}{}", &path[end..]));
                continue 'again;
            }
        }
        let is_there = listing.contains_key(&path)
            || path == "/"
            || listing.range(format!("{path}/")..).next().is_some_and(|(below, _)| is_below(below, &path));
        return is_there.then_some(path);
    }
    None
}

/// Without `.`, `..` and empty names. Absolute.
fn resolved(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            _ => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

/// Or is the directory itself.
fn is_below(path: &str, directory: &str) -> bool {
    directory == "/" || path.strip_prefix(directory).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// Which section each output of an action gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned<'a> {
    /// The output, and its section; with the identifier where it is a secondary one.
    pub outputs: Vec<(&'a str, Option<&'a str>, &'a Section)>,
    pub warnings: Vec<String>,
}

/// One output is the primary artifact; of several, each is the secondary artifact of that name.
pub fn assigned<'a>(artifacts: &'a Artifacts, outputs: &[&'a str]) -> Result<Assigned<'a>, Context> {
    let missing = |output: &str| {
        let mend = format!("add it to `secondary-artifacts`, or to `artifacts` where `{output}` is the only one");
        Context::new("CLIENT_ERROR", format!("the buildspec says nothing of the artifact `{output}`: {mend}"))
    };
    let secondary = |output: &str| artifacts.secondary.iter().find(|(identifier, _)| identifier == output);
    let mut assigned = Assigned { outputs: Vec::new(), warnings: Vec::new() };
    for output in outputs {
        let is_primary = outputs.len() == 1 && !artifacts.primary.files.is_empty();
        match secondary(output) {
            _ if is_primary => assigned.outputs.push((*output, None, &artifacts.primary)),
            Some((identifier, section)) => assigned.outputs.push((*output, Some(identifier.as_str()), section)),
            None => return Err(missing(output)),
        }
    }
    for (identifier, _) in &artifacts.secondary {
        if assigned.outputs.iter().all(|(_, used, _)| *used != Some(identifier)) {
            assigned.warnings.push(format!("No output is called `{identifier}`: that secondary artifact is not made"));
        }
    }
    if outputs.is_empty() && !artifacts.primary.files.is_empty() {
        assigned.warnings.push("The action has no output: the buildspec's artifacts are not made".to_owned());
    }
    Ok(assigned)
}
