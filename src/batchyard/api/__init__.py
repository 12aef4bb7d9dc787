"""One module per noun: wire dict to command or query, and back."""

from batchyard.api.handlers import batch_handlers
from batchyard.api.port import Handlers, Yard

__all__ = ["Handlers", "Yard", "batch_handlers"]
