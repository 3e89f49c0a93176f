"""Everything that a server does goes on at once while it is killed at random moments: starts, webhooks, stops, jobs of workers, builds,
conditions, and notifications to a receiver, in each mode. At the end nothing acknowledged is lost, nothing accepted was done twice,
and what the lists, the events and the receiver say of it is one story.

Must not know what the server does to keep its promises."""

import collections
import http.client
import http.server
import json
import os
import pathlib
import random
import subprocess
import threading
import time

import botocore.exceptions

from triggers import SECRET, command, deliver, mac
from world import WAIT_SECONDS_MAX, action, condition, equal, pipeline, rule, stage, unpolled, until

MODES = {"superseded": "SUPERSEDED", "queued": "QUEUED", "parallel": "PARALLEL"}
NAMES = list(MODES)
IS_FULL = os.environ.get("PIPEWRIGHT_TESTS_FULL") == "1"
DEATHS = 60 if IS_FULL else 6
# What has not ended when the last death is over has so long for it.
END_SECONDS_MAX = 10 * WAIT_SECONDS_MAX
# A pipeline has at most so many executions that have not ended, but for those that are superseded.
ACTIVE_MAX = 3
# No other process of the machine has this in its command line.
MARK = f"7{os.getpid()}{time.time_ns() % 1_000_000_000}"
SEED = int(os.environ.get("PIPEWRIGHT_TESTS_SEED") or random.SystemRandom().randrange(1 << 63))
ENDS = {"Succeeded": "SUCCEEDED", "Failed": "FAILED", "Superseded": "SUPERSEDED", "Stopped": "STOPPED"}

BROKEN = (OSError, http.client.HTTPException, botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError)

COMMANDS = 'commands = { level = "restricted" }\n'
GRANTS = "".join(f'[action."Work/{name}"]\n{COMMANDS}' for name in ("beforeEntry/Ready", "Shell", "Build"))
# A process that would outlast the command, and a while in which to be killed.
LEAVES = f"(setsid sleep {MARK} >/dev/null 2>&1 &) ; sleep 0.2"
BUILDSPEC = f"version: 0.2\nenv: {{exported-variables: [MADE]}}\nphases: {{build: {{commands: ['{LEAVES}', 'MADE=yes']}}}}\n"


class Receiver(http.server.BaseHTTPRequestHandler):
    """Is told of events. Now and then it does not take one, or takes it and does not say so."""

    protocol_version = "HTTP/1.1"
    heard = []
    moods = random.Random(SEED)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        mood = self.moods.randrange(40)
        if mood:
            self.heard.append(json.loads(body))
        if mood == 1:
            self.close_connection = True
            return
        self.send_response(204 if mood else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


SERVER = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=SERVER.serve_forever, daemon=True).start()
RECEIVER = f"http://127.0.0.1:{SERVER.server_port}"
CONFIG = f'[notifications]\nprivate = ["{RECEIVER}"]\n'


class Storm:
    """A server with one life after the other, and what was acknowledged in them."""

    def __init__(self, world):
        self.world = world
        self.is_ending = threading.Event()
        self.alive = threading.Condition()
        self.life = 1
        self.lock = threading.Lock()
        # By pipeline.
        self.started = collections.defaultdict(set)
        self.delivered = collections.Counter()
        # By pipeline and execution.
        self.stopped = set()
        # By a job's id: the results that were sent, and the one that was taken for sure.
        self.sent, self.taken = collections.defaultdict(set), {}
        self.failures = []

    # Lives.

    def live(self, moments):
        """Kills the server after a moment, and again, perhaps, while it starts."""
        time.sleep(moments.uniform(0, 3))
        self.world.server.kill()
        if moments.randrange(3) == 0:
            with self.world.server.log.open("ab") as log:
                process = subprocess.Popen(
                    self.world.server.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
            time.sleep(moments.uniform(0, 1))
            process.kill()
            process.wait()
        self.world.start()
        with self.alive:
            self.life += 1
            self.alive.notify_all()

    def insist(self, ask):
        """Asks until there is an answer: it, and whether it was asked before, and perhaps done."""
        in_doubt = False
        while True:
            life = self.life
            try:
                return ask(), in_doubt
            except BROKEN:
                in_doubt = True
                with self.alive:
                    lives_on = self.alive.wait_for(lambda: self.life > life, WAIT_SECONDS_MAX)
                assert lives_on, "a server that was not killed does not answer"

    def call(self, operation, **given):
        """The answer, or an error's code; and whether it is in doubt."""
        def ask():
            try:
                return getattr(self.world.api, operation)(**given)
            except botocore.exceptions.ClientError as error:
                return error.response["Error"]["Code"]
        return self.insist(ask)

    def asked(self, operation, **given):
        answer, _ = self.call(operation, **given)
        assert not isinstance(answer, str), f"{operation}: {answer}"
        return answer

    def listed(self, operation, member, **given):
        found = []
        while True:
            page = self.asked(operation, **given)
            found += page[member]
            if "nextToken" not in page:
                return found
            given["nextToken"] = page["nextToken"]

    def executions(self, name):
        return self.listed("list_pipeline_executions", "pipelineExecutionSummaries", pipelineName=name)

    def actions(self, name):
        return self.listed("list_action_executions", "actionExecutionDetails", pipelineName=name)

    def active(self, name):
        return [it["pipelineExecutionId"] for it in self.executions(name) if it["status"] in ("InProgress", "Stopping")]

    # Those who do something, each in a thread of its own.

    def goes_on(self, end, deed, *given):
        def work():
            try:
                while not end.is_set():
                    deed(*given)
            except Exception as error:
                self.failures.append(error)
                raise
        thread = threading.Thread(target=work)
        thread.start()
        return thread

    def rages(self, moments):
        """Until all that began has ended, too."""
        of_its_own = lambda: random.Random(moments.random())
        visitors, workers = [], []
        is_over = threading.Event()
        try:
            for name in NAMES:
                url = self.create(name)
                visitors.append(self.goes_on(self.is_ending, self.starts, of_its_own(), name))
                visitors.append(self.goes_on(self.is_ending, self.delivers, of_its_own(), name, url))
            workers = [self.goes_on(is_over, self.works, of_its_own()) for _ in range(2)]
            for _ in range(DEATHS):
                self.live(moments)
                assert not self.failures, self.failures
            self.is_ending.set()
            for visitor in visitors:
                visitor.join()
            for name in NAMES:
                until(lambda: self.failures or not self.active(name), f"{name} ends", END_SECONDS_MAX)
        finally:
            self.is_ending.set()
            is_over.set()
        for worker in workers:
            worker.join()
        assert not self.failures, self.failures

    def create(self, name):
        """The pipeline, and its webhook's address."""
        self.world.api.create_pipeline(pipeline=declared(self.world, name))
        [first] = self.world.summaries(name)
        self.started[name].add(first["pipelineExecutionId"])
        return self.world.api.put_webhook(webhook={
            "name": name, "targetPipeline": name, "targetAction": "Git", "authentication": "GITHUB_HMAC",
            "authenticationConfiguration": {"SecretToken": SECRET}, "filters": [{"jsonPath": "$.delivery"}],
        })["webhook"]["url"]

    def starts(self, moments, name):
        token = f"{name}-{len(self.started[name])}-{moments.randrange(1 << 40)}"
        ids = {self.asked("start_pipeline_execution", name=name, clientRequestToken=token)["pipelineExecutionId"]
               for _ in range(1 + (moments.randrange(3) == 0))}
        [id] = ids
        assert id not in self.started[name], f"two starts have the execution {id}"
        self.started[name].add(id)
        time.sleep(moments.uniform(0, 1))
        if moments.randrange(6) == 0:
            answer, in_doubt = self.call(
                "stop_pipeline_execution", pipelineName=name, pipelineExecutionId=id, abandon=True, reason="Enough")
            if isinstance(answer, dict):
                self.stopped.add((name, id))
            else:
                late = ["PipelineExecutionNotStoppableException"]
                assert answer in (late + ["DuplicatedStopRequestException"] if in_doubt else late), answer
        self.waits(name)

    def waits(self, name):
        while not self.is_ending.is_set() and len(self.active(name)) >= ACTIVE_MAX:
            time.sleep(0.2)

    def delivers(self, moments, name, url):
        body = json.dumps({"delivery": moments.randrange(1 << 60)}).encode()
        headers = {"X-Hub-Signature-256": f"sha256={mac(body)}"}
        (status, answer), in_doubt = self.insist(lambda: deliver(self.world, url, body, headers))
        equal(status, 200)
        assert answer["outcome"] == "started" or in_doubt and answer["outcome"] == "replayed", (answer, in_doubt)
        self.delivered[name] += 1
        time.sleep(moments.uniform(0.2, 2))
        self.waits(name)

    def works(self, moments):
        type_id = {"category": "Build", "owner": "Custom", "provider": "Maker", "version": "1"}
        for job in self.asked("poll_for_jobs", actionTypeId=type_id, maxBatchSize=2)["jobs"]:
            answer, _ = self.call("acknowledge_job", jobId=job["id"], nonce=job["nonce"])
            if isinstance(answer, str):
                # It is over, or another worker's by now.
                assert answer in ("InvalidNonceException", "JobNotFoundException", "InvalidJobStateException"), answer
                continue
            if answer["status"] == "InProgress":
                time.sleep(moments.uniform(0, 1))
                self.reports(moments, job["id"])
        time.sleep(0.1)

    def reports(self, moments, job):
        """The result of a job, which counts once."""
        result = f"result-{moments.randrange(1 << 60)}"
        with self.lock:
            self.sent[job].add(result)
        if moments.randrange(8) == 0:
            details = {"type": "JobFailed", "message": "no", "externalExecutionId": result}
            answer, _ = self.call("put_job_failure_result", jobId=job, failureDetails=details)
        else:
            details = {"externalExecutionId": result}
            answer, _ = self.call(
                "put_job_success_result", jobId=job, executionDetails=details, outputVariables={"Result": result})
        if isinstance(answer, str):
            assert answer in ("InvalidJobStateException", "JobNotFoundException"), answer
            return
        with self.lock:
            assert job not in self.taken, f"{job} had a result already, and took {result}"
            self.taken[job] = result


def declared(world, name):
    """A gate, and behind it a worker's job beside builds; and what is checked of the job when they are done."""
    run = action("Shell", "Compute/AWS/Commands/1", inputs=["Code"], commands=[LEAVES])
    build = action("Build", "Build/AWS/CodeBuild/1", {"ProjectName": "app"}, inputs=["Code"], namespace="Built")
    make = action("Make", "Build/Custom/Maker/1", inputs=["Code"], namespace="Made")
    ready = rule("Ready", "Commands", {}, commands=["test -f index.html"], inputArtifacts=[{"name": "Code"}])
    is_made = rule("Is", "VariableCheck", {"Variable": "#{Made.Result}#{Built.MADE}", "Operator": "MATCHES", "Value": "result-.*yes"})
    work = {**stage("Work", make, run, build), "beforeEntry": condition("FAIL", ready), "onSuccess": condition("FAIL", is_made)}
    for it in (run, ready, is_made):
        it["configuration"] or it.pop("configuration")
    return pipeline(name, unpolled(world.url("everything")), work, pipelineType="V2", executionMode=MODES[name])


def everything(world):
    moments = random.Random(SEED)
    print(f"PIPEWRIGHT_TESTS_SEED={SEED} repeats the moments")
    (world.work / "everything/buildspec.yml").write_text(BUILDSPEC)
    world.push("everything", "Everything")
    count = {"minimumCount": 0, "maximumCount": 5}
    project = {
        "name": "app", "source": {"type": "CODEPIPELINE"}, "artifacts": {"type": "CODEPIPELINE"}, "serviceRole": "arn:aws:iam::000000000000:role/test",
        "environment": {"type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL"}}
    world.client("codebuild").create_project(**project)
    world.api.create_custom_action_type(
        category="Build", provider="Maker", version="1", inputArtifactDetails=count, outputArtifactDetails=count)
    command(world, "deliveries", "add", "all", RECEIVER)
    storm = Storm(world)
    storm.rages(moments)
    # What ended stays as it was when the last of it was acknowledged.
    before = {name: storm.executions(name) for name in NAMES}
    world.server.kill()
    world.start()
    for name in NAMES:
        equal(storm.executions(name), before[name])
        whole(storm, name)
        told(storm, name)
    results(storm)
    until(lambda: not left(), "no process of a job is left")
    print(f"{DEATHS} deaths, {sum(map(len, storm.started.values()))} starts, {sum(storm.delivered.values())} deliveries, "
          f"{len(storm.stopped)} stops, {len(storm.taken)} results, {len(Receiver.heard)} events heard")
    world.server.terminate()


def whole(storm, name):
    """What was acknowledged is there, once, and whatever failed did so because it was told to, or given up by a host that died twice."""
    statuses = {it["pipelineExecutionId"]: it["status"] for it in storm.executions(name)}
    lost = storm.started[name] - statuses.keys()
    assert not lost, f"{name}: the starts of {lost} are lost"
    kinds = collections.Counter(it["trigger"]["triggerType"] for it in storm.executions(name))
    equal(kinds["Webhook"], storm.delivered[name])
    equal(len(statuses), len(storm.started[name]) + storm.delivered[name])
    equal({statuses[id] for at, id in storm.stopped if at == name} - {"Stopped"}, set())
    rules = storm.listed("list_rule_executions", "ruleExecutionDetails", pipelineName=name)
    why = collections.defaultdict(set)
    for it in storm.actions(name) + rules:
        if it["status"] == "Failed":
            code = it["output"]["executionResult"]["errorDetails"]["code"]
            why[it["pipelineExecutionId"]].add((it.get("actionName", it.get("ruleName")), code))
    for id, status in statuses.items():
        unexpected = {it for it in why[id] if it != ("Make", "JobFailed") and it[1] != "SystemUnavailable"}
        assert not unexpected and (status != "Failed" or why[id]), f"{name}: {id} is {status}: {why[id]}"


def told(storm, name):
    """The events say what the lists say, and the receiver heard each of them, first in their order."""
    executions, actions = storm.executions(name), storm.actions(name)
    events, ended = [], 0
    for _, _, data in storm.world.events(f"/v1/pipelines/{name}/events"):
        events.append(json.loads(data))
        detail = events[-1]["detail"]
        ended += "stage" not in detail and detail["state"] in ENDS.values()
        if ended == len(executions):
            break
    ends = collections.defaultdict(collections.Counter)
    for detail in (it["detail"] for it in events):
        part = "action" if "action" in detail else "stage" if "stage" in detail else "execution"
        if detail["state"] not in ("STARTED", "STOPPING"):
            ends[part][detail["execution-id"], detail.get("action"), detail["state"]] += 1
    equal(ends["execution"], collections.Counter((it["pipelineExecutionId"], None, ENDS[it["status"]]) for it in executions))
    of_actions = ((it["pipelineExecutionId"], it["actionName"], it["status"].upper()) for it in actions)
    equal(ends["action"], collections.Counter(of_actions))
    stands(storm, name, events, {it["actionExecutionId"]: it["status"] for it in actions})
    ids = [it["id"] for it in events]

    def heard():
        return list(dict.fromkeys(it["id"] for it in list(Receiver.heard) if it["detail"]["pipeline"] == name))
    until(lambda: len(heard()) >= len(ids), f"the receiver hears all of {name}")
    equal(heard(), ids)


def stands(storm, name, events, actions):
    """The state shows of each stage who entered it last, and how that ended, as events and lists say it."""
    of_stages = [it for it in events if it["detail-type"] == "CodePipeline Stage Execution State Change"]
    for stage in storm.asked("get_pipeline_state", name=name)["stageStates"]:
        latest = stage["latestExecution"]
        told = [it["detail"] for it in of_stages if it["detail"]["stage"] == stage["stageName"]]
        entered = [it["execution-id"] for it in told if it["state"] == "STARTED"]
        equal(entered[-1], latest["pipelineExecutionId"])
        states = [it["state"] for it in told if it["execution-id"] == latest["pipelineExecutionId"]]
        equal(states[-1], latest["status"].upper())
        for shown in (it["latestExecution"] for it in stage["actionStates"] if "latestExecution" in it):
            equal(actions[shown["actionExecutionId"]], shown["status"])


def results(storm):
    """Each result that was taken is shown, and no other of its job."""
    made = [it for name in NAMES for it in storm.actions(name) if it["actionName"] == "Make"]
    shown = collections.Counter(it["output"].get("executionResult", {}).get("externalExecutionId") for it in made)
    for job, sent in storm.sent.items():
        seen = {result: shown[result] for result in sent if shown[result]}
        expected = [{storm.taken[job]: 1}] if job in storm.taken else [{}, *({result: 1} for result in sent)]
        assert seen in expected, f"{job}: {seen}, expected {expected}"
    for it in made:
        if it["status"] == "Succeeded":
            equal(it["output"]["outputVariables"]["Result"], it["output"]["executionResult"]["externalExecutionId"])
    assert storm.taken, "no worker finished a job"


def left():
    """Processes that commands left."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if MARK.encode() in process.read_bytes():
                found.append(process)
        except OSError:
            pass  # It ended meanwhile.
    return found


ALL = [everything]
