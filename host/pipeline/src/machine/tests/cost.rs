//! What a step costs as a driver does it: a clone of the state, the step, the changes applied to the clone.

use std::time::Instant;

use super::super::*;
use super::pipelines::pipeline;

#[test]
fn a_step_costs_little() {
    let check = |name: &str, text: &str, live: usize| {
        let mut state = State::default();
        let mut inputs = 0_u64;
        let mut spent = std::time::Duration::ZERO;
        let mut steps = 0;
        let mut submit = |state: &mut State, what: InputKind| {
            inputs += 1;
            let mut entropy = [0; 32];
            entropy[..8].copy_from_slice(&inputs.to_le_bytes());
            let begun = Instant::now();
            let mut after = state.clone();
            let step = step(&after, Input { entropy: Entropy(entropy), what }, Timestamp(inputs)).expect("taken");
            after.apply(step.changes).expect("changes fit");
            spent += begun.elapsed();
            steps += 1;
            *state = after;
            step.effects
        };
        submit(&mut state, InputKind::Create { declaration: pipeline(text) });
        for _ in 0..2000 {
            let mut effects = submit(&mut state, InputKind::Start(StartRequest::default()));
            while let Some(effect) = effects.pop() {
                let Effect::RunAction(call) = effect else { continue };
                if usize::from(call.address.stage) + live >= state.declaration.as_ref().expect("created").stages.len() {
                    continue;
                }
                let artifacts = call.action().outputs().map(|name| (name.to_owned(), "d".repeat(71))).collect();
                let report = Report::succeeded(Success { artifacts, ..Default::default() });
                let what = InputKind::ActionReported { action: call.action_execution, call: call.call, report };
                effects.extend(submit(&mut state, what));
            }
        }
        println!("{name}: {:.2} us a step, {steps} steps", spent.as_secs_f64() * 1e6 / f64::from(steps));
    };
    check("three actions", "Source: Src>App\nBuild: Compile<App>Site\nDeploy: Publish<Site", 0);
    let stages: String = (0..20).map(|s| format!("S{s}: A{s}>Out{s} B{s} C{s}\n")).collect();
    check("sixty actions, an execution in each of two stages", &stages, 1);
}
