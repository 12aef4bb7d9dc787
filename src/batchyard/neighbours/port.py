"""What a neighbour's handlers see of a request, and how the gateway calls them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol


class CallContext(Protocol):
    """Who asks, and where. The gateway's RequestContext is one."""

    @property
    def principal_arn(self) -> str: ...

    @property
    def account(self) -> str: ...

    @property
    def region(self) -> str: ...


Handler = Callable[[CallContext, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Wire members in, wire members out, in the spelling of the service's model."""

PlainHandler = Callable[
    [str, Mapping[str, str], Mapping[str, str], bytes],
    Awaitable[tuple[int, Mapping[str, str], bytes]],
]
"""(method, lower-case headers, query, body) -> (status, headers, body), for unsigned routes."""
