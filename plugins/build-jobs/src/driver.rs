//! Owns the scripts of a job: commands one after the other, each in a shell of its own, for as long as each succeeds. What comes
//! after a failure is decided elsewhere, in the next call.
//!
//! A shell finds the working directory and the variables of the one before it, exported or not, and nothing else of it: as
//! `pipewright_buildspec::Session` has it from one job to the next. Only what runs in the background, `/tmp` and what a
//! program changed of its image belong to the job, and so to all of its commands.
//!
//! No secret lies in a file between two shells: what is kept is without them, and each shell is given them anew through a pipe.
//! So a command that changes one changes it for itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use pipewright_buildspec::{ENVIRONMENT_FILE, SCRIPT_FILE, is_shell_name, quoted};
use pipewright_sdk::prelude::*;

pub(crate) const DRIVER_FILE: &str = "driver.sh";
/// What stands around each command.
const AROUND_FILE: &str = "around.sh";
/// The exit statuses of the commands that have ended, a line each.
pub(crate) const EXITS_FILE: &str = "exits";
/// What a shell restores the variables from; they are quoted by the shell that wrote it.
pub(crate) const VARIABLES_FILE: &str = "variables.sh";
const FRESH_FILE: &str = "fresh";
pub(crate) const DIRECTORY_FILE: &str = pipewright_buildspec::DIRECTORY_FILE;

/// One command, and the lines of the log that are due before it.
pub(crate) struct Step {
    pub script: String,
    pub log: String,
}

/// Writes what a job runs into `folder`, which the job finds at `at`. `directory` is where the first command begins.
pub(crate) fn write(
    folder: &Path,
    at: &str,
    steps: &[Step],
    directory: &str,
    environment: &BTreeMap<String, String>,
    secrets: &[&str],
) -> Result<()> {
    for name in [EXITS_FILE, VARIABLES_FILE, ENVIRONMENT_FILE] {
        fs::write(folder.join(name), "")?;
    }
    fs::write(folder.join(DIRECTORY_FILE), format!("{directory}\n"))?;
    for (step, number) in steps.iter().zip(1..) {
        fs::write(folder.join(format!("{number}.sh")), &step.script)?;
        fs::write(folder.join(format!("{number}.log")), &step.log)?;
    }
    fs::write(folder.join(DRIVER_FILE), driver(at, steps.len(), environment, secrets))?;
    fs::write(folder.join(AROUND_FILE), around(at, secrets))?;
    Ok(())
}

/// Its first argument is the shell. `tell` writes the secrets as assignments; values with blanks and line breaks are quoted by
/// `sed`, which only ever sees them on its standard input, and `printf` is of the shell: nothing has them as an argument.
fn driver(at: &str, count: usize, environment: &BTreeMap<String, String>, secrets: &[&str]) -> String {
    // A shell does not hand on names that it cannot spell.
    let mut besides = String::new();
    for (name, value) in environment.iter().filter(|(name, _)| !is_shell_name(name)) {
        let _ = write!(besides, " {}", quoted(&format!("{name}={value}")));
    }
    let mut tell = String::new();
    for name in secrets {
        let _ = writeln!(
            tell,
            r#"    printf '%s' "export {name}='"; printf %s "${{{name}-}}" | command -p sed "s/'/'\\\\''/g"; printf "'\n""#
        );
    }
    format!(
        "tell() {{
    :
{tell}}}
cd -- {at} || exit 1
number=1
while [ \"$number\" -le {count} ]; do
    cat \"$number.log\"
    cat \"$number.sh\" >|{SCRIPT_FILE}
    if [ -s {VARIABLES_FILE} ]; then
        {{ tell | env -i PATH=\"$PATH\"{besides} \"$1\" {AROUND_FILE} 3<&0 <&4 4<&-; }} 4<&0
    else
        \"$1\" {AROUND_FILE}
    fi
    status=$?
    echo \"$status\" >>{EXITS_FILE}
    [ \"$status\" = 0 ] || exit \"$status\"
    number=$((number + 1))
done
",
        at = quoted(at),
    )
}

/// Restores, goes to the directory, runs the command as a file, so that nothing in it can swallow what follows, and keeps. A
/// command that ends the shell (`exit`, `set -e`) comes to the trap; one that sets a trap of its own comes to the end. `set --`
/// takes a value without a variable.
fn around(at: &str, secrets: &[&str]) -> String {
    let file = |name: &str| quoted(&format!("{at}/{name}"));
    let (variables, fresh, directory) = (file(VARIABLES_FILE), file(FRESH_FILE), file(DIRECTORY_FILE));
    let keep = format!(
        "{{ set +aefux -- \"$?\"; }} 2>/dev/null; [ -s {fresh} ] || {{ command pwd >|{directory} && \
         (: {unset} && export -p >|{variables} && command -p env -0 >|{environment}) && echo kept >|{fresh}; }}; exit \"$1\"",
        environment = file(ENVIRONMENT_FILE),
        unset = if secrets.is_empty() { String::new() } else { format!("&& unset {}", secrets.join(" ")) },
    );
    format!(
        "if [ -s {variables} ]; then
    . {variables}
    eval \"$(cat <&3)\"
    exec 3<&-
    unset IFS OPTARG OPTERR
    OPTIND=1
    CODEBUILD_LAST_EXIT=0
fi
: >|{fresh}
set -- \"${{OLDPWD-}}\"
cd -- \"$(cat {directory})\" || exit 1
OLDPWD=$1
set --
trap {trap} EXIT
set -a
. {script}
{keep}
",
        trap = quoted(&keep),
        script = file(SCRIPT_FILE),
    )
}
