//! Programs of the host's machine, which run apart from it, while no call of the plugin does.
//!
//! Owns what is granted and asked of them, and the check of a job. A call only says what is to run: the job is in its
//! `CallEnd`, for whoever made the call to run. Must not know how a program is run.

mod grant;
mod started;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pipewright_text::first_bytes;
use serde::{Deserialize, Serialize};
use wasmtime::component::HasSelf;

use super::http::Connector;
use super::secrets::{SecretGrant, give};
use super::{Exchange, Setup};
use crate::bindings::pipewright::plugin::commands as abi;
use crate::grants::{SecretValue, stays_below};
use crate::outside::Exchanged;
use crate::seam::{Denied, HostCallOutcome, Seam};
use crate::state::State;

pub use self::grant::{CommandsGrant, Isolation, Programs};
pub use self::started::{Output, Started};
/// How a program ended, as the plugin is told.
pub use crate::bindings::pipewright::plugin::commands::End as Ended;

pub(super) const COMMANDS: &str = "commands";

/// Stops a word that the kernel would refuse anyway (`MAX_ARG_STRLEN`).
const WORD_BYTES_MAX: usize = 128 << 10;
/// Of arguments and environment together. Stops a job that fills the journal's and the runner's memory; kernels take about twice as much.
const JOB_BYTES_MAX: usize = 1 << 20;
/// Stops a great many empty words.
const WORDS_MAX: usize = 20_000;
/// Programs write more, and in more ways, than requests answer: a shorter secret is not given to one, for its mask would stand
/// where no secret is, and a part of it in another form would be found by nobody.
pub const SECRET_CHARS_MIN: usize = 8;
/// Stops a job whose order would be longer than the keeper takes.
const SECRET_FILES_MAX: usize = 32;
/// How much of a command line the journal has.
const SHOWN_BYTES_MAX: usize = 1 << 10;

/// What is to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Job {
    pub arguments: Vec<String>,
    /// Below the scratch.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub directory: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// The names of secrets, of stored ones also with a key and a version, by those of the variables that they are given in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// The same, by those of the variables that have the path of a file with the value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secret_files: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub network: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_seconds: Option<u32>,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the program `{}`", self.in_short())
    }
}

impl Job {
    /// The command line, as far as it is shown.
    pub fn in_short(&self) -> String {
        first_bytes(&self.arguments.join(" "), SHOWN_BYTES_MAX).to_owned()
    }

    fn of(job: abi::Job, secret_files: Vec<crate::abi::NamedValue>) -> Result<Self, String> {
        let unique = |pairs: Vec<crate::abi::NamedValue>| {
            let mut map = BTreeMap::new();
            for pair in pairs {
                if map.contains_key(&pair.name) {
                    return Err(format!("the environment variable {} is there twice", pair.name));
                }
                map.insert(pair.name, pair.value);
            }
            Ok(map)
        };
        let abi::Job { arguments, directory, environment, secrets, network, image, wall_seconds } = job;
        let variables = environment.iter().chain(&secrets).chain(&secret_files).cloned();
        unique(variables.collect())?;
        let (environment, secrets, secret_files) = (unique(environment)?, unique(secrets)?, unique(secret_files)?);
        Ok(Self { arguments, directory, environment, secrets, secret_files, network, image, wall_seconds })
    }

    /// What no host could run.
    fn check(&self, scratch: &Path) -> Result<(), String> {
        if self.arguments.first().is_none_or(String::is_empty) {
            return Err("a job needs a program: its first argument".to_owned());
        }
        let variables = self.environment.iter().chain(&self.secrets).chain(&self.secret_files);
        let words: Vec<&String> =
            self.arguments.iter().chain(variables.flat_map(|(name, value)| [name, value])).collect();
        if words.len() > WORDS_MAX || words.iter().map(|word| word.len()).sum::<usize>() > JOB_BYTES_MAX {
            return Err(format!(
                "its arguments and environment have more than {WORDS_MAX} words or {JOB_BYTES_MAX} bytes: write them into a file"
            ));
        }
        if words.iter().any(|word| word.len() > WORD_BYTES_MAX) {
            return Err(format!(
                "an argument or a variable has more than {WORD_BYTES_MAX} bytes: write it into a file"
            ));
        }
        if words.iter().any(|word| word.contains('\0')) {
            return Err("an argument or a variable has a NUL in it".to_owned());
        }
        self.secret_files.keys().try_for_each(|name| check_file_variable(name))?;
        let mut names = self.environment.keys().chain(self.secrets.keys()).chain(self.secret_files.keys());
        if let Some(bad) = names.find(|name| name.is_empty() || name.contains('=')) {
            return Err(format!("{bad:?} is no name of an environment variable"));
        }
        self.check_directory(scratch)
    }

    fn check_directory(&self, scratch: &Path) -> Result<(), String> {
        let directory = Path::new(&self.directory);
        let is_plain = directory.components().all(|part| matches!(part, Component::Normal(_)));
        let shown = first_bytes(&self.directory, SHOWN_BYTES_MAX);
        if !is_plain || self.directory.contains('\0') || !stays_below(scratch, directory) {
            return Err(format!(
                "the directory {shown:?} is not a path below /scratch without `.`, `..` and links, like \"src\""
            ));
        }
        if self.directory.is_empty() || scratch.join(directory).is_dir() {
            return Ok(());
        }
        Err(format!("there is no directory /scratch/{shown}"))
    }
}

/// The file has the name of the variable.
pub(super) fn check_file_variable(name: &str) -> Result<(), String> {
    match name.is_empty() || name.contains(['/', '=', '\0']) || [".", ".."].contains(&name) {
        true => Err(format!("{name:?} is no name of an environment variable for the path of a file")),
        false => Ok(()),
    }
}

/// There is nothing to tell but that it was taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Taken {}

/// One per call.
pub struct Commands {
    grant: Option<CommandsGrant>,
    secrets: BTreeMap<String, SecretGrant>,
    connector: Connector,
    seam: Arc<Seam>,
    scratch: PathBuf,
    ended: Option<Ended>,
    /// The declaration's variables that are secrets.
    declared: Vec<crate::abi::NamedValue>,
    /// Also where that was made up, or is what was kept.
    has_started: bool,
    started: Mutex<Option<Started>>,
}

impl Commands {
    fn of(setup: &mut Setup<'_>) -> Self {
        Self {
            grant: setup.grants.commands.clone(),
            secrets: setup.grants.secrets.clone(),
            connector: setup.connector.clone(),
            seam: Arc::clone(setup.seam),
            scratch: setup.scratch.to_owned(),
            ended: setup.ended.clone(),
            declared: std::mem::take(&mut setup.secret_environment),
            has_started: false,
            started: Mutex::default(),
        }
    }

    pub(crate) fn has_started(&self) -> bool {
        self.has_started
    }

    /// The job that the call started.
    pub(crate) fn into_started(self) -> Option<Started> {
        self.started.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn value(&self, name: &str) -> Result<SecretValue, String> {
        let value = give::value(&self.secrets, name)?;
        if value.expose().chars().count() < SECRET_CHARS_MIN {
            return Err(format!(
                "the secret \"{name}\" has fewer than {SECRET_CHARS_MIN} characters: it is too short to be hidden in what a \
                 program writes; choose a longer one"
            ));
        }
        Ok(value)
    }

    /// The values that the job is given in variables, by their names.
    fn in_variables(&self, job: &Job) -> Result<BTreeMap<String, SecretValue>, String> {
        let value = |(variable, name): (&String, &String)| {
            let value = self.value(name)?;
            if value.expose().contains('\0') || value.expose().len() > WORD_BYTES_MAX {
                return Err(format!(
                    "the secret \"{name}\" has a NUL, or more bytes than an environment variable can have"
                ));
            }
            Ok((variable.clone(), value))
        };
        job.secrets.iter().map(value).collect()
    }

    /// And in files, by the names of the variables that have their paths: those that the job wants, and those of the grants, which go before.
    fn in_files(&self, job: &Job) -> Result<BTreeMap<String, SecretValue>, String> {
        let wanted = job.secret_files.iter().map(|(variable, name)| (variable.as_str(), name.as_str()));
        let value = |(variable, name): (&str, &str)| Ok((variable.to_owned(), self.value(name)?));
        let files: BTreeMap<_, _> =
            wanted.chain(give::to_every_program(&self.secrets)).map(value).collect::<Result<_, String>>()?;
        match files.len() > SECRET_FILES_MAX {
            true => Err(format!("a program is given at most {SECRET_FILES_MAX} secrets in files")),
            false => Ok(files),
        }
    }
}

impl Exchange for Commands {
    type Request = Job;
    type Response = Taken;

    fn operation(_: &Job) -> &'static str {
        "start"
    }

    fn journaled(job: &Job, _: Option<&Taken>) -> (String, u64) {
        (job.in_short(), 0)
    }

    fn check(&self, job: &Job) -> Result<(), Denied> {
        let denied =
            |tried: String, grant: String| Err(Denied { tried, grant, is_asked: self.seam.asks().any(COMMANDS) });
        let Some(grant) = &self.grant else {
            return denied(
                format!("to run a program (`{}`)", job.in_short()),
                "commands = { level = \"toolchain\" }".to_owned(),
            );
        };
        if let Some(image) = job.image.as_ref().filter(|image| !grant.allows(image)) {
            let image = first_bytes(image, SHOWN_BYTES_MAX);
            return denied(
                format!("to run a program in the image {image}"),
                format!("commands = {{ …, images = [{image:?}] }}"),
            );
        }
        let mut names = job.secrets.values().chain(job.secret_files.values());
        names.try_for_each(|name| give::check_give(&self.secrets, self.seam.asks(), name))
    }

    fn exchange(&self, job: &Job) -> Result<Taken, HostCallOutcome> {
        job.check(&self.scratch).map_err(HostCallOutcome::Failed)?;
        let secrets = self.in_variables(job).map_err(HostCallOutcome::Failed)?;
        let secret_files = self.in_files(job).map_err(HostCallOutcome::Failed)?;
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if started.is_some() {
            return Err(HostCallOutcome::Failed("a call starts one program, and this one has started one".to_owned()));
        }
        let Some(grant) = self.grant.clone() else {
            return Err(HostCallOutcome::Failed("it is not granted".to_owned()));
        };
        let named = job.secrets.values().chain(job.secret_files.values()).map(String::as_str);
        let of_all = give::to_every_program(&self.secrets).map(|(_, name)| name);
        named.chain(of_all).for_each(|name| give::given(&self.seam, &self.secrets, name));
        let (seam, connector) = (Arc::clone(&self.seam), self.connector.clone());
        *started = Some(Started { job: job.clone(), grant, secrets, secret_files, seam, connector });
        Ok(Taken {})
    }
}

impl State {
    fn start_job(&mut self, job: Result<Job, String>) -> Result<(), abi::Error> {
        let job = job.map_err(abi::Error::Invalid)?;
        match self.seam.attempt(&self.held.commands, job) {
            Ok(Taken {}) => {
                self.held.commands.has_started = true;
                Ok(())
            }
            Err(HostCallOutcome::Denied(text)) => Err(abi::Error::Denied(text)),
            Err(outcome) => Err(abi::Error::Invalid(outcome.text().unwrap_or_default().to_owned())),
        }
    }
}

impl abi::Host for State {
    fn start(&mut self, job: abi::Job) -> wasmtime::Result<Result<(), abi::Error>> {
        Ok(self.start_job(Job::of(job, Vec::new())))
    }

    fn start_with_files(
        &mut self,
        job: abi::Job,
        secret_files: Vec<crate::abi::NamedValue>,
    ) -> wasmtime::Result<Result<(), abi::Error>> {
        Ok(self.start_job(Job::of(job, secret_files)))
    }

    fn declared_secrets(&mut self) -> wasmtime::Result<Vec<crate::abi::NamedValue>> {
        Ok(self.held.commands.declared.clone())
    }

    fn ended(&mut self) -> wasmtime::Result<Option<Ended>> {
        Ok(self.held.commands.ended.clone())
    }
}

fn link(linker: &mut wasmtime::component::Linker<State>) -> wasmtime::Result<()> {
    abi::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

type Kept = Exchanged<Job, Taken>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grants::HttpGrant;
    use crate::masks::Masks;
    use crate::outside::Outside;
    use crate::rights::Asks;
    use crate::seam::Journal;

    fn job() -> Job {
        let arguments = vec!["cargo".to_owned(), "build".to_owned()];
        let (environment, secrets) = (BTreeMap::new(), BTreeMap::new());
        Job {
            arguments,
            directory: String::new(),
            environment,
            secrets,
            secret_files: BTreeMap::new(),
            network: false,
            image: None,
            wall_seconds: None,
        }
    }

    fn commands(scratch: &Path, is_granted: bool) -> Commands {
        let network = vec![HttpGrant { tls: true, host: "a.test".to_owned(), port: 443, private: false }];
        let grant =
            CommandsGrant { level: Isolation::Toolchain, toolchain: None, network, images: vec!["good".to_owned()] };
        let secret = |value: &str, commands| SecretGrant {
            value: SecretValue::new(value),
            hosts: Vec::new(),
            reveal: false,
            commands,
            commands_file: None,
            stored: None,
        };
        let secrets = [("token", "a long value", true), ("short", "short", true), ("other", "another value", false)];
        let asks = Asks::everything(&["token", "short", "other"], &[]);
        Commands {
            grant: is_granted.then_some(grant),
            secrets: secrets.map(|(name, value, commands)| (name.to_owned(), secret(value, commands))).into(),
            connector: Connector::new(&[]).unwrap(),
            seam: Seam::new("acme/x", "Build/It", Arc::new(Journal::default()), Masks::default(), asks, Outside::Live),
            scratch: scratch.to_owned(),
            ended: None,
            declared: Vec::new(),
            has_started: false,
            started: Mutex::default(),
        }
    }

    #[test]
    fn a_job_is_taken_as_granted_or_refused_with_the_reason() {
        let scratch = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(scratch.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("/", scratch.path().join("out")).unwrap();
        let check = |is_granted: bool, change: fn(&mut Job), wanted: Result<(), &str>| {
            let (mut job, commands) = (job(), commands(scratch.path(), is_granted));
            change(&mut job);
            let taken = commands.seam.attempt(&commands, job.clone());
            match (taken, wanted) {
                (Ok(_), Ok(())) => assert_eq!(commands.into_started().unwrap().job, job),
                (Err(outcome), Err(part)) => {
                    let text = format!("{outcome:?}").replace("\\\"", "\"");
                    assert!(text.contains(part), "{text} instead of {part}");
                    assert!(commands.into_started().is_none());
                }
                (taken, wanted) => panic!("{job:?}: {taken:?} instead of {wanted:?}"),
            }
        };
        check(true, |_| (), Ok(()));
        check(false, |_| (), Err("Denied(\"acme/x (action Build/It) tried to run a program (`cargo build`), which it"));
        check(true, |job| job.network = true, Ok(()));
        check(true, |job| job.image = Some("good".to_owned()), Ok(()));
        let bad = "commands = { …, images = [\"registry.example/bad\"] }";
        check(true, |job| job.image = Some("registry.example/bad".to_owned()), Err(bad));
        check(true, |job| job.directory = "a/b".into(), Ok(()));
        let outside = "is not a path below /scratch without";
        check(true, |job| job.directory = "/a".into(), Err(outside));
        check(true, |job| job.directory = "a/../..".into(), Err(outside));
        check(true, |job| job.directory = "out/tmp".into(), Err(outside));
        check(true, |job| job.directory = "c".into(), Err("there is no directory /scratch/c"));
        check(true, |job| job.arguments.clear(), Err("a job needs a program"));
        check(true, |job| job.arguments.push("a\0b".into()), Err("has a NUL in it"));
        check(true, |job| job.arguments.push("x".repeat(WORD_BYTES_MAX + 1)), Err("more than 131072 bytes"));
        check(true, |job| job.arguments = vec!["x".into(); WORDS_MAX + 1], Err("more than 20000 words"));
        check(true, |job| drop(job.environment.insert("A=B".into(), "x".into())), Err("is no name"));
        check(true, |job| drop(job.secrets.insert("T".into(), "token".into())), Ok(()));
        check(true, |job| drop(job.secrets.insert("T".into(), "short".into())), Err("fewer than 8 characters"));
        check(
            true,
            |job| drop(job.secrets.insert("T".into(), "other".into())),
            Err("secrets.other = { …, commands = true }"),
        );
        check(true, |job| drop(job.secret_files.insert("F".into(), "token".into())), Ok(()));
        check(true, |job| drop(job.secret_files.insert("F".into(), "short".into())), Err("fewer than 8 characters"));
        check(
            true,
            |job| drop(job.secret_files.insert("F".into(), "other".into())),
            Err("secrets.other = { …, commands = true }"),
        );
        check(true, |job| drop(job.secret_files.insert("a/b".into(), "token".into())), Err("is no name"));
        let many = |job: &mut Job| {
            job.secret_files.extend((0..=SECRET_FILES_MAX).map(|number| (format!("F{number}"), "token".to_owned())));
        };
        check(true, many, Err("at most 32 secrets in files"));
        let line = "secrets.no = { env = \"…\", commands = true }";
        check(true, |job| drop(job.secrets.insert("T".into(), "no".into())), Err(line));
    }

    #[test]
    fn one_call_starts_one() {
        let scratch = tempfile::tempdir().unwrap();
        let commands = commands(scratch.path(), true);
        assert!(commands.seam.attempt(&commands, job()).is_ok());
        let second = commands.seam.attempt(&commands, job()).unwrap_err();
        assert!(second.text().unwrap().contains("this one has started one"), "{second:?}");
    }
}
