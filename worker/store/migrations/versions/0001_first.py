"""Create conversations, messages, profiles, memories and the full-text index of memories."""

import sqlalchemy as sa
from alembic import op

from millrace.worker.store.columns import EscapedText, JsonText
from millrace.worker.store.tables import ID, NUMBER

revision = "0001"
down_revision = None

_IN = "INSERT INTO memories_index(rowid, owner_word, searchable) VALUES (new.number, new.owner_word, new.searchable);"
_OUT = (
    "INSERT INTO memories_index(memories_index, rowid, owner_word, searchable) "
    "VALUES ('delete', old.number, old.owner_word, old.searchable);"
)
_TOKENS = "content='memories', content_rowid='number', tokenize='porter unicode61'"
_LEXEMES = "to_tsvector('english', owner_word || ' ' || searchable)"
_INDEX = {
    "sqlite": (
        f"CREATE VIRTUAL TABLE memories_index USING fts5(owner_word, searchable, {_TOKENS})",
        f"CREATE TRIGGER memories_added AFTER INSERT ON memories BEGIN {_IN} END",
        f"CREATE TRIGGER memories_gone AFTER DELETE ON memories BEGIN {_OUT} END",
        f"CREATE TRIGGER memories_changed AFTER UPDATE ON memories BEGIN {_OUT} {_IN} END",
    ),
    "postgresql": (
        # STORED, because computing the lexemes again for each row that is ranked takes five times as long. Without
        # `fastupdate`, because every search would read the whole list of rows that are not indexed yet.
        f"ALTER TABLE memories ADD lexemes tsvector GENERATED ALWAYS AS ({_LEXEMES}) STORED",
        "CREATE INDEX memories_index ON memories USING gin (lexemes) WITH (fastupdate = off)",
    ),
}


def upgrade() -> None:
    """Create the tables and the full-text index."""
    _create_conversations()
    _create_profiles_and_memories()
    for statement in _INDEX[op.get_bind().dialect.name]:
        op.execute(statement)


def _create_conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", ID, primary_key=True),
        sa.Column("owner", EscapedText, nullable=False),
        sa.Column("title", EscapedText),
        sa.Column("context", JsonText, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.Column("deleted_ms", sa.BigInteger),
    )
    op.create_index("conversations_by_time", "conversations", ["owner", "updated_ms", "id"])
    op.create_table(
        "messages",
        sa.Column("id", ID, primary_key=True),
        sa.Column("conversation", ID, sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("role", sa.String(9), nullable=False),
        sa.Column("content", EscapedText, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("parent", ID),
        sa.Column("generation", ID, unique=True),
        sa.Column("epoch", sa.BigInteger),
        sa.Column("last_event", sa.String(21)),
        sa.Column("model", sa.Text),
        sa.Column("provider", sa.Text),
        sa.Column("usage", JsonText),
        sa.Column("latency", JsonText),
        sa.Column("outcome", sa.Text),
        sa.Column("reasoning", EscapedText),
        sa.Column("citations", JsonText),
        sa.Column("tools", JsonText),
        sa.Column("suggestions", JsonText),
        sa.Column("learned_ms", sa.BigInteger),
        sa.UniqueConstraint("conversation", "turn", "rank", name="messages_in_order"),
    )


def _create_profiles_and_memories() -> None:
    op.create_table(
        "profiles",
        sa.Column("owner", EscapedText, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "memories",
        sa.Column("number", NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", ID, nullable=False, unique=True),
        sa.Column("owner", EscapedText, nullable=False),
        sa.Column("owner_word", sa.String(65), nullable=False),
        sa.Column("content", EscapedText, nullable=False),
        sa.Column("searchable", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("conversation", ID),
        sa.Column("generation", ID),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("owner", "digest", name="memories_once"),
    )


def downgrade() -> None:
    """Drop the tables with their contents."""
    for table in ("messages", "conversations", "profiles", "memories"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "sqlite":
        op.drop_table("memories_index")
