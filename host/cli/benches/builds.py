"""What a build costs on a server, side by side with what does the same without one, in one run.

    pip install boto3 buildbot buildbot-worker buildbot-www
    cargo build --release && python3 host/cli/benches/builds.py target/release/pipewright [true] [tree] [buildbot]

true      an action whose buildspec is one `true`, from its start to its end, against `sh -c true` under the same bubblewrap line
tree      256 MiB in 5,000 files, taken into a build and collected as its output, against `cp -r`, sha256 and one sync
buildbot  three builds that do nothing, one after another, in a pipeline, against the three steps of a builder of Buildbot: how long
          from the trigger to the end, one at a time, and how many end in a second with several in flight; and how many would if a
          build were nothing but that bubblewrap line

All run on this machine, with their data on the same disk, in turns. Who waits takes little from what is measured: it is told the
ends of our executions as they come (/v1/events), and asks Buildbot, whose builds take a hundred times as long as such a request,
over a connection that stays. Prints both sides, their ratio, and the goal.
"""

import contextlib
import hashlib
import http.client
import json
import os
import pathlib
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.parse
import uuid

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

ONE_AT_A_TIME = 12
IN_FLIGHT = 8
EACH = 3
BARE_LINES = 150
WAIT_SECONDS_MAX = 300
LOOK_SECONDS = 0.005

ROUNDS = {"true": 60, "tree": 5}
TREE_FILES, TREE_BYTES = 5_000, 256 << 20
BARE = """bwrap --unshare-all --die-with-parent --new-session --cap-drop ALL --uid 1000 --gid 1000 --ro-bind /usr /usr
    --symlink usr/bin /bin --symlink usr/lib /lib --symlink usr/lib64 /lib64 --ro-bind-try /etc/alternatives /etc/alternatives
    --ro-bind-try /etc/ld.so.cache /etc/ld.so.cache --ro-bind-try /etc/ssl/certs /etc/ssl/certs --proc /proc --dev /dev
    --tmpfs /tmp --bind WORK /work --chdir /work -- sh -c true"""


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
    """A server with as many pipelines as there are names, whose build actions do what the source's buildspec says."""

    def __init__(self, program, folder, names, builds="ABC", artifacts=None):
        self.source = folder / "source"
        self.source.mkdir(parents=True)
        buildspec = {"version": 0.2, "phases": {"build": {"commands": ["true"]}}, **(artifacts or {})}
        (self.source / "buildspec.yml").write_text(json.dumps(buildspec))
        directory = json.dumps(str(self.source))
        grants = f'[action."Source/Source"]\ndirectories.source = {{ path = {directory}, access = "read" }}\n'
        grants += "".join(f'[action."Build/{name}"]\ncommands = {{ level = "toolchain" }}\n' for name in builds)
        (folder / "grants.toml").write_text(grants)
        listed = "".join(f'{name} = "grants.toml"\n' for name in names)
        (folder / "pipewright.toml").write_text(f"[grants]\n{listed}")
        self.port = port()
        arguments = ["serve", "--data", folder / "data", "--config", folder / "pipewright.toml"]
        self.process = subprocess.Popen(
            [program, *arguments, "--listen", f"127.0.0.1:{self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(lambda: (folder / "data/credentials").exists() and answers(self.port), 60)
        os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(folder / "data/credentials")
        session, address = boto3.Session(region_name="us-east-1"), f"http://127.0.0.1:{self.port}"
        projects = session.client("codebuild", endpoint_url=address)
        self.signer = SigV4Auth(session.get_credentials(), "codepipeline", session.region_name)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port)
        self.events, self.ended = self.listen(), set()
        environment = {"type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL"}
        projects.create_project(
            name="bench", source={"type": "CODEPIPELINE"}, artifacts={"type": "CODEPIPELINE"}, environment=environment,
            serviceRole="arn:aws:iam::000000000000:role/bench",
        )
        self.names = names
        for name in names:
            self.call("CreatePipeline", pipeline=declaration(name, builds, outputs=bool(artifacts)))
            until(lambda name=name: any(it["status"] == "Succeeded" for it in self.executions(name)))

    def call(self, operation, **members):
        headers = {
            "X-Amz-Target": f"CodePipeline_20150709.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
            # Or two starts of one second were the same request.
            "amz-sdk-invocation-id": str(uuid.uuid4()),
        }
        request = AWSRequest("POST", f"http://127.0.0.1:{self.port}/", headers, json.dumps(members))
        self.signer.add_auth(request)
        self.connection.request("POST", "/", request.data, dict(request.headers))
        answer = self.connection.getresponse()
        said = json.loads(answer.read())
        assert answer.status == 200, said
        return said

    def executions(self, name):
        return self.call("ListPipelineExecutions", pipelineName=name, maxResults=1)["pipelineExecutionSummaries"]

    def trigger(self, number):
        return self.call("StartPipelineExecution", name=self.names[number])["pipelineExecutionId"]

    def listen(self):
        kind = urllib.parse.quote("CodePipeline Pipeline Execution State Change")
        request = AWSRequest("GET", f"http://127.0.0.1:{self.port}/v1/events?detail-type={kind}&from=now")
        self.signer.add_auth(request)
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", request.url.partition(str(self.port))[2], headers=dict(request.headers))
        return connection.getresponse()

    def wait_for(self, _, execution):
        while execution not in self.ended:
            line = self.events.readline()
            if line.startswith(b"data: "):
                told = json.loads(line.removeprefix(b"data: "))["detail"]
                assert told["state"] in ("STARTED", "SUCCEEDED"), told
                if told["state"] == "SUCCEEDED":
                    self.ended.add(told["execution-id"])

    def build_seconds(self):
        """Of the newest build action, in whole milliseconds."""
        actions = self.call("ListActionExecutions", pipelineName=self.names[0], maxResults=10)["actionExecutionDetails"]
        newest = next(it for it in actions if it["stageName"] == "Build")
        return newest["lastUpdateTime"] - newest["startTime"]

    def close(self):
        self.process.terminate()
        self.process.wait()


def declaration(name, builds, outputs):
    def action(category, owner, provider, label, **more):
        kind = {"category": category, "owner": owner, "provider": provider, "version": "1"}
        return {"name": label, "actionTypeId": kind, **more}

    source = action(
        "Source", "Custom", "Directory", "Source", configuration={"Directory": "source"}, outputArtifacts=[{"name": "Code"}]
    )
    actions = [
        action(
            "Build", "AWS", "CodeBuild", label, configuration={"ProjectName": "bench"}, inputArtifacts=[{"name": "Code"}],
            runOrder=number, outputArtifacts=[{"name": f"Built{label}"}] if outputs else [],
        )
        for number, label in enumerate(builds, 1)
    ]
    return {
        "name": name,
        "roleArn": "arn:aws:iam::000000000000:role/bench",
        "artifactStore": {"type": "S3", "location": "bench"},
        "pipelineType": "V2",
        "executionMode": "QUEUED",
        "stages": [{"name": "Source", "actions": [source]}, {"name": "Build", "actions": actions}],
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
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port)
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

    def get(self, path, body=None):
        headers = {"Content-Type": "application/json"}
        self.connection.request("POST" if body else "GET", f"/api/v2/{path}", body, headers)
        answer = self.connection.getresponse()
        said = json.loads(answer.read())
        assert answer.status == 200, said
        return said

    def trigger(self, number):
        """The request for a build."""
        body = {"id": 1, "jsonrpc": "2.0", "method": "force", "params": {"builderNames": [f"bench-{number}"]}}
        _, requests = self.get(f"forceschedulers/bench-{number}", json.dumps(body))["result"]
        return next(iter(requests.values()))

    def wait_for(self, _, request):
        until(lambda: self.has_ended(request))

    def has_ended(self, request):
        found = self.get(f"buildrequests/{request}")["buildrequests"][0]
        assert not found["complete"] or found["results"] == 0, found
        return found["complete"]

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
    start = time.monotonic()
    triggered = it.trigger(0)
    it.wait_for(0, triggered)
    return time.monotonic() - start


def many(it):
    start = time.monotonic()
    numbers = [number for _ in range(EACH) for number in range(IN_FLIGHT)]
    triggered = [(number, it.trigger(number)) for number in numbers]
    for number, one in triggered:
        it.wait_for(number, one)
    return len(numbers) / (time.monotonic() - start)


def between_milliseconds(seconds):
    """The median of times that come in whole milliseconds lies between two of them."""
    return statistics.median_grouped([round(it, 3) for it in seconds], interval=0.001)


def bare_per_second(folder):
    """Pipelines of three bubblewrap lines, with as many at once as there are cores."""
    (folder / "work").mkdir()
    line = BARE.replace("WORK", str(folder / "work")).replace("\n", " ")
    start = time.monotonic()
    loops = [subprocess.Popen(["sh", "-c", f"for _ in $(seq {BARE_LINES}); do {line}; done"]) for _ in range(os.cpu_count())]
    for loop in loops:
        assert loop.wait() == 0
    return BARE_LINES * len(loops) / 3 / (time.monotonic() - start)


def told(what, ours, theirs, other, goal, unit="ms", scale=1e3, median=statistics.median):
    ours, theirs = median(ours), statistics.median(theirs)
    ratio = theirs / ours if other == "Buildbot" and unit == "ms" else ours / theirs
    print(f"{what:17} Pipewright {ours * scale:.1f} {unit}   {other} {theirs * scale:.1f} {unit}   {ratio:.2f}, goal {goal}", flush=True)


def bench_true(program, folder):
    with contextlib.closing(Pipewright(program, folder / "pipewright", ["bench"], "A")) as ours:
        work = folder / "work"
        work.mkdir()
        line = BARE.replace("WORK", str(work)).split()
        times = [[], []]
        for _ in range(ROUNDS["true"]):
            one(ours)
            times[0].append(ours.build_seconds())
            start = time.monotonic()
            subprocess.run(line, check=True)
            times[1].append(time.monotonic() - start)
        told("one `true`", *times, "bubblewrap", "at most 1.5", median=between_milliseconds)


def bench_tree(program, folder):
    ours = Pipewright(program, folder / "pipewright", ["bench"], "A", {"artifacts": {"files": ["**/*"]}})
    with contextlib.closing(ours):
        for number in range(TREE_FILES):
            inside = ours.source / f"folder-{number // 50}"
            inside.mkdir(exist_ok=True)
            (inside / f"file-{number}").write_bytes(random.randbytes(TREE_BYTES // TREE_FILES))
        times = [[], []]
        for number in range(ROUNDS["tree"]):
            os.sync()
            one(ours)
            times[0].append(ours.build_seconds())
            os.sync()
            times[1].append(copied(ours.source, folder / f"copy-{number}"))
        told("256 MiB of files", *times, "cp, sha256, sync", "at most 1.5")


def copied(source, to):
    start = time.monotonic()
    subprocess.run(["cp", "-r", source, to], check=True)
    for path in to.rglob("*"):
        if path.is_file():
            hashlib.sha256(path.read_bytes())
    subprocess.run(["sync", "-f", to], check=True)
    return time.monotonic() - start


def bench_buildbot(program, folder):
    names = [f"bench-{number}" for number in range(IN_FLIGHT)]
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(contextlib.closing(Pipewright(program, folder / "pipewright", names)))
        theirs = stack.enter_context(contextlib.closing(Buildbot(folder / "buildbot")))
        one(ours), one(theirs)
        times = zip(*[(one(ours), one(theirs)) for _ in range(ONE_AT_A_TIME)])
        told("trigger to done", *times, "Buildbot", "at least 20")
        rates = zip(*[(many(ours), many(theirs)) for _ in range(3)])
        told(f"{IN_FLIGHT} in flight", *rates, "Buildbot", "at least 50", "/s", 1)
        print(f"of bubblewrap alone {bare_per_second(folder):.1f} /s")


BENCHES = {"true": bench_true, "tree": bench_tree, "buildbot": bench_buildbot}


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    for name in sys.argv[2:] or BENCHES:
        with tempfile.TemporaryDirectory(dir=program.parent) as folder:
            folder = pathlib.Path(folder)
            # Jobs of a server that is root are another user's, who has to reach their directories.
            folder.chmod(0o755)
            BENCHES[name](program, folder)


main()
