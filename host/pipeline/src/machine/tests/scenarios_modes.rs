//! The execution modes QUEUED and PARALLEL, and what updates and starts keep and refuse.

use expect_test::expect;

use super::script::check;

#[test]
fn in_queued_all_wait_in_the_order_of_their_starts_and_nobody_is_superseded() {
    check(
        "mode QUEUED
         Source: Src
         Build: Compile",
        "start A
         start B
         start C
         start D
         stop C
         ok A Source/Src
         ok B Source/Src
         ok D Source/Src
         ok A Build/Compile
         ok B Build/Compile
         ok D Build/Compile",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > start B
              B STARTED
            > start C
              C STARTED
            > start D
              D STARTED
            > stop C
              C STOPPING
              C STOPPED: enough
            > ok A Source/Src
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build/Compile STARTED
              B/Source STARTED
              B/Source/Src STARTED
              run A/Build/Compile call 1 attempt 1
              run B/Source/Src call 1 attempt 1
            > ok B Source/Src
              B/Source/Src SUCCEEDED
              B/Source SUCCEEDED
              D/Source STARTED
              D/Source/Src STARTED
              run D/Source/Src call 1 attempt 1
            > ok D Source/Src
              D/Source/Src SUCCEEDED
              D/Source SUCCEEDED
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
              A/Build SUCCEEDED
              A SUCCEEDED
              B/Build STARTED
              B/Build/Compile STARTED
              run B/Build/Compile call 1 attempt 1
            > ok B Build/Compile
              B/Build/Compile SUCCEEDED
              B/Build SUCCEEDED
              B SUCCEEDED
              D/Build STARTED
              D/Build/Compile STARTED
              run D/Build/Compile call 1 attempt 1
            > ok D Build/Compile
              D/Build/Compile SUCCEEDED
              D/Build SUCCEEDED
              D SUCCEEDED
        "#]],
    );
}

#[test]
fn in_queued_a_failed_stage_lets_the_next_in_and_is_not_retried_behind_it() {
    check(
        "mode QUEUED
         Source: Src
         Build: Compile",
        "start A
         start B
         ok A Source/Src
         ok B Source/Src
         fail A Build/Compile no
         retry A Build failed
         ok B Build/Compile",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > start B
              B STARTED
            > ok A Source/Src
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build/Compile STARTED
              B/Source STARTED
              B/Source/Src STARTED
              run A/Build/Compile call 1 attempt 1
              run B/Source/Src call 1 attempt 1
            > ok B Source/Src
              B/Source/Src SUCCEEDED
              B/Source SUCCEEDED
            > fail A Build/Compile no
              A/Build/Compile FAILED JobFailed: no
              A/Build FAILED
              A FAILED: The action Compile in stage Build failed
              B/Build STARTED
              B/Build/Compile STARTED
              run B/Build/Compile call 1 attempt 1
            > retry A Build failed
              refused NotLatestPipelineExecutionException: The stage 'Build' has run in a later execution of the pipeline, and the pipelineExecutionId A associated with the request is out of date.
            > ok B Build/Compile
              B/Build/Compile SUCCEEDED
              B/Build SUCCEEDED
              B SUCCEEDED
        "#]],
    );
}

#[test]
fn in_queued_a_disabled_transition_holds_all_and_lets_them_in_one_after_the_other() {
    check(
        "mode QUEUED
         Source: Src
         Build: Compile",
        ". disable Build inbound
         . start A
         . ok A Source/Src
         . start B
         . ok B Source/Src
         . start C
         . ok C Source/Src
         enable Build inbound
         ok A Build/Compile
         disable Source outbound
         fail B Build/Compile no
         retry B Build failed
         ok B Build/Compile
         pass 721h
         enable Source outbound",
        expect![[r#"
            > enable Build inbound
              Build Inbound enabled
              A/Build STARTED
              A/Build/Compile STARTED
              run A/Build/Compile call 1 attempt 1
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
              A/Build SUCCEEDED
              A SUCCEEDED
              B/Build STARTED
              B/Build/Compile STARTED
              run B/Build/Compile call 1 attempt 1
            > disable Source outbound
              Source Outbound disabled
            > fail B Build/Compile no
              B/Build/Compile FAILED JobFailed: no
              B/Build FAILED
              B FAILED: The action Compile in stage Build failed
            > retry B Build failed
              B RESUMED
              B/Build RESUMED
              B/Build/Compile STARTED
              run B/Build/Compile call 1 attempt 1
            > ok B Build/Compile
              B/Build/Compile SUCCEEDED
              B/Build SUCCEEDED
              B SUCCEEDED
            > pass 721h
            > enable Source outbound
              Source Outbound enabled
              C STOPPED: The execution waited for more than 30 days in front of a stage
        "#]],
    );
}

#[test]
fn in_queued_what_fails_at_once_lets_the_next_in() {
    check(
        "mode QUEUED
         Source: Src=src
         Build: Compile{Commit:#{src.CommitId}}",
        ". disable Build inbound
         . start A
         . ok A Source/Src
         . start B
         . ok B Source/Src
         . start C
         . ok C Source/Src CommitId=c0ffee
         enable Build inbound",
        expect![[r#"
            > enable Build inbound
              Build Inbound enabled
              A/Build STARTED
              A/Build/Compile STARTED
              A/Build/Compile FAILED ConfigurationError: Build/Compile: configuration.Commit: nothing gives `#{src.CommitId}` a value: check the namespace, the key, and that the action that makes it has run
              A/Build FAILED
              A FAILED: The action Compile in stage Build failed
              B/Build STARTED
              B/Build/Compile STARTED
              B/Build/Compile FAILED ConfigurationError: Build/Compile: configuration.Commit: nothing gives `#{src.CommitId}` a value: check the namespace, the key, and that the action that makes it has run
              B/Build FAILED
              B FAILED: The action Compile in stage Build failed
              C/Build STARTED
              C/Build/Compile STARTED Commit=c0ffee
              run C/Build/Compile call 1 attempt 1
        "#]],
    );
}

#[test]
fn in_parallel_executions_are_independent() {
    check(
        "mode PARALLEL
         Source: Src
         Gate: Ask!
         Deploy: Publish",
        "start A
         start B
         start C
         ok B Source/Src
         ok C Source/Src
         wait B Gate/Ask approval
         wait C Gate/Ask approval
         approve B Gate/Ask
         ok B Gate/Ask
         ok B Deploy/Publish",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > start B
              B STARTED
              B/Source STARTED
              B/Source/Src STARTED
              run B/Source/Src call 1 attempt 1
            > start C
              C STARTED
              C/Source STARTED
              C/Source/Src STARTED
              run C/Source/Src call 1 attempt 1
            > ok B Source/Src
              B/Source/Src SUCCEEDED
              B/Source SUCCEEDED
              B/Gate STARTED
              B/Gate/Ask STARTED
              run B/Gate/Ask call 1 attempt 1
            > ok C Source/Src
              C/Source/Src SUCCEEDED
              C/Source SUCCEEDED
              C/Gate STARTED
              C/Gate/Ask STARTED
              run C/Gate/Ask call 1 attempt 1
            > wait B Gate/Ask approval
              B/Gate/Ask waiting
            > wait C Gate/Ask approval
              C/Gate/Ask waiting
            > approve B Gate/Ask
              B/Gate/Ask Approved by Some("ann")
              B/Gate/Ask resumed, call 2, signal Some("approval")
              run B/Gate/Ask call 2 attempt 1, told Approved "looked at it" by Some("ann")
            > ok B Gate/Ask
              B/Gate/Ask SUCCEEDED
              B/Gate SUCCEEDED
              B/Deploy STARTED
              B/Deploy/Publish STARTED
              run B/Deploy/Publish call 1 attempt 1
            > ok B Deploy/Publish
              B/Deploy/Publish SUCCEEDED
              B/Deploy SUCCEEDED
              B SUCCEEDED
        "#]],
    );
}

#[test]
fn in_parallel_each_execution_is_retried_by_itself() {
    check(
        "mode PARALLEL
         Source: Src
         Gate: Ask!",
        "start A
         start B
         fail A Source/Src no
         ok B Source/Src
         wait B Gate/Ask approval
         reject B Gate/Ask
         ok B Gate/Ask
         retry A Source failed
         ok A Source/Src
         retry B Gate all",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > start B
              B STARTED
              B/Source STARTED
              B/Source/Src STARTED
              run B/Source/Src call 1 attempt 1
            > fail A Source/Src no
              A/Source/Src FAILED JobFailed: no
              A/Source FAILED
              A FAILED: The action Src in stage Source failed
            > ok B Source/Src
              B/Source/Src SUCCEEDED
              B/Source SUCCEEDED
              B/Gate STARTED
              B/Gate/Ask STARTED
              run B/Gate/Ask call 1 attempt 1
            > wait B Gate/Ask approval
              B/Gate/Ask waiting
            > reject B Gate/Ask
              B/Gate/Ask Rejected by Some("ann")
              B/Gate/Ask resumed, call 2, signal Some("approval")
              run B/Gate/Ask call 2 attempt 1, told Rejected "looked at it" by Some("ann")
            > ok B Gate/Ask
              B/Gate/Ask FAILED JobFailed: rejected: looked at it
              B/Gate FAILED
              B FAILED: The action Ask in stage Gate failed
            > retry A Source failed
              A RESUMED
              A/Source RESUMED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > ok A Source/Src
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Gate STARTED
              A/Gate/Ask STARTED
              run A/Gate/Ask call 1 attempt 1
            > retry B Gate all
              B RESUMED
              B/Gate RESUMED
              B/Gate/Ask STARTED
              run B/Gate/Ask call 1 attempt 1
        "#]],
    );
}

#[test]
fn in_parallel_an_execution_is_abandoned_beside_others() {
    check(
        "mode PARALLEL
         Source: Src
         Gate: Ask!",
        "start A
         start B
         ok A Source/Src
         abandon A
         ok B Source/Src",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > start B
              B STARTED
              B/Source STARTED
              B/Source/Src STARTED
              run B/Source/Src call 1 attempt 1
            > ok A Source/Src
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Gate STARTED
              A/Gate/Ask STARTED
              run A/Gate/Ask call 1 attempt 1
            > abandon A
              A STOPPING
              A/Gate STOPPING
              A/Gate/Ask ABANDONED
              A/Gate STOPPED
              A STOPPED: enough
              end A/Gate/Ask
            > ok B Source/Src
              B/Source/Src SUCCEEDED
              B/Source SUCCEEDED
              B/Gate STARTED
              B/Gate/Ask STARTED
              run B/Gate/Ask call 1 attempt 1
        "#]],
    );
}

#[test]
fn transitions_are_disabled_only_where_somebody_would_wait() {
    check(
        "Source: Src
         Build: Compile
         Deploy: Publish",
        "disable Source inbound
         disable Deploy outbound
         enable Source inbound
         disable Build inbound
         disable Deploy inbound
         disable Source outbound
         update Build: Src; Source: Compile; Deploy: Publish
         disable Source inbound
         update Source: Src; New: Compile; Deploy: Publish
         update mode PARALLEL; Source: Src; Deploy: Publish
         disable Deploy inbound
         start A",
        expect![[r#"
            > disable Source inbound
              refused ValidationException: The transition cannot be disabled: no transition leads into the first stage
            > disable Deploy outbound
              refused ValidationException: The transition cannot be disabled: no transition leads out of the last stage
            > enable Source inbound
              Source Inbound enabled
            > disable Build inbound
              Build Inbound disabled
            > disable Deploy inbound
              Deploy Inbound disabled
            > disable Source outbound
              Source Outbound disabled
            > update Build: Src; Source: Compile; Deploy: Publish
              Build Inbound enabled
              pipeline updated, version Some(2)
            > disable Source inbound
              Source Inbound disabled
            > update Source: Src; New: Compile; Deploy: Publish
              Source Inbound enabled
              pipeline updated, version Some(3)
            > update mode PARALLEL; Source: Src; Deploy: Publish
              Source Outbound enabled
              Deploy Inbound enabled
              pipeline updated, version Some(4)
            > disable Deploy inbound
              refused ValidationException: The transition cannot be disabled: executions of a pipeline of mode PARALLEL do not wait in front of a stage
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
        "#]],
    );
}

#[test]
fn changing_the_mode_cancels_what_runs_and_counts_for_what_starts() {
    check(
        "mode PARALLEL
         Source: Src
         Build: Compile",
        "start A
         start B
         update mode QUEUED; Source: Src; Build: Compile
         start C
         start D
         start E
         update Source: Src; Build: Compile
         start F
         start G
         start H",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > start B
              B STARTED
              B/Source STARTED
              B/Source/Src STARTED
              run B/Source/Src call 1 attempt 1
            > update mode QUEUED; Source: Src; Build: Compile
              B/Source/Src CANCELED
              B/Source CANCELED
              B CANCELED: The pipeline was updated
              A/Source/Src CANCELED
              A/Source CANCELED
              A CANCELED: The pipeline was updated
              pipeline updated, version Some(2)
              end B/Source/Src
              end A/Source/Src
            > start C
              C STARTED
              C/Source STARTED
              C/Source/Src STARTED
              run C/Source/Src call 1 attempt 1
            > start D
              D STARTED
            > start E
              E STARTED
            > update Source: Src; Build: Compile
              E CANCELED: The pipeline was updated
              C/Source/Src CANCELED
              C/Source CANCELED
              C CANCELED: The pipeline was updated
              D CANCELED: The pipeline was updated
              pipeline updated, version Some(3)
              end C/Source/Src
            > start F
              F STARTED
              F/Source STARTED
              F/Source/Src STARTED
              run F/Source/Src call 1 attempt 1
            > start G
              G STARTED
            > start H
              H STARTED
              G SUPERSEDED: Superseded by the pipeline execution H
        "#]],
    );
}

#[test]
fn source_revisions_are_for_source_actions_each_named_once() {
    check(
        "Source: Src Docs
         Build: Compile",
        "start A @Docs=dead
         start B @Src=c0ffee @Src=c0ffee
         start B @Srcs=c0ffee
         start B @Compile=c0ffee",
        expect![[r#"
            > start A @Docs=dead
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              A/Source/Docs STARTED
              run A/Source/Src call 1 attempt 1
              run A/Source/Docs call 1 attempt 1
            > start B @Src=c0ffee @Src=c0ffee
              refused ValidationException: The action 'Src' of sourceRevisions is named twice: an action takes one revision
            > start B @Srcs=c0ffee
              refused ValidationException: The action 'Srcs' of sourceRevisions does not exist in the pipeline
            > start B @Compile=c0ffee
              refused ValidationException: The action 'Compile' of sourceRevisions is no source action
        "#]],
    );
}
