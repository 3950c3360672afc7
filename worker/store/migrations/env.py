"""What Alembic runs: on the connection, and inside the transaction, that `migration.py` has opened."""

from alembic import context

from millrace.worker.store.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
