"""Facts learned of an owner, and the finding of those that have to do with a text."""

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, delete, select, text
from sqlalchemy.orm import Session

from millrace.worker.contract.ids import new_id
from millrace.worker.store.columns import clock_ms
from millrace.worker.store.inserting import insert
from millrace.worker.store.pages import Page, mark, unmark
from millrace.worker.store.tables import MemoryRow
from millrace.worker.store.words import digest, owner_word, telling_words, words

# The index gives each row's words besides its owner's. Rare words weigh more in SQLite (bm25), all the same in
# PostgreSQL (ts_rank), so that the newest decide there between equals.
_FIND = {
    "sqlite": text(
        "SELECT rowid FROM memories_index WHERE memories_index MATCH :query ORDER BY bm25(memories_index, 0, 1), "
        "rowid DESC LIMIT :count"
    ),
    "postgresql": text(
        "SELECT number FROM memories WHERE lexemes @@ to_tsquery('english', :query) "
        "ORDER BY ts_rank(lexemes, to_tsquery('english', :any_word)) DESC, number DESC LIMIT :count"
    ),
}


@dataclass(frozen=True)
class MemoryRecord:
    """A fact, and the conversation and generation that it was learned in; the database's clock, in ms since 1970."""

    id: str
    content: str
    conversation: str | None
    generation: str | None
    created_ms: int


def add(
    session: Session, owner: str, fact: str, conversation: str | None = None, generation: str | None = None
) -> bool:
    """Keep a fact; False where the owner's memory has it already, in whatever case and punctuation."""
    row = insert(session, MemoryRow).values(
        id=new_id(),
        owner=owner,
        owner_word=owner_word(owner),
        content=fact,
        searchable=" ".join(words(fact)),
        digest=digest(fact),
        conversation=conversation,
        generation=generation,
        created_ms=clock_ms(),
    )
    row = row.on_conflict_do_nothing(index_elements=["owner", "digest"])
    return session.scalar(row.returning(MemoryRow.number)) is not None


def page(session: Session, owner: str, before: str | None, count: int) -> Page[MemoryRecord]:
    """Return an owner's memories, the newest first, from the cursor `before` on; raises ValueError where it is none."""
    query = select(MemoryRow).where(MemoryRow.owner == owner)
    if before is not None:
        query = query.where(MemoryRow.number < unmark(before)[0])
    rows = session.scalars(query.order_by(MemoryRow.number.desc()).limit(count + 1)).all()
    more = mark(rows[count - 1].number, 0) if len(rows) > count else None
    return Page([_memory(row) for row in rows[:count]], more)


def forget(session: Session, owner: str, memory: str) -> bool:
    """Delete a memory; False where it is absent or somebody else's."""
    gone = session.execute(delete(MemoryRow).where(MemoryRow.owner == owner, MemoryRow.id == memory))
    return cast("CursorResult[Any]", gone).rowcount > 0


def forget_all(session: Session, owner: str) -> int:
    """Delete all of an owner's memories, and return how many these were."""
    gone = session.execute(delete(MemoryRow).where(MemoryRow.owner == owner))
    return cast("CursorResult[Any]", gone).rowcount


def search(session: Session, owner: str, about: str, count: int) -> list[MemoryRecord]:
    """Return those of an owner's memories that share a telling word with a text, the best first."""
    wanted = telling_words(about)
    if not wanted:
        return []
    dialect = session.get_bind().dialect.name
    if dialect == "sqlite":
        any_word = " OR ".join(f'"{word}"' for word in wanted)
        given = {"query": f"owner_word: {owner_word(owner)} AND searchable: ({any_word})"}
    else:
        any_word = " | ".join(f"'{word}'" for word in wanted)
        given = {"query": f"{owner_word(owner)} & ({any_word})", "any_word": any_word}
    numbers = session.scalars(_FIND[dialect], {**given, "count": count}).all()
    if not numbers:
        return []
    rows = {row.number: row for row in session.scalars(select(MemoryRow).where(MemoryRow.number.in_(numbers)))}
    return [_memory(rows[number]) for number in numbers if number in rows]


def _memory(row: MemoryRow) -> MemoryRecord:
    return MemoryRecord(row.id, row.content, row.conversation, row.generation, row.created_ms)
