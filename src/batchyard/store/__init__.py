"""Durable state; the only package that knows SQL. One writer thread, group commit."""
