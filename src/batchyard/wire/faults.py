"""The one place where a BatchyardError becomes an HTTP answer, in the caller's protocol.

AWS texts stay exact on the AWS wire: the hint travels beside them in the `x-batchyard-hint`
header, and as a member of the body only in Batchyard's own operations.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from batchyard.kernel.faults import (
    BatchyardError,
    ClientFault,
    ExecutorError,
    InvalidRequest,
    LimitExceeded,
    NotFound,
    NotSupported,
    ServerFault,
    Throttled,
)
from batchyard.wire.model import EXTENSION_SERVICE, Protocol
from batchyard.wire.parse import MalformedBody, WrongType
from batchyard.wire.serialize import xml_text
from batchyard.wire.validate import ConstraintsBroken, coral_message

CONTENT_TYPES: Final[Mapping[Protocol, bytes]] = MappingProxyType(
    {
        "rest-json": b"application/json",
        "json": b"application/x-amz-json-1.1",
        "query": b"text/xml",
        "ec2": b"text/xml;charset=UTF-8",
        "rest-xml": b"application/xml",
    }
)

# AWS: services before rest-json name the same refusals without "Exception".
_XML_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "AccessDeniedException": "AccessDenied",
        "ExpiredTokenException": "ExpiredToken",
        "IncompleteSignatureException": "IncompleteSignature",
        "InvalidSignatureException": "SignatureDoesNotMatch",
        "MissingAuthenticationTokenException": "MissingAuthenticationToken",
        "ResourceNotFoundException": "NoSuchEntity",
        "ServerException": "InternalFailure",
        "UnknownOperationException": "InvalidAction",
        "UnrecognizedClientException": "InvalidClientTokenId",
    }
)
_JSON_KINDS: Final[tuple[tuple[type[BatchyardError], str], ...]] = (
    (MalformedBody, "SerializationException"),
    (WrongType, "SerializationException"),
    (InvalidRequest, "InvalidParameterException"),
    (NotFound, "ResourceNotFoundException"),
    (LimitExceeded, "LimitExceededException"),
    (NotSupported, "NotImplemented"),
    (ClientFault, "InvalidParameterException"),
    (Throttled, "ThrottlingException"),
    (ServerFault, "ServiceUnavailableException"),
)
_XML_KINDS: Final[tuple[tuple[type[BatchyardError], str], ...]] = (
    (NotFound, "NoSuchEntity"),
    (LimitExceeded, "LimitExceeded"),
    (NotSupported, "NotImplemented"),
    (ClientFault, "ValidationError"),
    (Throttled, "Throttling"),
    (ServerFault, "InternalFailure"),
)


class UnknownOperation(BatchyardError):
    """No operation of any known service answers at this method, path or target."""

    code = "UnknownOperationException"
    http_status = 404


class BodyTooLarge(ClientFault):
    http_status = 413


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def internal_error(request_id: str) -> ServerFault:
    """What the caller learns of an exception nobody expected; the log holds the rest."""
    return ServerFault(
        f"An internal error occurred. Request id: {request_id}.",
        hint="The log of the yard has the cause under this request id.",
    )


def render(error: BatchyardError, *, service: str, protocol: Protocol, request_id: str) -> Reply:
    """The answer to a failed request.

    Args:
        error: What went wrong; an ExecutorError is told as an internal error.
        service: SigV4 service name, or "" when the request never named one.
        protocol: The form of the body.
        request_id: Already told to the log.
    """
    if isinstance(error, ExecutorError):
        error = internal_error(request_id)
    code, status = _code(error, service, protocol)
    message = _message(error, service, request_id)
    headers = [
        (b"content-type", CONTENT_TYPES[protocol]),
        (b"x-amzn-requestid", request_id.encode()),
    ]
    if error.hint:
        headers.append((b"x-batchyard-hint", _header_text(error.hint)))
    if protocol == "rest-json":
        headers.append((b"x-amzn-errortype", code.encode()))
        document = {"message": message}
        if isinstance(error, MalformedBody):
            document["__type"] = code
        if service == EXTENSION_SERVICE:
            document["hint"] = error.hint
        body = msgspec.json.encode(document)
    elif protocol == "json":
        headers.append((b"x-amzn-errortype", code.encode()))
        body = msgspec.json.encode({"__type": code, "message": message})
    else:
        body = _xml(protocol, code, message, status, request_id).encode()
    return Reply(status=status, headers=tuple(headers), body=body)


def _code(error: BatchyardError, service: str, protocol: Protocol) -> tuple[str, int]:
    status = error.http_status
    if service in ("batch", EXTENSION_SERVICE, ""):
        code = error.code
        return (code if protocol in ("rest-json", "json") else _XML_CODES.get(code, code)), status
    if isinstance(error, NotSupported):
        status = 501
    elif isinstance(error, Throttled):
        status = 400
    kinds = _JSON_KINDS if protocol in ("rest-json", "json") else _XML_KINDS
    for kind, code in kinds:
        if isinstance(error, kind):
            return code, status
    if protocol in ("rest-json", "json"):
        return error.code, status
    return _XML_CODES.get(error.code, error.code), status


def _message(error: BatchyardError, service: str, request_id: str) -> str:
    if service == "batch" and isinstance(error, ConstraintsBroken | WrongType):
        # OBSERVED: the wrapper of AWS Batch around every shape validation error.
        return f"Error executing request, Exception : {error.message}, RequestId: {request_id}"
    if service != EXTENSION_SERVICE and isinstance(error, ConstraintsBroken):
        return coral_message(error.problems)
    return error.message


def _header_text(text: str) -> bytes:
    return " ".join(text.split()).encode("ascii", "replace")


def _xml(protocol: Protocol, code: str, message: str, status: int, request_id: str) -> str:
    inner = f"<Code>{xml_text(code)}</Code><Message>{xml_text(message)}</Message>"
    if protocol == "rest-xml":
        return f"<Error>{inner}<RequestId>{request_id}</RequestId></Error>"
    if protocol == "ec2":
        return (
            f"<Response><Errors><Error>{inner}</Error></Errors>"
            f"<RequestID>{request_id}</RequestID></Response>"
        )
    side = "Sender" if status < 500 else "Receiver"
    return (
        f"<ErrorResponse><Error><Type>{side}</Type>{inner}</Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    )
