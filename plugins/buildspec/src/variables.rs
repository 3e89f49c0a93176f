//! Owns the variables that a build begins with and those that it gives on: CodeBuild's own, who wins where a name is given
//! twice, and what is exported. Knows no shell.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Buildspec;
use crate::texts::is_shell_name;

/// As much as an action of a pipeline takes of one build's variables.
pub const EXPORTED_BYTES_MAX: usize = 122_880;

/// What CodeBuild says of a build to its commands. Texts that are empty are not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub region: String,
    pub home: String,
    pub batch_build_identifier: String,
    pub build_arn: String,
    /// `project:uuid`.
    pub build_id: String,
    pub build_image: String,
    pub build_number: Option<u64>,
    pub build_url: String,
    pub initiator: String,
    pub kms_key_id: String,
    pub log_path: String,
    pub project_arn: String,
    pub public_build_url: String,
    pub start_time_ms: Option<u64>,
    pub source: Source,
    /// By their identifiers, which under a pipeline are the names of artifacts.
    pub secondary_sources: Vec<(String, Source)>,
    pub webhook: Option<Webhook>,
    pub runner: Option<Runner>,
    /// By the identifiers of the file systems, where each is.
    pub file_systems: Vec<(String, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    pub directory: String,
    pub repository_url: String,
    pub version: String,
    /// Of the primary source only: a commit, or an object's version. Empty where a pipeline gives several inputs.
    pub resolved_version: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Webhook {
    pub actor_account_id: String,
    pub base_ref: String,
    pub event: String,
    pub merge_commit: String,
    pub prev_commit: String,
    pub head_ref: String,
    /// `pr/NUMBER`, `branch/NAME` or `tag/NAME`.
    pub trigger: String,
    pub label: String,
    pub run_id: String,
    pub job_id: String,
    pub workflow_name: String,
}

/// Of a build that runs the jobs of another service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runner {
    pub owner: String,
    pub repository: String,
    pub repository_domain: String,
    pub with_buildspec: String,
}

impl About {
    pub fn variables(&self) -> BTreeMap<String, String> {
        let number = |number: Option<u64>| number.map(|it| it.to_string()).unwrap_or_default();
        let mut all: Vec<(String, String)> = [
            ("AWS_DEFAULT_REGION", &self.region),
            ("AWS_REGION", &self.region),
            ("HOME", &self.home),
            ("CODEBUILD_BATCH_BUILD_IDENTIFIER", &self.batch_build_identifier),
            ("CODEBUILD_BUILD_ARN", &self.build_arn),
            ("CODEBUILD_BUILD_ID", &self.build_id),
            ("CODEBUILD_BUILD_IMAGE", &self.build_image),
            ("CODEBUILD_BUILD_NUMBER", &number(self.build_number)),
            ("CODEBUILD_BUILD_URL", &self.build_url),
            ("CODEBUILD_INITIATOR", &self.initiator),
            ("CODEBUILD_KMS_KEY_ID", &self.kms_key_id),
            ("CODEBUILD_LOG_PATH", &self.log_path),
            ("CODEBUILD_PROJECT_ARN", &self.project_arn),
            ("CODEBUILD_PUBLIC_BUILD_URL", &self.public_build_url),
            ("CODEBUILD_RESOLVED_SOURCE_VERSION", &self.source.resolved_version),
            ("CODEBUILD_START_TIME", &number(self.start_time_ms)),
        ]
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .into();
        all.extend(of_source("", &self.source));
        for (identifier, source) in &self.secondary_sources {
            all.extend(of_source(&format!("_{identifier}"), source));
            // A shell cannot spell `CODEBUILD_SRC_DIR_my-app`.
            let spelled: String = identifier.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
            all.extend(of_source(&format!("_{spelled}"), source));
        }
        all.extend(self.webhook.iter().flat_map(of_webhook));
        all.extend(self.runner.iter().flat_map(of_runner));
        all.extend(
            self.file_systems.iter().map(|(name, there)| (format!("CODEBUILD_{}", name.to_uppercase()), there.clone())),
        );
        all.into_iter().filter(|(_, value)| !value.is_empty()).collect()
    }
}

fn of_source(suffix: &str, source: &Source) -> Vec<(String, String)> {
    vec![
        (format!("CODEBUILD_SRC_DIR{suffix}"), source.directory.clone()),
        (format!("CODEBUILD_SOURCE_REPO_URL{suffix}"), source.repository_url.clone()),
        (format!("CODEBUILD_SOURCE_VERSION{suffix}"), source.version.clone()),
    ]
}

fn of_webhook(webhook: &Webhook) -> Vec<(String, String)> {
    let all = [
        ("ACTOR_ACCOUNT_ID", &webhook.actor_account_id),
        ("BASE_REF", &webhook.base_ref),
        ("EVENT", &webhook.event),
        ("MERGE_COMMIT", &webhook.merge_commit),
        ("PREV_COMMIT", &webhook.prev_commit),
        ("HEAD_REF", &webhook.head_ref),
        ("TRIGGER", &webhook.trigger),
        ("LABEL", &webhook.label),
        ("RUN_ID", &webhook.run_id),
        ("JOB_ID", &webhook.job_id),
        ("WORKFLOW_NAME", &webhook.workflow_name),
    ];
    all.map(|(name, value)| (format!("CODEBUILD_WEBHOOK_{name}"), value.clone())).into()
}

fn of_runner(runner: &Runner) -> Vec<(String, String)> {
    let all = [
        ("OWNER", &runner.owner),
        ("REPO", &runner.repository),
        ("REPO_DOMAIN", &runner.repository_domain),
        ("WITH_BUILDSPEC", &runner.with_buildspec),
    ];
    all.map(|(name, value)| (format!("CODEBUILD_RUNNER_{name}"), value.clone())).into()
}

/// Where variables come from, the weakest first. Each is resolved: values of stores are values here.
#[derive(Clone, Copy, Debug)]
pub struct Origins<'a> {
    pub image: &'a BTreeMap<String, String>,
    /// From the parameter and secret stores that the buildspec names.
    pub stored: &'a BTreeMap<String, String>,
    pub project: &'a BTreeMap<String, String>,
    /// What the start of this build says.
    pub started_with: &'a BTreeMap<String, String>,
    pub about: &'a About,
}

/// The environment of the first command. CodeBuild's own names are nobody else's.
pub fn environment(buildspec: &Buildspec, origins: &Origins<'_>) -> BTreeMap<String, String> {
    let mut all = origins.image.clone();
    all.extend(buildspec.env.variables.iter().cloned());
    for origin in [origins.stored, origins.project, origins.started_with] {
        all.extend(origin.clone());
    }
    all.extend(origins.about.variables());
    all
}

/// What a build gives on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    pub variables: Vec<(String, String)>,
    pub warnings: Vec<String>,
}

/// The exported variables as they are after POST_BUILD. `hidden` are those that the project has from a store, which CodeBuild
/// does not export.
pub fn exports(
    buildspec: &Buildspec,
    environment: &BTreeMap<String, String>,
    hidden: &BTreeSet<String>,
) -> Result<Exports, String> {
    let mut exports = Exports::default();
    for name in &buildspec.env.exported_variables {
        if !is_shell_name(name) || exports.variables.iter().any(|(there, _)| there == name) {
            continue;
        }
        let why_not = if name.starts_with("AWS_") {
            Some("AWS_ variables are not exported")
        } else if hidden.contains(name) {
            Some("it is from the project's parameter or secret store")
        } else {
            None
        };
        match (why_not, environment.get(name)) {
            (Some(why), _) => exports.warnings.push(format!("{name} is not exported: {why}")),
            (None, None) => exports.warnings.push(format!("{name} is not exported: no command has set it")),
            (None, Some(value)) => {
                if value.contains('\n') {
                    let warning = format!("{name} has several lines, which break a configuration that is JSON");
                    exports.warnings.push(warning);
                }
                exports.variables.push((name.clone(), value.clone()));
            }
        }
    }
    let bytes: usize = exports.variables.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > EXPORTED_BYTES_MAX {
        return Err(format!(
            "the exported variables have {bytes} bytes; {EXPORTED_BYTES_MAX} is the most: export less"
        ));
    }
    Ok(exports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn buildspec(text: &str) -> Buildspec {
        Buildspec::parse(text).unwrap().buildspec
    }

    /// Every field, each with a text of its own: what is there, and where it comes from.
    #[test]
    fn about_a_build() {
        let text = str::to_owned;
        let source = |name: &str| Source {
            directory: format!("/{name}"),
            repository_url: format!("url-{name}"),
            version: format!("version-{name}"),
            resolved_version: if name == "main" { text("commit") } else { String::new() },
        };
        let webhook = Webhook {
            actor_account_id: text("actor"),
            base_ref: text("base"),
            event: text("PUSH"),
            merge_commit: text("merge"),
            prev_commit: text("prev"),
            head_ref: text("head"),
            trigger: text("branch/main"),
            label: text("label"),
            run_id: text("run"),
            job_id: text("job"),
            workflow_name: text("workflow"),
        };
        let runner = Runner {
            owner: text("owner"),
            repository: text("repo"),
            repository_domain: text("domain"),
            with_buildspec: text("true"),
        };
        let about = About {
            region: text("eu-west-1"),
            home: text("/root"),
            batch_build_identifier: text("linux"),
            build_arn: text("arn:build"),
            build_id: text("p:1"),
            build_image: text("image"),
            build_number: Some(7),
            build_url: text("url"),
            initiator: text("codepipeline/p"),
            kms_key_id: text("key"),
            log_path: text("log"),
            project_arn: text("arn:project"),
            public_build_url: text("public"),
            start_time_ms: Some(1_700_000_000_123),
            source: source("main"),
            secondary_sources: vec![(text("my-app"), source("app"))],
            webhook: Some(webhook),
            runner: Some(runner),
            file_systems: vec![(text("data"), text("/mnt/data"))],
        };
        let shown = about.variables().into_iter().map(|(name, value)| format!("{name}={value}\n"));
        let expected = include_str!("../tests/variables.txt");
        assert_eq!(shown.collect::<String>(), expected);
        assert_eq!(About::default().variables(), BTreeMap::new());
    }

    #[test]
    fn who_wins() {
        let spec = buildspec("version: 0.2\nenv: {variables: {A: file, B: file, C: file, HOME: x}}\nphases: {}\n");
        let (image, stored) = (map(&[("A", "image"), ("E", "image")]), map(&[("D", "stored")]));
        let (project, start) = (map(&[("B", "project"), ("C", "project"), ("D", "project")]), map(&[("C", "start")]));
        let about = About { home: "/root".to_owned(), ..About::default() };
        let origins =
            Origins { image: &image, stored: &stored, project: &project, started_with: &start, about: &about };
        let expected =
            [("A", "file"), ("B", "project"), ("C", "start"), ("D", "project"), ("E", "image"), ("HOME", "/root")];
        assert_eq!(environment(&spec, &origins), map(&expected));
    }

    #[test]
    fn exported() {
        let text =
            "version: 0.2\nenv: {exported-variables: [A, A, EMPTY, NONE, AWS_REGION, TOKEN, LINES]}\nphases: {}\n";
        let set = [("A", "1"), ("EMPTY", ""), ("AWS_REGION", "x"), ("TOKEN", "t"), ("LINES", "1\n2"), ("OTHER", "")];
        let spec = buildspec(text);
        let exports = super::exports(&spec, &map(&set), &BTreeSet::from(["TOKEN".to_owned()])).unwrap();
        let pairs = [("A", "1"), ("EMPTY", ""), ("LINES", "1\n2")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(exports.variables, pairs);
        let warned: Vec<_> = exports.warnings.iter().filter_map(|it| it.split(' ').next()).collect();
        assert_eq!(warned, ["NONE", "AWS_REGION", "TOKEN", "LINES"]);
        let large = map(&[("A", &"x".repeat(EXPORTED_BYTES_MAX))]);
        assert!(super::exports(&spec, &large, &BTreeSet::new()).is_err());
    }
}
