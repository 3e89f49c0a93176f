//! Jobs of workers: offered, lost, acknowledged, gone on with, reported, and late or repeated words about them.

use expect_test::expect;

use super::script::check;

#[test]
fn a_job_is_one_worker_s_until_it_is_reported() {
    check(
        "Source: Src
         Build: Compile
         Deploy: Publish",
        "timers
         . start A
         . ok A Source/Src
         wait A Build/Compile job
         put A Build/Compile ok
         ack A Build/Compile
         poll A Build/Compile
         poll A Build/Compile
         ack A Build/Compile old
         put A Build/Compile ok
         ack A Build/Compile
         ack A Build/Compile
         poll A Build/Compile",
        expect![[r#"
            > timers
            > wait A Build/Compile job
              A/Build/Compile waiting
              A/Build/Compile job Queued
            > put A Build/Compile ok
              refused InvalidJobStateException: The job a6bcb669-79f1-4837-a626-2cc7342facf6 is not in a state in which this can be done to it: no worker has acknowledged it.
            > ack A Build/Compile
              refused InvalidNonceException: The job a6bcb669-79f1-4837-a626-2cc7342facf6 cannot be taken with this nonce: poll again for a job.
            > poll A Build/Compile
              A/Build/Compile job Offered
              timer A/Build/Compile Offer in 0 minutes
            > poll A Build/Compile
              refused InvalidJobStateException: The job a6bcb669-79f1-4837-a626-2cc7342facf6 is not in a state in which this can be done to it: another worker has it.
            > ack A Build/Compile old
              refused InvalidNonceException: The job a6bcb669-79f1-4837-a626-2cc7342facf6 cannot be taken with this nonce: poll again for a job.
            > put A Build/Compile ok
              refused InvalidJobStateException: The job a6bcb669-79f1-4837-a626-2cc7342facf6 is not in a state in which this can be done to it: no worker has acknowledged it.
            > ack A Build/Compile
              A/Build/Compile job Acknowledged
              clear A/Build/Compile Offer
              timer A/Build/Compile Job in 20 minutes
            > ack A Build/Compile
            > poll A Build/Compile
              refused InvalidJobStateException: The job a6bcb669-79f1-4837-a626-2cc7342facf6 is not in a state in which this can be done to it: another worker has it.
        "#]],
    );
}

#[test]
fn a_job_with_a_token_is_gone_on_with_by_another() {
    check(
        "Source: Src
         Build: Compile
         Deploy: Publish",
        "timers
         . start A
         . ok A Source/Src
         . wait A Build/Compile job
         . poll A Build/Compile
         . ack A Build/Compile
         put A Build/Compile token=deployment-1
         put A Build/Compile ok before
         poll A Build/Compile
         ack A Build/Compile
         put A Build/Compile ok
         put A Build/Compile ok",
        expect![[r#"
            > timers
            > put A Build/Compile token=deployment-1
              A/Build/Compile job Reported
              A/Build/Compile job Queued
              clear A/Build/Compile Job
            > put A Build/Compile ok before
              refused InvalidJobStateException: The job 07070707-0707-0707-0707-070707070707 is not in a state in which this can be done to it: it is over.
            > poll A Build/Compile
              A/Build/Compile job Offered
              timer A/Build/Compile Offer in 0 minutes
            > ack A Build/Compile
              A/Build/Compile job Acknowledged
              clear A/Build/Compile Offer
              timer A/Build/Compile Job in 20 minutes
            > put A Build/Compile ok
              A/Build/Compile job Reported
              A/Build/Compile SUCCEEDED
              A/Build SUCCEEDED
              A/Deploy STARTED
              A/Deploy/Publish STARTED
              clear A/Build/Compile Timeout
              clear A/Build/Compile Job
              timer A/Deploy/Publish Timeout in 60 minutes
              run A/Deploy/Publish call 1 attempt 1
            > put A Build/Compile ok
              refused JobNotFoundException: There is no job of this id.
        "#]],
    );
}

#[test]
fn what_no_worker_does_in_its_time_is_offered_again_or_fails() {
    check(
        "Source: Src
         Build: Compile",
        "timers
         . start A
         . ok A Source/Src
         wait A Build/Compile job
         poll A Build/Compile
         due A Build/Compile offer
         ack A Build/Compile
         poll A Build/Compile
         ack A Build/Compile
         due A Build/Compile offer
         due A Build/Compile job
         put A Build/Compile ok
         . start B
         . ok B Source/Src
         . wait B Build/Compile job
         . poll B Build/Compile
         due B Build/Compile timeout
         . start C
         . ok C Source/Src
         . wait C Build/Compile job
         . poll C Build/Compile
         . ack C Build/Compile
         put C Build/Compile fail",
        expect![[r#"
            > timers
            > wait A Build/Compile job
              A/Build/Compile waiting
              A/Build/Compile job Queued
            > poll A Build/Compile
              A/Build/Compile job Offered
              timer A/Build/Compile Offer in 0 minutes
            > due A Build/Compile offer
              A/Build/Compile job Lapsed
            > ack A Build/Compile
              refused InvalidNonceException: The job a6bcb669-79f1-4837-a626-2cc7342facf6 cannot be taken with this nonce: poll again for a job.
            > poll A Build/Compile
              A/Build/Compile job Offered
              timer A/Build/Compile Offer in 0 minutes
            > ack A Build/Compile
              A/Build/Compile job Acknowledged
              clear A/Build/Compile Offer
              timer A/Build/Compile Job in 20 minutes
            > due A Build/Compile offer
              refused -: The answer comes too late: what it answers is over
            > due A Build/Compile job
              A/Build/Compile FAILED JobFailed: The worker that has the action's job did not report it in its time
              A/Build FAILED
              A FAILED: The action Compile in stage Build failed
              clear A/Build/Compile Timeout
            > put A Build/Compile ok
              refused JobNotFoundException: There is no job of this id.
            > due B Build/Compile timeout
              B/Build/Compile FAILED JobFailed: The action did not end within its timeout of 60 minutes
              B/Build FAILED
              B FAILED: The action Compile in stage Build failed
              clear B/Build/Compile Offer
            > put C Build/Compile fail
              C/Build/Compile job Reported
              C/Build/Compile FAILED JobFailed: broken
              C/Build FAILED
              C FAILED: The action Compile in stage Build failed
              clear C/Build/Compile Timeout
              clear C/Build/Compile Job
        "#]],
    );
}

#[test]
fn a_stop_and_an_update_take_the_job_away() {
    check(
        "Source: Src
         Build: Compile",
        "timers
         . start A
         . ok A Source/Src
         . wait A Build/Compile job
         . poll A Build/Compile
         stop A
         ack A Build/Compile
         put A Build/Compile ok
         . start B
         . ok B Source/Src
         . wait B Build/Compile job
         . poll B Build/Compile
         . ack B Build/Compile
         abandon B
         put B Build/Compile ok
         . start C
         . ok C Source/Src
         . wait C Build/Compile job
         update
         poll C Build/Compile",
        expect![[r#"
            > timers
            > stop A
              A STOPPING
              A/Build STOPPING
            > ack A Build/Compile
              A/Build/Compile job Acknowledged
              clear A/Build/Compile Offer
              timer A/Build/Compile Job in 20 minutes
            > put A Build/Compile ok
              A/Build/Compile job Reported
              A/Build/Compile SUCCEEDED
              A/Build SUCCEEDED
              A STOPPED: enough
              clear A/Build/Compile Timeout
              clear A/Build/Compile Job
            > abandon B
              B STOPPING
              B/Build STOPPING
              B/Build/Compile ABANDONED
              B/Build STOPPED
              B STOPPED: enough
              clear B/Build/Compile Timeout
              clear B/Build/Compile Job
            > put B Build/Compile ok
              refused JobNotFoundException: There is no job of this id.
            > update
              C/Build/Compile CANCELED
              C/Build CANCELED
              C CANCELED: The pipeline was updated
              pipeline updated, version Some(2)
              clear C/Build/Compile Timeout
            > poll C Build/Compile
              refused JobNotFoundException: There is no job of this id.
        "#]],
    );
}
