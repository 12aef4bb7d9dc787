"""A job that uses boto3 as on AWS: no endpoint, no region, no keys. Prints what it was told."""

import json
import os

import boto3

batch, sts, logs = boto3.client("batch"), boto3.client("sts"), boto3.client("logs")
me = os.environ["AWS_BATCH_JOB_ID"]
(job,) = batch.describe_jobs(jobs=[me])["jobs"]
running = batch.list_jobs(jobQueue=os.environ["AWS_BATCH_JQ_NAME"])["jobSummaryList"]
child = batch.submit_job(
    jobName="child",
    jobQueue=job["jobQueue"],
    jobDefinition=job["jobDefinition"],
    containerOverrides={"command": ["true"]},
)
print(
    json.dumps(
        {
            "arn": sts.get_caller_identity()["Arn"],
            "status": job["status"],
            "sees_itself": me in [one["jobId"] for one in running],
            "stream": job["container"]["logStreamName"],
            "groups": [one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]],
            "child": child["jobId"],
        }
    )
)
