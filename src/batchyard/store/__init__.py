"""Durable state; the only package that knows SQL. One writer thread, group commit.

`port` is the contract; `sqlite.open_store` and `sqlite.open_memory_store` make what keeps it.
"""
