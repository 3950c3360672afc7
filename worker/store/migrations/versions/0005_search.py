"""Index the titles and messages of conversations for the search.

The web processes fill the index in the background, also with what a process of the version before stores meanwhile.
"""

import sqlalchemy as sa
from alembic import op

from millrace.worker.store.tables import ID, NUMBER, TERMS, only_where

revision = "0005"
down_revision = "0004"

_IN = "INSERT INTO search_index(rowid, terms) VALUES (new.number, new.terms);"
_OUT = "INSERT INTO search_index(search_index, rowid, terms) VALUES ('delete', old.number, old.terms);"
# The tokenizer `ascii` keeps every other character, so that the terms in the index are exactly those of the code.
_OPTIONS = "content='search_entries', content_rowid='number', tokenize='ascii', detail='none'"
_INDEX = {
    "sqlite": (
        f"CREATE VIRTUAL TABLE search_index USING fts5(terms, {_OPTIONS})",
        f"CREATE TRIGGER search_entries_added AFTER INSERT ON search_entries BEGIN {_IN} END",
        f"CREATE TRIGGER search_entries_gone AFTER DELETE ON search_entries BEGIN {_OUT} END",
    ),
    "postgresql": ("CREATE INDEX search_index ON search_entries USING gin (terms) WITH (fastupdate = off)",),
}


def upgrade() -> None:
    """Create the index, which is empty, and the columns that say what it lacks."""
    op.add_column("messages", sa.Column("is_indexed", sa.SmallInteger))
    op.add_column("conversations", sa.Column("is_indexed", sa.SmallInteger))
    op.create_index("messages_to_index", "messages", ["created_ms"], **only_where("is_indexed IS NULL"))
    is_pending = only_where("is_indexed IS NULL AND title IS NOT NULL")
    op.create_index("conversations_to_index", "conversations", ["updated_ms"], **is_pending)
    op.create_table(
        "search_entries",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("conversation", ID, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
        sa.Column("message", ID, sa.ForeignKey("messages.id", ondelete="CASCADE"), unique=True),
        sa.Column("terms", TERMS, nullable=False),
    )
    op.create_index("ix_search_entries_conversation", "search_entries", ["conversation"])
    for statement in _INDEX[op.get_bind().dialect.name]:
        op.execute(statement)


def downgrade() -> None:
    """Drop the index and the columns."""
    op.drop_table("search_entries")
    if op.get_bind().dialect.name == "sqlite":
        op.drop_table("search_index")
    op.drop_index("messages_to_index", "messages")
    op.drop_index("conversations_to_index", "conversations")
    op.drop_column("messages", "is_indexed")
    op.drop_column("conversations", "is_indexed")
