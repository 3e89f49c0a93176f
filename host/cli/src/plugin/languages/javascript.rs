//! Plugins in JavaScript and TypeScript: what checks a folder with a `package.json`, and makes a component of it. Must not know
//! what is done with the component.

use tokio::process::Command as Process;

use super::COMPONENT;

/// What to do where Node.js is missing.
const INSTALL: &str = "install Node.js 20 or newer from https://nodejs.org, or with the packages of your system";

/// Says within a second, in the tools' own words and without a build, what is wrong with a plugin: whether its exit code is 0.
/// It compiles TypeScript, bundles, and loads the module with a stand-in of the host.
pub(super) fn check() -> Process {
    let mut check = Process::new("node");
    check.arg("pipewright/javascript/check.mjs");
    check
}

/// The folder's own script knows the rest, and says if `npm install` is missing.
pub(super) fn tool() -> (Process, String) {
    let mut tool = Process::new("node");
    tool.args(["pipewright/javascript/build.mjs", COMPONENT]);
    (tool, INSTALL.to_owned())
}
