"""Three builds that do nothing, one after another: in a pipeline of Pipewright, and as the three steps of a builder of Buildbot.

    pip install boto3 buildbot buildbot-worker buildbot-www
    cargo build --release && python3 host/cli/benches/buildbot.py target/release/pipewright

Both run on this machine, with their data on the same disk, and are asked in turns over loopback: how long from the trigger to
the end, one at a time, and how many end in a second with several in flight. Prints both and their ratios.
"""

import contextlib
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.request

import boto3

ONE_AT_A_TIME = 12
IN_FLIGHT = 8
EACH = 3
WAIT_SECONDS_MAX = 300
LOOK_SECONDS = 0.005


def port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def until(what, seconds_max=WAIT_SECONDS_MAX):
    end = time.monotonic() + seconds_max
    while not what():
        if time.monotonic() > end:
            raise TimeoutError("it did not come to an end")
        time.sleep(LOOK_SECONDS)


class Pipewright:
    def __init__(self, program, folder):
        source = folder / "source"
        source.mkdir(parents=True)
        (source / "buildspec.yml").write_text("version: 0.2\nphases: {build: {commands: ['true']}}\n")
        grants = f'[action."Source/Source"]\ndirectories.source = {{ path = {json.dumps(str(source))}, access = "read" }}\n'
        grants += "".join(f'[action."Build/{name}"]\ncommands = {{ level = "toolchain" }}\n' for name in "ABC")
        (folder / "grants.toml").write_text(grants)
        names = [f"bench-{number}" for number in range(IN_FLIGHT)]
        listed = "".join(f'{name} = "grants.toml"\n' for name in names)
        (folder / "pipewright.toml").write_text(f"[grants]\n{listed}")
        self.port = port()
        arguments = ["serve", "--data", folder / "data", "--config", folder / "pipewright.toml"]
        self.process = subprocess.Popen(
            [program, *arguments, "--listen", f"127.0.0.1:{self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: (folder / "data/credentials").exists() and answers(self.port), 60)
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(folder / "data/credentials")
        self.client, builds = (
            boto3.client(service, endpoint_url=f"http://127.0.0.1:{self.port}", region_name="us-east-1")
            for service in ("codepipeline", "codebuild")
        )
        environment = {"type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL"}
        builds.create_project(
            name="bench", source={"type": "CODEPIPELINE"}, artifacts={"type": "CODEPIPELINE"}, environment=environment,
            serviceRole="arn:aws:iam::000000000000:role/bench",
        )
        for name in names:
            self.client.create_pipeline(pipeline=declaration(name))
            until(lambda name=name: self.ended(name) == 1)

    def trigger(self, number):
        self.client.start_pipeline_execution(name=f"bench-{number}")

    def ended(self, name):
        found = self.client.list_pipeline_executions(pipelineName=name, maxResults=100)["pipelineExecutionSummaries"]
        assert all(it["status"] in ("InProgress", "Succeeded") for it in found), found
        return sum(it["status"] == "Succeeded" for it in found)

    def count(self, number):
        return self.ended(f"bench-{number}")

    def close(self):
        self.process.terminate()
        self.process.wait()


def declaration(name):
    def action(category, owner, provider, label, **more):
        kind = {"category": category, "owner": owner, "provider": provider, "version": "1"}
        return {"name": label, "actionTypeId": kind, **more}

    source = action(
        "Source", "Custom", "Directory", "Source", configuration={"Directory": "source"}, outputArtifacts=[{"name": "Code"}]
    )
    builds = [
        action(
            "Build", "AWS", "CodeBuild", label, configuration={"ProjectName": "bench"}, inputArtifacts=[{"name": "Code"}],
            runOrder=number,
        )
        for number, label in enumerate("ABC", 1)
    ]
    return {
        "name": name,
        "roleArn": "arn:aws:iam::000000000000:role/bench",
        "artifactStore": {"type": "S3", "location": "bench"},
        "pipelineType": "V2",
        "executionMode": "QUEUED",
        "stages": [{"name": "Source", "actions": [source]}, {"name": "Build", "actions": builds}],
    }


class Buildbot:
    CONFIGURATION = """
        from buildbot.plugins import schedulers, steps, util, worker
        names = [f"bench-{{number}}" for number in range({in_flight})]
        def factory():
            return util.BuildFactory([steps.ShellCommand(command=["sh", "-c", "true"], name=name) for name in "ABC"])
        BuildmasterConfig = {{
            "workers": [worker.Worker("here", "pass")],
            "protocols": {{"pb": {{"port": "tcp:{pb}:interface=127.0.0.1"}}}},
            "schedulers": [schedulers.ForceScheduler(name=name, builderNames=[name]) for name in names],
            "builders": [
                util.BuilderConfig(name=name, workernames=["here"], factory=factory(), collapseRequests=False) for name in names
            ],
            "db": {{"db_url": "sqlite:///state.sqlite"}},
            "www": {{"port": "tcp:{www}:interface=127.0.0.1", "plugins": {{}}}},
            "buildbotNetUsageData": None,
        }}
    """

    def __init__(self, folder):
        self.folder, programs = folder, pathlib.Path(sys.executable).parent
        self.port, pb = port(), port()
        folder.mkdir()
        self.run(programs / "buildbot", "create-master", "master")
        text = textwrap.dedent(self.CONFIGURATION).format(in_flight=IN_FLIGHT, pb=pb, www=self.port)
        (folder / "master/master.cfg").write_text(text)
        self.run(programs / "buildbot-worker", "create-worker", "worker", f"127.0.0.1:{pb}", "here", "pass")
        self.processes = [
            self.start(programs / "buildbot", "start", "--nodaemon", "master"),
            self.start(programs / "buildbot-worker", "start", "--nodaemon", "worker"),
        ]
        until(self.is_ready, 60)

    def is_ready(self):
        workers = self.get("workers")["workers"] if answers(self.port) else []
        return any(it["connected_to"] for it in workers)

    def run(self, *arguments):
        subprocess.run(arguments, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)

    def start(self, *arguments):
        return subprocess.Popen(arguments, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v2/{path}") as answer:
            return json.load(answer)

    def trigger(self, number):
        body = {"id": 1, "jsonrpc": "2.0", "method": "force", "params": {"builderNames": [f"bench-{number}"]}}
        url = f"http://127.0.0.1:{self.port}/api/v2/forceschedulers/bench-{number}"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            assert "result" in json.load(answer)

    def count(self, number):
        found = self.get(f"builders/bench-{number}/builds?field=results&field=complete")["builds"]
        assert all(it["results"] == 0 for it in found if it["complete"]), found
        return sum(it["complete"] for it in found)

    def close(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait()


def answers(number):
    try:
        socket.create_connection(("127.0.0.1", number)).close()
        return True
    except OSError:
        return False


def one(it):
    before, start = it.count(0), time.monotonic()
    it.trigger(0)
    until(lambda: it.count(0) > before)
    return time.monotonic() - start


def many(it):
    before, start = [it.count(number) for number in range(IN_FLIGHT)], time.monotonic()
    for _ in range(EACH):
        for number in range(IN_FLIGHT):
            it.trigger(number)
    for number in range(IN_FLIGHT):
        until(lambda number=number: it.count(number) == before[number] + EACH)
    return IN_FLIGHT * EACH / (time.monotonic() - start)


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(dir=program.parent) as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        # Jobs of a server that is root are another user's, who has to reach their directories.
        folder.chmod(0o755)
        ours = stack.enter_context(contextlib.closing(Pipewright(program, folder / "pipewright")))
        theirs = stack.enter_context(contextlib.closing(Buildbot(folder / "buildbot")))
        one(ours), one(theirs)
        times = [(one(ours), one(theirs)) for _ in range(ONE_AT_A_TIME)]
        medians = [statistics.median(side) for side in zip(*times)]
        print(f"trigger to done   Pipewright {medians[0] * 1e3:.1f} ms   Buildbot {medians[1] * 1e3:.1f} ms   "
              f"{medians[1] / medians[0]:.1f} times as fast")
        rates = [statistics.median(side) for side in zip(*[(many(ours), many(theirs)) for _ in range(3)])]
        print(f"{IN_FLIGHT} in flight       Pipewright {rates[0]:.1f}/s   Buildbot {rates[1]:.1f}/s   "
              f"{rates[0] / rates[1]:.1f} times the throughput")


main()
