"""ListJobs: the jobs of a queue or the children of an array, by state or by one filter."""

import re
from itertools import islice
from typing import Final

import msgspec

from batchyard.api import paging
from batchyard.api.job_detail import summary
from batchyard.api.port import Handlers, Params, Yard
from batchyard.kernel import limits, registration
from batchyard.kernel import ranges as rg
from batchyard.kernel.children import synthesise_child, without_rows
from batchyard.kernel.document import Document
from batchyard.kernel.faults import InvalidRequest, NotFound
from batchyard.kernel.ids import Realm
from batchyard.kernel.job import Job
from batchyard.kernel.states import STATUSES, Status
from batchyard.store.port import Cursor, JobQuery, Match, Reader

MAX_LISTED: Final = 1000
MAX_FILTERED: Final = 100
_LIST: Final = "ListJobs"
_PLACE: Final = re.compile(r"[0-9]{1,18}\.[0-9]{1,18}")
_INDEX: Final = re.compile(r"[0-9]{1,5}")
_OF: Final = ("jobQueue", "arrayJobId", "multiNodeJobId")
_FILTERS: Final = (
    "JOB_NAME",
    "JOB_DEFINITION",
    "BEFORE_CREATED_AT",
    "AFTER_CREATED_AT",
    "SHARE_IDENTIFIER",
)


def handlers(yard: Yard) -> Handlers:
    async def list_jobs(_context: object, params: Params) -> Params:
        doc = Document(members=params)
        given = [member for member in _OF if doc.text(member)]
        if len(given) != 1:
            raise InvalidRequest(
                f"Exactly one of {', '.join(_OF)} must be specified, "
                f"but {' and '.join(given) or 'none'} was.",
                field=given[1] if given else _OF[0],
            )
        status = _status(doc)
        realm = yard.realm
        if given == ["jobQueue"]:
            query = _query(doc, realm, status)
            return await yard.queries.read(lambda reader: _of_queue(reader, realm, doc, query))
        if given == ["arrayJobId"]:
            return await yard.queries.read(lambda reader: _children(reader, realm, doc, status))
        # There are no multi-node jobs yet, and AWS drops unknown ids silently.
        return {"jobSummaryList": []}

    return {("batch", _LIST): list_jobs}


def _status(doc: Document) -> Status:
    """AWS: RUNNING unless asked otherwise. OBSERVED: a client sends it in lower case."""
    said = (doc.text("jobStatus") or "RUNNING").upper()
    for status in STATUSES:
        if status == said:
            return status
    raise InvalidRequest(
        f"jobStatus must be one of {', '.join(STATUSES)}, but is '{said}'.", field="jobStatus"
    )


def _query(doc: Document, realm: Realm, status: Status) -> JobQuery:
    """AWS: one filter per request; all but SHARE_IDENTIFIER ignore jobStatus."""
    queue = limits.own_name(realm, "job-queue", doc.required("jobQueue"))
    by_status = JobQuery(queue=queue, statuses=(status,))
    filters = doc.sections("filters")
    if not filters:
        return by_status
    if len(filters) > 1:
        raise InvalidRequest(
            f"filters can have one filter only, but has {len(filters)}.", field="filters"
        )
    name, values = filters[0].required("name"), filters[0].texts("values")
    if name not in _FILTERS:
        raise InvalidRequest(
            f"{filters[0].at('name')} must be one of {', '.join(_FILTERS)}, but is '{name}'.",
            field=filters[0].at("name"),
            hint="Names of filters are in capital letters.",
        )
    if len(values) != 1 or not values[0]:
        raise InvalidRequest(
            f"{filters[0].at('values')} must have exactly one value, but has {len(values)}.",
            field=filters[0].at("values"),
        )
    value = values[0]
    match name:
        case "JOB_NAME":
            return JobQuery(queue=queue, name=_match(value))
        case "JOB_DEFINITION":
            return _by_definition(queue, realm, value)
        case "BEFORE_CREATED_AT":
            return JobQuery(queue=queue, created_before_ms=_epoch_ms(name, value))
        case "AFTER_CREATED_AT":
            return JobQuery(queue=queue, created_after_ms=_epoch_ms(name, value))
        case _:
            return msgspec.structs.replace(by_status, share=_match(value))


def _match(value: str) -> Match:
    return Match(text=value.removesuffix("*"), prefix=value.endswith("*"))


def _by_definition(queue: str, realm: Realm, value: str) -> JobQuery:
    """AWS: a name (any revision), `name*`, or the exact ARN of one revision."""
    if not value.startswith("arn:"):
        return JobQuery(queue=queue, definition=_match(value))
    name, revision = registration.specifier(realm, value)
    if revision is None:
        raise InvalidRequest(
            f"The filter JOB_DEFINITION takes an ARN with its revision, but is '{value}'.",
            field="filters",
        )
    return JobQuery(queue=queue, definition=Match(text=name), revision=revision)


def _epoch_ms(name: str, value: str) -> int:
    if not value.isascii() or not value.isdecimal() or len(value) > 15:
        raise InvalidRequest(
            f"The filter {name} takes epoch milliseconds, but is '{value[:40]}'.", field="filters"
        )
    return int(value)


def _of_queue(reader: Reader, realm: Realm, doc: Document, query: JobQuery) -> Params:
    if all(queue.name != query.queue for queue in reader.queues()):
        raise NotFound(
            f"JobQueue {doc.text('jobQueue')} not found.",
            hint="List them with: aws batch describe-job-queues",
        )
    filtered = bool(doc.sections("filters"))
    limit = paging.page_size(doc, MAX_FILTERED if filtered else MAX_LISTED)
    page = reader.list_jobs(query, cursor=_cursor(doc), limit=limit)
    out: Params = {"jobSummaryList": [summary(job, realm) for job in page.jobs]}
    if page.next is not None:
        position = f"{page.next.created_at_ms}.{page.next.seq}"
        out["nextToken"] = paging.token(_LIST, doc.members, position)
    return out


def _cursor(doc: Document) -> Cursor | None:
    position = paging.position(_LIST, doc.members, _PLACE)
    if position is None:
        return None
    created_at_ms, _, seq = position.partition(".")
    return Cursor(created_at_ms=int(created_at_ms), seq=int(seq))


def _children(reader: Reader, realm: Realm, doc: Document, status: Status) -> Params:
    """In order of index; children with and without rows merged. Filters do not reach them."""
    limit = paging.page_size(doc, MAX_LISTED)
    parent = reader.job(doc.required("arrayJobId"))
    if parent is None or parent.array is None:
        return {"jobSummaryList": []}
    after = int(paging.position(_LIST, doc.members, _INDEX) or -1)
    rows = reader.children(parent.job_id, status=status, after=after, limit=limit + 1)
    waiting = rg.intersection(without_rows(parent, status), rg.span(after + 1, parent.array.size))
    found: dict[int, Job | None] = dict.fromkeys(islice(rg.indexes(waiting), limit + 1))
    found |= {job.index: job for job in rows if job.index is not None}
    indexes = sorted(found)
    page = [found[i] or synthesise_child(parent, i) for i in indexes[:limit]]
    out: Params = {"jobSummaryList": [summary(job, realm) for job in page]}
    if len(indexes) > limit:
        out["nextToken"] = paging.token(_LIST, doc.members, str(indexes[limit - 1]))
    return out
