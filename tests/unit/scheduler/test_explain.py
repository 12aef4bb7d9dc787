"""Why a job waits: the two numbers, the one change that would start it, and AWS's own texts."""

from typing import Any

import pytest
from msgspec.structs import replace

from batchyard.kernel.resources import Shape
from batchyard.scheduler.explain import explain
from batchyard.scheduler.fit import Fit, fit, vcpus
from batchyard.scheduler.snapshot import Environment, InstanceUse
from unit.scheduler.scheduling_world import machine

MAX_RESOURCE = (
    "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - CE(s) associated with the job queue "
    "cannot meet the CPU requirement of the job."
)
REQUIREMENT = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement (vCPU/memory/GPU) "
    "is higher than that can be met by the CE(s) attached to the job queue."
)
INVALID = "ACTION_REQUIRED - CE(s) associated with the job queue are invalid."


def shape(vcpu_milli: int = 1000, memory_mib: int = 100, gpus: int = 0) -> Shape:
    return Shape(vcpu_milli=vcpu_milli, memory_mib=memory_mib, gpus=gpus)


def environment(name: str = "ce", **members: Any) -> Environment:
    base = Environment(
        name=name,
        usable=True,
        trouble="",
        instance_ids=("i-1",),
        max_vcpu_milli=None,
        used_vcpu_milli=0,
    )
    return replace(base, **members)


def uses(
    free: Shape | None = None, *, vcpu: int = 4, memory_mib: int = 4096, gpus: int = 1
) -> dict[str, InstanceUse]:
    instance = machine(vcpus=vcpu, memory_mib=memory_mib, gpus=gpus)
    return {"i-1": InstanceUse(instance=instance, free=free or instance.total)}


@pytest.mark.parametrize(
    ("milli", "text"), [(1000, "1"), (250, "0.25"), (2500, "2.5"), (64000, "64"), (0, "0")]
)
def test_vcpus_are_written_as_people_write_them(milli: int, text: str) -> None:
    assert vcpus(milli) == text


# --- one environment ------------------------------------------------------------------------------


def test_what_fits_names_the_instance() -> None:
    assert fit(shape(), environment(), uses()) == Fit(
        compute_environment="ce", verdict="fits", instance_id="i-1"
    )


@pytest.mark.parametrize(
    "asks",
    [shape(4000), shape(memory_mib=4096), shape(gpus=1), shape(4000, 4096, 1)],
)
def test_a_job_may_take_all_there_is(asks: Shape) -> None:
    assert fit(asks, environment(max_vcpu_milli=4000), uses()).verdict == "fits"


@pytest.mark.parametrize(
    ("asks", "code", "detail"),
    [
        (
            shape(memory_mib=4097),
            "MEMORY",
            "asks for 4097 MiB of memory; the largest instance of ce has 4096 MiB",
        ),
        (shape(4001), "VCPU", "asks for 4.001 vCPUs; the largest instance of ce has 4 vCPUs"),
        (shape(gpus=2), "GPU", "asks for 2 GPUs; the largest instance of ce has 1 GPUs"),
    ],
)
def test_what_never_fits_names_both_numbers(asks: Shape, code: Any, detail: str) -> None:
    assert fit(asks, environment(), uses()) == Fit(
        compute_environment="ce", verdict="never", code=code, detail=detail
    )


@pytest.mark.parametrize(
    ("free", "asks", "code", "detail"),
    [
        (
            shape(4000, 50, 1),
            shape(),
            "MEMORY",
            "asks for 100 MiB of memory; 50 MiB of 4096 MiB are free on i-1",
        ),
        (
            shape(500, 4096, 1),
            shape(),
            "VCPU",
            "asks for 1 vCPUs; 0.5 vCPUs of 4 vCPUs are free on i-1",
        ),
        (
            shape(4000, 4096, 0),
            shape(gpus=1),
            "GPU",
            "asks for 1 GPUs; 0 GPUs of 1 GPUs are free on i-1",
        ),
    ],
)
def test_what_must_wait_names_what_is_free(
    free: Shape, asks: Shape, code: Any, detail: str
) -> None:
    assert fit(asks, environment(), uses(free)) == Fit(
        compute_environment="ce", verdict="waits", code=code, detail=detail
    )


def test_more_than_max_vcpus_never_fits() -> None:
    assert fit(shape(3000), environment(max_vcpu_milli=2000), uses()) == Fit(
        compute_environment="ce",
        verdict="never",
        code="MAX_VCPUS",
        detail="asks for 3 vCPUs; maxvCpus of ce is 2",
    )


@pytest.mark.parametrize(("used", "verdict"), [(1000, "fits"), (1001, "waits")])
def test_max_vcpus_that_are_in_use_make_it_wait(used: int, verdict: str) -> None:
    limited = environment(max_vcpu_milli=2000, used_vcpu_milli=used)
    assert fit(shape(1000), limited, uses()).verdict == verdict


def test_waiting_for_max_vcpus_names_both_numbers() -> None:
    limited = environment(max_vcpu_milli=3000, used_vcpu_milli=2500)
    assert fit(shape(1000), limited, uses()) == Fit(
        compute_environment="ce",
        verdict="waits",
        code="MAX_VCPUS",
        detail="asks for 1 vCPUs; 0.5 of maxvCpus 3 are free",
    )


def test_an_environment_in_trouble_is_not_usable() -> None:
    assert fit(shape(), environment(usable=False, trouble="ce is DISABLED"), uses()) == Fit(
        compute_environment="ce", verdict="unusable", code="ENVIRONMENT", detail="ce is DISABLED"
    )


def test_an_environment_without_instances_is_not_usable() -> None:
    assert fit(shape(), environment(), {}) == Fit(
        compute_environment="ce",
        verdict="unusable",
        code="ENVIRONMENT",
        detail="ce has no instance",
    )


def two_machines(small_free: Shape, large_free: Shape) -> dict[str, InstanceUse]:
    small, large = machine("i-1", vcpus=2, memory_mib=9000), machine("i-2", vcpus=8)
    return {
        "i-1": InstanceUse(instance=small, free=small_free),
        "i-2": InstanceUse(instance=large, free=large_free),
    }


def test_of_several_instances_the_largest_speaks() -> None:
    both = environment(instance_ids=("i-1", "i-2"))
    machines = two_machines(shape(0, 0), shape(0, 0))
    judged = fit(shape(9000), both, machines)
    assert judged.detail == "asks for 9 vCPUs; the largest instance of ce has 8 vCPUs"
    judged = fit(shape(8000, 5000), both, machines)
    assert judged.detail == ("asks for 5000 MiB of memory; the largest instance of ce has 4096 MiB")


def test_of_several_instances_the_roomiest_that_could_take_it_speaks() -> None:
    both = environment(instance_ids=("i-1", "i-2"))
    judged = fit(shape(3000), both, two_machines(shape(2000, 9000), shape(1000, 4096)))
    assert judged.detail == "asks for 3 vCPUs; 1 vCPUs of 8 vCPUs are free on i-2"
    judged = fit(shape(2000), both, two_machines(shape(1500, 9000), shape(1000, 4096)))
    assert judged.detail == "asks for 2 vCPUs; 1.5 vCPUs of 2 vCPUs are free on i-1"


def test_the_first_instance_with_room_takes_it() -> None:
    both = environment(instance_ids=("i-1", "i-2"))
    judged = fit(shape(1500), both, two_machines(shape(1000, 9000), shape(2000, 4096)))
    assert judged.instance_id == "i-2"


# --- all environments of a queue ------------------------------------------------------------------

FITS = Fit(compute_environment="a", verdict="fits", instance_id="i-1")
WAITS = Fit(compute_environment="b", verdict="waits", code="VCPU", detail="asks for x; y is free")
NEVER = Fit(compute_environment="c", verdict="never", code="MEMORY", detail="asks for x; has y")
OVER = Fit(compute_environment="d", verdict="never", code="MAX_VCPUS", detail="asks for 9; 8")
OFF = Fit(compute_environment="e", verdict="unusable", code="ENVIRONMENT", detail="e is DISABLED")


def test_a_job_that_fits_starts_with_the_next_pass() -> None:
    said = explain(shape(), (NEVER, FITS), queue="q")
    assert said.sentence == "It fits a now and starts with the next pass."
    assert said.fix == "Nothing to do."
    assert said.status_reason is None
    assert said.fits == (NEVER, FITS)


def test_a_job_that_waits_its_turn_is_not_misconfigured() -> None:
    said = explain(shape(), (NEVER, WAITS, OFF), queue="q")
    assert said.sentence == "It asks for x; y is free."
    assert said.fix == "Wait for running jobs to end, or lower the request."
    assert said.status_reason is None
    assert said.fits == (NEVER, WAITS, OFF)


def test_a_queue_without_environments_needs_one() -> None:
    said = explain(shape(), (), queue="q")
    assert said.sentence == "Job queue q has no compute environment."
    assert "aws batch update-job-queue" in said.fix
    assert said.status_reason == INVALID


def test_environments_that_are_off_must_be_enabled() -> None:
    said = explain(shape(), (OFF, OFF), queue="q")
    assert said.sentence == ("No compute environment of q is usable: e is DISABLED; e is DISABLED.")
    assert "aws batch update-compute-environment --state ENABLED" in said.fix
    assert said.status_reason == INVALID
    assert said.fits == (OFF, OFF)


@pytest.mark.parametrize(
    ("fits", "reason"),
    [
        ((OVER,), MAX_RESOURCE),
        ((OVER, OFF), MAX_RESOURCE),
        ((NEVER,), REQUIREMENT),
        ((OVER, NEVER), REQUIREMENT),
    ],
)
def test_a_job_that_can_never_start_gets_the_text_aws_gives(
    fits: tuple[Fit, ...], reason: str
) -> None:
    said = explain(shape(), fits, queue="q")
    assert said.status_reason == reason
    assert said.fits == fits


def test_a_job_that_can_never_start_names_the_numbers_of_every_environment() -> None:
    said = explain(shape(), (OVER, OFF, NEVER), queue="q")
    assert said.sentence == ("It can never start here: it asks for 9; 8; asks for x; has y.")


@pytest.mark.parametrize(("code", "what"), [("MEMORY", "MEMORY"), ("VCPU", "VCPU"), ("GPU", "GPU")])
def test_the_fix_for_a_large_request_is_a_smaller_one(code: Any, what: str) -> None:
    said = explain(shape(), (replace(NEVER, code=code),), queue="q")
    assert said.fix == (
        f"Terminate it and submit it again with a smaller {what} in resourceRequirements, "
        "or add a compute environment with a larger machine to the queue."
    )


def test_the_fix_for_a_low_limit_is_a_higher_one() -> None:
    said = explain(shape(12_500), (OVER,), queue="q")
    assert said.fix == "Raise maxvCpus of d to at least 12.5, or ask for less."
