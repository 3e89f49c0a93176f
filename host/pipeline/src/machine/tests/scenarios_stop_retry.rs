//! Stopping executions and retrying stages.

use expect_test::expect;

use super::script::check;

#[test]
fn stop_and_wait_lets_actions_end_and_starts_no_more() {
    check(
        "Source: Src
         Build: Lint Compile Pack@2
         Deploy: Publish",
        "start A
         ok A Source/Src
         stop A
         stop A
         ok A Build/Lint
         start B
         ok B Source/Src
         ok A Build/Compile
         stop A",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > ok A Source/Src
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build/Lint STARTED
              A/Build/Compile STARTED
              run A/Build/Lint call 1 attempt 1
              run A/Build/Compile call 1 attempt 1
            > stop A
              A STOPPING
              A/Build STOPPING
            > stop A
              refused DuplicatedStopRequestException: The execution with ID A in Demo is already in a stopping state. If you already chose to stop and wait, you cannot make that request again. You can choose to stop and abandon now, but be aware that this option can lead to failed actions. If you already chose to stop and abandon, you cannot make that request again.
            > ok A Build/Lint
              A/Build/Lint SUCCEEDED
            > start B
              B STARTED
              B/Source STARTED
              B/Source/Src STARTED
              run B/Source/Src call 1 attempt 1
            > ok B Source/Src
              B/Source/Src SUCCEEDED
              B/Source SUCCEEDED
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
              A/Build STOPPED
              A STOPPED: enough
              B/Build STARTED
              B/Build/Lint STARTED
              B/Build/Compile STARTED
              run B/Build/Lint call 1 attempt 1
              run B/Build/Compile call 1 attempt 1
            > stop A
              refused PipelineExecutionNotStoppableException: Unable to stop the pipeline execution with ID A. The execution might already be in a Stopped state, or it might no longer be in progress.
        "#]],
    );
}

#[test]
fn stop_and_wait_keeps_approval_requests_and_abandoning_ends_them() {
    check(
        "Source: Src
         Gate: Ask!",
        "timers
         . start A
         . ok A Source/Src
         wait A Gate/Ask approval
         stop A
         approve A Gate/Ask
         ok A Gate/Ask
         . start B
         . ok B Source/Src
         wait B Gate/Ask approval
         stop B
         abandon B
         approve B Gate/Ask",
        expect![[r#"
            > timers
            > wait A Gate/Ask approval
              A/Gate/Ask waiting
            > stop A
              A STOPPING
              A/Gate STOPPING
            > approve A Gate/Ask
              A/Gate/Ask Approved by Some("ann")
              A/Gate/Ask resumed, call 2, signal Some("approval")
              run A/Gate/Ask call 2 attempt 1, told Approved "looked at it" by Some("ann")
            > ok A Gate/Ask
              A/Gate/Ask SUCCEEDED
              A/Gate SUCCEEDED
              A STOPPED: enough
              clear A/Gate/Ask Timeout
            > wait B Gate/Ask approval
              B/Gate/Ask waiting
            > stop B
              B STOPPING
              B/Gate STOPPING
            > abandon B
              B/Gate/Ask ABANDONED
              B/Gate STOPPED
              B STOPPED: enough
              clear B/Gate/Ask Timeout
            > approve B Gate/Ask
              refused InvalidApprovalTokenException: The approval request already received a response or has expired.
        "#]],
    );
}

#[test]
fn an_abandoned_action_reports_in_vain() {
    check(
        "Source: Src
         Build: Lint Compile",
        "start A
         ok A Source/Src
         ok A Build/Lint
         abandon A
         ok A Build/Compile
         retry A Build failed
         ok A Build/Compile",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > ok A Source/Src
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build/Lint STARTED
              A/Build/Compile STARTED
              run A/Build/Lint call 1 attempt 1
              run A/Build/Compile call 1 attempt 1
            > ok A Build/Lint
              A/Build/Lint SUCCEEDED
            > abandon A
              A STOPPING
              A/Build STOPPING
              A/Build/Compile ABANDONED
              A/Build STOPPED
              A STOPPED: enough
              end A/Build/Compile
            > ok A Build/Compile
              refused -: The answer comes too late: what it answers is over
            > retry A Build failed
              A RESUMED
              A/Build RESUMED
              A/Build/Compile STARTED
              run A/Build/Compile call 1 attempt 1
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
              A/Build SUCCEEDED
              A SUCCEEDED
        "#]],
    );
}

#[test]
fn who_waits_in_front_of_a_stage_stops_at_once_and_cannot_be_retried() {
    check(
        "Source: Src
         Build: Compile",
        "disable Build inbound
         start A
         ok A Source/Src
         stop A
         retry A Source failed
         retry A Build failed
         enable Build inbound",
        expect![[r#"
            > disable Build inbound
              Build Inbound disabled
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > ok A Source/Src
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
            > stop A
              A STOPPING
              A STOPPED: enough
            > retry A Source failed
              refused StageNotRetryableException: Unable to retry the stage 'Source': its execution has gone on.
            > retry A Build failed
              refused StageNotRetryableException: Unable to retry the stage 'Build': no execution has reached it.
            > enable Build inbound
              Build Inbound enabled
        "#]],
    );
}

#[test]
fn a_failed_stage_is_retried_with_its_failed_actions() {
    check(
        "Source: Src
         Build: Lint Compile Pack@2",
        "start A
         ok A Source/Src
         ok A Build/Lint
         retry A Build failed
         fail A Build/Compile out of memory
         retry A Source failed
         retry A Build failed
         retry A Build failed
         ok A Build/Compile
         ok A Build/Pack
         retry A Build failed",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > ok A Source/Src
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build/Lint STARTED
              A/Build/Compile STARTED
              run A/Build/Lint call 1 attempt 1
              run A/Build/Compile call 1 attempt 1
            > ok A Build/Lint
              A/Build/Lint SUCCEEDED
            > retry A Build failed
              refused StageNotRetryableException: Unable to retry the stage 'Build': it contains no failed actions.
            > fail A Build/Compile out of memory
              A/Build/Compile FAILED JobFailed: out of memory
              A/Build FAILED
              A FAILED: The action Compile in stage Build failed
            > retry A Source failed
              refused StageNotRetryableException: Unable to retry the stage 'Source': its execution has gone on.
            > retry A Build failed
              A RESUMED
              A/Build RESUMED
              A/Build/Compile STARTED
              run A/Build/Compile call 1 attempt 1
            > retry A Build failed
              refused StageNotRetryableException: Unable to retry the stage 'Build': it contains no failed actions.
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
              A/Build/Pack STARTED
              run A/Build/Pack call 1 attempt 1
            > ok A Build/Pack
              A/Build/Pack SUCCEEDED
              A/Build SUCCEEDED
              A SUCCEEDED
            > retry A Build failed
              refused StageNotRetryableException: Unable to retry the stage 'Build': it has neither failed nor been stopped.
        "#]],
    );
}

#[test]
fn a_failed_stage_is_retried_with_all_its_actions() {
    check(
        "Source: Src
         Build: Lint=lint Compile@2{Lint:#{lint.Count}}",
        "start A
         ok A Source/Src
         ok A Build/Lint Count=1
         fail A Build/Compile out of memory
         retry A Build all
         ok A Build/Lint Count=2
         abandon A
         retry A Build all
         ok A Build/Lint Count=3
         ok A Build/Compile",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > ok A Source/Src
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build/Lint STARTED
              run A/Build/Lint call 1 attempt 1
            > ok A Build/Lint Count=1
              A/Build/Lint SUCCEEDED
              A/Build/Compile STARTED Lint=1
              run A/Build/Compile call 1 attempt 1
            > fail A Build/Compile out of memory
              A/Build/Compile FAILED JobFailed: out of memory
              A/Build FAILED
              A FAILED: The action Compile in stage Build failed
            > retry A Build all
              A RESUMED
              A/Build RESUMED
              A/Build/Lint STARTED
              run A/Build/Lint call 1 attempt 1
            > ok A Build/Lint Count=2
              A/Build/Lint SUCCEEDED
              A/Build/Compile STARTED Lint=2
              run A/Build/Compile call 1 attempt 1
            > abandon A
              A STOPPING
              A/Build STOPPING
              A/Build/Compile ABANDONED
              A/Build STOPPED
              A STOPPED: enough
              end A/Build/Compile
            > retry A Build all
              A RESUMED
              A/Build RESUMED
              A/Build/Lint STARTED
              run A/Build/Lint call 1 attempt 1
            > ok A Build/Lint Count=3
              A/Build/Lint SUCCEEDED
              A/Build/Compile STARTED Lint=3
              run A/Build/Compile call 1 attempt 1
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
              A/Build SUCCEEDED
              A SUCCEEDED
        "#]],
    );
}

#[test]
fn a_failed_action_is_retried_while_its_peers_run() {
    check(
        "Source: Src
         Build: Lint Compile",
        "start A
         ok A Source/Src
         fail A Build/Lint unused import
         retry A Source failed
         retry A Build all
         retry A Build failed
         ok A Build/Compile
         ok A Build/Lint",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > ok A Source/Src
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build/Lint STARTED
              A/Build/Compile STARTED
              run A/Build/Lint call 1 attempt 1
              run A/Build/Compile call 1 attempt 1
            > fail A Build/Lint unused import
              A/Build/Lint FAILED JobFailed: unused import
            > retry A Source failed
              refused StageNotRetryableException: Unable to retry the stage 'Source': its execution has gone on.
            > retry A Build all
              refused StageNotRetryableException: Unable to retry the stage 'Build': actions in it are in progress.
            > retry A Build failed
              A/Build/Lint STARTED
              run A/Build/Lint call 1 attempt 1
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
            > ok A Build/Lint
              A/Build/Lint SUCCEEDED
              A/Build SUCCEEDED
              A SUCCEEDED
        "#]],
    );
}

#[test]
fn a_stage_that_another_execution_entered_is_not_retried() {
    check(
        "Source: Src
         Build: Compile",
        "start A
         fail A Source/Src no network
         start B
         retry A Source failed",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > fail A Source/Src no network
              A/Source/Src FAILED JobFailed: no network
              A/Source FAILED
              A FAILED: The action Src in stage Source failed
            > start B
              B STARTED
              B/Source STARTED
              B/Source/Src STARTED
              run B/Source/Src call 1 attempt 1
            > retry A Source failed
              refused NotLatestPipelineExecutionException: The stage 'Source' has run in a later execution of the pipeline, and the pipelineExecutionId A associated with the request is out of date.
        "#]],
    );
}

#[test]
fn a_retry_of_a_stage_that_the_execution_did_not_reach_says_so() {
    check(
        "Source: Src
         Build: Compile",
        "start A
         ok A Source/Src
         fail A Build/Compile no
         start B
         fail B Source/Src no network
         retry B Build failed",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > ok A Source/Src
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build/Compile STARTED
              run A/Build/Compile call 1 attempt 1
            > fail A Build/Compile no
              A/Build/Compile FAILED JobFailed: no
              A/Build FAILED
              A FAILED: The action Compile in stage Build failed
            > start B
              B STARTED
              B/Source STARTED
              B/Source/Src STARTED
              run B/Source/Src call 1 attempt 1
            > fail B Source/Src no network
              B/Source/Src FAILED JobFailed: no network
              B/Source FAILED
              B FAILED: The action Src in stage Source failed
            > retry B Build failed
              refused StageNotRetryableException: Unable to retry the stage 'Build': its execution has not reached it.
        "#]],
    );
}

#[test]
fn a_retry_is_refused_after_an_update() {
    check(
        "Source: Src
         Build: Compile",
        "start A
         fail A Source/Src no network
         update
         retry A Source failed",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > fail A Source/Src no network
              A/Source/Src FAILED JobFailed: no network
              A/Source FAILED
              A FAILED: The action Src in stage Source failed
            > update
              pipeline updated, version Some(2)
            > retry A Source failed
              refused StageNotRetryableException: Unable to retry the stage 'Source': the pipeline has been updated since.
        "#]],
    );
}
