//! Build, Test and Rule `AWS/CodeBuild/1`: a build by its buildspec, on the machine of the host and apart from it.
//!
//! The buildspec is the project's, or the one in the primary source. A project is a file in the directory `projects`, which the
//! operator grants; without that directory every project is one that says nothing.

mod batch;
mod project;
mod reports;
mod variables;

use std::fs;

use build_jobs::{Plan, Progress, advance, is_first, source_directory};
use pipewright_buildspec::{BatchBuild, Build, Buildspec, Context, DOCUMENT_BYTES_MAX, Place, Status};
use pipewright_reports::Tests;
use pipewright_sdk::prelude::*;
use project::{Project, Variable};
use test_cases::{cases, counted};
use variables::Given;

#[derive(Settings)]
struct Configuration {
    /// The project: of the account; where the operator grants a directory `projects`, its file `projects/NAME.json`.
    project_name: String,
    /// The input artifact with the buildspec, in which commands begin; needed where there are several.
    primary_source: Option<String>,
    /// Variables, as a JSON array of `name`, `value` and `type`: `PLAINTEXT`, or `PARAMETER_STORE` and `SECRETS_MANAGER`, whose
    /// value is the name of a granted secret.
    environment_variables: Option<String>,
    /// Another buildspec than the project's, for this action alone: a path from the primary source, or the text itself.
    buildspec_override: Option<String>,
    /// Whether the builds of the buildspec's `batch` are carried out, one after another.
    #[setting(default = "false")]
    batch_enabled: bool,
    /// Of a batch: the primary artifacts of all builds are one output. Without it the outputs are called `BUILD` and
    /// `BUILD_ARTIFACT`.
    #[setting(default = "false")]
    combine_artifacts: bool,
    /// Read and not used: the grant says what a build may do.
    service_role_arn_override: Option<String>,
}

#[derive(Settings)]
struct RuleConfiguration {
    /// The project: of the account; where the operator grants a directory `projects`, its file `projects/NAME.json`.
    project_name: String,
    /// The input artifact with the buildspec, in which commands begin; needed where there are several.
    primary_source: Option<String>,
    /// Variables, as a JSON array of `name`, `value` and `type`, as the action of CodeBuild has them.
    environment_variables: Option<String>,
    /// Whether the builds of the buildspec's `batch` are carried out, one after another.
    #[setting(default = "false")]
    batch_enabled: bool,
    /// Read and not used: a rule makes no artifacts.
    combine_artifacts: Option<String>,
}

type Exported = Vec<(String, String)>;

/// Builds by a buildspec: its phases, exported variables, artifacts and reports.
#[action(provider = "CodeBuild", owner = "AWS", inputs = 1..=5, outputs = 0..=5)]
fn codebuild(action: &Action, settings: Configuration) -> Result<Step<Report<Exported>>> {
    Ok(match go_on(action, &settings)? {
        Step::Waiting(wait) => Step::Waiting(wait),
        Step::Done(Finished { failure: Some(message), .. }) => return Err(Failure::job(message)),
        Step::Done(finished) => Step::Done(finished.report),
    })
}

/// Tests by a buildspec: as a build, with the cases of its reports. The build decides: where it succeeds, a failed case of a
/// report fails nothing, and is told as one that was skipped. Of a batch each build is a case.
#[action(provider = "CodeBuild", owner = "AWS", inputs = 1..=5, outputs = 0..=5)]
fn codebuild_test(action: &Action, settings: Configuration) -> Result<Step<Tested<Exported>>> {
    let finished = match go_on(action, &settings)? {
        Step::Waiting(wait) => return Ok(Step::Waiting(wait)),
        Step::Done(finished) => finished,
    };
    if !finished.builds.is_empty() {
        if let Some(message) = finished.failure
            && finished.builds.iter().all(|build| build.status != pipewright_sdk::Status::Failed)
        {
            return Err(Failure::job(message));
        }
        return Ok(Step::Done(Tested { report: finished.report, cases: finished.builds }));
    }
    let tests = finished.tests.unwrap_or_default();
    let excuse = "the commands of the build succeeded";
    Ok(match finished.failure {
        None => Step::Done(Tested { report: finished.report, cases: cases(&tests, Some(excuse)) }),
        // With a failed case the action fails, and tells of it.
        Some(message) if tests.counts.failed + tests.counts.error > 0 => {
            let report = Report { summary: Some(message), ..finished.report };
            Step::Done(Tested { report, cases: cases(&tests, None) })
        }
        Some(message) => return Err(Failure::job(message)),
    })
}

/// Passes where a build by a buildspec succeeds.
#[action(provider = "CodeBuild", owner = "AWS", inputs = 1..=5)]
fn codebuild_rule(action: &Action, settings: RuleConfiguration) -> Result<Step<Verdict>> {
    let RuleConfiguration { project_name, primary_source, environment_variables, batch_enabled, combine_artifacts } =
        settings;
    if combine_artifacts.is_some() && is_first(action)? {
        info!("Passed over: CombineArtifacts: a rule makes no artifacts");
    }
    let settings = Configuration {
        project_name,
        primary_source,
        environment_variables,
        buildspec_override: None,
        batch_enabled,
        combine_artifacts: false,
        service_role_arn_override: None,
    };
    Ok(match go_on(action, &settings)? {
        Step::Waiting(wait) => Step::Waiting(wait),
        Step::Done(finished) => Step::Done(finished.failure.map_or_else(Verdict::passed, Verdict::failed)),
    })
}

/// How a build ended.
struct Finished {
    /// Why it did not succeed.
    failure: Option<String>,
    report: Report<Exported>,
    tests: Option<Tests>,
    /// Those of a batch, each a case.
    builds: Vec<TestCase>,
}

fn go_on(action: &Action, settings: &Configuration) -> Result<Step<Finished>> {
    if settings.combine_artifacts && !settings.batch_enabled {
        return Err(Failure::configuration("`CombineArtifacts` is of a batch: set `BatchEnabled`, or remove it"));
    }
    let is_first = is_first(action)?;
    let ground = Ground::read(action, settings, is_first)?;
    let said = settings.buildspec_override.as_deref().unwrap_or(&ground.project.source.buildspec);
    let mut buildspec = match buildspec(ground.primary.as_ref(), said, is_first)? {
        Ok(buildspec) => buildspec,
        Err(context) => return Ok(Step::Done(finished(action, settings, &without_source(context)))),
    };
    if is_first {
        downloaded(&buildspec, settings);
    }
    if let Some(why) = ground.without_cache(settings)
        && buildspec.cache.take().is_some()
        && is_first
    {
        info!("Passed over: cache: {why}");
    }
    if settings.batch_enabled {
        return batch::go_on(action, settings, &ground, &buildspec);
    }
    let given = ground.given(action, settings, &buildspec, None);
    let hidden = given.hidden();
    let mut ended = match advance(action, &ground.plan(&buildspec, given, None))? {
        Progress::Waiting(wait) => return Ok(Step::Waiting(wait)),
        Progress::Ended(ended) => ended,
    };
    ended.upload(action, &buildspec);
    ended.keep_cache(&buildspec);
    let tests = reports::tests(&buildspec, &ended, None);
    let mut finished = finished(action, settings, ended.build());
    if finished.failure.is_none() {
        finished.report.variables = ended.exported(&buildspec, &hidden)?;
    }
    finished.report.summary = tests.as_ref().map(|tests| counted(&tests.counts));
    finished.tests = tests;
    Ok(Step::Done(finished))
}

/// What all builds of an action stand on.
struct Ground {
    project: Project,
    /// None where the build has no source.
    primary: Option<Input>,
    started_with: Vec<Variable>,
}

impl Ground {
    fn read(action: &Action, settings: &Configuration, is_first: bool) -> Result<Self> {
        let name = &settings.project_name;
        let found = Project::read(action, name)?;
        if is_first && found.is_none() {
            info!(
                "No directory `{}` is granted: `{name}` is a project that says nothing, with the source's buildspec",
                project::DIRECTORY
            );
        }
        let started_with = match &settings.environment_variables {
            Some(text) if !text.trim().is_empty() => project::variables(text)?,
            _ => Vec::new(),
        };
        let primary = primary(action, settings.primary_source.as_deref())?;
        Ok(Self { project: found.unwrap_or_default(), primary, started_with })
    }

    /// Why a build keeps no cache, whatever its buildspec says.
    fn without_cache(&self, settings: &Configuration) -> Option<&'static str> {
        if settings.batch_enabled {
            Some("the builds of a batch have none")
        } else if !self.project.cache.is_kept() {
            Some("the project keeps none: its `cache` is to be of the type S3, or LOCAL with LOCAL_CUSTOM_CACHE")
        } else {
            (!caches::is_granted()).then_some("the grant has no `caches = true`")
        }
    }

    /// The variables of a build, which may be one of a batch.
    fn given(
        &self,
        action: &Action,
        settings: &Configuration,
        buildspec: &Buildspec,
        build: Option<&BatchBuild>,
    ) -> Given {
        let mut about =
            variables::about(action, &settings.project_name, &self.project, self.primary.as_ref().map(Input::name));
        about.batch_build_identifier = build.map(|build| build.identifier.clone()).unwrap_or_default();
        let of_batch = build.map(|build| build.env.variables.as_slice()).unwrap_or_default();
        variables::given(buildspec, &self.project, of_batch, &self.started_with, &about)
    }

    fn plan<'a>(&'a self, buildspec: &'a Buildspec, given: Given, build: Option<&'a BatchBuild>) -> Plan<'a> {
        let of_build = build.and_then(|build| build.env.image.as_deref());
        let image = match of_build {
            Some(image) => project::own_image(image),
            None => project::own_image(&self.project.environment.image),
        };
        Plan {
            buildspec,
            primary: self.primary.as_ref().map(Input::name),
            environment: given.environment,
            secrets: given.secrets,
            image,
            wall_seconds_max: self.project.wall_seconds_max(),
        }
    }
}

/// None where the build has no source.
fn primary(action: &Action, name: Option<&str>) -> Result<Option<Input>> {
    let inputs: Vec<Input> = action.inputs().collect();
    let names = || inputs.iter().map(Input::name).collect::<Vec<_>>().join("`, `");
    match name {
        Some(name) => inputs.iter().find(|input| input.name() == name).cloned().map(Some).ok_or_else(|| {
            Failure::configuration(format!("`PrimarySource` is `{name}`, and the input artifacts are `{}`", names()))
        }),
        None if inputs.len() > 1 => Err(Failure::configuration(format!(
            "there are several input artifacts: set `PrimarySource` to one of `{}`",
            names()
        ))),
        None => Ok(inputs.into_iter().next()),
    }
}

/// Read from the input in every call, so that no command changes what runs. What is wrong with it fails the build, in CodeBuild's words.
fn buildspec(primary: Option<&Input>, said: &str, is_first: bool) -> Result<std::result::Result<Buildspec, Context>> {
    let failed = |message: String| Ok(Err(Context::new("YAML_FILE_ERROR", message)));
    let text = match Place::of(said).map_err(Failure::configuration)? {
        Place::Inline => said.to_owned(),
        Place::Object(arn) => {
            let mend = "give the path of a file in the source, or the text itself";
            return Err(Failure::configuration(format!("the buildspec is `{arn}`, which is not to be had: {mend}")));
        }
        Place::File(path) => {
            let shown = format!("{}/{path}", source_directory());
            let Some(file) = primary.map(|primary| primary.join(&path)) else {
                return failed(format!("stat {shown}: no such file or directory"));
            };
            match fs::metadata(&file) {
                Ok(there) if there.len() > DOCUMENT_BYTES_MAX as u64 => {
                    return failed(format!("{shown} has more than {DOCUMENT_BYTES_MAX} bytes"));
                }
                Ok(_) => {}
                Err(_) => return failed(format!("stat {shown}: no such file or directory")),
            }
            if is_first {
                info!("YAML location is {shown}");
            }
            match String::from_utf8(fs::read(&file).doing(format_args!("reading {shown}"))?) {
                Ok(text) => text,
                Err(_) => return failed(format!("{shown} is not UTF-8")),
            }
        }
    };
    match Buildspec::parse(&text) {
        Ok(parsed) => {
            for warning in parsed.warnings.iter().filter(|_| is_first) {
                warn!("{warning}");
            }
            Ok(Ok(parsed.buildspec))
        }
        Err(problems) => failed(problems.to_string()),
    }
}

fn without_source(context: Context) -> Build {
    let mut build = Build::without_source(context);
    for line in build.take_log() {
        info!("{line}");
    }
    build
}

/// What is said before the first command; of what is not done here, once.
fn downloaded(buildspec: &Buildspec, settings: &Configuration) {
    info!("CODEBUILD_SRC_DIR={}", source_directory());
    info!("Phase complete: DOWNLOAD_SOURCE State: SUCCEEDED");
    let phases = &buildspec.phases;
    let users = [&phases.install, &phases.pre_build, &phases.build, &phases.post_build];
    let passed_over = [
        (users.iter().any(|phase| phase.run_as.is_some()), "run-as: every command runs as a user without rights"),
        (settings.service_role_arn_override.is_some(), "ServiceRoleArnOverride: the grant says what a build may do"),
        (buildspec.env.git_credential_helper, "git-credential-helper: there is none"),
    ];
    for (_, what) in passed_over.iter().filter(|(is_said, _)| *is_said) {
        info!("Passed over: {what}");
    }
}

fn finished(action: &Action, settings: &Configuration, build: &Build) -> Finished {
    let failure = (build.status() != Status::Succeeded).then(|| {
        let status = build.status().name();
        let why = build.failure().map(|failed| {
            let Context { code, message } = &failed.context;
            format!(" Phase: {}, Code: {code}, Message: {message}", failed.phase.name())
        });
        format!("Build terminated with state: {status}.{}", why.unwrap_or_default())
    });
    let external_id = Some(variables::build_id(action, &settings.project_name));
    let report = Report { summary: None, external_id, variables: Vec::new(), links: Vec::new() };
    Finished { failure, report, tests: None, builds: Vec::new() }
}

plugin! {
    /// Builds and tests by a buildspec, as AWS CodeBuild does.
    name: "pipewright/build-codebuild",
    asks: [
        ask(Capability::Commands, "to run the commands of the buildspec"),
        ask(Capability::Caches, "to keep the buildspec's `cache`, where the project says so"),
        ask(Capability::ReadDirectory("projects".into()), "the projects, each a file NAME.json"),
    ],
    build: [codebuild],
    test: [codebuild_test],
    rule: [codebuild_rule],
}

#[cfg(test)]
mod batch_tests;
#[cfg(test)]
mod tests;
