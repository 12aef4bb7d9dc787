"""The `batchyard` command: parse, call the API of a yard, print. No scheduling logic here.

Nothing here imports botocore, msgspec or rich: a command must answer before the eye notices, and
the standard library signs and sends a request in a few milliseconds.
"""
