"""Memories: facts learned about an owner, and the full-text search that finds the ones related to a text."""

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, Executable, select, text
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.orm import Session

from millrace.worker.contract.ids import new_id
from millrace.worker.store.columns import clock_ms
from millrace.worker.store.pagination import Page, decode_cursor, make_page
from millrace.worker.store.prepared import PreparedInsert, PreparedQuery, Reader, is_sqlite
from millrace.worker.store.search_terms import fact_digest, index_terms, owner_word, search_terms
from millrace.worker.store.tables import MemoryRow

# The index holds each row's words and its owner's word. SQLite's bm25 gives rare words more weight. PostgreSQL's
# ts_rank weighs all words alike; among equal ranks the newest row comes first.
_COLUMNS = (MemoryRow.id, MemoryRow.content, MemoryRow.conversation, MemoryRow.generation, MemoryRow.created_ms)
_SEARCH_SQLITE = PreparedQuery(
    text(
        "SELECT id, content, conversation, generation, created_ms FROM ("
        "SELECT rowid AS found, bm25(memories_index, 0, 1) AS score FROM memories_index "
        "WHERE memories_index MATCH :query ORDER BY score, found DESC LIMIT :count"
        ") JOIN memories ON number = found ORDER BY score, found DESC"
    ).columns(*_COLUMNS)
)
_SEARCH_POSTGRESQL = PreparedQuery(
    text(
        "SELECT id, content, conversation, generation, created_ms FROM memories "
        "WHERE lexemes @@ to_tsquery('english', :query) "
        "ORDER BY ts_rank(lexemes, to_tsquery('english', :any_word)) DESC, number DESC LIMIT :count"
    ).columns(*_COLUMNS)
)


@dataclass(frozen=True)
class MemoryRecord:
    """A fact, with the conversation and the generation it was learned from.

    `created_ms` is the database's clock, in milliseconds since 1970.
    """

    id: str
    content: str
    conversation: str | None
    generation: str | None
    created_ms: int


def _add(row: Insert) -> Executable:
    row = row.values(created_ms=clock_ms())
    return row.on_conflict_do_nothing(index_elements=["owner", "digest"]).returning(MemoryRow.number)


_ADD = PreparedInsert(MemoryRow, _add)


def add(
    session: Session, owner: str, fact: str, conversation: str | None = None, generation: str | None = None
) -> bool:
    """Save a fact; False if the owner has one with the same words, regardless of case and punctuation."""
    row = _ADD.run(
        session,
        id=new_id(),
        owner=owner,
        owner_word=owner_word(owner),
        content=fact,
        searchable=" ".join(index_terms(fact)),
        digest=fact_digest(fact),
        conversation=conversation,
        generation=generation,
    )
    return row.first() is not None


def page(session: Session, owner: str, cursor: str | None, count: int) -> Page[MemoryRecord]:
    """Return an owner's memories after the cursor, the newest first; raises ValueError if the cursor is malformed."""
    query = select(MemoryRow).where(MemoryRow.owner == owner)
    if cursor is not None:
        query = query.where(MemoryRow.number < decode_cursor(cursor)[0])
    newest = query.order_by(MemoryRow.number.desc()).limit(count + 1)
    return make_page(session.scalars(newest).all(), count, lambda row: (row.number, 0), _record)


def delete(session: Session, owner: str, memory: str) -> bool:
    """Delete a memory; False if it is absent or another user's."""
    result = session.execute(delete_from(MemoryRow).where(MemoryRow.owner == owner, MemoryRow.id == memory))
    return cast("CursorResult[Any]", result).rowcount > 0


def delete_all(session: Session, owner: str) -> int:
    """Delete all of an owner's memories and return their number."""
    result = session.execute(delete_from(MemoryRow).where(MemoryRow.owner == owner))
    return cast("CursorResult[Any]", result).rowcount


def search(reader: Reader, owner: str, query: str, count: int) -> list[MemoryRecord]:
    """Return at most `count` of an owner's memories that share a search term with the query, the best match first."""
    terms = search_terms(query)
    if not terms:
        return []
    if is_sqlite(reader):
        any_word = " OR ".join(f'"{term}"' for term in terms)
        query = f"owner_word: {owner_word(owner)} AND searchable: ({any_word})"
        rows = _SEARCH_SQLITE.rows(reader, query=query, count=count)
    else:
        any_word = " | ".join(f"'{term}'" for term in terms)
        query = f"{owner_word(owner)} & ({any_word})"
        rows = _SEARCH_POSTGRESQL.rows(reader, query=query, any_word=any_word, count=count)
    return [_record(row) for row in rows]


def _record(row: Any) -> MemoryRecord:
    return MemoryRecord(row.id, row.content, row.conversation, row.generation, row.created_ms)
