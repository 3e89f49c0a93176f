//! What a step costs as a driver does it: a clone of the state, the step, the changes applied to the clone, and when the
//! pipeline is next due. Beside many executions it costs at most twice what it costs alone.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::super::*;
use super::limits::Machine;
use super::pipelines::pipeline;

const STEPS: u32 = 200;
const ROUNDS: usize = 20;

fn id(index: u64) -> [u8; 16] {
    // Spread, as ids are.
    u128::from(index).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes()
}

/// One execution whose action runs in the first stage, and so many others: behind it, or beside it.
fn with_others(mode: &str, others: u64) -> State {
    let mut machine = Machine::created(pipeline(&format!("mode {mode}\nS: A>App=a\nT: B<App C\nU: D")));
    machine.submit(InputKind::Start(StartRequest::default())).expect("started");
    let mut state = machine.state;
    let first = state.executions.values().next().expect("it runs").clone();
    let mut head = state.head.as_deref().expect("a head").clone();
    for index in 1..=others {
        let mut other = Execution { id: ExecutionId::from_bytes(id(index)), ..(*first).clone() };
        let start = Start { number: index + 1, ..(*other.start).clone() };
        other.start = start.into();
        head.executions += 1;
        if mode == "QUEUED" {
            other.progress.stages.clear();
            other.runs.clear();
            other.progress.inbound_since = Some(Timestamp(index));
        } else {
            for (place, run) in other.runs.values_mut().enumerate() {
                let id = ActionExecutionId::from_bytes(id(1_000_000 + index * 10 + place as u64));
                *run = ActionRun { id, ..(**run).clone() }.into();
            }
        }
        state.executions.put(other);
    }
    state.apply([Change::Head(head.into())]).expect("it fits");
    state
}

/// The first stage's action succeeds: its execution goes on, and the next one may come in.
fn report(state: &State) -> Input {
    let first = state.executions.values().find(|execution| execution.start.number == 1).expect("it runs");
    let (_, run) = first.stage_actions(0).next().expect("its action");
    let artifacts = [("App".to_owned(), "d".repeat(71))].into();
    let report = Report::succeeded(Success { artifacts, ..Success::default() });
    Input { entropy: Entropy([7; 32]), what: InputKind::ActionReported { action: run.id, call: 1, report } }
}

#[expect(clippy::disallowed_methods, reason = "what is measured is the machine itself")]
fn measured(state: &State) -> Duration {
    let input = report(state);
    let begun = Instant::now();
    for at in 0..STEPS {
        let mut after = state.clone();
        let step = step(state, input.clone(), Timestamp(u64::from(at) + 10)).expect("taken");
        after.apply(step.changes).expect("changes fit");
        black_box((state.due(), after.due()));
    }
    begun.elapsed() / STEPS
}

/// What a step writes does not grow with the executions beside it.
#[test]
fn a_step_writes_the_same_beside_many_executions() {
    for (mode, others) in [("QUEUED", 1000), ("PARALLEL", 500)] {
        let written = |others| {
            let state = with_others(mode, others);
            let step = step(&state, report(&state), Timestamp(10)).expect("taken");
            let bytes = step.changes.iter().map(|change| stored::write(change).expect("JSON").len()).sum::<usize>();
            (step.changes.len(), step.events.len(), bytes)
        };
        let (one, many) = (written(1), written(others));
        assert_eq!((one.0, one.1), (many.0, many.1), "{mode}");
        // The number of executions itself has more digits.
        assert!(many.2 <= one.2 + 16, "{mode}: {} bytes beside one, {} beside {others}", one.2, many.2);
    }
}

/// The best of many rounds that take turns: what else the machine does only makes some of them longer.
#[test]
fn a_step_costs_at_most_twice_as_much_beside_many_executions() {
    for (mode, others) in [("QUEUED", 1000), ("PARALLEL", 500)] {
        let alone = with_others(mode, u64::from(mode == "QUEUED"));
        let many = with_others(mode, others);
        assert_eq!(many.executions.len() as u64, others + 1);
        let best = |(a, b): (Duration, Duration)| (a.min(measured(&alone)), b.min(measured(&many)));
        let (alone, many) = (0..ROUNDS).fold((Duration::MAX, Duration::MAX), |so_far, _| best(so_far));
        assert!(many < alone * 2, "{mode}: {alone:?} alone, {many:?} beside {others} others");
    }
}
