"""The botocore service models this process has loaded, and which AWS services exist at all.

Loading is lazy (a model costs 0.1-0.3 s) and cached per `Models` instance.
"""

from types import MappingProxyType
from typing import Any, Final, Literal

import msgspec

from batchyard.kernel.faults import InvariantBroken

Protocol = Literal["rest-json", "json", "query", "ec2", "rest-xml"]

EXTENSION_SERVICE: Final = "batchyard"
"""The SigV4 service name of Batchyard's own operations."""

KNOWN_PROTOCOLS: Final = MappingProxyType[str, Protocol](
    {
        "apigateway": "rest-json",
        "autoscaling": "query",
        "batch": "rest-json",
        "cloudformation": "query",
        "dynamodb": "json",
        "ec2": "ec2",
        "ecr": "json",
        "ecs": "json",
        "eks": "rest-json",
        "elasticfilesystem": "rest-json",
        "events": "json",
        "fsx": "json",
        "iam": "query",
        "kms": "json",
        "lambda": "rest-json",
        "logs": "json",
        "monitoring": "query",
        "pricing": "json",
        "s3": "rest-xml",
        "sagemaker": "json",
        "secretsmanager": "json",
        "servicediscovery": "json",
        "servicequotas": "json",
        "sns": "query",
        "sqs": "json",
        "ssm": "json",
        "states": "json",
        "sts": "query",
        "tagging": "json",
        EXTENSION_SERVICE: "rest-json",
    }
)
"""SigV4 service name -> the protocol its clients speak, for the services a Batch user touches."""


class OperationModel(msgspec.Struct, frozen=True, kw_only=True):
    """One modelled operation. `shape` objects are botocore's own."""

    service: str
    name: str
    method: str
    uri: str
    input_shape: Any
    output_shape: Any


class ServiceModel(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    protocol: Protocol
    api_version: str
    target_prefix: str
    xml_namespace: str
    operations: dict[str, OperationModel]


class Models:
    """Loads each service model once, on first use."""

    def __init__(self) -> None:
        self._loader: Any = None
        self._services: dict[str, ServiceModel] = {}

    def service(self, name: str) -> ServiceModel:
        """The model of the service with this SigV4 signing name, which must be one of botocore's.

        Raises:
            InvariantBroken: the model speaks a protocol this package does not serve.
        """
        loaded = self._services.get(name)
        if loaded is None:
            loaded = self._services[name] = self._load(name)
        return loaded

    def _load(self, name: str) -> ServiceModel:
        import botocore.loaders
        import botocore.model

        if self._loader is None:
            self._loader = botocore.loaders.Loader()
        model = botocore.model.ServiceModel(
            self._loader.load_service_model(name, "service-2"), service_name=name
        )
        protocol = KNOWN_PROTOCOLS.get(name)
        if protocol is None or protocol not in model.metadata.get("protocols", [model.protocol]):
            raise InvariantBroken(
                f"the botocore model of {name} speaks {model.protocol}, not {protocol}"
            )
        return ServiceModel(
            name=name,
            protocol=protocol,
            api_version=model.api_version,
            target_prefix=model.metadata.get("targetPrefix", ""),
            xml_namespace=model.metadata.get("xmlNamespace", ""),
            operations={
                operation: self._operation(name, model.operation_model(operation))
                for operation in model.operation_names
            },
        )

    @staticmethod
    def _operation(service: str, model: Any) -> OperationModel:
        return OperationModel(
            service=service,
            name=model.name,
            method=model.http["method"],
            uri=model.http["requestUri"],
            input_shape=model.input_shape,
            output_shape=model.output_shape,
        )
