"""Why a job waits, in words and numbers, and the one change that would start it.

The same judgement feeds AWS's `statusReason` of a blocked head job, the console and
`batchyard explain`.
"""

import msgspec

from batchyard.kernel.resources import Shape
from batchyard.scheduler.fit import Fit, vcpus

# AWS: user guide, "Blocked job queue": the exact texts that clients search for.
MAX_RESOURCE = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue "
    "cannot meet the CPU requirement of the job."
)
REQUIREMENT = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) "
    "is higher than that can be met by the CE(s) attached to the job queue."
)
INVALID = "ACTION_REQUIRED - CE(s) associated with the job queue are invalid."


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """`status_reason` is AWS's text, or None when the job merely waits its turn."""

    sentence: str
    fix: str
    fits: tuple[Fit, ...] = ()
    status_reason: str | None = None


def explain(shape: Shape, fits: tuple[Fit, ...], *, queue: str) -> Explanation:
    """Sum up the judgements of a queue's compute environments, in their order."""
    waits = [f for f in fits if f.verdict in ("fits", "waits")]
    if waits:
        first = waits[0]
        if first.verdict == "fits":
            return Explanation(
                sentence=f"It fits {first.compute_environment} now and starts with the next pass.",
                fix="Nothing to do.",
                fits=fits,
            )
        return Explanation(
            sentence=f"It {first.detail}.",
            fix="Wait for running jobs to end, or lower the request.",
            fits=fits,
        )
    if not fits:
        return Explanation(
            sentence=f"Job queue {queue} has no compute environment.",
            fix=f"Give {queue} one: aws batch update-job-queue --compute-environment-order ...",
            status_reason=INVALID,
        )
    never = [f for f in fits if f.verdict == "never"]
    if not never:
        return Explanation(
            sentence=f"No compute environment of {queue} is usable: "
            + "; ".join(f.detail for f in fits)
            + ".",
            fix="Enable one: aws batch update-compute-environment --state ENABLED ...",
            fits=fits,
            status_reason=INVALID,
        )
    details = "; ".join(f.detail for f in never)
    return Explanation(
        sentence=f"It can never start here: it {details}.",
        fix=_fix(shape, never[0]),
        fits=fits,
        status_reason=MAX_RESOURCE if all(f.code == "MAX_VCPUS" for f in never) else REQUIREMENT,
    )


def _fix(shape: Shape, worst: Fit) -> str:
    name = worst.compute_environment
    if worst.code == "MAX_VCPUS":
        return f"Raise maxvCpus of {name} to at least {vcpus(shape.vcpu_milli)}, or ask for less."
    what = {"MEMORY": "MEMORY", "VCPU": "VCPU"}.get(worst.code, "GPU")
    return (
        f"Terminate it and submit it again with a smaller {what} in resourceRequirements, "
        f"or add a compute environment with a larger machine to the queue."
    )
