"""A registered job definition as a value. The rules around it stand in modules beside it."""

from typing import Literal

import msgspec


class JobDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One revision. `document` is the wire-shaped register request, echoed exactly."""

    name: str
    revision: int
    status: Literal["ACTIVE", "INACTIVE"] = "ACTIVE"
    document: dict[str, object]
    created_at_ms: int
    deregistered_at_ms: int | None = None
    tags: dict[str, str] = {}

    @property
    def key(self) -> str:
        return f"{self.name}:{self.revision}"
