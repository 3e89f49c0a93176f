//! Changing the execution mode while executions run (S49).

use super::super::*;
use super::pipelines::pipeline;
use super::script::command;
use super::world::World;

const STAGES: &str = "Source: Src\nBuild: Compile";

fn run(world: &mut World, script: &str) {
    for line in script.lines() {
        world.now = world.now.plus(1000);
        let what = command(world, &line.split_whitespace().collect::<Vec<_>>());
        world.submit(what).unwrap_or_else(|refusal| panic!("{line}: {refusal}"));
    }
}

/// Three executions come to the second stage; gives how many are in it, wait in front of it, and were superseded there.
fn three(world: &mut World, names: [&str; 3]) -> (usize, usize, usize) {
    for name in names {
        run(world, &format!("start {name}\nok {name} Source/Src"));
    }
    let live = world.state.executions.values();
    let within = live.filter(|it| it.stage() == 1 && it.progress.inbound_since.is_none()).count();
    let waiting = world.state.executions.waiting(1).count();
    let superseded = world.archive.values().filter(|it| it.progress.status == ExecutionStatus::Superseded);
    (within, waiting, superseded.count())
}

#[test]
fn a_mode_is_changed_to_any_other_while_executions_run() {
    let modes = [("SUPERSEDED", (1, 1, 1)), ("QUEUED", (1, 2, 0)), ("PARALLEL", (3, 0, 0))];
    let pairs = modes.iter().flat_map(|from| modes.iter().map(move |to| (from, to))).filter(|(from, to)| from != to);
    for ((from, there), (to, then)) in pairs {
        let mut world = World::new(pipeline(&format!("mode {from}\n{STAGES}")));
        assert_eq!(three(&mut world, ["A", "B", "C"]), *there, "{from}");
        let before = world.state.head.as_ref().expect("a head").stages[1].latest.expect("one came").execution;

        run(&mut world, &format!("update mode {to};Source:Src;Build:Compile"));
        assert!(world.state.executions.is_empty(), "from {from} to {to}");
        let ended = world.archive.values().map(|it| it.progress.status);
        assert_eq!(ended.filter(|it| *it == ExecutionStatus::Cancelled).count(), 3 - there.2, "from {from} to {to}");
        let head = world.state.head.clone().expect("a head");
        let shown = head.stages[1].latest.map(|latest| (latest.execution, latest.status));
        assert_eq!(shown, Some((before, StageStatus::Cancelled)), "from {from} to {to} the stage shows what it showed");
        assert!(head.stages.iter().all(|stage| stage.occupant.is_none()));

        let (within, waiting, superseded) = three(&mut world, ["D", "E", "F"]);
        assert_eq!((within, waiting, superseded - there.2), *then, "from {from} to {to}");
    }
}
