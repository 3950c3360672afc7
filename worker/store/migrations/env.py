"""Alembic's environment: runs the migrations in the transaction that `migration.py` has opened on its connection."""

from alembic import context

from millrace.worker.store.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
