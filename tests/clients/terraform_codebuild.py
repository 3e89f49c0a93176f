"""The calls that Terraform's resource aws_codebuild_project makes, in their order, with what its provider keeps in its state:
`python terraform_codebuild.py ENDPOINT CREDENTIALS`. Create, read, plan, update, drift, import and delete.

Owns the provider's reading of an answer: it flattens a project into blocks, and plans a change wherever a block differs from the
configuration. Must not know the server."""

import copy
import sys

import botocore.exceptions

from provider import client_of, plan

ROLE = "arn:aws:iam::000000000000:role/build"

# A configuration as HCL's blocks, with the defaults of the provider's schema, and as the provider has it in its state.
CONFIGURATION = {
    "name": "built",
    "description": "The site",
    "service_role": ROLE,
    "build_timeout": 30,
    "queued_timeout": 480,
    "badge_enabled": False,
    "concurrent_build_limit": 2,
    "source_version": "main",
    "project_visibility": "PRIVATE",
    "artifacts": {
        "type": "S3", "location": "bucket", "name": "site", "path": "", "packaging": "ZIP", "namespace_type": "NONE",
        "artifact_identifier": "", "encryption_disabled": False, "override_artifact_name": False,
    },
    "cache": {"type": "LOCAL", "location": "", "modes": ["LOCAL_SOURCE_CACHE"]},
    "environment": {
        "type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "compute_type": "BUILD_GENERAL1_SMALL",
        "image_pull_credentials_type": "CODEBUILD", "privileged_mode": False, "certificate": "",
        "environment_variable": [
            {"name": "COLOUR", "value": "blue", "type": "PLAINTEXT"},
            {"name": "TOKEN", "value": "/site/token", "type": "PARAMETER_STORE"},
        ],
    },
    "logs_config": {
        "cloudwatch_logs": {"status": "ENABLED", "group_name": "builds", "stream_name": ""},
        "s3_logs": {"status": "DISABLED", "location": "", "encryption_disabled": False},
    },
    "source": {
        "type": "GITHUB", "location": "https://git.example/site.git", "buildspec": "", "git_clone_depth": 1,
        "insecure_ssl": False, "report_build_status": False, "source_identifier": "", "fetch_submodules": True,
    },
    "secondary_sources": [{
        "type": "GITHUB", "location": "https://git.example/lib.git", "buildspec": "", "git_clone_depth": 0,
        "insecure_ssl": False, "report_build_status": False, "source_identifier": "lib", "fetch_submodules": None,
    }],
    "vpc_config": {"vpc_id": "vpc-1", "subnets": ["subnet-1"], "security_group_ids": ["sg-1"]},
    "tags": {"team": "web"},
}


def given(**members):
    return {name: value for name, value in members.items() if value not in ("", None)}


def source(block):
    """Whatever is false or empty is sent too, where the type has it."""
    submodules = block["fetch_submodules"]
    return {
        "type": block["type"], "buildspec": block["buildspec"], "gitCloneDepth": block["git_clone_depth"],
        "insecureSsl": block["insecure_ssl"], "reportBuildStatus": block["report_build_status"], **given(
            location=block["location"], sourceIdentifier=block["source_identifier"],
            gitSubmodulesConfig=None if submodules is None else {"fetchSubmodules": submodules}),
    }


def logs(block):
    cloud_watch, s3 = block["cloudwatch_logs"], block["s3_logs"]
    return {
        "cloudWatchLogs": {"status": cloud_watch["status"], **given(
            groupName=cloud_watch["group_name"], streamName=cloud_watch["stream_name"])},
        "s3Logs": {"status": s3["status"], "encryptionDisabled": s3["encryption_disabled"], **given(location=s3["location"])},
    }


def expand(name, value):
    """One argument as the member of the API that it becomes; an argument that is taken out of the configuration is sent too."""
    match name:
        case "artifacts":
            return "artifacts", {
                "type": value["type"], "encryptionDisabled": value["encryption_disabled"],
                "overrideArtifactName": value["override_artifact_name"], **given(
                    location=value["location"], name=value["name"], path=value["path"], packaging=value["packaging"],
                    namespaceType=value["namespace_type"], artifactIdentifier=value["artifact_identifier"]),
            }
        case "cache":
            if value is None:
                return "cache", {"type": "NO_CACHE"}
            return "cache", {"type": value["type"], "location": value["location"], "modes": value["modes"]}
        case "environment":
            return "environment", {
                "privilegedMode": value["privileged_mode"], "type": value["type"], "image": value["image"],
                "computeType": value["compute_type"], "imagePullCredentialsType": value["image_pull_credentials_type"],
                "environmentVariables": value["environment_variable"], **given(certificate=value["certificate"]),
            }
        case "logs_config":
            return "logsConfig", logs(value)
        case "source":
            return "source", source(value)
        case "secondary_sources":
            return "secondarySources", [source(block) for block in value]
        case "vpc_config":
            members = {"vpc_id": "vpcId", "subnets": "subnets", "security_group_ids": "securityGroupIds"}
            return "vpcConfig", {members[key]: it for key, it in (value or {}).items()}
        case "concurrent_build_limit":
            return "concurrentBuildLimit", value or -1
        case "tags":
            return "tags", [{"key": key, "value": it} for key, it in value.items()]
    plain = {
        "badge_enabled": "badgeEnabled", "build_timeout": "timeoutInMinutes", "description": "description", "name": "name",
        "queued_timeout": "queuedTimeoutInMinutes", "service_role": "serviceRole", "source_version": "sourceVersion",
    }
    return plain[name], value


def flatten_source(found):
    submodules = found.get("gitSubmodulesConfig")
    return {
        "type": found["type"], "location": found.get("location", ""), "buildspec": found.get("buildspec", ""),
        "git_clone_depth": found.get("gitCloneDepth", 0), "insecure_ssl": found.get("insecureSsl", False),
        "report_build_status": found.get("reportBuildStatus", False),
        "source_identifier": found.get("sourceIdentifier", ""),
        "fetch_submodules": submodules and submodules["fetchSubmodules"],
    }


def flatten_logs(found):
    cloud_watch, s3 = found.get("cloudWatchLogs"), found.get("s3Logs")
    return {
        "cloudwatch_logs": {
            "status": cloud_watch["status"], "group_name": cloud_watch.get("groupName", ""),
            "stream_name": cloud_watch.get("streamName", "")},
        "s3_logs": {
            "status": s3["status"], "location": s3.get("location", ""),
            "encryption_disabled": s3.get("encryptionDisabled", False)},
    }


def flatten(project):
    """The state that the provider keeps of an answer: absent members are empty."""
    artifacts, environment, cache = project["artifacts"], project["environment"], project.get("cache")
    vpc = project.get("vpcConfig")
    return {
        "arn": project["arn"], "name": project["name"], "description": project.get("description", ""),
        "service_role": project["serviceRole"], "build_timeout": project["timeoutInMinutes"],
        "queued_timeout": project["queuedTimeoutInMinutes"],
        "badge_enabled": project.get("badge", {}).get("badgeEnabled", False),
        "concurrent_build_limit": project.get("concurrentBuildLimit", 0), "source_version": project.get("sourceVersion", ""),
        "project_visibility": project.get("projectVisibility", "PRIVATE"),
        "artifacts": {
            "type": artifacts["type"], "location": artifacts.get("location", ""), "name": artifacts.get("name", ""),
            "path": artifacts.get("path", ""), "packaging": artifacts.get("packaging", ""),
            "namespace_type": artifacts.get("namespaceType", ""),
            "artifact_identifier": artifacts.get("artifactIdentifier", ""),
            "encryption_disabled": artifacts.get("encryptionDisabled", False),
            "override_artifact_name": artifacts.get("overrideArtifactName", False),
        },
        # One without a cache is as if the block was not there.
        "cache": None if cache is None or cache["type"] == "NO_CACHE" else {
            "type": cache["type"], "location": cache.get("location", ""), "modes": cache.get("modes", [])},
        "environment": {
            "type": environment["type"], "image": environment["image"], "compute_type": environment["computeType"],
            "image_pull_credentials_type": environment.get("imagePullCredentialsType", ""),
            "privileged_mode": environment["privilegedMode"], "certificate": environment.get("certificate", ""),
            "environment_variable": environment["environmentVariables"],
        },
        "logs_config": flatten_logs(project["logsConfig"]),
        "source": flatten_source(project["source"]),
        "secondary_sources": [flatten_source(found) for found in project.get("secondarySources") or []],
        "vpc_config": None if vpc is None or not vpc.get("vpcId") else {
            "vpc_id": vpc["vpcId"], "subnets": vpc["subnets"], "security_group_ids": vpc["securityGroupIds"]},
        "tags": {tag["key"]: tag["value"] for tag in project.get("tags") or []},
    }


class Resource:
    def __init__(self, client):
        self.client = client

    def create(self, configuration):
        set_ones = [name for name, value in configuration.items() if value and name != "project_visibility"]
        project = self.client.create_project(**dict(expand(name, configuration[name]) for name in set_ones))["project"]
        return self.read(project["arn"])

    def read(self, name_or_arn):
        """None where the resource is gone: the provider takes it out of its state."""
        found = self.client.batch_get_projects(names=[name_or_arn])["projects"]
        return flatten(found[0]) if found else None

    def update(self, before, configuration):
        """What has changed, and always the tags."""
        changed = {*plan(configuration, before), "name", "tags"}
        self.client.update_project(**dict(expand(name, configuration[name]) for name in changed))
        return self.read(before["arn"])

    def delete(self, arn):
        self.client.delete_project(name=arn)


def main(endpoint, credentials):
    client = client_of("codebuild", endpoint, credentials)
    resource = Resource(client)
    state = resource.create(CONFIGURATION)
    assert plan(CONFIGURATION, state) == [], f"the second plan differs in {plan(CONFIGURATION, state)}: {state}"

    # Blocks are changed and taken out.
    changed = copy.deepcopy(CONFIGURATION)
    changed["environment"]["environment_variable"] = [{"name": "COLOUR", "value": "red", "type": "PLAINTEXT"}]
    changed |= {
        "description": "", "build_timeout": 60, "badge_enabled": True, "concurrent_build_limit": 0, "source_version": "",
        "cache": None, "secondary_sources": [], "vpc_config": None, "tags": {"team": "shop", "stage": "live"},
    }
    wanted = sorted([
        "badge_enabled", "build_timeout", "cache", "concurrent_build_limit", "description", "environment",
        "secondary_sources", "source_version", "tags", "vpc_config",
    ])
    assert plan(changed, state) == wanted, plan(changed, state)
    state = resource.update(state, changed)
    assert plan(changed, state) == [], f"the plan after an update differs in {plan(changed, state)}: {state}"
    untagged = {**changed, "tags": {}}
    state = resource.update(state, untagged)
    assert plan(untagged, state) == [], f"the plan after a change of tags differs in {plan(untagged, state)}: {state}"

    # Somebody else changes it, and the plan says what.
    client.update_project(name="built", serviceRole=ROLE + "-other")
    state = resource.read(state["arn"])
    assert plan(untagged, state) == ["service_role"], plan(untagged, state)
    state = resource.update(state, untagged)
    assert plan(untagged, state) == []

    # An import knows the name alone, or the ARN.
    for imported in ("built", state["arn"]):
        assert plan(untagged, resource.read(imported)) == [], "the plan after an import is not empty"
    resource.delete(state["arn"])
    assert resource.read(state["arn"]) is None
    # A resource that is gone already is deleted without a word.
    resource.delete(state["arn"])
    wrong = copy.deepcopy(CONFIGURATION)
    wrong["source"]["location"] = ""
    try:
        resource.create(wrong)
    except botocore.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == "InvalidInputException", error
    else:
        raise AssertionError("a source of GitHub has a location")


main(*sys.argv[1:])
