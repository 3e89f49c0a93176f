//! Owns what a project is: what the operator's file says, in the shape of CodeBuild's `CreateProject`. What a host without
//! AWS has no use for is read over.

use std::fs;
use std::io::ErrorKind;

use pipewright_sdk::prelude::*;
use serde::Deserialize;

/// The name under which the directory of projects is granted.
pub(crate) const DIRECTORY: &str = "projects";
/// A project's file is a page or two.
const PROJECT_BYTES_MAX: u64 = 1 << 20;
const NAME_BYTES_MAX: usize = 150;
/// CodeBuild's, where a project does not say.
const TIMEOUT_MINUTES: u64 = 60;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Project {
    pub source: Source,
    pub environment: Environment,
    pub timeout_in_minutes: Option<u64>,
    pub cache: ProjectCache,
}

/// Where CodeBuild would keep it does not matter.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ProjectCache {
    #[serde(rename = "type")]
    pub kind: String,
    pub modes: Vec<String>,
}

impl ProjectCache {
    /// Whether builds keep what the buildspec's `cache` names. The other modes are of sources and of Docker.
    pub fn is_kept(&self) -> bool {
        match self.kind.as_str() {
            "S3" => true,
            "LOCAL" => self.modes.iter().any(|mode| mode == "LOCAL_CUSTOM_CACHE"),
            _ => false,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Source {
    /// A path, or the text itself.
    pub buildspec: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Environment {
    pub image: String,
    pub environment_variables: Vec<Variable>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Variable {
    pub name: String,
    pub value: String,
    #[serde(default, rename = "type")]
    pub kind: VariableKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum VariableKind {
    #[default]
    Plaintext,
    ParameterStore,
    SecretsManager,
}

impl Variable {
    pub fn plain(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: value.to_owned(), kind: VariableKind::Plaintext }
    }
}

impl Project {
    /// The project of this name; none where the operator grants no directory of projects.
    pub fn read(action: &Action, name: &str) -> Result<Option<Self>> {
        check_name(name)?;
        if !action.has_directory(DIRECTORY) {
            return Ok(None);
        }
        let file = action.directory(DIRECTORY)?.join(format!("{name}.json"));
        let shown = format!("{DIRECTORY}/{name}.json");
        match fs::metadata(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mend = "make it by CreateProject, or correct `ProjectName`";
                return Err(Failure::configuration(format!("there is no project `{name}` (no file {shown}): {mend}")));
            }
            Ok(there) if there.len() > PROJECT_BYTES_MAX => {
                return Err(Failure::configuration(format!("{shown} has more than {PROJECT_BYTES_MAX} bytes")));
            }
            _ => {}
        }
        let text = fs::read(&file).doing(format_args!("reading {shown}"))?;
        let project: Self = serde_json::from_slice(&text)
            .map_err(|error| Failure::configuration(format!("{shown} is no project: {error}")))?;
        Ok(Some(project))
    }

    pub fn wall_seconds_max(&self) -> Option<u64> {
        Some(self.timeout_in_minutes.unwrap_or(TIMEOUT_MINUTES).saturating_mul(60))
    }
}

/// What a name of CodeBuild's own means is the operator's to say.
pub(crate) fn own_image(image: &str) -> Option<&str> {
    (!image.is_empty()).then_some(image)
}

/// The name becomes that of a file.
fn check_name(name: &str) -> Result<()> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(is_word)
        && name.len() <= NAME_BYTES_MAX
    {
        return Ok(());
    }
    let may = "letters, digits, `-` and `_`, after a letter or digit";
    Err(Failure::configuration(format!("`{name}` is no name of a project; correct `ProjectName`: it has {may}")))
}

/// What `EnvironmentVariables` of the action says.
pub(crate) fn variables(text: &str) -> Result<Vec<Variable>> {
    serde_json::from_str(text).map_err(|error| {
        let shape = r#"a JSON array like [{"name":"N","value":"V","type":"PLAINTEXT"}]"#;
        let mend = "a `#{…}` in it may have put in a quote or a line break, which JSON does not take";
        Failure::configuration(format!("`EnvironmentVariables` must be {shape}, and is not: {error}; {mend}"))
    })
}
