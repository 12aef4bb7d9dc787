import datetime
import os

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotocoreCredentials
from hypothesis import given
from hypothesis import strategies as st

from batchyard.cli.signing import Credentials, sign

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
SAFE = st.text(st.sampled_from("abcXYZ019-_.~"), min_size=1, max_size=12)


def botocore_authorization(
    *, url: str, headers: dict[str, str], body: bytes, keys: Credentials, service: str, date: str
) -> str:
    token = keys.session_token or None
    signer = SigV4Auth(
        BotocoreCredentials(keys.access_key_id, keys.secret_access_key, token), service, "eu-west-2"
    )
    request = AWSRequest(method="POST", url=url, data=body, headers=dict(headers))
    request.headers["X-Amz-Date"] = date
    request.context["timestamp"] = date
    if token:
        request.headers["X-Amz-Security-Token"] = token
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    return (
        f"AWS4-HMAC-SHA256 Credential={signer.scope(request)}, "
        f"SignedHeaders={signer.signed_headers(signer.headers_to_sign(request))}, "
        f"Signature={signature}"
    )


@given(
    segments=st.lists(SAFE, max_size=3),
    quoted=st.sampled_from(["", "arn%3Aaws%3Abatch%3Aeu%3A1%3Ajob-queue%2Fq", "%20"]),
    query=st.dictionaries(SAFE, SAFE, max_size=3),
    body=st.binary(max_size=64),
    secret=WORDS,
    token=st.one_of(st.just(""), SAFE),
    service=st.sampled_from(["batch", "logs", "batchyard"]),
    moment=st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2090, 1, 1)),
)
def test_the_signature_is_the_one_botocore_makes(
    segments: list[str],
    quoted: str,
    query: dict[str, str],
    body: bytes,
    secret: str,
    token: str,
    service: str,
    moment: datetime.datetime,
) -> None:
    keys = Credentials(access_key_id="AKID", secret_access_key=secret, session_token=token)
    date = moment.strftime("%Y%m%dT%H%M%SZ").rjust(16, "0")
    headers = {"Content-Type": "application/json", "X-Amz-Target": "Logs_20140328.GetLogEvents"}
    url = "http://127.0.0.1:7460/v1/" + "/".join([*segments, quoted])
    if query:
        url += "?" + "&".join(f"{name}={value}" for name, value in query.items())

    ours = sign(
        method="POST",
        url=url,
        headers=headers,
        body=body,
        credentials=keys,
        region="eu-west-2",
        service=service,
        amz_date=date,
    )

    assert ours["Authorization"] == botocore_authorization(
        url=url, headers=headers, body=body, keys=keys, service=service, date=date
    )
    assert ours.get("X-Amz-Security-Token", "") == token


def test_secrets_are_not_in_the_repr() -> None:
    keys = Credentials(access_key_id="AKID", secret_access_key=os.urandom(8).hex())

    assert keys.secret_access_key not in repr(keys)


@pytest.mark.parametrize("change", ["body", "region", "service", "secret"])
def test_any_change_changes_the_signature(change: str) -> None:
    def signature(changed: str) -> str:
        return sign(
            method="POST",
            url="http://127.0.0.1/v1/listjobs",
            headers={},
            body=b"{}" if changed != "body" else b"{ }",
            credentials=Credentials(
                access_key_id="A", secret_access_key="s" if changed != "secret" else "t"
            ),
            region="us-east-1" if changed != "region" else "us-east-2",
            service="batch" if changed != "service" else "logs",
            amz_date="20260101T000000Z",
        )["Authorization"].rpartition("Signature=")[2]

    assert signature(change) != signature("")
