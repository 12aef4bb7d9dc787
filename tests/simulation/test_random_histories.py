"""The whole control plane through random histories: deaths, outages, losses, full disks, stops.

A history that fails is told with its seed; `-k "seed-17"` lives it again.
"""

from random import Random

import pytest

from batchyard.testing.simulated import simulated_yard
from batchyard.testing.virtual_time import VirtualTime, run_virtually
from simulation.random_yard import QUEUES, ROOM_MIB, ROOM_MILLI, Disk, RandomYard

HISTORIES = 60


@pytest.mark.parametrize("seed", range(HISTORIES), ids=lambda seed: f"seed-{seed}")
def test_everything_comes_to_its_end_and_the_laws_hold(seed: int) -> None:
    async def main(time: VirtualTime) -> None:
        disk = Disk()
        async with simulated_yard(
            time, vcpus=ROOM_MILLI // 1000, memory_mib=ROOM_MIB, store_failpoint=disk
        ) as yard:
            await yard.queue(QUEUES[1], priority=9)
            driven = RandomYard(yard, disk, Random(seed))
            try:
                await driven.live()
            finally:
                print(" > ".join(driven.story))

    run_virtually(main)
