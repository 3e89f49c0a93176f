//! Conditions of stages: what they let in, what they hold, what they lead to, and who overrides them.

use expect_test::expect;

use super::script::check;

#[test]
fn a_stage_is_entered_when_all_rules_of_its_entry_condition_passed() {
    check(
        "Source: Src>App=src
         Build: Compile<App
         before FAIL: Window Same<App{Value:#{src.Commit}}",
        "timers
         . start A
         ok A Source/Src Commit=one
         start B
         yes A Build/Window
         . ok B Source/Src Commit=two
         wait A Build/Same - 1h
         due A Build/Same wake
         yes A Build/Same as wanted",
        expect![[r#"
            > timers
            > ok A Source/Src Commit=one
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build before-entry InProgress
              A/Build/Window STARTED
              A/Build/Same STARTED <App=digest-of-App Value=one
              clear A/Source/Src Timeout
              timer A/Build/Window Timeout in 60 minutes
              run A/Build/Window call 1 attempt 1
              timer A/Build/Same Timeout in 60 minutes
              run A/Build/Same call 1 attempt 1
            > start B
              B STARTED
              B/Source STARTED
              B/Source/Src STARTED
              timer B/Source/Src Timeout in 60 minutes
              run B/Source/Src call 1 attempt 1
            > yes A Build/Window
              A/Build/Window SUCCEEDED
              clear A/Build/Window Timeout
            > wait A Build/Same - 1h
              A/Build/Same waiting
              timer A/Build/Same Wake { call: 1 } in 60 minutes
            > due A Build/Same wake
              A/Build/Same resumed, call 2, signal None
              run A/Build/Same call 2 attempt 1, woken by time
            > yes A Build/Same as wanted
              A/Build/Same SUCCEEDED
              A/Build before-entry Succeeded
              A/Build/Compile STARTED <App=digest-of-App
              clear A/Build/Same Timeout
              timer A/Build/Compile Timeout in 60 minutes
              run A/Build/Compile call 1 attempt 1
        "#]],
    );
}

const ENTRY: &str = "Source: Src
         Build: Compile
         before FAIL: Window Alarm
         failure SKIP
         Deploy: Publish";

#[test]
fn an_entry_condition_that_fails_fails_its_stage() {
    check(
        ENTRY,
        ". start A
         . ok A Source/Src
         retry A Build all
         no A Build/Window closed until nine
         yes A Build/Alarm
         retry A Build failed
         yes A Build/Window
         fail A Build/Alarm no-answer
         retry A Build all
         . yes A Build/Window
         yes A Build/Alarm
         ok A Build/Compile",
        expect![[r#"
            > retry A Build all
              refused StageNotRetryableException: Unable to retry the stage 'Build': its conditions are being judged.
            > no A Build/Window closed until nine
              A/Build/Window NOT PASSED: closed until nine
            > yes A Build/Alarm
              A/Build/Alarm SUCCEEDED
              A/Build before-entry Failed
              A/Build FAILED
              A FAILED: The entry condition of stage Build failed
            > retry A Build failed
              A RESUMED
              A/Build RESUMED
              A/Build before-entry InProgress
              A/Build/Window STARTED
              A/Build/Alarm STARTED
              run A/Build/Window call 1 attempt 1
              run A/Build/Alarm call 1 attempt 1
            > yes A Build/Window
              A/Build/Window SUCCEEDED
            > fail A Build/Alarm no-answer
              A/Build/Alarm FAILED JobFailed: no-answer
              A/Build before-entry Errored
              A/Build FAILED
              A FAILED: The entry condition of stage Build failed
            > retry A Build all
              A RESUMED
              A/Build RESUMED
              A/Build before-entry InProgress
              A/Build/Window STARTED
              A/Build/Alarm STARTED
              run A/Build/Window call 1 attempt 1
              run A/Build/Alarm call 1 attempt 1
            > yes A Build/Alarm
              A/Build/Alarm SUCCEEDED
              A/Build before-entry Succeeded
              A/Build/Compile STARTED
              run A/Build/Compile call 1 attempt 1
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
              A/Build SUCCEEDED
              A/Deploy STARTED
              A/Deploy/Publish STARTED
              run A/Deploy/Publish call 1 attempt 1
        "#]],
    );
}

#[test]
fn an_entry_condition_that_fails_skips_its_stage() {
    check(
        &ENTRY.replace("before FAIL", "before SKIP"),
        ". start A
         . ok A Source/Src
         . no A Build/Window not today
         yes A Build/Alarm
         . start B
         . ok B Source/Src
         . yes B Build/Window
         fail B Build/Alarm no-answer
         retry A Build failed",
        expect![[r#"
            > yes A Build/Alarm
              A/Build/Alarm SUCCEEDED
              A/Build before-entry Failed
              A/Build SKIPPED
              A/Deploy STARTED
              A/Deploy/Publish STARTED
              run A/Deploy/Publish call 1 attempt 1
            > fail B Build/Alarm no-answer
              B/Build/Alarm FAILED JobFailed: no-answer
              B/Build before-entry Errored
              B/Build FAILED
              B FAILED: The entry condition of stage Build failed
            > retry A Build failed
              refused NotLatestPipelineExecutionException: The stage 'Build' has run in a later execution of the pipeline, and the pipelineExecutionId A associated with the request is out of date.
        "#]],
    );
}

#[test]
fn a_rule_whose_variables_cannot_be_resolved_is_an_error_of_its_condition() {
    check(
        "Source: Src=src
         Build: Compile
         before FAIL: Same{Value:#{src.Nope}}",
        ". start A
         ok A Source/Src Commit=one",
        expect![[r#"
            > ok A Source/Src Commit=one
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build before-entry InProgress
              A/Build/Same STARTED
              A/Build/Same FAILED ConfigurationError: Build/beforeEntry/Same: configuration.Value: nothing gives `#{src.Nope}` a value: check the namespace, the key, and that the action that makes it has run
              A/Build before-entry Errored
              A/Build FAILED
              A FAILED: The entry condition of stage Build failed
        "#]],
    );
}

#[test]
fn a_rule_gives_a_verdict_and_an_action_none() {
    check(
        "Source: Src>App=src
         Build: Compile
         before FAIL: Window<App{Value:#{src.Commit}}",
        ". start A
         yes A Source/Src
         . retry A Source failed
         ok A Source/Src Commit=one
         ok A Build/Window
         . retry A Build failed
         wait A Build/Window approval",
        expect![[r#"
            > yes A Source/Src
              A/Source/Src FAILED JobFailed: The action gave a verdict, as only a rule does
              A/Source FAILED
              A FAILED: The action Src in stage Source failed
            > ok A Source/Src Commit=one
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build before-entry InProgress
              A/Build/Window STARTED <App=digest-of-App Value=one
              run A/Build/Window call 1 attempt 1
            > ok A Build/Window
              A/Build/Window FAILED JobFailed: The rule ended without a verdict
              A/Build before-entry Errored
              A/Build FAILED
              A FAILED: The entry condition of stage Build failed
            > wait A Build/Window approval
              A/Build/Window FAILED JobFailed: The rule waits for an approval, which only an action can ask for
              A/Build before-entry Errored
              A/Build FAILED
              A FAILED: The entry condition of stage Build failed
        "#]],
    );
}

const SUCCESS: &str = "Source: Src
         Build: Compile
         success FAIL: Alarm
         Deploy: Publish";

#[test]
fn a_success_condition_that_fails_fails_the_stage() {
    check(
        SUCCESS,
        ". start A
         . ok A Source/Src
         ok A Build/Compile
         no A Build/Alarm too many errors
         retry A Build failed
         yes A Build/Alarm",
        expect![[r#"
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
              A/Build on-success InProgress
              A/Build/Alarm STARTED
              run A/Build/Alarm call 1 attempt 1
            > no A Build/Alarm too many errors
              A/Build/Alarm NOT PASSED: too many errors
              A/Build on-success Failed
              A/Build FAILED
              A FAILED: The success condition of stage Build failed
            > retry A Build failed
              A RESUMED
              A/Build RESUMED
              A/Build on-success InProgress
              A/Build/Alarm STARTED
              run A/Build/Alarm call 1 attempt 1
            > yes A Build/Alarm
              A/Build/Alarm SUCCEEDED
              A/Build on-success Succeeded
              A/Build SUCCEEDED
              A/Deploy STARTED
              A/Deploy/Publish STARTED
              run A/Deploy/Publish call 1 attempt 1
        "#]],
    );
}

#[test]
fn a_success_condition_that_fails_rolls_the_stage_back() {
    check(
        &SUCCESS.replace("success FAIL", "success ROLLBACK"),
        ". start A
         . ok A Source/Src
         . ok A Build/Compile
         . yes A Build/Alarm
         . ok A Deploy/Publish
         . start B
         . ok B Source/Src
         . ok B Build/Compile
         no B Build/Alarm too many errors
         load B
         ok C Build/Compile",
        expect![[r#"
            > no B Build/Alarm too many errors
              B/Build/Alarm NOT PASSED: too many errors
              B/Build on-success Failed
              load A for B
            > load B
              B/Build FAILED
              B FAILED: The success condition of stage Build failed; it is rolled back to the pipeline execution A
              C STARTED
              C/Build STARTED
              C/Build/Compile STARTED
              run C/Build/Compile call 1 attempt 1
            > ok C Build/Compile
              C/Build/Compile SUCCEEDED
              C/Build SUCCEEDED
              C SUCCEEDED
        "#]],
    );
}

#[test]
fn a_failure_condition_that_passes_lets_the_stage_fail() {
    let text = "Source: Src
         Build: Compile
         failure SKIP: Alarm
         Deploy: Publish";
    check(
        text,
        ". start A
         . ok A Source/Src
         fail A Build/Compile broken
         yes A Build/Alarm
         retry A Build failed
         . fail A Build/Compile broken
         no A Build/Alarm it is nothing",
        expect![[r#"
            > fail A Build/Compile broken
              A/Build/Compile FAILED JobFailed: broken
              A/Build on-failure InProgress
              A/Build/Alarm STARTED
              run A/Build/Alarm call 1 attempt 1
            > yes A Build/Alarm
              A/Build/Alarm SUCCEEDED
              A/Build on-failure Succeeded
              A/Build FAILED
              A FAILED: The action Compile in stage Build failed
            > retry A Build failed
              A RESUMED
              A/Build RESUMED
              A/Build/Compile STARTED
              run A/Build/Compile call 1 attempt 1
            > no A Build/Alarm it is nothing
              A/Build/Alarm NOT PASSED: it is nothing
              A/Build on-failure Failed
              A/Build SKIPPED
              A/Deploy STARTED
              A/Deploy/Publish STARTED
              run A/Deploy/Publish call 1 attempt 1
        "#]],
    );
    check(
        &text.replace("failure SKIP", "failure RETRY"),
        ". start A
         . ok A Source/Src
         . fail A Build/Compile broken
         no A Build/Alarm not yet
         . fail A Build/Compile broken
         no A Build/Alarm not yet",
        expect![[r#"
            > no A Build/Alarm not yet
              A/Build/Alarm NOT PASSED: not yet
              A/Build on-failure Failed
              A RESUMED
              A/Build RESUMED
              A/Build/Compile STARTED
              run A/Build/Compile call 1 attempt 1
            > no A Build/Alarm not yet
              A/Build/Alarm NOT PASSED: not yet
              A/Build on-failure Failed
              A/Build FAILED
              A FAILED: The action Compile in stage Build failed
        "#]],
    );
}

const ALL: &str = "Source: Src
         Build: Compile
         before FAIL: Window Alarm
         success FAIL: Probe
         failure ROLLBACK: Watch
         Deploy: Publish";

#[test]
fn a_person_overrides_a_condition_that_holds_an_execution_or_made_it_fail() {
    check(
        ALL,
        ". start A
         . ok A Source/Src
         . yes A Build/Window
         override A Build on-success
         override A Build before-entry
         override A Build before-entry
         . ok A Build/Compile
         . no A Build/Probe slow
         override A Build before-entry
         override A Build on-success
         override A Build on-success
         override A Deploy before-entry",
        expect![[r#"
            > override A Build on-success
              refused ConditionNotOverridableException: Unable to override the condition of the stage 'Build': its condition is neither being judged nor what made it fail.
            > override A Build before-entry
              A/Build/Alarm ABANDONED
              A/Build before-entry Overridden by ann
              A/Build/Compile STARTED
              end A/Build/Alarm
              run A/Build/Compile call 1 attempt 1
            > override A Build before-entry
              refused ConditionNotOverridableException: Unable to override the condition of the stage 'Build': its condition is neither being judged nor what made it fail.
            > override A Build before-entry
              refused ConditionNotOverridableException: Unable to override the condition of the stage 'Build': its condition is neither being judged nor what made it fail.
            > override A Build on-success
              A RESUMED
              A/Build RESUMED
              A/Build on-success Overridden by ann
              A/Build SUCCEEDED
              A/Deploy STARTED
              A/Deploy/Publish STARTED
              run A/Deploy/Publish call 1 attempt 1
            > override A Build on-success
              refused ConditionNotOverridableException: Unable to override the condition of the stage 'Build': its execution is not in it.
            > override A Deploy before-entry
              refused ConditionNotOverridableException: Unable to override the condition of the stage 'Deploy': it has no condition of this type.
        "#]],
    );
}

#[test]
fn what_held_an_execution_is_overridden_after_it_ended_and_before_another_comes() {
    check(
        ALL,
        ". start A
         . ok A Source/Src
         . no A Build/Window closed
         . no A Build/Alarm red
         override A Build before-entry
         fail A Build/Compile broken
         override A Build on-failure
         override A Build on-failure
         . start B
         override B Build before-entry
         . ok B Source/Src
         override A Build on-failure
         stop B
         override B Build before-entry",
        expect![[r#"
            > override A Build before-entry
              A RESUMED
              A/Build RESUMED
              A/Build before-entry Overridden by ann
              A/Build/Compile STARTED
              run A/Build/Compile call 1 attempt 1
            > fail A Build/Compile broken
              A/Build/Compile FAILED JobFailed: broken
              A/Build on-failure InProgress
              A/Build/Watch STARTED
              run A/Build/Watch call 1 attempt 1
            > override A Build on-failure
              A/Build/Watch ABANDONED
              A/Build on-failure Overridden by ann
              A/Build FAILED
              A FAILED: The action Compile in stage Build failed
              end A/Build/Watch
            > override A Build on-failure
              refused ConditionNotOverridableException: Unable to override the condition of the stage 'Build': its condition is neither being judged nor what made it fail.
            > override B Build before-entry
              refused ConditionNotOverridableException: Unable to override the condition of the stage 'Build': its execution has not reached it.
            > override A Build on-failure
              refused NotLatestPipelineExecutionException: The stage 'Build' has run in a later execution of the pipeline, and the pipelineExecutionId A associated with the request is out of date.
            > stop B
              B STOPPING
              B/Build STOPPING
            > override B Build before-entry
              refused ConditionNotOverridableException: Unable to override the condition of the stage 'Build': its execution is being stopped.
        "#]],
    );
}

#[test]
fn what_cannot_be_overridden_is_refused() {
    check(
        &ALL.replace("before FAIL", "before SKIP"),
        ". start A
         . ok A Source/Src
         override A Build before-entry
         override A Build on-success
         override A Nowhere on-success",
        expect![[r#"
            > override A Build before-entry
              refused ConditionNotOverridableException: Unable to override the condition of the stage 'Build': a condition with the result SKIP cannot be overridden.
            > override A Build on-success
              refused ConditionNotOverridableException: Unable to override the condition of the stage 'Build': its condition is neither being judged nor what made it fail.
            > override A Nowhere on-success
              refused StageNotFoundException: The pipeline 'Demo' does not have a stage with name 'Nowhere'
        "#]],
    );
}

const BOTH: &str = "Source: Src
         Build: Compile
         before FAIL: Window
         success FAIL: Probe";

#[test]
fn rules_in_progress_end_with_a_stop() {
    check(
        BOTH,
        ". start A
         . ok A Source/Src
         stop A
         yes A Build/Window
         retry A Build failed
         . ok A Build/Compile
         abandon A
         retry A Build failed
         stop A
         yes A Build/Probe",
        expect![[r#"
            > stop A
              A STOPPING
              A/Build STOPPING
            > yes A Build/Window
              A/Build/Window SUCCEEDED
              A/Build before-entry Succeeded
              A/Build STOPPED
              A STOPPED: enough
            > retry A Build failed
              A RESUMED
              A/Build RESUMED
              A/Build/Compile STARTED
              run A/Build/Compile call 1 attempt 1
            > abandon A
              A STOPPING
              A/Build STOPPING
              A/Build/Probe ABANDONED
              A/Build on-success Abandoned
              A/Build STOPPED
              A STOPPED: enough
              end A/Build/Probe
            > retry A Build failed
              A RESUMED
              A/Build RESUMED
              A/Build on-success InProgress
              A/Build/Probe STARTED
              run A/Build/Probe call 1 attempt 1
            > stop A
              A STOPPING
              A/Build STOPPING
            > yes A Build/Probe
              A/Build/Probe SUCCEEDED
              A/Build on-success Succeeded
              A/Build SUCCEEDED
              A STOPPED: enough
        "#]],
    );
}

#[test]
fn rules_in_progress_end_with_an_update_and_with_crashes() {
    check(
        BOTH,
        ". start A\n. ok A Source/Src\nupdate",
        expect![[r#"
            > update
              A/Build/Window CANCELED
              A/Build before-entry Cancelled
              A/Build CANCELED
              A CANCELED: The pipeline was updated
              pipeline updated, version Some(2)
              end A/Build/Window
        "#]],
    );
    check(
        BOTH,
        ". start A\n. ok A Source/Src\ncrash A Build/Window\ncrash A Build/Window",
        expect![[r#"
            > crash A Build/Window
              A/Build/Window restarted, attempt 2
              run A/Build/Window call 1 attempt 2
            > crash A Build/Window
              A/Build/Window FAILED SystemUnavailable: The host crashed 2 times while the action ran, and it is not run again: perhaps it is the action that crashes the host. The host's log may say more; to run it nevertheless, retry the stage
              A/Build before-entry Errored
              A/Build FAILED
              A FAILED: The entry condition of stage Build failed
        "#]],
    );
}
