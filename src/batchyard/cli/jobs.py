"""Questions about jobs that several commands ask of the plain AWS API, here or on AWS itself."""

import difflib
import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from batchyard.cli.client import Client, Document
from batchyard.cli.faults import ApiFault, Missing

STATES: Final = (
    "SUBMITTED",
    "PENDING",
    "RUNNABLE",
    "STARTING",
    "RUNNING",
    "SUCCEEDED",
    "FAILED",
)
FINISHED: Final = frozenset({"SUCCEEDED", "FAILED"})
WAITING: Final = ("SUBMITTED", "PENDING", "RUNNABLE")
# AWS: DescribeJobs takes at most 100 ids.
_IDS_PER_CALL: Final = 100


def describe_jobs(client: Client, ids: Sequence[str]) -> dict[str, Document]:
    """Details by id; an id the endpoint does not know is absent."""
    found: dict[str, Document] = {}
    for start in range(0, len(ids), _IDS_PER_CALL):
        chunk = list(ids[start : start + _IDS_PER_CALL])
        for job in client.batch("DescribeJobs", {"jobs": chunk}).get("jobs", []):
            found[job["jobId"]] = job
    return found


def require_jobs(client: Client, ids: Sequence[str]) -> dict[str, Document]:
    """Like describe_jobs, but every id must be known; the order of `ids` is kept."""
    plain = [job_id(name) for name in ids]
    found = describe_jobs(client, plain)
    missing = [name for name in plain if name not in found]
    if missing:
        listed = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise Missing(
            f"no such job: {listed}",
            hint="find ids with `batchyard ls` or by name with `batchyard ls --name 'align-*'`",
        )
    return {name: found[name] for name in plain}


def job_id(text: str) -> str:
    """The id in a job ARN; anything else as it is."""
    return text.split(":job/", 1)[1] if text.startswith("arn:") and ":job/" in text else text


def list_jobs(
    client: Client,
    *,
    scope: Document,
    states: Iterable[str] = STATES,
    name: str | None = None,
    limit: int | None = None,
) -> tuple[list[Document], bool]:
    """Summaries of one queue or array, newest first, and whether `limit` hid some.

    Args:
        scope: {"jobQueue": ...} or {"arrayJobId": ...}.
        name: A glob, matched without regard to case like AWS does.
    """
    wanted = tuple(states)
    found: list[Document] = []
    cut = False
    for request in _list_requests(scope, states=wanted, name=name, limit=limit):
        # AWS: by JOB_NAME the answer is grouped by name, so the newest may come last.
        stop_at = None if _filter_of(request) == "JOB_NAME" else limit
        kept = 0
        for job in _pages(client, "ListJobs", request, member="jobSummaryList"):
            if job.get("status") not in wanted:
                continue
            if name is not None and not fnmatch.fnmatch(job["jobName"].lower(), name.lower()):
                continue
            if stop_at is not None and kept >= stop_at:
                cut = True
                break
            kept += 1
            found.append(job)
    # The order of the answers stands between jobs of the same millisecond: sorting is stable.
    found.sort(key=_newest_first)
    if limit is not None and len(found) > limit:
        return found[:limit], True
    return found, cut


def list_queues(client: Client) -> list[Document]:
    return list(_pages(client, "DescribeJobQueues", {}, member="jobQueues"))


def list_environments(client: Client) -> list[Document]:
    return list(_pages(client, "DescribeComputeEnvironments", {}, member="computeEnvironments"))


def list_definitions(client: Client, request: Document) -> list[Document]:
    return list(_pages(client, "DescribeJobDefinitions", request, member="jobDefinitions"))


def missing_name(kind: str, name: str, *, known: Iterable[str], listing: str) -> Missing:
    """`no job queue 'defualt'; did you mean 'default'?`"""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        said = "did you mean " + " or ".join(repr(found) for found in near)
    elif names:
        said = "there are: " + ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    else:
        said = "there are none yet"
    return Missing(f"no {kind} {name!r}", hint=f"{said}; see `{listing}`")


def require_queues(client: Client, names: Sequence[str]) -> list[Document]:
    """The queues of these names or ARNs, in that order; without names, all of them."""
    queues = list_queues(client)
    if not names:
        return sorted(queues, key=lambda queue: (-queue.get("priority", 0), queue["jobQueueName"]))
    by_name = {queue["jobQueueName"]: queue for queue in queues}
    by_name |= {queue["jobQueueArn"]: queue for queue in queues}
    for name in names:
        if name not in by_name:
            raise missing_name(
                "job queue",
                name,
                known=(queue["jobQueueName"] for queue in queues),
                listing="batchyard queue ls",
            )
    return [by_name[name] for name in names]


def explain_submit_fault(client: Client, fault: ApiFault, queue: str) -> ApiFault | Missing:
    """A refused SubmitJob, with near names when it was the queue that is missing."""
    if fault.exit_code != Missing.default_exit_code or "queue" not in fault.message.lower():
        return fault
    names = [found["jobQueueName"] for found in list_queues(client)]
    if queue in names:
        return fault
    return missing_name("job queue", queue, known=names, listing="batchyard queue ls")


def exit_code_of(job: Document) -> int | None:
    """Exit code of the last attempt; None when no container ever ran."""
    code = (job.get("container") or {}).get("exitCode")
    return code if isinstance(code, int) else None


def why(job: Document) -> str:
    """The reason a person wants in a list: exit code and reasons, without repetition."""
    container = job.get("container") or {}
    code = container.get("exitCode")
    said = [f"exit {code}"] if isinstance(code, int) and code != 0 else []
    for reason in (job.get("statusReason"), container.get("reason")):
        if reason and reason not in said:
            said.append(str(reason))
    return "; ".join(said)


def array_size(job: Document) -> int | None:
    array = job.get("arrayProperties") or {}
    return int(array["size"]) if array.get("size") and "index" not in array else None


def state_counts(job: Document) -> dict[str, int]:
    """Children per state of an array; the job itself for any other."""
    size = array_size(job)
    summary = (job.get("arrayProperties") or {}).get("statusSummary")
    if size is not None and summary:
        return {state: int(count) for state, count in summary.items() if int(count)}
    return {str(job["status"]): size or 1}


def _list_requests(
    scope: Document, *, states: Sequence[str], name: str | None, limit: int | None
) -> list[Document]:
    """The fewest requests: one with a filter for all states when AWS has one, else one a state."""
    if "jobQueue" in scope and name is not None and _is_prefix_pattern(name):
        return [{**scope, "filters": [{"name": "JOB_NAME", "values": [name]}]}]
    if "jobQueue" in scope and limit is not None and set(states) == set(STATES):
        # AWS: a filter makes ListJobs ignore jobStatus, and sorts newest first.
        return [{**scope, "filters": [{"name": "AFTER_CREATED_AT", "values": ["0"]}]}]
    return [{**scope, "jobStatus": state, "maxResults": 1000} for state in states]


def _filter_of(request: Document) -> str:
    return "".join(str(one["name"]) for one in request.get("filters", []))


def _newest_first(job: Document) -> tuple[int, int]:
    index = (job.get("arrayProperties") or {}).get("index", 0)
    return -int(job.get("createdAt", 0)), int(index)


def _is_prefix_pattern(name: str) -> bool:
    return not any(char in name.rstrip("*") for char in "*?[") and not name.endswith("**")


def _pages(client: Client, operation: str, request: Document, *, member: str) -> Iterator[Any]:
    token: str | None = None
    while True:
        answer = client.batch(operation, {**request, **({"nextToken": token} if token else {})})
        yield from answer.get(member, [])
        following = answer.get("nextToken")
        # A server that repeats its token would never end.
        if not following or following == token:
            return
        token = following
