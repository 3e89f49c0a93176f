//! Owns the order of a build: which command runs next, what its exit status means for what comes after, and how the build
//! ends. Pure: it is asked what is next and told what came of it. Knows neither shells nor files nor the time.
//!
//! As CodeBuild was observed: all four phases of commands are entered, named or not. A failure in INSTALL or PRE_BUILD ends
//! the build; after one in BUILD, POST_BUILD and UPLOAD_ARTIFACTS still come, unless the phase says ABORT. `finally` belongs
//! to its phase and runs after a failure too. Whatever goes on after a failure, the build has failed.

use crate::model::{Buildspec, Command, OnFailure, Phase, Shell};
use crate::shell::checked_name;

/// The phases from the source on, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PhaseName {
    DownloadSource,
    Install,
    PreBuild,
    Build,
    PostBuild,
    UploadArtifacts,
    Finalizing,
}

impl PhaseName {
    pub fn name(self) -> &'static str {
        match self {
            Self::DownloadSource => "DOWNLOAD_SOURCE",
            Self::Install => "INSTALL",
            Self::PreBuild => "PRE_BUILD",
            Self::Build => "BUILD",
            Self::PostBuild => "POST_BUILD",
            Self::UploadArtifacts => "UPLOAD_ARTIFACTS",
            Self::Finalizing => "FINALIZING",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    InProgress,
    Succeeded,
    Failed,
    TimedOut,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::InProgress => "IN_PROGRESS",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::TimedOut => "TIMED_OUT",
        }
    }
}

/// Why a phase ended as it did, in CodeBuild's words; both are empty after a success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    pub code: String,
    pub message: String,
}

impl Context {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

/// A phase that was entered. Phases that were passed over are not in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    pub phase: PhaseName,
    pub status: Status,
    pub context: Context,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Answered by `ended`, or by `timed_out`.
    Run(Run),
    /// The name of the primary artifact is to be expanded by a shell, after all commands. Answered by `named`, or by
    /// `timed_out`.
    Name(String),
    /// The source is to be laid out anew, and the environment as it was at the start. Answered by `began_again`.
    BeginAgain,
    /// Answered by `uploaded`.
    Upload,
    Nothing,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub phase: PhaseName,
    /// Whether it is of the phase's `finally`.
    pub is_finally: bool,
    pub command: Command,
    /// What CODEBUILD_BUILD_SUCCEEDING says to it.
    pub is_succeeding: bool,
    /// What CODEBUILD_LAST_EXIT says to it.
    pub last_exit: i32,
}

/// What people write for bash without saying so; where sh is dash, it has none of it.
const OF_BASH: &[&str] = &["[[ ", "pipefail", "source ", "<(", "declare "];

const COMMAND_PHASES: [PhaseName; 4] =
    [PhaseName::Install, PhaseName::PreBuild, PhaseName::Build, PhaseName::PostBuild];

#[derive(Clone, Debug)]
pub struct Build {
    shell: Shell,
    phases: [Phase; 4],
    has_artifacts: bool,
    /// As it is written, and as it is.
    name: Option<String>,
    artifact_name: Option<String>,
    entered: Vec<Entered>,
    /// Of the phase that is entered: the list and the number of the next command.
    is_finally: bool,
    number: usize,
    last_exit: i32,
    attempt: u32,
    waits_for: Waits,
    log: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Command,
    Again,
    Name,
    Upload,
    End,
}

impl Build {
    /// From where the source is there and the buildspec is read. `has_artifacts` says whether any artifact is to be made:
    /// UPLOAD_ARTIFACTS is entered in any case.
    pub fn new(buildspec: &Buildspec, has_artifacts: bool) -> Self {
        let mut build = Self::before(buildspec, has_artifacts);
        build.begin();
        build
    }

    /// A build that ended before its commands: the source or the buildspec was not to be had.
    pub fn without_source(context: Context) -> Self {
        let mut build = Self::before(&Buildspec::default(), false);
        build.enter(PhaseName::DownloadSource);
        build.leave(Status::Failed, context);
        build.finish();
        build
    }

    fn before(buildspec: &Buildspec, has_artifacts: bool) -> Self {
        let phases = &buildspec.phases;
        Self {
            shell: buildspec.env.shell,
            phases: [&phases.install, &phases.pre_build, &phases.build, &phases.post_build].map(Phase::clone),
            has_artifacts,
            name: buildspec.artifacts.as_ref().and_then(|artifacts| artifacts.primary.name.clone()),
            artifact_name: None,
            entered: Vec::new(),
            is_finally: false,
            number: 0,
            last_exit: 0,
            attempt: 1,
            waits_for: Waits::Command,
            log: Vec::new(),
        }
    }

    pub fn next(&self) -> Next {
        match self.waits_for {
            Waits::Command => self.command().map_or(Next::Nothing, Next::Run),
            Waits::Again => Next::BeginAgain,
            Waits::Name => Next::Name(self.name.clone().unwrap_or_default()),
            Waits::Upload => Next::Upload,
            Waits::End => Next::Nothing,
        }
    }

    pub fn shell(&self) -> Shell {
        self.shell
    }

    /// The command that `next` gave ended.
    pub fn ended(&mut self, status: i32) {
        let Some(run) = self.command() else { return };
        self.last_exit = status;
        self.number += 1;
        if status != 0 {
            let text = run.command.text.trim_end();
            self.say(format!("Command did not exit successfully {text} exit status {status}"));
            if self.shell == Shell::Sh && OF_BASH.iter().any(|word| text.contains(word)) {
                self.say("The shell is sh, and this command looks like one for bash: write `shell: bash` below `env`");
            }
            let message = format!("Error while executing command: {text}. Reason: exit status {status}");
            // A failure of `finally` is told only where it is the first.
            if let Some(phase) = self.entered.last_mut().filter(|phase| phase.status == Status::InProgress) {
                phase.status = Status::Failed;
                phase.context = Context::new("COMMAND_EXECUTION_ERROR", message);
            }
            // The rest of this list is passed over.
            self.number = usize::MAX;
        }
        self.proceed();
    }

    pub fn began_again(&mut self) {
        if self.waits_for == Waits::Again {
            (self.entered, self.last_exit, self.waits_for) = (Vec::new(), 0, Waits::Command);
            self.begin();
        }
    }

    /// The shell that was to expand the artifact's name ended, and gave this.
    pub fn named(&mut self, status: i32, value: &str) {
        if self.waits_for == Waits::Name {
            let name = if status == 0 {
                checked_name(value)
            } else {
                let name = self.name.as_deref().unwrap_or_default();
                Err(format!("the name `{name}` cannot be expanded: exit status {status}"))
            };
            self.name_is(name);
        }
    }

    /// The artifacts are made and kept, or why they are not.
    pub fn uploaded(&mut self, outcome: Result<(), Context>) {
        if self.waits_for == Waits::Upload {
            match outcome {
                Ok(()) => self.leave(Status::Succeeded, Context::default()),
                Err(context) => self.leave(Status::Failed, context),
            }
            self.finish();
        }
    }

    /// The build's time is over. Nothing more runs, `finally` and POST_BUILD neither.
    pub fn timed_out(&mut self) {
        if self.waits_for != Waits::End {
            self.leave(Status::TimedOut, Context::new("BUILD_TIMED_OUT", "Build has timed out. "));
            self.finish();
        }
    }

    /// A phase that failed is never made good, whatever ran after it. A build that ran out of time has failed.
    pub fn status(&self) -> Status {
        let has = |status| self.entered.iter().any(|phase| phase.status == status);
        if has(Status::Failed) || has(Status::TimedOut) {
            Status::Failed
        } else if self.waits_for == Waits::End {
            Status::Succeeded
        } else {
            Status::InProgress
        }
    }

    pub fn phases(&self) -> &[Entered] {
        &self.entered
    }

    /// The phase that failed the build: the first one.
    pub fn failure(&self) -> Option<&Entered> {
        self.entered.iter().find(|phase| matches!(phase.status, Status::Failed | Status::TimedOut))
    }

    /// Of the primary artifact, once it is known.
    pub fn artifact_name(&self) -> Option<&str> {
        self.artifact_name.as_deref()
    }

    /// Counts from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The lines of the log since it was last asked, for what is next: without a time, which is not known here.
    pub fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn say(&mut self, line: impl Into<String>) {
        self.log.push(line.into());
    }

    fn begin(&mut self) {
        let named: Vec<_> = COMMAND_PHASES
            .iter()
            .zip(&self.phases)
            .filter(|(_, phase)| phase.written)
            .map(|(name, phase)| (name.name(), phase.commands.len()))
            .collect();
        self.say(format!("Phases found in YAML: {}", named.len()));
        for (name, count) in named {
            self.say(format!(" {name}: {count} commands"));
        }
        self.enter(PhaseName::Install);
        if !self.phases[0].runtime_versions.is_empty() {
            self.say(
                "Skipping install of runtimes. Runtime version selection is not supported by this build image: \
                 the programs that are there are used",
            );
        }
        self.proceed();
    }

    fn enter(&mut self, phase: PhaseName) {
        if COMMAND_PHASES.contains(&phase) {
            self.say(format!("Entering phase {}", phase.name()));
        }
        self.entered.push(Entered { phase, status: Status::InProgress, context: Context::default() });
        (self.is_finally, self.number) = (false, 0);
    }

    fn leave(&mut self, status: Status, context: Context) {
        let Some(last) = self.entered.last_mut() else { return };
        let line = format!("Phase complete: {} State: {}", last.phase.name(), status.name());
        let why = format!("Phase context status code: {} Message: {}", context.code, context.message);
        (last.status, last.context) = (status, context);
        self.say(line);
        self.say(why);
    }

    /// The phase of commands that is entered, and what the file says of it.
    fn current(&self) -> Option<(PhaseName, &Phase)> {
        let name = self.entered.last()?.phase;
        let number = COMMAND_PHASES.iter().position(|it| *it == name)?;
        Some((name, &self.phases[number]))
    }

    fn command(&self) -> Option<Run> {
        if self.waits_for != Waits::Command {
            return None;
        }
        let (name, phase) = self.current()?;
        let list = if self.is_finally { &phase.finally } else { &phase.commands };
        Some(Run {
            phase: name,
            is_finally: self.is_finally,
            command: list.get(self.number)?.clone(),
            is_succeeding: self.entered.iter().all(|phase| phase.status != Status::Failed),
            last_exit: self.last_exit,
        })
    }

    /// Goes on to the next command, through `finally` and the phases that have none.
    fn proceed(&mut self) {
        while self.waits_for == Waits::Command {
            if let Some(run) = self.command() {
                return self.say(format!("Running command {}", run.command.text.trim_end()));
            }
            if self.is_finally {
                self.end_phase();
            } else {
                (self.is_finally, self.number) = (true, 0);
            }
        }
    }

    fn end_phase(&mut self) {
        let Some((name, phase)) = self.current() else { return self.finish() };
        let on_failure = phase.on_failure.clone();
        let Some(last) = self.entered.last() else { return };
        let (failed, context) = (last.status == Status::Failed, last.context.clone());
        let message = context.message.clone();
        self.leave(if failed { Status::Failed } else { Status::Succeeded }, context);
        let follows = match (failed, on_failure) {
            (false, _) | (true, Some(OnFailure::Continue)) => true,
            (true, Some(OnFailure::Abort)) => false,
            (true, Some(OnFailure::Retry(retry)))
                if self.attempt <= retry.times_max && retry.pattern.as_ref().is_none_or(|it| it.is_in(&message)) =>
            {
                self.attempt += 1;
                self.say(format!("Retrying the build, attempt {}", self.attempt));
                self.waits_for = Waits::Again;
                return;
            }
            // Also when there is no attempt left.
            (true, _) => name >= PhaseName::Build,
        };
        match COMMAND_PHASES.iter().find(|it| **it > name) {
            Some(next) if follows => self.enter(*next),
            None if follows => {
                self.enter(PhaseName::UploadArtifacts);
                if self.has_artifacts {
                    self.upload();
                } else {
                    self.leave(Status::Succeeded, Context::default());
                    self.finish();
                }
            }
            _ => self.finish(),
        }
    }

    fn upload(&mut self) {
        match self.name.clone() {
            None => self.waits_for = Waits::Upload,
            Some(name) if name.contains(['$', '`', '\\']) => self.waits_for = Waits::Name,
            Some(name) => self.name_is(checked_name(&name)),
        }
    }

    fn name_is(&mut self, name: Result<String, String>) {
        match name {
            Ok(name) => {
                self.say(format!("The artifact's name is {name}"));
                self.artifact_name = Some(name);
                self.waits_for = Waits::Upload;
            }
            Err(problem) => {
                self.leave(Status::Failed, Context::new("CLIENT_ERROR", problem));
                self.finish();
            }
        }
    }

    fn finish(&mut self) {
        self.entered.push(Entered {
            phase: PhaseName::Finalizing,
            status: Status::Succeeded,
            context: Context::default(),
        });
        self.waits_for = Waits::End;
    }
}
