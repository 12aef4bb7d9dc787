"""What a job finds in its environment besides its own variables.

AWS: user guide, "Job environment variables". Endpoint, region and credentials are what a job on AWS
has from its instance: with them an unmodified `aws` or boto3 inside a job reaches the same yard.
"""

from collections.abc import Callable

import msgspec

from batchyard.kernel.job import Attempt, Job


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the yard is, as seen from a job."""

    endpoint_url: str
    region: str
    credentials_url: str
    token_for: Callable[[str, str | None], str]
    """Authorization token of an attempt for a job role's ARN (or none)."""


def injected(
    job: Job, attempt: Attempt, *, role_arn: str | None, around: Surroundings
) -> dict[str, str]:
    """Variables that win over the job's own (`AWS_BATCH_*` names are refused at submit)."""
    out = {
        "AWS_BATCH_JOB_ID": job.job_id,
        "AWS_BATCH_JOB_ATTEMPT": str(attempt.number),
        "AWS_BATCH_JQ_NAME": job.queue,
        "AWS_BATCH_CE_NAME": attempt.compute_environment,
        "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": around.credentials_url,
        "AWS_CONTAINER_AUTHORIZATION_TOKEN": around.token_for(attempt.attempt_id, role_arn),
    }
    if job.index is not None:
        out["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.index)
    return out


def defaults(around: Surroundings) -> dict[str, str]:
    """Variables a job may override: it may well talk to another endpoint or region."""
    return {
        "AWS_ENDPOINT_URL": around.endpoint_url,
        "AWS_REGION": around.region,
        "AWS_DEFAULT_REGION": around.region,
    }
