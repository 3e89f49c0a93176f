//! TagResource, UntagResource, ListTagsForResource.

use serde_json::{Value, json};

use super::world::{A, B, World, pipeline};
use crate::service::{pipelines, tags};

fn arn(account: u64, name: &str) -> String {
    format!("arn:aws:codepipeline:us-east-1:{account:012}:{name}")
}

fn of(arn: &str, member: &str, value: Value) -> Value {
    json!({ "resourceArn": arn, member: value })
}

fn tag(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": value })
}

impl World {
    fn tags(&self, name: &str) -> Value {
        self.ok(A, tags::list, json!({ "resourceArn": arn(A, name) }))["tags"].clone()
    }
}

#[test]
fn tags_are_put_replaced_and_taken_away() {
    let world = World::new();
    let given = json!({ "pipeline": pipeline("site"), "tags": [tag("team", "web")] });
    world.ok(A, pipelines::create, given);
    assert_eq!(world.tags("site"), json!([tag("team", "web")]));
    let site = arn(A, "site");
    let put = |tags: Value| assert_eq!(world.ok(A, tags::tag, of(&site, "tags", tags)), json!({}));
    put(json!([tag("stage", "prod"), tag("team", "docs")]));
    assert_eq!(world.tags("site"), json!([tag("stage", "prod"), tag("team", "docs")]));
    put(json!([]));
    let take = |keys: Value| assert_eq!(world.ok(A, tags::untag, of(&site, "tagKeys", keys)), json!({}));
    take(json!(["team", "never there"]));
    take(json!(["never there"]));
    assert_eq!(world.tags("site"), json!([tag("stage", "prod")]));
    // They belong to the pipeline and go with it.
    world.ok(A, pipelines::delete, json!({ "name": "site" }));
    world.create(A, "site");
    assert_eq!(world.tags("site"), json!([]));
}

#[test]
fn tags_come_in_pages() {
    let world = World::new();
    world.create(A, "site");
    let site = arn(A, "site");
    let all: Vec<_> = (0..5).map(|number| tag(&format!("k{number}"), "v")).collect();
    world.ok(A, tags::tag, of(&site, "tags", json!(all)));
    for size in 1..=6 {
        let pages = super::lists::pages(&world, A, tags::list, json!({ "resourceArn": site }), size, "tags");
        assert_eq!(pages.iter().map(Vec::len).sum::<usize>(), 5, "{size}");
        assert_eq!(pages.len(), 5_usize.div_ceil(size), "{size}");
        assert_eq!(pages.concat(), all, "{size}");
    }
}

#[test]
fn tags_that_cannot_be_are_refused_and_change_nothing() {
    let world = World::new();
    world.create(A, "site");
    let site = arn(A, "site");
    let class = |tags: Vec<Value>| {
        let error = world.ask(A, tags::tag, of(&site, "tags", json!(tags))).unwrap_err();
        super::world::words(&error).split(':').next().unwrap().to_owned()
    };
    assert_eq!(class(vec![tag("aws:mine", "v")]), "InvalidTagsException");
    assert_eq!(class((0..51).map(|number| tag(&format!("k{number}"), "v")).collect()), "TooManyTagsException");
    assert_eq!(world.tags("site"), json!([]));
    // Fifty are allowed, and which are there already count.
    world.ok(A, tags::tag, of(&site, "tags", (0..50).map(|number| tag(&format!("k{number}"), "v")).collect()));
    assert_eq!(class(vec![tag("one more", "v")]), "TooManyTagsException");
    world.ok(A, tags::tag, of(&site, "tags", json!([tag("k7", "other")])));
}

#[test]
fn a_resource_is_a_pipeline_of_the_account_and_region() {
    let world = World::new();
    world.create(B, "site");
    let missing = "ResourceNotFoundException: The account with id '000000000000' does not include a pipeline with the name 'site'";
    let refused = |arn: &str, expected: &str| {
        world.refused(A, tags::list, json!({ "resourceArn": arn }), expected);
        world.refused(A, tags::tag, of(arn, "tags", json!([tag("k", "v")])), expected);
        world.refused(A, tags::untag, of(arn, "tagKeys", json!(["k"])), expected);
    };
    refused(&arn(A, "site"), missing);
    for elsewhere in [arn(B, "site"), arn(A, "site").replace("us-east-1", "eu-west-1")] {
        refused(&elsewhere, &format!("ResourceNotFoundException: There is no resource {elsewhere} here"));
    }
    assert_eq!(world.ok(B, tags::list, json!({ "resourceArn": arn(B, "site") }))["tags"], json!([]));
    // Without an account it is the caller's own (S7).
    let whose = arn(B, "site").replace("111111111111", "");
    world.ok(B, tags::tag, of(&whose, "tags", json!([tag("team", "web")])));
    assert_eq!(world.ok(B, tags::list, json!({ "resourceArn": whose }))["tags"], json!([tag("team", "web")]));
    refused(&whose, missing);
}
