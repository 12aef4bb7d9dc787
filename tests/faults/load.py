"""Jobs whose every attempt leaves a trace, and whose every exit code follows from their name.

A job appends a line to its own file in the ledger when it begins and when it ends; it says two
lines; it exits with a code that `expected_codes` finds from its name alone. A job that is `gated`
runs until the test opens the gate, which is a named pipe: it is in flight for as long as it takes.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from faults.killable_yard import KillableYard, until

DEFINITION = "leaves-a-trace"
IMAGE = "batchyard-test:1"
IN_FLIGHT = 200
SCRIPT = r"""
me="$AWS_BATCH_JOB_ID $AWS_BATCH_JOB_ATTEMPT"
file="$LEDGER/$AWS_BATCH_JOB_ID"
number=$((NUMBER + ${AWS_BATCH_JOB_ARRAY_INDEX:-0}))
echo "start $AWS_BATCH_JOB_ATTEMPT $EPOCHREALTIME" >> "$file"
echo "begin $me"
if [ "$KIND" = sleeper ]; then exec sleep 3600; fi
if [ "$KIND" = gated ] && [ "$AWS_BATCH_JOB_ATTEMPT" = 1 ]; then
    { read -r _ < "$LEDGER/gate"; } 2>/dev/null
elif [ $((number % 3)) != 0 ]; then
    sleep "$((number % 2)).$((number % 7))"
fi
echo "end $me"
echo "end $AWS_BATCH_JOB_ATTEMPT $EPOCHREALTIME" >> "$file"
if [ "$AWS_BATCH_JOB_ATTEMPT" -le "$FAILS" ]; then
    exit $((1 + (number * 7 + AWS_BATCH_JOB_ATTEMPT) % 90))
fi
if [ "$FINAL" = ok ]; then exit 0; fi
exit $((100 + number % 100))
"""


Act = Callable[[Any], object]
"""Something done with a client of the yard."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What a job does, as its name says it: `gated-17-1-ok`."""

    kind: str
    number: int
    fails: int
    final: str

    def name(self) -> str:
        return f"{self.kind}-{self.number}-{self.fails}-{self.final}"


def kind_of(name: str) -> Kind:
    kind, number, fails, final = name.split("-")
    return Kind(kind=kind, number=int(number), fails=int(fails), final=final)


def expected_codes(name: str, index: int) -> list[int]:
    """The exit code of each attempt, in order."""
    job = kind_of(name)
    number = job.number + index
    codes = [1 + (number * 7 + attempt) % 90 for attempt in range(1, job.fails + 1)]
    return [*codes, 0 if job.final == "ok" else 100 + number % 100]


def _comes_and_goes(name: str) -> bool:
    return kind_of(name).kind not in ("gated", "sleeper")


class Load:
    """Submits, and remembers only what it was answered."""

    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger
        self.acknowledged: dict[str, str] = {}
        """Names by job id."""
        self.terminated: set[str] = set()
        """Whose termination was acknowledged."""
        self._next = 0
        self._in_flight = 0
        self._gate: int | None = None
        ledger.mkdir()
        ledger.chmod(0o777)
        os.mkfifo(ledger / "gate")

    def register(self, batch: Any) -> None:
        volume = {"name": "ledger", "host": {"sourcePath": str(self.ledger)}}
        batch.register_job_definition(
            jobDefinitionName=DEFINITION,
            type="container",
            containerProperties={
                "image": IMAGE,
                "command": ["bash", "-c", SCRIPT],
                "resourceRequirements": [
                    {"type": "VCPU", "value": "1"},
                    {"type": "MEMORY", "value": "32"},
                ],
                "environment": [{"name": "LEDGER", "value": str(self.ledger)}],
                "volumes": [volume],
                "mountPoints": [{"sourceVolume": "ledger", "containerPath": str(self.ledger)}],
            },
        )

    def submit(
        self,
        batch: Any,
        kind: str,
        *,
        size: int = 0,
        fails: int = 0,
        final: str = "code",
        depends_on: list[dict[str, str]] | None = None,
        command: list[str] | None = None,
    ) -> str:
        """Raises whatever the client raises; then the job counts as not acknowledged."""
        job = Kind(kind=kind, number=self._next, fails=fails, final=final)
        self._next += max(1, size)
        values = {"KIND": kind, "NUMBER": job.number, "FAILS": fails, "FINAL": final}
        answer = batch.submit_job(
            jobName=job.name(),
            jobQueue="default",
            jobDefinition=DEFINITION,
            retryStrategy={"attempts": fails + 1},
            containerOverrides={
                "environment": [{"name": k, "value": str(v)} for k, v in values.items()],
                **({"command": command} if command else {}),
            },
            dependsOn=depends_on or [],
            **({"arrayProperties": {"size": size}} if size else {}),
        )
        self.acknowledged[answer["jobId"]] = job.name()
        return str(answer["jobId"])

    def submit_in_flight(self, batch: Any) -> None:
        """200 jobs that stay in flight until the gate opens; the rest of them when called again."""
        while self._in_flight < IN_FLIGHT:
            number = self._in_flight
            size = {0: 120, 120: 20}.get(number, 0)
            fails = int(number == 120 or number % 10 == 0)
            self.submit(batch, "gated", size=size, fails=fails, final=("ok", "code")[number % 2])
            self._in_flight += max(1, size)

    def await_in_flight(self, count: int = IN_FLIGHT) -> None:
        """Until the gated jobs have begun."""

        def begun() -> bool:
            ours = [path.name.partition(":")[0] for path in self.ledger.iterdir()]
            gated = [1 for name in ours if self.acknowledged.get(name, "").startswith("gated")]
            return len(gated) >= count

        until(begun, f"{count} jobs in flight")

    def submit_lively(self, batch: Any) -> None:
        """Jobs of every form that come and go."""
        array = self.submit(batch, "quick", size=4, final="ok")
        self.submit(
            batch, "quick", size=4, final="ok", depends_on=[{"jobId": array, "type": "N_TO_N"}]
        )
        self.submit(batch, "quick", size=3, final="ok", depends_on=[{"type": "SEQUENTIAL"}])
        first = self.submit(batch, "quick", final="ok")
        self.submit(batch, "quick", depends_on=[{"jobId": first}, {"jobId": array}])
        for number in range(6):
            self.submit(batch, "quick", fails=number % 3)
        self.submit(batch, "broken", command=["no-such-program"])

    @contextmanager
    def talking_to(self, yard: KillableYard) -> Iterator[Any]:
        batch = yard.client("batch")
        try:
            yield batch
        finally:
            batch.close()

    def await_quiet(self, yard: KillableYard, batch: Any) -> None:
        """Until every job has ended or runs until it is let go."""

        def quiet() -> bool:
            if yard.rows("SELECT id FROM outbox"):
                return False
            states = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
            for state in states:
                listed = batch.list_jobs(jobQueue="default", jobStatus=state)["jobSummaryList"]
                if any(state != "RUNNING" or _comes_and_goes(job["jobName"]) for job in listed):
                    return False
            return True

        until(quiet, "only jobs that wait for the gate")

    def terminate(self, batch: Any, job_id: str) -> None:
        batch.terminate_job(jobId=job_id, reason=f"enough of {job_id}")
        self.terminated.add(job_id)

    def open_gate(self) -> None:
        """Let every gated job go, those that come later included."""
        gate = self.ledger / "gate"
        if not gate.exists():
            return
        # ORDER: a line for each first, and held open ever after: whoever has found the name and is
        # about to open it would otherwise wait for a writer for ever.
        self._gate = os.open(gate, os.O_RDWR)
        os.write(self._gate, b"\n" * 4096)
        gate.unlink()

    def close(self) -> None:
        self.open_gate()
        if self._gate is not None:
            os.close(self._gate)
            self._gate = None


class Client(threading.Thread):
    """Does one thing after the other until the server is gone."""

    def __init__(self, *acts: Callable[[], object]) -> None:
        super().__init__(name="faults-client")
        self._acts = acts
        self.refusal: ClientError | None = None

    def run(self) -> None:
        try:
            for act in self._acts:
                act()
        except ClientError as error:
            self.refusal = error  # an answer, and a wrong one: the test tells
        except BotoCoreError:
            return  # the server is dead: what it did not answer does not count
