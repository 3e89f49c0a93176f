"""Three teams on one server. One installs a plugin and offers it to another; the third has one of its own under the same type.

    main.py BINARY HOME

Every verb is tried by those who may and by those who may not. Codepipeline's own operations go through boto3, the others through
the command line."""

import configparser
import json
import os
import pathlib
import subprocess
import sys

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.httpsession

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "acceptance"))
from world import REGION, Server, equal, refused, until  # noqa: E402

OPERATOR = "000000000000"
ONE, OTHER, THIRD = "111111111111", "222222222222", "333333333333"
TYPE = {"category": "Invoke", "owner": "Custom", "provider": "Packaged", "version": "1"}
TYPE_TEXT = "Invoke/Custom/Packaged/1"
NAME, FIRST, SECOND = "one/packaged", "1.0.0", "1.1.0"
APPROVAL = {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"}
DIRECTORY = {"category": "Source", "owner": "Custom", "provider": "Directory", "version": "1"}


def pipeline(name, waits):
    """A pipeline that fetches its account's files, and runs the plugin; it may wait for an approval before that."""
    get = {"name": "Get", "actionTypeId": DIRECTORY, "configuration": {"Directory": "source"},
           "outputArtifacts": [{"name": "Code"}]}
    ask = [{"name": "Ask", "actions": [{"name": "Ask", "actionTypeId": APPROVAL}]}] if waits else []
    say = {"name": "Say", "actionTypeId": TYPE, "configuration": {"Colour": "blue", "Token": "very secret"}}
    return {
        "name": name, "roleArn": "arn:aws:iam::000000000000:role/unused", "pipelineType": "V2",
        "artifactStore": {"type": "S3", "location": "artifacts"},
        "stages": [{"name": "Source", "actions": [get]}, *ask, {"name": "Say", "actions": [say]}],
    }


class Team:
    def __init__(self, world, account):
        self.world, self.account = world, account
        self.profile = "default" if account == OPERATOR else account
        keys = configparser.ConfigParser()
        keys.read(world.server.data / "credentials")
        session = boto3.Session(region_name=REGION, **keys[self.profile])
        config = botocore.config.Config(retries={"total_max_attempts": 1})
        self.api = session.client("codepipeline", endpoint_url=world.server.endpoint, config=config)
        self.credentials = session.get_credentials()

    # The command line.

    def plugin(self, *words, code=0, says=""):
        ended = self.world.run("plugin", *words, "--data", "data", "--profile", self.profile)
        assert ended.returncode == code and says in ended.stdout + ended.stderr, (words, ended)
        return ended.stdout

    def catalogue(self):
        """The action types that the account can see, each with what is told of it."""
        listed = json.loads(self.plugin("catalogue", "--json"))["plugins"]
        return {"/".join(offered["id"][part] for part in ("category", "owner", "provider", "version")): (plugin, offered)
                for plugin in listed for offered in plugin["actionTypes"]}

    def uses(self, name=NAME):
        uses = json.loads(self.plugin("uses", name, "--json"))["uses"]
        return {(used["account"], used["pipeline"], used["version"], "execution" in used) for used in uses}

    # The plain HTTP interface.

    def request(self, method, path, document=None):
        body = json.dumps(document).encode() if document is not None else b""
        request = botocore.awsrequest.AWSRequest(method, self.world.server.endpoint + path, data=body)
        botocore.auth.SigV4Auth(self.credentials, "codepipeline", REGION).add_auth(request)
        answer = botocore.httpsession.URLLib3Session().send(request.prepare())
        return answer.status_code, answer.content.decode()

    # CodePipeline's operations.

    def listed(self):
        types = self.api.list_action_types()["actionTypes"]
        return next((row for row in types if row["id"] == TYPE), None)

    def ended(self, name, execution):
        """How the execution ended, and what its last action said."""
        found = until(lambda: self.status(name, execution), f"{name} ends")
        actions = self.api.list_action_executions(pipelineName=name, filter={"pipelineExecutionId": execution})
        result = actions["actionExecutionDetails"][0]["output"]["executionResult"]
        return found, result.get("errorDetails", {}).get("message", result.get("externalExecutionSummary"))

    def status(self, name, execution):
        found = self.api.get_pipeline_execution(pipelineName=name, pipelineExecutionId=execution)["pipelineExecution"]
        return found["status"] if found["status"] != "InProgress" else None

    def created(self, declaration):
        """The pipeline's first execution, which waits for its approval."""
        name = self.api.create_pipeline(pipeline=declaration)["pipeline"]["name"]
        summaries = self.api.list_pipeline_executions(pipelineName=name)["pipelineExecutionSummaries"]
        return self.waits(name, summaries[0]["pipelineExecutionId"])

    def waiting(self, name):
        """An execution that waits for its approval."""
        return self.waits(name, self.api.start_pipeline_execution(name=name)["pipelineExecutionId"])

    def waits(self, name, execution):
        until(lambda: self.token(name, execution), f"{name} waits")
        return execution

    def token(self, name, execution):
        for stage in self.api.get_pipeline_state(name=name)["stageStates"]:
            if stage["stageName"] == "Ask" and stage.get("latestExecution", {}).get("pipelineExecutionId") == execution:
                return stage["actionStates"][0].get("latestExecution", {}).get("token")
        return None

    def approve(self, name, execution):
        result = {"summary": "fine", "status": "Approved"}
        self.api.put_approval_result(
            pipelineName=name, stageName="Ask", actionName="Ask", result=result, token=self.token(name, execution))
        return self.ended(name, execution)


class World:
    def __init__(self, binary, home):
        self.binary, self.home = binary, home
        self.server = Server(binary, home).start()
        self.teams()

    def teams(self):
        self.operator, self.one, self.other, self.third = (Team(self, it) for it in (OPERATOR, ONE, OTHER, THIRD))

    def restart(self):
        self.server.kill()
        self.server.start()
        self.teams()

    def run(self, *words):
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home)}
        return subprocess.run([self.binary, *words], cwd=self.home, env=environment, capture_output=True, text=True)

    def install(self, account, *words):
        ended = self.run("plugin", *words, "--data", "data", "--account", account)
        assert ended.returncode in (0, 1), ended
        return ended.stdout


def not_there(team):
    """The plugin of the first team can be neither seen nor bound by this one."""
    equal(team.listed(), None)
    assert TYPE_TEXT not in team.catalogue(), team.catalogue()
    with refused("InvalidActionDeclarationException", "in action 'Say' is not available in region us-east-1"):
        team.api.create_pipeline(pipeline=pipeline("stolen", waits=False))


def installed(world):
    """A running server takes notice of what is installed; nobody else has a part in it."""
    world.install(ONE, "add", "one-packaged-1.0.0.wasm", "--yes")
    until(lambda: world.one.listed(), "the plugin is there")
    for team in (world.operator, world.other, world.third):
        not_there(team)
        # Nor has anybody else a say in it.
        team.plugin("offer", TYPE_TEXT, "--to", team.account, code=2, says="ActionTypeNotFoundException")
        for verb in ("deprecate", "yank"):
            team.plugin(verb, f"{NAME}@{FIRST}", "--reason", "No", code=2, says="has no plugin one/packaged 1.0.0")
        equal(team.uses(), set())
    execution = world.one.created(pipeline("release", waits=True))
    equal(world.one.approve("release", execution), ("Succeeded", f"{NAME} {FIRST}"))


def offered(world):
    one, other = world.one, world.other
    one.plugin("offer", TYPE_TEXT, "--to", "222", code=2, says="each of them 12 digits")
    one.plugin("offer", "Invoke/Custom/Other/1", "--to", OTHER, code=2, says="ActionTypeNotFoundException")
    one.plugin("offer", TYPE_TEXT, "--to", OTHER, says=f"{TYPE_TEXT} is offered to {OTHER}")
    row = other.listed()
    equal([(it["name"], it["secret"], it["description"]) for it in row["actionConfigurationProperties"]],
          [("Colour", False, "What colour it is"), ("Token", True, "What it hides")])
    plugin, found = other.catalogue()[TYPE_TEXT]
    equal((plugin["name"], plugin["version"], plugin["from"], found["documentation"], "offeredTo" in found),
          (NAME, FIRST, ONE, "Succeeds, and says what it is.", False))
    equal(one.catalogue()[TYPE_TEXT][1]["offeredTo"], [OTHER])
    not_there(world.third)
    # Whoever is offered something cannot offer it on.
    other.plugin("offer", TYPE_TEXT, "--to", THIRD, code=2, says="ActionTypeNotFoundException")
    execution = other.created(pipeline("release", waits=True))
    equal(other.approve("release", execution), ("Succeeded", f"{NAME} {FIRST}"))
    shown = other.api.get_pipeline(name="release")["pipeline"]["stages"][2]["actions"][0]["configuration"]
    equal(shown, {"Colour": "blue", "Token": "****"})
    both = {(ONE, "release", FIRST, False), (OTHER, "release", FIRST, False)}
    equal(one.uses() - {(it, "release", FIRST, True) for it in (ONE, OTHER)}, both)
    assert all(used[0] == OTHER for used in other.uses()), other.uses()
    equal(world.third.uses(), set())


def rivals(world):
    """Somebody else's plugin of the same type takes the place of nothing."""
    world.install(THIRD, "add", "other-packaged-1.0.0.wasm", "--yes")
    until(lambda: world.third.listed(), "the third team has its own")
    world.third.plugin("offer", TYPE_TEXT, "--to", "*", says="is offered to *")
    equal(world.other.catalogue()[TYPE_TEXT][0]["name"], NAME)
    equal(world.one.catalogue()[TYPE_TEXT][0]["name"], NAME)
    equal(world.operator.catalogue()[TYPE_TEXT][0]["name"], "other/packaged")
    world.third.plugin("withdraw", TYPE_TEXT, says="is offered to nobody")
    not_there(world.operator)


def upgraded(world):
    """An upgrade that asks for more waits until the team that installed the plugin consents; what runs keeps what it began with."""
    one, other = world.one, world.other
    begun = other.waiting("release")
    said = world.install(ONE, "upgrade", NAME, "one-packaged-1.1.0.wasm")
    assert "asks for more than 1.0.0" in said, said
    status, text = one.request("GET", "/v1/plugins")
    entries = json.loads(text)["installed"]
    pending = next(entry for entry in entries if entry["version"] == SECOND)
    equal((status, pending["state"]), (200, "pending"))
    consent = {"name": NAME, "version": SECOND, "digest": pending["manifest"]}
    equal(other.request("PUT", "/v1/plugins/consent", consent)[0], 404)
    wrong = {**consent, "digest": "sha256:" + "0" * 64}
    status, text = one.request("PUT", "/v1/plugins/consent", wrong)
    assert status == 400 and "has the digest" in text, (status, text)
    equal(one.catalogue()[TYPE_TEXT][0]["version"], FIRST)
    equal(one.request("PUT", "/v1/plugins/consent", consent), (204, ""))
    for team in (one, other):
        equal(team.catalogue()[TYPE_TEXT][0]["version"], SECOND)
        equal(team.catalogue()[TYPE_TEXT][0]["asks"], ["requests to api.example.com"])
    uses = one.uses()
    assert {(OTHER, "release", SECOND, False), (OTHER, "release", FIRST, True)} <= uses, uses
    equal(other.approve("release", begun), ("Succeeded", f"{NAME} {FIRST}"))
    equal(other.approve("release", other.waiting("release")), ("Succeeded", f"{NAME} {SECOND}"))


def deprecated_and_yanked(world):
    one, other = world.one, world.other
    version = f"{NAME}@{SECOND}"
    one.plugin("deprecate", version, "--reason", "\n", code=2, says="Give a reason")
    one.plugin("deprecate", f"{NAME}@3.0.0", "--reason", "Old", code=2, says="has no plugin one/packaged 3.0.0")
    one.plugin("deprecate", version, "--reason", "Use another", says=f"{NAME} {SECOND} is deprecated")
    world.restart()
    one, other = world.one, world.other
    equal(other.catalogue()[TYPE_TEXT][0]["notice"], {"kind": "deprecated", "reason": "Use another"})
    # Whoever starts it by the command line is told, and whoever reads the action's log.
    started = world.run("start", "release", "--data", "data", "--profile", other.profile)
    told = f"Say is served by {NAME} {SECOND}, which is deprecated: Use another"
    assert started.returncode == 0 and told in started.stderr, started
    equal(other.approve("release", other.waits("release", started.stdout.strip()))[0], "Succeeded")
    logs = world.run("logs", "release", "--data", "data", "--profile", other.profile)
    assert f"{NAME} {SECOND} is deprecated: Use another" in logs.stdout, logs
    begun = other.waiting("release")
    one.plugin("yank", version, "--reason", "It leaks", says=f"{NAME} {SECOND} is yanked")
    equal(other.approve("release", begun), ("Succeeded", f"{NAME} {SECOND}"))
    for team in (one, other):
        equal(team.listed(), None)
        with refused("InvalidActionDeclarationException", f"{NAME} {SECOND} was yanked: It leaks"):
            team.api.create_pipeline(pipeline=pipeline("late", waits=False))
        ended = team.approve("release", team.waiting("release"))
        equal(ended, ("Failed", f"{TYPE_TEXT} cannot be used any more: {NAME} {SECOND} was yanked: It leaks"))
        shown = team.api.get_pipeline(name="release")["pipeline"]["stages"][2]["actions"][0]["configuration"]
        equal(shown["Token"], "****")
    assert "yanked: It leaks" in world.install(ONE, "list"), "what is yanked is told where it is installed"
    other.plugin("restore", version, code=2, says="Nothing was said of")
    one.plugin("restore", version, says="no longer deprecated or yanked")
    assert "yanked" not in world.install(ONE, "list")
    equal(other.approve("release", other.waiting("release")), ("Succeeded", f"{NAME} {SECOND}"))


def withdrawn(world):
    one, other = world.one, world.other
    begun = other.waiting("release")
    other.plugin("withdraw", TYPE_TEXT, code=2, says="ActionTypeNotFoundException")
    one.plugin("withdraw", TYPE_TEXT, says="is offered to nobody")
    not_there(other)
    equal(other.approve("release", begun), ("Succeeded", f"{NAME} {SECOND}"))
    status, why = other.approve("release", other.waiting("release"))
    assert status == "Failed" and f"no plugin serves {TYPE_TEXT} here any more" in why, (status, why)
    # What it hides stays hidden from those who read the declaration.
    shown = other.api.get_pipeline(name="release")["pipeline"]["stages"][2]["actions"][0]["configuration"]
    equal(shown["Token"], "****")
    equal(one.approve("release", one.waiting("release"))[0], "Succeeded")


def in_codepipelines_words(world):
    """An offer by UpdateActionType, which is for types of third parties."""
    one, other = world.one, world.other
    typed = {"category": "Invoke", "owner": "ThirdParty", "provider": "Typed", "version": "1"}
    world.install(ONE, "add", "one-typed-1.0.0.wasm", "--yes")
    until(lambda: "Invoke/ThirdParty/Typed/1" in one.catalogue(), "the plugin is there")
    declaration = one.api.get_action_type(**typed)["actionType"]
    equal((declaration["description"], declaration["permissions"]),
          ("Succeeds, and says what it is.", {"allowedAccounts": [ONE]}))
    declaration["permissions"] = {"allowedAccounts": [ONE, OTHER]}
    for team in (other, world.third, world.operator):
        with refused("ActionTypeNotFoundException"):
            team.api.get_action_type(**typed)
        with refused("ActionTypeNotFoundException"):
            team.api.update_action_type(actionType=declaration)
    one.api.update_action_type(actionType=declaration)
    equal(set(one.api.get_action_type(**typed)["actionType"]["permissions"]["allowedAccounts"]), {ONE, OTHER})
    equal(other.api.get_action_type(**typed)["actionType"]["permissions"], {"allowedAccounts": [OTHER]})
    with refused("ActionTypeNotFoundException"):
        other.api.update_action_type(actionType=declaration)
    with refused("ActionTypeNotFoundException"):
        world.third.api.get_action_type(**typed)


def damaged(world):
    """One component that is not what was installed costs the account that plugin, and no other."""
    typed = "Invoke/ThirdParty/Typed/1"
    entries = json.loads(world.one.request("GET", "/v1/plugins")[1])["installed"]
    digest = next(entry["component"] for entry in entries if entry["name"] == "one/typed").removeprefix("sha256:")
    place = world.server.data / "plugins/accounts" / ONE / "components" / digest[:2] / digest[2:]
    component = place.read_bytes()
    place.unlink()
    place.write_bytes(b"something else")
    world.restart()
    assert typed not in world.one.catalogue() and TYPE_TEXT in world.one.catalogue(), world.one.catalogue()
    status, why = world.one.request("PUT", "/v1/plugins/load", {})
    assert status == 400 and "the component of one/typed 1.0.0 was changed" in why, (status, why)
    assert TYPE_TEXT in world.one.catalogue(), world.one.catalogue()
    place.write_bytes(component)
    equal(world.one.request("PUT", "/v1/plugins/load", {})[0], 204)
    assert {typed, TYPE_TEXT} <= set(world.one.catalogue()), world.one.catalogue()


def removed(world):
    """What is taken away is gone for everybody, and its pipeline says so."""
    world.install(ONE, "remove", "one/typed")
    until(lambda: "Invoke/ThirdParty/Typed/1" not in world.other.catalogue(), "the plugin is gone")
    world.install(ONE, "remove", NAME)
    until(lambda: world.one.listed() is None, "the plugin is gone")
    not_there(world.one)
    status, why = world.one.approve("release", world.one.waiting("release"))
    assert status == "Failed" and f"no plugin serves {TYPE_TEXT} here any more" in why, (status, why)


def apart(world):
    """Pipelines, their artifacts and everything else of an account are its own."""
    one, third = world.one, world.third
    equal([row["name"] for row in third.api.list_pipelines()["pipelines"]], [])
    execution = one.api.list_pipeline_executions(pipelineName="release")["pipelineExecutionSummaries"][0]
    execution = execution["pipelineExecutionId"]
    for call in (
        lambda: third.api.get_pipeline(name="release"),
        lambda: third.api.start_pipeline_execution(name="release"),
        lambda: third.api.get_pipeline_execution(pipelineName="release", pipelineExecutionId=execution),
        lambda: third.api.list_action_executions(pipelineName="release"),
    ):
        with refused("PipelineNotFoundException"):
            call()
    path = f"/v1/pipelines/release/executions/{execution}/artifacts/Code/files/page.md"
    equal(one.request("GET", path), (200, f"# Of {ONE}\n"))
    # The pipeline of the same name has no such execution.
    equal([team.request("GET", path)[0] for team in (world.other, third, world.operator)], [404, 404, 404])
    arn = one.api.get_pipeline(name="release")["metadata"]["pipelineArn"]
    assert f":{ONE}:" in arn, arn
    with refused("ResourceNotFoundException"):
        third.api.list_tags_for_resource(resourceArn=arn)
    equal([team.request("GET", "/v1/export")[0] for team in (one, third, world.operator)], [403, 403, 200])


CHAPTERS = [
    installed, offered, rivals, upgraded, deprecated_and_yanked, withdrawn, in_codepipelines_words, damaged, apart,
    removed,
]


def main():
    binary, home = map(pathlib.Path, sys.argv[1:])
    world = World(binary, home)
    try:
        for chapter in CHAPTERS:
            print(chapter.__name__, flush=True)
            chapter(world)
    finally:
        world.server.kill()


if __name__ == "__main__":
    main()
