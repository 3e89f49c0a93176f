//! What is too much, and what cannot be run yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::*;
use super::pipelines::pipeline;
use crate::declaration::{
    Condition, ConditionResult, ExecutionMode, FailureConditions, PipelineDeclaration, PipelineType,
    RetryConfiguration, StageConditions,
};

/// A machine that answers the first running call again and again.
struct Machine {
    state: State,
    inputs: u64,
}

impl Machine {
    fn started(text: &str) -> Machine {
        let mut machine = Machine { state: State::default(), inputs: 0 };
        machine.submit(What::Create { declaration: pipeline(text) }).expect("created");
        machine.submit(What::Start(StartRequest::default())).expect("started");
        machine
    }

    fn submit(&mut self, what: What) -> Result<Step, Refusal> {
        self.inputs += 1;
        let mut entropy = [0; 32];
        entropy[..8].copy_from_slice(&self.inputs.to_le_bytes());
        let step = step(&self.state, Input { entropy: Entropy(entropy), what }, Timestamp(self.inputs))?;
        self.state.apply(step.changes.iter().cloned()).expect("changes fit");
        Ok(step)
    }

    fn call(&self) -> Option<RunAction> {
        let calls = self.state.outstanding().into_iter();
        calls.filter_map(|effect| if let Effect::RunAction(call) = effect { Some(*call) } else { None }).next()
    }

    fn report(&mut self, report: Report) -> Step {
        let call = self.call().expect("a call runs");
        self.submit(What::ActionReported { action: call.action_execution, call: call.call, report }).expect("reported")
    }
}

fn errors(step: &Step) -> Vec<String> {
    let happenings =
        step.events.iter().filter_map(|event| if let Event::Action(event) = event { Some(&event.what) } else { None });
    let errors =
        happenings.filter_map(|what| if let ActionHappening::Failed { error, .. } = what { Some(error) } else { None });
    errors.map(|error| format!("{:?}: {}", error.kind, error.message)).collect()
}

fn success(variable_bytes: usize) -> Report {
    let variables = Variables::from([("Key".to_owned(), "x".repeat(variable_bytes))]);
    Report::Succeeded(Box::new(Success { variables, ..Default::default() }))
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

#[test]
fn a_continuation_has_a_limit() {
    let check = |bytes: usize, error: Option<&str>| {
        let mut machine = Machine::started("S: A\nT: B");
        let wait = Wait { signal: Some("ready".into()), continuation: vec![0; bytes], ..Default::default() };
        assert_eq!(errors(&machine.report(Report::Waiting(wait))).first().map(String::as_str), error);
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
        machine.report(Report::Waiting(Wait { signal: Some("ready".into()), ..Default::default() }));
        let refusal = machine.submit(What::Signal { action, kind: "ready".into(), payload: vec![0; bytes] }).err();
        let too_large = Refusal::SignalTooLarge { bytes, bytes_max: SIGNAL_PAYLOAD_BYTES_MAX };
        assert_eq!(refusal, (!is_taken).then_some(too_large));
    };
    check(SIGNAL_PAYLOAD_BYTES_MAX, true);
    check(SIGNAL_PAYLOAD_BYTES_MAX + 1, false);
}

/// The largest pipeline, whose actions return as much as they may, in bytes that JSON makes six times as long.
#[test]
fn whatever_actions_return_an_execution_can_be_stored() {
    const STORED_BYTES_MAX: usize = 1024 * 1024;
    let name = "n".repeat(90);
    let stage = |s: usize| (0..50).map(move |a| format!(" A{a}=ns{s}-{a}")).collect::<String>();
    let text = (0..10).map(|s| format!("S{s}:{}>{name}{s}\n", stage(s))).collect::<String>();
    let mut machine = Machine::started(&text);
    let odd = |bytes: usize| "\u{1}".repeat(bytes);
    let mut largest = 0;
    while let Some(call) = machine.call() {
        let link = Link { title: odd(10_000), url: odd(10_000) };
        let step = machine.report(Report::Succeeded(Box::new(Success {
            variables: Variables::from([("Key".to_owned(), odd(80))]),
            artifacts: call.action().outputs().map(|name| (name.to_owned(), "d".repeat(71))).collect(),
            revision: Some(Revision {
                id: "r".repeat(40),
                summary: Some(odd(10_000)),
                url: Some(odd(10_000)),
                created: None,
            }),
            told: Told {
                summary: Some(odd(10_000)),
                external_id: Some(odd(10_000)),
                links: vec![link; 100],
                details: BTreeMap::from([("targets".to_owned(), serde_json::Value::from(odd(2_000)))]),
            },
        })));
        assert_eq!(errors(&step), Vec::<String>::new());
        let stored = step.changes.iter().map(|change| serde_json::to_vec(change).expect("JSON").len());
        largest = largest.max(stored.max().unwrap_or_default());
    }
    assert!(machine.state.executions.is_empty(), "the execution ended, and was archived");
    assert!(largest > 200_000 && largest <= STORED_BYTES_MAX, "the largest change has {largest} bytes");
}

#[test]
fn what_cannot_be_run_yet_is_refused_at_the_start() {
    fn check(change: impl Fn(&mut PipelineDeclaration), refused: Option<&str>) {
        let mut declaration = pipeline("S: A\nT: B");
        change(Arc::make_mut(&mut declaration));
        let mut machine = Machine { state: State::default(), inputs: 0 };
        machine.submit(What::Create { declaration }).expect("created");
        let variables = vec![("Name".to_owned(), "value".to_owned())];
        let request = StartRequest { variables, ..Default::default() };
        let refusal = machine.submit(What::Start(request)).err().map(|refusal| {
            assert_eq!(refusal.error_class(), Some("ValidationException"));
            refusal.to_string()
        });
        assert_eq!(refusal.as_deref(), refused);
    }
    let on_failure =
        |result, retry| FailureConditions { result: Some(result), retry_configuration: retry, conditions: None };
    let conditions = || Some(StageConditions { conditions: vec![Condition { result: None, rules: None }] });
    let stage = Some("The stage 'T' with its conditions cannot be run yet");
    check(|_| {}, None);
    check(
        |it| it.execution_mode = Some(ExecutionMode::Queued),
        Some("A pipeline of execution mode QUEUED cannot be run yet"),
    );
    check(
        |it| it.execution_mode = Some(ExecutionMode::Parallel),
        Some("A pipeline of execution mode PARALLEL cannot be run yet"),
    );
    check(|it| it.stages[1].before_entry = conditions(), stage);
    check(|it| it.stages[1].on_success = conditions(), stage);
    check(|it| it.stages[1].on_failure = Some(on_failure(ConditionResult::Rollback, None)), stage);
    let retry = || Some(RetryConfiguration { retry_mode: None });
    check(|it| it.stages[1].on_failure = Some(on_failure(ConditionResult::Retry, retry())), stage);
    check(|it| it.stages[1].on_failure = Some(on_failure(ConditionResult::Fail, None)), None);
    check(|it| it.pipeline_type = Some(PipelineType::V1), Some("Pipeline variable can only be used with V2 pipelines"));
}
