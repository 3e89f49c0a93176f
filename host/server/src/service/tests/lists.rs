//! Pages: every row once, in order, none behind the last, and a token that is good for its own list alone.

use std::sync::Arc;
use std::time::Duration;

use pipewright_base::clock::Simulated;
use serde::Serialize;
use serde_json::{Value, json};

use super::world::{A, B, Deed, Given, World, gated, text};
use crate::config::Quotas;
use crate::service::{Context, Service, ServiceError, actions, executions, pipelines, rules, tags};

/// All pages of a list.
#[track_caller]
pub fn pages<I: Given, O: Serialize>(
    world: &World,
    account: u64,
    list: impl AsyncFn(&Service, &Context, I) -> Result<O, ServiceError>,
    mut input: Value,
    size: usize,
    member: &str,
) -> Vec<Vec<Value>> {
    let mut pages = Vec::new();
    input["maxResults"] = json!(size);
    loop {
        let page = world.ok(account, &list, input.clone());
        pages.push(page[member].as_array().unwrap().clone());
        match page.get("nextToken") {
            Some(token) => input["nextToken"] = token.clone(),
            None => return pages,
        }
        assert!(pages.len() < 100, "the pages have no end");
    }
}

/// The pages of every size have all rows in the order of the whole list, and no page is empty but a list's only one.
#[track_caller]
fn check<I: Given, O: Serialize>(
    world: &World,
    list: impl AsyncFn(&Service, &Context, I) -> Result<O, ServiceError>,
    input: Value,
    member: &str,
    id: &str,
    expected: &[String],
) {
    for size in 1..=expected.len() + 1 {
        let pages = pages(world, A, &list, input.clone(), size, member);
        let ids: Vec<_> = pages.concat().iter().map(|row| text(&row[id])).collect();
        assert_eq!(ids, expected, "pages of {size}");
        assert_eq!(pages.len(), expected.len().div_ceil(size).max(1), "pages of {size}");
    }
}

#[test]
fn pipelines_are_listed_by_name() {
    let world = World::new();
    check(&world, pipelines::list, json!({}), "pipelines", "name", &[]);
    for name in ["b", "a", "d", "c"] {
        world.create(A, name);
    }
    world.create(B, "elsewhere");
    check(&world, pipelines::list, json!({}), "pipelines", "name", &["a", "b", "c", "d"].map(str::to_owned));
    let summary = world.ok(A, pipelines::list, json!({}))["pipelines"][0].clone();
    assert_eq!((&summary["version"], &summary["pipelineType"]), (&json!(1), &json!("V1")));
    assert_eq!(summary["executionMode"], "SUPERSEDED");
    world.ok(A, pipelines::delete, json!({ "name": "b" }));
    check(&world, pipelines::list, json!({}), "pipelines", "name", &["a", "c", "d"].map(str::to_owned));
}

#[test]
fn executions_are_listed_the_newest_first() {
    let world = World::new();
    let mut ids = vec![world.create(A, "site")];
    ids.extend((0..4).map(|_| world.whole(A, "site")));
    ids.reverse();
    let input = json!({ "pipelineName": "site" });
    check(&world, executions::list, input, "pipelineExecutionSummaries", "pipelineExecutionId", &ids);
}

#[test]
fn a_filter_gives_no_token_where_nothing_more_fits_it() {
    let world = World::new();
    world.script.does("Make", Deed::Fail("no"));
    world.create(A, "site");
    world.whole(A, "site");
    world.script.succeeds("Make");
    let good = [world.whole(A, "site"), world.whole(A, "site")];
    world.script.does("Make", Deed::Fail("no"));
    world.whole(A, "site");
    let newest_first = [good[1].clone(), good[0].clone()];
    let input =
        |stage: &str| json!({ "pipelineName": "site", "filter": { "succeededInStage": { "stageName": stage } } });
    let (member, id) = ("pipelineExecutionSummaries", "pipelineExecutionId");
    check(&world, executions::list, input("Build"), member, id, &newest_first);
    check(&world, executions::list, input("Nowhere"), member, id, &[]);
    assert_eq!(pages(&world, A, executions::list, input("Source"), 100, member).concat().len(), 5);
    // Of an earlier version it is another stage.
    world.ok(A, pipelines::update, json!({ "pipeline": super::world::pipeline("site") }));
    check(&world, executions::list, input("Build"), member, id, &[]);
}

#[test]
fn action_executions_are_listed_of_a_pipeline_or_of_one_execution() {
    let world = World::new();
    let first = world.create(A, "site");
    let second = world.whole(A, "site");
    let (member, id) = ("actionExecutionDetails", "actionExecutionId");
    let listed = |input: Value| pages(&world, A, actions::list, input, 100, member).concat();
    let of = |filter: Value| json!({ "pipelineName": "site", "filter": filter });
    let all = listed(json!({ "pipelineName": "site" }));
    // In whatever order those of one millisecond are: every page size gives the same.
    let ids = |rows: &[Value]| rows.iter().map(|row| text(&row[id])).collect::<Vec<_>>();
    assert_eq!(all.len(), 4);
    check(&world, actions::list, json!({ "pipelineName": "site" }), member, id, &ids(&all));
    for execution in [first, second] {
        let its: Vec<_> = all.iter().filter(|row| row["pipelineExecutionId"] == *execution).cloned().collect();
        assert_eq!(its.len(), 2);
        let filtered = of(json!({ "pipelineExecutionId": execution }));
        assert_eq!(ids(&listed(filtered.clone())), ids(&its));
        check(&world, actions::list, filtered, member, id, &ids(&its));
    }
}

/// A page looks at so many executions and no more, and then goes on.
#[test]
fn a_page_of_a_filter_that_fits_almost_nothing_may_be_short() {
    let world = World::new();
    let good = world.create(A, "site");
    world.script.does("Make", Deed::Fail("no"));
    (0..320).for_each(|_| drop(world.whole(A, "site")));
    let input = json!({ "pipelineName": "site", "filter": { "succeededInStage": { "stageName": "Build" } } });
    let pages = pages(&world, A, executions::list, input, 10, "pipelineExecutionSummaries");
    let ids = pages.iter().map(|page| page.iter().map(|row| text(&row["pipelineExecutionId"])).collect::<Vec<_>>());
    assert_eq!(ids.collect::<Vec<_>>(), [vec![], vec![good]]);
}

#[test]
fn the_latest_attempt_leaves_out_what_ran_before_the_retry() {
    let clock = Simulated::new(1_795_342_830_000);
    let world = World::on(Quotas::default(), Arc::new(clock.clone()));
    world.script.does("Make", Deed::Fail("no"));
    let execution = world.create(A, "site");
    let latest = |range: &str| {
        let latest = json!({ "pipelineExecutionId": execution, "startTimeRange": range });
        let filter = json!({ "latestInPipelineExecution": latest });
        let input = json!({ "pipelineName": "site", "filter": filter });
        let rows = pages(&world, A, actions::list, input, 100, "actionExecutionDetails").concat();
        let mut names: Vec<_> = rows.iter().map(|row| text(&row["actionName"])).collect();
        names.sort();
        names
    };
    assert_eq!(latest("Latest"), ["Make", "Source"]);
    world.run(clock.advance(Duration::from_secs(1)));
    world.script.succeeds("Make");
    let retry = json!({
        "pipelineName": "site", "stageName": "Build", "pipelineExecutionId": execution, "retryMode": "FAILED_ACTIONS",
    });
    world.ok(A, executions::retry_stage, retry);
    world.ended(A, "site", &execution);
    assert_eq!(latest("All"), ["Make", "Make", "Source"]);
    assert_eq!(latest("Latest"), ["Make"]);
}

#[test]
fn a_token_is_of_one_list_one_pipeline_and_one_account() {
    const INVALID: &str =
        "InvalidNextTokenException: The next token is not one that a previous call of this operation returned";
    let world = World::new();
    for (account, name) in [(A, "site"), (A, "docs"), (B, "site"), (B, "docs")] {
        world.create(account, name);
        world.whole(account, name);
    }
    let one = json!({ "pipelineName": "site", "maxResults": 1 });
    let token = |page: Value| text(&page["nextToken"]);
    let with = |mut input: Value, token: &str| {
        input["nextToken"] = json!(token);
        input
    };
    let pipelines_token = token(world.ok(A, pipelines::list, json!({ "maxResults": 1 })));
    let executions_token = token(world.ok(A, executions::list, one.clone()));
    let actions_token = token(world.ok(A, actions::list, one.clone()));
    world.refused(B, pipelines::list, with(json!({}), &pipelines_token), INVALID);
    world.refused(A, pipelines::list, with(json!({}), &executions_token), INVALID);
    world.refused(A, executions::list, with(one.clone(), &actions_token), INVALID);
    world.refused(A, rules::list_executions, with(one.clone(), &actions_token), INVALID);
    world.refused(B, executions::list, with(one.clone(), &executions_token), INVALID);
    let other = json!({ "pipelineName": "docs" });
    world.refused(A, executions::list, with(other.clone(), &executions_token), INVALID);
    world.refused(A, actions::list, with(other, &actions_token), INVALID);
    let filter = json!({ "pipelineName": "site", "filter": { "succeededInStage": { "stageName": "Build" } } });
    world.refused(A, executions::list, with(filter, &executions_token), INVALID);
    let resource = json!({ "resourceArn": "arn:aws:codepipeline:us-east-1:000000000000:site" });
    world.refused(A, tags::list, with(resource, &pipelines_token), INVALID);
    for made_up in ["x", "AAAA", &executions_token[1..], &format!("{executions_token}A")] {
        world.refused(A, executions::list, with(one.clone(), made_up), INVALID);
    }
    // What is meant by it is still there.
    world.ok(A, executions::list, with(one.clone(), &executions_token));
}

#[test]
fn what_is_listed_of_a_pipeline_needs_the_pipeline() {
    let world = World::new();
    world.create(B, "site");
    let missing = "PipelineNotFoundException: The account with AWS account ID '000000000000' does not include a pipeline named 'site'";
    world.refused(A, executions::list, json!({ "pipelineName": "site" }), missing);
    world.refused(A, actions::list, json!({ "pipelineName": "site" }), missing);
    world.refused(A, rules::list_executions, json!({ "pipelineName": "site" }), missing);
    let id = world.create(A, "site");
    let other = world.create(A, "docs");
    let of = |execution: &str| json!({ "pipelineName": "site", "filter": { "pipelineExecutionId": execution } });
    let not_there =
        format!("PipelineExecutionNotFoundException: The pipeline 'site' does not have an execution with ID '{other}'");
    world.refused(A, actions::list, of(&other), &not_there);
    world.refused(A, rules::list_executions, of(&other), &not_there);
    // It has no conditions.
    assert_eq!(world.ok(A, rules::list_executions, of(&id)), json!({ "ruleExecutionDetails": [] }));
}

#[test]
fn an_open_execution_is_in_every_list() {
    let world = World::new();
    world.script.does("Ask", Deed::Ask("ship it?"));
    world.ok(A, pipelines::create, json!({ "pipeline": gated("site") }));
    let execution = world.newest(A, "site");
    let token = world.token(A, "site", &execution);
    let listed = world.ok(A, executions::list, json!({ "pipelineName": "site" }));
    assert_eq!(listed["pipelineExecutionSummaries"][0]["status"], "InProgress");
    let open = world.action(A, "site", "Ask");
    assert_eq!((&open["actionName"], &open["status"]), (&json!("Ask"), &json!("InProgress")));
    let result = &open["output"]["executionResult"];
    assert_eq!(result["externalExecutionId"], *token);
    assert_eq!(result["externalExecutionSummary"], "ship it?");
}
