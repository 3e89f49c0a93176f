"""Drives a running server through CodeBuild's operations in both protocols; botocore's model judges every answer.

    codebuild.py ENDPOINT CREDENTIALS_FILE REGION OPERATION…

Builds fail, for nothing is granted; the project `fixed` is in the server's configuration."""

import configparser
import sys
import time

import client as clients
import main
import model
import wire

INVALID = "InvalidInputException"
MISSING = "ResourceNotFoundException"
WAIT_SECONDS_MAX = 120
BUILDSPEC = "version: 0.2\nphases: {build: {commands: [echo]}}\n"


def minimal(name):
    return {
        "name": name, "source": {"type": "NO_SOURCE", "buildspec": BUILDSPEC}, "artifacts": {"type": "NO_ARTIFACTS"},
        "environment": {"type": "LINUX_CONTAINER", "image": "busybox", "computeType": "BUILD_GENERAL1_SMALL"},
        "serviceRole": "arn:aws:iam::000000000000:role/build",
    }


def full(operation, name):
    """Every member of the model."""
    project = model.sample(model.operation(operation).input_shape)
    project["name"] = name
    project["source"].update(type="GITHUB", location="https://git.example/site.git")
    project["artifacts"]["type"] = "S3"
    return project


def missing(given, shown, path=""):
    """What was given and is not shown."""
    if isinstance(given, dict):
        for name, value in given.items():
            if not isinstance(shown, dict) or name not in shown:
                yield f"{path}.{name}"
            else:
                yield from missing(value, shown[name], f"{path}.{name}")
    elif isinstance(given, list):
        for index, value in enumerate(given):
            yield from missing(value, shown[index], f"{path}[{index}]") if index < len(shown) else [f"{path}[{index}]"]
    elif given != shown:
        yield f"{path}: {given!r} is shown as {shown!r}"


class Story:
    def __init__(self, client):
        self.call, self.report = client.call, client.report
        self.name = f"site-{client.protocol.__name__.lower()}"

    def check_shown(self, given, shown):
        # It is told as a badge.
        given = {name: value for name, value in given.items() if name != "badgeEnabled"}
        lost = list(missing(given, shown))
        self.report.check(not lost, f"not read back: {lost}")

    def projects(self):
        whole = full("CreateProject", f"{self.name}-full")
        self.check_shown(whole, self.call("CreateProject", whole)["project"])
        self.call("CreateProject", minimal(self.name))
        self.call("CreateProject", minimal(self.name), "ResourceAlreadyExistsException")
        self.call("CreateProject", {**minimal("other"), "source": {"type": "GITHUB"}}, INVALID)
        self.call("UpdateProject", {"name": f"{self.name}-full"})
        changed = {**full("UpdateProject", f"{self.name}-full"), "description": "Another"}
        self.call("UpdateProject", changed)
        shown = self.call("BatchGetProjects", {"names": [f"{self.name}-full", "nobody"]})
        self.check_shown(changed, shown["projects"][0])
        self.report.check(shown["projectsNotFound"] == ["nobody"], f"{shown['projectsNotFound']} are not there")
        self.call("UpdateProject", {"name": "nobody"}, MISSING)
        for refused in ("UpdateProject", "DeleteProject"):
            self.call(refused, {"name": "fixed"}, INVALID)

    def lists(self):
        for number in range(100):
            self.call("CreateProject", minimal(f"many-{number}"))
        self.call("ListProjects", {})
        order = {"sortBy": "CREATED_TIME", "sortOrder": "DESCENDING"}
        first = self.call("ListProjects", order)
        self.call("ListProjects", {**order, "nextToken": first["nextToken"]})
        self.call("ListProjects", {"nextToken": first["nextToken"]}, INVALID)
        for number in range(100):
            self.call("DeleteProject", {"name": f"many-{number}"})

    def builds(self):
        build = self.call("StartBuild", {"projectName": self.name})["build"]
        overrides = model.sample(model.operation("StartBuild").input_shape)
        overrides.update(
            projectName=self.name, sourceTypeOverride="NO_SOURCE", buildspecOverride=BUILDSPEC,
            secondarySourcesOverride=[], artifactsOverride={"type": "NO_ARTIFACTS"},
            idempotencyToken=self.name,
        )
        other = self.call("StartBuild", overrides)["build"]
        self.report.check(other["buildNumber"] == build["buildNumber"] + 1, f"{other['buildNumber']} is no next number")
        self.call("StartBuild", {"projectName": "nobody"}, MISSING)
        self.call("StartBuild", {"projectName": "fixed"}, INVALID)
        self.call("StopBuild", {"id": other["id"]})
        self.call("StopBuild", {"id": "nobody:1"}, MISSING)
        self.call("BatchGetBuilds", {"ids": [build["id"], "nobody:1"]})
        for order in ({}, {"sortOrder": "ASCENDING"}):
            self.call("ListBuilds", order)
            ids = self.call("ListBuildsForProject", {"projectName": self.name, **order})["ids"]
            self.report.check(set(ids) == {build["id"], other["id"]}, f"{ids} are not the builds")
        self.call("ListBuilds", {"nextToken": "made-up"}, INVALID)
        self.call("ListBuildsForProject", {"projectName": "nobody"}, MISSING)
        self.ended(build["id"], "FAULT")
        report = f"arn:aws:codebuild:us-east-1:000000000000:report/{self.name}-unit:1"
        found = self.call("BatchGetReports", {"reportArns": [report]})
        self.report.check(found == {"reportsNotFound": [report]}, f"{found} is no report")
        self.call("DescribeTestCases", {"reportArn": report}, MISSING)

    def ended(self, build, status):
        until = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            shown = self.call("BatchGetBuilds", {"ids": [build]})["builds"][0]
            if shown["buildComplete"] or time.monotonic() > until:
                break
            time.sleep(0.2)
        self.report.check(shown["buildStatus"] == status, f"the build is {shown['buildStatus']}, not {status}")

    def delete(self):
        for name in (self.name, self.name, f"{self.name}-full"):
            self.call("DeleteProject", {"name": name})


def run():
    endpoint, credentials, region, *offered = sys.argv[1:]
    model.speak("codebuild")
    model.self_check(offered, 300)
    profile = configparser.ConfigParser()
    profile.read(credentials)
    keys = profile["default"]
    server = wire.Server(endpoint, keys["aws_access_key_id"], keys["aws_secret_access_key"], region)
    report = clients.Report()
    for protocol in wire.PROTOCOLS:
        client = clients.Client(server, protocol, report)
        story = Story(client)
        story.projects()
        story.lists()
        story.builds()
        main.broken_inputs(client, offered, INVALID)
        story.delete()
    # Its reports are those of builds that ran, of which tests/codebuild.rs asks the AWS CLI.
    report.coverage([name for name in offered if name != "DescribeTestCases"])
    report.tell()
    return 1 if report.defects else 0


if __name__ == "__main__":
    sys.exit(run())
