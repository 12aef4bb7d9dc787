"""AWS protocols driven by the botocore models.

A request is routed, authenticated, parsed and validated here, handed to a handler as the wire
dict of the model, and its answer is serialized. What an operation means is decided elsewhere.
"""
