//! Rolling stages back: by hand, and by a failure.

use expect_test::expect;

use super::script::check;

const THREE: &str = "var Tone=loud
     Source: Src>App=src
     Build: Compile<App>Site
     Deploy: Publish<Site{Key:#{src.Commit}/#{variables.Tone}}
     failure ROLLBACK
     Check: Look";

#[test]
fn a_stage_is_rolled_back_by_hand_to_what_an_earlier_execution_had() {
    check(
        THREE,
        ". start A Tone=quiet
         . ok A Source/Src Commit=one
         . ok A Build/Compile
         . ok A Deploy/Publish
         . ok A Check/Look
         . start B
         . ok B Source/Src Commit=two
         . ok B Build/Compile
         . ok B Deploy/Publish
         . disable Deploy inbound
         rollback A Deploy
         rollback B Deploy
         ok C Deploy/Publish
         ok B Check/Look
         rollback C Deploy
         retry C Deploy failed
         retry B Deploy failed",
        expect![[r#"
            > rollback A Deploy
              C STARTED
              C/Deploy STARTED
              C/Deploy/Publish STARTED <Site=digest-of-Site Key=one/quiet
              run C/Deploy/Publish call 1 attempt 1
            > rollback B Deploy
              refused UnableToRollbackStageException: Unable to roll back the stage 'Deploy': an execution is in it.
            > ok C Deploy/Publish
              C/Deploy/Publish SUCCEEDED
              C/Deploy SUCCEEDED
              C SUCCEEDED
            > ok B Check/Look
              B/Check/Look SUCCEEDED
              B/Check SUCCEEDED
              B SUCCEEDED
            > rollback C Deploy
              refused UnableToRollbackStageException: Unable to roll back the stage 'Deploy': the target is itself a rollback.
            > retry C Deploy failed
              refused StageNotRetryableException: Unable to retry the stage 'Deploy': it has neither failed nor been stopped.
            > retry B Deploy failed
              refused NotLatestPipelineExecutionException: The stage 'Deploy' has run in a later execution of the pipeline, and the pipelineExecutionId B associated with the request is out of date.
        "#]],
    );
}

#[test]
fn a_rollback_that_cannot_be_is_refused() {
    check(
        "Source: Src
         Build: Compile
         before SKIP: Window
         Deploy: Publish",
        ". start A
         . ok A Source/Src
         . yes A Build/Window
         . ok A Build/Compile
         . fail A Deploy/Publish broken
         rollback A Nowhere
         rollback A Source
         rollback A Deploy
         . start B
         . ok B Source/Src
         . no B Build/Window
         rollback A Build
         rollback B Build
         abandon B
         . start C
         . ok C Source/Src
         rollback A Build
         . yes C Build/Window
         . ok C Build/Compile
         . update
         rollback A Build
         . delete
         rollback A Build",
        expect![[r#"
            > rollback A Nowhere
              refused StageNotFoundException: The pipeline 'Demo' does not have a stage with name 'Nowhere'
            > rollback A Source
              refused UnableToRollbackStageException: Unable to roll back the stage 'Source': a source stage is not rolled back.
            > rollback A Deploy
              refused UnableToRollbackStageException: Unable to roll back the stage 'Deploy': the target has not succeeded in it.
            > rollback A Build
              refused UnableToRollbackStageException: Unable to roll back the stage 'Build': its latest execution skipped it.
            > rollback B Build
              refused UnableToRollbackStageException: Unable to roll back the stage 'Build': the target has not succeeded in it.
            > abandon B
              B STOPPING
              B/Deploy STOPPING
              B/Deploy/Publish ABANDONED
              B/Deploy STOPPED
              B STOPPED: enough
              end B/Deploy/Publish
            > rollback A Build
              refused UnableToRollbackStageException: Unable to roll back the stage 'Build': an execution is in it.
            > rollback A Build
              refused PipelineExecutionOutdatedException: The pipeline execution with ID A is of an earlier version of the pipeline and cannot be used as a target pipeline execution for rollback.
            > rollback A Build
              refused PipelineNotFoundException: The pipeline does not exist
        "#]],
    );
    check(
        "mode PARALLEL
         Source: Src
         Build: Compile",
        ". start A
         . ok A Source/Src
         . ok A Build/Compile
         rollback A Build",
        expect![[r#"
            > rollback A Build
              refused UnableToRollbackStageException: Unable to roll back the stage 'Build': stages of a pipeline of mode PARALLEL are not rolled back.
        "#]],
    );
}

#[test]
fn a_failure_rolls_its_stage_back_to_the_latest_success() {
    check(
        THREE,
        ". start A
         . ok A Source/Src Commit=one
         . ok A Build/Compile
         fail A Deploy/Publish never
         . retry A Deploy failed
         . ok A Deploy/Publish
         . ok A Check/Look
         . start B
         . ok B Source/Src Commit=two
         . ok B Build/Compile
         . start C
         . ok C Source/Src Commit=three
         . ok C Build/Compile
         fail B Deploy/Publish broken
         load B
         fail D Deploy/Publish broken-too
         fail C Deploy/Publish broken
         lose C",
        expect![[r#"
            > fail A Deploy/Publish never
              A/Deploy/Publish FAILED JobFailed: never
              A/Deploy FAILED
              A FAILED: The action Publish in stage Deploy failed; it is not rolled back: no execution of this version of the pipeline has succeeded there
            > fail B Deploy/Publish broken
              B/Deploy/Publish FAILED JobFailed: broken
              load A for B
            > load B
              B/Deploy FAILED
              B FAILED: The action Publish in stage Deploy failed; it is rolled back to the pipeline execution A
              D STARTED
              D/Deploy STARTED
              D/Deploy/Publish STARTED <Site=digest-of-Site Key=one/loud
              run D/Deploy/Publish call 1 attempt 1
            > fail D Deploy/Publish broken-too
              D/Deploy/Publish FAILED JobFailed: broken-too
              D/Deploy FAILED
              D FAILED: The action Publish in stage Deploy failed
              C/Deploy STARTED
              C/Deploy/Publish STARTED <Site=digest-of-Site Key=three/loud
              run C/Deploy/Publish call 1 attempt 1
            > fail C Deploy/Publish broken
              C/Deploy/Publish FAILED JobFailed: broken
              load A for C
            > lose C
              C/Deploy FAILED
              C FAILED: The action Publish in stage Deploy failed; it is not rolled back: the execution that succeeded there last is not kept any more
        "#]],
    );
}

#[test]
fn a_target_that_is_still_in_progress_need_not_be_loaded() {
    check(
        THREE,
        ". start A
         . ok A Source/Src Commit=one
         . ok A Build/Compile
         . ok A Deploy/Publish
         . start B
         . ok B Source/Src Commit=two
         . ok B Build/Compile
         fail B Deploy/Publish broken
         abandon C
         ok A Check/Look",
        expect![[r#"
            > fail B Deploy/Publish broken
              B/Deploy/Publish FAILED JobFailed: broken
              B/Deploy FAILED
              B FAILED: The action Publish in stage Deploy failed; it is rolled back to the pipeline execution A
              C STARTED
              C/Deploy STARTED
              C/Deploy/Publish STARTED <Site=digest-of-Site Key=one/loud
              run C/Deploy/Publish call 1 attempt 1
            > abandon C
              C STOPPING
              C/Deploy STOPPING
              C/Deploy/Publish ABANDONED
              C/Deploy STOPPED
              C STOPPED: enough
              end C/Deploy/Publish
            > ok A Check/Look
              A/Check/Look SUCCEEDED
              A/Check SUCCEEDED
              A SUCCEEDED
        "#]],
    );
}

#[test]
fn a_stop_or_an_update_comes_before_a_rollback_that_waits_for_its_target() {
    let begun = ". start A
         . ok A Source/Src Commit=one
         . ok A Build/Compile
         . ok A Deploy/Publish
         . ok A Check/Look
         . start B
         . ok B Source/Src Commit=two
         . ok B Build/Compile
         . fail B Deploy/Publish broken
";
    check(
        THREE,
        &format!("{begun} stop B\nretry B Deploy all\nload B"),
        expect![[r#"
        > stop B
          B STOPPING
          B/Deploy STOPPING
        > retry B Deploy all
          refused StageNotRetryableException: Unable to retry the stage 'Deploy': it has neither failed nor been stopped.
        > load B
          B/Deploy STOPPED
          B STOPPED: enough
    "#]],
    );
    check(
        THREE,
        &format!("{begun} abandon B"),
        expect![[r#"
        > abandon B
          B STOPPING
          B/Deploy STOPPING
          B/Deploy STOPPED
          B STOPPED: enough
    "#]],
    );
    check(
        THREE,
        &format!("{begun} update"),
        expect![[r#"
        > update
          B/Deploy CANCELED
          B CANCELED: The pipeline was updated
          pipeline updated, version Some(2)
    "#]],
    );
}

/// A rollback that succeeded makes its target what the next failure goes back to.
#[test]
fn after_a_rollback_a_failure_goes_back_to_its_target() {
    check(
        THREE,
        ". start A
         . ok A Source/Src Commit=one
         . ok A Build/Compile
         . ok A Deploy/Publish
         . ok A Check/Look
         . start B
         . ok B Source/Src Commit=two
         . ok B Build/Compile
         . ok B Deploy/Publish
         . ok B Check/Look
         . rollback A Deploy
         . ok C Deploy/Publish
         . start D
         . ok D Source/Src Commit=four
         . ok D Build/Compile
         fail D Deploy/Publish broken
         load D",
        expect![[r#"
            > fail D Deploy/Publish broken
              D/Deploy/Publish FAILED JobFailed: broken
              load A for D
            > load D
              D/Deploy FAILED
              D FAILED: The action Publish in stage Deploy failed; it is rolled back to the pipeline execution A
              E STARTED
              E/Deploy STARTED
              E/Deploy/Publish STARTED <Site=digest-of-Site Key=one/loud
              run E/Deploy/Publish call 1 attempt 1
        "#]],
    );
}
