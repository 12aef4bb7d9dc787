"""What a new yard holds before anybody asks: a compute environment for this machine, a queue."""

import uuid
from contextlib import suppress

from batchyard.control.bus import Bus
from batchyard.kernel.commands import (
    CreateComputeEnvironment,
    CreateJobQueue,
    SettleComputeEnvironment,
    SettleJobQueue,
)
from batchyard.kernel.faults import Conflict
from batchyard.store.port import Store

ENVIRONMENT = "this-machine"
QUEUE = "default"
DONE = "first_start"


async def furnish(bus: Bus, store: Store) -> None:
    """Make the default environment and queue, once in the life of a yard.

    Each step is taken again after a crash until all are done; a queue deleted by its owner later
    does not come back.
    """
    if await store.read(lambda r: r.meta(DONE)):
        return
    with suppress(Conflict):
        await bus.execute(
            CreateComputeEnvironment(
                uuid=str(uuid.uuid4()),
                request={
                    "computeEnvironmentName": ENVIRONMENT,
                    # AWS: unmanaged means that the owner brings the machines, as here.
                    "type": "UNMANAGED",
                    "state": "ENABLED",
                    "tags": {"batchyard:capacity": "host"},
                },
            )
        )
    # Its own follow-up does the same; whoever comes second finds nothing to do.
    await bus.execute(SettleComputeEnvironment(name=ENVIRONMENT, generation=1))
    with suppress(Conflict):
        await bus.execute(
            CreateJobQueue(
                request={
                    "jobQueueName": QUEUE,
                    "state": "ENABLED",
                    "priority": 1,
                    "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": ENVIRONMENT}],
                }
            )
        )
    await bus.execute(SettleJobQueue(name=QUEUE, generation=1))
    await store.write(lambda tx: tx.put_meta(DONE, "yes"))
