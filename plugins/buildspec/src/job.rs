//! Owns the scripts of a job: commands one after the other, each in a shell of its own, for as long as each succeeds. Knows
//! nothing of phases, and runs nothing.
//!
//! A shell finds the working directory and the variables of the one before it, exported or not, and nothing else of it: no
//! arrays, functions, aliases, traps or options. Only what runs in the background, `/tmp` and what a program changed of its
//! image belong to the job, and so to all of its commands. Nothing but the shells themselves is started where it can be
//! helped: most builds are short commands.
//!
//! No secret lies in a file between two shells: what is kept is without them, and each shell is given them anew through a pipe.
//! So a command that changes one changes it for itself.

use std::fmt::Write as _;

use crate::model::Shell;
use crate::shell::{Session, quoted};
use crate::texts::is_shell_name;

/// Files of the folder that a job leaves: the exit statuses of the commands that have ended, a line each; the variables, by
/// which a shell can restore them; the working directory; and what an expanded text came to.
const EXITS_FILE: &str = "exits";
const VARIABLES_FILE: &str = "variables.sh";
const DIRECTORY_FILE: &str = "directory";
const VALUE_FILE: &str = "value";
const DRIVER_FILE: &str = "driver.sh";

const EXITS_BYTES_MAX: usize = 64 << 10;
const PATH_BYTES_MAX: usize = 64 << 10;
/// Against a command that fills its environment; a kernel gives a program about 2 MiB of one. Quotes take some more.
const VARIABLES_BYTES_MAX: usize = 2 << 20;

/// One command, and the lines of the log that are due before it.
pub(crate) struct Step {
    pub script: String,
    pub log: String,
}

/// What is run as one. `files` are written to the session's folder first, by their names there.
#[derive(Clone, PartialEq, Eq)]
pub struct Job {
    pub arguments: Vec<String>,
    /// The whole of it.
    pub environment: Vec<(String, String)>,
    pub files: Vec<(String, String)>,
    /// How many commands it has.
    pub count: usize,
    /// Whether it leaves anything: one command that nothing comes after does not.
    pub leaves: bool,
}

/// What a job left in the folder. Values may be secret.
#[derive(Default)]
pub struct Left {
    pub(crate) exits: Vec<u8>,
    pub(crate) variables: Vec<u8>,
    pub(crate) directory: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Left {
    /// Has `taken` read each file of the folder, but no more than so many bytes of it, and remove it: the next job begins
    /// without them, and some hold secrets.
    ///
    /// # Errors
    /// Those of `taken`. A file that is not there is empty.
    pub fn take<E>(mut taken: impl FnMut(&str, usize) -> Result<Vec<u8>, E>) -> Result<Self, E> {
        Ok(Self {
            exits: taken(EXITS_FILE, EXITS_BYTES_MAX)?,
            // With a byte more than there may be.
            variables: taken(VARIABLES_FILE, VARIABLES_BYTES_MAX + 1)?,
            directory: taken(DIRECTORY_FILE, PATH_BYTES_MAX)?,
            value: taken(VALUE_FILE, PATH_BYTES_MAX)?,
        })
    }

    pub(crate) fn is_too_large(&self) -> bool {
        self.variables.len() > VARIABLES_BYTES_MAX
    }
}

/// The script that puts `text` as the shell expands it (`app-$(date +%F)`) where `Left::value` is from.
pub(crate) fn expansion(session: &Session, text: &str) -> String {
    let mut end = String::from("END");
    while text.contains(&end) {
        end.push('_');
    }
    // In a here-document quotes are text, and the shell expands what it does in double quotes. The empty line is for a text
    // that ends with a backslash.
    format!("cat >|{} <<{end}\n{text}\n\n{end}\n", quoted(&session.file(VALUE_FILE)))
}

/// `is_succeeding` and `last_exit` are what the first command is told; `is_read` says whether anybody asks for what the last one
/// left.
pub(crate) fn job(
    session: &Session,
    shell: Shell,
    steps: &[Step],
    is_read: bool,
    is_succeeding: bool,
    last_exit: i32,
) -> Job {
    let mut environment = session.environment().clone();
    let succeeding = u8::from(is_succeeding);
    environment.insert("CODEBUILD_BUILD_SUCCEEDING".to_owned(), succeeding.to_string());
    environment.insert("CODEBUILD_LAST_EXIT".to_owned(), last_exit.to_string());
    let leaves = is_read || steps.len() > 1;
    let run = if leaves { around(session, succeeding) } else { alone(session) };
    let driver = format!("{}{run}", begin(session, shell, steps));
    let scripts = steps.iter().zip(1..).map(|(step, number)| {
        let end = if step.script.ends_with('\n') { "" } else { "\n" };
        (format!("{number}.sh"), format!("{}{end}", step.script))
    });
    let program = match shell {
        // Also where the build has a PATH of its own.
        Shell::Sh => "/bin/sh",
        Shell::Bash => shell.program(),
    };
    Job {
        arguments: vec![program.to_owned(), session.file(DRIVER_FILE)],
        environment: environment.into_iter().collect(),
        files: [(DRIVER_FILE.to_owned(), driver)].into_iter().chain(scripts).collect(),
        count: steps.len(),
        leaves,
    }
}

/// Without an argument the script is the job. One command runs in the job's own shell; several run by the same script, with
/// their number as its argument. What this shell would say of one that a signal ended is not of the build.
fn begin(session: &Session, shell: Shell, steps: &[Step]) -> String {
    let file = |name: &str| quoted(&session.file(name));
    if let [only] = steps {
        return format!("printf %s {}\nset -- 1\n", quoted(&only.log));
    }
    // A shell does not hand on names that it cannot spell.
    let mut besides = String::new();
    for (name, value) in session.environment().iter().filter(|(name, _)| !is_shell_name(name)) {
        let _ = write!(besides, " {}", quoted(&format!("{name}={value}")));
    }
    let program = match shell {
        Shell::Sh => "/bin/sh",
        Shell::Bash => "\"$BASH\"",
    };
    let restored = format!("command -p env -i{besides} {program} {} \"$1\" 2>&3 3>&-", file(DRIVER_FILE));
    let (tell, restored) = match told(session) {
        None => (String::new(), format!("({restored})")),
        // The build's own standard input goes around the pipe.
        Some(told) => (format!("tell() {{\n{told}}}\n"), format!("{{ tell | {restored} 4<&0 <&5 5<&-; }} 5<&0")),
    };
    let mut text = format!(
        "if [ \"$#\" = 0 ]; then
exec 3>&2 2>/dev/null
{tell}step() {{
    printf %s \"$2\"
    if [ -s {variables} ]; then
        {restored}
    else
        {program} {driver} \"$1\" 2>&3 3>&-
    fi
    set -- \"$?\"
    echo \"$1\" >>{exits}
    [ \"$1\" = 0 ] || exit \"$1\"
}}
",
        variables = file(VARIABLES_FILE),
        driver = file(DRIVER_FILE),
        exits = file(EXITS_FILE),
    );
    for (step, number) in steps.iter().zip(1..) {
        let _ = writeln!(text, "step {number} {}", quoted(&step.log));
    }
    text + "exit 0\nfi\n"
}

/// Writes the secrets as assignments, where there are any. Values with blanks and line breaks are quoted by `sed`, which only
/// ever sees them on its standard input, and `printf` is of the shell: nothing has them as an argument.
fn told(session: &Session) -> Option<String> {
    let mut told = String::new();
    for name in session.secrets() {
        let _ = writeln!(
            told,
            r#"    printf '%s' "export {name}='"; printf %s "${{{name}-}}" | command -p sed "s/'/'\\\\''/g"; printf "'\n""#
        );
    }
    (!told.is_empty()).then_some(told)
}

/// Restores, goes to the directory, runs the command as a file, so that nothing in it can swallow what follows, and keeps. A
/// command that ends the shell (`exit`, `set -e`) comes to the trap; one that sets a trap of its own comes to the end.
/// Arguments take values without a variable.
fn around(session: &Session, succeeding: u8) -> String {
    let file = |name: &str| quoted(&session.file(name));
    let (variables, directory) = (file(VARIABLES_FILE), file(DIRECTORY_FILE));
    let keep = keep(session);
    let hear = match session.secrets().next() {
        None => "",
        Some(_) => "    eval \"$(command -p cat <&4)\"\n    exec 4<&-\n",
    };
    format!(
        "set -- \"$1\" {first}
if [ -s {variables} ]; then
    IFS= read -r PIPEWRIGHT_LINE <{directory}
    set -- \"$1\" \"$PIPEWRIGHT_LINE\"
    unset PIPEWRIGHT_LINE
    . {variables}
{hear}    unset IFS OPTARG OPTERR
    OPTIND=1
    export CODEBUILD_LAST_EXIT=0 CODEBUILD_BUILD_SUCCEEDING={succeeding}
fi
{go}trap {trap} EXIT
{run}{keep}
",
        first = quoted(session.directory()),
        go = GO,
        trap = quoted(&keep),
        run = run(session),
    )
}

/// The same with one command that leaves nothing.
fn alone(session: &Session) -> String {
    format!("set -- \"$1\" {first}\n{GO}{run}", first = quoted(session.directory()), run = run(session))
}

/// To the directory; a command finds the last one as it was.
const GO: &str = "set -- \"$1\" \"$2\" \"${OLDPWD-}\"
cd -- \"$2\" || exit 1
OLDPWD=$3
";

fn run(session: &Session) -> String {
    let command = quoted(&format!("set --; . {}", quoted(&session.file(""))));
    format!("set -a\neval {command}\"$1.sh\"\n")
}

/// Writes down what the next shell finds, once: the trap comes after the end. bash has the names of variables with arrays
/// among them, and quotes what `export -p` of another shell does by itself.
fn keep(session: &Session) -> String {
    let file = |name: &str| quoted(&session.file(name));
    let of_bash = format!(
        "compgen -e >|{names}
while IFS= read -r PIPEWRIGHT_LINE; do
    case $PIPEWRIGHT_LINE:${{!PIPEWRIGHT_LINE@a}} in
    BASHOPTS:* | SHELLOPTS:* | *:*[aA]*) ;;
    *) builtin printf \"export %s=%q\\n\" \"$PIPEWRIGHT_LINE\" \"${{!PIPEWRIGHT_LINE}}\" ;;
    esac
done <{names}",
        names = file("names"),
    );
    // In a shell of its own, for the command's trap may still want them.
    let secrets: Vec<&str> = session.secrets().collect();
    let (begin, end) = match secrets.as_slice() {
        [] => (String::new(), ""),
        secrets => (format!("(unset {} && ", secrets.join(" ")), ")"),
    };
    format!(
        "{{ set +aefux -- \"$?\" \"${{2-}}\"; }} 2>/dev/null
[ \"$2\" = kept ] || {{
    command pwd >|{directory}
    {begin}if [ \"${{BASH_VERSION-}}\" ]; then eval {of_bash}; else export -p; fi{end} >|{variables}
}}
set -- \"$1\" kept
exit \"$1\"",
        directory = file(DIRECTORY_FILE),
        variables = file(VARIABLES_FILE),
        of_bash = quoted(&of_bash),
    )
}
