"""Hypothesis strategies for values of a botocore shape."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

_PLAIN = st.characters(codec="utf-8", exclude_characters="\x00")
_XML_SAFE = st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"])
_KEPT_MEMBERS = 5


def values(shape: Any, *, xml: bool = False, filled: bool = False) -> st.SearchStrategy[Any]:
    """Values of the shape.

    Args:
        shape: A botocore shape.
        xml: Only text that XML can carry.
        filled: No empty structures or maps, for protocols that cannot carry them.
    """
    return _values(shape, xml, filled, 0)


def _values(shape: Any, xml: bool, filled: bool, depth: int) -> st.SearchStrategy[Any]:
    kind = shape.type_name
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max")
    if kind == "structure":
        return _structures(shape, xml, filled, depth)
    if kind == "list":
        item = _values(shape.member, xml, filled, depth + 1)
        return st.lists(item, min_size=low, max_size=max(low, 2))
    if kind == "map":
        key = _values(shape.key, xml, filled, depth + 1)
        item = _values(shape.value, xml, filled, depth + 1)
        return st.dictionaries(key, item, min_size=max(low, int(filled)), max_size=max(low, 2))
    if kind == "string":
        return _strings(shape, xml)
    if kind == "boolean":
        return st.booleans()
    if kind in ("integer", "long"):
        bits = 31 if kind == "integer" else 63
        floor = shape.metadata.get("min", -(2**bits))
        return st.integers(floor, high if high is not None else 2**bits - 1)
    if kind in ("float", "double"):
        return st.floats(allow_nan=False, allow_infinity=False, width=32)
    if kind == "timestamp":
        return st.integers(0, 4_000_000_000).map(lambda s: datetime.fromtimestamp(s, UTC))
    raise AssertionError(f"no strategy for {kind}")


@st.composite
def _structures(draw: st.DrawFn, shape: Any, xml: bool, filled: bool, depth: int) -> Any:
    required = list(shape.required_members)
    optional = [name for name in shape.members if name not in required]
    kept: list[str] = []
    if optional and depth < 6:
        least = 1 if filled and not required else 0
        kept = draw(
            st.lists(st.sampled_from(optional), unique=True, min_size=least, max_size=_KEPT_MEMBERS)
        )
    return {
        name: draw(_values(shape.members[name], xml, filled, depth + 1))
        for name in [*required, *kept]
    }


def _strings(shape: Any, xml: bool) -> st.SearchStrategy[str]:
    if shape.enum:
        return st.sampled_from(shape.enum)
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max")
    if "location" in shape.serialization:
        low = max(low, 1)
    if "pattern" in shape.metadata:
        # Every pattern of the operations served admits letters and digits.
        alphabet = st.sampled_from("0123456789")
    else:
        alphabet = _XML_SAFE if xml else _PLAIN
    return st.text(alphabet, min_size=low, max_size=max(low, min(high or 12, 12)))
