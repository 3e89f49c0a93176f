"""A function of AWS Lambda as those of pipelines are written, with boto3 as it is: functions.py, which prints its address and is then told of
the server: ENDPOINT CREDENTIALS."""

import http.server
import json
import sys
import threading

from world import ROLE, World, packed


class Invoke(http.server.BaseHTTPRequestHandler):
    """What takes AWS Lambda's Invoke."""
    events = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        signed = self.headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 Credential=AKIAFUNCTIONS/")
        assert self.headers["x-amz-invocation-type"] == "Event" and signed, dict(self.headers)
        self.send_response(202)
        self.send_header("content-length", "0")
        self.end_headers()
        self.events.append(json.loads(body))

    def log_message(self, *_):
        pass


def handler(world, event):
    """Takes its input and makes its output, by the credentials of the job; judges a rule; reports with a client of its own."""
    job = event["CodePipeline.job"]
    asked = json.loads(job["data"]["actionConfiguration"]["configuration"]["UserParameters"])
    if "refuses" in asked:
        details = {"type": "JobFailed", "message": asked["refuses"]}
        world.codepipeline.put_job_failure_result(jobId=job["id"], failureDetails=details)
        return
    if job["data"]["outputArtifacts"]:
        made = world.get(job["data"], "Code")
        world.put(job["data"], "App", packed({"copy.md": made["page.md"].decode()}))
    world.codepipeline.put_job_success_result(jobId=job["id"], outputVariables=asked["makes"])


def create(world, name, refuses=None):
    parameters = lambda asked: {"FunctionName": "tell", "UserParameters": json.dumps(asked)}
    source = {"name": "Get", "outputArtifacts": [{"name": "Code"}],
              "actionTypeId": {"category": "Source", "owner": "Custom", "provider": "Directory", "version": "1"}}
    tell = {"name": "Tell", "namespace": "Told", "inputArtifacts": [{"name": "Code"}], "outputArtifacts": [{"name": "App"}],
            "configuration": parameters({"makes": {"Version": "1.2"}}),
            "actionTypeId": {"category": "Invoke", "owner": "AWS", "provider": "Lambda", "version": "1"}}
    rule = {"name": "Judge", "configuration": parameters({"refuses": refuses} if refuses else {"makes": {}}),
            "ruleTypeId": {"category": "Rule", "owner": "AWS", "provider": "LambdaInvoke", "version": "1"}}
    world.codepipeline.create_pipeline(pipeline={
        "name": name, "roleArn": ROLE, "pipelineType": "V2", "artifactStore": {"type": "S3", "location": "the-artifacts"},
        "stages": [{"name": "Source", "actions": [source]},
                   {"name": "Tell", "actions": [tell],
                    "beforeEntry": {"conditions": [{"result": "FAIL", "rules": [rule]}]}}]})


def work(world):
    """Does what it is told of, until the program ends."""
    while True:
        while not Invoke.events:
            threading.Event().wait(0.05)
        handler(world, Invoke.events.pop(0))


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Invoke)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_port}/2015-03-31/functions/tell/invocations", flush=True)
    world = World(*sys.stdin.readline().split())
    threading.Thread(target=work, args=[world], daemon=True).start()
    create(world, "one")
    world.until_status("one", "Succeeded")
    state = world.codepipeline.get_pipeline_state(name="one")["stageStates"][1]
    assert state["actionStates"][0]["latestExecution"]["externalExecutionId"] == "tell", state
    listed = world.codepipeline.list_action_executions(pipelineName="one")["actionExecutionDetails"]
    [told] = [detail for detail in listed if detail["actionName"] == "Tell"]
    assert told["output"]["outputVariables"] == {"Version": "1.2"}, told
    assert [made["name"] for made in told["output"]["outputArtifacts"]] == ["App"], told
    create(world, "two", refuses="not today")
    world.until_status("two", "Failed")
    condition = world.codepipeline.get_pipeline_state(name="two")["stageStates"][1]["beforeEntryConditionState"]
    rule = condition["conditionStates"][0]["ruleStates"][0]["latestExecution"]
    assert (rule["status"], rule["summary"]) == ("Failed", "not today"), rule


main()
