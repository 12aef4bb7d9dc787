"""Called by alembic; the connection comes from `batchyard.store.migrate`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
