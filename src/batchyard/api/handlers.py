"""All Batch operations this version serves, in one table.

An operation that is not here is refused by the gateway, by name.
"""

from batchyard.api import compute_environments, job_definitions, job_queues, jobs, tags
from batchyard.api.port import Handlers, Yard


def batch_handlers(yard: Yard) -> Handlers:
    return {
        **job_definitions.handlers(yard),
        **jobs.handlers(yard),
        **job_queues.handlers(yard),
        **compute_environments.handlers(yard),
        **tags.handlers(yard),
    }
