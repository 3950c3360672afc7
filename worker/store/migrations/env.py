"""Alembic's environment: runs the migrations in the transaction that `migration.py` has opened on its connection."""

from alembic import context

from millrace.worker.store.tables import Base

given = context.config.attributes
context.configure(connection=given["connection"], version_table=given["version_table"], target_metadata=Base.metadata)
context.run_migrations()
