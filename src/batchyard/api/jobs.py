"""SubmitJob, DescribeJobs, CancelJob and TerminateJob. Listing stands in `job_lists`."""

from typing import Final

from batchyard.api import job_lists
from batchyard.api.job_detail import detail
from batchyard.api.port import Handlers, Params, Yard, reply_of
from batchyard.kernel.children import synthesise_child
from batchyard.kernel.commands import CancelJob, SubmitJob, TerminateJob
from batchyard.kernel.document import Document
from batchyard.kernel.faults import InvalidRequest
from batchyard.kernel.ids import Realm, split_child
from batchyard.kernel.job import Job
from batchyard.store.port import Reader

MAX_JOBS: Final = 100
_MAX_REASON: Final = 1024


def handlers(yard: Yard) -> Handlers:
    async def submit(_context: object, params: Params) -> Params:
        command = SubmitJob(job_id=yard.new_id(), seq=yard.next_seq(), request=params)
        return await reply_of(yard, command)

    async def cancel(_context: object, params: Params) -> Params:
        job_id, reason = _stop(params)
        return await reply_of(yard, CancelJob(job_id=job_id, reason=reason))

    async def terminate(_context: object, params: Params) -> Params:
        job_id, reason = _stop(params)
        return await reply_of(yard, TerminateJob(job_id=job_id, reason=reason))

    async def describe(_context: object, params: Params) -> Params:
        ids = Document(members=params).texts("jobs")
        if len(ids) > MAX_JOBS:
            raise InvalidRequest(
                f"Maximum number of jobs supported is  {MAX_JOBS} .",
                field="jobs",
                hint="Ask for the jobs in groups of 100.",
            )
        return await yard.queries.read(lambda reader: _describe(reader, yard.realm, ids))

    return {
        ("batch", "SubmitJob"): submit,
        ("batch", "CancelJob"): cancel,
        ("batch", "TerminateJob"): terminate,
        ("batch", "DescribeJobs"): describe,
        **job_lists.handlers(yard),
    }


def find_jobs(reader: Reader, ids: list[str]) -> list[Job]:
    """The known ones in the order asked, array children without a row included."""
    asked = list(dict.fromkeys(ids))
    rows = reader.jobs(asked)
    roots = {i: split_child(i)[0] for i in asked if i not in rows and ":" in i}
    parents = reader.jobs(set(roots.values())) if roots else {}
    out = []
    for job_id in asked:
        job = rows.get(job_id)
        if job is None and job_id in roots:
            job = _waiting_child(parents.get(roots[job_id]), job_id)
        if job is not None:
            out.append(job)
    return out


def _waiting_child(parent: Job | None, job_id: str) -> Job | None:
    index = split_child(job_id)[1]
    if parent is None or parent.array is None or index is None or index >= parent.array.size:
        return None
    return synthesise_child(parent, index)


def _describe(reader: Reader, realm: Realm, ids: list[str]) -> Params:
    jobs = find_jobs(reader, ids)
    specs = reader.specs({job.root_id for job in jobs})
    return {"jobs": [detail(job, specs[job.root_id], realm) for job in jobs]}


def _stop(params: Params) -> tuple[str, str]:
    doc = Document(members=params)
    job_id = doc.required("jobId")
    reason = doc.required("reason")
    if len(reason) > _MAX_REASON:
        raise InvalidRequest(
            f"reason can have at most {_MAX_REASON} characters, but has {len(reason)}.",
            field="reason",
        )
    return job_id, reason
