"""Values to JSON documents and back. Which table holds them is not known here."""

from collections.abc import Callable

import msgspec

from batchyard.kernel.definition import JobDefinition
from batchyard.kernel.effects import Effect
from batchyard.kernel.environment import ComputeEnvironment, JobQueue
from batchyard.kernel.events import Event, JobSubmitted
from batchyard.kernel.job import Job, JobSpec


class Codec:
    """Compiled encoders and decoders; safe to share between threads."""

    def __init__(self) -> None:
        self.encode = msgspec.json.Encoder().encode
        self.job = msgspec.json.Decoder(Job).decode
        self.spec = msgspec.json.Decoder(JobSpec).decode
        self.queue = msgspec.json.Decoder(JobQueue).decode
        self.compute_environment = msgspec.json.Decoder(ComputeEnvironment).decode
        self.definition = msgspec.json.Decoder(JobDefinition).decode
        self.effect: Callable[[bytes], Effect] = msgspec.json.Decoder(Effect).decode
        self._event: Callable[[bytes], Event] = msgspec.json.Decoder(Event).decode

    def encode_event(self, event: Event) -> bytes:
        """The spec of a submitted job stands in a table of its own and is not written twice."""
        if isinstance(event, JobSubmitted):
            return self.encode(event.job)
        return self.encode(event)

    def event(self, type_name: str, doc: bytes, spec_doc: bytes | None) -> Event:
        if type_name == JobSubmitted.__name__ and spec_doc is not None:
            return JobSubmitted(job=self.job(doc), spec=self.spec(spec_doc))
        return self._event(doc)
