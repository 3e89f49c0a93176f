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
        expect![[r#"
            > timers
            > wait A Gate/Fails approval
              A/Gate/Fails waiting
            > approve A Gate/Fails
              A/Gate/Fails Approved by Some("ann")
              A/Gate/Fails resumed, call 2, signal Some("approval")
              run A/Gate/Fails call 2 attempt 1, told Approved "looked at it" by Some("ann")
            > fail A Gate/Fails the plugin does not understand
              A/Gate/Fails SUCCEEDED
              clear A/Gate/Fails Timeout
            > wait A Gate/Waits approval
              A/Gate/Waits SUCCEEDED
              clear A/Gate/Waits Timeout
            > due A Gate/Hangs timeout
              A/Gate/Hangs SUCCEEDED
              end A/Gate/Hangs
            > reject A Gate/Good
              A/Gate/Good Rejected by Some("ann")
              A/Gate/Good resumed, call 2, signal Some("approval")
              run A/Gate/Good call 2 attempt 1, told Rejected "looked at it" by Some("ann")
            > ok A Gate/Good
              A/Gate/Good FAILED JobFailed: rejected: looked at it
              A/Gate FAILED
              A FAILED: The action Good in stage Gate failed
              clear A/Gate/Good Timeout
        "#]],
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
        expect![[r#"
            > approve A Gate/Ask
              A/Gate/Ask Approved by Some("ann")
              A/Gate/Ask resumed, call 2, signal Some("approval")
              run A/Gate/Ask call 2 attempt 1, told Approved "looked at it" by Some("ann")
            > crash A Gate/Ask
              A/Gate/Ask restarted, attempt 2
              run A/Gate/Ask call 2 attempt 2, told Approved "looked at it" by Some("ann")
            > crash A Gate/Ask
              A/Gate/Ask SUCCEEDED
            > approve A Gate/Sign
              A/Gate/Sign Approved by Some("ann")
              A/Gate/Sign resumed, call 2, signal Some("approval")
              run A/Gate/Sign call 2 attempt 1, told Approved "looked at it" by Some("ann")
            > abandon A
              A STOPPING
              A/Gate STOPPING
              A/Gate/Sign SUCCEEDED
              A/Gate/Check ABANDONED
              A/Gate STOPPED
              A STOPPED: enough
              end A/Gate/Sign
              end A/Gate/Check
        "#]],
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
        expect![[r#"
            > wait A Deploy/Publish approval
              A/Deploy/Publish waiting
            > approve A Deploy/Publish
              A/Deploy/Publish Approved by Some("ann")
              A/Deploy/Publish resumed, call 2, signal Some("approval")
              run A/Deploy/Publish call 2 attempt 1, told Approved "looked at it" by Some("ann")
            > fail A Deploy/Publish no such server
              A/Deploy/Publish FAILED JobFailed: no such server
              A/Deploy FAILED
              A FAILED: The action Publish in stage Deploy failed
        "#]],
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
        expect![[r#"
            > timers
            > restart A Source/Src
              A/Source/Src restarted, attempt 2
              run A/Source/Src call 1 attempt 2
            > crash A Source/Src
              A/Source/Src restarted, attempt 3
              run A/Source/Src call 1 attempt 3
            > restart A Source/Src
              A/Source/Src restarted, attempt 4
              run A/Source/Src call 1 attempt 4
            > ok A Source/Src
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build/Compile STARTED
              clear A/Source/Src Timeout
              timer A/Build/Compile Timeout in 60 minutes
              run A/Build/Compile call 1 attempt 1
            > crash A Build/Compile
              A/Build/Compile restarted, attempt 2
              run A/Build/Compile call 1 attempt 2
            > crash A Build/Compile
              A/Build/Compile FAILED SystemUnavailable: The host crashed 2 times while the action ran, and it is not run again: perhaps it is the action that crashes the host. The host's log may say more; to run it nevertheless, retry the stage
              A/Build FAILED
              A FAILED: The action Compile in stage Build failed
              clear A/Build/Compile Timeout
            > retry A Build failed
              A RESUMED
              A/Build RESUMED
              A/Build/Compile STARTED
              timer A/Build/Compile Timeout in 60 minutes
              run A/Build/Compile call 1 attempt 1
            > crash A Build/Compile
              A/Build/Compile restarted, attempt 2
              run A/Build/Compile call 1 attempt 2
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
              A/Build SUCCEEDED
              A/Deploy STARTED
              A/Deploy/Publish STARTED
              clear A/Build/Compile Timeout
              timer A/Deploy/Publish Timeout in 60 minutes
              run A/Deploy/Publish call 1 attempt 1
        "#]],
    );
}
