"""Errors carry what happened, what to do next, and how the wire names them."""

import pytest

from batchyard.kernel import faults


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        (faults.InvalidRequest, "ClientException", 400),
        (faults.NotFound, "ClientException", 400),
        (faults.Conflict, "ClientException", 400),
        (faults.LimitExceeded, "ClientException", 400),
        (faults.NotAllowedInState, "ClientException", 400),
        (faults.NotSupported, "ClientException", 400),
        (faults.SignatureMismatch, "SignatureDoesNotMatch", 403),
        (faults.UnknownKey, "UnrecognizedClientException", 403),
        (faults.AccessDenied, "AccessDeniedException", 403),
        (faults.Throttled, "TooManyRequestsException", 429),
        (faults.StoreUnavailable, "ServerException", 500),
        (faults.InvariantBroken, "ServerException", 500),
        (faults.SchemaMismatch, "ServerException", 500),
        (faults.SpecRejected, "ServerException", 500),
    ],
)
def test_every_fault_has_its_code_and_status(
    fault: type[faults.BatchyardError], code: str, status: int
) -> None:
    raised = fault("what", hint="do this", job_id="j")
    assert (raised.code, raised.http_status) == (code, status)
    assert (str(raised), raised.message, raised.hint) == ("what", "what", "do this")
    assert raised.context == {"job_id": "j"}
    assert fault("what").hint == ""
    assert fault("what").context == {}


def test_an_invalid_request_names_the_member_at_fault() -> None:
    raised = faults.InvalidRequest("what", field="a.b", hint="h", n=1)
    assert (raised.field, raised.hint, raised.context) == ("a.b", "h", {"n": 1})
    assert faults.InvalidRequest("what").field == ""


def test_a_broken_law_carries_the_story_of_the_job() -> None:
    raised = faults.InvariantBroken("what", story=("a", "b"), hint="h", n=1)
    assert (raised.story, raised.hint, raised.context) == (("a", "b"), "h", {"n": 1})
    assert faults.InvariantBroken("what").story == ()


def test_a_neighbour_has_its_own_codes() -> None:
    raised = faults.ServiceFault("ResourceNotFoundException", "what", hint="h", n=1)
    assert (raised.code, raised.http_status) == ("ResourceNotFoundException", 400)
    assert (raised.message, raised.hint, raised.context) == ("what", "h", {"n": 1})
    assert faults.ServiceFault("X", "what", http_status=413).http_status == 413
    assert faults.ServiceFault("X", "what").hint == ""
