"""What people do with pipelines once they run: push, hold back, retry, roll back, stop, approve, change, delete, look."""

import pathlib

from world import (
    ACCOUNT, APPROVE, DEPLOY, REGION, action, equal, pipeline, refused, sleeping, source, stage, unpolled, until)

NAMES = ["polled", "retried", "reverted", "stopped", "abandoned", "changed", "paged"]
NOTHING = action("Note", "Invoke/Custom/Deed/1", {"Deed": "nothing"})


def polled(world):
    """A pushed commit starts an execution; a disabled transition holds it; the next one supersedes the one that waits."""
    name, deployed = "polled", world.deployed("polled") / "current/index.html"
    first = world.push(name, "first")
    world.until_status(name, world.create(name, source(world.url(name)), DEPLOY), "Succeeded")

    def nothing_new():
        known = len(world.summaries(name))
        # The last look but one is over.
        looks = world.metric("pipewright_polls") + 3
        until(lambda: world.metric("pipewright_polls") >= looks, "the source was looked at three times")
        equal(len(world.summaries(name)), known)

    nothing_new()
    equal((world.metric("pipewright_poll_failures"), world.metric("pipewright_poll_sources")), (0, 1))

    def pushed(page):
        # Known before the push: it may be found at once.
        known, commit = len(world.summaries(name)), world.push(name, page)
        newest = until(lambda: len(world.summaries(name)) > known and world.summaries(name)[0], f"{page} is found")
        equal(newest["trigger"], {"triggerType": "PollForSourceChanges", "triggerDetail": "Git"})
        id = newest["pipelineExecutionId"]
        world.until_action(name, id, "Git", "Succeeded")
        [revision] = world.summaries(name)[0]["sourceRevisions"]
        equal((revision["actionName"], revision["revisionId"], revision["revisionSummary"]), ("Git", commit, page))
        return id

    world.until_status(name, pushed("second"), "Succeeded")
    assert "second" in deployed.read_text()

    transition = ["--pipeline-name", name, "--stage-name", "Deploy", "--transition-type", "Inbound"]
    world.aws("disable-stage-transition", *transition, "--reason", "not on Fridays")
    inbound = lambda: world.stage(name, "Deploy").get("inboundExecution", {}).get("pipelineExecutionId")
    third = pushed("third")
    until(lambda: inbound() == third, "the third one waits")
    state = world.stage(name, "Deploy")["inboundTransitionState"]
    equal((state["enabled"], state["disabledReason"]), (False, "not on Fridays"))
    fourth = pushed("fourth")
    until(lambda: inbound() == fourth, "the fourth one waits")
    world.until_status(name, third, "Superseded")
    assert fourth in world.execution(name, third)["statusSummary"], world.execution(name, third)
    equal(world.execution(name, fourth)["status"], "InProgress")
    assert "second" in deployed.read_text()
    world.aws("enable-stage-transition", *transition)
    world.until_status(name, fourth, "Succeeded")
    assert "fourth" in deployed.read_text()
    equal(inbound(), None)

    # A source that is away for a while is looked at again.
    repository = pathlib.Path(world.git(name, "remote", "get-url", "origin"))
    away = repository.rename(repository.with_suffix(".away"))
    until(lambda: world.metric("pipewright_poll_failures") >= 2, "looking has failed twice")
    away.rename(repository)
    world.until_status(name, pushed("fifth"), "Succeeded")

    revision = {"actionName": "Git", "revisionType": "COMMIT_ID", "revisionValue": first}
    world.until_status(name, world.start_execution(name, sourceRevisions=[revision]), "Succeeded")
    assert "first" in deployed.read_text()
    nothing_new()
    triggers = [it["trigger"]["triggerType"] for it in world.summaries(name)]
    equal(triggers, ["StartPipelineExecution", *["PollForSourceChanges"] * 4, "CreatePipeline"])


def retried(world):
    """A deployment fails until what is in its way was removed; what had succeeded does not run again."""
    name = "retried"
    obstacle = world.deployed(name) / "current"
    obstacle.write_text("not a link")
    deploy = stage("Deploy", NOTHING, *DEPLOY["actions"])
    id = world.create(name, unpolled(world.url("page")), deploy)
    world.until_status(name, id, "Failed")
    [failure] = world.failures(name, id)
    assert failure["code"] == "JobFailed" and "current" in failure["message"], failure
    retry = {"pipelineName": name, "stageName": "Deploy", "pipelineExecutionId": id, "retryMode": "FAILED_ACTIONS"}
    with refused("StageNotFoundException"):
        world.api.retry_stage_execution(**{**retry, "stageName": "Nowhere"})
    with refused("StageNotRetryableException"):
        world.api.retry_stage_execution(**{**retry, "stageName": "Source"})
    obstacle.unlink()
    again = world.aws(
        "retry-stage-execution", "--pipeline-name", name, "--stage-name", "Deploy", "--pipeline-execution-id", id,
        "--retry-mode", "FAILED_ACTIONS")
    equal(again, {"pipelineExecutionId": id})
    world.until_status(name, id, "Succeeded")
    assert "index.html" in [it.name for it in obstacle.iterdir()]
    equal(len(world.summaries(name)), 1)

    details = world.actions(name, id)
    ran = sorted((it["actionName"], it["status"]) for it in details)
    equal(ran, [("Git", "Succeeded"), ("Note", "Succeeded"), ("Publish", "Failed"), ("Publish", "Succeeded")])
    equal((details[0]["actionName"], details[0]["status"]), ("Publish", "Succeeded"))
    equal(world.stage(name, "Deploy")["retryStageMetadata"]["manualStageRetryAttempt"], 1)

    def listed(range):
        latest = {"latestInPipelineExecution": {"pipelineExecutionId": id, "startTimeRange": range}}
        return world.api.list_action_executions(pipelineName=name, filter=latest)["actionExecutionDetails"]
    equal(listed("All"), details)
    equal(listed("Latest"), details[:1])
    with refused("StageNotRetryableException"):
        world.api.retry_stage_execution(**retry)
    world.until_status(name, world.start_execution(name), "Succeeded")
    with refused("NotLatestPipelineExecutionException"):
        world.api.retry_stage_execution(**retry)


def reverted(world):
    """A commit that somebody tells of is deployed, and taken back: the stage runs with what an earlier execution had."""
    name, deployed = "reverted", world.deployed("reverted") / "current/index.html"
    world.push(name, "good")
    good = world.create(name, unpolled(world.url(name)), DEPLOY)
    world.until_status(name, good, "Succeeded")
    revision = f"revisionId={world.push(name, 'bad')},revisionChangeId=push,created=2026-11-27T12:00:00Z"
    put = ["--pipeline-name", name, "--stage-name", "Source", "--action-name", "Git", "--action-revision", revision]
    told = world.aws("put-action-revision", *put)
    bad = told["pipelineExecutionId"]
    equal(told["newRevision"], True)
    world.until_status(name, bad, "Succeeded")
    assert "bad" in deployed.read_text()
    equal(world.execution(name, bad)["trigger"]["triggerType"], "PutActionRevision")
    equal(world.aws("put-action-revision", *put), {"newRevision": False, "pipelineExecutionId": bad})

    rollback = ["--pipeline-name", name, "--stage-name", "Deploy", "--target-pipeline-execution-id"]
    back = world.aws("rollback-stage", *rollback, good)["pipelineExecutionId"]
    world.until_status(name, back, "Succeeded")
    assert "good" in deployed.read_text()
    shown = world.execution(name, back)
    equal((shown["executionType"], shown["rollbackMetadata"]), ("ROLLBACK", {"rollbackTargetPipelineExecutionId": good}))
    equal([it["actionName"] for it in world.actions(name, back)], ["Publish"])
    with refused("UnableToRollbackStageException"):
        world.api.rollback_stage(pipelineName=name, stageName="Deploy", targetPipelineExecutionId=back)


def stopped(world):
    """Stopping at an approval, in both ways; what an approval refuses."""
    name = "stopped"
    id = world.create(name, unpolled(world.url("page")), APPROVE, stage("After", NOTHING))
    token = world.token(name, id)
    stop = {"pipelineName": name, "pipelineExecutionId": id}
    said = world.aws("stop-pipeline-execution", "--pipeline-name", name, "--pipeline-execution-id", id, "--reason", "enough")
    equal(said, {"pipelineExecutionId": id})
    equal(world.execution(name, id)["status"], "Stopping")
    with refused("DuplicatedStopRequestException"):
        world.api.stop_pipeline_execution(**stop)
    # What runs may end: the approval can still be given, and nothing follows from it.
    world.answer(name, token)
    world.until_status(name, id, "Stopped")
    equal([it["actionName"] for it in world.actions(name, id)], ["Ask", "Git"])
    equal(world.summaries(name)[0]["stopTrigger"], {"reason": "enough"})
    with refused("PipelineExecutionNotStoppableException"):
        world.api.stop_pipeline_execution(**stop)
    unknown = world.aws_process("stop-pipeline-execution", "--pipeline-name", "nobody", "--pipeline-execution-id", id)
    assert unknown.returncode != 0 and "PipelineNotFoundException" in unknown.stderr, unknown

    id = world.start_execution(name)
    token = world.token(name, id)
    world.api.stop_pipeline_execution(pipelineName=name, pipelineExecutionId=id, abandon=True)
    world.until_status(name, id, "Stopped")
    equal([(it["actionName"], it["status"]) for it in world.actions(name, id)], [("Ask", "Abandoned"), ("Git", "Succeeded")])
    with refused("InvalidApprovalTokenException"):
        world.answer(name, token)

    id = world.start_execution(name)
    old, token = token, world.token(name, id)
    assert old != token
    for wrong in [old, "00000000-0000-0000-0000-000000000000"]:
        with refused("InvalidApprovalTokenException"):
            world.answer(name, wrong)
    with refused("ActionNotFoundException"):
        world.api.put_approval_result(
            pipelineName=name, stageName="Approve", actionName="Nobody", token=token,
            result={"status": "Approved", "summary": ""})
    world.answer(name, token, "Rejected", summary="not like this")
    world.until_status(name, id, "Failed")
    [ask] = world.stage(name, "Approve")["actionStates"]
    equal((ask["latestExecution"]["status"], ask["latestExecution"]["summary"]), ("Failed", "not like this"))
    assert "token" not in ask["latestExecution"], ask
    with refused("ApprovalAlreadyCompletedException", "already been approved or rejected"):
        world.answer(name, token)


def abandoned(world):
    """Abandoning an execution whose action would run for long, after asking it to stop; approving it twice before."""
    name, run = "abandoned", stage("Run", sleeping(600_000))
    id = world.create(name, unpolled(world.url("page")), APPROVE, run, stage("After", NOTHING))
    token = world.token(name, id)
    world.answer(name, token)
    with refused("ApprovalAlreadyCompletedException"):
        world.answer(name, token, "Rejected")
    world.until_action(name, id, "Slow", "InProgress")
    stop = {"pipelineName": name, "pipelineExecutionId": id}
    world.api.stop_pipeline_execution(**stop, abandon=False)
    equal(world.execution(name, id)["status"], "Stopping")
    world.api.stop_pipeline_execution(**stop, abandon=True)
    world.until_status(name, id, "Stopped")
    states = [(it["actionName"], it["status"]) for it in world.actions(name, id)]
    equal(states, [("Slow", "Abandoned"), ("Ask", "Succeeded"), ("Git", "Succeeded")])
    again = world.api.retry_stage_execution(pipelineName=name, stageName="Run", pipelineExecutionId=id, retryMode="ALL_ACTIONS")
    equal(again["pipelineExecutionId"], id)
    world.until_action(name, id, "Slow", "InProgress")
    world.api.stop_pipeline_execution(**stop, abandon=True)
    world.until_status(name, id, "Stopped")


def changed(world):
    """Update, versions, tags, tokens of requests, delete; a pipeline of the same name has nothing of the one before."""
    name = "changed"
    arn = f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:{name}"
    declared = pipeline(name, unpolled(world.url("page")), APPROVE)
    world.api.create_pipeline(pipeline=declared, tags=[{"key": "team", "value": "web"}])
    old = world.summaries(name)[0]["pipelineExecutionId"]
    outdated = world.token(name, old)
    with refused("PipelineNameInUseException"):
        world.api.create_pipeline(pipeline=declared)

    world.aws("tag-resource", "--resource-arn", arn, "--tags", "key=stage,value=beta")
    world.aws("untag-resource", "--resource-arn", arn, "--tag-keys", "team")
    equal(world.aws("list-tags-for-resource", "--resource-arn", arn)["tags"], [{"key": "stage", "value": "beta"}])

    first = world.aws("get-pipeline", "--name", name)
    equal(first["metadata"]["pipelineArn"], arn)
    updated = world.api.get_pipeline(name=name)["pipeline"]
    updated["stages"].append(stage("After", NOTHING))
    equal(world.api.update_pipeline(pipeline=updated)["pipeline"]["version"], 2)
    world.until_status(name, old, "Cancelled")
    with refused("InvalidApprovalTokenException", "has been updated"):
        world.answer(name, outdated)
    equal(world.aws("get-pipeline", "--name", name, "--pipeline-version", 1)["pipeline"], first["pipeline"])
    second = world.aws("get-pipeline", "--name", name)["pipeline"]
    equal((second["version"], len(second["stages"])), (2, 3))
    with refused("PipelineVersionNotFoundException"):
        world.api.get_pipeline(name=name, version=3)

    id = world.start_execution(name, clientRequestToken="once")
    equal(world.start_execution(name, clientRequestToken="once"), id)
    token = world.token(name, id)
    # Also when it is not the latest any more.
    world.api.stop_pipeline_execution(pipelineName=name, pipelineExecutionId=id, abandon=True)
    other = world.start_execution(name, clientRequestToken="twice")
    equal(world.start_execution(name, clientRequestToken="once"), id)
    equal([it["pipelineExecutionId"] for it in world.summaries(name)], [other, id, old])

    for _ in range(2):
        equal(world.aws("delete-pipeline", "--name", name), {})
    for gone in [lambda: world.api.get_pipeline(name=name), lambda: world.summaries(name), lambda: world.start_execution(name)]:
        with refused("PipelineNotFoundException"):
            gone()
    with refused("ResourceNotFoundException"):
        world.api.list_tags_for_resource(resourceArn=arn)
    id = world.create(name, *declared["stages"])
    world.token(name, id)
    equal([it["pipelineExecutionId"] for it in world.summaries(name)], [id])
    listed = world.api.list_action_executions(pipelineName=name)["actionExecutionDetails"]
    equal([(it["pipelineExecutionId"], it["actionName"]) for it in listed], [(id, "Ask"), (id, "Git")])
    equal(world.api.list_tags_for_resource(resourceArn=arn)["tags"], [])
    equal(world.api.get_pipeline(name=name)["pipeline"]["version"], 1)
    with refused("PipelineVersionNotFoundException"):
        world.api.get_pipeline(name=name, version=2)
    with refused("PipelineExecutionNotFoundException"):
        world.execution(name, old)
    with refused("InvalidApprovalTokenException"):
        world.answer(name, token)
    # The token of a request belonged to the pipeline that is gone.
    assert world.start_execution(name, clientRequestToken="once") not in (id, old)
    world.aws("delete-pipeline", "--name", name)


def paged(world):
    """boto3's paginators give everything exactly once, newest first."""
    name = "paged"
    ids = [world.create(name, unpolled(world.url("page")), stage("Run", NOTHING))]
    world.until_status(name, ids[0], "Succeeded")
    for _ in range(4):
        ids.append(world.start_execution(name))
        world.until_status(name, ids[-1], "Succeeded")
    names = [f"paged-{number}" for number in range(5)]
    for other in names:
        world.create(other, unpolled(world.url("page")), stage("Run", NOTHING))
    arn = f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:{name}"
    tags = [{"key": f"key-{number}", "value": str(number)} for number in range(7)]
    world.api.tag_resource(resourceArn=arn, tags=tags)

    def pages(operation, member, size, **input):
        pages = world.api.get_paginator(operation).paginate(**input, PaginationConfig={"PageSize": size})
        return [page[member] for page in pages]

    def all(operation, member, key, size, **input):
        got = pages(operation, member, size, **input)
        assert len(got) > 1 and max(map(len, got)) <= size, got
        found = [key(it) for page in got for it in page]
        equal(len(set(found)), len(found))
        return found

    for size in [1, 2, 3]:
        of = {"pipelineName": name}
        executions = ("list_pipeline_executions", "pipelineExecutionSummaries", lambda it: it["pipelineExecutionId"])
        equal(all(*executions, size, **of), ids[::-1])
        filter = {"succeededInStage": {"stageName": "Run"}}
        equal(all(*executions, size, **of, filter=filter), ids[::-1])
        actions = ("list_action_executions", "actionExecutionDetails")
        ran = lambda it: (it["pipelineExecutionId"], it["actionName"], it["actionExecutionId"])
        equal([it[:2] for it in all(*actions, ran, size, **of)], [(id, name) for id in ids[::-1] for name in ("Note", "Git")])
        if size == 1:
            filter = {"pipelineExecutionId": ids[2]}
            equal([it[:2] for it in all(*actions, ran, size, **of, filter=filter)], [(ids[2], "Note"), (ids[2], "Git")])
        # Others come and go meanwhile.
        found = all("list_pipelines", "pipelines", lambda it: it["name"], size)
        equal([it for it in found if it.startswith("paged")], [name, *names])
        found = all("list_tags_for_resource", "tags", lambda it: it["key"], size, resourceArn=arn)
        equal(found, [tag["key"] for tag in tags])
    [types] = pages("list_action_types", "actionTypes", None)
    providers = {it["id"]["provider"] for it in types}
    assert {"Git", "Directory", "LinkCheck", "Manual", "Deed"} <= providers, providers
    with refused("InvalidNextTokenException"):
        world.api.list_pipelines(nextToken="made-up")
    # A token of one list is none of another.
    token = world.api.list_pipelines(maxResults=1)["nextToken"]
    with refused("InvalidNextTokenException"):
        world.api.list_pipeline_executions(pipelineName=name, nextToken=token)


ALL = [polled, retried, reverted, stopped, abandoned, changed, paged]
