//! However much users and plugins send, whatever a step makes durable fits what a store takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::bounds::{COMMIT_BYTES_MAX, VALUE_BYTES_MAX};
use super::super::*;
use super::limits::{Machine, errors};
use super::pipelines::pipeline;
use crate::action_type::ActionTypes;
use crate::declaration::{
    ActionCategory, ActionDeclaration, ActionOwner, ActionTypeId, ArtifactStore, ArtifactStoreType, Condition,
    ConditionResult, ExecutionMode, OutputArtifact, PipelineDeclaration, PipelineType, PipelineVariableDeclaration,
    RuleCategory, RuleDeclaration, RuleTypeId, StageConditions, StageDeclaration,
};
use crate::validate::{Context, unsupported, validate};

const STAGES: usize = 50;
const ACTIONS: usize = 10;
/// What the driver and the store write around a value.
const AROUND_BYTES: usize = 1024;

/// The largest pipeline that is taken: 500 actions in 50 stages, every name at its longest. With approvals instead of builds, or
/// not.
fn largest(approvals: bool) -> PipelineDeclaration {
    let name = |kind: &str, stage: usize, action: usize| format!("{kind}{stage:0>50}{action:0>49}");
    let action = |stage: usize, action: usize| ActionDeclaration {
        name: name("a", stage, action),
        action_type_id: ActionTypeId {
            category: match stage {
                0 => ActionCategory::Source,
                _ if approvals => ActionCategory::Approval,
                _ => ActionCategory::Build,
            },
            owner: ActionOwner::Custom,
            provider: "p".repeat(35),
            version: "1".repeat(9),
        },
        run_order: Some(1),
        configuration: Some(BTreeMap::from([("k".repeat(50), "\u{1}".repeat(150))])),
        commands: None,
        output_artifacts: (!approvals).then(|| vec![OutputArtifact { name: name("o", stage, action), files: None }]),
        input_artifacts: None,
        output_variables: None,
        role_arn: None,
        region: None,
        namespace: Some(name("n", stage, action)),
        timeout_in_minutes: None,
        environment_variables: None,
    };
    let stage = |stage: usize| StageDeclaration {
        name: format!("s{stage:0>99}"),
        blockers: None,
        actions: (0..ACTIONS).map(|index| action(stage, index)).collect(),
        on_failure: None,
        on_success: None,
        before_entry: None,
    };
    let variable = |index: usize| PipelineVariableDeclaration {
        name: format!("{index:0>128}"),
        default_value: None,
        description: Some("d".repeat(200)),
    };
    let store = ArtifactStore { kind: ArtifactStoreType::S3, location: "b".repeat(63), encryption_key: None };
    PipelineDeclaration {
        name: "n".repeat(100),
        role_arn: format!("arn:aws:iam::111122223333:role/{}", "r".repeat(900)),
        artifact_store: Some(store),
        artifact_stores: None,
        stages: (0..STAGES).map(stage).collect(),
        version: None,
        execution_mode: Some(ExecutionMode::Parallel),
        pipeline_type: Some(PipelineType::V2),
        variables: Some((0..50).map(variable).collect()),
        triggers: None,
    }
}

/// The same with rules in the place of some actions, with names as long.
fn with_rules(mut declaration: PipelineDeclaration) -> PipelineDeclaration {
    for (index, stage) in declaration.stages.iter_mut().enumerate().skip(STAGES - 3) {
        let rule = |action: ActionDeclaration| RuleDeclaration {
            name: action.name,
            rule_type_id: RuleTypeId {
                category: RuleCategory::Rule,
                owner: Some(ActionOwner::AWS),
                provider: "p".repeat(35),
                version: Some(action.action_type_id.version),
            },
            configuration: action.configuration,
            commands: None,
            input_artifacts: None,
            role_arn: None,
            region: None,
            timeout_in_minutes: None,
        };
        let rules = Some(stage.actions.split_off(ACTIONS / 2).into_iter().map(rule).collect());
        let conditions = vec![Condition { result: Some(ConditionResult::Fail), rules }];
        match index % 2 {
            0 => stage.before_entry = Some(StageConditions { conditions }),
            _ => stage.on_success = Some(StageConditions { conditions }),
        }
    }
    declaration
}

/// A start that gives `chars` of a character to each variable and source revision.
fn start(declaration: &PipelineDeclaration, odd: &str, chars: usize) -> StartRequest {
    let variables = declaration.variables.iter().flatten().map(|it| (it.name.clone(), odd.repeat(chars)));
    let sources = declaration.stages[0].actions.iter();
    let revisions = sources.map(|action| SourceRevisionOverride {
        action_name: action.name.clone(),
        revision_type: SourceRevisionType::S3ObjectVersionId,
        revision_value: odd.repeat(chars),
    });
    let pin = |stage: &StageDeclaration, action: &ActionDeclaration| {
        (format!("plugin/{}/{}", stage.name, action.name), "d".repeat(71))
    };
    let stages = declaration.stages.iter();
    StartRequest {
        trigger: Trigger { kind: TriggerType::StartPipelineExecution, detail: odd.repeat(10_000) },
        variables: variables.collect(),
        source_revisions: revisions.collect(),
        branch: Some(odd.repeat(chars)),
        pins: stages.flat_map(|stage| stage.actions.iter().map(|action| pin(stage, action))).collect(),
    }
}

/// What a step makes durable: its largest value, and the whole.
fn check(step: &Step) -> (usize, usize) {
    let value = |change: &Change| match change {
        Change::Delete(_) => 0,
        kept => stored::write(kept).expect("JSON").len(),
    };
    let events = step.events.iter().map(|event| serde_json::to_vec(event).expect("JSON").len());
    let sizes: Vec<usize> = step.changes.iter().map(value).chain(events).collect();
    let largest = sizes.iter().copied().max().unwrap_or_default();
    // Each with a key or an index row of its own.
    let whole = sizes.iter().map(|bytes| bytes + 400).sum();
    assert!(largest + AROUND_BYTES <= VALUE_BYTES_MAX, "a value has {largest} bytes");
    assert!(whole <= COMMIT_BYTES_MAX && 2 * sizes.len() < 65_535, "{} entries have {whole} bytes", sizes.len());
    (largest, whole)
}

fn is_approval(call: &RunAction) -> bool {
    call.declared().type_id().category == ActionCategory::Approval
}

/// The longest answer of a call, in a character that takes `bytes` in JSON.
fn report(call: &RunAction, odd: &str, bytes: usize) -> Report {
    let told = |chars: usize| odd.repeat(chars);
    let is_source = call.address.stage() == 0;
    let usage = Usage { cpu_ms: u64::MAX, log_bytes: u64::MAX, host_calls: u64::MAX };
    if is_approval(call) && call.call == 1 {
        let awaits = vec![Awaited::Approval, Awaited::Time(Timestamp(u64::MAX))];
        let wait = Wait { awaits, continuation: vec![0; CONTINUATION_BYTES_MAX], summary: Some(told(10_000)) };
        return Report { usage, ..Report::waiting(wait) };
    }
    let link = Link { title: told(10_000), url: told(10_000) };
    let details = ExecutionDetails {
        summary: Some(told(10_000)),
        external_id: Some(told(10_000)),
        links: vec![link; 100],
        details: BTreeMap::from([("targets".to_owned(), serde_json::Value::from(told(12_000 / bytes)))]),
    };
    if call.is_rule() {
        return Report { usage, ..Report::decided(Verdict { passed: true, told: details }) };
    }
    Report {
        usage,
        ..Report::succeeded(Success {
            variables: Variables::from([("Key".to_owned(), told(330 / bytes))]),
            artifacts: call.outputs().map(|name| (name.to_owned(), "d".repeat(71))).collect(),
            revision: is_source.then(|| Revision {
                id: told(10_000),
                change: Some(told(10_000)),
                summary: Some(told(10_000)),
                url: Some(told(10_000)),
                created: Some(Timestamp(u64::MAX)),
            }),
            told: details,
        })
    }
}

/// Runs the first execution, checking every step, until `enough` or its end.
fn run(machine: &mut Machine, odd: &str, bytes: usize, enough: impl Fn(&RunAction) -> bool) -> usize {
    let mut largest = 0;
    while let Some(call) = machine.call().filter(|call| !enough(call)) {
        let step = machine.report(report(&call, odd, bytes));
        assert_eq!(errors(&step), [""; 0]);
        largest = largest.max(check(&step).0);
        let token = call.action_execution;
        if is_approval(&call) && call.call == 1 {
            let answer = ApprovalAnswer {
                stage: call.stage().name.clone(),
                action: call.name().to_owned(),
                token: token.to_string(),
                status: ApprovalStatus::Approved,
                summary: odd.repeat(10_000),
                by: Some(odd.repeat(10_000)),
            };
            check(&machine.submit(InputKind::PutApprovalResult(answer)).expect("it waits"));
        }
    }
    largest
}

/// Every character with one declaration, and the longest with every other; the full suite has all pairs.
#[test]
fn whatever_is_sent_every_step_can_be_stored() {
    let is_full = std::env::var_os("PIPEWRIGHT_TESTS_FULL").is_some_and(|value| value == "1");
    let declarations = [largest(false), largest(true), with_rules(largest(false))];
    std::thread::scope(|threads| {
        for (index, declaration) in declarations.iter().enumerate() {
            let json = serde_json::to_value(declaration).expect("JSON");
            let types = ActionTypes::new();
            let judged = validate(&json, &Context { region: None, action_types: &types });
            assert_eq!(judged.map_err(|problems| problems.to_string()).as_ref(), Ok(declaration), "it is valid");
            assert!(unsupported(declaration).is_empty(), "it can be kept");
            let odds = [("\u{1}", 6), ("🦀", 4), ("\"", 2), ("漢", 3)];
            let taken = if index == 0 || is_full { odds.len() } else { 1 };
            for (odd, bytes) in odds.into_iter().take(taken) {
                threads.spawn(move || every_step_can_be_stored(declaration, odd, bytes));
            }
        }
    });
}

fn every_step_can_be_stored(declaration: &PipelineDeclaration, odd: &str, bytes: usize) {
    let mut machine = Machine::created(Arc::new(declaration.clone()));
    let refused = machine.submit(InputKind::Start(start(declaration, odd, 1000)));
    assert!(matches!(refused, Err(Refusal::StartTooLarge(_))) == (bytes > 2), "{odd:?}: {refused:?}");
    // As much as is taken: 60 texts, the names of which take 160 bytes each.
    let chars = ((START_BYTES_MAX - 60 * 260) / 60 / bytes).min(1000);
    let first = machine.submit(InputKind::Start(start(declaration, odd, chars))).expect("it is not too large");
    check(&first);
    let largest = run(&mut machine, odd, bytes, |_| false);
    assert!(machine.state.executions.is_empty(), "the execution ended, and was archived");
    assert!(largest > VALUE_BYTES_MAX / 2, "{odd:?}: the largest value has only {largest} bytes");
}

/// An update ends all executions that are in progress in one step.
#[test]
fn however_much_is_in_progress_it_can_be_ended_in_one_step() {
    let declaration = Arc::new(largest(false));
    let mut machine = Machine::created(declaration.clone());
    let chars = (START_BYTES_MAX - 60 * 260) / 60 / 6;
    let request = || InputKind::Start(start(&declaration, "\u{1}", chars));
    machine.submit(request()).expect("there is room");
    run(&mut machine, "\u{1}", 6, |call| call.address.stage() + 1 == STAGES);
    let full = machine.state.executions.values().next().expect("one runs").clone();
    let mut in_progress = 1;
    while machine.submit(request()).is_ok() {
        in_progress += 1;
    }
    assert!((20..EXECUTIONS_COUNT_MAX).contains(&in_progress), "{in_progress} are in progress");
    // As many of them as there is room for tell as much as one can.
    let telling = bounds::held_bytes(0, None, Some(&full));
    for id in machine.state.executions.keys().copied().collect::<Vec<_>>() {
        let whole = in_progress * bounds::reserved_bytes(&declaration) + machine.state.executions.held_bytes();
        if whole + telling <= LIVE_BYTES_MAX {
            machine.state.executions.put(Execution { id, ..(*full).clone() });
        }
    }
    let update = machine.submit(InputKind::Update { declaration: declaration.clone() }).expect("it can be updated");
    let (_, whole) = check(&update);
    assert!(whole > COMMIT_BYTES_MAX / 3, "the whole has only {whole} bytes");
}

/// Of a pipeline as they are, a thousand wait; but what is told of them altogether has a limit, beyond which a variable fails its
/// action, and what is only to be read is dropped.
#[test]
fn small_executions_are_many_and_what_they_tell_has_a_limit() {
    let mut machine = Machine::created(pipeline("mode PARALLEL\nS: A=a\nT: B"));
    let mut start = || machine.submit(InputKind::Start(StartRequest::default()));
    while start().is_ok() {}
    let in_progress = machine.state.executions.len();
    assert_eq!(in_progress, EXECUTIONS_COUNT_MAX);
    let report = || {
        let variables = Variables::from([("Key".to_owned(), "x".repeat(100_000))]);
        let told = ExecutionDetails { summary: Some("x".repeat(2000)), ..ExecutionDetails::default() };
        Report::succeeded(Success { variables, told, ..Success::default() })
    };
    let declaration = pipeline("S: A=a\nT: B");
    let (mut answered, mut refused) = (0, None);
    while let Some(call) = machine.call().filter(|_| refused.is_none()) {
        if call.address.stage() > 0 {
            let awaits = vec![Awaited::Signal("ready".into())];
            machine.report(Report::waiting(Wait { awaits, ..Wait::default() }));
            continue;
        }
        refused = errors(&machine.report(report())).pop();
        answered += 1;
        let held = in_progress * bounds::reserved_bytes(&declaration) + machine.state.executions.held_bytes();
        assert!(held <= LIVE_BYTES_MAX, "{held} bytes after {answered}");
    }
    let error = refused.expect("what they tell has a limit");
    assert!(answered > 50 && error.contains("in progress leave room for"), "{answered}: {error}");
    check(&machine.submit(InputKind::Delete).expect("it can be deleted"));
}

/// Every transition disabled, with the longest reasons.
#[test]
fn the_head_of_a_pipeline_is_bounded() {
    let mut declaration = largest(false);
    declaration.execution_mode = Some(ExecutionMode::Queued);
    let stages: Vec<String> = declaration.stages.iter().map(|stage| stage.name.clone()).collect();
    let mut machine = Machine::created(Arc::new(declaration));
    for stage in stages {
        for kind in [TransitionKind::Inbound, TransitionKind::Outbound] {
            let (stage, reason, by) = (stage.clone(), "\u{1}".repeat(10_000), Some("\u{1}".repeat(10_000)));
            if let Ok(step) = machine.submit(InputKind::DisableTransition { stage, kind, reason, by }) {
                check(&step);
            }
        }
    }
    let head = machine.state.head.as_ref().expect("a head");
    assert_eq!(head.stages.iter().filter(|stage| !stage.inbound.enabled).count(), STAGES - 1);
}

#[test]
fn what_is_too_large_is_refused_when_a_pipeline_is_made() {
    let check = |change: fn(&mut PipelineDeclaration), path: Option<&str>| {
        let mut declaration = largest(false);
        change(&mut declaration);
        let problems = unsupported(&declaration);
        assert_eq!(problems.iter().map(|problem| problem.path.as_str()).collect::<Vec<_>>(), Vec::from_iter(path));
    };
    let configuration = |it: &mut PipelineDeclaration| {
        for action in it.stages.iter_mut().flat_map(|stage| &mut stage.actions) {
            action.configuration = Some(BTreeMap::from([("k".into(), "\u{1}".repeat(1000))]));
        }
    };
    let outputs = |it: &mut PipelineDeclaration| {
        for action in it.stages.iter_mut().flat_map(|stage| &mut stage.actions) {
            let output = |name: &str, index: usize| OutputArtifact { name: format!("{index}{name}"), files: None };
            let name = action.name[1..].to_owned();
            action.output_artifacts = Some((0..2).map(|index| output(&name, index)).collect());
        }
    };
    let defaults = |it: &mut PipelineDeclaration| {
        for variable in it.variables.iter_mut().flatten() {
            variable.default_value = Some("🦀".repeat(1000));
        }
    };
    check(|_| {}, None);
    let runs = |it: &mut PipelineDeclaration| {
        let more = it.stages[1].actions[0].clone();
        it.stages[1].actions.push(ActionDeclaration { output_artifacts: None, ..more });
    };
    check(runs, Some("pipeline.stages"));
    check(configuration, Some("pipeline"));
    check(outputs, Some("pipeline.stages"));
    check(defaults, Some("pipeline.variables"));
}
