"""The tables. A change here needs a migration beside it: a test compares the two.

| table | contents | order |
|---|---|---|
| `conversations` | owner, title and JSON context; a deleted row stays for a day as an empty tombstone | `updated_ms` |
| `messages` | questions, and answers with their outcomes | `turn`, then `rank`: 0 is the question, 1, 2, … answers |
| `removed_questions` | the ids of questions that edits have replaced, for a day: no late answer stores them again | |
| `search_entries` | the terms of a message or, without one, of a conversation's title, for the search | `number` |
| `profiles` | one JSON object per owner, written by the owner | |
| `memories` | facts learned from answers; `searchable` is the indexed text: the fact's words only | `number` |
| `owner_retention` | owners whose data is kept for another time than `MILLRACE_RETENTION_DAYS` says | `owner` |

Full-text indexes belong to `memories` and to `search_entries`: tables of SQLite's FTS5, or indexes of PostgreSQL. Where
`is_indexed` is NULL, the search does not know the text yet.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, configure_mappers, mapped_column

from millrace.worker.store.columns import EscapedText, JsonText

ID = String(32)
NUMBER = BigInteger().with_variant(Integer, "sqlite")  # SQLite assigns row numbers itself only if the type is INTEGER


TERMS = Text().with_variant(postgresql.TSVECTOR, "postgresql")


def only_where(condition: str) -> dict[str, Any]:
    """Return the arguments of an index that holds only the rows of this condition."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


class Base(DeclarativeBase):
    """The base class of all tables."""


class ConversationRow(Base):
    """A conversation."""

    __tablename__ = "conversations"
    __table_args__ = (
        Index("conversations_by_time", "owner", "updated_ms", "id"),
        Index("conversations_to_index", "updated_ms", **only_where("is_indexed IS NULL AND title IS NOT NULL")),
        Index("conversations_by_age", "updated_ms", **only_where("deleted_ms IS NULL")),
        Index("conversations_deleted", "deleted_ms", **only_where("deleted_ms IS NOT NULL")),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    owner: Mapped[str] = mapped_column(EscapedText)
    title: Mapped[str | None] = mapped_column(EscapedText)
    context: Mapped[Any] = mapped_column(JsonText)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    updated_ms: Mapped[int] = mapped_column(BigInteger)
    deleted_ms: Mapped[int | None] = mapped_column(BigInteger)
    is_indexed: Mapped[int | None] = mapped_column(SmallInteger)


class MessageRow(Base):
    """A question or an answer. `parent` is an answer's question; it and the columns below it are NULL in a question."""

    __tablename__ = "messages"
    __table_args__ = (
        UniqueConstraint("conversation", "turn", "rank", name="messages_in_order"),
        Index("messages_to_index", "created_ms", **only_where("is_indexed IS NULL")),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    conversation: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    turn: Mapped[int] = mapped_column(Integer)
    rank: Mapped[int] = mapped_column(Integer)
    role: Mapped[str] = mapped_column(String(9))
    content: Mapped[str] = mapped_column(EscapedText)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    parent: Mapped[str | None] = mapped_column(ID)
    generation: Mapped[str | None] = mapped_column(ID, unique=True)
    epoch: Mapped[int | None] = mapped_column(BigInteger)
    last_event: Mapped[str | None] = mapped_column(String(21))
    model: Mapped[str | None] = mapped_column(Text)
    provider: Mapped[str | None] = mapped_column(Text)
    usage: Mapped[Any | None] = mapped_column(JsonText)
    latency: Mapped[Any | None] = mapped_column(JsonText)
    outcome: Mapped[str | None] = mapped_column(Text)
    reasoning: Mapped[str | None] = mapped_column(EscapedText)
    citations: Mapped[Any | None] = mapped_column(JsonText)
    tools: Mapped[Any | None] = mapped_column(JsonText)
    suggestions: Mapped[Any | None] = mapped_column(JsonText)
    learned_ms: Mapped[int | None] = mapped_column(BigInteger)
    images: Mapped[Any | None] = mapped_column(JsonText)
    reasoning_state: Mapped[Any | None] = mapped_column(JsonText)
    sources: Mapped[Any | None] = mapped_column(JsonText)
    is_indexed: Mapped[int | None] = mapped_column(SmallInteger)


class RemovedQuestionRow(Base):
    """A question that an edit has replaced; a generation that answers it may still end."""

    __tablename__ = "removed_questions"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    conversation: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    removed_ms: Mapped[int] = mapped_column(BigInteger, index=True)


class SearchEntryRow(Base):
    """The terms, separated by spaces, of a message, or of its conversation's title if `message` is NULL."""

    __tablename__ = "search_entries"

    number: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=True)
    conversation: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"), index=True)
    message: Mapped[str | None] = mapped_column(ForeignKey("messages.id", ondelete="CASCADE"), unique=True)
    terms: Mapped[str] = mapped_column(TERMS)


class ProfileRow(Base):
    """An owner's profile, as JSON text; readers validate it."""

    __tablename__ = "profiles"

    owner: Mapped[str] = mapped_column(EscapedText, primary_key=True)
    content: Mapped[str] = mapped_column(Text)
    updated_ms: Mapped[int] = mapped_column(BigInteger)


class MemoryRow(Base):
    """A fact. `owner_word` is a hash of the owner, as a word of the full-text index; `digest` is a hash of the fact."""

    __tablename__ = "memories"
    __table_args__ = (
        UniqueConstraint("owner", "digest", name="memories_once"),
        Index("memories_by_age", "created_ms"),
    )

    number: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(ID, unique=True)
    owner: Mapped[str] = mapped_column(EscapedText)
    owner_word: Mapped[str] = mapped_column(String(65))
    content: Mapped[str] = mapped_column(EscapedText)
    searchable: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))
    conversation: Mapped[str | None] = mapped_column(ID)
    generation: Mapped[str | None] = mapped_column(ID)
    created_ms: Mapped[int] = mapped_column(BigInteger)


class OwnerRetentionRow(Base):
    """The days for which an owner's data is kept; NULL keeps it until it is deleted."""

    __tablename__ = "owner_retention"

    owner: Mapped[str] = mapped_column(EscapedText, primary_key=True)
    days: Mapped[int | None] = mapped_column(Integer)
    updated_ms: Mapped[int] = mapped_column(BigInteger)


configure_mappers()  # at import, in one thread; SQLAlchemy would do it at the first use, which may be concurrent
