import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchyard.cli.client import Client
from batchyard.cli.connection import Connection
from batchyard.cli.faults import DeadlinePassed, JobsFailed, Missing
from batchyard.cli.jobs import STATES
from batchyard.cli.signing import Credentials
from batchyard.cli.waiting import Pace, Progress, await_jobs, judge, progress_line

JobMaker = Callable[..., dict[str, Any]]


class VirtualTime:
    def __init__(self) -> None:
        self.now = 0.0

    def pause(self, seconds: float) -> None:
        self.now += seconds

    @property
    def pace(self) -> Pace:
        return Pace(now_s=lambda: self.now, pause=self.pause)


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def client(stub: Any) -> Any:
    made = Client(
        Connection(
            endpoint=stub.endpoint,
            logs_endpoint=stub.endpoint,
            region="eu-west-2",
            credentials=Credentials(
                access_key_id="AKSTUBSTUBSTUBSTUB00", secret_access_key="stub/secret+key"
            ),
            source="--endpoint",
            credentials_source="test",
        )
    )
    yield made
    made.close()


def test_the_bar_counts_children_and_estimates_from_what_finished_meanwhile() -> None:
    line = progress_line({"SUCCEEDED": 6, "FAILED": 2, "RUNNING": 8}, fresh=4, elapsed_s=60)

    assert line == "[############>...........] 8/16  FAILED 2  SUCCEEDED 6  RUNNING 8  ETA 2m00s"


@given(st.dictionaries(st.sampled_from(STATES), st.integers(0, 10_000), min_size=1))
def test_the_bar_is_full_only_when_all_is_done(counts: dict[str, int]) -> None:
    line = progress_line(counts, fresh=0, elapsed_s=1)
    done, total = line.split("]")[1].split()[0].split("/")

    assert int(total) == sum(counts.values())
    assert ("#" * 24 in line) == (done == total and total != "0")


def test_it_polls_until_all_have_finished(stub: Any, client: Client, a_job: JobMaker) -> None:
    stub.on_each(
        "DescribeJobs",
        [
            {"jobs": [a_job("a"), a_job("b", status="RUNNABLE")]},
            {"jobs": [a_job("a", status="SUCCEEDED"), a_job("b")]},
            {"jobs": [a_job("b", status="FAILED")]},
        ],
    )

    jobs = await_jobs(client, ["a", "b"], progress=Progress(quiet=True), pace=VirtualTime().pace)

    assert {name: job["status"] for name, job in jobs.items()} == {"a": "SUCCEEDED", "b": "FAILED"}
    assert [body["jobs"] for body in stub.bodies("DescribeJobs")] == [["a", "b"], ["a", "b"], ["b"]]


def test_any_one_is_enough_when_asked(stub: Any, client: Client, a_job: JobMaker) -> None:
    stub.with_jobs(a_job("a", status="SUCCEEDED"), a_job("b"))

    jobs = await_jobs(
        client, ["a", "b"], any_one=True, progress=Progress(quiet=True), pace=VirtualTime().pace
    )

    assert jobs["b"]["status"] == "RUNNING"


def test_more_than_100_ids_take_more_calls(stub: Any, client: Client, a_job: JobMaker) -> None:
    ids = [f"job-{number}" for number in range(250)]
    stub.with_jobs(*(a_job(one, status="SUCCEEDED") for one in ids))

    await_jobs(client, ids, progress=Progress(quiet=True), pace=VirtualTime().pace)

    assert [len(body["jobs"]) for body in stub.bodies("DescribeJobs")] == [100, 100, 50]


def test_a_deadline_is_kept_and_says_what_next(stub: Any, client: Client, a_job: JobMaker) -> None:
    stub.with_jobs(a_job("a"))
    time = VirtualTime()

    with pytest.raises(DeadlinePassed) as caught:
        await_jobs(client, ["a"], timeout_s=90.0, progress=Progress(quiet=True), pace=time.pace)

    assert time.now == pytest.approx(90.0, abs=0.05)
    assert caught.value.exit_code == 7
    assert "batchyard explain a" in caught.value.hint


def test_an_unknown_id_is_missing_at_once(stub: Any, client: Client, a_job: JobMaker) -> None:
    stub.with_jobs(a_job("a"))

    with pytest.raises(Missing, match="nope"):
        await_jobs(client, ["a", "nope"], progress=Progress(quiet=True), pace=VirtualTime().pace)


def test_off_a_terminal_a_line_appears_every_30_seconds(
    stub: Any, client: Client, a_job: JobMaker
) -> None:
    out = io.StringIO()
    stub.with_jobs(a_job("a"))

    with pytest.raises(DeadlinePassed):
        await_jobs(
            client,
            ["a"],
            timeout_s=100.0,
            progress=Progress(stream=out),
            pace=VirtualTime().pace,
        )

    assert len(out.getvalue().splitlines()) == 4  # at about 30, 60 and 90 s, and the end
    assert "\r" not in out.getvalue()


def test_on_a_terminal_one_line_is_redrawn(stub: Any, client: Client, a_job: JobMaker) -> None:
    out = Screen()
    array = {"size": 4, "statusSummary": {"RUNNING": 3, "SUCCEEDED": 1}}
    stub.on_each(
        "DescribeJobs",
        [
            {"jobs": [a_job("a", status="PENDING", arrayProperties=array)]},
            {"jobs": [a_job("a", status="SUCCEEDED", arrayProperties={"size": 4})]},
        ],
    )

    await_jobs(client, ["a"], progress=Progress(stream=out), pace=VirtualTime().pace)

    drawn = out.getvalue().split("\r\x1b[K")
    assert drawn[1].startswith("[######>")
    assert "1/4" in drawn[1]
    assert "4/4" in drawn[2]
    assert out.getvalue().count("\n") == 1


def test_a_failed_job_is_exit_code_5_or_its_own(a_job: JobMaker) -> None:
    failed = a_job("f", status="FAILED", container={"exitCode": 3}, statusReason="Essential")

    with pytest.raises(JobsFailed, match="exit 3; Essential") as caught:
        judge({"f": failed}, exit_code_from_job=False)
    assert caught.value.exit_code == 5
    with pytest.raises(JobsFailed) as caught:
        judge({"f": failed}, exit_code_from_job=True)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("container", [{}, {"exitCode": 0}])
def test_a_job_that_failed_without_a_code_never_looks_like_success(
    a_job: JobMaker, container: dict[str, Any]
) -> None:
    with pytest.raises(JobsFailed) as caught:
        judge({"f": a_job("f", status="FAILED", container=container)}, exit_code_from_job=True)

    assert caught.value.exit_code == 5
    assert "batchyard show f" in caught.value.hint


def test_success_and_still_running_are_no_failure(a_job: JobMaker) -> None:
    judge({"a": a_job("a", status="SUCCEEDED"), "b": a_job("b")}, exit_code_from_job=False)


def test_a_wait_in_which_nothing_runs_says_once_how_to_find_out_why() -> None:
    progress = Progress(stream=io.StringIO())
    for second in range(0, 60, 2):
        progress.stalled({"RUNNABLE": 3}, float(second), "job-1")

    written = progress.stream.getvalue()  # type: ignore[attr-defined]
    assert written == "nothing runs yet; see why: batchyard explain job-1\n"


def test_a_job_that_runs_now_and_then_is_not_stalled() -> None:
    progress = Progress(stream=io.StringIO())
    for second in range(0, 60, 2):
        progress.stalled({"RUNNABLE": 3, "RUNNING": second % 8 == 0}, float(second), "job-1")

    assert progress.stream.getvalue() == ""  # type: ignore[attr-defined]
