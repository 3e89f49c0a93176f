//! Owns what is kept from one command to the next, and the text that a shell is given to keep it. Knows nothing of phases,
//! and runs nothing.
//!
//! As CodeBuild was observed, whatever its documentation says of one shell: each entry of a list runs in a shell of its own,
//! and finds the working directory and the variables of the last one, exported or not (as under `set -a`). Arrays,
//! functions, aliases, traps and options do not come along. So a command is a file of its own, which the shell reads; at its
//! end the shell writes its directory and its environment beside it, where the host's side reads them: the next shell is
//! given them as its own. Values never become the text of a script.

use std::collections::BTreeMap;

use crate::build::Run;
use crate::model::Shell;
use crate::texts::is_shell_name;

/// Against a command that fills its environment; a kernel gives a program about 2 MiB of one.
pub const ENVIRONMENT_BYTES_MAX: usize = 1 << 20;

/// What a shell writes itself, or reads from its environment when it starts and should not.
const NOT_KEPT: &[&str] = &["_", "IFS", "LINENO", "OPTARG", "OPTERR", "OPTIND", "SHLVL"];

/// The files of a command, in one folder that the shell can write and the source does not have.
pub const SCRIPT_FILE: &str = "script.sh";
pub const ENVIRONMENT_FILE: &str = "environment";
pub const DIRECTORY_FILE: &str = "directory";
/// What an `evaluation` gave.
pub const VALUE_FILE: &str = "value";

/// What the commands of a build share. Values may be secret: nothing here shows itself for debugging.
#[derive(Clone)]
pub struct Session {
    /// Where the files are, absolute.
    folder: String,
    directory: String,
    environment: BTreeMap<String, String>,
}

/// What is to be run, once `script` is written to the folder's `SCRIPT_FILE`; as which user, the `Run` says.
#[derive(Clone, PartialEq, Eq)]
pub struct Invocation {
    pub program: Vec<String>,
    pub script: String,
    /// The whole of it.
    pub environment: Vec<(String, String)>,
}

impl Session {
    /// `folder` and `directory` are absolute, as the commands see them; the first command begins in `directory`.
    pub fn new(folder: &str, directory: &str, environment: BTreeMap<String, String>) -> Self {
        Self { folder: folder.to_owned(), directory: directory.to_owned(), environment }
    }

    pub fn directory(&self) -> &str {
        &self.directory
    }

    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    pub fn invocation(&self, run: &Run) -> Invocation {
        let mut environment = self.environment.clone();
        environment.insert("CODEBUILD_BUILD_SUCCEEDING".to_owned(), u8::from(run.is_succeeding).to_string());
        environment.insert("CODEBUILD_LAST_EXIT".to_owned(), run.last_exit.to_string());
        self.with(run.shell, run.command.text.clone(), environment)
    }

    /// Writes `text` as the shell expands it (`app-$(date +%F)`) to the folder's `VALUE_FILE`, for `checked_name`.
    pub fn evaluation(&self, shell: Shell, text: &str) -> Invocation {
        let value = quoted(&format!("{}/{VALUE_FILE}", self.folder));
        let mut end = String::from("END");
        while text.contains(&end) {
            end.push('_');
        }
        // In a here-document quotes are text, and the shell expands what it does in double quotes. The empty line is for a
        // text that ends with a backslash.
        self.with(shell, format!("cat >{value} <<{end}\n{text}\n\n{end}\n"), self.environment.clone())
    }

    fn with(&self, shell: Shell, mut script: String, environment: BTreeMap<String, String>) -> Invocation {
        if !script.ends_with('\n') {
            script.push('\n');
        }
        let program = vec![shell.program().to_owned(), "-c".to_owned(), self.driver()];
        Invocation { program, script, environment: environment.into_iter().collect() }
    }

    /// What surrounds a command: it goes where the last one stayed, reads the command as a file, so that nothing in it can
    /// swallow what follows, and writes down what is to be kept. A command that ends the shell (`exit`, `set -e`) comes to
    /// the trap; one that sets a trap of its own comes to the end. `set --` takes a value without a variable.
    fn driver(&self) -> String {
        let file = |name: &str| quoted(&format!("{}/{name}", self.folder));
        let (script, environment, directory) = (file(SCRIPT_FILE), file(ENVIRONMENT_FILE), file(DIRECTORY_FILE));
        let keep = format!(
            "{{ set +aefux -- \"$?\"; }} 2>/dev/null; [ -s {environment} ] || \
             {{ command pwd >|{directory} && command -p env -0 >|{environment}; }}"
        );
        format!(
            ": >{environment}; set -- \"${{OLDPWD-}}\"; cd -- {there} || exit 1; OLDPWD=$1; set --; \
             trap {trap} EXIT; set -a; . {script}\n{keep}; exit \"$1\"\n",
            there = quoted(&self.directory),
            trap = quoted(&format!("{keep}; exit \"$1\"")),
        )
    }

    /// Takes over what a command left in the folder's files, and gives warnings. A command whose shell did not come to its
    /// end left nothing, and the next one finds what it found.
    pub fn keep(&mut self, environment: &[u8], directory: &[u8]) -> Vec<String> {
        if environment.is_empty() {
            return Vec::new();
        }
        if environment.len() > ENVIRONMENT_BYTES_MAX {
            return vec![format!(
                "The environment has {} bytes, and {ENVIRONMENT_BYTES_MAX} is the most: what this command set is lost",
                environment.len()
            )];
        }
        let mut warnings = Vec::new();
        match std::str::from_utf8(directory) {
            Ok(text) => self.directory = text.strip_suffix('\n').unwrap_or(text).to_owned(),
            Err(_) => {
                warnings.push("The working directory's name is not UTF-8: the next command begins elsewhere".to_owned())
            }
        }
        // A shell does not see names that it cannot spell, and does not hand them on.
        let mut kept: BTreeMap<String, String> = std::mem::take(&mut self.environment);
        kept.retain(|name, _| !is_shell_name(name));
        for pair in environment.split(|byte| *byte == 0).filter(|pair| !pair.is_empty()) {
            let Ok(pair) = std::str::from_utf8(pair) else {
                let name = String::from_utf8_lossy(pair.split(|byte| *byte == b'=').next().unwrap_or_default());
                warnings.push(format!("The value of {name} is not UTF-8: it is not kept"));
                continue;
            };
            let Some((name, value)) = pair.split_once('=') else { continue };
            // Functions of bash are named with `%%`.
            if !NOT_KEPT.contains(&name) && !name.contains('%') {
                kept.insert(name.to_owned(), value.to_owned());
            }
        }
        self.environment = kept;
        warnings
    }
}

/// The text as one word of a shell.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// What an expanded `artifacts: name` or cache key may be. `value` is what an evaluation gave.
pub fn checked_name(value: &str) -> Result<String, String> {
    let name = value.trim_end_matches('\n');
    let escapes = name.split('/').any(|part| part == "..");
    let mend = "write a relative path without `..`, or `/` alone";
    if name != "/" && (name.starts_with('/') || escapes) {
        return Err(format!("the name `{name}` leaves its place: {mend}"));
    }
    if name.is_empty() || name.contains('\n') {
        return Err(format!("the name `{name}` is empty or has several lines: {mend}"));
    }
    Ok(name.to_owned())
}
