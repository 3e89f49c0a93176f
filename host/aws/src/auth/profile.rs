//! AWS's shared files and environment variables: where a client finds its key, its region and its server.
//!
//! Owns their syntax and their precedence (AWS SDKs and Tools Reference Guide, "Shared config and credentials files"), and
//! the one credentials file that a server writes. Must not know what is done with a key.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{AccessKey, Secret};

/// Stops the reading of something that is no credentials file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The profile that counts where none is named.
pub const DEFAULT: &str = "default";
const SERVICE: &str = "codepipeline";

/// What the environment and the shared files say, for one profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    pub key: Option<AccessKey>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
    /// A PEM file of certificate authorities that are believed, besides the system's.
    pub ca_bundle: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path}, line {line}: {problem}")]
    Syntax { path: PathBuf, line: usize, problem: &'static str },
    #[error("there is no profile `{profile}`{}", in_files(.files))]
    NoProfile { profile: String, files: Vec<PathBuf> },
    #[error("{place} has an access key without its secret, or a secret without its access key")]
    HalfAKey { place: String },
    #[error("{place} has a session token, and the server issues none: use a long-term access key")]
    SessionToken { place: String },
}

impl Profile {
    /// As AWS's tools find them: a profile that is named by the caller, else by `AWS_PROFILE`, else `default`. Keys in the
    /// environment go before those of `default`, but not before those of a profile that the caller named.
    /// `environment` looks up one variable.
    ///
    /// # Errors
    /// A file cannot be read, a named profile is not there, or a key is not whole. Missing files are empty.
    pub fn find(environment: &dyn Fn(&str) -> Option<String>, named: Option<&str>) -> Result<Self, ProfileError> {
        let variable = |name: &str| variable(environment, name);
        let home = home(environment);
        let file = |name: &str, default: &str| {
            variable(name).map_or_else(|| home.join(".aws").join(default), |path| expand(&path, &home))
        };
        let credentials_path = file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let config_path = file("AWS_CONFIG_FILE", "config");
        let credentials = Sections::read(&credentials_path)?;
        let config = Sections::read(&config_path)?;

        let chosen = named.map(str::to_owned).or_else(|| variable("AWS_PROFILE"));
        let name = chosen.as_deref().unwrap_or(DEFAULT);
        let own_credentials = credentials.0.get(name);
        let own_config = config.profile(name);
        if chosen.is_some() && own_credentials.is_none() && own_config.is_none() {
            return Err(ProfileError::NoProfile {
                profile: name.to_owned(),
                files: vec![credentials_path, config_path],
            });
        }
        let from_environment = match named {
            Some(_) => None,
            None => key("the environment", |field| variable(&field.to_uppercase()))?,
        };
        let from_file = |section: Option<&Section>, path: &Path| match section {
            Some(section) => key(&format!("{}, profile `{name}`,", path.display()), |field| section.get(field)),
            None => Ok(None),
        };
        let key = match from_environment {
            Some(key) => Some(key),
            None => match from_file(own_credentials, &credentials_path)? {
                Some(key) => Some(key),
                None => from_file(own_config, &config_path)?,
            },
        };
        let setting = |field: &str| own_config.and_then(|section| section.get(field));
        let services = setting("services").and_then(|name| config.0.get(&format!("services {name}")));
        Ok(Self {
            key,
            region: variable("AWS_REGION").or_else(|| variable("AWS_DEFAULT_REGION")).or_else(|| setting("region")),
            endpoint: variable("AWS_ENDPOINT_URL_CODEPIPELINE")
                .or_else(|| variable("AWS_ENDPOINT_URL"))
                .or_else(|| services.and_then(|section| section.get(&format!("{SERVICE}.endpoint_url"))))
                .or_else(|| setting("endpoint_url")),
            ca_bundle: ca_bundle(environment).or_else(|| Some(expand(&setting("ca_bundle")?, &home))),
        })
    }
}

/// The PEM file of certificate authorities that the environment names. `environment` looks up one variable.
pub fn ca_bundle(environment: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    Some(expand(&variable(environment, "AWS_CA_BUNDLE")?, &home(environment)))
}

fn variable(environment: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<String> {
    environment(name).filter(|value| !value.is_empty())
}

fn home(environment: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    variable(environment, "HOME").map(PathBuf::from).unwrap_or_default()
}

/// The key of one profile of a credentials file. The file names no users: `user` is empty.
///
/// # Errors
/// The file cannot be read or is missing, or the profile has no whole key.
pub fn read_credentials(path: &Path, profile: &str) -> Result<AccessKey, ProfileError> {
    if let Err(source) = path.metadata() {
        return Err(ProfileError::Read { path: path.to_owned(), source });
    }
    let sections = Sections::read(path)?;
    let missing = || ProfileError::NoProfile { profile: profile.to_owned(), files: vec![path.to_owned()] };
    let section = sections.0.get(profile).ok_or_else(missing)?;
    let place = format!("{}, profile `{profile}`,", path.display());
    key(&place, |field| section.get(field))?.ok_or(ProfileError::HalfAKey { place })
}

/// Writes keys as the profiles of a credentials file that only its owner can read: whole and durable, or not at all. A file that says
/// so already is left alone.
///
/// # Errors
/// The folder cannot be written to.
pub fn write_credentials(path: &Path, profiles: &[(String, AccessKey)]) -> std::io::Result<()> {
    let profile = |(name, key): &(String, AccessKey)| {
        format!("[{name}]\naws_access_key_id = {}\naws_secret_access_key = {}\n", key.id, key.secret.expose())
    };
    let text = profiles.iter().map(profile).collect::<Vec<_>>().join("\n");
    let is_private = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.mode() & 0o077 == 0);
    if is_private && std::fs::read_to_string(path).is_ok_and(|written| written == text) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Temporary files are made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(folder)?.sync_all()
}

/// One key, if `field` has any of it.
fn key(place: &str, field: impl Fn(&str) -> Option<String>) -> Result<Option<AccessKey>, ProfileError> {
    match (field("aws_access_key_id"), field("aws_secret_access_key")) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) if field("aws_session_token").is_some() => {
            Err(ProfileError::SessionToken { place: place.to_owned() })
        }
        (Some(id), Some(secret)) => Ok(Some(AccessKey { id, secret: Secret::new(secret), user: String::new() })),
        _ => Err(ProfileError::HalfAKey { place: place.to_owned() }),
    }
}

/// The settings under one heading; those of a nested block as `block.setting`.
#[derive(Debug, Default)]
struct Section(BTreeMap<String, String>);

impl Section {
    fn get(&self, setting: &str) -> Option<String> {
        self.0.get(setting).filter(|value| !value.is_empty()).cloned()
    }
}

#[derive(Debug, Default)]
struct Sections(BTreeMap<String, Section>);

impl Sections {
    /// A missing file has no sections.
    fn read(path: &Path) -> Result<Self, ProfileError> {
        use std::io::Read as _;
        let unreadable = |source| ProfileError::Read { path: path.to_owned(), source };
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(&text).map_err(|(line, problem)| ProfileError::Syntax { path: path.to_owned(), line, problem })
    }

    fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut sections = Self::default();
        let mut section: Option<&mut Section> = None;
        let mut block = None;
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            let content = line.trim();
            if content.is_empty() || content.starts_with(['#', ';']) {
                continue;
            }
            if let Some(heading) = content.strip_prefix('[') {
                let (name, _) = heading.split_once(']').ok_or((number, "a heading has no `]`"))?;
                let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
                section = Some(sections.0.entry(name).or_default());
                block = None;
                continue;
            }
            let (name, value) = content.split_once('=').ok_or((number, "neither a heading nor `name = value`"))?;
            let (name, value) = (name.trim().to_lowercase(), without_comment(value.trim()));
            let section = section.as_mut().ok_or((number, "a setting stands before the first `[heading]`"))?;
            let is_nested = line.starts_with([' ', '\t']);
            match &block {
                Some(block) if is_nested => section.0.insert(format!("{block}.{name}"), value.to_owned()),
                _ => {
                    block = value.is_empty().then(|| name.clone());
                    section.0.insert(name, value.to_owned())
                }
            };
        }
        Ok(sections)
    }

    /// In the config file, every profile but the default one is called `profile NAME`.
    fn profile(&self, name: &str) -> Option<&Section> {
        let own = self.0.get(&format!("profile {name}"));
        own.or_else(|| self.0.get(name).filter(|_| name == DEFAULT))
    }
}

/// A comment inside of a line begins with a space.
fn without_comment(value: &str) -> &str {
    let end = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| value.find(mark)).min();
    end.map_or(value, |end| value[..end].trim_end())
}

fn expand(path: &str, home: &Path) -> PathBuf {
    path.strip_prefix("~/").map_or_else(|| PathBuf::from(path), |inner| home.join(inner))
}

fn in_files(files: &[PathBuf]) -> String {
    files.iter().enumerate().map(|(i, f)| format!("{}{}", if i == 0 { " in " } else { " or " }, f.display())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "\
# mine
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = s3cret/with+signs= # not part of it

[other]
AWS_ACCESS_KEY_ID=AKIAOTHER
aws_secret_access_key=other

[temporary]
aws_access_key_id = ASIATEMPORARY
aws_secret_access_key = x
aws_session_token = token

[half]
aws_access_key_id = AKIAHALF
";
    const CONFIG: &str = "\
[default]
region = eu-central-1
endpoint_url = http://everything:1

[profile other]
region = eu-west-1
services = local
s3 =
    endpoint_url = http://not-this:2
    max_concurrent_requests = 3
output = json

[services local]
dynamodb =
  endpoint_url = http://dynamo:8000
codepipeline =
  endpoint_url = http://pipelines:7420

[profile in-config]
aws_access_key_id = AKIACONFIG
aws_secret_access_key = config
";

    fn check(variables: &[(&str, &str)], named: Option<&str>, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".aws")).unwrap();
        std::fs::write(folder.path().join(".aws/credentials"), CREDENTIALS).unwrap();
        std::fs::write(folder.path().join(".aws/config"), CONFIG).unwrap();
        let environment = |name: &str| match variables.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => Some((*value).to_owned()),
            None => (name == "HOME").then(|| folder.path().to_str().unwrap().to_owned()),
        };
        let shown = match Profile::find(&environment, named) {
            Ok(Profile { key, region, endpoint, ca_bundle }) => {
                let key = key.map_or("none".to_owned(), |key| format!("{}:{}", key.id, key.secret.expose()));
                let authorities = ca_bundle.map(|path| format!(" {}", path.display())).unwrap_or_default();
                let [region, endpoint] = [region, endpoint].map(|it| it.unwrap_or_else(|| "none".to_owned()));
                format!("{key} {region} {endpoint}{authorities}")
            }
            Err(error) => error.to_string().replace(folder.path().to_str().unwrap(), "~"),
        };
        assert_eq!(shown, expected, "{variables:?} {named:?}");
    }

    #[test]
    fn a_profile_is_found_as_aws_tools_find_it() {
        let key = [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "env")];
        let none = [("AWS_SHARED_CREDENTIALS_FILE", "~/none"), ("AWS_CONFIG_FILE", "/none/at/all")];
        check(&[], None, "AKIADEFAULT:s3cret/with+signs= eu-central-1 http://everything:1");
        check(&none, None, "none none none");
        check(&key, None, "AKIAENV:env eu-central-1 http://everything:1");
        check(&key, Some("other"), "AKIAOTHER:other eu-west-1 http://pipelines:7420");
        check(&[("AWS_PROFILE", "other")], None, "AKIAOTHER:other eu-west-1 http://pipelines:7420");
        check(&[("AWS_PROFILE", "other")], Some("in-config"), "AKIACONFIG:config none none");
        check(&[("AWS_CA_BUNDLE", "/ca.pem")], Some("in-config"), "AKIACONFIG:config none none /ca.pem");
        check(
            &[("AWS_DEFAULT_REGION", "a"), ("AWS_ENDPOINT_URL", "http://b")],
            Some("other"),
            "AKIAOTHER:other a http://b",
        );
        check(
            &[
                ("AWS_REGION", "a"),
                ("AWS_DEFAULT_REGION", "b"),
                ("AWS_ENDPOINT_URL", "http://c"),
                ("AWS_ENDPOINT_URL_CODEPIPELINE", "http://d"),
            ],
            None,
            "AKIADEFAULT:s3cret/with+signs= a http://d",
        );
    }

    #[test]
    fn what_cannot_sign_is_an_error() {
        check(&[], Some("nobody"), "there is no profile `nobody` in ~/.aws/credentials or ~/.aws/config");
        check(
            &[],
            Some("half"),
            "~/.aws/credentials, profile `half`, has an access key without its secret, or a secret without its access key",
        );
        check(
            &[],
            Some("temporary"),
            "~/.aws/credentials, profile `temporary`, has a session token, and the server issues none: use a long-term \
             access key",
        );
        check(
            &[("AWS_ACCESS_KEY_ID", "AKIAENV")],
            None,
            "the environment has an access key without its secret, or a secret without its access key",
        );
        check(&[("AWS_CONFIG_FILE", "/")], None, "cannot read /: Is a directory (os error 21)");
    }

    #[test]
    fn a_file_that_is_none_is_an_error_with_its_line() {
        for (text, expected) in [
            ("a = b", (1, "a setting stands before the first `[heading]`")),
            ("\n[default\n", (2, "a heading has no `]`")),
            ("[default]\n{\"json\": 1}", (2, "neither a heading nor `name = value`")),
        ] {
            assert_eq!(Sections::parse(text).unwrap_err(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_written_file_is_its_owners_alone_and_read_back() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let (first, second) = (AccessKey::generate("").unwrap(), AccessKey::generate("").unwrap());
        let profiles = |key: &AccessKey| [(DEFAULT.to_owned(), key.clone()), ("other".to_owned(), first.clone())];
        write_credentials(&path, &profiles(&first)).unwrap();
        write_credentials(&path, &profiles(&second)).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_credentials(&path, "default").unwrap(), second);
        assert_eq!(read_credentials(&path, "other").unwrap(), first);
        assert!(matches!(read_credentials(&path, "nobody"), Err(ProfileError::NoProfile { .. })));
        assert!(matches!(read_credentials(&folder.path().join("none"), "default"), Err(ProfileError::Read { .. })));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }
}
