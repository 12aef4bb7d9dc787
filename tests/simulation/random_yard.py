"""Random histories of a simulated yard, and the laws that must hold in and after them."""

from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

from batchyard.executors.port import Observation
from batchyard.kernel import commands as cmd
from batchyard.kernel import events as ev
from batchyard.kernel.evolve import evolve
from batchyard.kernel.faults import StoreUnavailable
from batchyard.kernel.ids import child_id
from batchyard.kernel.invariants import check
from batchyard.kernel.resources import Shape
from batchyard.kernel.states import TERMINAL
from batchyard.scheduler.index import LiveIndex
from batchyard.scheduler.snapshot import Environment, Head, Instance, InstanceUse
from batchyard.store.port import Reader
from batchyard.testing.scripted import TERMINATED
from batchyard.testing.simulated import INSTANCE, SimulatedYard

STEPS = 80
QUEUES = ("q", "urgent")
ROOM_MILLI = 4000
ROOM_MIB = 4096
HUGE_MIB = 1_000_000

Picture = tuple[dict[str, tuple[Head, ...]], dict[str, Environment], dict[str, InstanceUse]]


class Disk:
    """The store's failpoint: refuses as many commits as it was told to."""

    def __init__(self) -> None:
        self.refusals = 0

    def __call__(self, name: str, /) -> None:
        if name == "store.before_commit" and self.refusals:
            self.refusals -= 1
            raise OSError("no space left on device")


class RandomYard:
    """Drives one yard by one seed. Everything drawn comes from `random`."""

    def __init__(self, yard: SimulatedYard, disk: Disk, random: Random) -> None:
        self.yard = yard
        self.disk = disk
        self.random = random
        self.up = True
        self.story: list[str] = []
        self.roots: list[tuple[str, int | None]] = []
        self.forgotten: set[str] = set()
        self.codes: dict[str, int] = {}
        self.seen: list[Observation] = []
        self.ends = 0

    async def live(self) -> None:
        """A whole history: some things happen, then everything comes to its end."""
        happenings: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (8, self._submit),
            (14, self._attempt_moves),
            (3, self._stale_report),
            (3, self._stop_a_job),
            (2, self._engine_goes_away),
            (1, self._disk_refuses),
            (2, self._server_dies_or_stops),
            (5, self._time_passes),
        ]
        weights = [weight for weight, _ in happenings]
        for step in range(STEPS):
            _, happen = self.random.choices(happenings, weights)[0]
            self.story.append(happen.__name__)
            await happen()
            if not self.up and self.random.random() < 0.5:
                await self._start()
            self._engine_laws()
            if step % 20 == 19:
                await self._laws()
        await self._finish()

    # --- what happens ------------------------------------------------------------------------

    async def _submit(self) -> None:
        if not self.up:
            return
        random = self.random
        size = random.choice((None, None, None, 2, 3, 5))
        needs: list[dict[str, object]] = []
        if self.roots and random.random() < 0.4:
            root, children = random.choice(self.roots)
            if children is not None and random.random() < 0.5:
                root = child_id(root, random.randrange(children))
            needs.append({"jobId": root})
        if size is not None and random.random() < 0.3:
            needs.append({"type": "SEQUENTIAL"})
        same = [root for root, children in self.roots if children == size]
        if size is not None and same and random.random() < 0.3:
            needs.append({"jobId": random.choice(same), "type": "N_TO_N"})
        huge = random.random() < 0.05
        before = set(await self.yard.jobs())
        try:
            job_id = await self.yard.submit(
                queue=random.choice(QUEUES),
                vcpus=random.choice((1, 1, 2, 4)),
                memory_mib=HUGE_MIB if huge else 128,
                attempts=random.choice((1, 2, 3)),
                array=size,
                depends_on=needs,
                timeout_s=random.choice((None, None, 60)),
            )
        except StoreUnavailable:
            assert set(await self.yard.jobs()) == before, "a refused submit left a job behind"
            return
        self.roots.append((job_id, size))

    async def _attempt_moves(self) -> None:
        executor, random = self.yard.executor, self.random
        going = [held for held in executor.held.values() if held.state != "ended"]
        if not going:
            return
        held = random.choice(going)
        name = held.spec.attempt_id
        draw = random.random()
        if held.state == "created" and draw < 0.6:
            executor.run(name)
        elif draw < 0.75:
            self._end(name, random.choice((0, 0, 0, 1, 137)))
        elif held.state == "created" and draw < 0.85:
            executor.fails_to_start(name, "CannotPullContainerError: no such image")
        elif draw < 0.95:
            self.forgotten.add(name)
            if self.up:
                executor.loses(name)
            else:
                executor.forgets(name)
        if held.last is not None:
            self.seen.append(held.last)

    def _end(self, name: str, code: int) -> None:
        self.codes[name] = code
        self.yard.executor.ends(name, code)

    async def _stale_report(self) -> None:
        """Something that was said already is said again."""
        if not self.seen:
            return
        said = self.random.choice(self.seen)
        # What the engine forgot may have been started afresh, and none of this is true of it.
        if said.attempt_id not in self.forgotten:
            self.yard.executor.reports(said)

    async def _stop_a_job(self) -> None:
        if not self.roots or not self.up:
            return
        job_id, size = self.random.choice(self.roots)
        if size is not None and self.random.random() < 0.5:
            job_id = child_id(job_id, self.random.randrange(size))
        kind = self.random.choice((cmd.CancelJob, cmd.TerminateJob))
        await self._do(kind(job_id=job_id, reason="by the script"))

    async def _engine_goes_away(self) -> None:
        self.yard.executor.unavailable(
            times=self.random.randint(1, 4), done=self.random.random() < 0.5
        )

    async def _disk_refuses(self) -> None:
        self.disk.refusals += self.random.randint(1, 2)

    async def _server_dies_or_stops(self) -> None:
        if not self.up:
            return
        if self.random.random() < 0.8:
            await self.yard.kill()
        else:
            await self.yard.stop()
        self.up = False

    async def _time_passes(self) -> None:
        await self.yard.rest(self.random.choice((0.0, 0.0005, 0.001, 0.2, 3.0, 30.0, 100.0)))

    async def _start(self) -> None:
        # A start that finds no engine or no disk ends with its reason; its owner starts it again.
        self.yard.executor.recovers()
        self.disk.refusals = 0
        await self.yard.start()
        self.up = True

    async def _do(self, command: cmd.Command) -> None:
        try:
            await self.yard.do(command)
        except StoreUnavailable:
            self.story.append("refused by the disk")

    # --- the end -----------------------------------------------------------------------------

    async def _finish(self) -> None:
        """All trouble is over: whatever lives ends well, and what can never start is terminated."""
        if not self.up:
            await self._start()
        self.yard.executor.recovers()
        self.disk.refusals = 0
        await self.yard.rest(30)
        while await self._open_roots():
            self.ends += 1
            assert self.ends < 400, f"still open: {await self._open_roots()}"
            for name, held in list(self.yard.executor.held.items()):
                if held.state != "ended":
                    self._end(name, 0)
            await self.yard.rest()
            if not self.yard.executor.held:
                await self.yard.rest(30)
                await self._terminate_what_never_fits()
        await self.yard.rest(2)
        await self._laws()
        assert await self.yard.effects() == 0
        assert self.yard.executor.held == {}
        assert self.yard.control.index.snapshot(window=1).lines == ()

    async def _open_roots(self) -> list[str]:
        jobs = await self.yard.jobs()
        return [root for root, _ in self.roots if jobs[root].status not in TERMINAL]

    async def _terminate_what_never_fits(self) -> None:
        jobs = await self.yard.jobs()
        for root in await self._open_roots():
            if jobs[root].shape.memory_mib == HUGE_MIB:
                await self.yard.do(cmd.TerminateJob(job_id=root, reason="too large"))

    # --- the laws ----------------------------------------------------------------------------

    def _engine_laws(self) -> None:
        """True at every moment, also while no server lives."""
        going = [held.spec for held in self.yard.executor.held.values() if held.state != "ended"]
        twice = [job for job, n in Counter(spec.job_id for spec in going).items() if n > 1]
        assert not twice, f"two live attempts of {twice}"
        assert sum(spec.vcpu_milli for spec in going) <= ROOM_MILLI, f"over-committed: {going}"
        began = {n for n, times in self.yard.executor.began.items() if times > 1}
        assert began <= self.forgotten, f"began twice: {began - self.forgotten}"

    async def _laws(self) -> None:
        seen = await self.yard.picture()
        jobs = seen.jobs
        breaches = check(jobs, seen.specs, at_rest=not seen.effects)
        assert not breaches, "\n".join(breaches)
        assert {root for root, _ in self.roots} <= set(jobs), "an acknowledged submit is lost"
        await self.yard.store.read(_rows_are_the_fold_of_their_events)
        for job in jobs.values():
            for attempt in job.attempts:
                true = self.codes.get(attempt.attempt_id, TERMINATED)
                assert attempt.exit_code in (None, true), f"{attempt} should have {true}"
        if self.up:
            # Long enough for every retry; then a moment at which no timer is due.
            await self.yard.rest(15)
            await self.yard.rest(0.000317)
            rebuilt = await self.yard.store.read(_rebuilt)
            assert _picture(self.yard.control.index) == _picture(rebuilt)


def _rows_are_the_fold_of_their_events(reader: Reader) -> None:
    folded: dict[ev.Key, ev.Row | None] = {}
    after = 0
    while recorded := reader.events_after(after, limit=5000):
        after = recorded[-1].seq
        for one in recorded:
            folded[one.event.key] = evolve(folded.get(one.event.key), one.event)
    rows: dict[ev.Key, ev.Row] = {("queue", q.name): q for q in reader.queues()}
    rows |= {("compute_environment", c.name): c for c in reader.compute_environments()}
    rows |= {("definition", d.key): d for d in reader.definitions(limit=100)}
    ids = [name for kind, name in folded if kind == "job"]
    rows |= {("job", name): job for name, job in reader.jobs(ids).items()}
    assert {key: row for key, row in folded.items() if row is not None} == rows


def _picture(index: LiveIndex) -> Picture:
    """What two indexes must agree on to be the same."""
    seen = index.snapshot(window=1000)
    return (
        {line.queue: line.heads for line in seen.lines},
        seen.environments,
        seen.instances,
    )


def _rebuilt(reader: Reader) -> LiveIndex:
    """The index as a start would make it."""
    index = LiveIndex()
    index.add_instance(
        Instance(instance_id=INSTANCE, total=Shape(vcpu_milli=ROOM_MILLI, memory_mib=ROOM_MIB))
    )
    for environment in reader.compute_environments():
        index.apply(ev.ComputeEnvironmentSaved(compute_environment=environment), None)
    for queue in reader.queues():
        index.apply(ev.QueueSaved(queue=queue), None)
    for job in reader.open_jobs():
        index.load(job)
    return index
