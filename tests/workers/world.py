"""What workers do, with boto3 as it is: a server's clients, a pipeline whose actions wait for workers, and a worker's loop."""

import configparser
import io
import time
import zipfile

import boto3
from botocore.config import Config

ROLE = "arn:aws:iam::000000000000:role/pipeline"
PATIENCE_SECONDS = 120


class World:
    def __init__(self, endpoint, credentials):
        self.endpoint, self.region = endpoint, "us-east-1"
        profile = configparser.ConfigParser()
        profile.read(credentials)
        self.keys = profile["default"]
        # A refusal is an answer here, and is not asked for again.
        self.config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        self.codepipeline = boto3.client(
            "codepipeline", endpoint_url=endpoint, region_name=self.region, config=self.config,
            aws_access_key_id=self.keys["aws_access_key_id"], aws_secret_access_key=self.keys["aws_secret_access_key"])

    def s3(self, data):
        """As a worker makes it: of a job's own credentials."""
        given = data["artifactCredentials"]
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name=self.region, config=self.config,
            aws_access_key_id=given["accessKeyId"], aws_secret_access_key=given["secretAccessKey"],
            aws_session_token=given["sessionToken"])

    def create_types(self):
        count = lambda low, high: {"minimumCount": low, "maximumCount": high}
        name = {"name": "ProjectName", "required": True, "key": True, "secret": False, "queryable": True, "type": "String"}
        secret = {"name": "Token", "required": False, "key": False, "secret": True, "type": "String"}
        self.codepipeline.create_custom_action_type(
            category="Build", provider="Maker", version="1", configurationProperties=[name, secret],
            inputArtifactDetails=count(0, 5), outputArtifactDetails=count(0, 5),
            settings={"executionUrlTemplate": "https://ci.example/job/{Config:ProjectName}/{ExternalExecutionId}"})
        version = {"name": "Version", "required": True, "key": False, "secret": False}
        self.codepipeline.create_custom_action_type(
            category="Deploy", provider="Shipper", version="1", configurationProperties=[version],
            inputArtifactDetails=count(1, 1), outputArtifactDetails=count(0, 0))

    def create_pipeline(self, name, project, mode="SUPERSEDED"):
        action = lambda name, type_id, **more: {
            "name": name, "actionTypeId": dict(zip(("category", "owner", "provider", "version"), type_id.split("/"))), **more}
        stages = [
            ("Source", action("Get", "Source/Custom/Directory/1", outputArtifacts=[{"name": "Code"}])),
            ("Build", action(
                "Make", "Build/Custom/Maker/1", inputArtifacts=[{"name": "Code"}], outputArtifacts=[{"name": "App"}],
                namespace="Made", configuration={"ProjectName": project, "Token": "very secret"})),
            ("Deploy", action(
                "Ship", "Deploy/Custom/Shipper/1", inputArtifacts=[{"name": "App"}],
                configuration={"Version": "#{Made.Version}"})),
        ]
        self.codepipeline.create_pipeline(pipeline={
            "name": name, "roleArn": ROLE, "pipelineType": "V2", "executionMode": mode,
            "artifactStore": {"type": "S3", "location": "the-artifacts"},
            "stages": [{"name": stage, "actions": [action]} for stage, action in stages]})

    def poll(self, provider, project=None, count=1):
        category = {"Maker": "Build", "Shipper": "Deploy"}[provider]
        type_id = {"category": category, "owner": "Custom", "provider": provider, "version": "1"}
        query = {"queryParam": {"ProjectName": project}} if project else {}
        return self.codepipeline.poll_for_jobs(actionTypeId=type_id, maxBatchSize=count, **query)["jobs"]

    def job(self, provider, project=None):
        """The next job, acknowledged."""
        [job] = self.until(lambda: self.poll(provider, project))
        status = self.codepipeline.acknowledge_job(jobId=job["id"], nonce=job["nonce"])["status"]
        assert status == "InProgress", status
        return job

    def until(self, look):
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            found = look()
            if found:
                return found
            time.sleep(0.1)
        raise AssertionError("what is waited for does not come")

    def until_status(self, pipeline, status):
        def ended():
            summaries = self.codepipeline.list_pipeline_executions(pipelineName=pipeline)["pipelineExecutionSummaries"]
            return summaries and summaries[0]["status"] != "InProgress" and summaries[0]["status"]
        found = self.until(ended)
        assert found == status, (found, self.state(pipeline, "Build"), self.state(pipeline, "Deploy"))

    def state(self, pipeline, stage):
        states = self.codepipeline.get_pipeline_state(name=pipeline)["stageStates"]
        [found] = [state for state in states if state["stageName"] == stage]
        return found["actionStates"][0].get("latestExecution", {})

    def get(self, data, name):
        """An input artifact's files."""
        at = location(data["inputArtifacts"], name)
        body = self.s3(data).get_object(Bucket=at["bucketName"], Key=at["objectKey"])["Body"].read()
        return files(body)

    def put(self, data, name, body, **more):
        at = location(data["outputArtifacts"], name)
        return self.s3(data).put_object(Bucket=at["bucketName"], Key=at["objectKey"], Body=body, **more)

    def succeed(self, job, **more):
        self.codepipeline.put_job_success_result(jobId=job["id"], **more)


def location(artifacts, name):
    [artifact] = [artifact for artifact in artifacts if artifact["name"] == name]
    return artifact["location"]["s3Location"]


def files(body):
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(contents):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in contents.items():
            archive.writestr(name, text)
    return packed.getvalue()


def refused(code, call, *args, **kwargs):
    """The call is answered with this error, and none other."""
    from botocore.exceptions import ClientError
    try:
        call(*args, **kwargs)
    except ClientError as error:
        found = error.response["Error"]["Code"]
        assert found == code, (found, error.response)
        return error.response["Error"]["Message"]
    raise AssertionError(f"not refused with {code}")
