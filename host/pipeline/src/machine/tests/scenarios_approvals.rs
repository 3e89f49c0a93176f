//! A person's decision is final: the plugin that asked is told, and whatever it makes of it, the action ends as decided.

use expect_test::expect;

use super::script::check;

#[test]
fn what_the_plugin_makes_of_a_decision_changes_nothing() {
    check(
        "Source: Src
         Gate: Fails! Waits! Hangs! Good!
         Deploy: Publish",
        "timers
         . start A
         . ok A Source/Src
         wait A Gate/Fails approval
         . wait A Gate/Waits approval
         . wait A Gate/Hangs approval
         . wait A Gate/Good approval
         approve A Gate/Fails
         fail A Gate/Fails the plugin does not understand
         . approve A Gate/Waits
         wait A Gate/Waits approval
         . approve A Gate/Hangs
         due A Gate/Hangs timeout
         reject A Gate/Good
         ok A Gate/Good",
        expect![[""]],
    );
}

#[test]
fn a_decision_outlives_crashes_and_whoever_abandons_the_execution() {
    check(
        "Source: Src
         Gate: Ask! Sign! Check
         Deploy: Publish",
        ". start A
         . ok A Source/Src
         . wait A Gate/Ask approval
         . wait A Gate/Sign approval
         approve A Gate/Ask
         crash A Gate/Ask
         crash A Gate/Ask
         approve A Gate/Sign
         abandon A",
        expect![[""]],
    );
}

/// An action of another category asks before it does something, and knows itself how that ended.
#[test]
fn an_action_that_is_no_approval_decides_by_itself() {
    check(
        "Source: Src
         Deploy: Publish",
        ". start A
         . ok A Source/Src
         wait A Deploy/Publish approval
         approve A Deploy/Publish
         fail A Deploy/Publish no such server",
        expect![[""]],
    );
}

#[test]
fn an_action_that_runs_while_the_host_crashes_twice_is_not_run_again() {
    check(
        "Source: Src
         Build: Compile
         Deploy: Publish",
        "timers
         . start A
         restart A Source/Src
         crash A Source/Src
         restart A Source/Src
         ok A Source/Src
         crash A Build/Compile
         crash A Build/Compile
         retry A Build failed
         crash A Build/Compile
         ok A Build/Compile",
        expect![[""]],
    );
}
