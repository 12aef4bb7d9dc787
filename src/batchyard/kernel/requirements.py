"""vCPU, memory and GPUs: what a definition or an override says, judged and merged.

AWS keeps two forms: the members `vcpus` and `memory` of old definitions, and the list
`resourceRequirements`. The list wins over the members, per type.
"""

import re
from types import MappingProxyType
from typing import Final

import msgspec

from batchyard.kernel.document import Document, Members
from batchyard.kernel.faults import InvalidRequest
from batchyard.kernel.resources import Shape

TYPES: Final = ("GPU", "VCPU", "MEMORY")
_WHOLE: Final = re.compile(r"[0-9]{1,9}")
_DECIMAL: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,3})?")

_FARGATE_MIB: Final = MappingProxyType[int, tuple[int, ...]](
    {
        250: (512, 1024, 2048),
        500: tuple(range(1024, 4097, 1024)),
        1000: tuple(range(2048, 8193, 1024)),
        2000: tuple(range(4096, 16385, 1024)),
        4000: tuple(range(8192, 30721, 1024)),
        8000: tuple(range(16384, 61441, 4096)),
        16000: tuple(range(32768, 122881, 8192)),
    }
)
"""vCPU in thousandths to the memory sizes that Fargate sells with it."""


class Requirements(msgspec.Struct, frozen=True, kw_only=True):
    """One source's say. `listed` holds the values of resourceRequirements as they were sent."""

    listed: dict[str, str] = {}
    vcpus: int | None = None
    memory_mib: int | None = None

    def members(self) -> Members:
        """The wire members this is written as, without `resourceRequirements` when it is empty."""
        out: Members = {}
        if self.vcpus is not None:
            out["vcpus"] = self.vcpus
        if self.memory_mib is not None:
            out["memory"] = self.memory_mib
        out["resourceRequirements"] = [{"value": v, "type": k} for k, v in self.listed.items()]
        return out


def read(doc: Document) -> Requirements:
    """What containerProperties or containerOverrides ask for, each value well-formed by itself."""
    listed: dict[str, str] = {}
    for entry in doc.sections("resourceRequirements"):
        kind = entry.choice("type", TYPES)
        if kind is None:
            raise InvalidRequest(f"{entry.at('type')} must be specified.", field=entry.at("type"))
        if kind in listed:
            raise InvalidRequest(
                f"{doc.at('resourceRequirements')} names {kind} more than once.",
                field=entry.at("type"),
            )
        listed[kind] = _value(entry, kind)
    return Requirements(
        listed=listed,
        vcpus=doc.integer("vcpus", 0),
        memory_mib=doc.integer("memory", 0),
    )


def merge(base: Requirements, override: Requirements) -> Requirements:
    """`base` of the definition with what a submission overrides.

    AWS: legacy overrides change legacy definitions alone; against resourceRequirements they are
    ignored. An override in resourceRequirements beats both forms.
    """
    listed = {**base.listed, **override.listed}
    vcpus, memory_mib = base.vcpus, base.memory_mib
    if vcpus is not None and override.vcpus is not None:
        vcpus = override.vcpus
    if memory_mib is not None and override.memory_mib is not None:
        memory_mib = override.memory_mib
    return Requirements(
        listed=listed,
        vcpus=None if "VCPU" in listed else vcpus,
        memory_mib=None if "MEMORY" in listed else memory_mib,
    )


def shape(requirements: Requirements, *, fargate: bool = False) -> Shape:
    """The demand, complete and within AWS's limits.

    Raises:
        InvalidRequest: vCPU or memory is missing, not a number, or too small.
    """
    vcpu_milli = _vcpu_milli(requirements, fargate=fargate)
    memory_mib = _memory_mib(requirements)
    gpus = _whole(requirements.listed.get("GPU", "0"), "GPU")
    if fargate:
        _check_fargate(vcpu_milli, memory_mib, gpus)
    return Shape(vcpu_milli=vcpu_milli, memory_mib=memory_mib, gpus=gpus)


def _value(entry: Document, kind: str) -> str:
    # OBSERVED: some clients send numbers; AWS's front end turns them into the string.
    raw = entry.members.get("value")
    if isinstance(raw, int) and not isinstance(raw, bool):
        return str(raw)
    value = entry.text("value")
    if value is None:
        raise InvalidRequest(f"{entry.at('value')} of {kind} must be specified.")
    return value


def _vcpu_milli(requirements: Requirements, *, fargate: bool) -> int:
    value = requirements.listed.get("VCPU")
    if value is None and requirements.vcpus is not None:
        value = str(requirements.vcpus)
    if value is None:
        raise InvalidRequest("vCPU is not provided.", field="resourceRequirements")
    if fargate and _DECIMAL.fullmatch(value):
        whole, _, fraction = value.partition(".")
        return int(whole) * 1000 + int(fraction.ljust(3, "0"))
    vcpus = _whole(value, "VCPU")
    if vcpus < 1:
        raise InvalidRequest(
            f"At least 1 vCPU is needed, but {vcpus} was given.", field="resourceRequirements"
        )
    return vcpus * 1000


def _memory_mib(requirements: Requirements) -> int:
    value = requirements.listed.get("MEMORY")
    if value is None and requirements.memory_mib is not None:
        value = str(requirements.memory_mib)
    if value is None:
        raise InvalidRequest("Memory is not provided.", field="resourceRequirements")
    memory_mib = _whole(value, "MEMORY")
    if memory_mib < 4:
        raise InvalidRequest(
            f"At least 4 MiB of memory are needed, but {memory_mib} was given.",
            field="resourceRequirements",
            hint="MEMORY is in MiB.",
        )
    return memory_mib


def _whole(value: str, kind: str) -> int:
    if _WHOLE.fullmatch(value) is None:
        raise InvalidRequest(
            f"Value {value} for type {kind} in resourceRequirement is not valid. "
            "Please provide a numeric value.",
            field="resourceRequirements",
            hint="Give a whole number as a string, such as '2'.",
        )
    return int(value)


def _check_fargate(vcpu_milli: int, memory_mib: int, gpus: int) -> None:
    if gpus:
        raise InvalidRequest("GPU is not applicable for Fargate.", field="resourceRequirements")
    allowed = _FARGATE_MIB.get(vcpu_milli)
    said = f"{vcpu_milli / 1000:.2f} vCPU"
    if allowed is None:
        raise InvalidRequest(
            f"Fargate resource requirements ({said}) not valid.", field="resourceRequirements"
        )
    if memory_mib not in allowed:
        raise InvalidRequest(
            f"Fargate resource requirements ({said}, {memory_mib} MiB) not valid.",
            field="resourceRequirements",
        )
