"""What a job asks for and what an instance has: vCPU in thousandths, memory in MiB, whole GPUs."""

import msgspec


class Shape(msgspec.Struct, frozen=True, kw_only=True, order=True, gc=False):
    """A demand. Jobs of equal shape share one value in the live index."""

    vcpu_milli: int
    memory_mib: int
    gpus: int = 0
