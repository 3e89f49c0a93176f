//! What a stage does by itself when its actions failed: it is retried, or skipped.

use expect_test::expect;

use super::script::check;

#[test]
fn a_stage_is_retried_once_by_itself_with_its_failed_actions() {
    check(
        "Source: Src
         Build: Lint Compile Pack@2
         failure RETRY",
        ". start A
         . ok A Source/Src
         fail A Build/Lint untidy
         ok A Build/Compile
         fail A Build/Lint untidy
         retry A Build failed
         fail A Build/Lint untidy",
        expect![[r#"
            > fail A Build/Lint untidy
              A/Build/Lint FAILED JobFailed: untidy
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
              A RESUMED
              A/Build RESUMED
              A/Build/Lint STARTED
              run A/Build/Lint call 1 attempt 1
            > fail A Build/Lint untidy
              A/Build/Lint FAILED JobFailed: untidy
              A/Build FAILED
              A FAILED: The action Lint in stage Build failed
            > retry A Build failed
              A RESUMED
              A/Build RESUMED
              A/Build/Lint STARTED
              run A/Build/Lint call 1 attempt 1
            > fail A Build/Lint untidy
              A/Build/Lint FAILED JobFailed: untidy
              A/Build FAILED
              A FAILED: The action Lint in stage Build failed
        "#]],
    );
}

#[test]
fn a_stage_is_retried_by_itself_with_all_its_actions() {
    check(
        "Source: Src Docs
         failure RETRY ALL_ACTIONS
         Build: Compile",
        ". start A
         . ok A Source/Src
         fail A Source/Docs gone
         ok A Source/Src
         ok A Source/Docs",
        expect![[r#"
            > fail A Source/Docs gone
              A/Source/Docs FAILED JobFailed: gone
              A RESUMED
              A/Source RESUMED
              A/Source/Src STARTED
              A/Source/Docs STARTED
              run A/Source/Src call 1 attempt 1
              run A/Source/Docs call 1 attempt 1
            > ok A Source/Src
              A/Source/Src SUCCEEDED
            > ok A Source/Docs
              A/Source/Docs SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build/Compile STARTED
              run A/Build/Compile call 1 attempt 1
        "#]],
    );
}

#[test]
fn a_stop_comes_before_a_retry() {
    check(
        "Source: Src
         Build: Lint Compile
         failure RETRY",
        ". start A
         . ok A Source/Src
         . fail A Build/Lint untidy
         stop A
         ok A Build/Compile",
        expect![[r#"
            > stop A
              A STOPPING
              A/Build STOPPING
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
              A/Build STOPPED
              A STOPPED: enough
        "#]],
    );
}

#[test]
fn a_stage_that_failed_is_skipped_where_it_says_so() {
    check(
        "Source: Src
         Test: Try
         failure SKIP
         Deploy: Publish",
        ". start A
         . ok A Source/Src
         fail A Test/Try flaky
         retry A Test failed
         rollback A Test",
        expect![[r#"
            > fail A Test/Try flaky
              A/Test/Try FAILED JobFailed: flaky
              A/Test SKIPPED
              A/Deploy STARTED
              A/Deploy/Publish STARTED
              run A/Deploy/Publish call 1 attempt 1
            > retry A Test failed
              refused StageNotRetryableException: Unable to retry the stage 'Test': its execution has gone on.
            > rollback A Test
              refused UnableToRollbackStageException: Unable to roll back the stage 'Test': the target has not succeeded in it.
        "#]],
    );
}

/// What could not be judged is otherwise as what did not pass: what it guards is not left as it is.
#[test]
fn a_condition_that_could_not_be_judged_rolls_back_as_one_that_failed() {
    check(
        "Source: Src
         Build: Compile
         success ROLLBACK: Alarm",
        ". start A
         . ok A Source/Src
         . ok A Build/Compile
         . yes A Build/Alarm
         . start B
         . ok B Source/Src
         . ok B Build/Compile
         fail B Build/Alarm no-answer
         load B",
        expect![[r#"
            > fail B Build/Alarm no-answer
              B/Build/Alarm FAILED JobFailed: no-answer
              B/Build on-success Errored
              load A for B
            > load B
              B/Build FAILED
              B FAILED: The success condition of stage Build failed; it is rolled back to the pipeline execution A
              C STARTED
              C/Build STARTED
              C/Build/Compile STARTED
              run C/Build/Compile call 1 attempt 1
        "#]],
    );
}
