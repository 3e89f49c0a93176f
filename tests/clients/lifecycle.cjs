// The life of a pipeline as the AWS SDK for JavaScript v3 drives it: `node lifecycle.cjs ENDPOINT CREDENTIALS`. Says nothing, and
// exits with 0, where every answer is as it is to be. The server's configuration gives grants to the pipeline `released`.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const {
  CodePipelineClient, CreatePipelineCommand, DeletePipelineCommand, DisableStageTransitionCommand, EnableStageTransitionCommand,
  GetPipelineCommand, GetPipelineExecutionCommand, GetPipelineStateCommand, ListActionExecutionsCommand,
  ListTagsForResourceCommand, PipelineNameInUseException, PipelineNotFoundException, PutApprovalResultCommand,
  RetryStageExecutionCommand, StartPipelineExecutionCommand, StopPipelineExecutionCommand, TagResourceCommand,
  UntagResourceCommand, UpdatePipelineCommand, ValidationException, paginateListPipelineExecutions, paginateListPipelines,
} = require("@aws-sdk/client-codepipeline");

const [endpoint, credentialsFile] = process.argv.slice(2);
const setting = (name) => fs.readFileSync(credentialsFile, "utf8").match(new RegExp(`^${name} *= *(.*)$`, "m"))[1];
const client = new CodePipelineClient({
  endpoint,
  region: "us-east-1",
  credentials: { accessKeyId: setting("aws_access_key_id"), secretAccessKey: setting("aws_secret_access_key") },
});
const send = (Command, input) => client.send(new Command(input));
const name = "released";

const type = (category, owner, provider) => ({ category, owner, provider, version: "1" });
const declaration = {
  name,
  roleArn: "arn:aws:iam::000000000000:role/pipeline",
  artifactStore: { type: "S3", location: "artifacts" },
  pipelineType: "V2",
  executionMode: "QUEUED",
  variables: [{ name: "Colour", defaultValue: "blue" }],
  stages: [
    { name: "Source", actions: [{ name: "Get", actionTypeId: type("Source", "Custom", "Directory"), outputArtifacts: [{ name: "Code" }] }] },
    { name: "Ask", actions: [{ name: "Ask", actionTypeId: type("Approval", "AWS", "Manual") }] },
    { name: "Ship", actions: [{ name: "Publish", actionTypeId: type("Deploy", "Custom", "Directory"), inputArtifacts: [{ name: "Code" }] }] },
  ],
};

async function until(what, ready) {
  for (let attempt = 0; attempt < 600; attempt += 1) {
    const found = await ready();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`waited in vain until ${what}`);
}

const status = async (pipelineExecutionId) =>
  (await send(GetPipelineExecutionCommand, { pipelineName: name, pipelineExecutionId })).pipelineExecution.status;
const ended = (id, wanted) => until(`${id} is ${wanted}`, async () => (await status(id)) === wanted);

// The token of the approval that an execution waits for.
const token = (id) => until(`${id} waits for an approval`, async () => {
  const { stageStates } = await send(GetPipelineStateCommand, { name });
  const ask = stageStates[1];
  return ask.latestExecution?.pipelineExecutionId === id && ask.actionStates[0].latestExecution?.token;
});
const answer = async (id, verdict) => {
  const result = { status: verdict, summary: "é🦀" };
  const where = { pipelineName: name, stageName: "Ask", actionName: "Ask" };
  const { approvedAt } = await send(PutApprovalResultCommand, { ...where, token: await token(id), result });
  assert.ok(approvedAt instanceof Date);
};
const all = async (pages, member) => {
  const found = [];
  for await (const page of pages) found.push(...page[member]);
  return found;
};

async function main() {
  const created = await send(CreatePipelineCommand, { pipeline: declaration, tags: [{ key: "team", value: "web" }] });
  assert.equal(created.pipeline.version, 1);
  await assert.rejects(send(CreatePipelineCommand, { pipeline: declaration }), PipelineNameInUseException);
  await assert.rejects(send(CreatePipelineCommand, { pipeline: { ...declaration, name: "a b" } }), ValidationException);
  const got = await send(GetPipelineCommand, { name });
  assert.ok(got.metadata.created instanceof Date);
  const [first] = await until("it runs", () => all(paginateListPipelineExecutions({ client }, { pipelineName: name }), "pipelineExecutionSummaries"));
  assert.equal(first.trigger.triggerType, "CreatePipeline");
  await answer(first.pipelineExecutionId, "Approved");
  await ended(first.pipelineExecutionId, "Succeeded");

  const clientRequestToken = "once";
  const variables = [{ name: "Colour", value: "red" }];
  const { pipelineExecutionId } = await send(StartPipelineExecutionCommand, { name, variables, clientRequestToken });
  const again = await send(StartPipelineExecutionCommand, { name, clientRequestToken });
  assert.equal(again.pipelineExecutionId, pipelineExecutionId);
  await token(pipelineExecutionId);
  const stop = { pipelineName: name, pipelineExecutionId, abandon: true, reason: "Enough" };
  assert.equal((await send(StopPipelineExecutionCommand, stop)).pipelineExecutionId, pipelineExecutionId);
  await ended(pipelineExecutionId, "Stopped");
  const retry = { pipelineName: name, stageName: "Ask", pipelineExecutionId, retryMode: "FAILED_ACTIONS" };
  assert.equal((await send(RetryStageExecutionCommand, retry)).pipelineExecutionId, pipelineExecutionId);
  await answer(pipelineExecutionId, "Rejected");
  await ended(pipelineExecutionId, "Failed");
  const { actionExecutionDetails } = await send(ListActionExecutionsCommand, { pipelineName: name, filter: { pipelineExecutionId } });
  assert.deepEqual(new Set(actionExecutionDetails.map((it) => it.status)), new Set(["Succeeded", "Abandoned", "Failed"]));

  const where = { pipelineName: name, stageName: "Ship", transitionType: "Inbound" };
  await send(DisableStageTransitionCommand, { ...where, reason: "freeze" });
  assert.equal((await send(GetPipelineStateCommand, { name })).stageStates[2].inboundTransitionState.disabledReason, "freeze");
  await send(EnableStageTransitionCommand, where);

  // What was read is what is sent back.
  const updated = await send(UpdatePipelineCommand, { pipeline: { ...got.pipeline, executionMode: "PARALLEL" } });
  assert.deepEqual([updated.pipeline.version, updated.pipeline.executionMode], [2, "PARALLEL"]);
  assert.deepEqual({ ...updated.pipeline, version: 1, executionMode: "QUEUED" }, got.pipeline);

  const resourceArn = got.metadata.pipelineArn;
  await send(TagResourceCommand, { resourceArn, tags: [{ key: "more", value: "x" }] });
  await send(UntagResourceCommand, { resourceArn, tagKeys: ["team"] });
  assert.deepEqual((await send(ListTagsForResourceCommand, { resourceArn })).tags, [{ key: "more", value: "x" }]);

  assert.deepEqual((await all(paginateListPipelines({ client }, {}), "pipelines")).map((it) => it.name), [name]);
  await send(DeletePipelineCommand, { name });
  await assert.rejects(send(GetPipelineCommand, { name }), PipelineNotFoundException);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
