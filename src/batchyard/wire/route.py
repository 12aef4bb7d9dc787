"""Which service and which operation a request means.

All services arrive on one port. The service is the one the request was signed for; an unsigned
request is placed by its target, its form or its path, so that even its refusal has the right form.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote

import msgspec

from batchyard.kernel.faults import BatchyardError, NotSupported, ServiceFault
from batchyard.wire.faults import UnknownOperation
from batchyard.wire.model import (
    EXTENSION_SERVICE,
    KNOWN_PROTOCOLS,
    Models,
    OperationModel,
    Protocol,
    ServiceModel,
)
from batchyard.wire.parse import form_fields
from batchyard.wire.sigv4 import InvalidSignature, SignedRequest

EXTENSION_PREFIX: Final = "/_batchyard/v1/"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,127}")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The service a request belongs to, known before anything is verified."""

    service: str
    protocol: Protocol


class Route(msgspec.Struct, frozen=True, kw_only=True):
    operation: OperationModel
    uri: dict[str, str]


class _Template(msgspec.Struct, frozen=True, kw_only=True):
    pattern: re.Pattern[str]
    labels: tuple[str, ...]
    operation: OperationModel


class Router:
    """Finds services and operations; compiles each service's paths on first use."""

    def __init__(self, *, models: Models, served: Sequence[str]) -> None:
        self._models = models
        self._served = frozenset(served)
        self._exact: dict[str, dict[tuple[str, str], OperationModel]] = {}
        self._templates: dict[str, list[_Template]] = {}

    def place(self, request: SignedRequest, signed_service: str | None) -> Place:
        """Where the request belongs, by its signature or else by its looks."""
        service = signed_service if signed_service is not None else self._guess(request)
        protocol = KNOWN_PROTOCOLS.get(service)
        return Place(service=service, protocol=protocol or _looks_like(request))

    def route(self, request: SignedRequest, place: Place) -> Route:
        """The operation the request names.

        Raises:
            UnknownOperation: the service has no such operation.
            NotSupported, ServiceFault: an AWS service that Batchyard does not serve.
            InvalidSignature: signed for a service that does not exist.
        """
        if place.service not in self._served:
            raise self._unserved(request, place)
        model = self._models.service(place.service)
        if model.protocol == "rest-json":
            return self._by_path(request, model)
        name = _named_operation(request, model)
        operation = model.operations.get(name)
        if operation is None:
            raise UnknownOperation(
                f"Unknown operation {name[:128]!r} of service {model.name}."
                if name
                else f"The request to service {model.name} names no operation.",
                hint=_naming_hint(model),
            )
        return Route(operation=operation, uri={})

    def _guess(self, request: SignedRequest) -> str:
        if request.raw_path.startswith(EXTENSION_PREFIX):
            return EXTENSION_SERVICE
        target = request.headers.get("x-amz-target")
        fields = _form(request)
        for name in sorted(self._served):
            model = self._models.service(name)
            if target is not None and model.target_prefix:
                if target.startswith(f"{model.target_prefix}."):
                    return name
            elif fields.get("Version") == model.api_version and model.protocol == "query":
                return name
        if request.raw_path.startswith("/v1/"):
            return "batch"
        return ""

    def _unserved(self, request: SignedRequest, place: Place) -> BatchyardError:
        if place.service not in KNOWN_PROTOCOLS:
            return InvalidSignature(
                f"Credential should be scoped to a correct service: {place.service[:60]!r} is "
                "not one.",
                hint=f"Services here: {', '.join(sorted(self._served))}.",
            )
        if place.protocol == "rest-json" and request.method == "GET":
            # CHOSEN: a service that is not here holds nothing; clients that look for something
            # of theirs (a Lambda function, a file system) go on when it does not exist
            # (ADR 11).
            return ServiceFault(
                "ResourceNotFoundException",
                f"Batchyard does not serve {place.service}; nothing exists at {request.raw_path}.",
                http_status=404,
                hint=self._elsewhere(place.service),
            )
        return NotSupported(
            f"Batchyard does not serve the AWS service {place.service} yet.",
            hint=self._elsewhere(place.service),
        )

    def _elsewhere(self, service: str) -> str:
        return (
            f"Services here: {', '.join(sorted(self._served))}. Point the client of {service} at "
            f"another endpoint with AWS_ENDPOINT_URL_{service.upper()}."
        )

    def _by_path(self, request: SignedRequest, model: ServiceModel) -> Route:
        if model.name not in self._exact:
            self._compile(model)
        path = request.raw_path
        operation = self._exact[model.name].get((request.method, path))
        if operation is not None:
            return Route(operation=operation, uri={})
        for template in self._templates[model.name]:
            match = template.pattern.fullmatch(path)
            if match is not None and template.operation.method == request.method:
                values = [unquote(value) for value in match.groups()]
                return Route(
                    operation=template.operation,
                    uri=dict(zip(template.labels, values, strict=True)),
                )
        raise UnknownOperation(
            f"Unknown operation: {request.method} {path[:200]}",
            hint=self._path_hint(request.method, path, model),
        )

    def _path_hint(self, method: str, path: str, model: ServiceModel) -> str:
        lowered = path.rstrip("/").lower()
        for known_method, known_path in self._exact[model.name]:
            if known_path == lowered:
                return f"Did you mean {known_method} {known_path}?"
        return f"{model.name} operations are POST /v1/<operation name in lower case>."

    def _compile(self, model: ServiceModel) -> None:
        exact: dict[tuple[str, str], OperationModel] = {}
        templates: list[_Template] = []
        for operation in model.operations.values():
            labels = re.findall(r"\{([^}+]+)\+?\}", operation.uri)
            if not labels:
                exact[operation.method, operation.uri] = operation
                continue
            # ORDER: the last label is greedy, because some clients leave the slashes of an ARN
            # unescaped.
            pieces = re.split(r"\{[^}]+\}", operation.uri)
            groups = [*["([^/]+)"] * (len(labels) - 1), "(.+)"]
            source = "".join(
                re.escape(piece) + group for piece, group in zip(pieces, [*groups, ""], strict=True)
            )
            templates.append(
                _Template(pattern=re.compile(source), labels=tuple(labels), operation=operation)
            )
        self._templates[model.name] = templates
        self._exact[model.name] = exact


def extension_name(raw_path: str) -> str | None:
    """The name of Batchyard's own operation at this path, or None."""
    if not raw_path.startswith(EXTENSION_PREFIX):
        return None
    name = raw_path.removeprefix(EXTENSION_PREFIX)
    return name if _NAME.fullmatch(name) else ""


def _looks_like(request: SignedRequest) -> Protocol:
    if "x-amz-target" in request.headers:
        return "json"
    return "query" if "Action" in _form(request) else "rest-json"


def _form(request: SignedRequest) -> Mapping[str, str]:
    kind = request.headers.get("content-type", "")
    if kind.startswith("application/x-www-form-urlencoded") and request.body:
        return form_fields(request.body)
    return dict(request.query)


def _named_operation(request: SignedRequest, model: ServiceModel) -> str:
    if model.protocol == "json":
        prefix, _, name = request.headers.get("x-amz-target", "").rpartition(".")
        return name if prefix == model.target_prefix else ""
    fields = form_fields(request.body) if request.body else dict(request.query)
    return fields.get("Action", "")


def _naming_hint(model: ServiceModel) -> str:
    if model.protocol == "json":
        return f"Send the header X-Amz-Target: {model.target_prefix}.<Operation>."
    return "Send a form with Action=<Operation>."
