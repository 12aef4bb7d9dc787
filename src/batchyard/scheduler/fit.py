"""Whether a shape fits: now, later, or never; and the numbers that say so."""

from typing import Literal

import msgspec

from batchyard.kernel.resources import Shape
from batchyard.scheduler.snapshot import Environment, InstanceUse

Verdict = Literal["fits", "waits", "never", "unusable"]
Code = Literal["", "VCPU", "MEMORY", "GPU", "MAX_VCPUS", "ENVIRONMENT"]


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """The judgement of one compute environment over one shape.

    `detail` names the two numbers: what is asked for and what there is.
    """

    compute_environment: str
    verdict: Verdict
    code: Code = ""
    detail: str = ""
    instance_id: str = ""


def vcpus(milli: int) -> str:
    """`2` or `0.25`: vCPUs as people write them."""
    return f"{milli / 1000:g}"


def fit(shape: Shape, environment: Environment, instances: dict[str, InstanceUse]) -> Fit:
    """Judge one environment. The first instance with room is named when the verdict is `fits`."""
    name = environment.name
    if not environment.usable:
        return Fit(
            compute_environment=name,
            verdict="unusable",
            code="ENVIRONMENT",
            detail=environment.trouble,
        )
    limit = environment.max_vcpu_milli
    if limit is not None and shape.vcpu_milli > limit:
        return Fit(
            compute_environment=name,
            verdict="never",
            code="MAX_VCPUS",
            detail=f"asks for {vcpus(shape.vcpu_milli)} vCPUs; "
            f"maxvCpus of {name} is {vcpus(limit)}",
        )
    uses = [instances[i] for i in environment.instance_ids if i in instances]
    never = _never(shape, environment, uses)
    if never is not None:
        return never
    if limit is not None and environment.used_vcpu_milli + shape.vcpu_milli > limit:
        return Fit(
            compute_environment=name,
            verdict="waits",
            code="MAX_VCPUS",
            detail=f"asks for {vcpus(shape.vcpu_milli)} vCPUs; "
            f"{vcpus(limit - environment.used_vcpu_milli)} of maxvCpus {vcpus(limit)} are free",
        )
    for use in uses:
        if not _short(shape, use.free):
            return Fit(
                compute_environment=name, verdict="fits", instance_id=use.instance.instance_id
            )
    return _waits(shape, environment, uses)


def _short(shape: Shape, free: Shape) -> Code:
    """The first resource of which there is too little; empty when it fits."""
    if shape.memory_mib > free.memory_mib:
        return "MEMORY"
    if shape.vcpu_milli > free.vcpu_milli:
        return "VCPU"
    if shape.gpus > free.gpus:
        return "GPU"
    return ""


def _ask(shape: Shape, code: Code) -> str:
    if code == "MEMORY":
        return f"asks for {shape.memory_mib} MiB of memory"
    if code == "VCPU":
        return f"asks for {vcpus(shape.vcpu_milli)} vCPUs"
    return f"asks for {shape.gpus} GPUs"


def _have(shape: Shape, code: Code) -> str:
    if code == "MEMORY":
        return f"{shape.memory_mib} MiB"
    if code == "VCPU":
        return f"{vcpus(shape.vcpu_milli)} vCPUs"
    return f"{shape.gpus} GPUs"


def _never(shape: Shape, environment: Environment, uses: list[InstanceUse]) -> Fit | None:
    if any(not _short(shape, use.instance.total) for use in uses):
        return None
    if not uses:
        return Fit(
            compute_environment=environment.name,
            verdict="unusable",
            code="ENVIRONMENT",
            detail=f"{environment.name} has no instance",
        )
    largest = max(uses, key=lambda use: use.instance.total)
    code = _short(shape, largest.instance.total)
    return Fit(
        compute_environment=environment.name,
        verdict="never",
        code=code,
        detail=f"{_ask(shape, code)}; the largest instance of {environment.name} "
        f"has {_have(largest.instance.total, code)}",
    )


def _waits(shape: Shape, environment: Environment, uses: list[InstanceUse]) -> Fit:
    able = [use for use in uses if not _short(shape, use.instance.total)]
    roomiest = max(able, key=lambda use: use.free)
    code = _short(shape, roomiest.free)
    return Fit(
        compute_environment=environment.name,
        verdict="waits",
        code=code,
        detail=f"{_ask(shape, code)}; {_have(roomiest.free, code)} of "
        f"{_have(roomiest.instance.total, code)} are free on {roomiest.instance.instance_id}",
    )
