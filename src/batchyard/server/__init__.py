"""Composition root: settings, wiring, the ASGI application, the life of the process."""
