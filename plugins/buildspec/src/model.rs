//! Owns what a buildspec can say, as types. Knows nothing of YAML, and nothing of how it is carried out.

use crate::batch::Batch;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buildspec {
    pub run_as: Option<String>,
    pub env: Env,
    pub proxy: Proxy,
    pub batch: Option<Batch>,
    pub phases: Phases,
    pub reports: Vec<ReportGroup>,
    pub artifacts: Option<Artifacts>,
    pub cache: Option<Cache>,
}

impl Buildspec {
    /// The build that an action of the type Commands is: its commands one after another, the first failure its end, and one
    /// artifact of its files.
    pub fn of_commands(commands: &[String], output_variables: &[String], files: &[String]) -> Self {
        let command = |(number, text): (usize, &String)| Command {
            text: text.clone(),
            line: u32::try_from(number + 1).unwrap_or(u32::MAX),
        };
        let mut buildspec = Self::default();
        buildspec.env.exported_variables = output_variables.to_vec();
        buildspec.phases.build = Phase {
            written: true,
            on_failure: Some(OnFailure::Abort),
            commands: commands.iter().enumerate().map(command).collect(),
            ..Phase::default()
        };
        let primary = Section { files: files.to_vec(), ..Section::default() };
        buildspec.artifacts = (!files.is_empty()).then(|| Artifacts { primary, secondary: Vec::new() });
        buildspec
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Env {
    pub shell: Shell,
    /// In the order of the file; a name is in one of the three maps only.
    pub variables: Vec<(String, String)>,
    /// By the variable's name, that of the parameter.
    pub parameter_store: Vec<(String, String)>,
    pub secrets_manager: Vec<(String, SecretReference)>,
    pub exported_variables: Vec<String>,
    pub git_credential_helper: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shell {
    #[default]
    Sh,
    Bash,
}

impl Shell {
    /// What is run.
    pub fn program(self) -> &'static str {
        match self {
            Self::Sh => "/bin/sh",
            Self::Bash => "/bin/bash",
        }
    }
}

/// Where in Secrets Manager a value is: `secret-id:json-key:version-stage:version-id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretReference {
    /// A name or an ARN.
    pub secret_id: String,
    /// Without one, the value is the whole secret.
    pub json_key: Option<String>,
    /// Without a stage and an id, AWSCURRENT.
    pub version_stage: Option<String>,
    pub version_id: Option<String>,
}

/// Which ways go through the project's proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    pub upload_artifacts: bool,
    pub logs: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Phases {
    pub install: Phase,
    pub pre_build: Phase,
    pub build: Phase,
    pub post_build: Phase,
}

/// A phase that the file does not name is one without commands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Phase {
    /// Whether the file names it.
    pub written: bool,
    /// The phase's own, or that of the whole file.
    pub run_as: Option<String>,
    pub on_failure: Option<OnFailure>,
    /// Runtime and version, as written; in `install` only.
    pub runtime_versions: Vec<(String, String)>,
    pub commands: Vec<Command>,
    pub finally: Vec<Command>,
}

/// One entry of a list of commands: one line or a whole block, as it is given to the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub text: String,
    /// Of the file, for messages.
    pub line: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub enum OnFailure {
    Abort,
    Continue,
    Retry(Retry),
}

/// The build again, from its start.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    pub times_max: u32,
    /// What the message of the failed phase must have in it; without one, every message does.
    pub pattern: Option<Pattern>,
}

/// A regular expression that compiles.
#[derive(Clone, Debug)]
pub struct Pattern(pub(crate) regex_lite::Regex);

impl Pattern {
    pub fn is_in(&self, message: &str) -> bool {
        self.0.is_match(message)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportGroup {
    /// A name, an ARN, or text with `$VARIABLE`.
    pub name: String,
    pub files: Vec<String>,
    pub base_directory: Option<String>,
    pub discard_paths: bool,
    pub format: pipewright_reports::Format,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Artifacts {
    /// Without files where all that is wanted is in `secondary`.
    pub primary: Section,
    /// By their identifiers.
    pub secondary: Vec<(String, Section)>,
}

/// Which files one artifact has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Globs, from the base directory.
    pub files: Vec<String>,
    pub exclude_paths: Vec<String>,
    /// From the source directory, or absolute; it may have wildcards and `$VARIABLE`.
    pub base_directory: Option<String>,
    pub discard_paths: bool,
    pub enable_symlinks: bool,
    /// A text that the shell expands.
    pub name: Option<String>,
    pub s3_prefix: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    /// Globs, from the source directory or absolute.
    pub paths: Vec<String>,
    /// A text that the shell expands.
    pub key: Option<String>,
    /// What a kept key may begin with, tried in this order.
    pub fallback_keys: Vec<String>,
    pub restores: bool,
    pub saves: bool,
}
