"""The tables. A change here needs a migration beside it: a test compares the two.

| table | what | order |
|---|---|---|
| `conversations` | whose, its title, its JSON context; a deleted one stays a day as an empty tombstone | `updated_ms` |
| `messages` | questions, and answers with how they ended | `turn`, then `rank`: the question 0, its answers 1, 2, … |
| `profiles` | who an owner is | |
| `memories` | facts learned; `searchable` is what is found, of words only | `number` |

A full-text index stands beside `memories`: a table of SQLite's FTS5, or an index over a column that PostgreSQL fills.
"""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, configure_mappers, mapped_column

from millrace.worker.store.columns import Escaped, Json

ID = String(32)
NUMBER = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only where this is INTEGER


class Base(DeclarativeBase):
    """What all tables belong to."""


class ConversationRow(Base):
    """A conversation."""

    __tablename__ = "conversations"
    __table_args__ = (Index("conversations_by_time", "owner", "updated_ms", "id"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    owner: Mapped[str] = mapped_column(Escaped)
    title: Mapped[str | None] = mapped_column(Escaped)
    context: Mapped[Any] = mapped_column(Json)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    updated_ms: Mapped[int] = mapped_column(BigInteger)
    deleted_ms: Mapped[int | None] = mapped_column(BigInteger)


class MessageRow(Base):
    """A question, or an answer: `parent` is its question, and what stands below `parent` is an answer's alone."""

    __tablename__ = "messages"
    __table_args__ = (UniqueConstraint("conversation", "turn", "rank", name="messages_in_order"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    conversation: Mapped[str] = mapped_column(ForeignKey("conversations.id", ondelete="CASCADE"))
    turn: Mapped[int] = mapped_column(Integer)
    rank: Mapped[int] = mapped_column(Integer)
    role: Mapped[str] = mapped_column(String(9))
    content: Mapped[str] = mapped_column(Escaped)
    created_ms: Mapped[int] = mapped_column(BigInteger)
    parent: Mapped[str | None] = mapped_column(ID)
    generation: Mapped[str | None] = mapped_column(ID, unique=True)
    epoch: Mapped[int | None] = mapped_column(BigInteger)
    last_event: Mapped[str | None] = mapped_column(String(21))
    model: Mapped[str | None] = mapped_column(Text)
    provider: Mapped[str | None] = mapped_column(Text)
    usage: Mapped[Any | None] = mapped_column(Json)
    latency: Mapped[Any | None] = mapped_column(Json)
    outcome: Mapped[str | None] = mapped_column(Text)
    reasoning: Mapped[str | None] = mapped_column(Escaped)
    citations: Mapped[Any | None] = mapped_column(Json)
    tools: Mapped[Any | None] = mapped_column(Json)
    suggestions: Mapped[Any | None] = mapped_column(Json)
    learned_ms: Mapped[int | None] = mapped_column(BigInteger)


class ProfileRow(Base):
    """An owner's profile, as JSON that whoever reads it has yet to check."""

    __tablename__ = "profiles"

    owner: Mapped[str] = mapped_column(Escaped, primary_key=True)
    content: Mapped[str] = mapped_column(Text)
    updated_ms: Mapped[int] = mapped_column(BigInteger)


class MemoryRow(Base):
    """A fact; `owner_word` and `digest` are hashes: of the owner, to be searched for, and of the fact's words."""

    __tablename__ = "memories"
    __table_args__ = (UniqueConstraint("owner", "digest", name="memories_once"),)

    number: Mapped[int] = mapped_column(NUMBER, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(ID, unique=True)
    owner: Mapped[str] = mapped_column(Escaped)
    owner_word: Mapped[str] = mapped_column(String(65))
    content: Mapped[str] = mapped_column(Escaped)
    searchable: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))
    conversation: Mapped[str | None] = mapped_column(ID)
    generation: Mapped[str | None] = mapped_column(ID)
    created_ms: Mapped[int] = mapped_column(BigInteger)


configure_mappers()  # here, in one thread, and not at the first use, which may be of many at once
