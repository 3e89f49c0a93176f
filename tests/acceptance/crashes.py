"""A release that lives through `kill -9` and SIGTERM, driven by the AWS CLI."""

import hashlib
import json
import os
import subprocess
import threading

from world import (APPROVE, CHECK, DEPLOY, STOP_SECONDS_MAX, equal, pipeline, sleeping, source, stage, unpolled, until)

NAMES = ["release", "long", "short", "found"]


def tree(folder):
    """What lies below a folder, but `.git`: the targets of links, or the bytes of files and whether they are executable."""
    found = {}
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        for name in files + folders:
            at = os.path.join(path, name)
            key = os.path.relpath(at, folder)
            if os.path.islink(at):
                found[key] = os.readlink(at)
            elif name in files:
                with open(at, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                found[key] = (digest, bool(os.stat(at).st_mode & 0o100))
    return found


def release(world):
    commit = world.push("release", "released")
    world.push("found", "first")
    declaration = world.home / "release.json"
    declaration.write_text(json.dumps(
        {"pipeline": pipeline("release", unpolled(world.url("release")), CHECK, APPROVE, DEPLOY)}))
    made = world.aws("create-pipeline", "--cli-input-json", f"file://{declaration}")
    equal((made["pipeline"]["name"], made["pipeline"]["version"]), ("release", 1))
    [first] = world.aws("list-pipeline-executions", "--pipeline-name", "release")["pipelineExecutionSummaries"]
    release = first["pipelineExecutionId"]
    url = world.url("release")
    long = world.create("long", unpolled(url), stage("Run", sleeping(600_000)))
    token = world.token("release", release)
    running = world.until_action("long", long, "Slow", "InProgress")["actionExecutionId"]
    found = world.create("found", source(world.url("found")), stage("Run", sleeping(0)))
    world.until_status("found", found, "Succeeded")
    asked = world.start_execution("found", clientRequestToken="once")
    world.until_status("found", asked, "Succeeded")

    world.server.kill()
    pushed = world.push("found", "while nobody looked")
    world.start()
    equal(world.start_execution("found", clientRequestToken="once"), asked)
    until(lambda: len(world.summaries("found")) == 3, "what was pushed meanwhile is found")
    [newest, *_] = world.summaries("found")
    equal(newest["trigger"]["triggerType"], "PollForSourceChanges")
    world.until_status("found", newest["pipelineExecutionId"], "Succeeded")
    equal(world.summaries("found")[0]["sourceRevisions"][0]["revisionId"], pushed)
    state = world.aws("get-pipeline-state", "--name", "release")
    ask = state["stageStates"][2]["actionStates"][0]["latestExecution"]
    equal((ask["token"], ask["status"]), (token, "InProgress"))
    assert commit in ask["summary"], ask
    # It runs again as the same action execution.
    equal(world.until_action("long", long, "Slow", "InProgress")["actionExecutionId"], running)
    equal(world.metric('pipewright_action_executions{state="RESTARTED"}'), 1)

    a_second_process(world)
    terminated(world, release, token, long, running)

    approval = ["--stage-name", "Approve", "--action-name", "Ask", "--token", token]
    answered = world.aws(
        "put-approval-result", "--pipeline-name", "release", *approval, "--result", "status=Approved,summary=ship it")
    assert "approvedAt" in answered, answered
    world.until_status("release", release, "Succeeded")
    world.git(None, "clone", "--quiet", url, "clone")
    deployed = tree(world.deployed("release") / "current")
    equal(deployed, tree(world.home / "clone"))
    assert len(deployed) > 10, deployed
    names = [it["actionName"] for it in world.actions("release", release)]
    equal(names, ["Publish", "Ask", "Links", "Git"])
    # Three starts of the server, and each revision was found once.
    equal(len(world.summaries("found")), 3)


def a_second_process(world):
    ended = subprocess.run(world.server.command(), capture_output=True, text=True, timeout=STOP_SECONDS_MAX)
    assert ended.returncode in (2, 3), ended
    assert str(world.server.data) in ended.stderr and "another process" in ended.stderr, ended.stderr
    equal(ended.stdout, "")
    # The first one does not mind.
    equal(world.get("/healthz", sign=False), b"ok\n")
    equal(world.server.endpoint, (world.server.data / "endpoint").read_text().strip())


def terminated(world, release, token, long, running):
    """SIGTERM while an approval waits, one action will end soon, another will not, and somebody listens."""
    short = world.create("short", unpolled(world.url("release")), stage("Run", sleeping(2_000)))
    world.until_action("short", short, "Slow", "InProgress")
    listening = threading.Thread(target=lambda: list(world.events("/v1/events")))
    listening.start()
    world.server.terminate()
    listening.join(STOP_SECONDS_MAX)
    assert not listening.is_alive(), "the stream of events goes on without a server"

    world.start()
    equal(world.token("release", release), token)
    equal(world.until_action("long", long, "Slow", "InProgress")["actionExecutionId"], running)
    world.until_status("short", short, "Succeeded")
    equal([it["actionName"] for it in world.actions("short", short)], ["Slow", "Git"])
    world.api.stop_pipeline_execution(pipelineName="long", pipelineExecutionId=long, abandon=True)
    until(lambda: world.execution("long", long)["status"] == "Stopped", "the long one is stopped")


ALL = [release]
