"""The calls that Terraform's resource aws_codepipeline makes, in their order, with what its provider keeps in its state:
`python terraform.py ENDPOINT CREDENTIALS`. Create, read, plan, update, drift, import and delete.

Owns the provider's reading of an answer: it flattens a pipeline into blocks, and plans a change wherever a block differs from the
configuration. Must not know the server."""

import copy
import sys

import botocore.exceptions

from provider import client_of, plan

ROLE = "arn:aws:iam::000000000000:role/pipeline"

# A configuration as HCL's blocks, and as the provider has it in its state.
CONFIGURATION = {
    "name": "released",
    "role_arn": ROLE,
    "pipeline_type": "V2",
    "execution_mode": "SUPERSEDED",
    "artifact_store": [{"type": "S3", "location": "artifacts", "region": "", "encryption_key": []}],
    "variable": [{"name": "Colour", "default_value": "blue", "description": "of the site"}],
    "stage": [
        {"name": "Source", "action": [{
            "name": "Get", "category": "Source", "owner": "Custom", "provider": "Directory", "version": "1",
            "configuration": {"Directory": "source"}, "input_artifacts": [], "output_artifacts": ["Code"],
            "namespace": "SourceVariables", "region": "", "role_arn": "", "run_order": 1, "timeout_in_minutes": 0,
        }]},
        {"name": "Ask", "action": [
            {
                "name": "Ask", "category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1",
                "configuration": {"CustomData": "Really?"}, "input_artifacts": [], "output_artifacts": [],
                "namespace": "", "region": "", "role_arn": "", "run_order": 1, "timeout_in_minutes": 60,
            },
            {
                "name": "Publish", "category": "Deploy", "owner": "Custom", "provider": "Directory", "version": "1",
                "configuration": {}, "input_artifacts": ["Code"], "output_artifacts": [],
                "namespace": "", "region": "", "role_arn": "", "run_order": 2, "timeout_in_minutes": 0,
            },
        ]},
    ],
    "tags": {"team": "web"},
}


def expand(state):
    """The declaration that the provider sends: empty optional arguments are left out."""
    def given(**members):
        return {name: value for name, value in members.items() if value}

    def action(block):
        type_id = {name: block[name] for name in ("category", "owner", "provider", "version")}
        named = lambda names: [{"name": name} for name in names]
        return {"name": block["name"], "actionTypeId": type_id, **given(
            configuration=block["configuration"], inputArtifacts=named(block["input_artifacts"]),
            outputArtifacts=named(block["output_artifacts"]), namespace=block["namespace"], region=block["region"],
            roleArn=block["role_arn"], runOrder=block["run_order"], timeoutInMinutes=block["timeout_in_minutes"],
        )}

    store = {name: state["artifact_store"][0][name] for name in ("type", "location")}
    variable = lambda block: given(
        name=block["name"], defaultValue=block["default_value"], description=block["description"])
    return {
        "name": state["name"], "roleArn": state["role_arn"], "artifactStore": store,
        "pipelineType": state["pipeline_type"], "executionMode": state["execution_mode"],
        "variables": [variable(block) for block in state["variable"]],
        "stages": [{"name": stage["name"], "actions": [action(it) for it in stage["action"]]} for stage in state["stage"]],
    }


def flatten(pipeline, tags):
    """The state that the provider keeps of an answer: absent members are empty."""
    def action(found):
        names = lambda artifacts: [artifact["name"] for artifact in artifacts or []]
        return {
            "name": found["name"], **found["actionTypeId"], "configuration": found.get("configuration") or {},
            "input_artifacts": names(found.get("inputArtifacts")), "output_artifacts": names(found.get("outputArtifacts")),
            "namespace": found.get("namespace", ""), "region": found.get("region", ""),
            "role_arn": found.get("roleArn", ""), "run_order": found.get("runOrder", 0),
            "timeout_in_minutes": found.get("timeoutInMinutes", 0),
        }

    store = pipeline["artifactStore"]
    variable = lambda found: {
        "name": found["name"], "default_value": found.get("defaultValue", ""), "description": found.get("description", "")}
    return {
        "name": pipeline["name"], "role_arn": pipeline["roleArn"], "pipeline_type": pipeline.get("pipelineType", ""),
        "execution_mode": pipeline.get("executionMode", ""),
        "artifact_store": [{"type": store["type"], "location": store["location"], "region": "", "encryption_key": []}],
        "variable": [variable(found) for found in pipeline.get("variables") or []],
        "stage": [
            {"name": stage["name"], "action": [action(found) for found in stage["actions"]]} for stage in pipeline["stages"]
        ],
        "tags": {tag["key"]: tag["value"] for tag in tags},
    }


class Resource:
    def __init__(self, client):
        self.client = client

    def create(self, configuration):
        tags = [{"key": key, "value": value} for key, value in configuration["tags"].items()]
        self.client.create_pipeline(pipeline=expand(configuration), tags=tags)
        return self.read(configuration["name"])

    def read(self, name):
        """None where the resource is gone: the provider takes it out of its state."""
        try:
            found = self.client.get_pipeline(name=name)
        except self.client.exceptions.PipelineNotFoundException:
            return None
        arn = found["metadata"]["pipelineArn"]
        tags = self.client.list_tags_for_resource(resourceArn=arn)["tags"]
        return {"arn": arn, **flatten(found["pipeline"], tags)}

    def update(self, before, configuration):
        if plan({**configuration, "tags": before["tags"]}, before):
            self.client.update_pipeline(pipeline=expand(configuration))
        gone = [key for key in before["tags"] if key not in configuration["tags"]]
        new = [{"key": k, "value": v} for k, v in configuration["tags"].items() if before["tags"].get(k) != v]
        if gone:
            self.client.untag_resource(resourceArn=before["arn"], tagKeys=gone)
        if new:
            self.client.tag_resource(resourceArn=before["arn"], tags=new)
        return self.read(configuration["name"])

    def delete(self, name):
        self.client.delete_pipeline(name=name)


def main(endpoint, credentials):
    client = client_of("codepipeline", endpoint, credentials)
    resource = Resource(client)
    assert resource.read("released") is None
    state = resource.create(CONFIGURATION)
    assert plan(CONFIGURATION, state) == [], f"the second plan is not empty: {state}"

    changed = copy.deepcopy(CONFIGURATION)
    changed["execution_mode"] = "QUEUED"
    changed["stage"][1]["action"][0]["configuration"] = {"CustomData": "Really, really?"}
    changed["variable"], changed["tags"] = [], {"team": "shop", "stage": "live"}
    wanted = ["execution_mode", "stage", "tags", "variable"]
    assert plan(changed, state) == wanted, plan(changed, state)
    state = resource.update(state, changed)
    assert plan(changed, state) == [], f"the plan after an update is not empty: {state}"
    only_tags = {**changed, "tags": {}}
    before = client.get_pipeline(name="released")["pipeline"]["version"]
    state = resource.update(state, only_tags)
    assert plan(only_tags, state) == [], f"the plan after a change of tags is not empty: {state}"
    assert client.get_pipeline(name="released")["pipeline"]["version"] == before, "tags make no version"

    # Somebody else changes it, and the plan says what.
    drifted = expand({**changed, "role_arn": ROLE + "-other"})
    client.update_pipeline(pipeline=drifted)
    state = resource.read("released")
    assert plan(only_tags, state) == ["role_arn"], plan(only_tags, state)
    state = resource.update(state, only_tags)
    assert plan(only_tags, state) == []

    # An import knows the name alone.
    assert plan(only_tags, resource.read("released")) == [], "the plan after an import is not empty"
    resource.delete("released")
    assert resource.read("released") is None
    # A resource that is gone already is deleted without a word.
    resource.delete("released")
    wrong = copy.deepcopy(CONFIGURATION)
    wrong["stage"] = wrong["stage"][:1]
    try:
        resource.create(wrong)
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "InvalidStructureException", error
    else:
        raise AssertionError("one stage is no pipeline")


main(*sys.argv[1:])
