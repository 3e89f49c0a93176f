//! What is granted of programs: how strongly they are held apart, with which tools, and which hosts they reach.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{COMMANDS, Commands, Kept};
use crate::abi;
use crate::capabilities::http::{HttpGrant, Origin};
use crate::capabilities::{Capability, Row, Setup};
use crate::grants::{CaseFolder, Place, Use};
use crate::rights::{Asked, Asks};
use crate::state::State;

/// How strongly a program is held apart, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    Restricted,
    Toolchain,
    Image,
}

impl fmt::Display for Isolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Restricted => "restricted",
            Self::Toolchain => "toolchain",
            Self::Image => "image",
        })
    }
}

/// What a grants file says of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Programs {
    /// How strongly programs are held apart, at least.
    level: Isolation,
    /// The operator's name for what programs see besides the system's own `/usr`; without it, the one called `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    toolchain: Option<String>,
    /// The origins that programs reach, by the proxy that `HTTP_PROXY` and `HTTPS_PROXY` name; written as those of `http` are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    network: Vec<Origin>,
    /// The images that programs may run in, or with `/*` at the end all below a registry or a part of it: `registry.example/team/*`.
    /// The first one is for programs that name none, where the level is `image`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandsGrant {
    /// Or stronger.
    pub level: Isolation,
    /// By the operator's name for it; none: the one that is there for those who name none.
    pub toolchain: Option<String>,
    pub network: Vec<HttpGrant>,
    /// References, or what they begin with and `*`; the first one is for jobs that name none.
    pub images: Vec<String>,
}

impl CommandsGrant {
    /// What names no registry is the operator's to give a meaning to, for all.
    pub(super) fn allows(&self, image: &str) -> bool {
        let names_place = image.starts_with("oci:")
            || image.split_once('/').is_some_and(|(first, _)| first == "localhost" || first.contains(['.', ':']));
        let is_of = |granted: &String| match granted.strip_suffix('*') {
            Some(begin) => image.starts_with(begin),
            None => granted == image,
        };
        !names_place || self.images.iter().any(is_of)
    }
}

impl Capability for Commands {
    const ROW: Row = Row {
        name: COMMANDS,
        asks: &[COMMANDS],
        grant: Some("commands = { level = \"toolchain\" }"),
        without: "the error `denied`",
        can_be_made_up: true,
    };
    type Written = Option<Programs>;
    type Grant = Option<CommandsGrant>;
    type Kept = Kept;

    fn asked(ask: &abi::Capability) -> Option<Asked<'_>> {
        matches!(ask, abi::Capability::Commands)
            .then(|| Asked::of_all(COMMANDS, "to run programs of the host's machine"))
    }

    fn narrow(granted: &mut Self::Grant, asks: &Asks) {
        if !asks.any(COMMANDS) {
            *granted = None;
        }
    }

    fn resolve(written: &Self::Written, _: Place<'_>) -> Result<Self::Grant, String> {
        let Some(Programs { level, toolchain, network, images }) = written else { return Ok(None) };
        let network = network.iter().map(|origin| origin.resolve("commands.network")).collect::<Result<_, _>>()?;
        if *level == Isolation::Image && images.first().is_none_or(|first| first.ends_with('*')) {
            return Err(
                "commands: the level \"image\" needs images = [\"REFERENCE\"], the first one without `*`".to_owned()
            );
        }
        // One that begins a registry's name would be many registries.
        if let Some(wide) = images.iter().find(|image| image.ends_with('*') && !image.ends_with("/*")) {
            return Err(format!("commands.images: {wide:?} is to end with `/*`, or to be a whole reference"));
        }
        Ok(Some(CommandsGrant { level: *level, toolchain: toolchain.clone(), network, images: images.clone() }))
    }

    fn in_words(written: &Self::Written, _: &Path) -> Vec<String> {
        let line = |Programs { level, toolchain, network, images }: &Programs| {
            let with = |word: &str, list: Vec<String>| match list.is_empty() {
                true => String::new(),
                false => format!(", {word} {}", list.join(", ")),
            };
            let tools = with("with the toolchain", toolchain.iter().cloned().collect());
            let images = with("in the images", images.clone());
            let reach = with("which reach", network.iter().map(Origin::in_words).collect());
            format!(
                "run programs of this machine, held apart from it (level {level} or stronger){tools}{images}{reach}"
            )
        };
        written.iter().map(line).collect()
    }

    fn least(written: &mut Self::Written, uses: &BTreeSet<Use>) {
        if !uses.iter().any(|used| used.capability == COMMANDS) {
            *written = None;
        }
    }

    fn in_case(granted: &Self::Grant, _: &CaseFolder<'_>) -> Self::Written {
        let CommandsGrant { level, toolchain, network, images } = granted.as_ref()?;
        let network = network.iter().map(Origin::of).collect();
        Some(Programs { level: *level, toolchain: toolchain.clone(), network, images: images.clone() })
    }

    fn new(setup: &mut Setup<'_>) -> Self {
        Self::of(setup)
    }

    fn link(linker: &mut wasmtime::component::Linker<State>) -> wasmtime::Result<()> {
        super::link(linker)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::capabilities::secrets::stored::Stored;

    #[test]
    fn a_grant_says_which_images_may_be_used() {
        let check = |granted: &[&str], image: &str, expected: bool| {
            let images = granted.iter().map(|it| (*it).to_owned()).collect();
            let grant = CommandsGrant { level: Isolation::Toolchain, toolchain: None, network: Vec::new(), images };
            assert_eq!(grant.allows(image), expected, "{granted:?} {image}");
        };
        let team = &["registry.example/team/*", "registry.example:5000/rust:1"];
        check(team, "registry.example/team/rust:1", true);
        check(team, "registry.example/team/deep/rust", true);
        check(team, "registry.example/teams/rust", false);
        check(team, "registry.example:5000/rust:1", true);
        check(team, "registry.example:5000/rust:2", false);
        check(&[], "localhost/rust", false);
        check(&[], "oci:images", false);
        check(&["oci:/images/*"], "oci:/images/rust", true);
        // The operator's own names.
        check(&[], "aws/codebuild/standard:7.0", true);
        check(&[], "node:22", true);
    }

    #[test]
    fn a_grant_of_images_is_plain() {
        let check = |text: &str, problem: Option<&str>| {
            let written: Programs = serde_json::from_str(text).unwrap();
            let place = Place { base: Path::new("/"), stored: &Stored::new() };
            let resolved = <Commands as Capability>::resolve(&Some(written), place);
            assert_eq!(resolved.is_err(), problem.is_some(), "{text}");
            assert!(resolved.err().unwrap_or_default().contains(problem.unwrap_or_default()), "{text}");
        };
        check(r#"{"level": "image", "images": ["a.example/b", "a.example/*"]}"#, None);
        check(r#"{"level": "image"}"#, Some("needs images"));
        check(r#"{"level": "image", "images": ["a.example/*"]}"#, Some("without `*`"));
        check(r#"{"level": "toolchain", "images": ["a.ex*"]}"#, Some("end with `/*`"));
    }
}
