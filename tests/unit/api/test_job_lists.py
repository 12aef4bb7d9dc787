"""ListJobs: states, filters, pages, and the children of arrays."""

from typing import Any

import pytest

from batchyard.kernel.faults import InvalidRequest, NotFound
from unit.api.served_yard import ARN, NOW_MS, ServedYard, finish, place, start, submit


def listed(yard: ServedYard, **params: Any) -> list[dict[str, Any]]:
    return list(yard.call("ListJobs", **{"jobQueue": "q", **params})["jobSummaryList"])


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [job["jobId"] for job in found]


def by(yard: ServedYard, name: str, value: str, **params: Any) -> list[str]:
    return ids(listed(yard, filters=[{"name": name, "values": [value]}], **params))


def every_page(yard: ServedYard, **params: Any) -> list[list[str]]:
    pages = []
    while True:
        answer = yard.call("ListJobs", **params)
        pages.append(ids(answer["jobSummaryList"]))
        if "nextToken" not in answer:
            return pages
        params["nextToken"] = answer["nextToken"]


def test_running_jobs_are_the_default(yard: ServedYard) -> None:
    waiting, running = submit(yard), submit(yard)
    place(yard, running)
    start(yard, running)
    assert ids(listed(yard)) == [running]
    assert ids(listed(yard, jobStatus="RUNNABLE")) == [waiting]
    assert ids(listed(yard, jobStatus="runnable", jobQueue=ARN + "job-queue/q")) == [waiting]
    assert listed(yard, jobStatus="SUCCEEDED") == []


def test_a_summary(yard: ServedYard) -> None:
    job_id = submit(yard)
    plain = {
        "jobArn": f"{ARN}job/{job_id}",
        "jobId": job_id,
        "jobName": "j",
        "createdAt": NOW_MS,
        "status": "RUNNABLE",
        "jobDefinition": ARN + "job-definition/d:1",
        "isCancelled": False,
        "isTerminated": False,
    }
    assert listed(yard, jobStatus="RUNNABLE") == [plain]
    place(yard, job_id)
    start(yard, job_id)
    finish(yard, job_id, 9)
    assert listed(yard, jobStatus="FAILED") == [
        {
            **plain,
            "status": "FAILED",
            "statusReason": "Essential container in task exited",
            "startedAt": NOW_MS + 10,
            "stoppedAt": NOW_MS + 20,
            "container": {"exitCode": 9},
        }
    ]


def test_filters_look_at_jobs_in_every_state(yard: ServedYard) -> None:
    first = submit(yard, jobName="Align_1")
    place(yard, first)
    start(yard, first)
    finish(yard, first, 0)
    yard.now_ms += 1000
    second = submit(yard, jobName="align_2")
    yard.now_ms += 1000
    third = submit(yard, jobName="call")
    assert by(yard, "JOB_NAME", "ALIGN_1") == [first]
    assert by(yard, "JOB_NAME", "align*", jobStatus="RUNNING") == [second, first]
    assert by(yard, "JOB_NAME", "align") == []
    assert by(yard, "AFTER_CREATED_AT", str(NOW_MS + 500)) == [third, second]
    assert by(yard, "BEFORE_CREATED_AT", str(NOW_MS + 500)) == [first]


def test_filters_by_definition(yard: ServedYard) -> None:
    props = {"image": "i", "vcpus": 1, "memory": 4}
    for name in ("d", "dd"):
        yard.call(
            "RegisterJobDefinition",
            jobDefinitionName=name,
            type="container",
            containerProperties=props,
        )
    one, two, other = (submit(yard, jobDefinition=d) for d in ("d:1", "d:2", "dd"))
    assert by(yard, "JOB_DEFINITION", "d") == [two, one]
    assert by(yard, "JOB_DEFINITION", "D") == []
    assert by(yard, "JOB_DEFINITION", "d*") == [other, two, one]
    assert by(yard, "JOB_DEFINITION", ARN + "job-definition/d:1") == [one]


def test_a_filter_by_share_keeps_the_status(yard: ServedYard) -> None:
    submit(yard)
    assert by(yard, "SHARE_IDENTIFIER", "s", jobStatus="RUNNABLE") == []


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"jobQueue": None}, "Exactly one of jobQueue, arrayJobId, multiNodeJobId"),
        ({"arrayJobId": "a"}, "but jobQueue and arrayJobId was"),
        ({"jobQueue": "q", "multiNodeJobId": "a"}, "Exactly one of"),
        ({"jobStatus": "DONE"}, "jobStatus must be one of SUBMITTED"),
        ({"maxResults": 0}, "maxResults must be at least 1"),
        ({"filters": [{"name": "JOB_NAME", "values": ["a"]}] * 2}, "one filter only, but has 2"),
        ({"filters": [{"values": ["a"]}]}, "filters[0].name must be specified"),
        ({"filters": [{"name": "job_name", "values": ["a"]}]}, "but is 'job_name'"),
        ({"filters": [{"name": "JOB_NAME"}]}, "exactly one value, but has 0"),
        ({"filters": [{"name": "JOB_NAME", "values": ["a", "b"]}]}, "value, but has 2"),
        ({"filters": [{"name": "JOB_NAME", "values": [""]}]}, "exactly one value"),
        ({"filters": [{"name": "AFTER_CREATED_AT", "values": ["1.5"]}]}, "epoch milliseconds"),
        ({"filters": [{"name": "BEFORE_CREATED_AT", "values": ["9" * 16]}]}, "milliseconds"),
        (
            {"filters": [{"name": "JOB_DEFINITION", "values": [ARN + "job-definition/d"]}]},
            "takes an ARN with its revision",
        ),
        ({"nextToken": "x"}, "nextToken is not valid"),
    ],
)
def test_refuses(yard: ServedYard, params: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        listed(yard, **params)
    assert said in caught.value.message


def test_an_unknown_queue(yard: ServedYard) -> None:
    with pytest.raises(NotFound, match=r"JobQueue nope not found\."):
        listed(yard, jobQueue="nope")


def test_pages_are_complete_and_newest_first(yard: ServedYard) -> None:
    made = []
    for i in range(7):
        yard.now_ms += i % 2
        made.append(submit(yard))
    pages = every_page(yard, jobQueue="q", jobStatus="RUNNABLE", maxResults=3)
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [i for page in pages for i in page] == made[::-1]


def test_filtered_pages_hold_at_most_100(yard: ServedYard) -> None:
    made = [submit(yard) for _ in range(101)]
    filters = [{"name": "JOB_NAME", "values": ["j"]}]
    pages = every_page(yard, jobQueue="q", filters=filters, maxResults=1000)
    assert [len(page) for page in pages] == [100, 1]
    assert [i for page in pages for i in page] == made[::-1]
    assert len(listed(yard, jobStatus="RUNNABLE", maxResults=5000)) == 101


def test_parents_are_listed_and_children_are_not(yard: ServedYard) -> None:
    parent = submit(yard, arrayProperties={"size": 2})
    place(yard, f"{parent}:0")
    start(yard, f"{parent}:0")
    assert listed(yard) == []
    (found,) = listed(yard, jobStatus="PENDING")
    assert (found["jobId"], found["arrayProperties"]["size"]) == (parent, 2)
    assert by(yard, "JOB_NAME", "j") == [parent]


def test_children_with_and_without_rows_in_order_of_index(yard: ServedYard) -> None:
    parent = submit(yard, arrayProperties={"size": 9})
    for index in (1, 4, 5):
        place(yard, f"{parent}:{index}")
        start(yard, f"{parent}:{index}")
    yard.call("CancelJob", jobId=f"{parent}:3", reason="r")
    for index in (1, 5):
        finish(yard, f"{parent}:{index}", index - 1)

    def children(status: str | None, size: int) -> list[list[int]]:
        params: dict[str, Any] = {"arrayJobId": parent, "maxResults": size}
        if status is not None:
            params["jobStatus"] = status
        pages = every_page(yard, **params)
        return [[int(i.rpartition(":")[2]) for i in page] for page in pages]

    assert children(None, 5) == [[4]]
    assert children("RUNNABLE", 2) == [[0, 2], [6, 7], [8]]
    assert children("SUCCEEDED", 1) == [[1]]
    assert children("FAILED", 1) == [[3], [5]]
    assert children("PENDING", 5) == [[]]


def test_dropped_children_page_with_the_others(yard: ServedYard) -> None:
    parent = submit(yard, arrayProperties={"size": 2500})
    place(yard, f"{parent}:7")
    start(yard, f"{parent}:7")
    yard.call("TerminateJob", jobId=parent, reason="r")
    finish(yard, f"{parent}:7", 137)
    pages = every_page(yard, arrayJobId=parent, jobStatus="FAILED")
    assert [len(page) for page in pages] == [1000, 1000, 500]
    assert [i for page in pages for i in page] == [f"{parent}:{i}" for i in range(2500)]


def test_the_children_of_nothing(yard: ServedYard) -> None:
    single = submit(yard)
    for params in ({"arrayJobId": single}, {"arrayJobId": "x"}, {"multiNodeJobId": single}):
        assert yard.call("ListJobs", jobStatus="RUNNABLE", **params) == {"jobSummaryList": []}
