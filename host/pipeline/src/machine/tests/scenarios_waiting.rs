//! Actions that wait: continuations, signals, timers, approvals, timeouts, and late or repeated answers.

use expect_test::expect;

use super::script::check;

#[test]
fn a_waiting_action_is_called_again_by_time_or_signal_whichever_comes_first() {
    check(
        "Source: Src
         Build: Compile",
        "timers
         . start A
         . ok A Source/Src
         wait A Build/Compile ready 2h
         signal A Build/Compile other
         due A Build/Compile wake
         wait A Build/Compile ready 2h
         signal A Build/Compile ready
         signal A Build/Compile ready
         wait A Build/Compile - 3h
         due A Build/Compile wake
         wait A Build/Compile ready 5h
         due A Build/Compile timeout
         . start B
         . ok B Source/Src
         wait B Build/Compile -",
        expect![[r#"
            > timers
            > wait A Build/Compile ready 2h
              A/Build/Compile waiting
              timer A/Build/Compile Wake { call: 1 } in 120 minutes
            > signal A Build/Compile other
              refused -: The action execution does not wait for a signal of kind 'other'
            > due A Build/Compile wake
              A/Build/Compile resumed, call 2, signal None
              run A/Build/Compile call 2 attempt 1, woken by time
            > wait A Build/Compile ready 2h
              A/Build/Compile waiting
              timer A/Build/Compile Wake { call: 2 } in 120 minutes
            > signal A Build/Compile ready
              A/Build/Compile resumed, call 3, signal Some("ready")
              clear A/Build/Compile Wake { call: 2 }
              run A/Build/Compile call 3 attempt 1, woken by ready news
            > signal A Build/Compile ready
              refused -: The action execution does not wait for a signal of kind 'ready'
            > wait A Build/Compile - 3h
              A/Build/Compile waiting
              timer A/Build/Compile Wake { call: 3 } in 180 minutes
            > due A Build/Compile wake
              A/Build/Compile resumed, call 4, signal None
              run A/Build/Compile call 4 attempt 1, woken by time
            > wait A Build/Compile ready 5h
              A/Build/Compile waiting
              timer A/Build/Compile Wake { call: 4 } in 300 minutes
            > due A Build/Compile timeout
              A/Build/Compile FAILED JobFailed: The action did not end within its timeout of 60 minutes
              A/Build FAILED
              A FAILED: The action Compile in stage Build failed
              clear A/Build/Compile Wake { call: 4 }
            > wait B Build/Compile -
              B/Build/Compile FAILED JobFailed: The action waits for nothing: it must name a time or a signal
              B/Build FAILED
              B FAILED: The action Compile in stage Build failed
              clear B/Build/Compile Timeout
        "#]],
    );
}

#[test]
fn an_approval_is_decided_once() {
    check(
        "Source: Src
         Gate: Ask! Sign!
         Deploy: Publish",
        "timers
         . start A
         . ok A Source/Src
         approve A Gate/Ask
         wait A Gate/Ask approval
         wait A Gate/Sign approval
         approve A Gate/Nobody
         approve A Nowhere/Ask
         signal A Gate/Ask approval
         approve A Gate/Ask
         reject A Gate/Ask
         ok A Gate/Ask
         reject A Gate/Ask
         reject A Gate/Sign
         fail A Gate/Sign rejected
         approve A Gate/Sign",
        expect![[r#"
            > timers
            > approve A Gate/Ask
              refused InvalidApprovalTokenException: The approval request already received a response or has expired.
            > wait A Gate/Ask approval
              A/Gate/Ask waiting
            > wait A Gate/Sign approval
              A/Gate/Sign waiting
            > approve A Gate/Nobody
              refused ActionNotFoundException: The stage 'Gate' of pipeline 'Demo' does not have an action with name 'Nobody'
            > approve A Nowhere/Ask
              refused StageNotFoundException: The pipeline 'Demo' does not have a stage with name 'Nowhere'
            > signal A Gate/Ask approval
              refused -: The action execution does not wait for a signal of kind 'approval'
            > approve A Gate/Ask
              A/Gate/Ask Approved by Some("ann")
              A/Gate/Ask resumed, call 2, signal Some("approval")
              run A/Gate/Ask call 2 attempt 1, told Approved "looked at it" by Some("ann")
            > reject A Gate/Ask
              refused ApprovalAlreadyCompletedException: The approval action has already been approved or rejected.
            > ok A Gate/Ask
              A/Gate/Ask SUCCEEDED
              clear A/Gate/Ask Timeout
            > reject A Gate/Ask
              refused ApprovalAlreadyCompletedException: The approval action has already been approved or rejected.
            > reject A Gate/Sign
              A/Gate/Sign Rejected by Some("ann")
              A/Gate/Sign resumed, call 2, signal Some("approval")
              run A/Gate/Sign call 2 attempt 1, told Rejected "looked at it" by Some("ann")
            > fail A Gate/Sign rejected
              A/Gate/Sign FAILED JobFailed: rejected: looked at it
              A/Gate FAILED
              A FAILED: The action Sign in stage Gate failed
              clear A/Gate/Sign Timeout
            > approve A Gate/Sign
              refused InvalidApprovalTokenException: The approval request already received a response or has expired.
        "#]],
    );
}

#[test]
fn an_action_that_takes_too_long_fails() {
    check(
        "Source: Src
         Gate: Ask!
         Deploy: Publish",
        "timers
         start A
         due A Source/Src timeout
         ok A Source/Src
         start B
         ok B Source/Src
         wait B Gate/Ask approval
         due B Gate/Ask timeout
         approve B Gate/Ask",
        expect![[r#"
            > timers
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              timer A/Source/Src Timeout in 60 minutes
              run A/Source/Src call 1 attempt 1
            > due A Source/Src timeout
              A/Source/Src FAILED JobFailed: The action did not end within its timeout of 60 minutes
              A/Source FAILED
              A FAILED: The action Src in stage Source failed
              end A/Source/Src
            > ok A Source/Src
              refused -: The answer comes too late: what it answers is over
            > start B
              B STARTED
              B/Source STARTED
              B/Source/Src STARTED
              timer B/Source/Src Timeout in 60 minutes
              run B/Source/Src call 1 attempt 1
            > ok B Source/Src
              B/Source/Src SUCCEEDED
              B/Source SUCCEEDED
              B/Gate STARTED
              B/Gate/Ask STARTED
              clear B/Source/Src Timeout
              timer B/Gate/Ask Timeout in 10080 minutes
              run B/Gate/Ask call 1 attempt 1
            > wait B Gate/Ask approval
              B/Gate/Ask waiting
            > due B Gate/Ask timeout
              B/Gate/Ask FAILED JobFailed: The action did not end within its timeout of 10080 minutes
              B/Gate FAILED
              B FAILED: The action Ask in stage Gate failed
            > approve B Gate/Ask
              refused InvalidApprovalTokenException: The approval request already received a response or has expired.
        "#]],
    );
}

#[test]
fn a_call_that_a_crash_interrupted_is_a_further_attempt() {
    check(
        "Source: Src
         Build: Compile",
        "start A
         restart A Source/Src
         restart A Source/Src
         ok A Source/Src
         restart A Source/Src
         wait A Build/Compile ready
         restart A Build/Compile",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > restart A Source/Src
              A/Source/Src restarted, attempt 2
              run A/Source/Src call 1 attempt 2
            > restart A Source/Src
              A/Source/Src restarted, attempt 3
              run A/Source/Src call 1 attempt 3
            > ok A Source/Src
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build/Compile STARTED
              run A/Build/Compile call 1 attempt 1
            > restart A Source/Src
              refused -: The answer comes too late: what it answers is over
            > wait A Build/Compile ready
              A/Build/Compile waiting
            > restart A Build/Compile
              refused -: The answer comes too late: what it answers is over
        "#]],
    );
}
