"""One operation's parser, validator and encoder, compiled on first use and kept per gateway."""

from typing import Any

import msgspec

from batchyard.kernel.faults import InvariantBroken
from batchyard.wire import parse as parsing
from batchyard.wire import serialize, validate
from batchyard.wire.model import Models, OperationModel


class Codec(msgspec.Struct, frozen=True, kw_only=True):
    parse: parsing.RequestParser
    validate: validate.Validator
    encode: serialize.Encoder

    def read(self, request: parsing.RawRequest) -> dict[str, Any]:
        """Parsed and valid parameters.

        Raises:
            MalformedBody, WrongType, ConstraintsBroken.
        """
        params = self.parse(request)
        self.validate(params)
        return params


class Codecs:
    def __init__(self, models: Models) -> None:
        self._models = models
        self._compiled: dict[tuple[str, str], Codec] = {}

    def of(self, operation: OperationModel) -> Codec:
        name = (operation.service, operation.name)
        codec = self._compiled.get(name)
        if codec is None:
            codec = self._compiled[name] = self._compile(operation)
        return codec

    def _compile(self, operation: OperationModel) -> Codec:
        model = self._models.service(operation.service)
        validator = validate.compile_validator(operation.input_shape)
        if model.protocol == "query":
            return Codec(
                parse=parsing.compile_query(operation),
                validate=validator,
                encode=serialize.compile_query(operation, namespace=model.xml_namespace),
            )
        if model.protocol == "json":
            parser = parsing.compile_json(operation)
        elif model.protocol == "rest-json":
            parser = parsing.compile_rest_json(operation)
        else:
            raise InvariantBroken(f"{model.name} speaks {model.protocol}, which is not served")
        return Codec(parse=parser, validate=validator, encode=serialize.compile_json(operation))
