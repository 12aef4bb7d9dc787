"""Batchyard's own operations, `POST /_batchyard/v1/<name>`: what AWS's API has no words for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchyard import __version__
from batchyard.control.loops import Control
from batchyard.kernel import ranges as rg
from batchyard.kernel.children import synthesise_child
from batchyard.kernel.faults import InvalidRequest, NotFound
from batchyard.kernel.ids import child_id, split_child
from batchyard.kernel.job import ArrayState, Job
from batchyard.kernel.states import LIVE, STATUSES, TERMINAL
from batchyard.scheduler.explain import Explanation, explain
from batchyard.scheduler.line import FRESH, RETRY
from batchyard.store.port import Reader, Store
from batchyard.wire.gateway import Handler, RequestContext

MANY = 100_000
"""Beyond so many waiting jobs a place in line is not counted: it would stop the world."""


def extensions(
    *, control: Control, store: Store, home: Path, executor: str, started_at_ms: int
) -> Mapping[str, Handler]:
    """Handlers by name."""
    answers = Extensions(
        control=control, store=store, home=home, executor=executor, started_at_ms=started_at_ms
    )
    return {
        "status": answers.status,
        "explain": answers.explain,
        "passes": answers.passes,
        "events": answers.events,
    }


class Extensions:
    def __init__(
        self, *, control: Control, store: Store, home: Path, executor: str, started_at_ms: int
    ) -> None:
        self._control = control
        self._store = store
        self._home = home
        self._executor = executor
        self._started_at_ms = started_at_ms

    async def status(self, ctx: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """The yard at a glance: executor, capacity, counts."""
        counts, queues, names, yard_id = await self._store.read(_overview)
        probe = self._control.probe
        uses = self._control.index.occupancy.uses()
        totals = [use.instance.total for use in uses.values()]
        return {
            "version": __version__,
            "yardId": yard_id,
            "startedAt": self._started_at_ms,
            "home": str(self._home),
            "executor": {
                "name": self._executor,
                "engine": probe.engine if probe else "",
                "warnings": list(probe.warnings) if probe else [],
            },
            "capacity": [
                {
                    "computeEnvironment": name,
                    "vcpus": sum(t.vcpu_milli for t in totals) / 1000,
                    "memoryMiB": sum(t.memory_mib for t in totals),
                    "gpus": sum(t.gpus for t in totals),
                    "usedVcpus": self._control.index.occupancy.used_by(name) / 1000,
                    "usedMemoryMiB": self._control.index.occupancy.memory_used_by(name),
                }
                for name in names
            ],
            "counts": counts,
            "queues": queues,
        }

    async def explain(self, ctx: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Why a job waits, in words and numbers, per compute environment."""
        job_id = params.get("jobId")
        if not isinstance(job_id, str) or not job_id:
            raise InvalidRequest("jobId must be specified.", field="jobId")
        job, unmet = await self._store.read(lambda r: _job(r, job_id))
        if job is None:
            raise NotFound(
                f"there is no job {job_id}",
                hint="List jobs with `batchyard ls`; ended jobs are forgotten after some days.",
            )
        told = self._told(job, unmet)
        order = {f.compute_environment: i for i, f in enumerate(told.fits, 1)}
        return {
            "jobId": job_id,
            "status": job.status,
            "sentence": told.sentence,
            "fix": told.fix,
            "statusReason": told.status_reason,
            "verdicts": [
                {
                    "computeEnvironment": f.compute_environment,
                    "order": order[f.compute_environment],
                    "verdict": {"fits": "fits now"}.get(f.verdict, f.verdict),
                    "code": f.code,
                    "detail": f.detail,
                }
                for f in told.fits
            ],
        }

    def _told(self, job: Job, unmet: Mapping[str, str]) -> Explanation:
        if job.status in TERMINAL:
            reason = f": {job.status_reason.rstrip('.')}" if job.status_reason else ""
            return Explanation(sentence=f"It has ended as {job.status}{reason}.", fix="Nothing.")
        if job.status in LIVE and job.current is not None:
            where = job.current.compute_environment
            return Explanation(
                sentence=f"It does not wait: attempt {job.current.number} is {job.status} "
                f"in {where}.",
                fix="Nothing to do.",
            )
        fits = self._control.index.fits(job.shape, job.queue)
        told = explain(job.shape, fits, queue=job.queue)
        if told.status_reason is not None:
            return told
        if job.array is not None and _has_waiting(job.array):
            return self._in_line(job, told)
        if unmet:
            names = ", ".join(f"{other} ({status})" for other, status in sorted(unmet.items()))
            return Explanation(
                sentence=f"It waits for {len(unmet)} job{'s' * (len(unmet) > 1)} to succeed: "
                f"{names}.",
                fix="Wait, or look into the jobs it depends on.",
                fits=fits,
            )
        if job.array is not None:
            return Explanation(
                sentence=f"No child of it waits for capacity: {_tally(job.array)}.",
                fix="Wait for the children that run.",
                fits=fits,
            )
        return self._in_line(job, told)

    def _in_line(self, job: Job, told: Explanation) -> Explanation:
        line = self._control.index.line(job.queue)
        if len(line) > MANY:
            return told
        rank = RETRY if job.attempts else FRESH
        index = job.index or 0
        if job.array is not None:
            index = next((a for a, _ in job.array.ready), 0)
        ahead = line.ahead_of((rank, job.seq, index))
        if not ahead:
            return told
        head = line.heads(1)[0]
        blocked = explain(
            head.shape, self._control.index.fits(head.shape, job.queue), queue=job.queue
        )
        return Explanation(
            sentence=f"It stands behind {ahead} other job{'s' * (ahead > 1)} in queue {job.queue}; "
            f"the first of them is {head.job_id}. {_of_head(blocked.sentence)}",
            fix=f"Wait, raise the priority of another queue and submit there, or see "
            f"`batchyard explain {head.job_id}`.",
            fits=told.fits,
        )

    async def passes(self, ctx: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """The last passes of the scheduler, newest first."""
        return {
            "passes": [
                {
                    "at": record.at_ms,
                    "durationUs": record.duration_us,
                    "placed": record.placed,
                    "stale": record.stale,
                    "refused": [
                        {
                            "queue": refusal.queue,
                            "jobId": refusal.job_id,
                            "sentence": refusal.explanation.sentence,
                        }
                        for refusal in record.refusals
                    ],
                }
                for record in reversed(self._control.scheduling.passes)
            ]
        }

    async def events(self, ctx: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """The story of one job: every recorded fact, oldest first."""
        job_id = params.get("jobId")
        if not isinstance(job_id, str) or not job_id:
            raise InvalidRequest("jobId must be specified.", field="jobId")
        recorded = await self._store.read(lambda r: r.events_of("job", job_id))
        return {
            "events": [
                {"seq": one.seq, "at": one.at_ms, "type": type(one.event).__name__}
                for one in recorded
            ]
        }


def _has_waiting(array: ArrayState) -> bool:
    """Whether any child stands in line: for the first time, or (as a row) for a retry."""
    return bool(array.ready or array.rows.get("RUNNABLE"))


def _tally(array: ArrayState) -> str:
    return ", ".join(f"{n} {status}" for status, n in array.tally().items() if n)


def _of_head(sentence: str) -> str:
    """`It asks for ...` said of the head of the line."""
    return "That one" + sentence.removeprefix("It") if sentence.startswith("It ") else sentence


def _job(reader: Reader, job_id: str) -> tuple[Job | None, dict[str, str]]:
    """A job, child or not, and the states of what it still waits for."""
    job = reader.job(job_id)
    root, index = split_child(job_id)
    parent = reader.job(root) if index is not None else None
    if job is None and parent is not None and parent.array is not None and index is not None:
        job = synthesise_child(parent, index) if index < parent.array.size else None
    waiting = set(job.unmet if job else ()) | set(parent.unmet if parent else ())
    if job is not None and job.status == "PENDING":
        array = (parent or job).array
        for gate in array.gates if array is not None else ():
            if array is not None and index is None:
                if gate.upstream and rg.difference(array.held, gate.passed):
                    waiting.add(gate.upstream)
            elif index is not None and not rg.contains(gate.passed, index):
                ahead = (gate.upstream, index) if gate.upstream else (root, index - 1)
                waiting.add(child_id(*ahead))
    return job, {name: _status(reader, name) for name in waiting}


def _status(reader: Reader, job_id: str) -> str:
    found = reader.job(job_id)
    root, index = split_child(job_id)
    parent = reader.job(root) if found is None and index is not None else None
    if parent is not None and index is not None:
        found = synthesise_child(parent, index)
    return found.status if found is not None else "unknown"


def _overview(
    reader: Reader,
) -> tuple[dict[str, int], list[dict[str, object]], list[str], str]:
    totals: dict[str, int] = dict.fromkeys(STATUSES, 0)
    per_queue: dict[str, dict[str, int]] = {}
    for count in reader.job_counts():
        # An array counts once, by its parent; but what runs for it are its children.
        if count.kind == "child" and count.status not in LIVE:
            continue
        totals[count.status] += count.count
        tally = per_queue.setdefault(count.queue, dict.fromkeys(STATUSES, 0))
        tally[count.status] += count.count
    queues: list[dict[str, object]] = [
        {
            "name": queue.name,
            "state": queue.state,
            "counts": per_queue.get(queue.name, dict.fromkeys(STATUSES, 0)),
        }
        for queue in reader.queues()
    ]
    names = [environment.name for environment in reader.compute_environments()]
    return totals, queues, names, reader.meta("yard_id") or ""
