//! What an image's configuration says of how it is run (OCI image specification, "Image Configuration").
//!
//! Its `Env` and `WorkingDir` are read, what it was built for, and its `diff_ids`. `User`, `Entrypoint`, `Cmd`, `Volumes` and `ExposedPorts` are
//! ignored: a job has one user whatever the image says, and runs what its own words say.

use pipewright_base::Digest;
use serde::Deserialize;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// In its order; later ones win.
    pub environment: Vec<(String, String)>,
    /// Where its programs expect to be started. A job is started in its work directory.
    pub working_directory: Option<String>,
    pub architecture: String,
    pub os: String,
    /// The digests of the decompressed layers, the lowest first.
    pub layers: Vec<Digest>,
}

#[derive(Debug, thiserror::Error)]
pub enum ImageConfigError {
    #[error("the image's configuration is larger than {CONFIG_BYTES_MAX} bytes")]
    Size,
    #[error("the image's configuration cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    #[error("the image's configuration has `{0}` in its Env, which is no NAME=VALUE")]
    Env(String),
    #[error("the image's configuration has `{0}` in its diff_ids, which is no SHA-256 digest")]
    DiffId(String),
    #[error("the image is for {os}/{architecture}, and this machine is linux/{}; take the variant for that", machine())]
    Machine { os: String, architecture: String },
}

/// Stops a configuration that fills the host's memory.
const CONFIG_BYTES_MAX: usize = 4 << 20;

#[derive(Deserialize)]
struct Written {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default)]
    config: Option<Config>,
    #[serde(default)]
    rootfs: RootFs,
}

#[derive(Default, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Config {
    #[serde(rename = "Env", default)]
    env: Option<Vec<String>>,
    #[serde(rename = "WorkingDir", default)]
    working_dir: Option<String>,
}

impl ImageConfig {
    /// Of an image that this machine can run.
    pub fn read(json: &[u8]) -> Result<Self, ImageConfigError> {
        if json.len() > CONFIG_BYTES_MAX {
            return Err(ImageConfigError::Size);
        }
        let Written { architecture, os, config, rootfs } = serde_json::from_slice(json)?;
        if os != "linux" || architecture != machine() {
            return Err(ImageConfigError::Machine { os, architecture });
        }
        let config = config.unwrap_or_default();
        let pair = |text: String| match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(ImageConfigError::Env(text)),
        };
        let environment = config.env.unwrap_or_default().into_iter().map(pair).collect::<Result<_, _>>()?;
        let working_directory = config.working_dir.filter(|it| !it.is_empty());
        let digest = |text: String| {
            let digest = text.strip_prefix("sha256:").and_then(|digest| digest.parse().ok());
            digest.ok_or(ImageConfigError::DiffId(text))
        };
        let layers = rootfs.diff_ids.into_iter().map(digest).collect::<Result<_, _>>()?;
        Ok(Self { environment, working_directory, architecture, os, layers })
    }
}

/// This machine's architecture, as images name it.
pub fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_says_what_its_programs_expect() {
        let machine = machine();
        let digest = Digest::of(b"a layer");
        let read = |text: &str| {
            let text = text.replace("MACHINE", machine).replace("DIGEST", &digest.to_string());
            ImageConfig::read(text.as_bytes())
        };
        let config = read(
            r#"{"architecture":"MACHINE","os":"linux","config":{"Env":["PATH=/bin","A=b=c","E="],"WorkingDir":"/src",
               "User":"postgres","Entrypoint":["/x"]},"rootfs":{"type":"layers","diff_ids":["sha256:DIGEST"]}}"#,
        );
        let environment =
            [("PATH", "/bin"), ("A", "b=c"), ("E", "")].map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec();
        let (architecture, os) = (machine.to_owned(), "linux".to_owned());
        let working_directory = Some("/src".to_owned());
        let expected = ImageConfig { environment, working_directory, architecture, os, layers: vec![digest] };
        assert_eq!(config.unwrap(), expected);
        let bare = read(r#"{"architecture":"MACHINE","os":"linux"}"#).unwrap();
        assert_eq!((bare.environment, bare.working_directory), (vec![], None));
        for (text, error) in [
            (r#"{"architecture":"vax","os":"linux"}"#, "for linux/vax"),
            (r#"{"architecture":"MACHINE","os":"linux","config":{"Env":["PATH"]}}"#, "no NAME=VALUE"),
            (r#"{"architecture":"MACHINE","os":"linux","rootfs":{"diff_ids":["sha256:1"]}}"#, "no SHA-256 digest"),
            ("{", "cannot be read"),
        ] {
            let said = read(text).unwrap_err().to_string();
            assert!(said.contains(error), "{said}");
        }
    }
}
