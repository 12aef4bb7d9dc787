"""Batchyard's own operations, `POST /_batchyard/v1/<name>`: what AWS's API has no words for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchyard import __version__
from batchyard.control.loops import Control
from batchyard.kernel.faults import InvalidRequest
from batchyard.kernel.states import LIVE, STATUSES
from batchyard.server.explaining import Explainer
from batchyard.store.port import Reader, Store
from batchyard.wire.gateway import Handler, RequestContext


def extensions(
    *, control: Control, store: Store, home: Path, executor: str, started_at_ms: int
) -> Mapping[str, Handler]:
    """Handlers by name."""
    answers = Extensions(
        control=control, store=store, home=home, executor=executor, started_at_ms=started_at_ms
    )
    return {
        "status": answers.status,
        "explain": Explainer(control=control, store=store).explain,
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
        trouble = self._control.trouble()
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
                "trouble": {"message": trouble.message, "hint": trouble.hint} if trouble else None,
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
