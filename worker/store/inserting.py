"""Inserting where a row may be there already, which both databases spell alike and SQLAlchemy keeps apart."""

from typing import cast

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from millrace.worker.store.tables import Base


def insert(session: Session, table: type[Base]) -> sqlite.Insert:
    """Return an insert with `on_conflict_do_nothing` and `on_conflict_do_update`, for the session's database."""
    rows = cast("Table", table.__table__)  # the class itself would go through the ORM's bulk insert, at twice the cost
    if session.get_bind().dialect.name == "sqlite":
        return sqlite.insert(rows)
    return cast("sqlite.Insert", postgresql.insert(rows))
