//! Scripts: a pipeline and commands in, a trace of events and effects out.
//!
//! A line that begins with a dot sets the scene, and is left out of the trace. Executions are called A, B, C … in the
//! order of their starts; the clock moves a second with each command. A trace has each
//! command behind `>`, and below it what happened: a refusal, the events (`A/Build/Compile STARTED`), and the effects
//! (`run …`, `end …`, `load …`, and `timer …` where the script begins with `timers`).

use std::fmt::Write as _;

use expect_test::Expect;

use super::super::*;
use super::pipelines::pipeline;
use super::world::World;
use crate::declaration::StageRetryMode;

pub(super) fn check(declaration: &str, script: &str, trace: Expect) {
    let mut world = World::new(pipeline(declaration));
    let mut out = String::new();
    let mut timers = false;
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(scene) = line.strip_prefix('.') {
            world.now = world.now.plus(1000);
            let what = command(&world, &scene.split_whitespace().collect::<Vec<_>>());
            world.submit(what).expect("the scene can be set");
            continue;
        }
        writeln!(out, "> {line}").expect("a String takes all");
        let words: Vec<&str> = line.split_whitespace().collect();
        if words[0] == "timers" {
            timers = true;
            continue;
        }
        if let ["pass", hours] = words[..] {
            world.now = world.now.plus(hours.trim_end_matches('h').parse::<u64>().expect("hours") * 3_600_000);
            continue;
        }
        world.now = world.now.plus(1000);
        let what = command(&world, &words);
        match world.submit(what) {
            Ok(step) => {
                let names = Names(&world);
                let effects = step.effects.iter().filter_map(|effect| names.effect(effect, timers));
                for text in step.events.iter().map(|event| names.event(event)).chain(effects) {
                    writeln!(out, "  {text}").expect("a String takes all");
                }
            }
            Err(refusal) => {
                let class = refusal.error_class().unwrap_or("-");
                let refusal = Names(&world).shorten(&refusal.to_string());
                writeln!(out, "  refused {class}: {refusal}").expect("a String takes all");
            }
        }
    }
    trace.assert_eq(&out);
}

pub(super) fn command(world: &World, words: &[&str]) -> InputKind {
    let (name, words) = words.split_first().expect("a command");
    match (*name, words) {
        ("start", [_, given @ ..]) => {
            let (revisions, variables): (Vec<&str>, Vec<&str>) =
                given.iter().copied().partition(|word| word.starts_with('@'));
            let source_revisions = pairs(&revisions).into_iter().map(|(name, value)| SourceRevisionOverride {
                action_name: name.trim_start_matches('@').into(),
                revision_type: SourceRevisionType::CommitId,
                revision_value: value,
            });
            let source_revisions = source_revisions.collect();
            InputKind::Start(StartRequest { variables: pairs(&variables), source_revisions, ..Default::default() })
        }
        ("ok" | "ok-without-artifacts" | "fail" | "wait", [execution, action, words @ ..]) => {
            let run = Run::find(world, execution, action);
            run.reported(report(world, &run, name, words))
        }
        ("signal", [execution, action, kind]) => {
            let action = Run::find(world, execution, action).id;
            InputKind::Signal { action, kind: (*kind).into(), payload: b"news".to_vec() }
        }
        ("approve" | "reject", [execution, action]) => {
            let (stage, action_name) = action.split_once('/').expect("Stage/Action");
            InputKind::PutApprovalResult(ApprovalAnswer {
                stage: stage.into(),
                action: action_name.into(),
                token: Run::try_find(world, execution, action).map_or("no-token".into(), |run| run.id.to_string()),
                status: if *name == "approve" { ApprovalStatus::Approved } else { ApprovalStatus::Rejected },
                summary: "looked at it".into(),
                by: Some("ann".into()),
            })
        }
        ("due", [execution, action, kind]) => {
            let run = Run::find(world, execution, action);
            InputKind::TimerDue { timer: TimerId { action: run.id, kind: run.timer(kind) } }
        }
        ("restart" | "crash", [execution, action]) => {
            InputKind::ActionRestarted { action: Run::find(world, execution, action).id, crashed: *name == "crash" }
        }
        ("stop" | "abandon", [execution]) => InputKind::Stop {
            execution: id(world, execution),
            abandon: *name == "abandon",
            reason: Some("enough".into()),
            by: None,
        },
        ("retry", [execution, stage, mode]) => InputKind::RetryStage(RetryRequest {
            stage: (*stage).into(),
            execution: id(world, execution),
            mode: if *mode == "all" { StageRetryMode::AllActions } else { StageRetryMode::FailedActions },
            ended: world.archive.get(&id(world, execution)).map(|ended| Box::new((**ended).clone())),
        }),
        ("disable", [stage, kind]) => InputKind::DisableTransition {
            stage: (*stage).into(),
            kind: transition(kind),
            reason: "freeze".into(),
            by: None,
        },
        ("enable", [stage, kind]) => {
            InputKind::EnableTransition { stage: (*stage).into(), kind: transition(kind), by: None }
        }
        ("update", []) => InputKind::Update { declaration: world.declaration.clone() },
        ("update", stages) => InputKind::Update { declaration: pipeline(&stages.join(" ").replace(';', "\n")) },
        ("delete", []) => InputKind::Delete,
        _ => command_about_conditions(world, name, words),
    }
}

/// Of conditions and rollbacks.
fn command_about_conditions(world: &World, name: &str, words: &[&str]) -> InputKind {
    let ended = |id| world.archive.get(&id).map(|ended| Box::new((**ended).clone()));
    match (name, words) {
        ("yes" | "no", [execution, rule, words @ ..]) => {
            let summary = Some(words.join(" ")).filter(|words| !words.is_empty());
            let told = ExecutionDetails { summary, ..ExecutionDetails::default() };
            Run::find(world, execution, rule).reported(Report::decided(Verdict { passed: name == "yes", told }))
        }
        ("rollback", [target, stage]) => {
            let target = id(world, target);
            let ended = ended(target);
            InputKind::RollbackStage(RollbackRequest { stage: (*stage).into(), target, ended, by: Some("ann".into()) })
        }
        ("override", [execution, stage, condition]) => InputKind::OverrideCondition(OverrideRequest {
            stage: (*stage).into(),
            execution: id(world, execution),
            which: match *condition {
                "before-entry" => ConditionType::BeforeEntry,
                "on-success" => ConditionType::OnSuccess,
                _ => ConditionType::OnFailure,
            },
            ended: ended(id(world, execution)),
            by: Some("ann".into()),
        }),
        ("poll" | "ack" | "put", [execution, action, words @ ..]) => {
            command_of_worker(name, &Run::find(world, execution, action), words)
        }
        ("load" | "lose", [execution]) => world.loaded(id(world, execution), name == "load").expect("it is awaited"),
        _ => panic!("no such command: {name} {words:?}"),
    }
}

/// `poll`, `ack [old]`, with the nonce that was given last or another one, and `put ok|fail|token=… [before]`, of another job.
fn command_of_worker(name: &str, run: &Run, words: &[&str]) -> InputKind {
    let (action, last) = (run.id, run.job.as_ref());
    let is_other = last.is_none() || words.last() == Some(&"before");
    let job = if is_other { JobId::from_bytes([7; 16]) } else { last.expect("a job").id };
    let nonce = match (last.map(|job| &job.status), words) {
        (Some(JobStatus::Offered { nonce, .. } | JobStatus::InProgress { nonce, .. }), []) => nonce.to_string(),
        _ => "old".to_owned(),
    };
    match name {
        "poll" => InputKind::OfferJob { action, job },
        "ack" => InputKind::AcknowledgeJob { action, job, nonce },
        _ => {
            let end = match words[0].split_once('=') {
                Some((_, token)) => JobEnd::Continues { token: token.to_owned(), told: ExecutionDetails::default() },
                None if words[0] == "ok" => JobEnd::Action(Outcome::Succeeded(Box::new(run.success(&[])))),
                None => {
                    JobEnd::Action(ActionError { kind: FailureType::JobFailed, message: "broken".to_owned() }.into())
                }
            };
            InputKind::ReportJob { action, job, report: JobReport { digest: words[0].to_owned(), end } }
        }
    }
}

/// What an action reports: `ok … [Variable=value]`, `fail … message`, `wait … SIGNAL|- [HOURSh]`.
fn report(world: &World, run: &Run, name: &str, words: &[&str]) -> Report {
    match (name, words) {
        ("ok", variables) => Report::succeeded(run.success(variables)),
        ("fail", message) => Report::failed(FailureType::JobFailed, message.join(" ")),
        ("wait", [signal, hours @ ..]) => {
            let hours = hours.first().map(|text| text.trim_end_matches('h').parse::<u64>().expect("hours"));
            let signal = match *signal {
                "-" => None,
                "approval" => Some(Awaited::Approval),
                "job" => Some(Awaited::Job { within_milliseconds: Some(20 * 60_000) }),
                kind => Some(Awaited::Signal(kind.into())),
            };
            let time = hours.map(|hours| Awaited::Time(world.now.plus(hours * 3_600_000)));
            let awaits = signal.into_iter().chain(time).collect();
            Report::waiting(Wait { awaits, continuation: b"so far".to_vec(), summary: None })
        }
        _ => Report::succeeded(Success::default()),
    }
}

fn transition(kind: &str) -> TransitionKind {
    if kind == "inbound" { TransitionKind::Inbound } else { TransitionKind::Outbound }
}

fn pairs(words: &[&str]) -> Vec<(String, String)> {
    let pairs = words.iter().filter_map(|word| word.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn id(world: &World, name: &str) -> ExecutionId {
    world.started[usize::from(name.as_bytes()[0] - b'A')]
}

/// An action run that a command speaks of.
struct Run {
    id: ActionExecutionId,
    call: u32,
    job: Option<Job>,
    outputs: Vec<String>,
}

impl Run {
    fn try_find(world: &World, execution: &str, action: &str) -> Option<Run> {
        let (stage, action) = action.split_once('/').expect("Stage/Action");
        let (address, run) = world.run(id(world, execution), stage, action)?;
        let outputs = match Declared::at(&world.declaration, address) {
            Declared::Action(action) => action.outputs().map(Into::into).collect(),
            Declared::Rule(_) => Vec::new(),
        };
        Some(Run { id: run.id, call: run.call, job: run.job.clone(), outputs })
    }

    fn find(world: &World, execution: &str, action: &str) -> Run {
        Run::try_find(world, execution, action).expect("the action has run")
    }

    fn timer(&self, kind: &str) -> TimerKind {
        match (kind, &self.job) {
            ("timeout", _) => TimerKind::Timeout,
            ("offer", Some(job)) => TimerKind::Offer { job: job.id },
            ("job", Some(job)) => TimerKind::Job { job: job.id },
            _ => TimerKind::Wake { call: self.call },
        }
    }

    fn reported(&self, report: Report) -> InputKind {
        InputKind::ActionReported { action: self.id, call: self.call, report }
    }

    fn success(&self, variables: &[&str]) -> Success {
        let artifacts = self.outputs.iter().map(|name| (name.clone(), format!("digest-of-{name}"))).collect();
        Success { variables: pairs(variables).into_iter().collect(), artifacts, ..Default::default() }
    }
}

/// Texts in which ids are replaced by what a reader knows.
struct Names<'a>(&'a World);

impl Names<'_> {
    fn execution(&self, id: ExecutionId) -> String {
        let index = self.0.started.iter().position(|started| *started == id).expect("every execution was started");
        char::from(b'A' + index as u8).to_string()
    }

    fn action(&self, id: ActionExecutionId) -> String {
        let world = self.0;
        let executions = world.state.executions.values().chain(world.archive.values());
        let mut runs = executions.flat_map(|execution| execution.runs.iter().map(move |run| (execution, run)));
        let (execution, (address, _)) =
            runs.find(|(_, (_, run))| run.id == id).expect("every action belongs to an execution");
        let declaration = &world.versions[execution.start.version as usize - 1];
        let stage = &declaration.stages[address.stage()].name;
        format!("{}/{stage}/{}", self.execution(execution.id), Declared::at(declaration, *address).name())
    }

    fn shorten(&self, text: &str) -> String {
        let names = self.0.started.iter().map(|id| (id.to_string(), self.execution(*id)));
        names.fold(text.to_owned(), |text, (id, name)| text.replace(&id, &name))
    }

    fn event(&self, event: &Event) -> String {
        match event {
            Event::PipelineCreated { declaration } => format!("pipeline created, version {:?}", declaration.version),
            Event::PipelineUpdated { declaration } => format!("pipeline updated, version {:?}", declaration.version),
            Event::PipelineDeleted { version } => format!("pipeline deleted, version {version}"),
            Event::TransitionChanged { stage, kind, transition } => {
                format!("{stage} {kind:?} {}", if transition.enabled { "enabled" } else { "disabled" })
            }
            Event::Execution(event) => {
                let summary =
                    event.summary.iter().map(|summary| format!(": {}", self.shorten(summary))).collect::<String>();
                let state = format!("{:?}", event.state).to_uppercase();
                format!("{} {state}{summary}", self.execution(event.execution))
            }
            Event::Stage(event) => {
                let state = format!("{:?}", event.state).to_uppercase();
                format!("{}/{} {state}", self.execution(event.execution), event.stage)
            }
            Event::Action(event) => {
                let place = format!("{}/{}/{}", self.execution(event.execution), event.stage, event.action);
                format!("{place} {}", self.happening(&event.what))
            }
            Event::Rule(event) => {
                let place = format!("{}/{}/{}", self.execution(event.execution), event.stage, event.rule);
                format!("{place} {}", self.happening(&event.what))
            }
            Event::Condition(event) => {
                let by = event.by.iter().map(|by| format!(" by {by}")).collect::<String>();
                let place = format!("{}/{} {}", self.execution(event.execution), event.stage, event.condition);
                format!("{place} {:?}{by}", event.status)
            }
        }
    }

    fn happening(&self, what: &ActionHappening) -> String {
        match what {
            ActionHappening::Started { inputs, resolved_configuration } => {
                let inputs = inputs.iter().map(|(name, digest)| format!(" <{name}={digest}")).collect::<String>();
                let resolved = resolved_configuration.iter().flatten();
                let resolved =
                    resolved.map(|(key, value)| format!(" {key}={}", self.shorten(value))).collect::<String>();
                format!("STARTED{inputs}{resolved}")
            }
            ActionHappening::Waiting(_) => "waiting".into(),
            ActionHappening::Decided(decision) => format!("{:?} by {:?}", decision.status, decision.by),
            ActionHappening::Job { what: JobHappening::Reported(_), .. } => "job Reported".to_owned(),
            ActionHappening::Job { what, .. } => format!("job {what:?}"),
            ActionHappening::Resumed { call, signal } => format!("resumed, call {call}, signal {signal:?}"),
            ActionHappening::Restarted { attempt } => format!("restarted, attempt {attempt}"),
            ActionHappening::Succeeded { .. } => "SUCCEEDED".into(),
            ActionHappening::Failed { error, .. } => format!("FAILED {:?}: {}", error.kind, error.message),
            ActionHappening::NotPassed { told } => {
                format!("NOT PASSED: {}", told.summary.as_deref().unwrap_or_default())
            }
            ActionHappening::Abandoned => "ABANDONED".into(),
            ActionHappening::Canceled => "CANCELED".into(),
        }
    }

    fn effect(&self, effect: &Effect, timers: bool) -> Option<String> {
        let now = self.0.now;
        Some(match effect {
            Effect::RunAction(call) => {
                let resumed = match call.resumed.as_ref().map(|resumed| &resumed.wake) {
                    Some(Wake::Time) => ", woken by time".to_owned(),
                    Some(Wake::Approval(decision)) => {
                        format!(", told {:?} {:?} by {:?}", decision.status, decision.summary, decision.by)
                    }
                    Some(Wake::Signal { kind, payload }) => {
                        format!(", woken by {kind} {}", String::from_utf8_lossy(payload))
                    }
                    None => String::new(),
                };
                format!(
                    "run {} call {} attempt {}{resumed}",
                    self.action(call.action_execution),
                    call.call,
                    call.attempt
                )
            }
            Effect::LoadExecution { execution, target } => {
                format!("load {} for {}", self.execution(*target), self.execution(*execution))
            }
            Effect::StopAction { action, .. } => format!("end {}", self.action(*action)),
            Effect::SetTimer { id, at } if timers => {
                let minutes = (at.0 - now.0) / 60_000;
                format!("timer {} {} in {minutes} minutes", self.action(id.action), timer_kind(id.kind))
            }
            Effect::ClearTimer { id } if timers => format!("clear {} {}", self.action(id.action), timer_kind(id.kind)),
            Effect::SetTimer { .. } | Effect::ClearTimer { .. } => return None,
        })
    }
}

fn timer_kind(kind: TimerKind) -> String {
    match kind {
        TimerKind::Offer { .. } => "Offer".to_owned(),
        TimerKind::Job { .. } => "Job".to_owned(),
        kind => format!("{kind:?}"),
    }
}
