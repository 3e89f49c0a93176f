"""What every scenario stands on: a server process, the stock clients that drive it, git work trees, declarations.

Must not know a scenario."""

import contextlib
import http.client
import json
import os
import pathlib
import subprocess
import time
import urllib.parse

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.exceptions

REGION = "us-east-1"
ACCOUNT = "000000000000"
# Only what hangs takes this long.
WAIT_SECONDS_MAX = 600 if os.environ.get("PIPEWRIGHT_TESTS_FULL") == "1" else 60
# Only what goes on to its end takes this long: the server's own bounds are 10 seconds for actions and 2 for requests.
STOP_SECONDS_MAX = 60


def until(ready, what, seconds_max=WAIT_SECONDS_MAX):
    """Asks again until there is an answer that is true, and gives it."""
    end = time.monotonic() + seconds_max
    while True:
        if found := ready():
            return found
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds_max} s in vain until {what}")
        time.sleep(0.05)


def equal(found, expected):
    assert found == expected, f"found {found!r}, expected {expected!r}"


@contextlib.contextmanager
def refused(code, words=""):
    """What is done inside must be refused with this error."""
    try:
        yield
    except botocore.exceptions.ClientError as error:
        equal(error.response["Error"]["Code"], code)
        assert words in error.response["Error"]["Message"], error
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert 400 <= status < 500, error
    else:
        raise AssertionError(f"succeeded where {code} is due")


class Server:
    """`pipewright serve` on one data directory, whose address may change from start to start."""

    def __init__(self, binary, home):
        self.binary, self.home = binary, home
        self.data, self.log = home / "data", home / "server.log"
        self.process = None

    def command(self):
        arguments = ["serve", "--listen", "127.0.0.1:0", "--data", self.data, "--config", self.home / "serve.toml"]
        return [self.binary, *arguments]

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
        ready = self.process.stdout.readline()
        assert ready.startswith("pipewright is ready: export "), f"the server said {ready!r}, and {self.log.read_text()}"
        self.environment = dict(word.split("=", 1) for word in ready.split("export ", 1)[1].split())
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def terminate(self):
        """SIGTERM, after which it ends by itself."""
        self.process.terminate()
        equal(self.process.wait(STOP_SECONDS_MAX), 0)

    @property
    def endpoint(self):
        return self.environment["AWS_ENDPOINT_URL_CODEPIPELINE"]


class World:
    """One server with its clients. `names` are the pipelines that have grants: they may fetch from the git server, and
    write to a directory of their own, `deployed(name)`."""

    def __init__(self, binary, home, aws, origin, work, names, more_grants, more_configuration):
        self.home, self.aws_program, self.origin, self.work = home, aws, origin, work
        (home / "grants").mkdir()
        granted = ""
        for name in names:
            self.deployed(name).mkdir(parents=True)
            grants = (
                f'[action."Source/Git"]\nhttp = [{{ origin = "{origin}", private = true }}]\n'
                f'[action."Deploy/Publish"]\n'
                f'directories.target = {{ path = "{self.deployed(name)}", access = "write" }}\n')
            (home / "grants" / f"{name}.toml").write_text(grants + more_grants)
            granted += f'{name} = "grants/{name}.toml"\n'
        (home / "serve.toml").write_text(f'poll_seconds = 1\nplugins = "plugins"\n[grants]\n{granted}{more_configuration}')
        self.server = Server(binary, home)
        self.start()

    def start(self):
        self.server.start()
        self.api = self.client("codepipeline")
        self.credentials = self.session().get_credentials()

    def session(self):
        return boto3.Session(region_name=REGION, **self.keys())

    def client(self, service):
        # A retry would hide an answer that should not have been one.
        config = botocore.config.Config(retries={"total_max_attempts": 1})
        return self.session().client(service, endpoint_url=self.server.endpoint, config=config)

    def keys(self):
        text = pathlib.Path(self.server.environment["AWS_SHARED_CREDENTIALS_FILE"]).read_text()
        return dict(line.split(" = ") for line in text.splitlines() if " = " in line)

    def deployed(self, name):
        return self.home / "deployed" / name

    # Clients.

    def aws_process(self, *arguments):
        """`aws codepipeline …`, set up by nothing but the server's ready line."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), **self.server.environment}
        return subprocess.run(
            [self.aws_program, "codepipeline", *map(str, arguments)], env=environment, capture_output=True, text=True)

    def aws(self, *arguments):
        ended = self.aws_process(*arguments)
        equal((ended.returncode, ended.stderr), (0, ""))
        return json.loads(ended.stdout) if ended.stdout else {}

    def open(self, path, headers=(), sign=True):
        """A GET of what lies beside the API: the open response."""
        url = urllib.parse.urlsplit(self.server.endpoint)
        headers = dict(headers)
        if sign:
            request = botocore.awsrequest.AWSRequest("GET", self.server.endpoint + path, headers=headers)
            botocore.auth.SigV4Auth(self.credentials, "codepipeline", REGION).add_auth(request)
            headers = dict(request.headers.items())
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=WAIT_SECONDS_MAX)
        connection.request("GET", path, headers=headers)
        return connection.getresponse()

    def get(self, path, status=200, **more):
        with self.open(path, **more) as response:
            body = response.read()
            assert response.status == status, f"{path}: {response.status} {body[:500]}"
            return body

    def metric(self, name):
        lines = self.get("/metrics", sign=False).decode().splitlines()
        return next(int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name} "))

    def events(self, path, last_event_id=None):
        """Server-sent events, as they come, as (id, event, data), until the server ends the stream."""
        headers = {"Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        with self.open(path, headers) as response:
            assert response.status == 200, f"{path}: {response.status} {response.read()}"
            fields = {}
            for line in response:
                line = line.decode().rstrip("\n")
                if not line and fields:
                    yield fields.get("id"), fields.get("event"), fields.get("data", "")
                    fields = {}
                elif line and not line.startswith(":"):
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")

    # Git.

    def git(self, name, *arguments):
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
            "GIT_AUTHOR_NAME": "Maria", "GIT_AUTHOR_EMAIL": "maria@example.com",
            "GIT_COMMITTER_NAME": "Jo", "GIT_COMMITTER_EMAIL": "jo@example.com",
        }
        folder = self.work / name if name else self.home
        ran = subprocess.run(
            ["git", *map(str, arguments)], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return ran.stdout.strip()

    def url(self, name):
        return f"{self.origin}/git/{name}.git"

    def push(self, name, page):
        """Pushes a commit in which the page says this; the commit's id."""
        html = f"<!doctype html><title>Page</title><p>{page}</p>\n"
        (self.work / name / "index.html").write_text(html)
        self.git(name, "add", "--all")
        self.git(name, "commit", "--quiet", "--allow-empty", "-m", page)
        self.git(name, "push", "--quiet", "origin", "HEAD")
        return self.git(name, "rev-parse", "HEAD")

    # What is asked again and again.

    def summaries(self, name):
        return self.api.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]

    def execution(self, name, id):
        return self.api.get_pipeline_execution(pipelineName=name, pipelineExecutionId=id)["pipelineExecution"]

    def until_status(self, name, id, status):
        """Waits for the status, and fails at once when the execution ends in another."""
        def there():
            found = self.execution(name, id)["status"]
            ended = found in ("Succeeded", "Failed", "Stopped", "Superseded", "Cancelled")
            assert found == status or not ended, f"{name} is {found}, not {status}: {self.failures(name, id)}"
            return found == status
        until(there, f"{id} of {name} is {status}")

    def failures(self, name, id):
        return [detail["output"]["executionResult"]["errorDetails"] for detail in self.actions(name, id)
                if detail["status"] == "Failed"]

    def actions(self, name, id):
        return self.api.list_action_executions(
            pipelineName=name, filter={"pipelineExecutionId": id})["actionExecutionDetails"]

    def until_action(self, name, id, action, status):
        """The detail of an action's execution, once it has this status."""
        def there():
            found = [it for it in self.actions(name, id) if (it["actionName"], it["status"]) == (action, status)]
            return found and found[0]
        return until(there, f"{action} of {id} of {name} is {status}")

    def stage(self, name, stage):
        states = self.api.get_pipeline_state(name=name)["stageStates"]
        return next(state for state in states if state["stageName"] == stage)

    def token(self, name, id, stage="Approve"):
        """The approval token of an execution, as soon as it waits for an answer."""
        def there():
            state = self.stage(name, stage)
            if state.get("latestExecution", {}).get("pipelineExecutionId") == id:
                return next((action["latestExecution"]["token"] for action in state["actionStates"]
                             if "token" in action.get("latestExecution", {})), None)
            status = self.execution(name, id)["status"]
            assert status == "InProgress", f"{name} is {status} before its approval: {self.failures(name, id)}"
        return until(there, f"{id} of {name} waits for an approval")

    def answer(self, name, token, status="Approved", stage="Approve", summary="looks good"):
        return self.api.put_approval_result(
            pipelineName=name, stageName=stage, actionName="Ask", token=token,
            result={"status": status, "summary": summary})

    def create(self, name, *stages, **more):
        """Creates a pipeline, and gives the id of its first execution."""
        self.api.create_pipeline(pipeline=pipeline(name, *stages, **more))
        [first] = self.summaries(name)
        equal(first["trigger"]["triggerType"], "CreatePipeline")
        return first["pipelineExecutionId"]

    def start_execution(self, name, **more):
        return self.api.start_pipeline_execution(name=name, **more)["pipelineExecutionId"]


# Declarations.

def action(name, type_id, configuration=None, inputs=(), outputs=(), **more):
    category, owner, provider, version = type_id.split("/")
    return {
        "name": name,
        "actionTypeId": {"category": category, "owner": owner, "provider": provider, "version": version},
        "configuration": configuration or {},
        "inputArtifacts": [{"name": name} for name in inputs],
        "outputArtifacts": [{"name": name} for name in outputs],
        **more,
    }


def stage(name, *actions):
    return {"name": name, "actions": list(actions)}


def source(url, **configuration):
    git = action("Git", "Source/Custom/Git/1", {"RepositoryUrl": url, **configuration}, outputs=["Code"], namespace="Git")
    return stage("Source", git)


def unpolled(url):
    return source(url, PollForSourceChanges="false")


def rule(name, provider, configuration, **more):
    type_id = {"category": "Rule", "owner": "AWS", "provider": provider, "version": "1"}
    return {"name": name, "ruleTypeId": type_id, "configuration": configuration, **more}


def condition(result, *rules):
    return {"conditions": [{"result": result, "rules": list(rules)}]}


CHECK = stage("Check", action("Links", "Test/Custom/LinkCheck/1", inputs=["Code"]))
APPROVE = stage("Approve", action("Ask", "Approval/AWS/Manual/1", {"CustomData": "Release #{Git.CommitId}?"}))
DEPLOY = stage("Deploy", action("Publish", "Deploy/Custom/Directory/1", inputs=["Code"]))


def sleeping(milliseconds, name="Slow"):
    """An action that does nothing for so long; the test's own plugin."""
    return action(name, "Invoke/Custom/Deed/1", {"Deed": "sleep", "Amount": str(milliseconds)})


def pipeline(name, *stages, **more):
    return {
        "name": name,
        "roleArn": f"arn:aws:iam::{ACCOUNT}:role/pipeline",
        "artifactStore": {"type": "S3", "location": "artifacts"},
        "stages": list(stages),
        **more,
    }
