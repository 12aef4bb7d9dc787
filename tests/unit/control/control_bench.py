"""A control layer with a real store in memory, a hand-set clock and an executor a test plays."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

from batchyard.api import Yard, batch_handlers
from batchyard.control.injection import Surroundings
from batchyard.control.loops import Control
from batchyard.control.port import Failpoint, no_failpoint
from batchyard.executors.port import AttemptSpec, Observation, Probe, Sighting
from batchyard.kernel.ids import Realm
from batchyard.kernel.job import Job
from batchyard.kernel.resources import Shape
from batchyard.scheduler.snapshot import Instance
from batchyard.store.sqlite import SqliteStore

NOW_MS = 1_700_000_000_000
DEADLINE_S = 20.0


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on a loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


class PlayedExecutor:
    """Remembers what it was asked; says what the test says."""

    name = "played"

    def __init__(self, *sightings: Sighting) -> None:
        self.asked: list[tuple[str, str]] = []
        self.sightings = list(sightings)
        self.observe: Callable[[Observation], None] = lambda observation: None
        self._news = asyncio.Event()

    async def open(self, observe: Callable[[Observation], None]) -> Probe:
        self.observe = observe
        return Probe(engine="played")

    async def start(self, spec: AttemptSpec) -> None:
        self._note("start", spec.attempt_id)

    async def adopt(self, spec: AttemptSpec) -> None:
        self._note("adopt", spec.attempt_id)

    async def stop(self, attempt_id: str, *, grace_s: float = 30.0) -> None:
        self._note("stop", attempt_id)

    async def remove(self, attempt_id: str) -> None:
        self._note("remove", attempt_id)

    async def list(self) -> list[Sighting]:
        return self.sightings

    def doing(self, attempt_id: str) -> None:
        return None

    def trouble(self) -> None:
        return None

    async def close(self) -> None:
        return None

    async def asked_to(self, what: str, attempt_id: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while (what, attempt_id) not in self.asked:
                self._news.clear()
                await self._news.wait()

    def _note(self, what: str, attempt_id: str) -> None:
        self.asked.append((what, attempt_id))
        self._news.set()


class ControlBench:
    """One store, and as many lives of the control layer as a test wants."""

    def __init__(self, store: SqliteStore, *, failpoint: Failpoint = no_failpoint) -> None:
        self.now_ms = NOW_MS
        self.store = store
        self._failpoint = failpoint
        self._ids = count(1)
        self._seq = count(1)
        self._call: Callable[..., Any] | None = None

    @asynccontextmanager
    async def life(self, executor: PlayedExecutor) -> AsyncIterator[Control]:
        """From a start to an orderly stop."""
        control = Control(
            store=self.store,
            executor=executor,
            instances=[Instance(instance_id="i-1", total=Shape(vcpu_milli=8000, memory_mib=8000))],
            around=Surroundings(
                endpoint_url="http://127.0.0.1:1",
                region="us-east-1",
                credentials_url="http://127.0.0.1:1/c",
                token_for=lambda attempt_id, role: "token",
            ),
            clock=lambda: self.now_ms,
            failpoint=self._failpoint,
        )
        handlers = batch_handlers(
            Yard(
                bus=control.bus,
                queries=self.store,
                realm=Realm(),
                new_id=lambda: f"00000000-0000-4000-8000-{next(self._ids):012d}",
                next_seq=lambda: next(self._seq),
            )
        )
        self._call = lambda operation, params: handlers["batch", operation](None, params)
        await control.open()
        ready = asyncio.Event()
        serving = asyncio.ensure_future(control.serve(ready))
        try:
            async with asyncio.timeout(DEADLINE_S):
                await ready.wait()
            yield control
        finally:
            serving.cancel()
            await asyncio.wait([serving])

    async def call(self, operation: str, **params: Any) -> dict[str, Any]:
        assert self._call is not None, "only within a life"
        answer: dict[str, Any] = await self._call(operation, params)
        return answer

    async def furnish(self) -> None:
        await self.call("CreateComputeEnvironment", computeEnvironmentName="ce", type="UNMANAGED")
        await self.call(
            "CreateJobQueue",
            jobQueueName="q",
            priority=1,
            computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "ce"}],
        )
        properties = {"image": "i", "vcpus": 1, "memory": 128, "command": ["true"]}
        await self.call(
            "RegisterJobDefinition",
            jobDefinitionName="d",
            type="container",
            containerProperties=properties,
        )

    async def submit(self, **members: Any) -> str:
        request = {"jobName": "j", "jobQueue": "q", "jobDefinition": "d", **members}
        return str((await self.call("SubmitJob", **request))["jobId"])

    async def job(self, job_id: str, status: str) -> Job:
        """The job, once it has the status."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                job = await self.store.read(lambda r: r.job(job_id))
                if job is not None and job.status == status:
                    return job
                await asyncio.sleep(0.01)

    async def settled(self) -> None:
        """Until the outbox is empty."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                if not await self.store.read(lambda r: r.pending_effects()):
                    return
                await asyncio.sleep(0.01)
