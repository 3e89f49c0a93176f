//! Owns the course of a build: which commands are one job, and what is known once it has ended. Whoever carries it out decides
//! nothing. Knows neither files nor the time.
//!
//! A job has the commands to come for as long as each succeeds, so that a build that goes well is one job. What comes after a
//! failure is decided when the job has ended.

use crate::build::{Build, Context, Next};
use crate::job::{Job, Left, Step, expansion, job};
use crate::model::Buildspec;
use crate::shell::Session;

/// What is to be done next.
pub enum Due {
    /// Answered by `ended`, or by `timed_out` where there is no time left for it.
    Job(Job),
    /// The source is to be laid out anew. Answered by `began_again`.
    BeginAgain,
    /// Answered by `uploaded`.
    Upload,
    Nothing,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// As a shell gives it, also where a signal ended it.
    pub status: i32,
    /// Whether it used up the build's time.
    pub is_out_of_time: bool,
    /// How many commands it had.
    pub count: usize,
}

#[derive(Clone)]
pub struct Course {
    build: Build,
    session: Session,
    exits: Vec<i32>,
    /// Whether somebody asks for the session once the commands are over, also where no artifact is made.
    is_read: bool,
}

impl Course {
    /// `has_artifacts` says whether any artifact is to be made.
    pub fn new(buildspec: &Buildspec, has_artifacts: bool, session: Session) -> Self {
        let is_read =
            !buildspec.env.exported_variables.is_empty() || !buildspec.reports.is_empty() || buildspec.cache.is_some();
        Self { build: Build::new(buildspec, has_artifacts), session, exits: Vec::new(), is_read }
    }

    /// As it was when its last job began: `exits` is what that course had. The log has been said.
    pub fn resumed(buildspec: &Buildspec, has_artifacts: bool, session: Session, exits: Vec<i32>) -> Self {
        let mut course = Self::new(buildspec, has_artifacts, session);
        for exit in &exits {
            course.build.began_again();
            course.build.ended(*exit);
        }
        course.build.began_again();
        course.build.take_log();
        Self { exits, ..course }
    }

    /// The exit statuses of all commands that have ended, also of earlier attempts.
    pub fn exits(&self) -> &[i32] {
        &self.exits
    }

    pub fn build(&self) -> &Build {
        &self.build
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    pub fn due(&self) -> Due {
        let next = self.build.next();
        let (is_succeeding, last_exit) = match &next {
            Next::Run(run) => (run.is_succeeding, run.last_exit),
            Next::Name(_) => (true, 0),
            Next::BeginAgain => return Due::BeginAgain,
            Next::Upload => return Due::Upload,
            Next::Nothing => return Due::Nothing,
        };
        let (steps, is_over) = self.steps();
        let is_read = self.is_read || !is_over;
        Due::Job(job(&self.session, self.build.shell(), &steps, is_read, is_succeeding, last_exit))
    }

    /// The commands to come, as long as each succeeds, and whether nothing comes after them: then nothing does after the last of
    /// them, whatever becomes of it, but the whole build again.
    fn steps(&self) -> (Vec<Step>, bool) {
        let mut ahead = self.build.clone();
        let mut steps = Vec::new();
        loop {
            let log = ahead.take_log().iter().map(|line| format!("{line}\n")).collect();
            match ahead.next() {
                Next::Run(run) => {
                    steps.push(Step { script: run.command.text, log });
                    ahead.ended(0);
                }
                Next::Name(name) => {
                    steps.push(Step { script: expansion(&self.session, &name), log });
                    return (steps, false);
                }
                Next::Nothing => return (steps, true),
                Next::BeginAgain | Next::Upload => return (steps, false),
            }
        }
    }

    /// The job ended. Gives warnings.
    ///
    /// # Errors
    /// Where it ended before its last command, and says that it succeeded.
    pub fn ended(&mut self, end: End, left: &Left) -> Result<Vec<String>, String> {
        let warnings = self.session.keep(left);
        let text = String::from_utf8_lossy(&left.exits);
        let mut exits: Vec<i32> = text.lines().map_while(|line| line.parse().ok()).take(end.count).collect();
        let is_over = exits.len() == end.count || exits.last().is_some_and(|exit| *exit != 0);
        if !is_over && !end.is_out_of_time {
            if end.status == 0 && exits.len() + 1 < end.count {
                return Err("the job ended with 0 before its last command, and did not say why".to_owned());
            }
            // The last command ran in the job's own shell, or took it along.
            exits.push(end.status);
        }
        let value = String::from_utf8_lossy(&left.value);
        for (exit, number) in exits.iter().zip(1..) {
            self.build.began_again();
            match self.build.next() {
                Next::Name(_) => self.build.named(*exit, &value),
                _ => self.build.ended(*exit),
            }
            // What is due between two commands of a job it has said itself.
            if number < end.count && *exit == 0 {
                self.build.take_log();
            }
        }
        self.exits.append(&mut exits);
        if !is_over && end.is_out_of_time {
            self.build.timed_out();
        }
        Ok(warnings)
    }

    /// The build's time is over before its next job.
    pub fn timed_out(&mut self) {
        self.build.timed_out();
    }

    pub fn began_again(&mut self, session: Session) {
        self.session = session;
        self.build.began_again();
    }

    pub fn uploaded(&mut self, outcome: Result<(), Context>) {
        self.build.uploaded(outcome);
    }

    /// The lines of the log since it was last asked. To be asked before each `due`.
    pub fn take_log(&mut self) -> Vec<String> {
        self.build.take_log()
    }
}
