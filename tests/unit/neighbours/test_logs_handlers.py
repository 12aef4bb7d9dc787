"""CloudWatch Logs handlers: members, errors and paging as clients meet them."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchyard.kernel.faults import ServiceFault
from batchyard.logs.port import LogLine
from batchyard.logs.store import FileLogStore
from batchyard.neighbours.logs import log_handlers

GROUP = "/aws/batch/job"


class Context(msgspec.Struct, frozen=True, kw_only=True):
    principal_arn: str = "arn:aws:iam::123456789012:user/me"
    account: str = "123456789012"
    region: str = "eu-central-1"


@pytest.fixture
def store(tmp_path: Path) -> FileLogStore:
    store = FileLogStore(tmp_path / "logs", clock=lambda: 5_000)
    for stream, times_ms in {"a/default/1": (10, 30), "b/default/2": (20, 40)}.items():
        store.append(
            GROUP,
            stream,
            [
                LogLine(timestamp_ms=at, message=f"{stream[0]} at {at}", position=n + 1)
                for n, at in enumerate(times_ms)
            ],
        )
    return store


def call(store: FileLogStore, operation: str, **params: Any) -> dict[str, Any]:
    handler = log_handlers(store)["logs", operation]
    return asyncio.run(handler(Context(), params))


def test_get_log_events_has_the_members_of_the_model(store: FileLogStore) -> None:
    answer = call(store, "GetLogEvents", logGroupName=GROUP, logStreamName="a/default/1")
    assert answer["events"] == [
        {"timestamp": 10, "message": "a at 10", "ingestionTime": 5_000},
        {"timestamp": 30, "message": "a at 30", "ingestionTime": 5_000},
    ]
    assert answer["nextForwardToken"].startswith("f/")
    assert answer["nextBackwardToken"].startswith("b/")


def test_get_log_events_starts_at_the_tail_unless_told(store: FileLogStore) -> None:
    where = {"logGroupName": GROUP, "logStreamName": "a/default/1", "limit": 1}
    assert call(store, "GetLogEvents", **where)["events"][0]["timestamp"] == 30
    head = call(store, "GetLogEvents", **where, startFromHead=True)
    assert head["events"][0]["timestamp"] == 10
    assert call(store, "GetLogEvents", **where, startTime=11, endTime=30)["events"] == []


def test_a_client_that_reads_until_the_token_repeats_comes_to_an_end(store: FileLogStore) -> None:
    where = {"logGroupName": GROUP, "logStreamName": "a/default/1", "limit": 1}
    where["startFromHead"] = True
    seen: list[int] = []
    token = None
    while True:
        answer = call(store, "GetLogEvents", **where, **({"nextToken": token} if token else {}))
        seen += [event["timestamp"] for event in answer["events"]]
        if answer["nextForwardToken"] == token:
            break
        token = answer["nextForwardToken"]
    assert seen == [10, 30]


def test_filter_log_events_interleaves_and_includes_its_end(store: FileLogStore) -> None:
    answer = call(store, "FilterLogEvents", logGroupName=GROUP, startTime=20, endTime=40)
    assert [(e["logStreamName"], e["timestamp"]) for e in answer["events"]] == [
        ("b/default/2", 20),
        ("a/default/1", 30),
        ("b/default/2", 40),
    ]
    assert answer["searchedLogStreams"] == []
    assert "nextToken" not in answer
    assert {len(e["eventId"]) for e in answer["events"]} == {56}


def test_filter_log_events_narrows_and_pages(store: FileLogStore) -> None:
    named = call(store, "FilterLogEvents", logGroupName=GROUP, logStreamNames=["a/default/1"])
    assert [e["timestamp"] for e in named["events"]] == [10, 30]
    prefix = call(store, "FilterLogEvents", logGroupName=GROUP, logStreamNamePrefix="b/")
    assert [e["timestamp"] for e in prefix["events"]] == [20, 40]
    pattern = call(store, "FilterLogEvents", logGroupName=GROUP, filterPattern='"at 4"')
    assert [e["timestamp"] for e in pattern["events"]] == [40]
    first = call(store, "FilterLogEvents", logGroupName=GROUP, limit=3)
    rest = call(store, "FilterLogEvents", logGroupName=GROUP, nextToken=first["nextToken"])
    assert [e["timestamp"] for e in first["events"] + rest["events"]] == [10, 20, 30, 40]


def test_describe_log_streams_pages_and_orders(store: FileLogStore) -> None:
    first = call(store, "DescribeLogStreams", logGroupName=GROUP, limit=1)
    assert first["logStreams"] == [
        {
            "logStreamName": "a/default/1",
            "creationTime": 5_000,
            "firstEventTimestamp": 10,
            "lastEventTimestamp": 30,
            "lastIngestionTime": 5_000,
            "arn": "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/batch/job"
            ":log-stream:a/default/1",
            "storedBytes": 0,
        }
    ]
    token = first["nextToken"]
    rest = call(store, "DescribeLogStreams", logGroupName=GROUP, nextToken=token)
    assert [stream["logStreamName"] for stream in rest["logStreams"]] == ["b/default/2"]
    assert "nextToken" not in rest
    recent = call(
        store, "DescribeLogStreams", logGroupName=GROUP, orderBy="LastEventTime", descending=True
    )
    assert [stream["lastEventTimestamp"] for stream in recent["logStreams"]] == [40, 30]


def test_an_empty_stream_has_no_event_times(store: FileLogStore) -> None:
    store.create(GROUP, "empty")
    answer = call(store, "DescribeLogStreams", logGroupName=GROUP, logStreamNamePrefix="empty")
    assert "lastEventTimestamp" not in answer["logStreams"][0]


def test_describe_log_groups(store: FileLogStore) -> None:
    store.create("/aws/batch/job/mine", "s")
    store.create("other", "s")
    answer = call(store, "DescribeLogGroups", logGroupNamePrefix="/aws", limit=1)
    (group,) = answer["logGroups"]
    assert group["logGroupName"] == GROUP
    assert group["arn"] == "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/batch/job:*"
    assert group["logGroupArn"] == group["arn"].removesuffix(":*")
    assert group["storedBytes"] > 0
    rest = call(
        store, "DescribeLogGroups", logGroupNamePrefix="/aws", nextToken=answer["nextToken"]
    )
    assert [group["logGroupName"] for group in rest["logGroups"]] == ["/aws/batch/job/mine"]
    short = call(store, "DescribeLogGroups", logGroupNamePattern="the")
    assert [set(group) for group in short["logGroups"]] == [{"logGroupName", "creationTime", "arn"}]
    named = call(store, "DescribeLogGroups", logGroupIdentifiers=["other", "missing", GROUP])
    assert [group["logGroupName"] for group in named["logGroups"]] == ["other", GROUP]
    assert call(store, "DescribeLogGroups", logGroupClass="INFREQUENT_ACCESS")["logGroups"] == []


@pytest.mark.parametrize("suffix", ["", ":*"])
def test_a_group_may_be_given_by_arn(store: FileLogStore, suffix: str) -> None:
    arn = f"arn:aws:logs:eu-central-1:123456789012:log-group:{GROUP}{suffix}"
    answer = call(store, "GetLogEvents", logGroupIdentifier=arn, logStreamName="a/default/1")
    assert len(answer["events"]) == 2


IN_GROUP = {"logGroupName": GROUP}
IN_STREAM = {"logGroupName": GROUP, "logStreamName": "a/default/1"}
MISSING_GROUP = "The specified log group does not exist."
MISSING_STREAM = "The specified log stream does not exist."


@pytest.mark.parametrize(
    ("operation", "params", "code", "message"),
    [
        ("GetLogEvents", {**IN_GROUP, "logStreamName": "no"}, "ResourceNotFound", MISSING_STREAM),
        (
            "GetLogEvents",
            {"logGroupName": "no", "logStreamName": "no"},
            "ResourceNotFound",
            MISSING_GROUP,
        ),
        ("FilterLogEvents", {"logGroupName": "no"}, "ResourceNotFound", MISSING_GROUP),
        (
            "FilterLogEvents",
            {**IN_GROUP, "logStreamNames": ["no"]},
            "ResourceNotFound",
            MISSING_STREAM,
        ),
        ("DescribeLogStreams", {"logGroupName": "no"}, "ResourceNotFound", MISSING_GROUP),
        ("GetLogEvents", {"logStreamName": "no"}, "InvalidParameter", "You must include either"),
        (
            "GetLogEvents",
            {**IN_STREAM, "logGroupIdentifier": GROUP},
            "InvalidParameter",
            "not both",
        ),
        (
            "GetLogEvents",
            {"logStreamName": "a", "logGroupIdentifier": "arn:aws:s3:::bucket"},
            "InvalidParameter",
            "identifier is invalid",
        ),
        ("GetLogEvents", {**IN_STREAM, "nextToken": "f/1"}, "InvalidParameter", "nextToken"),
        ("FilterLogEvents", {**IN_GROUP, "nextToken": "?"}, "InvalidParameter", "nextToken"),
        ("DescribeLogStreams", {**IN_GROUP, "nextToken": "?"}, "InvalidParameter", "nextToken"),
        ("DescribeLogGroups", {"nextToken": "?"}, "InvalidParameter", "nextToken"),
        (
            "DescribeLogStreams",
            {**IN_GROUP, "orderBy": "LastEventTime", "nextToken": "YQ=="},
            "InvalidParameter",
            "nextToken",
        ),
        (
            "FilterLogEvents",
            {**IN_GROUP, "filterPattern": "{ $.a = 1 }"},
            "InvalidParameter",
            "JSON patterns",
        ),
        (
            "FilterLogEvents",
            {**IN_GROUP, "logStreamNames": ["a"], "logStreamNamePrefix": "a"},
            "InvalidParameter",
            "mutually exclusive",
        ),
        (
            "FilterLogEvents",
            {**IN_GROUP, "startFromHead": False},
            "InvalidParameter",
            "not supported",
        ),
        (
            "DescribeLogStreams",
            {**IN_GROUP, "orderBy": "LastEventTime", "logStreamNamePrefix": "a"},
            "InvalidParameter",
            r"Cannot order by LastEventTime with a logStreamNamePrefix\.",
        ),
        ("DescribeLogStreams", {**IN_GROUP, "orderBy": "Size"}, "InvalidParameter", "enum value"),
        (
            "DescribeLogGroups",
            {"logGroupNamePrefix": "a", "logGroupNamePattern": "a"},
            "InvalidParameter",
            "mutually exclusive",
        ),
    ],
)
def test_a_refusal_has_the_code_and_text_of_the_service(
    store: FileLogStore, operation: str, params: dict[str, Any], code: str, message: str
) -> None:
    with pytest.raises(ServiceFault, match=message) as caught:
        call(store, operation, **params)
    assert caught.value.code == f"{code}Exception"
    assert caught.value.http_status == 400
