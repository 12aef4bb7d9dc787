"""Operations on job queues."""

from typing import Final

from batchyard.api import paging
from batchyard.api.port import Handlers, Params, Yard, reply_of
from batchyard.kernel import limits
from batchyard.kernel.commands import CreateJobQueue, DeleteJobQueue, UpdateJobQueue
from batchyard.kernel.document import Document
from batchyard.kernel.environment import JobQueue
from batchyard.kernel.ids import Realm

_DESCRIBE: Final = "DescribeJobQueues"


def handlers(yard: Yard) -> Handlers:
    async def create(_context: object, params: Params) -> Params:
        return await reply_of(yard, CreateJobQueue(request=params))

    async def update(_context: object, params: Params) -> Params:
        return await reply_of(yard, UpdateJobQueue(request=params))

    async def delete(_context: object, params: Params) -> Params:
        said = Document(members=params).required("jobQueue")
        return await reply_of(yard, DeleteJobQueue(job_queue=said))

    async def describe(_context: object, params: Params) -> Params:
        doc = Document(members=params)
        paging.check_alone(doc, "jobQueues")
        queues = await yard.queries.read(lambda reader: reader.queues())
        names = [limits.own_name(yard.realm, "job-queue", n) for n in doc.texts("jobQueues")]
        page, token = paging.by_name(queues, names, operation=_DESCRIBE, params=params)
        out: Params = {"jobQueues": [describe_queue(queue, yard.realm) for queue in page]}
        return out if token is None else {**out, "nextToken": token}

    return {
        ("batch", "CreateJobQueue"): create,
        ("batch", "UpdateJobQueue"): update,
        ("batch", "DeleteJobQueue"): delete,
        ("batch", _DESCRIBE): describe,
    }


def describe_queue(queue: JobQueue, realm: Realm) -> Params:
    return {
        **queue.extra,
        "jobQueueName": queue.name,
        "jobQueueArn": realm.job_queue(queue.name),
        "state": queue.state,
        "status": queue.status,
        # OBSERVED: ParallelCluster's tools need statusReason to be there, even when empty.
        "statusReason": queue.status_reason,
        "priority": queue.priority,
        "tags": queue.tags,
    }
