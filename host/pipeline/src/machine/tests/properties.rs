//! Random commands and reports on random small pipelines; `World` checks the invariants after every step.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::super::*;
use super::pipelines::pipeline;
use super::world::World;
use crate::declaration::{ExecutionMode, StageRetryMode};

/// A command or an answer; numbers choose among what is there.
#[derive(Clone, Debug)]
enum Move {
    Start,
    /// All that runs succeeds, again and again.
    Finish,
    Answer {
        which: usize,
        how: How,
    },
    Timer {
        which: usize,
    },
    Signal {
        which: usize,
    },
    Decide {
        which: usize,
        approve: bool,
    },
    Stop {
        which: usize,
        abandon: bool,
    },
    Retry {
        which: usize,
        stage: usize,
        all: bool,
    },
    Transition {
        stage: usize,
        outbound: bool,
        enable: bool,
    },
    Restart {
        which: usize,
        crashed: bool,
    },
    Update {
        mode: Option<ExecutionMode>,
    },
    Rollback {
        which: usize,
        stage: usize,
    },
    Override {
        which: usize,
        stage: usize,
        condition: usize,
    },
    Load {
        which: usize,
        is_kept: bool,
    },
    /// An answer to a call that was answered before, or never asked.
    Late {
        which: usize,
    },
}

#[derive(Clone, Copy, Debug)]
enum How {
    Succeed,
    SucceedWithoutOutputs,
    /// As a rule does; an action that does so fails.
    Refuse,
    Fail,
    WaitForTime,
    WaitForApproval,
    WaitForBoth,
    WaitForSignal,
}

fn a_move() -> impl Strategy<Value = Move> {
    use ExecutionMode::{Parallel, Queued, Superseded};
    use How::{Fail, Refuse, Succeed, SucceedWithoutOutputs, WaitForApproval, WaitForBoth, WaitForSignal, WaitForTime};
    let how = prop::sample::select(vec![
        Succeed,
        Succeed,
        Succeed,
        Succeed,
        Fail,
        Refuse,
        SucceedWithoutOutputs,
        WaitForTime,
        WaitForApproval,
        WaitForBoth,
        WaitForSignal,
        WaitForSignal,
    ]);
    prop_oneof![
        4 => Just(Move::Start),
        2 => Just(Move::Finish),
        12 => (any::<usize>(), how).prop_map(|(which, how)| Move::Answer { which, how }),
        2 => any::<usize>().prop_map(|which| Move::Timer { which }),
        2 => any::<usize>().prop_map(|which| Move::Signal { which }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, approve)| Move::Decide { which, approve }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, abandon)| Move::Stop { which, abandon }),
        4 => (any::<usize>(), 0..4_usize, any::<bool>()).prop_map(|(which, stage, all)| Move::Retry { which, stage, all }),
        2 => (0..4_usize, any::<bool>(), any::<bool>())
            .prop_map(|(stage, outbound, enable)| Move::Transition { stage, outbound, enable }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, crashed)| Move::Restart { which, crashed }),
        1 => prop::option::of(prop::sample::select(vec![Superseded, Queued, Parallel])).prop_map(|mode| Move::Update { mode }),
        3 => (any::<usize>(), 0..4_usize).prop_map(|(which, stage)| Move::Rollback { which, stage }),
        3 => (any::<usize>(), 0..4_usize, 0..3_usize)
            .prop_map(|(which, stage, condition)| Move::Override { which, stage, condition }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(which, is_kept)| Move::Load { which, is_kept }),
        1 => any::<usize>().prop_map(|which| Move::Late { which }),
    ]
}

/// What a stage may say of its entry and its end.
fn gates() -> impl Strategy<Value = String> {
    let before = prop::sample::select(vec!["", "", "before FAIL: R", "before SKIP: R{Key:#{ns00.Value}} Q"]);
    let success = prop::sample::select(vec!["", "", "success FAIL: P<out00", "success ROLLBACK: P O"]);
    let failure = prop::sample::select(vec![
        "",
        "",
        "failure FAIL",
        "failure SKIP",
        "failure RETRY",
        "failure RETRY ALL_ACTIONS",
        "failure ROLLBACK",
        "failure ROLLBACK: N",
        "failure RETRY: N M",
        "failure SKIP: N",
    ]);
    (before, success, failure).prop_map(|(before, success, failure)| format!("{before}\n{success}\n{failure}\n"))
}

/// Two to four stages of one to three actions, in any mode and with any conditions; consumers name artifacts and variables
/// that may be there or not.
fn a_pipeline() -> impl Strategy<Value = String> {
    let action = (1..3_u32, any::<bool>(), any::<bool>(), any::<bool>());
    let stage = (prop::collection::vec(action, 1..4), gates());
    let mode = prop::sample::select(vec!["", "mode SUPERSEDED\n", "mode QUEUED\n", "mode PARALLEL\n"]);
    (mode, prop::collection::vec(stage, 2..5)).prop_map(|(mode, stages)| {
        let mut text = mode.to_owned();
        for (s, (actions, gates)) in stages.iter().enumerate() {
            text += &format!("S{s}:");
            for (a, (order, consumes, refers, approval)) in actions.iter().enumerate() {
                let order = if s == 0 { 1 } else { *order };
                text += &format!(" A{a}@{order}>out{s}{a}=ns{s}{a}");
                text += if s > 0 && *consumes { "<out00" } else { "" };
                text += if *approval { "!" } else { "" };
                text += if s > 0 && *refers { "{Key:#{ns00.Value}}" } else { "" };
            }
            text += "\n";
            text += gates;
        }
        text
    })
}

/// The running calls, in the order in which a restarted driver would find them.
fn calls(world: &World) -> Vec<RunAction> {
    let effects = world.state.outstanding().into_iter();
    effects.filter_map(|effect| if let Effect::RunAction(call) = effect { Some(*call) } else { None }).collect()
}

fn pick<T: Clone>(from: &[T], which: usize) -> Option<T> {
    (!from.is_empty()).then(|| from[which % from.len()].clone())
}

fn report(call: &RunAction, how: How, now: Timestamp) -> Report {
    let time = Awaited::Time(now.plus(60_000));
    let ready = Awaited::Signal("ready".into());
    let wait = |awaits| Report::waiting(Wait { awaits, continuation: vec![1, 2, 3], summary: None });
    let artifacts = || call.outputs().map(|name| (name.to_owned(), "digest".to_owned())).collect();
    let variables = || Variables::from([("Value".to_owned(), call.call.to_string())]);
    let verdict = |passed| Report::decided(Verdict { passed, told: ExecutionDetails::default() });
    match how {
        How::Succeed if call.is_rule() => verdict(true),
        How::Refuse => verdict(false),
        How::Succeed => {
            Report::succeeded(Success { variables: variables(), artifacts: artifacts(), ..Default::default() })
        }
        How::SucceedWithoutOutputs => Report::succeeded(Success::default()),
        How::Fail => Report::failed(FailureType::JobFailed, "no"),
        How::WaitForTime => wait(vec![time]),
        How::WaitForApproval => wait(vec![Awaited::Approval]),
        How::WaitForBoth => wait(vec![ready, time]),
        How::WaitForSignal => wait(vec![ready]),
    }
}

/// What a move means where the pipeline stands; none where there is nothing to choose from.
fn input(world: &World, a_move: &Move) -> Option<InputKind> {
    Some(match *a_move {
        Move::Answer { which, how } => {
            let call = pick(&calls(world), which)?;
            let report = report(&call, how, world.now);
            InputKind::ActionReported { action: call.action_execution, call: call.call, report }
        }
        Move::Timer { which } => {
            let timers = world.state.outstanding().into_iter();
            let timers: Vec<TimerId> = timers
                .filter_map(|effect| if let Effect::SetTimer { id, .. } = effect { Some(id) } else { None })
                .collect();
            InputKind::TimerDue { timer: pick(&timers, which)? }
        }
        Move::Signal { which } => {
            let (_, run) = pick(&waiting(world), which)?;
            InputKind::Signal { action: run.id, kind: "ready".into(), payload: b"{}".to_vec() }
        }
        Move::Restart { which, crashed } => {
            InputKind::ActionRestarted { action: pick(&calls(world), which)?.action_execution, crashed }
        }
        Move::Load { which, is_kept } => {
            let live = world.state.executions.values();
            let waiting = live.filter(|it| it.progress.stages.last().is_some_and(|run| run.rolls_back_to.is_some()));
            world.loaded(pick(&waiting.map(|it| it.id).collect::<Vec<_>>(), which)?, is_kept)?
        }
        Move::Late { which } => {
            let (action, call) = late(world, which)?;
            InputKind::ActionReported { action, call, report: Report::succeeded(Success::default()) }
        }
        _ => return command(world, a_move),
    })
}

fn waiting(world: &World) -> Vec<(Address, ActionRun)> {
    let runs = world.state.executions.values().flat_map(|execution| execution.runs.iter());
    let runs = runs.map(|(address, run)| (*address, (**run).clone()));
    runs.filter(|(_, run)| run.wait.is_some()).collect()
}

fn command(world: &World, a_move: &Move) -> Option<InputKind> {
    let stage_name = |stage: usize| world.declaration.stages[stage % world.declaration.stages.len()].name.clone();
    let recent = |which: usize| pick(&world.started, world.started.len().saturating_sub(1 + which % 3));
    let ended = |id: ExecutionId| world.archive.get(&id).map(|ended| Box::new((**ended).clone()));
    Some(match *a_move {
        Move::Start => InputKind::Start(StartRequest::default()),
        Move::Decide { which, approve } => {
            let (address, run) = pick(&waiting(world), which)?;
            InputKind::PutApprovalResult(ApprovalAnswer {
                stage: stage_name(address.stage()),
                action: Declared::at(&world.declaration, address).name().to_owned(),
                token: run.id.to_string(),
                status: if approve { ApprovalStatus::Approved } else { ApprovalStatus::Rejected },
                summary: String::new(),
                by: None,
            })
        }
        Move::Stop { which, abandon } => {
            let live: Vec<_> = world.state.executions.keys().copied().collect();
            let execution =
                pick(&live, which / 2).filter(|_| which.is_multiple_of(2)).or(pick(&world.started, which))?;
            InputKind::Stop { execution, abandon, reason: None, by: None }
        }
        Move::Retry { which, stage, all } => {
            let execution = recent(which)?;
            let mode = if all { StageRetryMode::AllActions } else { StageRetryMode::FailedActions };
            let ended = ended(execution);
            InputKind::RetryStage(RetryRequest { stage: stage_name(stage), execution, mode, ended })
        }
        Move::Rollback { which, stage } => {
            let (target, stage) = target(world, which, stage)?;
            let (stage, ended) = (stage_name(stage), ended(target));
            InputKind::RollbackStage(RollbackRequest { stage, target, ended, by: None })
        }
        Move::Override { which, stage, condition } => {
            let all = [ConditionType::BeforeEntry, ConditionType::OnSuccess, ConditionType::OnFailure];
            let any = (recent(which)?, stage, all[condition]);
            let (execution, stage, which) = judged(world, which).unwrap_or(any);
            let (stage, ended) = (stage_name(stage), ended(execution));
            InputKind::OverrideCondition(OverrideRequest { stage, execution, which, ended, by: None })
        }
        Move::Transition { stage, outbound, enable } => {
            let kind = if outbound { TransitionKind::Outbound } else { TransitionKind::Inbound };
            let (stage, by) = (stage_name(stage), None);
            match enable {
                true => InputKind::EnableTransition { stage, kind, by },
                false => InputKind::DisableTransition { stage, kind, reason: "freeze".into(), by },
            }
        }
        Move::Update { mode } => {
            let mut declaration = world.declaration.clone();
            if mode.is_some() {
                Arc::make_mut(&mut declaration).execution_mode = mode;
            }
            InputKind::Update { declaration }
        }
        _ => return None,
    })
}

/// Any execution with any stage, or every other time an execution with a stage in which it succeeded.
fn target(world: &World, which: usize, stage: usize) -> Option<(ExecutionId, usize)> {
    let mut good = Vec::new();
    for execution in world.state.executions.values().chain(world.archive.values()) {
        let stages = execution.progress.stages.iter().filter(|run| run.status == StageStatus::Succeeded);
        good.extend(stages.map(|run| (execution.id, usize::from(run.stage))));
    }
    let any = (pick(&world.started, which)?, stage);
    Some(pick(&good, which / 2).filter(|_| which.is_multiple_of(2)).unwrap_or(any))
}

/// Every other time, a condition that is being judged.
fn judged(world: &World, which: usize) -> Option<(ExecutionId, usize, ConditionType)> {
    let mut judged = Vec::new();
    for execution in world.state.executions.values() {
        let run = execution.progress.stages.last();
        let conditions = run.into_iter().flat_map(|run| run.conditions.iter().map(move |it| (run.stage, it)));
        let in_progress = conditions.filter(|(_, condition)| condition.status == ConditionStatus::InProgress);
        judged.extend(in_progress.map(|(stage, condition)| (execution.id, usize::from(stage), condition.which)));
    }
    pick(&judged, which / 2).filter(|_| which.is_multiple_of(2))
}

/// A call that nobody waits for: of an action that runs, with a number that was never given, or of one that ended.
fn late(world: &World, which: usize) -> Option<(ActionExecutionId, u32)> {
    if let Some(call) = pick(&calls(world), which).filter(|_| which.is_multiple_of(2)) {
        return Some((call.action_execution, call.call + 1));
    }
    let ended = world.archive.values().flat_map(|execution| execution.runs.values());
    let ended: Vec<ActionExecutionId> = ended.filter(|run| !run.in_progress()).map(|run| run.id).collect();
    let live: Vec<ActionExecutionId> = calls(world).iter().map(|call| call.action_execution).collect();
    pick(&ended, which).filter(|id| !live.contains(id)).map(|id| (id, 1))
}

/// Opens every transition and answers whatever is asked, until nothing is: then nothing may live any more.
fn drain(world: &mut World) {
    for stage in 0..world.declaration.stages.len() {
        for outbound in [false, true] {
            let what = input(world, &Move::Transition { stage, outbound, enable: true });
            world.submit(what.expect("a transition is always there")).expect("a transition can always be enabled");
        }
    }
    let answers = [
        Move::Answer { which: 0, how: How::Succeed },
        Move::Load { which: 0, is_kept: true },
        Move::Timer { which: 0 },
    ];
    while let Some(what) = answers.iter().find_map(|answer| input(world, answer)) {
        world.submit(what).expect("what is outstanding can be answered");
    }
    assert!(world.state.executions.is_empty(), "executions are stuck: {:?}", world.state.executions);
}

/// Makes the moves that have a meaning; gives what happened.
fn play(text: &str, moves: &[Move]) -> Vec<Event> {
    let mut world = World::new(pipeline(text));
    let mut events = Vec::new();
    let success = Move::Answer { which: 0, how: How::Succeed };
    // As many calls as the largest of these pipelines makes of an execution in one stage after the other.
    let moves = moves.iter().flat_map(|it| match it {
        Move::Finish => vec![&success; 20],
        other => vec![other],
    });
    for a_move in moves {
        world.now = world.now.plus(1000);
        let Some(what) = input(&world, a_move) else { continue };
        let taken = world.submit(what);
        assert!(taken.is_err() || !matches!(a_move, Move::Late { .. }), "a late answer was taken");
        events.extend(taken.into_iter().flat_map(|step| step.events));
    }
    world.now = world.now.plus(1000);
    drain(&mut world);
    events
}

fn label(event: &Event) -> Option<String> {
    match event {
        Event::Execution(event) => Some(format!("{:?} {:?}", event.trigger.kind, event.state)),
        Event::Stage(event) => Some(format!("stage {:?}", event.state)),
        Event::Condition(event) => Some(format!("{} {:?}", event.condition, event.status)),
        _ => None,
    }
}

/// Random moves say nothing of what they never come to.
#[test]
fn random_moves_come_to_what_they_are_for() {
    let mut runner = TestRunner::deterministic();
    let cases = (a_pipeline(), prop::collection::vec(a_move(), 40..80));
    let mut seen = BTreeSet::new();
    for _ in 0..150 {
        let (text, moves) = cases.new_tree(&mut runner).expect("a case").current();
        seen.extend(play(&text, &moves).iter().filter_map(label));
    }
    // A rollback by a failure is too rare for random moves, and is in scripts.
    let kinds = ["StartPipelineExecution", "ManualRollback"];
    let ends = ["Started", "Succeeded", "Failed"].into_iter();
    let executions = kinds.iter().flat_map(|kind| ends.clone().map(move |state| format!("{kind} {state}")));
    let others = ["Superseded", "Resumed", "Stopping", "Stopped", "Canceled"];
    let executions = executions.chain(others.iter().map(|state| format!("{} {state}", kinds[0])));
    let stages = ["Started", "Succeeded", "Failed", "Skipped", "Stopping", "Stopped", "Canceled", "Resumed"];
    let statuses = ["InProgress", "Succeeded", "Failed", "Errored", "Overridden", "Abandoned"];
    let conditions = ["before-entry", "on-success", "on-failure"].into_iter();
    let conditions = conditions.flat_map(|which| statuses.iter().map(move |status| format!("{which} {status}")));
    let wanted = executions.chain(stages.iter().map(|state| format!("stage {state}"))).chain(conditions);
    let wanted = wanted.filter(|wanted| wanted.as_str() != "on-failure Abandoned");
    let missing: Vec<_> = wanted.filter(|wanted| !seen.contains(wanted)).collect();
    assert!(missing.is_empty(), "{missing:?} never happened");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_invariants_hold_and_nothing_gets_stuck(
        text in a_pipeline(),
        moves in prop::collection::vec(a_move(), 1..80),
    ) {
        play(&text, &moves);
    }

    #[test]
    fn ids_of_one_entropy_differ(bytes in any::<[u8; 32]>()) {
        let mut ids = super::super::ids::Ids::new(Entropy(bytes));
        let texts: std::collections::BTreeSet<String> = (0..500).map(|_| ids.action_execution().to_string()).collect();
        prop_assert_eq!(texts.len(), 500);
        prop_assert!(texts.iter().all(|text| text.len() == 36 && &text[14..15] == "4"));
    }
}
