"""What a client does with pipelines, from creating to deleting: for each operation a full request, a minimal one, and the
requests that are right by their shape and still refused.

The server's configuration gives grants to `released-<protocol>` (its source finds a directory, its deployment may write to
one), and allows three pipelines. Must not know how an answer is judged."""

import copy
import json
import pathlib
import time

import jobs
import model

VALID = pathlib.Path(__file__).parents[2] / "host/pipeline/src/validate/tests/valid.json"
ROLE = "arn:aws:iam::000000000000:role/pipeline"
WAIT_SECONDS_MAX = 120
LISTS = [
    "ListPipelines", "ListPipelineExecutions", "ListActionExecutions", "ListRuleExecutions", "ListActionTypes",
    "ListTagsForResource",
]


def action(name, type_id, **more):
    category, owner, provider, version = type_id.split("/")
    type_id = {"category": category, "owner": owner, "provider": provider, "version": version}
    return {"name": name, "actionTypeId": type_id, **more}


SOURCE = action("Get", "Source/Custom/Directory/1", outputArtifacts=[{"name": "Code"}])
APPROVAL = action("Ask", "Approval/AWS/Manual/1")


def minimal(name):
    stages = [{"name": "Source", "actions": [SOURCE]}, {"name": "Ask", "actions": [APPROVAL]}]
    return {
        "name": name, "roleArn": ROLE, "artifactStore": {"type": "S3", "location": "artifacts"},
        "stages": copy.deepcopy(stages),
    }


def released(name):
    publish = action("Publish", "Deploy/Custom/Directory/1", inputArtifacts=[{"name": "Code"}], runOrder=2)
    pipeline = minimal(name)
    pipeline["stages"][1]["actions"].append(publish)
    check = {"category": "Rule", "owner": "AWS", "provider": "VariableCheck", "version": "1"}
    compared = {"Variable": "#{variables.Colour}", "Operator": "NE", "Value": "green"}
    rules = [{"name": name, "ruleTypeId": check, "configuration": compared} for name in ("Colour", "Again")]
    pipeline["stages"][1]["beforeEntry"] = {"conditions": [{"result": "FAIL", "rules": rules}]}
    return {
        **pipeline, "pipelineType": "V2", "executionMode": "SUPERSEDED",
        "variables": [{"name": "Colour", "defaultValue": "blue"}],
    }


def every_member(name):
    """Every member of a declaration, with action types that this server has or that are AWS's own."""
    text = VALID.read_text().replace("eu-west-1", "us-west-1").replace("us-east-1", "eu-west-1")
    pipeline = json.loads(text.replace("us-west-1", "us-east-1"))
    pipeline["name"] = name
    pipeline["stages"][0]["actions"][1]["configuration"] = {"Directory": "source"}
    check = pipeline["stages"][1]["actions"][1]
    check["actionTypeId"]["provider"], check["configuration"] = "LinkCheck", {}
    return pipeline


class Scenario:
    def __init__(self, client, account, region, offered):
        self.client, self.call = client, client.call
        self.suffix = client.protocol.__name__.lower()
        self.account, self.region, self.offered = account, region, offered
        self.main, self.failing = f"released-{self.suffix}", f"failing-{self.suffix}"

    def run(self):
        self.create()
        self.read_and_update()
        self.execute()
        self.lists()
        self.transitions()
        self.approve()
        self.deploy_targets()
        self.stop_and_retry()
        self.roll_back()
        self.override()
        self.put_revision()
        self.tags()
        self.webhooks()
        self.action_types()
        jobs.Jobs(self).run()
        self.not_found()

    def expect(self, holds, defect):
        self.client.report.check(holds, f"{self.client.protocol.name}: {defect}")

    def arn(self, name, account=None, region=None):
        return f"arn:aws:codepipeline:{region or self.region}:{account or self.account}:{name}"

    def until(self, ready, what):
        """Asks again until there is an answer."""
        end = time.monotonic() + WAIT_SECONDS_MAX
        while time.monotonic() < end:
            if found := ready():
                return found
            time.sleep(0.05)
        raise TimeoutError(f"{self.client.protocol.name}: waited {WAIT_SECONDS_MAX} s in vain until {what}")

    def until_status(self, name, execution, status):
        params = {"pipelineName": name, "pipelineExecutionId": execution}
        def ended():
            return self.call("GetPipelineExecution", params).get("pipelineExecution", {}).get("status") == status
        self.until(ended, f"{execution} of {name} is {status}")

    def token(self, name, execution):
        """The approval token of an execution, as soon as it waits for one."""
        def waits():
            for stage in self.call("GetPipelineState", {"name": name}).get("stageStates", []):
                latest = stage.get("latestExecution", {}).get("pipelineExecutionId")
                for state in stage.get("actionStates", []):
                    if latest == execution and "token" in state.get("latestExecution", {}):
                        return state["latestExecution"]["token"]
        return self.until(waits, f"{execution} of {name} waits for an approval")

    def start(self, name, **more):
        return self.call("StartPipelineExecution", {"name": name, **more}).get("pipelineExecutionId")

    def first_execution(self, name):
        def listed():
            return self.call("ListPipelineExecutions", {"pipelineName": name}).get("pipelineExecutionSummaries")
        summary = self.until(listed, f"{name} has an execution")[-1]
        self.expect(summary["trigger"]["triggerType"] == "CreatePipeline", f"the first trigger: {summary}")
        return summary["pipelineExecutionId"]

    def create(self):
        tags = [{"key": "team", "value": "web"}, {"key": "empty", "value": ""}]
        created = self.call("CreatePipeline", {"pipeline": released(self.main), "tags": tags})
        self.expect(created.get("tags") == tags, f"CreatePipeline gives back the tags: {created}")
        self.expect(created.get("pipeline", {}).get("version") == 1, f"the first version is 1: {created}")
        created = self.call("CreatePipeline", {"pipeline": minimal(self.failing)}).get("pipeline", {})
        source = created.get("stages", [{"actions": [{}]}])[0]["actions"][0]
        given = (source.get("runOrder"), source.get("inputArtifacts"), source.get("configuration"))
        self.expect(given == (1, [], {}), f"defaults are filled in: {source}")
        self.expect(created.get("executionMode") == "SUPERSEDED", f"defaults are filled in: {created}")
        self.call("CreatePipeline", {"pipeline": minimal(self.main)}, "PipelineNameInUseException")

        def refused(code, change, **more):
            pipeline = released("refused")
            change(pipeline)
            self.call("CreatePipeline", {"pipeline": pipeline, **more}, code)
            self.call("UpdatePipeline", {"pipeline": pipeline}, code)

        unproduced, many = [{"name": "Unproduced"}], [APPROVAL] * 101
        refused("InvalidStructureException", lambda it: it["stages"].pop())
        refused("InvalidStructureException", lambda it: it["stages"].extend(it["stages"] * 30))
        refused("InvalidStageDeclarationException", lambda it: it["stages"].append(it["stages"][1]))
        refused("InvalidStageDeclarationException", lambda it: it["stages"][1].update(actions=many))
        refused("InvalidActionDeclarationException", lambda it: it["stages"][1]["actions"][1].update(inputArtifacts=unproduced))
        refused("InvalidActionDeclarationException", lambda it: it["stages"][1]["actions"][0].update(configuration={"No": "such"}))
        blockers = [{"name": "Wait", "type": "Schedule"}]
        refused("InvalidBlockerDeclarationException", lambda it: it["stages"][1].update(blockers=blockers))
        for code, keys in [
            ("TooManyTagsException", [str(number) for number in range(51)]), ("InvalidTagsException", ["aws:mine"]),
            ("InvalidTagsException", ["twice", "twice"]),
        ]:
            tags = [{"key": key, "value": ""} for key in keys]
            self.call("CreatePipeline", {"pipeline": minimal("refused"), "tags": tags}, code)
        self.call("GetPipeline", {"name": "refused"}, "PipelineNotFoundException")

    def read_and_update(self):
        name = f"every-member-{self.suffix}"
        self.call("CreatePipeline", {"pipeline": every_member(name)})
        self.call("GetPipeline", {"name": name})
        self.call("GetPipelineState", {"name": name})
        self.call("CreatePipeline", {"pipeline": minimal("one-too-many")}, "LimitExceededException")
        updated = self.call("UpdatePipeline", {"pipeline": every_member(name)}).get("pipeline", {})
        self.expect(updated.get("version") == 2, f"an update makes version 2: {updated}")
        unknown = {"tags": "of CreatePipeline alone", "unknown": None}
        updated = self.client.document("UpdatePipeline", {"pipeline": minimal(name), **unknown}).get("pipeline", {})
        self.expect(updated.get("version") == 3, f"an update makes version 3: {updated}")
        got = self.call("GetPipeline", {"name": name, "version": 1})
        self.expect(got.get("pipeline", {}).get("variables"), f"version 1 is kept: {got}")
        self.expect(got.get("metadata", {}).get("pipelineArn") == self.arn(name), f"the ARN: {got}")
        self.call("GetPipeline", {"name": name, "version": 99}, "PipelineVersionNotFoundException")
        self.call("DeletePipeline", {"name": name})

    def execute(self):
        self.first = self.first_execution(self.main)
        self.first_token = self.token(self.main, self.first)
        self.until_status(self.failing, self.first_execution(self.failing), "Failed")
        full = {"variables": [{"name": "Colour", "value": "red"}], "clientRequestToken": "once"}
        second = self.second = self.start(self.main, **full)
        self.expect(self.start(self.main, **full) == second, "a request token starts one execution")
        self.expect(self.start(self.main, clientRequestToken="once") == second, "whatever else the request says")
        twice = [{"name": "Colour", "value": "red"}] * 2
        self.call("StartPipelineExecution", {"name": self.main, "variables": twice}, "ValidationException")
        # The source of the other pipeline has no such revision, and nothing else.
        revisions = [{"actionName": "Get", "revisionType": "COMMIT_ID", "revisionValue": "0" * 40}]
        self.until_status(self.failing, self.start(self.failing, sourceRevisions=revisions), "Failed")
        execution = {"pipelineName": self.main, "pipelineExecutionId": second}
        got = self.call("GetPipelineExecution", execution).get("pipelineExecution", {})
        self.expect(got.get("pipelineExecutionId") == second, f"the execution that was asked for: {got}")

    def pages(self, operation, member, params, size=1):
        """All pages of a list, with so many on each."""
        found, token = [], {}
        while True:
            page = self.call(operation, {**params, "maxResults": size, **token})
            found += page.get(member, [])
            self.expect(len(page.get(member, [])) <= size, f"{operation} gives more than {size}: {page}")
            if "nextToken" not in page:
                return found
            token = {"nextToken": page["nextToken"]}

    def lists(self):
        named = {"pipelineName": self.main}
        latest = {"pipelineExecutionId": self.first, "startTimeRange": "Latest"}
        filters = [
            {"pipelineExecutionId": self.first}, {"latestInPipelineExecution": latest},
            {"latestInPipelineExecution": {**latest, "startTimeRange": "All"}},
        ]
        whole = [("ListPipelines", "pipelines", {}), ("ListPipelineExecutions", "pipelineExecutionSummaries", named)]
        whole += [("ListActionExecutions", "actionExecutionDetails", {**named, "filter": it}) for it in filters]
        whole += [("ListTagsForResource", "tags", {"resourceArn": self.arn(self.main)})]
        for operation, member, params in whole:
            in_one = self.call(operation, params).get(member, [])
            self.expect(len(in_one) >= 2, f"{operation} {params} has no two: {in_one}")
            key = lambda item: {name: value for name, value in item.items() if name.endswith(("Id", "name", "key"))}
            in_pages = self.pages(operation, member, params)
            self.expect([key(it) for it in in_pages] == [key(it) for it in in_one], f"{operation} in pages: {in_pages}")
        self.call("ListActionExecutions", named)
        rules = self.call("ListRuleExecutions", named).get("ruleExecutionDetails", [])
        names = {it["ruleName"] for it in rules}
        self.expect(len(rules) >= 2 and names == {"Colour", "Again"}, f"the rules are listed: {rules}")
        self.expect(self.pages("ListRuleExecutions", "ruleExecutionDetails", named) == rules, "and in pages")
        for chosen in filters:
            of_first = self.call("ListRuleExecutions", {**named, "filter": chosen}).get("ruleExecutionDetails", [])
            self.expect([it["pipelineExecutionId"] for it in of_first] == [self.first] * 2, f"{chosen} gives {of_first}")
        succeeded = {"succeededInStage": {"stageName": "Source"}}
        self.pages("ListPipelineExecutions", "pipelineExecutionSummaries", {**named, "filter": succeeded})
        self.call("ListPipelineExecutions", {**named, "filter": {}})

        token = self.call("ListPipelines", {"maxResults": 1}).get("nextToken", "")
        for operation in LISTS:
            params = {"pipelineName": self.main} if "Executions" in operation else {}
            if operation == "ListTagsForResource":
                params = {"resourceArn": self.arn(self.main)}
            for made_up in ["made-up", "\n", "é" * 2048, "A" * 64, token[:-1], token + "A"]:
                self.call(operation, {**params, "nextToken": made_up}, "InvalidNextTokenException")
            if operation != "ListPipelines":
                self.call(operation, {**params, "nextToken": token}, "InvalidNextTokenException")

    def deploy_targets(self):
        params = {"pipelineName": self.main, "filter": {"pipelineExecutionId": self.first}}
        actions = self.call("ListActionExecutions", params).get("actionExecutionDetails", [])
        ids = {action["actionName"]: action["actionExecutionId"] for action in actions}
        deploy, source = ids.get("Publish", ""), ids.get("Get", "")
        status = {"name": "TARGET_STATUS", "values": ["Succeeded"]}
        every = {"pipelineName": self.main, "actionExecutionId": deploy, "maxResults": 1, "filters": [status, {}]}
        for params in [every, {"actionExecutionId": deploy}]:
            targets = self.call("ListDeployActionExecutionTargets", params).get("targets", [])
            self.expect([it.get("status") for it in targets] == ["Succeeded"], f"its target: {targets}")
        none = {**every, "filters": [{**status, "values": ["Failed"]}]}
        for params in [none, {"actionExecutionId": source}]:
            found = self.call("ListDeployActionExecutionTargets", params)
            self.expect(found == {"targets": []}, f"no target: {found}")
        for unknown in [model.UUID, "none"]:
            self.call("ListDeployActionExecutionTargets", {"actionExecutionId": unknown}, "ActionExecutionNotFoundException")
        elsewhere = {"pipelineName": self.failing, "actionExecutionId": deploy}
        self.call("ListDeployActionExecutionTargets", elsewhere, "ActionExecutionNotFoundException")
        wrong = {"actionExecutionId": deploy, "nextToken": "made-up"}
        self.call("ListDeployActionExecutionTargets", wrong, "InvalidNextTokenException")

    def transitions(self):
        where = {"pipelineName": self.main, "stageName": "Ask", "transitionType": "Inbound"}
        self.call("DisableStageTransition", {**where, "reason": "Not on a Friday (please)!"})
        stage = self.call("GetPipelineState", {"name": self.main})["stageStates"][1]
        self.expect(stage["inboundTransitionState"]["enabled"] is False, f"the transition is disabled: {stage}")
        self.expect(stage["inboundTransitionState"].get("disabledReason"), f"the reason is told: {stage}")
        self.call("EnableStageTransition", where)
        self.call("EnableStageTransition", {**where, "transitionType": "Outbound"})

    def approve(self):
        where = {"pipelineName": self.main, "stageName": "Ask", "actionName": "Ask"}
        approved = {"status": "Approved", "summary": "Looks good é🦀"}
        unknown = {"token": model.UUID, "result": approved}
        self.call("PutApprovalResult", {**where, **unknown}, "InvalidApprovalTokenException")
        self.call("PutApprovalResult", {**where, "actionName": "No", **unknown}, "ActionNotFoundException")
        self.call("PutApprovalResult", {**where, "stageName": "No", **unknown}, "StageNotFoundException")
        answered = self.call("PutApprovalResult", {**where, "token": self.first_token, "result": approved})
        self.expect("approvedAt" in answered, f"the time of the approval: {answered}")
        again = "ApprovalAlreadyCompletedException"
        self.call("PutApprovalResult", {**where, "token": self.first_token, "result": approved}, again)
        self.until_status(self.main, self.first, "Succeeded")
        token = self.token(self.main, self.second)
        self.call("PutApprovalResult", {**where, "token": self.first_token, "result": approved}, again)
        self.call("PutApprovalResult", {**where, "token": token, "result": {"status": "Rejected", "summary": ""}})
        self.until_status(self.main, self.second, "Failed")

    def stop_and_retry(self):
        failed = self.start(self.failing)
        self.until_status(self.failing, failed, "Failed")
        where = {"pipelineName": self.failing, "stageName": "Source", "pipelineExecutionId": failed}
        stop = {"pipelineName": self.failing, "pipelineExecutionId": failed}
        self.call("StopPipelineExecution", stop, "PipelineExecutionNotStoppableException")
        unknown = {"pipelineExecutionId": model.UUID}
        self.call("StopPipelineExecution", {**stop, **unknown}, "PipelineExecutionNotStoppableException")
        for mode in ["FAILED_ACTIONS", "ALL_ACTIONS"]:
            retried = self.call("RetryStageExecution", {**where, "retryMode": mode})
            self.expect(retried.get("pipelineExecutionId") == failed, f"a retry keeps the execution: {retried}")
            self.until_status(self.failing, failed, "Failed")
        retry = {**where, "retryMode": "FAILED_ACTIONS"}
        self.call("RetryStageExecution", {**retry, "stageName": "No"}, "StageNotFoundException")
        cannot = ("NotLatestPipelineExecutionException", "StageNotRetryableException")
        self.call("RetryStageExecution", {**retry, **unknown}, cannot)
        self.call("RetryStageExecution", {**retry, "stageName": "Ask"}, cannot)

        waiting = self.start(self.main)
        self.token(self.main, waiting)
        stop = {"pipelineName": self.main, "pipelineExecutionId": waiting}
        self.expect(self.call("StopPipelineExecution", stop).get("pipelineExecutionId") == waiting, "a stop tells its id")
        self.call("StopPipelineExecution", {**stop, "abandon": False}, "DuplicatedStopRequestException")
        self.call("StopPipelineExecution", {**stop, "abandon": True, "reason": "Enough é🦀"})
        self.until_status(self.main, waiting, "Stopped")
        self.call("ListPipelineExecutions", {"pipelineName": self.main})
        self.call("ListActionExecutions", {"pipelineName": self.main})

    def roll_back(self):
        where = {"pipelineName": self.main, "stageName": "Ask"}
        rollback = {**where, "targetPipelineExecutionId": self.first}
        started = self.call("RollbackStage", rollback).get("pipelineExecutionId")
        self.call("RollbackStage", rollback, "UnableToRollbackStageException")
        approved = {"status": "Approved", "summary": ""}
        token = self.token(self.main, started)
        self.call("PutApprovalResult", {**where, "actionName": "Ask", "token": token, "result": approved})
        self.until_status(self.main, started, "Succeeded")
        params = {"pipelineName": self.main, "pipelineExecutionId": started}
        got = self.call("GetPipelineExecution", params).get("pipelineExecution", {})
        target = got.get("rollbackMetadata", {}).get("rollbackTargetPipelineExecutionId")
        self.expect((got.get("executionType"), target) == ("ROLLBACK", self.first), f"it is a rollback: {got}")
        for code, change in [
            ("StageNotFoundException", {"stageName": "No"}),
            ("PipelineExecutionNotFoundException", {"targetPipelineExecutionId": model.UUID}),
            ("UnableToRollbackStageException", {"stageName": "Source"}),
            ("UnableToRollbackStageException", {"targetPipelineExecutionId": self.second}),
            ("UnableToRollbackStageException", {"targetPipelineExecutionId": started}),
        ]:
            self.call("RollbackStage", {**rollback, **change}, code)
        self.rolled_back = started

    def override(self):
        where = {"pipelineName": self.main, "stageName": "Ask", "pipelineExecutionId": self.rolled_back}
        for condition in ["BEFORE_ENTRY", "ON_SUCCESS"]:
            override = {**where, "conditionType": condition}
            self.call("OverrideStageCondition", override, "ConditionNotOverridableException")
            self.call("OverrideStageCondition", {**override, "stageName": "No"}, "StageNotFoundException")
            for other in (self.first, model.UUID):
                late = {**override, "pipelineExecutionId": other}
                self.call("OverrideStageCondition", late, "NotLatestPipelineExecutionException")
        held = self.start(self.main, variables=[{"name": "Colour", "value": "green"}])
        self.until_status(self.main, held, "Failed")
        self.call("OverrideStageCondition", {**where, "pipelineExecutionId": held, "conditionType": "BEFORE_ENTRY"})
        self.token(self.main, held)
        self.call("StopPipelineExecution", {"pipelineName": self.main, "pipelineExecutionId": held, "abandon": True})
        self.until_status(self.main, held, "Stopped")

    def put_revision(self):
        revision = {"revisionId": "r-é🦀", "revisionChangeId": "push", "created": 1795342830.5}
        put = {"pipelineName": self.failing, "stageName": "Source", "actionName": "Get", "actionRevision": revision}
        first = self.call("PutActionRevision", put)
        self.expect(first.get("newRevision") is True, f"a revision that nobody has seen: {first}")
        self.until_status(self.failing, first.get("pipelineExecutionId"), "Failed")
        again = self.call("PutActionRevision", put)
        self.expect(again == {**first, "newRevision": False}, f"it starts one execution: {again} after {first}")
        self.call("PutActionRevision", {**put, "stageName": "No"}, "StageNotFoundException")
        self.call("PutActionRevision", {**put, "actionName": "No"}, "ActionNotFoundException")
        self.call("PutActionRevision", {**put, "stageName": "Ask", "actionName": "Ask"}, "ValidationException")

    def tags(self):
        resource = {"resourceArn": self.arn(self.main)}
        self.call("TagResource", {**resource, "tags": [{"key": "team", "value": "shop"}, {"key": "new", "value": "é"}]})
        self.call("TagResource", {**resource, "tags": []})
        self.call("UntagResource", {**resource, "tagKeys": ["new", "never was there"]})
        self.call("UntagResource", {**resource, "tagKeys": []})
        listed = self.call("ListTagsForResource", resource).get("tags", [])
        tags = {tag["key"]: tag["value"] for tag in listed}
        self.expect(tags == {"team": "shop", "empty": ""}, f"the tags are what was set: {listed}")
        for code, keys in [
            ("TooManyTagsException", [str(number) for number in range(49)]), ("InvalidTagsException", ["AWS:mine"]),
            ("InvalidTagsException", ["twice", "twice"]),
        ]:
            self.call("TagResource", {**resource, "tags": [{"key": key, "value": ""} for key in keys]}, code)
        elsewhere = [
            self.arn("unknown"), self.arn(self.main, account="111111111111"), self.arn(self.main, region="eu-west-1"),
            self.arn("webhook:hook"), self.arn("actiontype:Custom/Build/No/1"), self.arn(f"{self.main}/Ask"),
        ]
        for arn in elsewhere:
            for operation, more in [
                ("TagResource", {"tags": []}), ("UntagResource", {"tagKeys": []}), ("ListTagsForResource", {}),
            ]:
                self.call(operation, {"resourceArn": arn, **more}, ("ResourceNotFoundException", "InvalidArnException"))

    def webhooks(self):
        definition = {
            "name": f"push-{self.suffix}", "targetPipeline": self.main, "targetAction": "Get", "authentication": "GITHUB_HMAC",
            "filters": [{"jsonPath": "$.ref", "matchEquals": "refs/heads/{Branch}"}, {"jsonPath": "$.after"}],
            "authenticationConfiguration": {"SecretToken": "a secret of ours"},
        }
        full = {"webhook": definition, "tags": [{"key": "team", "value": "web"}]}
        put = self.call("PutWebhook", full).get("webhook", {})
        shown = put.get("definition", {}).get("authenticationConfiguration", {})
        self.expect(shown == {"SecretToken": "****"}, f"the secret is not shown: {put}")
        again = self.call("PutWebhook", {**full, "webhook": put.get("definition")}).get("webhook", {})
        self.expect(again.get("url") == put.get("url"), f"the address stays: {again} after {put}")
        resource = {"resourceArn": put.get("arn")}
        self.call("TagResource", {**resource, "tags": [{"key": "stage", "value": "test"}]})
        self.call("UntagResource", {**resource, "tagKeys": ["team"]})
        tags = self.call("ListTagsForResource", resource).get("tags")
        self.expect(tags == [{"key": "stage", "value": "test"}], f"the tags of a webhook are what was set: {tags}")
        bare = {
            **definition, "name": f"any-{self.suffix}", "authentication": "UNAUTHENTICATED", "filters": [],
            "authenticationConfiguration": {},
        }
        self.call("PutWebhook", {"webhook": bare})
        first = self.call("ListWebhooks", {"MaxResults": 1})
        rest = self.call("ListWebhooks", {"NextToken": first.get("NextToken")})
        names = [row["definition"]["name"] for row in first.get("webhooks", []) + rest.get("webhooks", [])]
        self.expect(names == [bare["name"], definition["name"]], f"the webhooks are listed: {names}")
        self.call("ListWebhooks", {"NextToken": "made up"}, "InvalidNextTokenException")
        for change, code in [
            ({"targetPipeline": "unknown"}, "PipelineNotFoundException"), ({"targetAction": "No"}, "ValidationException"),
            ({"authenticationConfiguration": {}}, "InvalidWebhookAuthenticationParametersException"),
            ({"filters": [{"jsonPath": "$["}]}, "InvalidWebhookFilterPatternException"),
        ]:
            self.call("PutWebhook", {"webhook": {**definition, **change}}, code)
        for tags, code in [
            ([{"key": str(number), "value": ""} for number in range(51)], "TooManyTagsException"),
            ([{"key": "AWS:mine", "value": ""}], "InvalidTagsException"),
        ]:
            self.call("PutWebhook", {"webhook": definition, "tags": tags}, code)
        for operation in ("RegisterWebhookWithThirdParty", "DeregisterWebhookWithThirdParty"):
            self.call(operation, {})
            self.call(operation, {"webhookName": "unknown"}, "WebhookNotFoundException")
        self.call("RegisterWebhookWithThirdParty", {"webhookName": definition["name"]}, "ValidationException")
        self.call("DeregisterWebhookWithThirdParty", {"webhookName": definition["name"]})
        for name in (*names, "unknown"):
            self.expect(self.call("DeleteWebhook", {"name": name}) == {}, "a webhook is deleted, also one that is not there")
        self.expect(self.call("ListWebhooks", {}) == {"webhooks": []}, "no webhook is left")

    def action_types(self):
        every = self.call("ListActionTypes", {}).get("actionTypes", [])
        providers = {row["id"]["provider"] for row in every}
        self.expect({"Directory", "Manual"} <= providers, f"the bundle's types are listed: {providers}")
        filtered = self.call("ListActionTypes", {"actionOwnerFilter": "AWS", "regionFilter": self.region})
        owners = {row["id"]["owner"] for row in filtered.get("actionTypes", [])}
        self.expect(owners == {"AWS"}, f"the filter counts: {owners}")
        for params in [{}, {"ruleOwnerFilter": "AWS", "regionFilter": self.region}]:
            rules = {row["id"]["provider"] for row in self.call("ListRuleTypes", params).get("ruleTypes", [])}
            bundled = {"CloudWatchAlarm", "CodeBuild", "Commands", "DeploymentWindow", "HttpCheck", "VariableCheck"}
            self.expect(bundled <= rules, f"the bundle's rules are listed: {rules}")
        elsewhere = self.call("ListRuleTypes", {"regionFilter": "eu-north-1"})
        self.expect(elsewhere == {"ruleTypes": []}, f"the region counts: {elsewhere}")
        here = {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"}
        self.call("GetActionType", here)
        self.call("GetActionType", {**here, "version": "2"}, "ActionTypeNotFoundException")
        # The bundle's types are everybody's already; those of a package can be offered, and nothing else of them changes.
        typed = {"category": "Invoke", "owner": "ThirdParty", "provider": "Typed", "version": "1"}
        bundled = self.call("GetActionType", here).get("actionType", {})
        bundled["permissions"] = {"allowedAccounts": ["*"]}
        self.call("UpdateActionType", {"actionType": bundled}, "ActionTypeNotFoundException")
        for allowed in (["111111111111", "*"], [self.account]):
            declaration = self.call("GetActionType", typed).get("actionType", {})
            declaration["permissions"] = {"allowedAccounts": allowed}
            self.call("UpdateActionType", {"actionType": declaration})
            found = self.call("GetActionType", typed).get("actionType", {}).get("permissions", {}).get("allowedAccounts", [])
            self.expect(set(found) == {self.account, *allowed}, f"those may use it who were named: {found}")
        changed = {**self.call("GetActionType", typed).get("actionType", {}), "description": "Something else"}
        self.call("UpdateActionType", {"actionType": changed}, "ValidationException")

    def not_found(self):
        """Every operation that names a pipeline, with one that does not exist."""
        for name in self.offered:
            shape = model.operation(name).input_shape
            member = next((it for it in ("name", "pipelineName") if it in shape.required_members), None)
            if member is None or name in ("DeletePipeline", "DeleteWebhook"):
                continue
            self.call(name, {**model.sample(shape), member: "unknown"}, "PipelineNotFoundException")
        # It models no error for it, and answers as the operations on tags do.
        self.call("UpdatePipeline", {"pipeline": minimal("unknown")}, "ResourceNotFoundException")
        where = {"pipelineName": self.main, "transitionType": "Inbound", "stageName": "No"}
        self.call("EnableStageTransition", where, "StageNotFoundException")
        self.call("DisableStageTransition", {**where, "reason": "No"}, "StageNotFoundException")
        execution = {"pipelineName": self.main, "pipelineExecutionId": model.UUID}
        self.call("GetPipelineExecution", execution, "PipelineExecutionNotFoundException")
        latest = {"pipelineExecutionId": model.UUID, "startTimeRange": "All"}
        for chosen in ({"pipelineExecutionId": model.UUID}, {"latestInPipelineExecution": latest}):
            params = {"pipelineName": self.main, "filter": chosen}
            for operation in ("ListActionExecutions", "ListRuleExecutions"):
                self.call(operation, params, "PipelineExecutionNotFoundException")

    def delete(self):
        for name in (self.main, self.failing):
            self.call("DeletePipeline", {"name": name})
            self.call("GetPipeline", {"name": name}, "PipelineNotFoundException")
            self.call("DeletePipeline", {"name": name})
