"""What starts pipelines from outside: webhooks, and what git hosts tell of pushes and pull requests of a real repository.

Must not know how the server verifies or compares."""

import hashlib
import hmac
import http.client
import http.server
import json
import subprocess
import threading
import urllib.parse

from world import ACCOUNT, APPROVE, DEPLOY, REGION, action, equal, stage, unpolled, until

NAMES = ["hooked"]
SECRET = "a secret of both sides"
# What the git server has for a password.
TOKEN = "correct horse"


def mac(body, algorithm=hashlib.sha256, secret=SECRET):
    return hmac.new(secret.encode(), body, algorithm).hexdigest()


def deliver(world, url, body, headers):
    """POSTs to the path of an address, wherever the server listens now; the status and the answer."""
    endpoint = urllib.parse.urlsplit(world.server.endpoint)
    connection = http.client.HTTPConnection(endpoint.hostname, endpoint.port, timeout=60)
    connection.request("POST", urllib.parse.urlsplit(url).path, body, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    return response.status, json.loads(response.read() or b"{}")


def started(world, name, known, kind, detail):
    """The newest execution, which the delivery before has started."""
    summaries = until(lambda: len(world.summaries(name)) > known and world.summaries(name), f"{name} is started")
    equal(len(summaries), known + 1)
    equal(summaries[0]["trigger"], {"triggerType": kind, "triggerDetail": detail})
    return summaries[0]["pipelineExecutionId"]


def nothing(world, name, known, delivered, expected):
    equal((delivered[0], delivered[1].get("outcome", delivered[1].get("__type"))), expected)
    equal(len(world.summaries(name)), known)


def hooked(world):
    """A webhook of CodePipeline's own, by the words of the AWS CLI's users."""
    name = "hooked"
    commit = world.push(name, "first")
    world.until_status(name, world.create(name, unpolled(world.url(name)), DEPLOY), "Succeeded")
    put = world.api.put_webhook(webhook={
        "name": "push", "targetPipeline": name, "targetAction": "Git", "authentication": "GITHUB_HMAC",
        "authenticationConfiguration": {"SecretToken": SECRET}, "filters": [{"jsonPath": "$.after"}],
    })["webhook"]
    body = json.dumps({"ref": "refs/heads/main", "after": commit}).encode()
    right = {"X-Hub-Signature-256": f"sha256={mac(body)}", "X-GitHub-Delivery": "one"}
    wrong = [
        {"X-GitHub-Delivery": "one"}, {"X-Hub-Signature-256": f"sha256={mac(body, secret='no')}"},
        {"X-Hub-Signature-256": right["X-Hub-Signature-256"][:-2]},
    ]
    for headers in wrong:
        nothing(world, name, 1, deliver(world, put["url"], body, headers), (403, "AccessDeniedException"))
    nothing(world, name, 1, deliver(world, put["url"][:-1] + "g", body, right), (404, "ResourceNotFoundException"))
    large = deliver(world, put["url"], b" " * (2 * 1024 * 1024 + 1), right)
    nothing(world, name, 1, large, (413, "RequestEntityTooLargeException"))
    equal(deliver(world, put["url"], body, right), (200, {"outcome": "started", "started": 1}))
    arn = f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:webhook:push"
    world.until_status(name, started(world, name, 1, "Webhook", arn), "Succeeded")
    weak = {"X-Hub-Signature": f"sha1={mac(body, hashlib.sha1)}", "X-GitHub-Delivery": "two"}
    equal(deliver(world, put["url"], body, weak)[1]["outcome"], "started")
    world.until_status(name, started(world, name, 2, "Webhook", arn), "Succeeded")
    nothing(world, name, 3, deliver(world, put["url"], body, right), (200, "replayed"))
    metrics = world.get("/metrics", sign=False).decode()
    for outcome in ("started", "replayed", "AccessDeniedException", "RequestEntityTooLargeException"):
        assert f'pipewright_deliveries_total{{outcome="{outcome}"}}' in metrics, metrics
    # A server that was killed knows what was delivered before.
    world.server.kill()
    world.start()
    for headers in (right, weak):
        nothing(world, name, 3, deliver(world, put["url"], body, headers), (200, "replayed"))
    assert world.api.list_webhooks()["webhooks"][0]["lastTriggered"]


def command(world, *arguments):
    ran = subprocess.run(
        [world.server.binary, *map(str, arguments), "--data", world.server.data], capture_output=True, text=True)
    equal((ran.returncode, ran.stderr), (0, ""))
    return ran.stdout


def of_connection(arn, repository):
    settings = {"ConnectionArn": arn, "FullRepositoryId": repository, "BranchName": "main"}
    git = action("Git", "Source/AWS/CodeStarSourceConnection/1", settings, outputs=["Code"], namespace="Git")
    return stage("Source", git)


def github(body):
    return {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={mac(body)}"}


def gitlab(body):
    return {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": SECRET}


def gitea(body):
    return {"X-Gitea-Event": "push", "X-Gitea-Signature": mac(body)}


def bitbucket(body):
    return {"X-Event-Key": "repo:push", "X-Hub-Signature": f"sha256={mac(body)}"}


def plain(body):
    return {"X-Hub-Signature-256": f"sha256={mac(body)}"}


KINDS = {"github": github, "gitlab": gitlab, "forgejo": gitea, "bitbucket": bitbucket, "git": plain}


def pushed(kind, repository, before, after):
    reference = {"ref": "refs/heads/main", "before": before, "after": after}
    bodies = {
        "gitlab": {
            **reference, "object_kind": "push", "checkout_sha": after, "project": {"path_with_namespace": repository}},
        "bitbucket": {"repository": {"full_name": repository}, "push": {"changes": [{
            "new": {"type": "branch", "name": "main", "target": {"hash": after}}, "old": {"target": {"hash": before}}}]}},
    }
    usual = {**reference, "repository": {"full_name": repository}, "head_commit": {"id": after}}
    return json.dumps(bodies.get(kind, usual)).encode()


def connected(world):
    """Each kind of host tells of a push to one repository, which is fetched by the connection's address and secret."""
    repository = "told"
    first = world.push(repository, "first")
    secret = world.home / "host.secret"
    for file, text in ((secret, SECRET), (world.home / "token", TOKEN)):
        file.write_text(text)
        file.chmod(0o600)
    for kind, sign in KINDS.items():
        name = f"on-{kind}"
        made = command(
            world, "connection", "create", kind, "--kind", kind, "--address", f"{world.origin}/private", "--private",
            "--secret", world.home / "token", "--username", "maria", "--webhook-secret", secret, "--json")
        made = json.loads(made)
        assert SECRET not in str(made) and TOKEN not in str(made), made
        check = stage("Check", action("Links", "Test/Custom/LinkCheck/1", inputs=["Code"]))
        source = of_connection(made["arn"], repository)
        world.until_status(name, world.create(name, source, check, pipelineType="V2"), "Succeeded")
        after = world.push(repository, kind)
        body = pushed(kind, repository, first, after)
        forged = {key: value.replace("a", "b").replace("e", "f").replace("0", "1") for key, value in sign(body).items()
                  if "Event" not in key}
        refused = deliver(world, made["url"], body, {**sign(body), **forged})
        nothing(world, name, 1, refused, (403, "AccessDeniedException"))
        other = pushed(kind, "other", first, after)
        nothing(world, name, 1, deliver(world, made["url"], other, sign(other)), (200, "unmatched"))
        equal(deliver(world, made["url"], body, sign(body)), (200, {"outcome": "started", "started": 1}))
        id = started(world, name, 1, "WebhookV2", "push to branch main")
        world.until_status(name, id, "Succeeded")
        equal(world.summaries(name)[0]["sourceRevisions"][0]["revisionId"], after)
        [fetched] = [it["output"]["outputVariables"] for it in world.actions(name, id) if it["actionName"] == "Git"]
        assert fetched.pop("AuthorDate"), fetched
        equal(fetched, {"BranchName": "main", "CommitId": after, "CommitMessage": kind, "ConnectionArn": made["arn"],
                        "FullRepositoryName": repository})
        nothing(world, name, 2, deliver(world, made["url"], body, sign(body)), (200, "replayed"))
        first = after
    equal(command(world, "connection", "list").count("\n"), len(KINDS))


def mended(world):
    """A connection counts as it is when it is used, also for an execution that began before."""
    name, wrong = "mended", world.home / "wrong"
    wrong.write_text("no password")
    wrong.chmod(0o600)

    def create(secret):
        return json.loads(command(
            world, "connection", "create", name, "--kind", "git", "--address", f"{world.origin}/private", "--private",
            "--secret", secret, "--username", "maria", "--webhook-secret", world.home / "host.secret", "--json"))

    check = stage("Check", action("Links", "Test/Custom/LinkCheck/1", inputs=["Code"]))
    id = world.create(name, of_connection(create(wrong)["arn"], "told"), check, pipelineType="V2")
    world.until_status(name, id, "Failed")
    create(world.home / "token")
    world.api.retry_stage_execution(
        pipelineName=name, stageName="Source", pipelineExecutionId=id, retryMode="FAILED_ACTIONS")
    world.until_status(name, id, "Succeeded")


def of_codecommit(world):
    """An action of CodeCommit's goes where the connection of that name leads, and is looked at."""
    name, repository = "of-codecommit", "told"
    command(
        world, "connection", "create", "codecommit", "--kind", "git", "--address", f"{world.origin}/private", "--private",
        "--secret", world.home / "token", "--username", "maria")
    settings = {"RepositoryName": repository, "BranchName": "main"}
    source = stage("Source", action("Git", "Source/AWS/CodeCommit/1", settings, outputs=["Code"], namespace="Git"))
    check = stage("Check", action("Links", "Test/Custom/LinkCheck/1", inputs=["Code"]))
    world.until_status(name, world.create(name, source, check, pipelineType="V2"), "Succeeded")
    after = world.push(repository, "looked at")
    summary = until(lambda: len(world.summaries(name)) > 1 and world.summaries(name)[0], f"{name} is started")
    equal(summary["trigger"]["triggerType"], "PollForSourceChanges")
    world.until_status(name, summary["pipelineExecutionId"], "Succeeded")
    [git] = [it for it in world.actions(name, summary["pipelineExecutionId"]) if it["actionName"] == "Git"]
    found = git["output"]["outputVariables"]
    equal((found["RepositoryName"], found["BranchName"], found["CommitId"]), (repository, "main", after))
    world.api.delete_pipeline(name=name)


def filtered(world):
    """What changed is found in the repository, whatever the host says of it."""
    name, repository = "filtered", "told"
    arn = f"arn:aws:codestar-connections:eu-west-1:123456789012:connection/github"
    url = next(it["url"] for it in json.loads(command(world, "connection", "list", "--json"))["connections"]
               if it["name"] == "github")
    trigger = {
        "providerType": "CodeStarSourceConnection",
        "gitConfiguration": {
            "sourceActionName": "Git",
            "push": [{"branches": {"includes": ["main"]}, "filePaths": {"includes": ["docs/**"]}}],
            "pullRequest": [{"events": ["OPEN"], "branches": {"includes": ["main"]}}],
        },
    }
    check = stage("Check", action("Links", "Test/Custom/LinkCheck/1", inputs=["Code"]))
    source = of_connection(arn, repository)
    first = world.create(name, source, check, pipelineType="V2", triggers=[trigger])
    world.until_status(name, first, "Succeeded")
    before = world.git(repository, "rev-parse", "HEAD")
    elsewhere = world.push(repository, "elsewhere")
    body = json.loads(pushed("github", repository, before, elsewhere))
    body["commits"] = [{"modified": ["docs/lie.md"]}]
    body = json.dumps(body).encode()
    answer = deliver(world, url, body, github(body))
    equal(len(world.summaries(name)), 1)
    # The pipeline of the other scenario is for every push.
    equal(answer, (200, {"outcome": "started", "started": 1}))
    (world.work / repository / "docs").mkdir()
    (world.work / repository / "docs/page.html").write_text("<!doctype html><title>Page</title>\n")
    after = world.push(repository, "a page")
    body = pushed("github", repository, elsewhere, after)
    equal(deliver(world, url, body, github(body)), (200, {"outcome": "started", "started": 2}))
    id = started(world, name, 1, "WebhookV2", "push to branch main (push[0])")
    world.until_status(name, id, "Succeeded")
    world.git(repository, "checkout", "--quiet", "-b", "feature")
    proposed = world.push(repository, "proposed")
    end = {"repo": {"full_name": repository}}
    body = json.dumps({
        "action": "opened", "repository": {"full_name": repository},
        "pull_request": {"head": {"ref": "feature", "sha": proposed, **end}, "base": {"ref": "main", "sha": after, **end}},
    }).encode()
    equal(deliver(world, url, body, {**github(body), "X-GitHub-Event": "pull_request"})[1]["started"], 1)
    id = started(world, name, 2, "WebhookV2", "pull request from branch feature into main opened (pullRequest[0])")
    world.until_status(name, id, "Succeeded")
    equal(world.summaries(name)[0]["sourceRevisions"][0]["revisionId"], proposed)
    [fetched] = [it["output"]["outputVariables"] for it in world.actions(name, id) if it["actionName"] == "Git"]
    equal(fetched["BranchName"], "feature")


class Host(http.server.BaseHTTPRequestHandler):
    """A git host: its repositories are those of the git server, and its API takes down what it is told of commits."""

    protocol_version = "HTTP/1.1"
    origin, mood, told = None, "takes", []

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.fetch()

    def do_POST(self):
        if not self.path.startswith("/api/v1/"):
            return self.fetch()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if Host.mood == "hangs":
            # Until the server has lost its patience, or its life.
            self.rfile.read()
            return None
        status = 201 if self.headers["Authorization"] == f"token {TOKEN}" and Host.mood == "takes" else 401
        Host.told.append((status, self.path, json.loads(body)))
        return self.answer(status, b"{}", {})

    def fetch(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(Host.origin).netloc, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name not in ("Host", "Connection")}
        connection.request(self.command, "/private" + self.path, body, headers)
        response = connection.getresponse()
        kept = ("Content-Type", "WWW-Authenticate")
        self.answer(response.status, response.read(), {name: response.headers[name] for name in kept if response.headers[name]})

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def commits(world):
    """A git host is told of commits, whatever it answers and whenever the server dies."""
    name, repository = "statuses", "told"
    Host.origin = world.origin
    host = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    host.daemon_threads = True
    threading.Thread(target=host.serve_forever, daemon=True).start()
    made = json.loads(command(
        world, "connection", "create", "own", "--kind", "forgejo", "--address", f"http://127.0.0.1:{host.server_port}",
        "--private", "--secret", world.home / "token", "--username", "maria", "--status", "--json"))
    commit = world.git(repository, "rev-parse", "origin/main")
    path = f"/api/v1/repos/{repository}/statuses/{commit}"

    def told(state):
        return until(lambda: [it for it in Host.told if it[0] == 201 and it[2]["state"] == state], f"{commit} is {state}")

    def of(state, id, words):
        return (201, path, {"state": state, "context": f"pipewright/{name}", "description": f"Execution {id} {words}"})

    source = of_connection(made["arn"], repository)
    first = world.create(name, source, APPROVE, pipelineType="V2")
    equal(told("pending")[0], of("pending", first, "is in progress"))
    # One that hangs while the server is killed is told by the next one.
    Host.mood = "hangs"
    world.answer(name, world.token(name, first))
    world.until_status(name, first, "Succeeded")
    world.server.kill()
    world.start()
    Host.mood = "takes"
    equal(told("success")[0], of("success", first, "succeeded"))
    # One that refuses is asked again.
    Host.mood = "refuses"
    second = world.start_execution(name)
    world.answer(name, world.token(name, second), "Rejected")
    world.until_status(name, second, "Failed")
    until(lambda: any(it[0] == 401 for it in Host.told), "it refuses")
    Host.mood = "takes"
    equal(told("failure")[0], of("failure", second, "failed"))
    listed = command(world, "deliveries", "--json")
    assert "connection:own" in listed and TOKEN not in listed, listed
    assert TOKEN not in world.server.log.read_text()


def everything(world):
    """One after the other: the server is killed in between."""
    hooked(world)
    connected(world)
    mended(world)
    of_codecommit(world)
    filtered(world)
    commits(world)


ALL = [everything]
