//! How executions go through a pipeline: run orders, artifacts, variables, locks, supersession, transitions, updates.

use std::sync::Arc;

use expect_test::expect;

use super::super::*;
use super::limits::Machine;
use super::pipelines::pipeline;
use super::script::check;
use crate::declaration::EnvironmentVariable;

#[test]
fn artifacts_and_variables_are_passed_on_from_stage_to_stage() {
    check(
        "Source: Src>App=src
         Build: Compile<App>Site{Commit:#{src.CommitId}@#{codepipeline.PipelineExecutionId}}
         Deploy: Publish<Site<App",
        "start A
         ok A Source/Src CommitId=c0ffee
         ok A Build/Compile
         ok A Deploy/Publish",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > ok A Source/Src CommitId=c0ffee
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build/Compile STARTED <App=digest-of-App Commit=c0ffee@A
              run A/Build/Compile call 1 attempt 1
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
              A/Build SUCCEEDED
              A/Deploy STARTED
              A/Deploy/Publish STARTED <App=digest-of-App <Site=digest-of-Site
              run A/Deploy/Publish call 1 attempt 1
            > ok A Deploy/Publish
              A/Deploy/Publish SUCCEEDED
              A/Deploy SUCCEEDED
              A SUCCEEDED
        "#]],
    );
}

#[test]
fn equal_run_orders_run_in_parallel_and_higher_ones_after_them() {
    check(
        "Source: Src
         Build: Lint Compile Pack@7 Sign@7",
        "start A
         ok A Source/Src
         ok A Build/Compile
         ok A Build/Lint
         ok A Build/Sign
         ok A Build/Pack",
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
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
            > ok A Build/Lint
              A/Build/Lint SUCCEEDED
              A/Build/Pack STARTED
              A/Build/Sign STARTED
              run A/Build/Pack call 1 attempt 1
              run A/Build/Sign call 1 attempt 1
            > ok A Build/Sign
              A/Build/Sign SUCCEEDED
            > ok A Build/Pack
              A/Build/Pack SUCCEEDED
              A/Build SUCCEEDED
              A SUCCEEDED
        "#]],
    );
}

#[test]
fn after_a_failure_peers_end_and_nothing_higher_starts() {
    check(
        "Source: Src
         Build: Lint Compile Pack@2
         Deploy: Publish",
        "start A
         ok A Source/Src
         fail A Build/Lint unused import
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
            > fail A Build/Lint unused import
              A/Build/Lint FAILED JobFailed: unused import
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
              A/Build FAILED
              A FAILED: The action Lint in stage Build failed
        "#]],
    );
}

#[test]
fn a_variable_without_value_fails_the_action() {
    check(
        "Source: Src=src
         Build: Compile{Commit:#{src.CommitId}} Lint",
        "start A
         ok A Source/Src AuthorDate=today
         ok A Build/Lint",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > ok A Source/Src AuthorDate=today
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build/Compile STARTED
              A/Build/Compile FAILED ConfigurationError: Build/Compile: configuration.Commit: nothing gives `#{src.CommitId}` a value: check the namespace, the key, and that the action that makes it has run
              A/Build/Lint STARTED
              run A/Build/Lint call 1 attempt 1
            > ok A Build/Lint
              A/Build/Lint SUCCEEDED
              A/Build FAILED
              A FAILED: The action Compile in stage Build failed
        "#]],
    );
}

#[test]
fn pipeline_variables_are_those_of_the_start_or_the_defaults() {
    check(
        "var Region=here
         var Name
         Source: Src
         Build: Compile{Where:#{variables.Region}/#{variables.Name}}",
        "start A Name=demo Unknown=ignored
         ok A Source/Src
         start B Region=there Name=x
         ok B Source/Src
         start C Region=there
         start D Name=a Name=b",
        expect![[r#"
            > start A Name=demo Unknown=ignored
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > ok A Source/Src
              A/Source/Src SUCCEEDED
              A/Source SUCCEEDED
              A/Build STARTED
              A/Build/Compile STARTED Where=here/demo
              run A/Build/Compile call 1 attempt 1
            > start B Region=there Name=x
              B STARTED
              B/Source STARTED
              B/Source/Src STARTED
              run B/Source/Src call 1 attempt 1
            > ok B Source/Src
              B/Source/Src SUCCEEDED
              B/Source SUCCEEDED
            > start C Region=there
              C STARTED
              C FAILED: Values for required variables haven't been provided: Name
            > start D Name=a Name=b
              refused ValidationException: Variable names must be unique. The following variable name is already in use: Name
        "#]],
    );
}

#[test]
fn outputs_are_exactly_those_declared() {
    check(
        "Source: Src>App
         Build: Compile<App",
        "start A
         ok-without-artifacts A Source/Src",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > ok-without-artifacts A Source/Src
              A/Source/Src FAILED JobFailed: The action declares the output artifact App, but did not make it
              A/Source FAILED
              A FAILED: The action Src in stage Source failed
        "#]],
    );
}

#[test]
fn a_stage_is_locked_and_who_waits_in_front_of_it_is_superseded_by_a_newer_one() {
    check(
        "Source: Src
         Build: Compile
         Deploy: Publish",
        "start A
         ok A Source/Src
         start B
         ok B Source/Src
         start C
         start D
         start E
         ok C Source/Src
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
              A/Build/Compile STARTED
              run A/Build/Compile call 1 attempt 1
            > start B
              B STARTED
              B/Source STARTED
              B/Source/Src STARTED
              run B/Source/Src call 1 attempt 1
            > ok B Source/Src
              B/Source/Src SUCCEEDED
              B/Source SUCCEEDED
            > start C
              C STARTED
              C/Source STARTED
              C/Source/Src STARTED
              run C/Source/Src call 1 attempt 1
            > start D
              D STARTED
            > start E
              E STARTED
              D SUPERSEDED: Superseded by the pipeline execution E
            > ok C Source/Src
              C/Source/Src SUCCEEDED
              C/Source SUCCEEDED
              B SUPERSEDED: Superseded by the pipeline execution C
              E/Source STARTED
              E/Source/Src STARTED
              run E/Source/Src call 1 attempt 1
            > ok A Build/Compile
              A/Build/Compile SUCCEEDED
              A/Build SUCCEEDED
              A/Deploy STARTED
              A/Deploy/Publish STARTED
              C/Build STARTED
              C/Build/Compile STARTED
              run A/Deploy/Publish call 1 attempt 1
              run C/Build/Compile call 1 attempt 1
        "#]],
    );
}

#[test]
fn a_failure_releases_the_lock() {
    check(
        "Source: Src
         Build: Compile",
        "start A
         start B
         fail A Source/Src no network
         ok B Source/Src",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > start B
              B STARTED
            > fail A Source/Src no network
              A/Source/Src FAILED JobFailed: no network
              A/Source FAILED
              A FAILED: The action Src in stage Source failed
              B/Source STARTED
              B/Source/Src STARTED
              run B/Source/Src call 1 attempt 1
            > ok B Source/Src
              B/Source/Src SUCCEEDED
              B/Source SUCCEEDED
              B/Build STARTED
              B/Build/Compile STARTED
              run B/Build/Compile call 1 attempt 1
        "#]],
    );
}

#[test]
fn a_disabled_transition_holds_executions_and_lets_the_newest_in_when_enabled() {
    check(
        "Source: Src
         Build: Compile
         Deploy: Publish",
        "disable Build inbound
         start A
         ok A Source/Src
         start B
         ok B Source/Src
         enable Build inbound
         disable Build outbound
         ok B Build/Compile
         enable Nowhere inbound
         enable Build outbound
         ok B Deploy/Publish",
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
            > start B
              B STARTED
              B/Source STARTED
              B/Source/Src STARTED
              run B/Source/Src call 1 attempt 1
            > ok B Source/Src
              B/Source/Src SUCCEEDED
              B/Source SUCCEEDED
              A SUPERSEDED: Superseded by the pipeline execution B
            > enable Build inbound
              Build Inbound enabled
              B/Build STARTED
              B/Build/Compile STARTED
              run B/Build/Compile call 1 attempt 1
            > disable Build outbound
              Build Outbound disabled
            > ok B Build/Compile
              B/Build/Compile SUCCEEDED
              B/Build SUCCEEDED
            > enable Nowhere inbound
              refused StageNotFoundException: The pipeline 'Demo' does not have a stage with name 'Nowhere'
            > enable Build outbound
              Build Outbound enabled
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
fn a_wait_of_more_than_thirty_days_is_not_resumed() {
    check(
        "Source: Src
         Build: Compile",
        "disable Build inbound
         start A
         ok A Source/Src
         pass 721h
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
            > pass 721h
            > enable Build inbound
              Build Inbound enabled
              A STOPPED: The execution waited for more than 30 days in front of a stage
        "#]],
    );
}

#[test]
fn an_update_cancels_what_runs_and_outdates_its_approvals() {
    check(
        "Source: Src
         Gate: Ask! Check
         Deploy: Publish",
        ". start A
         . ok A Source/Src
         wait A Gate/Ask approval
         . start B
         . ok B Source/Src
         start C
         update
         approve A Gate/Ask
         ok A Gate/Check
         retry A Gate failed
         start D",
        expect![[r#"
            > wait A Gate/Ask approval
              A/Gate/Ask waiting
            > start C
              C STARTED
              C/Source STARTED
              C/Source/Src STARTED
              run C/Source/Src call 1 attempt 1
            > update
              C/Source/Src CANCELED
              C/Source CANCELED
              C CANCELED: The pipeline was updated
              B CANCELED: The pipeline was updated
              A/Gate/Ask CANCELED
              A/Gate/Check CANCELED
              A/Gate CANCELED
              A CANCELED: The pipeline was updated
              pipeline updated, version Some(2)
              end C/Source/Src
              end A/Gate/Check
            > approve A Gate/Ask
              refused InvalidApprovalTokenException: The pipeline Demo has been updated, and the approval request you responded to is now out of date.
            > ok A Gate/Check
              refused -: The answer comes too late: what it answers is over
            > retry A Gate failed
              refused StageNotRetryableException: Unable to retry the stage 'Gate': the pipeline has been updated since.
            > start D
              D STARTED
              D/Source STARTED
              D/Source/Src STARTED
              run D/Source/Src call 1 attempt 1
        "#]],
    );
}

#[test]
fn a_deleted_pipeline_takes_nothing_more() {
    check(
        "Source: Src
         Build: Compile",
        "start A
         delete
         start B
         ok A Source/Src",
        expect![[r#"
            > start A
              A STARTED
              A/Source STARTED
              A/Source/Src STARTED
              run A/Source/Src call 1 attempt 1
            > delete
              A/Source/Src CANCELED
              A/Source CANCELED
              A CANCELED: The pipeline was deleted
              pipeline deleted, version 1
              end A/Source/Src
            > start B
              refused PipelineNotFoundException: The pipeline does not exist
            > ok A Source/Src
              refused -: The answer comes too late: what it answers is over
        "#]],
    );
}

/// Not in configurations alone.
#[test]
fn commands_and_environments_have_values_of_variables() {
    let mut declaration = pipeline("var Tone=plain\nSource: Src=src\nBuild: Compile");
    let compile = &mut Arc::make_mut(&mut declaration).stages[1].actions[0];
    let text = "#{src.CommitId} #{variables.Tone} #{codepipeline.PipelineExecutionId}".to_owned();
    compile.commands = Some(vec![format!("echo {text}")]);
    let variable = EnvironmentVariable { name: "TOLD".into(), value: text, kind: None };
    compile.environment_variables = Some(vec![variable]);
    let mut machine = Machine::created(declaration);
    machine.submit(InputKind::Start(StartRequest::default())).expect("started");
    let variables = [("CommitId".to_owned(), "c0ffee".to_owned())].into();
    machine.report(Report::succeeded(Success { variables, ..Success::default() }));
    let call = machine.call().expect("the action runs");
    let resolved = format!("c0ffee plain {}", call.execution);
    assert_eq!((&call.commands[..], &call.environment[0].value), (&[format!("echo {resolved}")][..], &resolved));
}
