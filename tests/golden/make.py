#!/usr/bin/env python3
"""Makes the data of one release that every later one must open; `tests/golden.rs` opens them.

    cargo build --release && cargo test --release --test integration --no-run
    pip install boto3
    faketime '2100-01-01 00:00:00' tests/golden/make.py VERSION target/release/pipewright GUESTS

GUESTS is the folder with the components of `tests/guests` (`target/release/build/pipewright-guests-*/out`). Written beside this
file, in the form of that release, are

    data-VERSION.tar.gz             the data directory of a server that was stopped
    data-VERSION-killed.tar.gz      the same story, of a server that was killed while actions ran
    export-VERSION-waiting.jsonl    the first of them, exported

What was written once never changes: a release that changes what it keeps makes its own, under the next version, and adds them to
`tests/golden.rs`.

The program runs with a clock that is far ahead, because what is kept runs out: a manual approval after seven days, a client's
request token and the history later. The clock must be ahead of any day on which the test will run.

Left out of the data is what a server makes again (`compiled/`, `endpoint`), and of `components/` everything but what an execution
may still call: the next release's own plugins have other digests, and what was pinned must be there all the same."""

import configparser
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time

import boto3
import botocore.config

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "acceptance"))
from world import Server, equal, until  # noqa: E402

HERE = pathlib.Path(__file__).parent
OPERATOR, TEAM = "000000000000", "111111111111"
YEAR_MIN = 2090

CONFIG = """
plugins = "plugins"
poll_seconds = 86400

[grants]
again = "grants.toml"
borrowed = "grants.toml"
changed = "grants.toml"
failed = "later.toml"
held = "grants.toml"
many = "grants.toml"
release = "grants.toml"
running = "grants.toml"
stopped = "grants.toml"
stopping = "grants.toml"

[accounts.111111111111.grants]
release = "grants.toml"
"""
SOURCE_GRANT = '[action."Source/Source"]\ndirectories.source = { path = "source", access = "read" }\n'
# What the action gets is in the environment of the test's server, and of this one only for one of the two.
SECRET_GRANT = '[action."Make/Steps"]\nsecrets.token = {{ env = "{}", reveal = true }}\n'
ENVIRONMENT = {"GOLDEN_TOKEN": "of the making"}
POLICY = 'unsigned_files = ["team/*"]\n'

EXECUTIONS = 30
# Long enough to be killed in, and short enough to be waited for.
RUNNING_MILLISECONDS = 10_000


def action(name, type_id, **configuration):
    category, owner, provider, version = type_id.split("/")
    return {
        "name": name,
        "actionTypeId": {"category": category, "owner": owner, "provider": provider, "version": version},
        "configuration": configuration,
    }


def stage(name, action, **more):
    return {"name": name, "actions": [action | more]}


def steps(*script, **more):
    return stage("Make", action("Steps", "Invoke/Custom/Steps/1", Script="\n".join(script)), inputArtifacts=CODE, **more)


def sleep(milliseconds):
    return stage("Sleep", action("Sleep", "Invoke/Custom/Deed/1", Deed="sleep", Amount=str(milliseconds)))


CODE = [{"name": "Code"}]
SOURCE = stage("Source", action("Source", "Source/Custom/Directory/1", Directory="source"), outputArtifacts=CODE)
APPROVE = stage("Approve", action("Ask", "Approval/AWS/Manual/1", CustomData="Go on with #{variables.Text}?"))
SAY = stage("Say", action("Say", "Invoke/Custom/Packaged/1", Colour="blue", Token="very secret"))
READ = "read /inputs/Code/page.md"
REVEAL = "reveal token"


def pipeline(name, *stages):
    return {
        "name": name,
        "roleArn": f"arn:aws:iam::{OPERATOR}:role/pipeline",
        "artifactStore": {"type": "S3", "location": "artifacts"},
        "pipelineType": "V2",
        "variables": [{"name": "Text", "defaultValue": "nothing"}],
        "stages": [SOURCE, *stages],
    }


class Account:
    """One account's pipelines, by boto3."""

    def __init__(self, server, profile):
        keys = configparser.ConfigParser()
        keys.read(server.data / "credentials")
        session = boto3.Session(region_name="us-east-1", **keys[profile])
        config = botocore.config.Config(retries={"total_max_attempts": 1})
        self.api = session.client("codepipeline", endpoint_url=server.endpoint, config=config)

    def create(self, name, *stages, **more):
        """The pipeline's first execution."""
        self.api.create_pipeline(pipeline=pipeline(name, *stages), **more)
        return self.api.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"][0]["pipelineExecutionId"]

    def start(self, name, **more):
        return self.api.start_pipeline_execution(name=name, **more)["pipelineExecutionId"]

    def becomes(self, name, execution, status):
        def there():
            found = self.api.get_pipeline_execution(pipelineName=name, pipelineExecutionId=execution)
            found = found["pipelineExecution"]["status"]
            assert found == status or found in ("InProgress", "Stopping"), f"{name} is {found}, not {status}"
            return found == status
        until(there, f"{execution} of {name} is {status}")
        return execution

    def stage(self, name, stage):
        states = self.api.get_pipeline_state(name=name)["stageStates"]
        return next(state for state in states if state["stageName"] == stage)

    def token(self, name, execution):
        """The approval's token, once the execution waits for it."""
        def there():
            state = self.stage(name, "Approve")
            if state.get("latestExecution", {}).get("pipelineExecutionId") == execution:
                return state["actionStates"][0].get("latestExecution", {}).get("token")
        return until(there, f"{execution} of {name} waits for an approval")

    def answer(self, name, execution, status):
        self.api.put_approval_result(
            pipelineName=name, stageName="Approve", actionName="Ask", token=self.token(name, execution),
            result={"status": status, "summary": "as the story has it"})

    def inbound(self, name, stage, execution):
        until(lambda: self.stage(name, stage).get("inboundExecution", {}).get("pipelineExecutionId") == execution,
              f"{execution} of {name} waits in front of {stage}")

    def running(self, name, execution):
        """The execution, once its last stage's action runs."""
        def there():
            found = self.api.list_action_executions(pipelineName=name, filter={"pipelineExecutionId": execution})
            return [it for it in found["actionExecutionDetails"] if (it["stageName"], it["status"]) == ("Sleep", "InProgress")]
        until(there, f"{execution} of {name} runs")
        return execution


class World:
    def __init__(self, binary, guests, home):
        self.binary, self.home = binary, home
        (home / "plugins").mkdir()
        for name in ("steps", "deeds"):
            shutil.copy(guests / f"{name}.wasm", home / "plugins")
        (home / "source").mkdir()
        (home / "source/page.md").write_text("# The page\n")
        (home / "serve.toml").write_text(CONFIG)
        (home / "grants.toml").write_text(SOURCE_GRANT + SECRET_GRANT.format("GOLDEN_TOKEN"))
        (home / "later.toml").write_text(SOURCE_GRANT + SECRET_GRANT.format("GOLDEN_TOKEN_LATER"))
        (home / "data/plugins").mkdir(parents=True)
        (home / "data").chmod(0o700)
        (home / "data/plugins/policy.toml").write_text(POLICY)
        for version, ask in (("1.0.0", ""), ("1.1.0", "http api.example.com")):
            (home / f"packaged-{version}.wasm").write_bytes(packaged(guests, version, ask))
        self.run("plugin", "add", "packaged-1.0.0.wasm", "--yes", "--account", TEAM)
        os.environ.update(ENVIRONMENT)
        self.server = Server(binary, home).start()
        self.operator, self.team = Account(self.server, "default"), Account(self.server, TEAM)

    def run(self, *words, code=0):
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        # The clock is ahead for this one, too.
        environment |= {name: value for name, value in os.environ.items() if name.startswith(("FAKETIME", "LD_PRELOAD"))}
        ended = subprocess.run(
            [self.binary, *words, "--data", "data"], cwd=self.home, env=environment, capture_output=True, text=True)
        assert ended.returncode == code, (words, ended)


def packaged(guests, version, ask):
    """The packaged guest, with what it says of itself written over."""
    head, size = b"the packaged guest says:\n", 512
    component = (guests / "packaged.wasm").read_bytes()
    at = component.index(head)
    says = head + f"team/packaged\n{version}\nPackaged\n1\n{ask}\n".encode()
    return component[:at] + says.ljust(size, b"\n") + component[at + size:]


# The story: one function for each pipeline, which is called as the function.

def release(world):
    """A pipeline whose approval waits while another execution waits in front of it."""
    api = world.operator
    first = api.create("release", APPROVE, steps(REVEAL, READ), tags=[{"key": "team", "value": "golden"}])
    api.answer("release", first, "Approved")
    api.becomes("release", first, "Succeeded")
    second = api.start("release")
    api.answer("release", second, "Rejected")
    api.becomes("release", second, "Failed")
    third = api.start("release", variables=[{"name": "Text", "value": "the third"}])
    api.token("release", third)
    fourth = api.start("release")
    api.inbound("release", "Approve", fourth)
    fifth = api.start("release", clientRequestToken="golden")
    api.inbound("release", "Approve", fifth)
    api.becomes("release", fourth, "Superseded")


def changed(world):
    """An update cancels what waits; what waits since then has the new declaration."""
    api = world.operator
    first = api.create("changed", APPROVE, steps(READ))
    api.token("changed", first)
    api.api.update_pipeline(pipeline=pipeline("changed", APPROVE, steps("list /inputs/Code")))
    api.becomes("changed", first, "Cancelled")
    api.token("changed", api.start("changed"))


def failed(world):
    world.operator.becomes("failed", world.operator.create("failed", steps(REVEAL, READ)), "Failed")


def stopped(world):
    api = world.operator
    first = api.running("stopped", api.create("stopped", sleep(600_000)))
    api.api.stop_pipeline_execution(pipelineName="stopped", pipelineExecutionId=first, abandon=True, reason="enough")
    api.becomes("stopped", first, "Stopped")


def held(world):
    api = world.operator
    api.becomes("held", api.create("held", steps(READ)), "Succeeded")
    api.api.disable_stage_transition(pipelineName="held", stageName="Make", transitionType="Inbound", reason="frozen")
    api.inbound("held", "Make", api.start("held"))


def many(world):
    api = world.operator
    made = steps("write /outputs/Made/text #{variables.Text}", READ, outputArtifacts=[{"name": "Made"}])
    api.becomes("many", api.create("many", made, tags=[{"key": "a", "value": "b"}, {"key": "c", "value": ""}]), "Succeeded")
    for number in range(1, EXECUTIONS):
        execution = api.start("many", variables=[{"name": "Text", "value": f"text-{number}"}])
        api.becomes("many", execution, "Succeeded")


def again(world):
    """A pipeline that was deleted, and one of the same name."""
    api = world.operator
    for _ in range(2):
        execution = api.create("again", steps(READ))
        api.becomes("again", execution, "Succeeded")
        execution = api.start("again")
        api.becomes("again", execution, "Succeeded")
        api.api.delete_pipeline(name="again")
    api.becomes("again", api.create("again", steps(READ)), "Succeeded")


def team(world):
    """Another account, which offers its plugin to the operators; an upgrade of it is pending."""
    api = world.team
    first = api.create("release", APPROVE, SAY, tags=[{"key": "team", "value": "other"}])
    api.answer("release", first, "Approved")
    api.becomes("release", first, "Succeeded")
    api.token("release", api.start("release"))
    world.run("plugin", "offer", "Invoke/Custom/Packaged/1", "--to", OPERATOR, "--profile", TEAM)
    world.run("plugin", "deprecate", "team/packaged@1.0.0", "--reason", "Use another", "--profile", TEAM)
    world.operator.token("borrowed", world.operator.create("borrowed", APPROVE, SAY))
    world.run("plugin", "upgrade", "team/packaged", "packaged-1.1.0.wasm", "--account", TEAM, code=1)


STORY = [release, changed, failed, stopped, held, many, again, team]


def begin_what_runs(world):
    """Actions that run when the server is killed."""
    api = world.operator
    stopping = api.create("stopping", sleep(RUNNING_MILLISECONDS))
    running = api.create("running", sleep(RUNNING_MILLISECONDS))
    api.running("running", running)
    api.running("stopping", stopping)
    api.api.stop_pipeline_execution(pipelineName="stopping", pipelineExecutionId=stopping, reason="enough")
    for name, execution, status in (("running", running, "InProgress"), ("stopping", stopping, "Stopping")):
        found = api.api.get_pipeline_execution(pipelineName=name, pipelineExecutionId=execution)
        equal(found["pipelineExecution"]["status"], status)


# What is kept of it.

# Plugins that executions will call, by what they are called.
STILL_CALLED = [b"pipewright/approval-manual", b"guest/steps", b"team/packaged"]
CALLED_WHEN_KILLED = [b"guest/deeds"]

def prune(world, called):
    """Takes away what a server makes again, and components that no execution will call any more."""
    data = world.home / "data"
    shutil.rmtree(data / "compiled")
    (data / "endpoint").unlink(missing_ok=True)
    files = [file for file in (data / "components").rglob("*") if file.is_file()]
    kept = [file for file in files if any(name in file.read_bytes() for name in called)]
    equal(len(kept), len(called))
    for file in set(files) - set(kept):
        file.unlink()


def pack(folder, archive):
    """In a fixed order, as nobody's."""
    def anonymous(entry):
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry
    with tarfile.open(archive, "w:gz", compresslevel=9) as tar:
        tar.add(folder, arcname="data", recursive=False, filter=anonymous)
        for path in sorted(folder.rglob("*")):
            tar.add(path, arcname=f"data/{path.relative_to(folder)}", recursive=False, filter=anonymous)


def make(binary, guests, archive, is_killed, export=None):
    with tempfile.TemporaryDirectory(prefix="golden-") as home:
        world = World(binary, guests, pathlib.Path(home))
        try:
            for chapter in STORY:
                print(archive.name, chapter.__name__, flush=True)
                chapter(world)
            if is_killed:
                began = time.monotonic()
                begin_what_runs(world)
        finally:
            if not is_killed:
                world.server.terminate()
            else:
                world.server.kill()
        if is_killed:
            seconds = time.monotonic() - began
            assert seconds < RUNNING_MILLISECONDS / 1000, f"it was killed after {seconds:.1f} s, when nothing ran any more"
        prune(world, STILL_CALLED + CALLED_WHEN_KILLED * is_killed)
        if export:
            world.run("export", "--output", export)
        pack(world.home / "data", archive)


def main():
    assert time.gmtime().tm_year >= YEAR_MIN, "run this by faketime, as its first lines say: what waits would run out"
    version, binary, guests = sys.argv[1], pathlib.Path(sys.argv[2]).absolute(), pathlib.Path(sys.argv[3])
    make(binary, guests, HERE / f"data-{version}.tar.gz", False, HERE / f"export-{version}-waiting.jsonl")
    make(binary, guests, HERE / f"data-{version}-killed.tar.gz", True)


if __name__ == "__main__":
    main()
