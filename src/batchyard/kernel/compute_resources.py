"""Rules of computeResources: what a new MANAGED environment needs, and how an update merges.

Networks, images and roles are stored and returned; nothing here looks them up, as AWS accepts
wrong ones too and reports them later.
"""

from typing import Final

from batchyard.kernel.document import Document, Members
from batchyard.kernel.faults import InvalidRequest, NotAllowedInState

TYPES: Final = ("EC2", "SPOT", "FARGATE", "FARGATE_SPOT", "ECS_MANAGED_INSTANCES")
_NOT_FARGATE: Final = (
    "allocationStrategy",
    "bidPercentage",
    "ec2Configuration",
    "ec2KeyPair",
    "imageId",
    "instanceRole",
    "instanceTypes",
    "launchTemplate",
    "placementGroup",
    "tags",
)
_INFRASTRUCTURE: Final = frozenset(
    {*_NOT_FARGATE, "securityGroupIds", "subnets", "type", "updateToLatestImageVersion"}
)
"""AWS: changing one of these replaces instances, which BEST_FIT does not allow."""
_REMOVABLE: Final = frozenset({"ec2KeyPair", "imageId"})


def check_new(doc: Document) -> Members:
    """The computeResources of a new environment, as stored."""
    kind = doc.choice("type", TYPES)
    if kind is None:
        raise InvalidRequest("Resource type is required.", field=doc.at("type"))
    low, high, desired = _vcpus(doc)
    if high is None:
        raise InvalidRequest("Resource maxvCpus is required.", field=doc.at("maxvCpus"))
    stored = {k: v for k, v in doc.members.items() if v is not None}
    if kind.startswith("FARGATE"):
        for member in (*_NOT_FARGATE, "minvCpus", "desiredvCpus", "spotIamFleetRole"):
            if doc.has(member):
                raise InvalidRequest(
                    f"{member} is not applicable for Fargate.", field=doc.at(member)
                )
        return stored
    if kind == "ECS_MANAGED_INSTANCES":
        return stored
    if not doc.text("instanceRole"):
        raise InvalidRequest("Instance role is required.", field=doc.at("instanceRole"))
    if low is None:
        raise InvalidRequest("Resource minvCpus is required.", field=doc.at("minvCpus"))
    _check_spot(doc, kind)
    desired = low if desired is None else desired
    _check_order(low, desired, high=high)
    # AWS: desiredvCpus starts at minvCpus and is the environment's own afterwards.
    return {**stored, "desiredvCpus": desired}


def merged(current: Members, changes: Document) -> Members:
    """`current` with an update's changes; absent members stay, an empty string removes."""
    given = {k: v for k, v in changes.members.items() if v is not None}
    if not given:
        raise InvalidRequest(
            "At least one compute-resources attribute must be specified", field=changes.path
        )
    kind = changes.choice("type", TYPES) or str(current.get("type"))
    if kind.startswith("FARGATE"):
        _check_fargate_update(changes)
    else:
        _check_infrastructure(current, given)
    base = Document(members=current)
    low, high, desired = _vcpus(changes)
    low = low if low is not None else base.integer("minvCpus", 0)
    high = high if high is not None else base.integer("maxvCpus", 0)
    was = base.integer("desiredvCpus", 0)
    out = {**current, **given}
    out.pop("updateToLatestImageVersion", None)
    for member in _REMOVABLE:
        if given.get(member) == "":
            del out[member]
    template = changes.section("launchTemplate")
    if template is not None and not any(
        template.text(m) for m in ("launchTemplateId", "launchTemplateName")
    ):
        del out["launchTemplate"]
    if low is not None and high is not None and was is not None:
        out["desiredvCpus"] = _desired(low, high, was=was, asked=desired)
    return out


def _desired(low: int, high: int, *, was: int, asked: int | None) -> int:
    if asked is None:
        _check_order(low, low, high=high)
        return min(max(was, low), high)
    if asked < was:
        raise InvalidRequest(
            "Manually scaling down compute environment is not supported. Disconnecting job queues "
            "from compute environment will cause it to scale-down to minvCpus.",
            field="computeResources.desiredvCpus",
        )
    _check_order(low, asked, high=high)
    return asked


def _vcpus(doc: Document) -> tuple[int | None, int | None, int | None]:
    return (
        doc.integer("minvCpus", 0),
        doc.integer("maxvCpus", 0),
        doc.integer("desiredvCpus", 0),
    )


def _check_order(low: int, desired: int, *, high: int) -> None:
    if low <= desired <= high:
        return
    raise InvalidRequest(
        f"vCPUs must be in the order minvCpus <= desiredvCpus <= maxvCpus, "
        f"but are {low}, {desired} and {high}.",
        field="computeResources.desiredvCpus",
    )


def _check_spot(doc: Document, kind: str) -> None:
    doc.integer("bidPercentage", 1, 100)
    strategy = doc.text("allocationStrategy") or "BEST_FIT"
    if kind == "SPOT" and strategy == "BEST_FIT" and not doc.text("spotIamFleetRole"):
        raise InvalidRequest(
            "Spot fleet role is required.",
            field=doc.at("spotIamFleetRole"),
            hint="Give spotIamFleetRole, or an allocationStrategy such as "
            "SPOT_PRICE_CAPACITY_OPTIMIZED.",
        )


def _check_fargate_update(changes: Document) -> None:
    if any(changes.has(m) for m in (*_NOT_FARGATE, "updateToLatestImageVersion")):
        raise InvalidRequest(
            "The following parameters can't be updated for Fargate compute environment: "
            "allocationStrategy, bidPercentage, ec2Configuration, ec2KeyPair, imageId, "
            "instanceRole, instanceTypes, launchTemplate, placementGroup, tags, type, "
            "updatePolicy, updateToLatestImageVersion.",
            field=changes.path,
        )


def _check_infrastructure(current: Members, given: Members) -> None:
    if given.get("allocationStrategy") == "BEST_FIT":
        raise InvalidRequest(
            "allocationStrategy cannot be changed to BEST_FIT.",
            field="computeResources.allocationStrategy",
        )
    # OBSERVED: Terraform repeats unchanged members; only a change counts.
    changed = sorted(m for m in _INFRASTRUCTURE & given.keys() if current.get(m) != given[m])
    if changed and current.get("allocationStrategy", "BEST_FIT") == "BEST_FIT":
        raise NotAllowedInState(
            f"{', '.join(changed)} cannot be updated while the allocationStrategy is BEST_FIT.",
            hint="Create a new compute environment with another allocationStrategy.",
        )
