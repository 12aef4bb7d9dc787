"""A whole control plane on virtual time: real store, real loops, a `ScriptedExecutor`.

async def main(time: VirtualTime) -> None:
    async with simulated_yard(time) as yard:
        job = await yard.submit()
        await yard.executor.begins(attempt_id(job, 1))
        await yard.kill()           # SIGKILL, as far as one process can play it
        yard.executor.ends(attempt_id(job, 1), 0)
        await yard.start()
        await yard.rest()
        assert (await yard.job(job)).status == "SUCCEEDED"

run_virtually(main)
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count

import msgspec

from batchyard.control.injection import Surroundings
from batchyard.control.loops import Control
from batchyard.control.port import Clock, Failpoint, no_failpoint
from batchyard.kernel import commands as cmd
from batchyard.kernel.job import Job, JobSpec
from batchyard.kernel.resources import Shape
from batchyard.scheduler.snapshot import Instance
from batchyard.store.port import Reader
from batchyard.store.sqlite import SqliteStore, open_memory_store
from batchyard.testing.scripted import ScriptedExecutor
from batchyard.testing.virtual_time import PatientStore, VirtualTime

INSTANCE = "i-0000000000000001"
ENVIRONMENT = "environment"
QUEUE = "q"
DEFINITION = "definition"


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """What `kernel.invariants.check` wants to know. `effects`: how many the outbox holds."""

    jobs: dict[str, Job]
    specs: dict[str, JobSpec]
    effects: int


class SimulatedYard:
    """One yard, through as many lives of its server as a test wants. Made by `simulated_yard`."""

    def __init__(
        self,
        time: VirtualTime,
        store: SqliteStore,
        *,
        executor: ScriptedExecutor,
        total: Shape,
        failpoint: Failpoint,
    ) -> None:
        self.time = time
        self.store = store
        self.executor = executor
        self.total = total
        """What its one instance has; the next `start` sees a change."""
        self._failpoint = failpoint
        self._numbers = count(1)
        self._hold = PatientStore(store, time)
        self._loops: asyncio.Task[None] | None = None
        self.control = self._assemble()

    # --- lives of the server -----------------------------------------------------------------

    async def start(self) -> None:
        """A new server on the same store and the same engine, recovered and running."""
        self._hold = PatientStore(self.store, self.time)
        self.control = self._assemble()
        await self.control.open()
        ready = asyncio.Event()
        self._loops = asyncio.create_task(self.control.serve(ready))
        recovered = asyncio.create_task(ready.wait())
        await asyncio.wait([recovered, self._loops], return_when=asyncio.FIRST_COMPLETED)
        if not recovered.done():
            recovered.cancel()
            await self._loops

    async def stop(self) -> None:
        """An orderly end of the server."""
        if self._loops is not None:
            loops, self._loops = self._loops, None
            loops.cancel()
            with suppress(asyncio.CancelledError):
                await loops

    async def kill(self) -> None:
        """The server dies at once: what is not on disk by now never will be."""
        self._hold.kill()
        await self.stop()

    async def rest(self, for_s: float = 0.001) -> None:
        """Everything that can happen by then has happened."""
        await asyncio.sleep(for_s)

    def _assemble(self) -> Control:
        return Control(
            store=self._hold,
            executor=self.executor,
            instances=[Instance(instance_id=INSTANCE, total=self.total)],
            around=Surroundings(
                endpoint_url="http://127.0.0.1:7460",
                region="us-east-1",
                credentials_url="http://127.0.0.1:7460/credentials",
                token_for=lambda attempt, role: f"token of {attempt}",
            ),
            clock=self.time.now_ms,
            failpoint=self._failpoint,
        )

    # --- commands ----------------------------------------------------------------------------

    async def do(self, command: cmd.Command) -> object:
        return await self.control.bus.execute(command)

    async def furnish(self) -> None:
        """A queue on an environment, both VALID, and a definition of one vCPU and 128 MiB."""
        await self.environment()
        await self.queue()
        properties = {
            "image": "busybox",
            "resourceRequirements": [
                {"type": "VCPU", "value": "1"},
                {"type": "MEMORY", "value": "128"},
            ],
        }
        await self.do(
            cmd.RegisterJobDefinition(
                request={
                    "jobDefinitionName": DEFINITION,
                    "type": "container",
                    "containerProperties": properties,
                }
            )
        )
        await self.rest()

    async def environment(self, name: str = ENVIRONMENT) -> None:
        request: dict[str, object] = {"computeEnvironmentName": name, "type": "UNMANAGED"}
        await self.do(cmd.CreateComputeEnvironment(request=request, uuid=f"uuid-of-{name}"))
        await self.rest()

    async def queue(self, name: str = QUEUE, *, priority: int = 1) -> None:
        order = [{"order": 1, "computeEnvironment": ENVIRONMENT}]
        request: dict[str, object] = {
            "jobQueueName": name,
            "priority": priority,
            "computeEnvironmentOrder": order,
        }
        await self.do(cmd.CreateJobQueue(request=request))
        await self.rest()

    async def submit(
        self,
        *,
        queue: str = QUEUE,
        vcpus: int = 1,
        memory_mib: int = 128,
        attempts: int = 1,
        array: int | None = None,
        depends_on: Sequence[dict[str, object]] = (),
        timeout_s: int | None = None,
    ) -> str:
        """Submit a job; its id. Nothing of what follows from it has been waited for."""
        number = next(self._numbers)
        job_id = f"{number:08x}-0000-4000-8000-000000000000"
        request: dict[str, object] = {
            "jobName": f"job-{number}",
            "jobQueue": queue,
            "jobDefinition": DEFINITION,
            "retryStrategy": {"attempts": attempts},
            "containerOverrides": {
                "resourceRequirements": [
                    {"type": "VCPU", "value": str(vcpus)},
                    {"type": "MEMORY", "value": str(memory_mib)},
                ]
            },
        }
        if array is not None:
            request["arrayProperties"] = {"size": array}
        if depends_on:
            request["dependsOn"] = list(depends_on)
        if timeout_s is not None:
            request["timeout"] = {"attemptDurationSeconds": timeout_s}
        await self.do(cmd.SubmitJob(job_id=job_id, seq=number, request=request))
        return job_id

    # --- looking -----------------------------------------------------------------------------

    async def job(self, job_id: str) -> Job:
        """The row of a job that must have one."""
        row = await self.store.read(lambda r: r.job(job_id))
        assert row is not None, f"{job_id} has no row"
        return row

    async def jobs(self) -> dict[str, Job]:
        """All rows of jobs by id."""
        return await self.store.read(_jobs)

    async def picture(self) -> Picture:
        """All jobs and what is due, as of one moment: the loops go on while one looks."""
        return await self.store.read(_picture)

    async def effects(self) -> int:
        """How many effects the outbox holds."""
        return len(await self.store.read(lambda r: r.pending_effects()))


def _picture(reader: Reader) -> Picture:
    jobs = _jobs(reader)
    return Picture(
        jobs=jobs,
        specs=reader.specs({job.root_id for job in jobs.values()}),
        effects=len(reader.pending_effects()),
    )


def _jobs(reader: Reader) -> dict[str, Job]:
    found: dict[str, Job] = {}
    after = 0
    while recorded := reader.events_after(after, limit=1000):
        after = recorded[-1].seq
        kinds = (one.event.key for one in recorded)
        found |= reader.jobs({name for kind, name in kinds if kind == "job"})
    return found


@asynccontextmanager
async def simulated_yard(
    time: VirtualTime,
    *,
    vcpus: int = 4,
    memory_mib: int = 4096,
    deaf: bool = False,
    failpoint: Failpoint = no_failpoint,
    store_failpoint: Failpoint = no_failpoint,
) -> AsyncIterator[SimulatedYard]:
    """A yard that is up and furnished; it is stopped in order at the end.

    Args:
        vcpus: What its one instance has.
        deaf: Stopping an attempt does not end it.
        failpoint: Called by control at its named places.
        store_failpoint: Called by the store's writer: raising in `store.before_commit` is a disk
            that refuses.
    """
    clock: Clock = time.now_ms
    store = open_memory_store(clock=clock, failpoints=store_failpoint)
    yard = SimulatedYard(
        time,
        store,
        executor=ScriptedExecutor(clock=clock, deaf=deaf),
        total=Shape(vcpu_milli=1000 * vcpus, memory_mib=memory_mib, gpus=0),
        failpoint=failpoint,
    )
    try:
        await yard.start()
        await yard.furnish()
        yield yard
    finally:
        await yard.stop()
        await store.close()
