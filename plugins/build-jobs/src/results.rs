//! Owns what is taken from the scratch once the commands are over: the files of artifacts and reports, and the variables that
//! are given on.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use pipewright_buildspec::{
    Build, Buildspec, Content, Context, Course, Due, Entry, Listing, Section, Status, Where, assigned, exports, select,
};
use pipewright_sdk::commands;
use pipewright_sdk::files::FileKind;
use pipewright_sdk::prelude::*;

use crate::cache;
use crate::course::{say, source_directory};

/// A build whose commands are over.
pub struct Ended {
    course: Course,
    scratch: PathBuf,
    /// Under which key its cache is kept.
    cache: Option<String>,
}

/// Why files cannot be taken, in CodeBuild's words.
type Taken<T> = std::result::Result<T, Context>;

impl Ended {
    pub(crate) fn new(course: Course, scratch: &Path, cache: Option<String>) -> Self {
        Self { course, scratch: scratch.to_owned(), cache }
    }

    pub fn build(&self) -> &Build {
        self.course.build()
    }

    pub fn environment(&self) -> &std::collections::BTreeMap<String, String> {
        self.course.session().environment()
    }

    /// Makes the output artifacts, where the build comes to that.
    pub fn upload(&mut self, action: &Action, buildspec: &Buildspec) {
        if matches!(self.course.due(), Due::Upload) {
            let outcome = self.outputs(action, buildspec);
            self.course.uploaded(outcome);
            say(&self.course.take_log());
        }
    }

    /// Has the cache of a build that succeeded kept. Where that fails, the build has succeeded all the same.
    pub fn keep_cache(&self, buildspec: &Buildspec) {
        let (Some(cache), Some(key)) = (&buildspec.cache, &self.cache) else { return };
        if self.build().status() == Status::Succeeded
            && let Err(failure) = cache::keep(self, &self.scratch, cache, key)
        {
            warn!("The cache `{key}` is not kept: {}", failure.message);
        }
    }

    /// [`Ended::upload`] of a build of a batch: puts these sections, each with its identifier, into directories.
    pub fn keep(&mut self, sections: &[(Option<&str>, &Section, PathBuf)]) {
        if matches!(self.course.due(), Due::Upload) {
            let kept =
                sections.iter().try_for_each(|(identifier, section, to)| self.put(section, *identifier, to, false));
            self.course.uploaded(kept);
            say(&self.course.take_log());
        }
    }

    /// The variables that the buildspec gives on; `hidden` are those that it may not.
    ///
    /// # Errors
    /// Job, where they are too large.
    pub fn exported(&self, buildspec: &Buildspec, hidden: &BTreeSet<String>) -> Result<Vec<(String, String)>> {
        let exports = exports(buildspec, self.course.session().environment(), hidden).map_err(Failure::job)?;
        for warning in exports.warnings {
            warn!("{warning}");
        }
        Ok(exports.variables)
    }

    /// The files of a section: their names there, and their content by its path as the plugin sees it.
    ///
    /// # Errors
    /// Where there are none, in CodeBuild's words.
    pub fn select(&self, section: &Section, identifier: Option<&str>) -> Taken<Vec<(String, Content)>> {
        let source = source_directory();
        let at = Where {
            source_directory: &source,
            working_directory: self.course.session().directory(),
            variables: self.course.session().environment(),
        };
        let listing = self.listing(&at.listed(section))?;
        let selection = select(section, identifier, &at, &listing)?;
        for line in selection.log {
            info!("{line}");
        }
        let seen = |content| match content {
            Content::File(path) => Ok(Content::File(self.seen(&path)?.display().to_string())),
            link => Ok(link),
        };
        selection.picked.into_iter().map(|picked| Ok((picked.name, seen(picked.content)?))).collect()
    }

    fn outputs(&self, action: &Action, buildspec: &Buildspec) -> Taken<()> {
        let outputs: Vec<Output> = action.outputs().collect();
        let names: Vec<&str> = outputs.iter().map(Output::name).collect();
        let artifacts = buildspec.artifacts.clone().unwrap_or_default();
        let assigned = assigned(&artifacts, &names)?;
        for warning in &assigned.warnings {
            warn!("{warning}");
        }
        // What nobody looks for afterwards can be moved.
        let is_last = assigned.outputs.len() == 1 && buildspec.cache.is_none() && buildspec.reports.is_empty();
        for (name, identifier, section) in assigned.outputs {
            let Some(output) = outputs.iter().find(|output| output.name() == name) else { continue };
            self.put(section, identifier, output.path(), is_last)?;
        }
        Ok(())
    }

    fn put(&self, section: &Section, identifier: Option<&str>, directory: &Path, is_last: bool) -> Taken<()> {
        let picked = self.select(section, identifier)?;
        let mut times: HashMap<&Content, usize> = HashMap::new();
        for (_, content) in &picked {
            *times.entry(content).or_default() += 1;
        }
        for (name, content) in &picked {
            let to = directory.join(name);
            match content {
                // By a copy, where the directory is not there yet, and where the file cannot move.
                Content::File(path) if is_last && times[content] == 1 && fs::rename(path, &to).is_ok() => Ok(()),
                Content::File(path) => files::copy(path, &to, &[]).map(drop),
                Content::Link(target) => files::link(&to, target),
            }
            .map_err(client_error)?;
        }
        Ok(())
    }

    /// Where the plugin sees what commands see at an absolute path.
    fn seen(&self, path: &str) -> Taken<PathBuf> {
        let work = commands::work();
        match Path::new(path).strip_prefix(&work) {
            Ok(below) => Ok(self.scratch.join(below)),
            Err(_) => {
                let mend = format!("have a command copy it below {}, where it is kept", work.display());
                Err(Context::new("CLIENT_ERROR", format!("no matching base directory path found for {path}: {mend}")))
            }
        }
    }

    fn listing(&self, directory: &str) -> Taken<Listing> {
        let seen = self.seen(directory)?;
        if !fs::metadata(&seen).is_ok_and(|there| there.is_dir()) {
            return Ok(Listing::new());
        }
        let entries = files::list(&seen, &[]).map_err(client_error)?;
        let entries = entries.into_iter().map(|entry| {
            let kind = match entry.kind {
                FileKind::File => Entry::File,
                FileKind::Directory => Entry::Directory,
                FileKind::Link => Entry::Link(entry.target.unwrap_or_default()),
            };
            (format!("{directory}/{}", entry.path), kind)
        });
        Ok(entries.collect())
    }
}

fn client_error(failure: Failure) -> Context {
    Context::new("CLIENT_ERROR", failure.message)
}
