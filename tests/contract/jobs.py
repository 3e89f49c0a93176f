"""Custom action types and jobs, as the scenario's client meets them: for each operation a full request, a minimal one, and those that
are right by their shape and still refused.

The server's configuration gives grants to `jobs-<protocol>`. Must not know how an answer is judged."""

import json

import model

ROLE = "arn:aws:iam::000000000000:role/pipeline"
COUNT = {"minimumCount": 0, "maximumCount": 5}
REVISION = {"revision": "r-é🦀", "changeIdentifier": "c1", "created": 1795342830.5, "revisionSummary": "more"}
DETAILS = {"summary": "half é🦀", "externalExecutionId": "job 7", "percentComplete": 50}
FAILED = {"type": "JobFailed", "message": "no é🦀", "externalExecutionId": "job 7"}


class Jobs:
    def __init__(self, scenario):
        self.call, self.until, self.expect, self.arn = scenario.call, scenario.until, scenario.expect, scenario.arn
        self.server, self.suffix = scenario.client.server, scenario.suffix
        self.name = f"jobs-{self.suffix}"
        self.asked = {"category": "Build", "provider": f"Asked-{self.suffix}", "version": "1"}
        self.plain = {"category": "Build", "provider": f"Plain-{self.suffix}", "version": "1"}
        self.partner = {"category": "Test", "owner": "ThirdParty", "provider": "BlazeMeter", "version": "1"}

    def run(self):
        self.create()
        self.polls()
        self.reports()
        self.partners()
        self.delete()

    def create(self):
        count = {"inputArtifactDetails": COUNT, "outputArtifactDetails": COUNT}
        name = {"name": "ProjectName", "required": True, "key": True, "secret": False, "queryable": True,
                "description": "é", "type": "String"}
        settings = {"thirdPartyConfigurationUrl": "https://a", "entityUrlTemplate": "https://a/{Config:ProjectName}",
                    "executionUrlTemplate": "https://a/{ExternalExecutionId}", "revisionUrlTemplate": "https://a/r"}
        full = {**self.asked, **count, "settings": settings, "configurationProperties": [name],
                "tags": [{"key": "team", "value": "é"}]}
        created = self.call("CreateCustomActionType", full)
        self.expect(created.get("actionType", {}).get("settings") == settings, f"the settings are given back: {created}")
        self.tag(full)
        self.call("CreateCustomActionType", {**self.plain, **count})
        self.call("CreateCustomActionType", full, "ValidationException")
        other = {**full, "version": "2"}
        for code, change in [
            ("ValidationException", {"configurationProperties": [name, name]}),
            ("ValidationException", {"configurationProperties": [{**name, "secret": True}]}),
            ("ValidationException", {"configurationProperties": [name, {**name, "name": "Other"}]}),
            ("ValidationException", {"settings": {"entityUrlTemplate": "https://a/{Config:No}"}}),
            ("ValidationException", {"inputArtifactDetails": {"minimumCount": 2, "maximumCount": 1}}),
            ("InvalidTagsException", {"tags": [{"key": "aws:mine", "value": ""}]}),
            ("TooManyTagsException", {"tags": [{"key": str(number), "value": ""} for number in range(51)]}),
        ]:
            self.call("CreateCustomActionType", {**other, **change}, code)
        listed = self.call("ListActionTypes", {"actionOwnerFilter": "Custom"}).get("actionTypes", [])
        self.expect(created.get("actionType") in listed, f"what was made is listed: {listed}")
        declared = {
            "executor": {"type": "JobWorker", "configuration": {"jobWorkerExecutorConfiguration": {}}, "jobTimeout": 600},
            "id": self.partner, "inputArtifactDetails": COUNT, "outputArtifactDetails": COUNT}
        self.call("UpdateActionType", {"actionType": declared})
        found = self.call("GetActionType", self.partner).get("actionType", {})
        self.expect(found.get("executor", {}).get("jobTimeout") == 600, f"workers serve it: {found}")
        wrong = {**declared["executor"], "type": "Lambda"}
        self.call("UpdateActionType", {"actionType": {**declared, "executor": wrong}}, "ValidationException")

        def action(name, type_id, **more):
            return {"name": name, "actionTypeId": {"owner": "Custom", **type_id}, "inputArtifacts": [{"name": "Code"}], **more}

        get = {"name": "Get", "outputArtifacts": [{"name": "Code"}],
               "actionTypeId": {"category": "Source", "owner": "Custom", "provider": "Directory", "version": "1"}}
        project = {"configuration": {"ProjectName": "site"}}
        work = [action("One", self.asked, **project), action("Two", self.asked, **project), action("Three", self.plain),
                action("Four", self.partner), action("Five", self.partner)]
        pipeline = {
            "name": self.name, "roleArn": ROLE, "artifactStore": {"type": "S3", "location": "artifacts"},
            "stages": [{"name": "Source", "actions": [get]}, {"name": "Work", "actions": work}]}
        too_long = action("One", self.asked, configuration={"ProjectName": "x" * 21})
        refused = {**pipeline, "stages": [pipeline["stages"][0], {"name": "Work", "actions": [too_long]}]}
        self.call("CreatePipeline", {"pipeline": refused}, "InvalidActionDeclarationException")
        self.call("CreatePipeline", {"pipeline": pipeline})

    def poll(self, type_id, **more):
        params = {"actionTypeId": {"owner": "Custom", **type_id}, **more}
        return self.until(lambda: self.call("PollForJobs", params).get("jobs"), f"there is a job of {type_id}")

    def polls(self):
        query = {"queryParam": {"ProjectName": "site"}}
        self.asked_jobs = self.poll(self.asked, maxBatchSize=1, **query) + self.poll(self.asked, maxBatchSize=5, **query)
        self.plain_job, = self.poll(self.plain)
        asked = {"actionTypeId": {"owner": "Custom", **self.asked}}
        other = self.call("PollForJobs", {**asked, "queryParam": {"ProjectName": "other"}})
        self.expect(other == {"jobs": []}, f"workers hear of what they ask for: {other}")
        self.call("PollForJobs", asked, "ValidationException")
        self.call("PollForJobs", {**asked, "queryParam": {"Other": "site"}}, "ValidationException")
        unknown = {"owner": "Custom", **self.asked, "version": "9"}
        self.call("PollForJobs", {"actionTypeId": unknown}, "ActionTypeNotFoundException")
        self.call("PollForJobs", {"actionTypeId": self.partner}, "ValidationException")

    def reports(self):
        one, two = self.asked_jobs
        three = self.plain_job
        for job, nonce in [(one, two["nonce"]), (one, "no")]:
            self.call("AcknowledgeJob", {"jobId": job["id"], "nonce": nonce}, "InvalidNonceException")
        self.call("AcknowledgeJob", {"jobId": model.UUID, "nonce": "no"}, "JobNotFoundException")
        self.call("PutJobSuccessResult", {"jobId": one["id"]}, "InvalidJobStateException")
        for job in (one, two, three):
            answer = self.call("AcknowledgeJob", {"jobId": job["id"], "nonce": job["nonce"]})
            self.expect(answer == {"status": "InProgress"}, f"the job is this worker's: {answer}")
            details = self.call("GetJobDetails", {"jobId": job["id"]}).get("jobDetails", {})
            expected = {member: value for member, value in job.items() if member != "nonce"}
            self.expect(details == expected, f"the details are those of the job: {details} and {expected}")
        self.call("GetJobDetails", {"jobId": model.UUID}, "JobNotFoundException")
        success = {"jobId": one["id"], "executionDetails": DETAILS, "currentRevision": REVISION}
        both = {**success, "continuationToken": "t", "outputVariables": {"a": "b"}}
        self.call("PutJobSuccessResult", both, "ValidationException")
        large = {**success, "outputVariables": {"a": "b" * 122880}}
        self.call("PutJobSuccessResult", large, "OutputVariablesSizeExceededException")
        self.call("PutJobSuccessResult", {"jobId": model.UUID}, "JobNotFoundException")
        self.call("PutJobFailureResult", {"jobId": model.UUID, "failureDetails": FAILED}, "JobNotFoundException")
        self.call("PutJobSuccessResult", {"jobId": three["id"]})
        for _ in range(2):
            self.call("PutJobSuccessResult", {**success, "continuationToken": "t-é🦀"})
        self.call("PutJobSuccessResult", success, "InvalidJobStateException")
        again, = self.poll(self.asked, queryParam={"ProjectName": "site"})
        self.expect(again["data"].get("continuationToken") == "t-é🦀", f"the next job goes on: {again}")
        self.call("AcknowledgeJob", {"jobId": again["id"], "nonce": again["nonce"]})
        done = {"jobId": again["id"], "outputVariables": {"Version": "é"}, "executionDetails": {"summary": "done"}}
        self.call("PutJobSuccessResult", done)
        failure = {"jobId": two["id"], "failureDetails": FAILED}
        for _ in range(2):
            self.call("PutJobFailureResult", failure)
        other = {**failure, "failureDetails": {**FAILED, "message": "another"}}
        self.call("PutJobFailureResult", other, "InvalidJobStateException")

    def partners(self):
        token = json.loads(self.server.signed("GET", "/v1/workers", {}, b"").body)["clientToken"]
        asked = {"actionTypeId": self.partner}
        self.call("PollForThirdPartyJobs", {"actionTypeId": {"owner": "Custom", **self.asked}}, "ValidationException")
        no_type = {**self.partner, "provider": "Apica"}
        self.call("PollForThirdPartyJobs", {"actionTypeId": no_type}, "ActionTypeNotFoundException")
        jobs = self.call("PollForThirdPartyJobs", {**asked, "maxBatchSize": 1}).get("jobs", [])
        jobs += self.call("PollForThirdPartyJobs", asked).get("jobs", [])
        self.expect(len(jobs) == 2, f"both are offered: {jobs}")
        details, failed = {"failureDetails": FAILED}, "InvalidClientTokenException"
        for job in jobs:
            of = {"jobId": job["jobId"], "clientToken": token}
            wrong = {**of, "clientToken": "guessed"}
            self.call("GetThirdPartyJobDetails", wrong, failed)
            found = self.call("GetThirdPartyJobDetails", of).get("jobDetails", {})
            nonce = {"nonce": found.get("nonce", "")}
            self.call("AcknowledgeThirdPartyJob", {**wrong, **nonce}, failed)
            self.call("AcknowledgeThirdPartyJob", {**of, "nonce": "no"}, "InvalidNonceException")
            self.call("PutThirdPartyJobSuccessResult", of, "InvalidJobStateException")
            self.call("AcknowledgeThirdPartyJob", {**of, **nonce})
            self.call("PutThirdPartyJobSuccessResult", wrong, failed)
            self.call("PutThirdPartyJobFailureResult", {**wrong, **details}, failed)
        first, second = ({"jobId": job["jobId"], "clientToken": token} for job in jobs)
        more = {"currentRevision": REVISION, "executionDetails": DETAILS, "continuationToken": "t"}
        self.call("PutThirdPartyJobSuccessResult", {**first, **more})
        self.call("PutThirdPartyJobFailureResult", {**first, **details}, "InvalidJobStateException")
        going_on, = self.until(lambda: self.call("PollForThirdPartyJobs", asked).get("jobs"), "the job goes on")
        of = {"jobId": going_on["jobId"], "clientToken": token}
        nonce = self.call("GetThirdPartyJobDetails", of).get("jobDetails", {}).get("nonce")
        self.call("AcknowledgeThirdPartyJob", {**of, "nonce": nonce})
        self.call("PutThirdPartyJobSuccessResult", of)
        self.call("PutThirdPartyJobFailureResult", {**second, **details})
        unknown = {"jobId": "unknown", "clientToken": token}
        for operation, params in [
            ("GetThirdPartyJobDetails", {}), ("AcknowledgeThirdPartyJob", {"nonce": "no"}),
            ("PutThirdPartyJobSuccessResult", {}), ("PutThirdPartyJobFailureResult", details),
        ]:
            self.call(operation, {**unknown, **params}, "JobNotFoundException")

    def tag(self, made):
        """The tags that a type was made with, and others."""
        resource = {"resourceArn": self.arn("actiontype:Custom/{category}/{provider}/{version}".format(**made))}
        tags = lambda: self.call("ListTagsForResource", resource).get("tags")
        self.expect(tags() == made["tags"], f"the tags of a new type are listed: {tags()}")
        self.call("TagResource", {**resource, "tags": [{"key": "more", "value": "x"}]})
        self.call("UntagResource", {**resource, "tagKeys": ["team"]})
        self.expect(tags() == [{"key": "more", "value": "x"}], f"the tags of a type are changed: {tags()}")
        for unknown in ["Custom/Build/Nobody/1", "Custom/Build", "AWS/Build/CodeBuild/1"]:
            self.call("ListTagsForResource", {"resourceArn": self.arn(f"actiontype:{unknown}")}, "ResourceNotFoundException")

    def delete(self):
        self.call("DeleteCustomActionType", self.asked, "ValidationException")
        self.call("DeletePipeline", {"name": self.name})
        for type_id in (self.asked, self.plain, {**self.plain, "version": "9"}):
            self.call("DeleteCustomActionType", type_id)
        count = {"inputArtifactDetails": COUNT, "outputArtifactDetails": COUNT}
        self.call("CreateCustomActionType", {**self.plain, **count}, "ValidationException")
