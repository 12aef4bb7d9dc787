"""What `decide` may look at: rows as they are before the command, nothing else."""

from typing import Protocol

from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.ids import Realm
from batchyard.kernel.job import DependencyType, Job, JobSpec
from batchyard.kernel.ranges import Ranges
from batchyard.kernel.states import Status


class View(Protocol):
    """Read-only and consistent: all answers come from the same moment."""

    realm: Realm

    def job(self, job_id: str) -> Job | None:
        """A single job, an array parent, or a child that has become a row."""

    def spec(self, root_id: str) -> JobSpec:
        """Of a known job that is not a child."""

    def queue(self, name: str) -> JobQueue | None: ...

    def queue_names(self) -> list[str]: ...

    def compute_environment(self, name: str) -> ComputeEnvironment | None: ...

    def compute_environment_names(self) -> list[str]: ...

    def queues_of(self, compute_environment: str) -> list[str]:
        """Names of the queues that list this compute environment."""

    def definition(self, name: str, revision: int) -> JobDefinition | None: ...

    def latest_revision(self, name: str) -> int:
        """Highest revision ever registered under the name; 0 when there is none."""

    def latest_active(self, name: str) -> JobDefinition | None: ...

    def dependents(self, upstream: str, after: str, limit: int) -> list[tuple[str, DependencyType]]:
        """Jobs whose dependsOn names `upstream`, ids greater than `after`, in order of id.

        The entries of one job are never parted, so that there may be a few more than `limit`.
        """

    def open_children(self, parent_id: str, after: int, limit: int) -> list[Job]:
        """Child rows that have not ended, indexes greater than `after`, in order of index."""

    def child_indexes(self, parent_id: str, status: Status) -> Ranges:
        """Indexes of child *rows* in that state."""

    def open_jobs(self, queue: str, after: int, limit: int) -> list[Job]:
        """Single jobs and array parents of a queue that have not ended, by seq beyond `after`."""
