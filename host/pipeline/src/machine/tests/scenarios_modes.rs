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
        expect![[""]],
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
        expect![[""]],
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
        expect![[""]],
    );
}
