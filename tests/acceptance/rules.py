"""Stages whose conditions fail, skip, roll back, retry and are overridden, by rules that ask a server of the test; and a host that
dies in the middle of a rule."""

import collections
import http.server
import threading

from world import condition, equal, refused, rule, sleeping, stage, unpolled, until

NAMES = ["fails", "skips", "rolls", "retries", "dies"]


class Health(http.server.BaseHTTPRequestHandler):
    """Answers each path as it is told to; `slow` keeps its first visitor waiting."""

    status = collections.defaultdict(lambda: 200)
    visits = collections.Counter()
    gone = threading.Event()

    def do_GET(self):
        self.visits[self.path] += 1
        if self.path == "/slow" and self.visits[self.path] == 1:
            self.gone.wait(60)
        self.send_response(self.status[self.path])
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


SERVER = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health)
threading.Thread(target=SERVER.serve_forever, daemon=True).start()
ORIGIN = f"http://127.0.0.1:{SERVER.server_port}"
GRANTS = "".join(
    f'[action."Deploy/{gate}/Health"]\nhttp = [{{ origin = "{ORIGIN}", private = true }}]\n'
    for gate in ("beforeEntry", "onSuccess", "onFailure"))


def health(path, **more):
    return rule("Health", "HttpCheck", {"Url": ORIGIN + path, **more})


def released(world, name, action=None, **conditions):
    """A pipeline of type V2 whose stage `Deploy` has these conditions; the id of its first execution."""
    deploy = {**stage("Deploy", action or sleeping(0)), **conditions}
    variables = [{"name": "Branch", "defaultValue": "main"}]
    return world.create(name, unpolled(world.url("page")), deploy, pipelineType="V2", variables=variables)


def judged(world, name, gate):
    """How a condition stands, and its rules."""
    state = world.stage(name, "Deploy")[f"{gate}ConditionState"]["conditionStates"][0]
    rules = {it["ruleName"]: it["latestExecution"] for it in state["ruleStates"]}
    return state["latestExecution"]["status"], rules


def rules_of(world, name, id):
    pages = world.api.get_paginator("list_rule_executions").paginate(
        pipelineName=name, filter={"pipelineExecutionId": id}, PaginationConfig={"PageSize": 1})
    return [detail for page in pages for detail in page["ruleExecutionDetails"]]


def fails(world):
    Health.status["/fails"] = 503
    window = rule("Window", "DeploymentWindow", {"Cron": "* * * * * ?", "TimeZone": "Europe/Berlin"})
    id = released(world, "fails", beforeEntry=condition("FAIL", health("/fails"), window))
    world.until_status("fails", id, "Failed")
    status, rules = judged(world, "fails", "beforeEntry")
    equal((status, rules["Health"]["status"], rules["Window"]["status"]), ("Failed", "Failed", "Succeeded"))
    equal(rules["Health"]["summary"], f"{ORIGIN}/fails answered 503, and not 200")
    listed = rules_of(world, "fails", id)
    equal(sorted((it["ruleName"], it["status"]) for it in listed), [("Health", "Failed"), ("Window", "Succeeded")])
    of_health = next(it for it in listed if it["ruleName"] == "Health")
    equal(of_health["output"]["executionResult"]["externalExecutionSummary"], rules["Health"]["summary"])
    log = world.get(f"/v1/pipelines/fails/executions/{id}/actions/{of_health['ruleExecutionId']}/log").decode()
    assert "answered 503" in log, log
    equal([it["actionName"] for it in world.actions("fails", id)], ["Git"])
    where = dict(pipelineName="fails", stageName="Deploy", pipelineExecutionId=id, conditionType="BEFORE_ENTRY")
    world.api.override_stage_condition(**where)
    world.until_status("fails", id, "Succeeded")
    equal(judged(world, "fails", "beforeEntry")[0], "Overridden")
    with refused("ConditionNotOverridableException"):
        world.api.override_stage_condition(**where)


def skips(world):
    compared = {"Variable": "#{variables.Branch}", "Operator": "MATCHES", "Value": "release/.*"}
    id = released(world, "skips", beforeEntry=condition("SKIP", rule("Branch", "VariableCheck", compared)))
    world.until_status("skips", id, "Succeeded")
    equal(world.stage("skips", "Deploy")["latestExecution"]["status"], "Skipped")
    [branch] = rules_of(world, "skips", id)
    equal(branch["input"]["resolvedConfiguration"]["Variable"], "main")
    equal(branch["output"]["executionResult"]["externalExecutionSummary"], "`main` does not match `release/.*`")
    released_id = world.start_execution("skips", variables=[{"name": "Branch", "value": "release/7"}])
    world.until_status("skips", released_id, "Succeeded")
    equal(world.stage("skips", "Deploy")["latestExecution"]["status"], "Succeeded")


def rolls(world):
    good = released(world, "rolls", onSuccess=condition("ROLLBACK", health("/rolls")))
    world.until_status("rolls", good, "Succeeded")
    Health.status["/rolls"] = 500
    bad = world.start_execution("rolls")
    world.until_status("rolls", bad, "Failed")
    rollback = until(lambda: next((it for it in world.summaries("rolls") if it.get("executionType") == "ROLLBACK"), None), "it rolls back")
    equal(rollback["rollbackMetadata"]["rollbackTargetPipelineExecutionId"], good)
    equal(rollback["trigger"]["triggerType"], "AutomatedRollback")
    world.until_status("rolls", rollback["pipelineExecutionId"], "Succeeded")


def retries(world):
    Health.status["/retries"] = 500
    broken = sleeping(0)
    broken["configuration"]["Deed"] = "no such deed"
    id = released(world, "retries", broken, onFailure=condition("RETRY", health("/retries")))
    world.until_status("retries", id, "Failed")
    equal(world.stage("retries", "Deploy")["retryStageMetadata"]["autoStageRetryAttempt"], 1)
    equal(Health.visits["/retries"], 2)
    equal(len(rules_of(world, "retries", id)), 2)


def dies(world):
    """One rule is in the middle of a call, one waits for its time."""
    Health.status["/waits"] = 503
    waits = health("/waits", WaitTime="10", Interval="1")
    id = released(world, "dies", beforeEntry=condition("FAIL", health("/slow")), onSuccess=condition("FAIL", waits))
    until(lambda: Health.visits["/slow"] == 1, "the rule asks")
    [running] = rules_of(world, "dies", id)
    equal(running["status"], "InProgress")
    world.server.kill()
    Health.gone.set()
    world.start()
    until(lambda: Health.visits["/waits"] >= 2, "the other rule asks again and again")
    equal(Health.visits["/slow"], 2)
    [waiting, ended] = rules_of(world, "dies", id)
    equal((ended["ruleExecutionId"], ended["status"]), (running["ruleExecutionId"], "Succeeded"))
    equal(waiting["status"], "InProgress")
    world.server.kill()
    Health.status["/waits"] = 200
    world.start()
    world.until_status("dies", id, "Succeeded")
    [again, _] = rules_of(world, "dies", id)
    equal((again["ruleExecutionId"], again["status"]), (waiting["ruleExecutionId"], "Succeeded"))


def all_of_them(world):
    world.push("page", "A page")
    for scenario in (fails, skips, rolls, retries, dies):
        scenario(world)


ALL = [all_of_them]
