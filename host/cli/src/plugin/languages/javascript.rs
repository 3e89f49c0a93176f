//! Plugins in JavaScript: what makes a component of a folder with a `package.json`. Must not know what is done with it.

use tokio::process::Command as Process;

use super::COMPONENT;

/// The folder's own script knows the rest, and says if `npm install` is missing.
pub(super) fn tool() -> (Process, String) {
    let mut tool = Process::new("node");
    tool.args(["pipewright/javascript/build.mjs", COMPONENT]);
    (tool, "install Node.js 20 or newer from https://nodejs.org, or with the packages of your system".to_owned())
}
