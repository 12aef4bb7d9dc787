"""botocore serialises -> we parse; we serialise -> botocore parses. Every Batch operation."""

from functools import cache
from typing import Any
from urllib.parse import urlencode

import botocore.loaders
import botocore.model
import botocore.parsers
import botocore.serialize
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchyard.wire.check import response_problems
from batchyard.wire.codec import Codec, Codecs
from batchyard.wire.model import Models
from batchyard.wire.parse import RawRequest
from batchyard.wire.route import Router
from batchyard.wire.sigv4 import SignedRequest
from conformance.wire.shape_strategies import values

MODELS = Models()
CODECS = Codecs(MODELS)
ROUTER = Router(models=MODELS, served=["batch", "logs", "sts"])
OPERATIONS = [
    *(("batch", name) for name in sorted(MODELS.service("batch").operations)),
    ("logs", "DescribeLogGroups"),
    ("logs", "DescribeLogStreams"),
    ("logs", "FilterLogEvents"),
    ("logs", "GetLogEvents"),
    ("sts", "AssumeRole"),
    ("sts", "GetCallerIdentity"),
]
BRIEF = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@cache
def botocore_model(service: str) -> Any:
    description = botocore.loaders.Loader().load_service_model(service, "service-2")
    return botocore.model.ServiceModel(description, service_name=service)


def read_as_gateway(service: str, wire: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Route and parse what botocore serialised, in the form in which it reaches the gateway."""
    body = wire["body"]
    if isinstance(body, dict):
        body = urlencode(body)
    query = wire["query_string"]
    pairs = query.items() if isinstance(query, dict) else query
    request = SignedRequest(
        method=wire["method"],
        raw_path=wire["url_path"],
        query=[
            (name, value)
            for name, found in pairs
            for value in (found if isinstance(found, list) else [found])
        ],
        headers={k.lower(): v for k, v in wire["headers"].items()},
        body=body if isinstance(body, bytes) else body.encode(),
    )
    place = ROUTER.place(request, service)
    route = ROUTER.route(request, place)
    codec = CODECS.of(route.operation)
    params = codec.read(RawRequest(body=request.body, query=request.query, uri=route.uri))
    return route.operation.name, params


def write_and_parse(service: str, operation: str, output: dict[str, Any]) -> dict[str, Any]:
    model = botocore_model(service)
    codec: Codec = CODECS.of(MODELS.service(service).operations[operation])
    parser = botocore.parsers.create_parser(model.protocol)
    found: dict[str, Any] = parser.parse(
        {"status_code": 200, "headers": {}, "body": codec.encode(output, "an-id")},
        model.operation_model(operation).output_shape,
    )
    found.pop("ResponseMetadata", None)
    return found


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
def test_what_botocore_serialises_we_parse(service: str, name: str) -> None:
    model = botocore_model(service)
    operation = model.operation_model(name)
    serializer = botocore.serialize.create_serializer(model.protocol, include_validation=False)
    shape = operation.input_shape
    strategy = st.just({}) if shape is None else values(shape, filled=model.protocol == "query")

    @BRIEF
    @given(strategy)
    def round_trip(params: dict[str, Any]) -> None:
        wire = serializer.serialize_to_request(params, operation)
        assert read_as_gateway(service, wire) == (name, params)

    round_trip()


@pytest.mark.parametrize(("service", "name"), OPERATIONS)
def test_what_we_serialise_botocore_parses(service: str, name: str) -> None:
    model = botocore_model(service)
    shape = model.operation_model(name).output_shape
    strategy = (
        st.just({}) if shape is None else values(shape, xml=model.protocol == "query", filled=True)
    )

    @BRIEF
    @given(strategy)
    def round_trip(output: dict[str, Any]) -> None:
        assert write_and_parse(service, name, output) == output

    round_trip()


def official_examples(side: str) -> list[Any]:
    document = botocore.loaders.Loader().load_service_model("batch", "examples-1")
    return [
        pytest.param(name, example.get(side, {}), id=f"{name}-{example['id']}")
        for name, examples in document["examples"].items()
        for example in examples
    ]


@pytest.mark.parametrize(("name", "params"), official_examples("input"))
def test_official_example_requests(name: str, params: dict[str, Any]) -> None:
    operation = botocore_model("batch").operation_model(name)
    serializer = botocore.serialize.create_serializer("rest-json", include_validation=True)
    wire = serializer.serialize_to_request(params, operation)
    assert read_as_gateway("batch", wire) == (name, params)


@pytest.mark.parametrize(("name", "output"), official_examples("output"))
def test_official_example_answers(name: str, output: dict[str, Any]) -> None:
    assert write_and_parse("batch", name, output) == output
    shape = botocore_model("batch").operation_model(name).output_shape
    assert response_problems(shape, output) == []
