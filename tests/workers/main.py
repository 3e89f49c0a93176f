"""Job workers against a running server: main.py ENDPOINT CREDENTIALS STORY [FILE]."""

import base64
import concurrent.futures
import http.client
import json
import os
import sys
import tempfile
import urllib.parse
import zlib

from boto3.s3.transfer import TransferConfig
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from world import World, files, location, packed, refused


def completes(world):
    """A worker's loop, as the documentation of CodePipeline has it, through a build with a continuation token and a deployment."""
    world.create_types()
    world.create_pipeline("loop", "loop")
    world.until(lambda: world.state("loop", "Build").get("summary") == "waits for a worker of Build/Custom/Maker/1")
    job = world.job("Maker", "loop")
    data = job["data"]
    context = data["pipelineContext"]
    assert (context["pipelineName"], context["stage"]["name"], context["action"]["name"]) == ("loop", "Build", "Make"), context
    assert data["actionConfiguration"]["configuration"] == {"ProjectName": "loop", "Token": "very secret"}, data
    shown = world.codepipeline.get_pipeline(name="loop")["pipeline"]["stages"][1]["actions"][0]["configuration"]
    assert shown["Token"] == "****", shown
    assert world.get(data, "Code") == {"page.md": b"# Home\n"}
    world.succeed(job, continuationToken="build-7", executionDetails={"summary": "half", "externalExecutionId": "7"})
    assert (world.state("loop", "Build")["summary"], world.state("loop", "Build")["externalExecutionId"]) == ("half", "7")
    going_on = world.job("Maker", "loop")
    assert going_on["id"] != job["id"] and going_on["data"]["continuationToken"] == "build-7", going_on
    # The first job's credentials are over with it.
    refused("ExpiredToken", world.get, data, "Code")
    refused("InvalidJobStateException", world.succeed, job)
    answer = world.put(going_on["data"], "App", packed({"bin/app": "made", "empty/": ""}))
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    done = {"outputVariables": {"Version": "1.2"}, "executionDetails": {"summary": "made it", "externalExecutionId": "7"}}
    world.succeed(going_on, **done)
    world.succeed(going_on, **done)
    refused("InvalidJobStateException", world.succeed, going_on)
    job = world.job("Shipper")
    assert job["data"]["actionConfiguration"]["configuration"] == {"Version": "1.2"}, job
    at = location(job["data"]["inputArtifacts"], "App")
    with tempfile.NamedTemporaryFile() as file:
        # Which asks for the size first.
        world.s3(job["data"]).download_file(at["bucketName"], at["objectKey"], file.name)
        assert files(open(file.name, "rb").read())["bin/app"] == b"made"
    part = world.s3(job["data"]).get_object(Bucket=at["bucketName"], Key=at["objectKey"], Range="bytes=0-1")
    assert (part["Body"].read(), part["ResponseMetadata"]["HTTPStatusCode"]) == (b"PK", 206)
    world.succeed(job)
    world.until_status("loop", "Succeeded")
    build = world.state("loop", "Build")
    assert build["externalExecutionUrl"] == "https://ci.example/job/loop/7", build


def jenkins(world):
    """The calls of the Jenkins plugin: one job of one project, the details again, parts of 5 MiB with SSE-KMS."""
    world.create_types()
    world.create_pipeline("jenkins", "site-build")
    world.create_pipeline("other", "another")
    refused("ValidationException", world.poll, "Maker")
    job = world.job("Maker", "site-build")
    details = world.codepipeline.get_job_details(jobId=job["id"])["jobDetails"]
    data = details["data"]
    assert details["id"] == job["id"] and len(data["outputArtifacts"]) == 1, details
    assert world.get(data, "Code") == {"page.md": b"# Home\n"}
    at = location(data["outputArtifacts"], "App")
    content = packed({"large": os.urandom(12 * 1024 * 1024)})
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        world.s3(data).upload_file(
            file.name, at["bucketName"], at["objectKey"], ExtraArgs={"ServerSideEncryption": "aws:kms"},
            Config=TransferConfig(multipart_threshold=5 * 1024 * 1024, multipart_chunksize=5 * 1024 * 1024))
    head = world.s3(data).head_object(Bucket=at["bucketName"], Key=at["objectKey"])
    assert head["ContentLength"] == len(content) and head["ETag"].endswith('-3"'), head
    world.succeed(job, outputVariables={"Version": "1"}, executionDetails={"summary": "Finished", "externalExecutionId": "12"})
    [waiting] = world.until(lambda: world.poll("Shipper"))
    assert waiting["data"]["pipelineContext"]["pipelineName"] == "jenkins"
    assert world.poll("Maker", "site-build") == []
    [other] = world.poll("Maker", "another")
    refused("InvalidNonceException", world.codepipeline.acknowledge_job, jobId=other["id"], nonce=waiting["nonce"])
    refused("AccessDenied", world.put, other["data"], "App", b"x")
    world.codepipeline.acknowledge_job(jobId=other["id"], nonce=other["nonce"])
    failure = {"type": "JobFailed", "message": "Tests failed", "externalExecutionId": "13"}
    world.codepipeline.put_job_failure_result(jobId=other["id"], failureDetails=failure)
    world.until_status("other", "Failed")
    assert world.state("other", "Build")["errorDetails"]["message"] == "Tests failed"


def races(world):
    """Of workers that poll at once each job is one's, and a job that its worker does not acknowledge is offered again."""
    world.create_types()
    world.create_pipeline("race", "race", mode="PARALLEL")
    for _ in range(7):
        world.codepipeline.start_pipeline_execution(name="race", clientRequestToken=os.urandom(8).hex())
    waiting = "waits for a worker of Build/Custom/Maker/1"
    executions = lambda: world.codepipeline.list_action_executions(pipelineName="race")["actionExecutionDetails"]
    world.until(lambda: sum(detail["stageName"] == "Build" for detail in executions()) == 8)
    world.until(lambda: world.state("race", "Build").get("summary") == waiting)
    with concurrent.futures.ThreadPoolExecutor(8) as workers:
        found = [job["id"] for jobs in workers.map(lambda _: world.poll("Maker", "race", 2), range(12)) for job in jobs]
    assert len(found) == len(set(found)) == 8, found
    # The workers are dead: nobody acknowledges.
    again = world.until(lambda: world.poll("Maker", "race"))[0]
    assert again["id"] in found
    world.codepipeline.acknowledge_job(jobId=again["id"], nonce=again["nonce"])
    world.codepipeline.put_job_failure_result(jobId=again["id"], failureDetails={"type": "JobFailed", "message": "no"})


def is_attacked(world):
    """What a hostile worker sends and asks for."""
    world.create_types()
    for name in ("one", "two"):
        world.create_pipeline(name, name)
    one, two = world.job("Maker", "one"), world.job("Maker", "two")
    theirs = location(two["data"]["outputArtifacts"], "App")
    s3 = world.s3(one["data"])
    refused("AccessDenied", s3.put_object, Bucket=theirs["bucketName"], Key=theirs["objectKey"], Body=b"x")
    refused("AccessDenied", s3.get_object, Bucket="another", Key=theirs["objectKey"])
    mine = location(one["data"]["inputArtifacts"], "Code")
    refused("AccessDenied", s3.put_object, Bucket=mine["bucketName"], Key=mine["objectKey"], Body=b"x")
    out = location(one["data"]["outputArtifacts"], "App")
    refused("NoSuchKey", s3.get_object, Bucket=out["bucketName"], Key=out["objectKey"])
    refused("AccessDenied", s3.list_objects_v2, Bucket=out["bucketName"])
    refused("BadDigest", world.put, one["data"], "App", b"x", ContentMD5=base64.b64encode(bytes(16)).decode())
    forged = {**one["data"], "artifactCredentials": {**one["data"]["artifactCredentials"], "secretAccessKey": "guessed"}}
    refused("SignatureDoesNotMatch", world.get, forged, "Code")
    for job, hostile in [(one, packed({"fine": "a", "../../evil": "b"})), (two, b"no zip file")]:
        world.put(job["data"], "App", hostile)
        world.succeed(job, outputVariables={"Version": "1"})
    told = world.until(lambda: world.state("one", "Build").get("errorDetails"))["message"]
    assert "output artifact App" in told and "../../evil" in told, told
    told = world.until(lambda: world.state("two", "Build").get("errorDetails"))["message"]
    assert "output artifact App" in told and "not a usable zip file" in told, told


def raw(world, data, headers, body, host=None):
    """A PUT of the output, in the style of a virtual host, signed as the headers say."""
    given = data["artifactCredentials"]
    at = location(data["outputArtifacts"], "App")
    url = urllib.parse.urlsplit(world.endpoint)
    host = host or f"{at['bucketName']}.s3.{world.region}.amazonaws.com"
    request = AWSRequest("PUT", f"http://{host}/{at['objectKey']}", headers=headers)
    credentials = Credentials(given["accessKeyId"], given["secretAccessKey"], given["sessionToken"])

    class Signer(S3SigV4Auth):
        def payload(self, _):
            return headers["x-amz-content-sha256"]

    Signer(credentials, "s3", world.region).add_auth(request)
    connection = http.client.HTTPConnection(url.hostname, url.port)
    connection.request("PUT", f"/{at['objectKey']}", body=body, headers={**dict(request.headers.items()), "Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def speaks_chunks(world):
    """A body in chunks with a trailing checksum, at a virtual host."""
    world.create_types()
    world.create_pipeline("chunks", "chunks")
    job = world.job("Maker", "chunks")
    content = packed({"app": "made"})
    def body(checksum):
        half = len(content) // 2
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (content[:half], content[half:]))
        return chunks + b"0\r\nx-amz-checksum-crc32:" + base64.b64encode(checksum.to_bytes(4, "big")) + b"\r\n\r\n"
    headers = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": str(len(content)), "x-amz-trailer": "x-amz-checksum-crc32"}
    status, text = raw(world, job["data"], headers, body(7))
    assert status == 400 and "BadDigest" in text, (status, text)
    status, text = raw(world, job["data"], headers, body(zlib.crc32(content)))
    assert status == 200, (status, text)
    status, text = raw(world, job["data"], headers, body(zlib.crc32(content)), host="others.example")
    assert status == 403, (status, text)
    world.succeed(job, outputVariables={"Version": "1"})
    assert world.get(world.job("Shipper")["data"], "App") == {"app": b"made"}


def of_partners(world):
    """Third-party jobs: whoever works on one shows the client's token."""
    type_id = {"category": "Test", "owner": "ThirdParty", "provider": "BlazeMeter", "version": "1"}
    count = {"minimumCount": 0, "maximumCount": 1}
    refused("ActionTypeNotFoundException", world.codepipeline.poll_for_third_party_jobs, actionTypeId=type_id)
    world.codepipeline.update_action_type(actionType={
        "executor": {"type": "JobWorker", "configuration": {"jobWorkerExecutorConfiguration": {}}, "jobTimeout": 60},
        "id": type_id, "inputArtifactDetails": count, "outputArtifactDetails": count})
    source = {"name": "Get", "outputArtifacts": [{"name": "Code"}],
              "actionTypeId": {"category": "Source", "owner": "Custom", "provider": "Directory", "version": "1"}}
    test = {"name": "Load", "actionTypeId": type_id, "inputArtifacts": [{"name": "Code"}]}
    world.codepipeline.create_pipeline(pipeline={
        "name": "partner", "roleArn": "arn:aws:iam::000000000000:role/pipeline",
        "artifactStore": {"type": "S3", "location": "the-artifacts"},
        "stages": [{"name": "Source", "actions": [source]}, {"name": "Test", "actions": [test]}]})
    request = AWSRequest("GET", f"{world.endpoint}/v1/workers")
    keys = Credentials(world.keys["aws_access_key_id"], world.keys["aws_secret_access_key"])
    SigV4Auth(keys, "codepipeline", world.region).add_auth(request)
    url = urllib.parse.urlsplit(world.endpoint)
    def workers():
        connection = http.client.HTTPConnection(url.hostname, url.port)
        connection.request("GET", "/v1/workers", headers=dict(request.headers.items()))
        return json.load(connection.getresponse())
    [listed] = world.until(lambda: [row for row in workers()["actionTypes"] if row["waiting"]])
    waiting = listed["waiting"][0]
    assert (listed["actionType"], waiting["pipeline"], waiting["action"]) == ("Test/ThirdParty/BlazeMeter/1", "partner", "Load")
    client = workers()
    [job] = world.codepipeline.poll_for_third_party_jobs(actionTypeId=type_id)["jobs"]
    assert job["clientId"] == client["clientId"] and job["jobId"] == waiting["jobId"], job
    with_token = {"jobId": job["jobId"], "clientToken": client["clientToken"]}
    wrong = {**with_token, "clientToken": "guessed"}
    refused("InvalidClientTokenException", world.codepipeline.get_third_party_job_details, **wrong)
    details = world.codepipeline.get_third_party_job_details(**with_token)["jobDetails"]
    assert not {"pipelineArn", "pipelineExecutionId"} & details["data"]["pipelineContext"].keys(), details
    assert world.get(details["data"], "Code") == {"page.md": b"# Home\n"}
    # Nor is there a way around the token.
    refused("JobNotFoundException", world.codepipeline.get_job_details, jobId=job["jobId"])
    refused("JobNotFoundException", world.codepipeline.acknowledge_job, jobId=job["jobId"], nonce=details["nonce"])
    world.codepipeline.acknowledge_third_party_job(**with_token, nonce=details["nonce"])
    refused("JobNotFoundException", world.codepipeline.put_job_success_result, jobId=job["jobId"])
    refused("InvalidClientTokenException", world.codepipeline.put_third_party_job_success_result, **wrong)
    world.codepipeline.put_third_party_job_success_result(**with_token)
    world.until_status("partner", "Succeeded")


def begins(world):
    """A worker has a job and has uploaded its artifact when the server is killed."""
    world.create_types()
    world.create_pipeline("restart", "restart")
    job = world.job("Maker", "restart")
    world.put(job["data"], "App", packed({"app": "made before"}))
    with open(sys.argv[4], "w") as file:
        json.dump({"id": job["id"]}, file)


def ends(world):
    """And reports when it is there again."""
    with open(sys.argv[4]) as file:
        job = json.load(file)
    world.succeed(job, outputVariables={"Version": "1"})
    assert world.get(world.job("Shipper")["data"], "App") == {"app": b"made before"}
    refused("ValidationException", world.codepipeline.delete_custom_action_type, category="Build", provider="Maker", version="1")
    world.codepipeline.delete_pipeline(name="restart")
    world.codepipeline.delete_custom_action_type(category="Build", provider="Maker", version="1")
    refused("ActionTypeNotFoundException", world.poll, "Maker", "restart")
    told = refused("ValidationException", world.create_types)
    assert "a version that was never used before" in told, told


def documented(world):
    """The worker of the documentation is there, and serves its type: a build that takes longer than one job, and one that fails."""
    def write(script):
        with open(os.path.join(sys.argv[4], "build.sh"), "w") as file:
            file.write(script)
    write("sleep 2\nmkdir out\ncp page.md out/page.txt\n")
    type_id = {"category": "Build", "owner": "Custom", "provider": "Script", "version": "1"}
    world.codepipeline.create_pipeline(pipeline={
        "name": "script", "roleArn": "arn:aws:iam::000000000000:role/pipeline",
        "artifactStore": {"type": "S3", "location": "the-artifacts"},
        "stages": [
            {"name": "Source", "actions": [{
                "name": "Get", "outputArtifacts": [{"name": "Code"}],
                "actionTypeId": {"category": "Source", "owner": "Custom", "provider": "Directory", "version": "1"}}]},
            {"name": "Build", "actions": [{
                "name": "Make", "actionTypeId": type_id,
                "inputArtifacts": [{"name": "Code"}], "outputArtifacts": [{"name": "App"}]}]}]})
    world.until(lambda: world.state("script", "Build").get("summary") == "it builds")
    world.until_status("script", "Succeeded")
    [made] = [it for it in world.codepipeline.list_action_executions(pipelineName="script")["actionExecutionDetails"]
              if it["actionName"] == "Make"]
    result = made["output"]["executionResult"]
    assert result["externalExecutionSummary"] == "built", made
    assert made["output"]["outputVariables"] == {"Build": result["externalExecutionId"]}, made
    write("exit 3\n")
    world.codepipeline.start_pipeline_execution(name="script")
    world.until(lambda: world.state("script", "Build").get("status") == "Failed")
    failed = world.state("script", "Build")
    assert failed["errorDetails"]["message"] == "build.sh ended with 3" and "summary" not in failed, failed


STORIES = {
    story.__name__: story
    for story in (completes, jenkins, races, is_attacked, speaks_chunks, of_partners, documented, begins, ends)
}

if __name__ == "__main__":
    STORIES[sys.argv[3]](World(*sys.argv[1:3]))
