"""`explain`: why a job is not further than it is, in words and numbers, and what would help."""

from collections.abc import Mapping
from typing import Any

from batchyard.control.loops import Control
from batchyard.kernel import ranges as rg
from batchyard.kernel.children import synthesise_child
from batchyard.kernel.faults import InvalidRequest, NotFound
from batchyard.kernel.ids import attempt_id, child_id, split_child
from batchyard.kernel.job import ArrayState, Attempt, Job
from batchyard.kernel.states import LIVE, TERMINAL
from batchyard.scheduler.explain import Explanation, explain
from batchyard.scheduler.line import FRESH, RETRY
from batchyard.store.port import Reader, Store
from batchyard.wire.gateway import RequestContext

MANY = 100_000
"""Beyond so many waiting jobs a place in line is not counted: it would stop the world."""


class Explainer:
    def __init__(self, *, control: Control, store: Store) -> None:
        self._control = control
        self._store = store

    async def explain(self, ctx: RequestContext, params: dict[str, Any]) -> dict[str, Any]:
        """Why a job waits, in words and numbers, per compute environment."""
        job_id = params.get("jobId")
        if not isinstance(job_id, str) or not job_id:
            raise InvalidRequest("jobId must be specified.", field="jobId")
        job, unmet, starting = await self._store.read(lambda r: _asked(r, job_id))
        if job is None:
            raise NotFound(
                f"there is no job {job_id}",
                hint="List jobs with `batchyard ls`; ended jobs are forgotten after some days.",
            )
        told = self._told(job, unmet, starting)
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

    def _told(self, job: Job, unmet: Mapping[str, str], starting: Job | None) -> Explanation:
        if job.status in TERMINAL:
            reason = f": {job.status_reason.rstrip('.')}" if job.status_reason else ""
            return Explanation(sentence=f"It has ended as {job.status}{reason}.", fix="Nothing.")
        if job.status in LIVE and job.current is not None:
            held_up = self._held_up(job, job.current, give_up=job.job_id)
            if held_up is not None:
                return held_up
            sentence = f"It does not wait: {_where(job, job.current)}."
            return Explanation(sentence=sentence, fix="Nothing to do.")
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
            sentence = f"No child of it waits for capacity: {_tally(job.array)}."
            fix = "Wait for the children that run."
            if starting is not None and starting.current is not None:
                held_up = self._held_up(starting, starting.current, give_up=job.job_id)
                if held_up is not None:
                    sentence = f"{sentence} Of child {starting.index}: {held_up.sentence}"
                    fix = held_up.fix
            return Explanation(sentence=sentence, fix=fix, fits=fits)
        return self._in_line(job, told)

    def _held_up(self, job: Job, current: Attempt, *, give_up: str) -> Explanation | None:
        """What an attempt that has its place waits for; None: for nothing."""
        name = attempt_id(job.job_id, current.number)
        said = _where(job, current)
        if (trouble := self._control.trouble(name)) is not None:
            return Explanation(
                sentence=f"It keeps its place: {said}, but its engine does not answer now. "
                f"{trouble.message}",
                fix=f"{trouble.hint} Batchyard goes on by itself as soon as it answers.",
            )
        doing = self._control.doing(name) if job.status == "STARTING" else None
        if doing is not None:
            what, seconds = doing
            return Explanation(
                sentence=f"It has its place: {said}. The engine {what}, for {seconds} s so far.",
                fix=f"Wait, or give it up: batchyard terminate {give_up}",
            )
        return None

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


def _where(job: Job, current: Attempt) -> str:
    return f"attempt {current.number} is {job.status} in {current.compute_environment}"


def _has_waiting(array: ArrayState) -> bool:
    """Whether any child stands in line: for the first time, or (as a row) for a retry."""
    return bool(array.ready or array.rows.get("RUNNABLE"))


def _tally(array: ArrayState) -> str:
    return ", ".join(f"{n} {status}" for status, n in array.tally().items() if n)


def _of_head(sentence: str) -> str:
    """`It asks for ...` said of the head of the line."""
    return "That one" + sentence.removeprefix("It") if sentence.startswith("It ") else sentence


def _asked(reader: Reader, job_id: str) -> tuple[Job | None, dict[str, str], Job | None]:
    """A job, the states of what it still waits for, and the first child of it that starts."""
    job, unmet = _job(reader, job_id)
    if job is None or job.array is None or not job.array.rows.get("STARTING"):
        return job, unmet, None
    return job, unmet, reader.children(job.job_id, status="STARTING", limit=1)[0]


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
