//! Owns a batch: its builds one after another, what becomes of their artifacts, and how it ends.

use std::path::PathBuf;

use build_jobs::{Batched, Ended, Progress, advance_in, kept_artifact};
use pipewright_buildspec::{Artifacts, Batch, BatchBuild, Buildspec, Context, Section, Status};
use pipewright_sdk::files::FileKind;
use pipewright_sdk::prelude::*;

use crate::{Configuration, Finished, Ground, buildspec, reports, variables, without_source};

/// Goes on with a batch to the next job of one of its builds, or to its end.
pub(crate) fn go_on(
    action: &Action,
    settings: &Configuration,
    ground: &Ground,
    of_batch: &Buildspec,
) -> Result<Step<Finished>> {
    let Some(batch) = &of_batch.batch else {
        let mend = "name its builds by `build-list`, `build-graph` or `build-matrix`, or remove `BatchEnabled`";
        return Err(Failure::configuration(format!("the buildspec has no `batch`: {mend}")));
    };
    check_outputs(action, settings)?;
    let mut batched = Batched::left(action)?;
    let mut has_run = batched.running.is_some();
    loop {
        let running = batched.running.take();
        let next = match &running {
            Some(identifier) => batch.builds.iter().find(|build| build.identifier == *identifier),
            None => batch.next(&batched.ended),
        };
        let Some(build) = next else { break };
        if !has_run {
            info!("Build {}", build.identifier);
        }
        batched.running = Some(build.identifier.clone());
        let of_build = Build { action, settings, ground, batch, build };
        match of_build.go_on(of_batch, &batched, has_run)? {
            Step::Waiting(wait) => return Ok(Step::Waiting(wait)),
            Step::Done(succeeded) => {
                info!("Build {} {}", build.identifier, if succeeded { "succeeded" } else { "failed" });
                batched.ended.insert(build.identifier.clone(), succeeded);
            }
        }
        (batched.running, has_run) = (None, false);
    }
    let mut finished = ended(action, settings, batch, &batched);
    if finished.failure.is_none()
        && let Err(Context { code, message }) = outputs(action, settings, batch, &batched)
    {
        finished.failure = Some(format!("Build batch terminated with state: FAILED. Code: {code}, Message: {message}"));
        finished.report.summary.clone_from(&finished.failure);
    }
    Ok(Step::Done(finished))
}

/// One build of it.
struct Build<'a> {
    action: &'a Action,
    settings: &'a Configuration,
    ground: &'a Ground,
    batch: &'a Batch,
    build: &'a BatchBuild,
}

impl Build<'_> {
    /// To its next job, or to its end: whether it succeeded.
    fn go_on(&self, of_batch: &Buildspec, batched: &Batched, has_run: bool) -> Result<Step<bool>> {
        let Self { action, settings, ground, build, .. } = self;
        let own = match &build.buildspec {
            Some(path) => match buildspec(ground.primary.as_ref(), path, !has_run)? {
                Ok(own) => Some(Buildspec { cache: None, ..own }),
                Err(context) => {
                    without_source(context);
                    return Ok(Step::Done(false));
                }
            },
            None => None,
        };
        let buildspec = own.as_ref().unwrap_or(of_batch);
        let given = ground.given(action, settings, buildspec, Some(build));
        let mut ended = match advance_in(action, &ground.plan(buildspec, given, Some(build)), batched, has_run)? {
            Progress::Waiting(wait) => return Ok(Step::Waiting(wait)),
            Progress::Ended(ended) => ended,
        };
        self.keep(buildspec, &mut ended);
        reports::tests(buildspec, &ended, Some(&build.identifier));
        Ok(Step::Done(ended.build().status() == Status::Succeeded))
    }

    /// Its artifacts that an output wants, until the batch has ended: outputs do not outlast a call.
    fn keep(&self, buildspec: &Buildspec, ended: &mut Ended) {
        let Artifacts { primary, secondary, .. } = buildspec.artifacts.clone().unwrap_or_default();
        let number = number(self.batch, &self.build.identifier);
        let is_combined = self.settings.combine_artifacts;
        let wanted = |name: &str| self.action.outputs().any(|output| output.name() == name);
        let mut sections: Vec<(Option<&str>, &Section, PathBuf)> = Vec::new();
        if !primary.files.is_empty() && (is_combined || wanted(&self.build.identifier)) {
            sections.push((None, &primary, kept_artifact(self.action, number, None)));
        }
        for (identifier, section) in &secondary {
            if !is_combined && wanted(&format!("{}_{identifier}", self.build.identifier)) {
                let to = kept_artifact(self.action, number, Some(identifier));
                sections.push((Some(identifier), section, to));
            }
        }
        ended.keep(&sections);
    }
}

/// An identifier is no name of a file.
fn number(batch: &Batch, identifier: &str) -> usize {
    batch.builds.iter().position(|build| build.identifier == identifier).unwrap_or_default()
}

fn check_outputs(action: &Action, settings: &Configuration) -> Result<()> {
    let count = action.outputs().count();
    if settings.combine_artifacts && count != 1 {
        let message = format!("`CombineArtifacts` makes one output artifact, and the action has {count}: give it one");
        return Err(Failure::configuration(message));
    }
    Ok(())
}

/// Fills the outputs from what the builds left.
fn outputs(
    action: &Action,
    settings: &Configuration,
    batch: &Batch,
    batched: &Batched,
) -> std::result::Result<(), Context> {
    let failed = |message: String| Context::new("CLIENT_ERROR", message);
    let put = |from: PathBuf, output: &Output| -> std::result::Result<bool, Context> {
        if !from.is_dir() {
            return Ok(false);
        }
        let entries = files::list(&from, &[]).map_err(|failure| failed(failure.message))?;
        let taken = entries.iter().filter(|entry| entry.kind != FileKind::Directory);
        if let Some(twice) = taken.map(|entry| &entry.path).find(|path| output.join(path).symlink_metadata().is_ok()) {
            let mend = "have each build write below a folder of its own name, CODEBUILD_BATCH_BUILD_IDENTIFIER";
            return Err(failed(format!("two builds made `{twice}`: {mend}")));
        }
        files::copy(&from, output, &[]).map_err(|failure| failed(failure.message))?;
        Ok(true)
    };
    for output in action.outputs() {
        let mut is_made = false;
        for (number, build) in batch.builds.iter().enumerate() {
            let rest = output.name().strip_prefix(build.identifier.as_str());
            let artifact = match rest {
                _ if settings.combine_artifacts => None,
                Some("") => None,
                Some(rest) if rest.starts_with('_') => Some(&rest[1..]),
                _ => continue,
            };
            is_made |= put(kept_artifact(action, number, artifact), &output)?;
        }
        if !is_made {
            let builds: Vec<&str> = batched.ended.keys().map(String::as_str).collect();
            let mend = "an output is called `BUILD`, or `BUILD_ARTIFACT` for a secondary artifact";
            let message = format!(
                "no build made the artifact `{}`: {mend}; the builds were `{}`",
                output.name(),
                builds.join("`, `")
            );
            return Err(failed(message));
        }
    }
    Ok(())
}

fn ended(action: &Action, settings: &Configuration, batch: &Batch, batched: &Batched) -> Finished {
    let case = |build: &BatchBuild| {
        let name = build.identifier.clone();
        match batched.ended.get(&build.identifier) {
            Some(true) => TestCase::passed(name),
            Some(false) if build.ignore_failure => TestCase::skipped(name, "it failed, and `ignore-failure` is set"),
            Some(false) => TestCase::failed(name, "the build failed; the log has its phases"),
            None => TestCase::skipped(name, "it was not started, for another build failed"),
        }
    };
    let named = |ended: Option<bool>| -> Vec<&str> {
        let meant = batch.builds.iter().filter(|build| batched.ended.get(&build.identifier).copied() == ended);
        meant.map(|build| build.identifier.as_str()).collect()
    };
    let (succeeded, failed, left) = (named(Some(true)), named(Some(false)), named(None));
    let mut parts = vec![format!("{} of {} builds succeeded", succeeded.len(), batch.builds.len())];
    for (what, builds) in [("failed", &failed), ("not started", &left)] {
        if !builds.is_empty() {
            parts.push(format!("{what}: {}", builds.join(", ")));
        }
    }
    let told = parts.join("; ");
    let failure =
        (!batch.succeeded(&batched.ended)).then(|| format!("Build batch terminated with state: FAILED. {told}"));
    let report = Report {
        summary: Some(failure.clone().unwrap_or(told)),
        external_id: Some(variables::build_id(action, &settings.project_name)),
        variables: Vec::new(),
        links: Vec::new(),
    };
    Finished { failure, report, tests: None, builds: batch.builds.iter().map(case).collect() }
}
