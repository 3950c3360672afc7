"""The search of conversations: a full-text index over titles and messages, filled in the background.

An entry is written after the text it belongs to, so that neither a question nor an answer waits for the index. It is
deleted together with its text. `index_pending` is called by the web processes; any number of them may do so at once.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import Connection, CursorResult, Row, bindparam, delete, insert, select, text, update
from sqlalchemy.orm import Session

from millrace.worker.store.chat_terms import ExcerptPart, Groups, chat_terms, excerpt_of, owner_prefix, query_groups
from millrace.worker.store.columns import EscapedText
from millrace.worker.store.conversations import ConversationRecord, find_all
from millrace.worker.store.database import Database
from millrace.worker.store.pagination import Page, decode_cursor, encode_cursor
from millrace.worker.store.tables import ConversationRow, MessageRow, SearchEntryRow

ROWS = 20  # that are indexed in one transaction
NEWEST = 5000  # matches that SQLite looks at before all of them

_FOUND = (
    "SELECT c.id, c.updated_ms, MAX(CASE WHEN e.message IS NULL THEN 0 ELSE e.number END) AS number FROM {entries} "
    "JOIN conversations c ON c.id = e.conversation WHERE {matches} AND c.owner = :owner AND c.deleted_ms IS NULL "
    "AND (c.updated_ms, c.id) < (:before_ms, :before_id) GROUP BY c.id, c.updated_ms "
    "ORDER BY c.updated_ms DESC, c.id DESC LIMIT :count"
)
_SQLITE = {
    "entries": "search_index i JOIN search_entries e ON e.number = i.rowid",
    "matches": "search_index MATCH :query",
}
# SQLite runs inside the process: a word of most messages would hold its thread for as long as all of them take to join.
_NEWEST = "SELECT rowid FROM search_index WHERE search_index MATCH :query ORDER BY rowid DESC LIMIT :most"
_SQLITE_NEWEST = {"entries": f"({_NEWEST}) i JOIN search_entries e ON e.number = i.rowid", "matches": "TRUE"}
_POSTGRESQL = {"entries": "search_entries e", "matches": "e.terms @@ CAST(:query AS tsquery)"}
_OWNER = bindparam("owner", type_=EscapedText)
_SEARCH = {
    "sqlite": text(_FOUND.format(**_SQLITE)).bindparams(_OWNER),
    "postgresql": text(_FOUND.format(**_POSTGRESQL)).bindparams(_OWNER),
}
_SEARCH_NEWEST = text(_FOUND.format(**_SQLITE_NEWEST)).bindparams(_OWNER)
_COUNT_NEWEST = text(
    "SELECT COUNT(*) FROM (SELECT rowid FROM search_index WHERE search_index MATCH :query LIMIT :most)"
)
_END = 2**62, "~"  # after every row


@dataclass(frozen=True)
class ConversationMatch:
    """A conversation that a search has found, with an excerpt of a message or, if there is none, of its title."""

    conversation: ConversationRecord
    message: str | None
    role: Literal["user", "assistant"] | None
    excerpt: list[ExcerptPart]


@dataclass(frozen=True)
class _Pending:
    """A text that the index lacks; `message` is None for a title."""

    owner: str
    conversation: str
    message: str | None
    content: str


def search(session: Session, owner: str, query: str, cursor: str | None, count: int) -> Page[ConversationMatch]:
    """Return an owner's conversations in which a message or the title has all words of the query, last changed first.

    Raises ValueError if the cursor is malformed.
    """
    before = _END if cursor is None else decode_cursor(cursor)
    groups = query_groups(query)
    if not groups:
        return Page([], None)
    connection = session.connection()
    dialect = connection.dialect.name
    match = {"query": _expression(dialect, owner, groups), "owner": owner}
    place = {"before_ms": before[0], "before_id": before[1], "count": count + 1}
    rows = _rows(connection, match, place)
    found = rows[:count]
    records = find_all(session, owner, [row.id for row in found])
    messages = _messages(session, [row.number for row in found if row.number])
    items = [_match(records[row.id], messages.get(row.number), query) for row in found if row.id in records]
    return Page(items, encode_cursor(found[-1].updated_ms, found[-1].id) if len(rows) > count else None)


def _rows(connection: Connection, match: dict[str, Any], place: dict[str, Any]) -> Sequence[Row[Any]]:
    """Return the conversations of a page, by the newest matches only if these fill it."""
    if connection.dialect.name == "sqlite":
        newest = match | {"most": NEWEST}
        rows = connection.execute(_SEARCH_NEWEST, newest | place).all()
        if len(rows) == place["count"] or connection.execute(_COUNT_NEWEST, newest).scalar_one() < NEWEST:
            return rows
    return connection.execute(_SEARCH[connection.dialect.name], match | place).all()


def index_pending(database: Database) -> int:
    """Index some of the texts that the index lacks, and return their number; raises DatabaseUnavailable."""
    pending = database.run(_read_pending)
    entries = [(each, _terms_of(each)) for each in pending]  # outside of any transaction
    if entries:
        database.run(lambda session: _save(session, entries))
    return len(entries)


def _terms_of(pending: _Pending) -> str:
    blocks: list[str] = []
    for block in chat_terms(pending.owner, pending.content):
        blocks.append(block)
        time.sleep(0)  # lets other greenlets run
    return " ".join(blocks)


def _read_pending(session: Session) -> list[_Pending]:
    texts = (
        select(ConversationRow.owner, MessageRow.conversation, MessageRow.id, MessageRow.content)
        .join(ConversationRow, ConversationRow.id == MessageRow.conversation)
        .where(MessageRow.is_indexed.is_(None))
        .order_by(MessageRow.created_ms)
        .limit(ROWS)
    )
    titles = (
        select(ConversationRow.owner, ConversationRow.id, ConversationRow.title)
        .where(ConversationRow.is_indexed.is_(None), ConversationRow.title.is_not(None))
        .order_by(ConversationRow.updated_ms)
        .limit(ROWS)
    )
    found = [_Pending(*row) for row in session.execute(texts)]
    return found + [_Pending(owner, place, None, title or "") for owner, place, title in session.execute(titles)]


def _save(session: Session, entries: list[tuple[_Pending, str]]) -> None:
    for pending, terms in entries:
        if pending.message is None:
            same = ConversationRow.id == pending.conversation, ConversationRow.title == pending.content
            change = update(ConversationRow).where(*same, ConversationRow.is_indexed.is_(None))
            old = SearchEntryRow.conversation == pending.conversation, SearchEntryRow.message.is_(None)
        else:
            same = MessageRow.id == pending.message, MessageRow.content == pending.content
            change = update(MessageRow).where(*same, MessageRow.is_indexed.is_(None))
            old = (SearchEntryRow.message == pending.message,)
        marked = session.execute(change.values(is_indexed=1), execution_options={"synchronize_session": False})
        if not cast("CursorResult[Any]", marked).rowcount:  # another process has indexed it, or it has changed
            continue
        session.execute(delete(SearchEntryRow).where(*old), execution_options={"synchronize_session": False})
        values = {"conversation": pending.conversation, "message": pending.message, "terms": terms}
        session.execute(insert(SearchEntryRow).values(values))


def _expression(dialect: str, owner: str, groups: Groups) -> str:
    """Return the query in the database's syntax; a term has letters and digits only."""
    prefix = owner_prefix(owner)
    word, any_of, all_of = ('"{}"*', " OR ", " AND ") if dialect == "sqlite" else ("'{}':*", " | ", " & ")
    alternatives = (any_of.join(word.format(prefix + each) for each in group) for group in groups)
    return all_of.join(f"({each})" for each in alternatives)


def _messages(session: Session, numbers: list[int]) -> dict[int, tuple[str, str, str]]:
    """Return the id, the role and the content of each entry's message."""
    query = select(SearchEntryRow.number, MessageRow.id, MessageRow.role, MessageRow.content).join(
        MessageRow, MessageRow.id == SearchEntryRow.message
    )
    return {
        row[0]: (row[1], row[2], row[3]) for row in session.execute(query.where(SearchEntryRow.number.in_(numbers)))
    }


def _match(record: ConversationRecord, found: tuple[str, str, str] | None, query: str) -> ConversationMatch:
    if found is None:
        return ConversationMatch(record, None, None, excerpt_of(record.title or "", query))
    message, role, content = found
    return ConversationMatch(record, message, "user" if role == "user" else "assistant", excerpt_of(content, query))
