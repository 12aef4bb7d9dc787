"""Every error Batchyard raises on purpose, and nothing else.

BatchyardError            code, message (what happened), hint (what to do), context
├─ ClientFault            the caller must change the request      ClientException 400
│  ├─ InvalidRequest      a member is malformed or out of range   (field)
│  ├─ NotFound            a named thing does not exist
│  ├─ Conflict            another thing stands in the way
│  ├─ LimitExceeded       a quota of the service is reached
│  ├─ NotAllowedInState   right request, wrong moment
│  └─ NotSupported        Batchyard cannot honour it, and says so
├─ AuthFault              who are you, and may you?               403
│  ├─ SignatureMismatch
│  ├─ UnknownKey
│  └─ AccessDenied
├─ ServiceFault           a neighbour's own error code and status (CloudWatch Logs, STS)
├─ Throttled              slow down                               TooManyRequestsException 429
├─ ServerFault            our own trouble                         ServerException 500
│  ├─ StoreUnavailable
│  ├─ InvariantBroken     a law of the kernel was violated        (story)
│  └─ SchemaMismatch
└─ ExecutorError          a driver's trouble; never reaches the wire
   ├─ SpecRejected        the same spec will fail again
   ├─ EngineUnavailable   transient: try again later
   └─ HandleLost          the engine no longer knows the attempt
"""


class BatchyardError(Exception):
    """Base of all. `hint` tells what to do next; `context` holds ids and numbers for the log."""

    code: str = "ServerException"
    http_status: int = 500

    def __init__(self, message: str, *, hint: str = "", **context: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context = context


class ClientFault(BatchyardError):
    code = "ClientException"
    http_status = 400


class InvalidRequest(ClientFault):
    """`field` is the wire path of the member at fault, such as `containerProperties.command`."""

    def __init__(self, message: str, *, field: str = "", hint: str = "", **context: object) -> None:
        super().__init__(message, hint=hint, **context)
        self.field = field


class NotFound(ClientFault):
    pass


class Conflict(ClientFault):
    pass


class LimitExceeded(ClientFault):
    pass


class NotAllowedInState(ClientFault):
    pass


class NotSupported(ClientFault):
    pass


class AuthFault(BatchyardError):
    code = "AccessDeniedException"
    http_status = 403


class SignatureMismatch(AuthFault):
    code = "SignatureDoesNotMatch"


class UnknownKey(AuthFault):
    code = "UnrecognizedClientException"


class AccessDenied(AuthFault):
    pass


class ServiceFault(BatchyardError):
    """An error that another AWS service defines, under the code that service's clients expect."""

    def __init__(
        self, code: str, message: str, *, http_status: int = 400, hint: str = "", **context: object
    ) -> None:
        super().__init__(message, hint=hint, **context)
        self.code = code
        self.http_status = http_status


class Throttled(BatchyardError):
    code = "TooManyRequestsException"
    http_status = 429


class ServerFault(BatchyardError):
    pass


class StoreUnavailable(ServerFault):
    pass


class InvariantBroken(ServerFault):
    """A law of the kernel was violated. `story` holds the job's recent events, oldest first."""

    def __init__(
        self, message: str, *, story: tuple[str, ...] = (), hint: str = "", **context: object
    ) -> None:
        super().__init__(message, hint=hint, **context)
        self.story = story


class SchemaMismatch(ServerFault):
    pass


class ExecutorError(BatchyardError):
    pass


class SpecRejected(ExecutorError):
    pass


class EngineUnavailable(ExecutorError):
    pass


class HandleLost(ExecutorError):
    pass
