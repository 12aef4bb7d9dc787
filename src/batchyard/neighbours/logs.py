"""CloudWatch Logs, as far as clients of Batch read it: events, streams and groups.

Reads go to a thread: a log folder may lie on a slow disk, and the event loop must not wait for one.
"""

import asyncio
import base64
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from batchyard.kernel.faults import InvalidRequest, NotFound, ServiceFault
from batchyard.logs.listing import GroupInfo, StreamInfo
from batchyard.logs.store import MAX_PAGE_EVENTS, FileLogStore
from batchyard.neighbours.port import CallContext, Handler

_DEFAULT_LISTED: Final = 50
_GROUP_ARN: Final = re.compile(r"arn:[^:]+:logs:[^:]*:[^:]*:log-group:(?P<name>[^:*]+)(?::\*)?")

T = TypeVar("T")


def log_handlers(store: FileLogStore) -> dict[tuple[str, str], Handler]:
    """Handlers by (signing name, operation)."""

    async def get_log_events(ctx: CallContext, params: dict[str, Any]) -> dict[str, Any]:
        page = await _read(
            lambda: store.events(
                _group(params),
                params["logStreamName"],
                start_ms=params.get("startTime"),
                end_ms=params.get("endTime"),
                token=params.get("nextToken"),
                from_head=params.get("startFromHead", False),
                limit=params.get("limit", MAX_PAGE_EVENTS),
            )
        )
        return {
            "events": [
                {
                    "timestamp": event.timestamp_ms,
                    "message": event.message,
                    "ingestionTime": event.ingested_ms,
                }
                for event in page.events
            ],
            "nextForwardToken": page.forward_token,
            "nextBackwardToken": page.backward_token,
        }

    async def filter_log_events(ctx: CallContext, params: dict[str, Any]) -> dict[str, Any]:
        if params.get("logStreamNames") and params.get("logStreamNamePrefix"):
            raise _invalid(
                "logStreamNames and logStreamNamePrefix are mutually exclusive parameters."
            )
        if params.get("startFromHead", True) is False:
            raise _invalid(
                "startFromHead=false is not supported by Batchyard for FilterLogEvents.",
                hint="Leave startFromHead out, or read one stream backwards with GetLogEvents.",
            )
        end_ms = params.get("endTime")
        page = await _read(
            lambda: store.filter(
                _group(params),
                streams=params.get("logStreamNames", ()),
                prefix=params.get("logStreamNamePrefix", ""),
                start_ms=params.get("startTime", 0),
                # AWS: here, unlike in GetLogEvents, the end of the range is included.
                end_ms=None if end_ms is None else end_ms + 1,
                pattern=params.get("filterPattern", ""),
                limit=params.get("limit", MAX_PAGE_EVENTS),
                token=params.get("nextToken"),
            )
        )
        answer: dict[str, Any] = {
            "events": [
                {
                    "logStreamName": found.stream,
                    "timestamp": found.event.timestamp_ms,
                    "message": found.event.message,
                    "ingestionTime": found.event.ingested_ms,
                    "eventId": found.event_id,
                }
                for found in page.events
            ],
            # AWS: always empty since 2020.
            "searchedLogStreams": [],
        }
        if page.next_token is not None:
            answer["nextToken"] = page.next_token
        return answer

    async def describe_log_streams(ctx: CallContext, params: dict[str, Any]) -> dict[str, Any]:
        order_by = params.get("orderBy", "LogStreamName")
        prefix = params.get("logStreamNamePrefix", "")
        if order_by not in ("LogStreamName", "LastEventTime"):
            raise _invalid(
                f"1 validation error detected: Value '{order_by}' at 'orderBy' failed to satisfy "
                "constraint: Member must satisfy enum value set: [LogStreamName, LastEventTime]"
            )
        if order_by == "LastEventTime" and prefix:
            raise _invalid(
                "Cannot order by LastEventTime with a logStreamNamePrefix.",
                hint="Leave one of the two out.",
            )
        group = _group(params)
        page = await _read(
            lambda: store.streams(
                group,
                prefix=prefix,
                order_by="name" if order_by == "LogStreamName" else "last_event_time",
                descending=params.get("descending", False),
                after=_after(params),
                limit=params.get("limit", _DEFAULT_LISTED),
            )
        )
        arn = _group_arn(ctx, group)
        return _with_next(
            {"logStreams": [_stream(info, group_arn=arn) for info in page.streams]},
            page.next_after,
        )

    async def describe_log_groups(ctx: CallContext, params: dict[str, Any]) -> dict[str, Any]:
        prefix = params.get("logGroupNamePrefix", "")
        text = params.get("logGroupNamePattern", "")
        if prefix and text:
            raise _invalid(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
            )
        if params.get("logGroupClass", "STANDARD") != "STANDARD":
            return {"logGroups": []}
        if identifiers := params.get("logGroupIdentifiers"):
            wanted = [_name_of(identifier) for identifier in identifiers]
            # In order of name, a group comes before all others that begin with its name.
            named = await _read(
                lambda: [
                    group
                    for name in wanted
                    for group in store.groups(prefix=name, limit=1).groups
                    if group.name == name
                ]
            )
            return {"logGroups": [_log_group(group, ctx, short=False) for group in named]}
        page = await _read(
            lambda: store.groups(
                prefix=prefix,
                text=text,
                after=_after(params),
                limit=params.get("limit", _DEFAULT_LISTED),
            )
        )
        # AWS: a search by pattern answers with the short form.
        groups = [_log_group(group, ctx, short=bool(text)) for group in page.groups]
        return _with_next({"logGroups": groups}, page.next_after)

    return {
        ("logs", "GetLogEvents"): get_log_events,
        ("logs", "FilterLogEvents"): filter_log_events,
        ("logs", "DescribeLogStreams"): describe_log_streams,
        ("logs", "DescribeLogGroups"): describe_log_groups,
    }


async def _read(read: Callable[[], T]) -> T:
    """Read in a thread; the store's refusals become those of CloudWatch Logs."""
    try:
        return await asyncio.to_thread(read)
    except NotFound as fault:
        raise ServiceFault("ResourceNotFoundException", fault.message, hint=fault.hint) from fault
    except InvalidRequest as fault:
        raise _invalid(fault.message, hint=fault.hint) from fault


def _group(params: dict[str, Any]) -> str:
    given = [params[key] for key in ("logGroupName", "logGroupIdentifier") if key in params]
    if len(given) != 1:
        raise _invalid(
            "You must include either logGroupIdentifier or logGroupName, but not both.",
            hint="Jobs write to /aws/batch/job unless their logConfiguration names another group.",
        )
    return _name_of(given[0])


def _name_of(identifier: str) -> str:
    if not identifier.startswith("arn:"):
        return identifier
    found = _GROUP_ARN.fullmatch(identifier)
    if found is None:
        raise _invalid(
            f"The specified log group identifier is invalid: {identifier}",
            hint="Use the group's name, or arn:aws:logs:REGION:ACCOUNT:log-group:NAME.",
        )
    return found["name"]


def _after(params: dict[str, Any]) -> str | None:
    token = params.get("nextToken")
    if token is None:
        return None
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode(
            "utf-8", "surrogatepass"
        )
    except ValueError:
        raise _invalid(
            "The specified nextToken is invalid.",
            hint="Use the nextToken of the previous page, or none to start anew.",
        ) from None


def _with_next(answer: dict[str, Any], next_after: str | None) -> dict[str, Any]:
    if next_after is not None:
        data = next_after.encode("utf-8", "surrogatepass")
        answer["nextToken"] = base64.urlsafe_b64encode(data).decode()
    return answer


def _group_arn(ctx: CallContext, group: str) -> str:
    return f"arn:aws:logs:{ctx.region}:{ctx.account}:log-group:{group}"


def _log_group(group: GroupInfo, ctx: CallContext, *, short: bool) -> dict[str, Any]:
    arn = _group_arn(ctx, group.name)
    answer: dict[str, Any] = {
        "logGroupName": group.name,
        "creationTime": group.created_ms,
        "arn": f"{arn}:*",
    }
    if not short:
        answer |= {
            "metricFilterCount": 0,
            "storedBytes": group.stored_bytes,
            "logGroupClass": "STANDARD",
            "logGroupArn": arn,
        }
    return answer


def _stream(info: StreamInfo, *, group_arn: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "logStreamName": info.name,
        "creationTime": info.created_ms,
        "arn": f"{group_arn}:log-stream:{info.name}",
        # AWS: always zero for a stream since 2019.
        "storedBytes": 0,
    }
    times = {
        "firstEventTimestamp": info.first_event_ms,
        "lastEventTimestamp": info.last_event_ms,
        "lastIngestionTime": info.last_ingestion_ms,
    }
    return answer | {member: at for member, at in times.items() if at is not None}


def _invalid(message: str, *, hint: str = "") -> ServiceFault:
    return ServiceFault("InvalidParameterException", message, hint=hint)
