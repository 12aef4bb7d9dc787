"""Names and ARNs visible on the wire, and the attempt id everything physical hangs on."""

import hashlib
import re
from typing import Final

import msgspec

# Arrays have at most 10,000 children; other digits or leading zeros would be second names.
_INDEX: Final = re.compile("0|[1-9][0-9]{0,4}")


class Realm(msgspec.Struct, frozen=True, kw_only=True):
    """Whose yard this is: the parts every ARN carries."""

    partition: str = "aws"
    region: str = "us-east-1"
    account: str = "000000000000"

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def job(self, job_id: str) -> str:
        return self.arn("batch", f"job/{job_id}")

    def job_queue(self, name: str) -> str:
        return self.arn("batch", f"job-queue/{name}")

    def compute_environment(self, name: str) -> str:
        return self.arn("batch", f"compute-environment/{name}")

    def job_definition(self, name: str, revision: int) -> str:
        return self.arn("batch", f"job-definition/{name}:{revision}")

    def task(self, cluster: str, attempt_id: str) -> str:
        return self.arn("ecs", f"task/{cluster}/{task_id(attempt_id)}")

    def container_instance(self, cluster: str, instance_id: str) -> str:
        digest = hashlib.sha256(f"{cluster}/{instance_id}".encode()).hexdigest()[:32]
        return self.arn("ecs", f"container-instance/{cluster}/{digest}")


def child_id(parent_id: str, index: int) -> str:
    return f"{parent_id}:{index}"


def split_child(job_id: str) -> tuple[str, int | None]:
    """`("<uuid>", 7)` of `<uuid>:7`; the index is None for a job that is not an array child."""
    root, colon, index = job_id.partition(":")
    if colon and _INDEX.fullmatch(index):
        return root, int(index)
    return job_id, None


def attempt_id(job_id: str, attempt: int) -> str:
    """Safe as a file, container and label name: `<uuid>[.i<index>].a<attempt>`, 1-based attempt."""
    return f"{job_id.replace(':', '.i').replace('#', '.n')}.a{attempt}"


def split_attempt(name: str) -> tuple[str, int]:
    """Inverse of `attempt_id`.

    Raises:
        ValueError: the name was not made by `attempt_id`.
    """
    stem, dot, number = name.rpartition(".a")
    if not dot or not number.isdecimal():
        raise ValueError(f"not an attempt id: {name!r}")
    return stem.replace(".i", ":").replace(".n", "#"), int(number)


def task_id(attempt: str) -> str:
    """The 32 hex digits ECS would draw at random; ours follow from the attempt, so they repeat."""
    return hashlib.sha256(attempt.encode()).hexdigest()[:32]
