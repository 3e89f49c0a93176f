//! Owns which command-line tools an action has by the packages of its account.

use std::collections::BTreeMap;
use std::sync::Arc;

use pipewright_base::Digest;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::all;
use pipewright_sandbox::FindTool;

use super::SandboxActions;

/// Begins the name in `Start::pins` under which an execution keeps the digest of a tool.
const PIN: &str = "tool/";

/// What a start of a pipeline holds on to: the tools that its settings name, whatever they are for.
pub(super) fn pins(
    installed: &BTreeMap<String, Digest>,
    declaration: &PipelineDeclaration,
) -> impl Iterator<Item = (String, String)> {
    let settings = all(declaration).filter_map(|placed| placed.declared.configuration()).flat_map(BTreeMap::values);
    settings.filter_map(|name| Some((format!("{PIN}{name}"), installed.get(name)?.to_string())))
}

impl SandboxActions {
    /// Those that an execution holds on to, and of others those that its account has installed now.
    pub(super) fn tools(&self, account: u64, pins: &BTreeMap<String, String>) -> FindTool {
        let blobs = Arc::clone(self.plugins.kept()?);
        let mut tools = self.plugins.tools(account);
        let pinned =
            |(name, digest): (&String, &String)| Some((name.strip_prefix(PIN)?.to_owned(), digest.parse().ok()?));
        tools.extend(pins.iter().filter_map(pinned));
        Some(Arc::new(move |package| match tools.get(package) {
            Some(digest) => Ok((*digest, Arc::clone(&blobs))),
            None => Err(missing(package, &tools)),
        }))
    }
}

fn missing(package: &str, tools: &BTreeMap<String, Digest>) -> String {
    let name = package.split('@').next().unwrap_or_default();
    let others: Vec<&str> = tools.keys().filter_map(|tool| tool.strip_prefix(name)?.strip_prefix('@')).collect();
    let there = match &others[..] {
        [] => String::new(),
        others => format!(", but for version {}", others.join(", ")),
    };
    format!("no tool {package} is installed{there}; name it as team/name@1.2.3, as `pipewright plugin list` shows it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_missing_is_told_with_the_versions_that_are_there() {
        let tools = ["a/lint@1.0.0", "a/lint@2.0.0", "a/linter@3.0.0"].map(|name| (name.to_owned(), Digest::of(b"")));
        let tools = BTreeMap::from(tools);
        let check = |package: &str, told: &str| {
            assert!(missing(package, &tools).contains(told), "{}", missing(package, &tools))
        };
        check("a/lint@1.1.0", "no tool a/lint@1.1.0 is installed, but for version 1.0.0, 2.0.0;");
        check("a/lint", "no tool a/lint is installed, but for version 1.0.0, 2.0.0;");
        check("b/lint@1.0.0", "no tool b/lint@1.0.0 is installed;");
    }
}
