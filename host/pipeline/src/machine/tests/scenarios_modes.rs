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
         fail B Build/Compile no
         retry B Build failed
         ok D Build/Compile",
        expect![[""]],
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
        expect![[""]],
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
        expect![[""]],
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
         fail A Source/Src no
         ok C Source/Src
         wait B Gate/Ask approval
         wait C Gate/Ask approval
         approve B Gate/Ask
         ok B Gate/Ask
         reject C Gate/Ask
         ok C Gate/Ask
         ok B Deploy/Publish
         retry A Source failed
         ok A Source/Src
         abandon A
         retry C Gate all",
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
            > fail A Source/Src no
              A/Source/Src FAILED JobFailed: no
              A/Source FAILED
              A FAILED: The action Src in stage Source failed
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
            > reject C Gate/Ask
              C/Gate/Ask Rejected by Some("ann")
              C/Gate/Ask resumed, call 2, signal Some("approval")
              run C/Gate/Ask call 2 attempt 1, told Rejected "looked at it" by Some("ann")
            > ok C Gate/Ask
              C/Gate/Ask FAILED JobFailed: rejected: looked at it
              C/Gate FAILED
              C FAILED: The action Ask in stage Gate failed
            > ok B Deploy/Publish
              B/Deploy/Publish SUCCEEDED
              B/Deploy SUCCEEDED
              B SUCCEEDED
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
            > abandon A
              A STOPPING
              A/Gate STOPPING
              A/Gate/Ask ABANDONED
              A/Gate STOPPED
              A STOPPED: enough
              end A/Gate/Ask
            > retry C Gate all
              C RESUMED
              C/Gate RESUMED
              C/Gate/Ask STARTED
              run C/Gate/Ask call 1 attempt 1
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
        expect![[""]],
    );
}

#[test]
fn source_revisions_are_for_source_actions_each_named_once() {
    check(
        "Source: Src Docs
         Build: Compile",
        "start A @Src=c0ffee @Docs=dead
         start B @Src=c0ffee @Src=c0ffee
         start B @Srcs=c0ffee
         start B @Compile=c0ffee",
        expect![[r#"
            > start A @Src=c0ffee @Docs=dead
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
