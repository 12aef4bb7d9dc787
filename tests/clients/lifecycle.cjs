// A Batch user in JavaScript: from the compute environment to the log and back, with the SDK alone.
// Prints what it saw as one JSON document; test_node.py judges it. Needs AWS_* and NODE_PATH.
"use strict";

const batch = require("@aws-sdk/client-batch");
const logs = require("@aws-sdk/client-cloudwatch-logs");

const client = new batch.BatchClient({});
const logsClient = new logs.CloudWatchLogsClient({});
const name = "from-node";
const seen = {};

const send = (command) => client.send(command);

async function until(what, look) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const environmentStatus = (wanted) =>
  until(`environment ${wanted}`, async () => {
    const answer = await send(
      new batch.DescribeComputeEnvironmentsCommand({ computeEnvironments: [name] }),
    );
    return (answer.computeEnvironments[0]?.status ?? "GONE") === wanted;
  });

const queueStatus = (wanted) =>
  until(`queue ${wanted}`, async () => {
    const answer = await send(new batch.DescribeJobQueuesCommand({ jobQueues: [name] }));
    return (answer.jobQueues[0]?.status ?? "GONE") === wanted;
  });

const jobStatus = (jobId, ...wanted) =>
  until(`${jobId} ${wanted}`, async () => {
    const { jobs } = await send(new batch.DescribeJobsCommand({ jobs: [jobId] }));
    return wanted.includes(jobs[0].status) && jobs[0];
  });

async function refusal(command, using = client) {
  try {
    await using.send(command);
  } catch (error) {
    return {
      name: error.name,
      message: error.message,
      isClientException: error instanceof batch.ClientException,
      isServiceException: error instanceof batch.BatchServiceException,
      fault: error.$fault,
      status: error.$metadata?.httpStatusCode,
      requestId: error.$metadata?.requestId,
    };
  }
  throw new Error("the request was not refused");
}

async function paged(pages, member) {
  const sizes = [];
  const items = [];
  for await (const page of pages) {
    sizes.push(page[member].length);
    items.push(...page[member]);
  }
  return { sizes, items };
}

async function make() {
  await send(
    new batch.CreateComputeEnvironmentCommand({
      computeEnvironmentName: name,
      type: "MANAGED",
      computeResources: {
        type: "FARGATE_SPOT",
        maxvCpus: 4,
        subnets: ["subnet-1"],
        securityGroupIds: ["sg-1"],
      },
    }),
  );
  await environmentStatus("VALID");
  await send(
    new batch.CreateJobQueueCommand({
      jobQueueName: name,
      priority: 3,
      computeEnvironmentOrder: [{ order: 1, computeEnvironment: name }],
    }),
  );
  await queueStatus("VALID");
  const definition = await send(
    new batch.RegisterJobDefinitionCommand({
      jobDefinitionName: name,
      type: "container",
      parameters: { word: "salut" },
      containerProperties: {
        image: "debian:stable",
        command: ["sh", "-c", 'echo "$0 $AWS_BATCH_JOB_ARRAY_INDEX"', "Ref::word"],
        resourceRequirements: [
          { type: "VCPU", value: "1" },
          { type: "MEMORY", value: "16" },
        ],
      },
      tags: { from: "node" },
    }),
  );
  seen.revision = definition.revision;
  return definition.jobDefinitionArn;
}

async function runJobs(definition) {
  const submit = (more) =>
    send(
      new batch.SubmitJobCommand({
        jobName: name,
        jobQueue: "default",
        jobDefinition: definition,
        ...more,
      }),
    ).then((answer) => answer.jobId);
  const array = await submit({ arrayProperties: { size: 5 } });
  const after = await submit({
    dependsOn: [{ jobId: array }],
    containerOverrides: { command: ["sh", "-c", "exit 9"], environment: [{ name: "A", value: "b" }] },
  });
  const ended = await jobStatus(after, "FAILED", "SUCCEEDED");
  seen.after = {
    status: ended.status,
    exitCode: ended.container.exitCode,
    reason: ended.statusReason,
    milliseconds: ended.stoppedAt - ended.createdAt,
  };
  seen.children = await paged(
    batch.paginateListJobs({ client, pageSize: 2 }, { arrayJobId: array, jobStatus: "SUCCEEDED" }),
    "jobSummaryList",
  );
  seen.children.items = seen.children.items.map((job) => job.arrayProperties.index);
  const { jobs } = await send(new batch.DescribeJobsCommand({ jobs: [array, `${array}:4`] }));
  seen.summary = jobs[0].arrayProperties.statusSummary;
  const { events } = await logsClient.send(
    new logs.GetLogEventsCommand({
      logGroupName: "/aws/batch/job",
      logStreamName: jobs[1].container.logStreamName,
      startFromHead: true,
    }),
  );
  seen.log = events.map((event) => event.message);
  await stopJobs(submit);
}

async function stopJobs(submit) {
  const command = { containerOverrides: { command: ["sleep", "1000"] } };
  const running = await submit(command);
  const waiting = await submit({ ...command, dependsOn: [{ jobId: running }] });
  await jobStatus(running, "RUNNING");
  await send(new batch.CancelJobCommand({ jobId: waiting, reason: "cancelled by node" }));
  await send(new batch.TerminateJobCommand({ jobId: running, reason: "terminated by node" }));
  const ended = [await jobStatus(waiting, "FAILED"), await jobStatus(running, "FAILED")];
  seen.stopped = ended.map((job) => job.statusReason);
}

async function refusals(definition) {
  seen.refusals = {
    unknownQueue: await refusal(
      new batch.SubmitJobCommand({ jobName: "j", jobQueue: "nowhere", jobDefinition: "none" }),
    ),
    missingMember: await refusal(new batch.SubmitJobCommand({ jobName: "j" })),
    unsupported: await refusal(new batch.ListSchedulingPoliciesCommand({})),
    attached: await refusal(
      new batch.SubmitJobCommand({ jobName: "j", jobQueue: name, jobDefinition: definition }),
    ),
    noStream: await refusal(
      new logs.GetLogEventsCommand({ logGroupName: "/aws/batch/job", logStreamName: "none" }),
      logsClient,
    ),
    stranger: await refusal(
      new batch.DescribeJobQueuesCommand({}),
      new batch.BatchClient({ credentials: { accessKeyId: "AKIANOBODY", secretAccessKey: "x" } }),
    ),
  };
}

async function tagAndRemove(definition) {
  const resourceArn = definition;
  await send(new batch.TagResourceCommand({ resourceArn, tags: { "odd key/:": "ü", b: "2" } }));
  await send(new batch.UntagResourceCommand({ resourceArn, tagKeys: ["from", "b"] }));
  seen.tags = (await send(new batch.ListTagsForResourceCommand({ resourceArn }))).tags;
  await send(new batch.DeregisterJobDefinitionCommand({ jobDefinition: definition }));
  const definitions = await paged(
    batch.paginateDescribeJobDefinitions({ client }, { jobDefinitionName: name }),
    "jobDefinitions",
  );
  seen.definitions = definitions.items.map((one) => one.status);
  await send(new batch.UpdateJobQueueCommand({ jobQueue: name, state: "DISABLED" }));
  await queueStatus("VALID");
  await send(new batch.DeleteJobQueueCommand({ jobQueue: name }));
  await queueStatus("GONE");
  await send(
    new batch.UpdateComputeEnvironmentCommand({ computeEnvironment: name, state: "DISABLED" }),
  );
  await environmentStatus("VALID");
  await send(new batch.DeleteComputeEnvironmentCommand({ computeEnvironment: name }));
  await environmentStatus("GONE");
  const queues = await paged(batch.paginateDescribeJobQueues({ client }, {}), "jobQueues");
  seen.queues = queues.items.map((queue) => queue.jobQueueName);
  const places = batch.paginateDescribeComputeEnvironments({ client }, {});
  const environments = await paged(places, "computeEnvironments");
  seen.environments = environments.items.map((one) => one.computeEnvironmentName);
}

async function main() {
  const definition = await make();
  await runJobs(definition);
  await refusals(definition);
  await tagAndRemove(definition);
  process.stdout.write(JSON.stringify(seen));
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
