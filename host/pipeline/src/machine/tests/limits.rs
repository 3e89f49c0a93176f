//! What is too much, and what cannot be run yet.

use std::sync::Arc;

use serde_json::json;

use super::super::*;
use super::pipelines::pipeline;
use crate::declaration::{ActionDeclaration, PipelineDeclaration, PipelineType, RuleDeclaration, StageRetryMode};

/// A machine that answers the first running call again and again.
pub(super) struct Machine {
    pub(super) state: State,
    pub(super) inputs: u64,
}

impl Machine {
    pub(super) fn created(declaration: Arc<PipelineDeclaration>) -> Machine {
        let mut machine = Machine { state: State::default(), inputs: 0 };
        machine.submit(InputKind::Create { declaration }).expect("created");
        machine
    }

    fn started(text: &str) -> Machine {
        let mut machine = Machine::created(pipeline(text));
        machine.submit(InputKind::Start(StartRequest::default())).expect("started");
        machine
    }

    pub(super) fn submit(&mut self, what: InputKind) -> Result<Step, Refusal> {
        self.inputs += 1;
        let mut entropy = [0; 32];
        entropy[..8].copy_from_slice(&self.inputs.to_le_bytes());
        let step = step(&self.state, Input { entropy: Entropy(entropy), what }, Timestamp(self.inputs))?;
        self.state.apply(step.changes.iter().cloned()).expect("changes fit");
        Ok(step)
    }

    pub(super) fn call(&self) -> Option<RunAction> {
        let calls = self.state.outstanding().into_iter();
        calls.filter_map(|effect| if let Effect::RunAction(call) = effect { Some(*call) } else { None }).next()
    }

    pub(super) fn report(&mut self, report: Report) -> Step {
        let call = self.call().expect("a call runs");
        self.submit(InputKind::ActionReported { action: call.action_execution, call: call.call, report })
            .expect("reported")
    }
}

pub(super) fn errors(step: &Step) -> Vec<String> {
    let happenings =
        step.events.iter().filter_map(|event| if let Event::Action(event) = event { Some(&event.what) } else { None });
    let errors =
        happenings.filter_map(|what| if let ActionHappening::Failed { error, .. } = what { Some(error) } else { None });
    errors.map(|error| format!("{:?}: {}", error.kind, error.message)).collect()
}

/// The execution that a step ended.
fn archived(step: &Step) -> Execution {
    let mut archived = step.changes.iter().filter_map(|change| match change {
        Change::Archive(execution) => Some((**execution).clone()),
        _ => None,
    });
    archived.next().expect("it ended")
}

fn success(variable_bytes: usize) -> Report {
    let variables = Variables::from([("Key".to_owned(), "x".repeat(variable_bytes))]);
    Report::succeeded(Success { variables, ..Default::default() })
}

#[test]
fn output_variables_have_limits_for_the_action_and_for_the_execution() {
    const MAX: usize = OUTPUT_VARIABLES_BYTES_MAX - "Key".len();
    let check = |declaration: &str, sizes: &[usize], error: Option<&str>| {
        let mut machine = Machine::started(declaration);
        let (last, before) = sizes.split_last().expect("a size");
        for size in before {
            assert_eq!(errors(&machine.report(success(*size))), Vec::<String>::new(), "{sizes:?}");
        }
        assert_eq!(errors(&machine.report(success(*last))).first().map(String::as_str), error, "{sizes:?}");
    };
    let kept = "S: A=a B=b C=c\nT: D";
    check(kept, &[MAX], None);
    check(kept, &[MAX + 1], Some("JobFailed: The output variables have 122881 bytes, which is more than 122880"));
    check(kept, &[MAX, MAX, 10_000], None);
    let too_many = "JobFailed: The output variables of all actions together are more than 262144 bytes";
    check(kept, &[MAX, MAX, MAX], Some(too_many));
    check("S: A B C\nT: D", &[MAX, MAX, MAX], None);
}

/// Of all its values together, with their keys, however small each is.
#[test]
fn a_resolved_configuration_has_a_limit() {
    const MAX: usize = (CONFIGURATION_BYTES_MAX - "OneTwo".len()) / 2;
    let check = |bytes: usize, error: Option<&str>| {
        let mut declaration = pipeline("S: A=a\nT: B{One:#{a.Key}}");
        let configuration = &mut Arc::make_mut(&mut declaration).stages[1].actions[0].configuration;
        configuration.get_or_insert_default().insert("Two".to_owned(), "#{a.Key}".to_owned());
        let mut machine = Machine::created(declaration);
        machine.submit(InputKind::Start(StartRequest::default())).expect("started");
        assert_eq!(errors(&machine.report(success(bytes))).first().map(String::as_str), error);
    };
    check(MAX, None);
    check(MAX + 1, Some("ConfigurationError: T/B: the resolved configuration is larger than 102400 bytes"));
}

#[test]
fn a_continuation_has_a_limit() {
    let check = |bytes: usize, error: Option<&str>| {
        let mut machine = Machine::started("S: A\nT: B");
        let wait = Wait { awaits: vec![ready()], continuation: vec![0; bytes], summary: None };
        assert_eq!(errors(&machine.report(Report::waiting(wait))).first().map(String::as_str), error);
    };
    check(CONTINUATION_BYTES_MAX, None);
    check(
        CONTINUATION_BYTES_MAX + 1,
        Some("JobFailed: The action's continuation has 16385 bytes, which is more than 16384"),
    );
}

#[test]
fn a_signal_has_a_limit() {
    let check = |bytes: usize, is_taken: bool| {
        let mut machine = Machine::started("S: A\nT: B");
        let action = machine.call().expect("a call runs").action_execution;
        machine.report(Report::waiting(Wait { awaits: vec![ready()], ..Default::default() }));
        let refusal = machine.submit(InputKind::Signal { action, kind: "ready".into(), payload: vec![0; bytes] }).err();
        let too_large = Refusal::SignalTooLarge { bytes, bytes_max: SIGNAL_PAYLOAD_BYTES_MAX };
        assert_eq!(refusal, (!is_taken).then_some(too_large));
    };
    check(SIGNAL_PAYLOAD_BYTES_MAX, true);
    check(SIGNAL_PAYLOAD_BYTES_MAX + 1, false);
}

/// However short it asks, an action waits a second, and it is not called for ever.
#[test]
fn waits_have_a_least_time_and_calls_a_most_number() {
    let check = |until: u64, at: u64| {
        let mut machine = Machine::started("S: A\nT: B");
        let step = machine
            .report(Report::waiting(Wait { awaits: vec![Awaited::Time(Timestamp(until))], ..Default::default() }));
        let set = step.effects.iter().find_map(|effect| match effect {
            Effect::SetTimer { at, .. } => Some(*at),
            _ => None,
        });
        assert_eq!(set, Some(Timestamp(at)));
    };
    check(0, 3 + WAIT_MILLISECONDS_MIN);
    check(10_000, 10_000);

    let mut machine = Machine::started("S: A\nT: B");
    let call = machine.call().expect("a call runs");
    let address = call.address;
    let mut run = (*machine.state.executions[&call.execution].runs[&address]).clone();
    run.call = CALLS_COUNT_MAX - 1;
    machine.state.apply([Change::Run(call.execution, address, Arc::new(run))]).expect("it fits");
    let wait = || Report::waiting(Wait { awaits: vec![ready()], ..Default::default() });
    assert_eq!(errors(&machine.report(wait())), [""; 0]);
    machine
        .submit(InputKind::Signal { action: call.action_execution, kind: "ready".into(), payload: Vec::new() })
        .expect("it waits");
    let refused = "JobFailed: The action was called 100000 times and waits again: it must wait longer, or end";
    assert_eq!(errors(&machine.report(wait())), [refused]);
}

/// What calls used is added up, also what a failing one used, and handed to the next call.
#[test]
fn usage_counts_for_all_calls_of_an_action_execution() {
    let mut machine = Machine::started("S: A\nT: B");
    let usage = Usage { cpu_ms: 7, log_bytes: 100, host_calls: u64::MAX };
    for times in 0..3 {
        let call = machine.call().expect("a call runs");
        let host_calls = if times == 0 { 0 } else { u64::MAX };
        assert_eq!(call.spent, Usage { cpu_ms: 7 * times, log_bytes: 100 * times, host_calls });
        let wait = Wait { awaits: vec![ready()], ..Default::default() };
        machine.report(Report { usage, ..Report::waiting(wait) });
        let action = call.action_execution;
        machine.submit(InputKind::Signal { action, kind: "ready".into(), payload: Vec::new() }).expect("it waits");
    }
    let ended = archived(&machine.report(Report { usage, ..Report::failed(FailureType::JobFailed, "no") }));
    let spent: Vec<_> = ended.runs.values().map(|run| run.spent.cpu_ms).collect();
    assert_eq!(spent, [4 * 7]);
}

fn ready() -> Awaited {
    Awaited::Signal("ready".into())
}

/// What answers something has no effect where that is gone; a command is told that the pipeline is.
#[test]
fn what_comes_when_the_pipeline_is_gone_is_stale() {
    let mut machine = Machine::started("S: A\nT: B");
    let call = machine.call().expect("a call runs");
    machine.submit(InputKind::Delete).expect("deleted");
    let action = call.action_execution;
    let report = Report::succeeded(Success::default());
    let mut check = |what: InputKind, refused: Refusal| assert_eq!(machine.submit(what).err(), Some(refused));
    check(InputKind::ActionReported { action, call: 1, report }, Refusal::Stale);
    check(InputKind::ActionRestarted { action, crashed: true }, Refusal::Stale);
    check(InputKind::TimerDue { timer: TimerId { action, kind: TimerKind::Timeout } }, Refusal::Stale);
    check(InputKind::Signal { action, kind: "ready".into(), payload: Vec::new() }, Refusal::Stale);
    check(InputKind::Start(StartRequest::default()), Refusal::PipelineNotFound);
    check(InputKind::Delete, Refusal::PipelineNotFound);
    check(InputKind::Update { declaration: pipeline("S: A\nT: B") }, Refusal::PipelineNotFound);
}

#[test]
fn executions_in_progress_have_a_limit_in_queued_and_parallel() {
    let check = |mode: &str, count_max: Option<usize>| {
        let mut machine = Machine::started(&format!("mode {mode}\nS: A\nT: B"));
        machine.report(success(0));
        let ended = archived(&machine.report(Report::failed(FailureType::JobFailed, "no")));
        for _ in 0..EXECUTIONS_COUNT_MAX {
            machine.submit(InputKind::Start(StartRequest::default())).expect("there is room");
        }
        let retry = RetryRequest {
            stage: "T".into(),
            execution: ended.id,
            mode: StageRetryMode::FailedActions,
            ended: Some(Box::new(ended)),
        };
        let too_many = count_max.map(|count_max| Refusal::TooManyExecutions { pipeline: "Demo".into(), count_max });
        for what in [InputKind::Start(StartRequest::default()), InputKind::RetryStage(retry)] {
            let refused = machine.submit(what).err();
            assert_eq!(refused, too_many, "{mode}");
            let class = refused.and_then(|it| it.error_class());
            assert!(class.is_none_or(|class| class == "ConcurrentPipelineExecutionsLimitExceededException"));
        }
    };
    assert_eq!((EXECUTIONS_COUNT_MAX, bounds::LIVE_BYTES_MAX), (1_050, 28 * 1024 * 1024), "as S44 says");
    check("SUPERSEDED", None);
    check("QUEUED", Some(EXECUTIONS_COUNT_MAX));
    check("PARALLEL", Some(EXECUTIONS_COUNT_MAX));
}

#[test]
fn variables_are_for_pipelines_of_type_v2() {
    let mut declaration = pipeline("S: A\nT: B");
    Arc::make_mut(&mut declaration).pipeline_type = Some(PipelineType::V1);
    let variables = vec![("Name".to_owned(), "value".to_owned())];
    let start = InputKind::Start(StartRequest { variables, ..Default::default() });
    let refusal = Machine::created(declaration).submit(start).expect_err("it is refused");
    assert_eq!(refusal.error_class(), Some("ValidationException"));
    assert_eq!(refusal.to_string(), "Pipeline variable can only be used with V2 pipelines");
}

/// Minutes, waits included: what the declaration says, else what CodePipeline gives the type (S51, S58).
#[test]
fn actions_and_rules_have_the_time_of_their_type() {
    const DAY: u64 = 24 * 60;
    let check = |id: &str, declared: Option<u32>, minutes: u64| {
        let [category, owner, provider] = id.split('/').collect::<Vec<_>>()[..] else { panic!("{id}") };
        let id = json!({ "category": category, "owner": owner, "provider": provider, "version": "1" });
        let mut document = json!({ "name": "A", "timeoutInMinutes": declared });
        let time = if category == "Rule" {
            document["ruleTypeId"] = id.clone();
            let rule: RuleDeclaration = serde_json::from_value(document).expect("a rule");
            Declared::Rule(&rule).timeout_milliseconds()
        } else {
            document["actionTypeId"] = id.clone();
            let action: ActionDeclaration = serde_json::from_value(document).expect("an action");
            Declared::Action(&action).timeout_milliseconds()
        };
        assert_eq!(time, minutes * 60_000, "{id}");
    };
    check("Source/AWS/CodeCommit", None, 60);
    check("Build/AWS/CodeBuild", None, 36 * 60);
    check("Test/AWS/CodeBuild", None, 8 * 60);
    check("Test/AWS/DeviceFarm", None, 60);
    check("Build/ThirdParty/CloudBees", None, 60);
    check("Compute/AWS/Commands", None, 55);
    check("Deploy/AWS/S3", None, 90);
    check("Source/AWS/S3", None, 60);
    check("Invoke/AWS/Lambda", None, DAY);
    check("Build/Custom/Jenkins", None, DAY);
    check("Deploy/AWS/CloudFormation", None, 3 * DAY);
    check("Deploy/AWS/CodeDeploy", None, 5 * DAY);
    check("Invoke/AWS/StepFunctions", None, 7 * DAY);
    check("Approval/AWS/Manual", None, 7 * DAY);
    check("Approval/AWS/Manual", Some(5), 5);
    check("Rule/AWS/DeploymentWindow", None, 60);
    check("Rule/AWS/Commands", None, 55);
    check("Rule/AWS/LambdaInvoke", None, DAY);
    check("Rule/AWS/LambdaInvoke", Some(5), 5);
}
