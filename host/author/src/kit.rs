//! What the folder of a new plugin is made of: a template with its names filled in, and beside it the SDK and the interface
//! that it is built with, so that the folder needs nothing else of this project.
//!
//! Pure: gives the files and writes none.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::json;
use toml::{Table, Value};

/// Where the SDK and the interface go in the folder of a plugin.
pub const VENDOR: &str = "pipewright";
/// Names of registries and crates have their own limits; this is below all of them.
const NAME_BYTES_MAX: usize = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Source,
    Build,
    Test,
    Deploy,
    Approval,
    Invoke,
    Rule,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Build => "build",
            Self::Test => "test",
            Self::Deploy => "deploy",
            Self::Approval => "approval",
            Self::Invoke => "invoke",
            Self::Rule => "rule",
        }
    }
}

impl Kind {
    /// What of a pipeline it is.
    fn place(self) -> &'static str {
        match self {
            Self::Source => "an action of the first stage",
            Self::Rule => "a rule of a stage's condition",
            _ => "an action of a stage after the first",
        }
    }

    /// The plugin of the template as a pipeline has it, with the settings that it needs: a block of Markdown.
    fn snippet(self, provider: &str) -> String {
        let category = capital(self.name());
        let type_id = json!({ "category": category, "owner": "Custom", "provider": provider, "version": "1" });
        let configuration = match self {
            Self::Source => json!({ "File": "notes.txt" }),
            Self::Deploy => json!({ "Url": "https://api.example.com/deployments" }),
            _ => json!({}),
        };
        let (kind_of_type, inputs, outputs) = match self {
            Self::Source => ("actionTypeId", None, Some("Source")),
            Self::Build => ("actionTypeId", Some("Source"), Some(provider)),
            Self::Test | Self::Deploy | Self::Invoke => ("actionTypeId", Some("Source"), None),
            Self::Approval => ("actionTypeId", None, None),
            Self::Rule => ("ruleTypeId", None, None),
        };
        // In the order in which it is read.
        let mut lines = vec![format!("\"name\": \"{provider}\""), format!("\"{kind_of_type}\": {type_id}")];
        lines.push(format!("\"configuration\": {configuration}"));
        let artifacts = [("inputArtifacts", inputs), ("outputArtifacts", outputs)];
        lines.extend(
            artifacts.into_iter().filter_map(|(key, name)| Some(format!("\"{key}\": {}", json!([{ "name": name? }])))),
        );
        // As people write it.
        let lines = lines.iter().map(|line| line.replace("\":\"", "\": \"").replace(",\"", ", \""));
        format!("    {{\n      {}\n    }}", lines.collect::<Vec<_>>().join(",\n      "))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Language {
    Rust,
    Python,
    #[value(name = "javascript")]
    JavaScript,
    #[value(name = "typescript")]
    TypeScript,
}

impl Language {
    fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
        }
    }

    /// Where in [`VENDOR`] its SDK is. TypeScript has JavaScript's, which has the types.
    pub fn vendored_at(self) -> &'static str {
        match self {
            Self::Rust => "sdk/rust",
            Self::Python => "python",
            Self::JavaScript | Self::TypeScript => "javascript",
        }
    }
}

/// The name of a new plugin: `team/name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginName {
    pub team: String,
    pub name: String,
}

impl std::str::FromStr for PluginName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((team, name)) = text.split_once('/') else {
            return Err(format!(
                "`{text}`: a plugin is named like `team/name`; write whose it is too: `my-team/{text}`"
            ));
        };
        for part in [team, name] {
            let is_word = part.starts_with(|first: char| first.is_ascii_lowercase())
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
                && !part.ends_with('-')
                && !part.contains("--");
            if !is_word || part.len() > NAME_BYTES_MAX {
                return Err(format!(
                    "`{text}`: a plugin is named like `team/name`: small letters, digits and single hyphens, each part at \
                     most {NAME_BYTES_MAX} bytes"
                ));
            }
        }
        Ok(Self { team: team.to_owned(), name: name.to_owned() })
    }
}

impl PluginName {
    /// `ship-it` becomes `ShipIt`.
    fn provider(&self) -> String {
        self.name.split('-').map(capital).collect()
    }
}

fn capital(word: &str) -> String {
    word[..1].to_ascii_uppercase() + &word[1..]
}

/// The files of a new plugin by their paths in its folder.
///
/// # Errors
/// There is no template of this kind in this language; the text names those that there are.
pub fn files(name: &PluginName, kind: Kind, language: Language) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let template = |part: &str| format!("sdk/template/{}/{part}/", language.name());
    let own = below(&template(kind.name()));
    if own.is_empty() {
        let all = template("");
        let all = all.trim_end_matches('/');
        let kinds: std::collections::BTreeSet<&str> = pipewright_bundle::KIT
            .iter()
            .filter_map(|(path, _)| path.strip_prefix(all)?.strip_prefix('/')?.split('/').next())
            .filter(|kind| *kind != "common")
            .collect();
        let kinds = kinds.into_iter().collect::<Vec<_>>().join(", ");
        anyhow::bail!("there is no template for {} in {}; there are {kinds}", kind.name(), language.name());
    }
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (path, content) in below(&template("common")).into_iter().chain(own) {
        files.insert(path.replace("dot_", "."), filled(content, name, kind));
    }
    files.extend(vendored(language)?.into_iter().map(|(path, content)| (format!("{VENDOR}/{path}"), content)));
    Ok(files)
}

/// The SDK and the interface, by their paths in the folder [`VENDOR`].
///
/// # Errors
/// This program was built wrong.
pub fn vendored(language: Language) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = match language {
        Language::Rust => vendored_rust()?,
        Language::Python | Language::JavaScript | Language::TypeScript => {
            let place = language.vendored_at();
            let placed = |(path, content): (&str, &[u8])| (format!("{place}/{path}"), content.to_vec());
            below(&format!("sdk/{place}/")).into_iter().map(placed).collect()
        }
    };
    // The crate is built with the interface that lies in it.
    let wit = if language == Language::Rust { "sdk/rust/wit" } else { "wit" };
    files.extend(below("wit/").into_iter().map(|(path, content)| (format!("{wit}/{path}"), content.to_vec())));
    Ok(files)
}

/// The files of this repository below a folder, by their paths in it.
fn below(folder: &str) -> Vec<(&'static str, &'static [u8])> {
    let in_folder = |(path, content): &(&'static str, &'static [u8])| Some((path.strip_prefix(folder)?, *content));
    pipewright_bundle::KIT.iter().filter_map(in_folder).collect()
}

fn filled(content: &[u8], name: &PluginName, kind: Kind) -> Vec<u8> {
    // A template is text.
    let text = String::from_utf8_lossy(content);
    let (category, provider) = (capital(kind.name()), name.provider());
    let article = if kind.name().starts_with(['a', 'i']) { "An" } else { "A" };
    let names = [
        ("{{name}}", name.name.clone()),
        ("{{plugin}}", format!("{}/{}", name.team, name.name)),
        ("{{description}}", format!("{article} {} plugin.", kind.name())),
        ("{{type}}", format!("{category}/Custom/{provider}/1")),
        ("{{kind}}", kind.name().to_owned()),
        ("{{place}}", kind.place().to_owned()),
        ("{{snippet}}", kind.snippet(&provider)),
        ("{{category}}", category),
        ("{{provider}}", provider),
    ];
    names.iter().fold(text.into_owned(), |text, (place, name)| text.replace(place, name)).into_bytes()
}

/// The crates of the SDK, each with a manifest that stands by itself.
fn vendored_rust() -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let text = |path: &str| -> anyhow::Result<Table> {
        let (_, content) = pipewright_bundle::KIT.iter().find(|(found, _)| *found == path).context(path.to_owned())?;
        Ok(toml::from_str(std::str::from_utf8(content)?)?)
    };
    let workspace = text("Cargo.toml")?;
    let mut files = BTreeMap::new();
    for (path, content) in below("sdk/rust/") {
        let content = match path.ends_with("Cargo.toml") {
            true => toml::to_string(&alone(text(&format!("sdk/rust/{path}"))?, &workspace)).map(String::into_bytes)?,
            false => content.to_vec(),
        };
        files.insert(format!("sdk/rust/{path}"), content);
    }
    Ok(files)
}

/// A manifest with what it has from its workspace written out, and without what only this project's own tests need.
fn alone(mut manifest: Table, workspace: &Table) -> Table {
    manifest.remove("dev-dependencies");
    manifest.remove("lints");
    write_out(manifest.get_mut("package"), workspace, "package");
    write_out(manifest.get_mut("dependencies"), workspace, "dependencies");
    let platforms = manifest.get_mut("target").and_then(Value::as_table_mut);
    for (_, platform) in platforms.into_iter().flatten() {
        write_out(platform.get_mut("dependencies"), workspace, "dependencies");
    }
    manifest
}

/// A section with what the workspace's section of that name says.
fn write_out(section: Option<&mut Value>, workspace: &Table, name: &str) {
    let shared = workspace.get("workspace").and_then(|workspace| workspace.get(name));
    for (key, value) in section.and_then(Value::as_table_mut).into_iter().flatten() {
        if value.get("workspace").is_some()
            && let Some(shared) = shared.and_then(|shared| shared.get(key.as_str()))
        {
            *value = shared.clone();
        }
        // Paths begin at the workspace; the one crate that is meant lies in the SDK's own folder.
        if let Some(path) = value.get_mut("path") {
            let below = path.as_str().and_then(|path| path.strip_prefix("sdk/rust/")).unwrap_or_default().to_owned();
            *path = Value::String(below);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_team_and_a_word() {
        let check = |text: &str, expected: Option<(&str, &str, &str)>| {
            let found = text.parse::<PluginName>().ok().map(|name| {
                let provider = name.provider();
                (name.team, name.name, provider)
            });
            let expected =
                expected.map(|(team, name, provider)| (team.to_owned(), name.to_owned(), provider.to_owned()));
            assert_eq!(found, expected, "{text}");
        };
        check("acme/ship-it", Some(("acme", "ship-it", "ShipIt")));
        check("acme/s3", Some(("acme", "s3", "S3")));
        for wrong in [
            "",
            "/",
            "ship-it",
            "acme/",
            "Acme/ship",
            "acme/ship_it",
            "acme/-it",
            "acme/it-",
            "a/a--b",
            "a/1st",
            "a/b/c",
            "../x",
        ] {
            check(wrong, None);
        }
        check(&format!("acme/{}", "x".repeat(NAME_BYTES_MAX + 1)), None);
    }

    /// Whatever is offered to choose has a template, with every name filled in.
    #[test]
    fn every_kind_has_a_template() {
        let name: PluginName = "acme/ship-it".parse().expect("a name");
        let check = |language: Language, wanted: &[&str]| {
            for kind in <Kind as clap::ValueEnum>::value_variants() {
                let files = files(&name, *kind, language).expect("a template");
                for wanted in [wanted, &["README.md", ".gitignore"]].concat() {
                    assert!(files.contains_key(wanted), "{language:?} {kind:?}: {wanted}");
                }
                assert!(files.keys().any(|path| path.starts_with("cases/")), "{language:?} {kind:?}");
                for (path, content) in files.iter().filter(|(path, _)| !path.starts_with(VENDOR)) {
                    let text = String::from_utf8_lossy(content);
                    assert!(!text.contains("{{"), "{language:?} {kind:?}: {path}:\n{text}");
                }
            }
        };
        check(Language::Rust, &["Cargo.toml", "src/lib.rs", "pipewright/sdk/rust/Cargo.toml"]);
        check(Language::Python, &["pyproject.toml", "src/plugin.py", "tests/test_plugin.py"]);
        let layer = "pipewright/javascript/pipewright.js";
        let test = "test/plugin.test.mjs";
        check(Language::JavaScript, &["package.json", "src/plugin.js", test, layer]);
        check(Language::TypeScript, &["package.json", "tsconfig.json", "src/plugin.ts", test, layer]);
    }

    /// Outside of this repository there is no workspace.
    #[test]
    fn the_vendored_crates_stand_by_themselves() {
        let files = vendored(Language::Rust).expect("the SDK");
        let manifest = String::from_utf8_lossy(&files["sdk/rust/Cargo.toml"]);
        assert!(!manifest.contains("workspace"), "{manifest}");
        assert!(manifest.contains("path = \"macros\""), "{manifest}");
    }

    /// What lies in it goes into every plugin's folder.
    #[test]
    fn what_a_tool_made_is_not_in_the_kit() {
        let made = |path: &&String| {
            path.contains("__pycache__")
                || path.contains(".egg-info")
                || path.ends_with(".pyc")
                || path.contains("node_modules")
        };
        let paths: Vec<String> = pipewright_bundle::KIT.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(paths.iter().find(made), None);
    }
}
