"""Rules of nodeProperties: the node groups of a multi-node parallel job definition.

Running such jobs is not served yet; definitions are judged so that they can be stored.
"""

import re
from typing import Final

from batchyard.kernel.document import Document
from batchyard.kernel.faults import InvalidRequest

MAX_NODES: Final = 1000
MAX_GROUPS: Final = 5
_TARGET: Final = re.compile(r"(?P<low>[0-9]{0,4})(?P<colon>:?)(?P<high>[0-9]{0,4})")


def check_nodes(nodes: Document) -> None:
    """The groups must be well-formed and together cover every node."""
    count = nodes.integer("numNodes", 1, MAX_NODES)
    main = nodes.integer("mainNode", 0)
    if count is None or main is None:
        raise InvalidRequest(f"{nodes.path} needs numNodes and mainNode.", field=nodes.path)
    if main >= count:
        raise InvalidRequest(
            f"{nodes.at('mainNode')} is {main}, but the nodes are 0 to {count - 1}.",
            field=nodes.at("mainNode"),
        )
    groups = nodes.sections("nodeRangeProperties")
    if not 1 <= len(groups) <= MAX_GROUPS:
        raise InvalidRequest(
            f"{nodes.at('nodeRangeProperties')} must have 1 to {MAX_GROUPS} groups, "
            f"but has {len(groups)}.",
            field=nodes.at("nodeRangeProperties"),
        )
    covered: set[int] = set()
    for group in groups:
        covered |= set(targets(group, count))
        forms = [m for m in ("container", "ecsProperties", "eksProperties") if group.has(m)]
        if len(forms) != 1:
            raise InvalidRequest(
                f"{group.path} needs container, ecsProperties or eksProperties, and only one.",
                field=group.path,
            )
        if (props := group.section("container")) is not None:
            props.required("image")
    if missing := sorted(set(range(count)) - covered):
        raise InvalidRequest(
            f"{nodes.at('nodeRangeProperties')} does not cover node {missing[0]} of {count}.",
            field=nodes.at("nodeRangeProperties"),
        )


def targets(group: Document, count: int) -> range:
    """The nodes of `targetNodes`: `n`, `a:b`, `:b` or `a:`, both ends included."""
    said = group.required("targetNodes")
    match = _TARGET.fullmatch(said)
    if match is None or said == ":":
        raise InvalidRequest(
            f"{group.at('targetNodes')} must look like 0:3, :3, 4: or 2, but is '{said}'.",
            field=group.at("targetNodes"),
        )
    low = int(match["low"] or 0)
    high = low if not match["colon"] else int(match["high"] or count - 1)
    if low > high or high >= count:
        raise InvalidRequest(
            f"{group.at('targetNodes')} is '{said}', but the nodes are 0 to {count - 1}.",
            field=group.at("targetNodes"),
        )
    return range(low, high + 1)
