"""Conversations: their owners, their titles, and the JSON context that each holds."""

import json
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, Executable, Row, bindparam, select, tuple_, update
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.orm import Session

from millrace.worker.errors import MillraceError
from millrace.worker.store.columns import clock_ms
from millrace.worker.store.pagination import Page, decode_cursor, make_page
from millrace.worker.store.prepared import PreparedInsert, PreparedQuery, Reader
from millrace.worker.store.tables import ConversationRow, MessageRow, SearchEntryRow

# A generation that started before the deletion may still end within this time, and must not recreate the conversation.
TOMBSTONE_MS = 26 * 3600 * 1000
MAX_CONTEXT_CHARS = 16_000  # of the JSON context, in ASCII
MAX_CONTEXT_DEPTH = 32  # of lists and objects within each other; the context itself is the first

_FIND = PreparedQuery(
    select(ConversationRow.__table__).where(
        ConversationRow.id == bindparam("conversation"),
        ConversationRow.owner == bindparam("owner"),
        ConversationRow.deleted_ms.is_(None),
    )
)


def _create_or_touch(row: Insert) -> Executable:
    row = row.values(context={}, created_ms=clock_ms(), updated_ms=clock_ms())
    row = row.on_conflict_do_update(
        index_elements=["id"],
        set_={"updated_ms": clock_ms()},
        where=(ConversationRow.owner == row.excluded.owner) & ConversationRow.deleted_ms.is_(None),
    )
    return row.returning(ConversationRow.id)


_CREATE_OR_TOUCH = PreparedInsert(ConversationRow, _create_or_touch)


class ContextFull(MillraceError):
    """The change would make a conversation's JSON context larger than allowed; the context is unchanged."""

    def __init__(self) -> None:
        super().__init__(f"A conversation's context has at most {MAX_CONTEXT_CHARS} characters of JSON.")


class ContextTooDeep(MillraceError):
    """A value of the change is nested too deeply; the context is unchanged. `key` is its name in the context."""

    def __init__(self, key: str) -> None:
        super().__init__(f"A conversation's context has at most {MAX_CONTEXT_DEPTH} levels of lists and objects.")
        self.key = key


@dataclass(frozen=True)
class ConversationRecord:
    """A conversation; times are the database's, in milliseconds since 1970."""

    id: str
    owner: str
    title: str | None
    context: dict[str, Any]
    created_ms: int
    updated_ms: int


def create_or_touch(session: Session, owner: str, conversation: str) -> bool:
    """Create the conversation, or move an existing one to the front of its owner's list.

    Returns False if it is another user's or has been deleted. The row stays locked until the transaction ends, which
    serializes additions to one conversation.
    """
    return _CREATE_OR_TOUCH.run(session, id=conversation, owner=owner).first() is not None


def find(reader: Reader, owner: str, conversation: str) -> ConversationRecord | None:
    """Return the conversation; None if it is absent or another user's."""
    row = _FIND.first(reader, conversation=conversation, owner=owner)
    return None if row is None else _record(row)


def find_all(session: Session, owner: str, conversations: list[str]) -> dict[str, ConversationRecord]:
    """Return those of the conversations that are the owner's, by their ids."""
    query = select(ConversationRow).where(ConversationRow.id.in_(conversations), ConversationRow.owner == owner)
    return {row.id: _record(row) for row in session.scalars(query.where(ConversationRow.deleted_ms.is_(None)))}


def page(session: Session, owner: str, cursor: str | None, count: int) -> Page[ConversationRecord]:
    """Return an owner's conversations after the cursor, the most recently updated first.

    Raises ValueError if the cursor is malformed.
    """
    query = select(ConversationRow).where(ConversationRow.owner == owner, ConversationRow.deleted_ms.is_(None))
    if cursor is not None:
        query = query.where(tuple_(ConversationRow.updated_ms, ConversationRow.id) < tuple_(*decode_cursor(cursor)))
    newest = query.order_by(ConversationRow.updated_ms.desc(), ConversationRow.id.desc()).limit(count + 1)
    return make_page(session.scalars(newest).all(), count, lambda row: (row.updated_ms, row.id), _record)


def page_by_id(session: Session, owner: str, cursor: str | None, count: int) -> Page[ConversationRecord]:
    """Return an owner's conversations after the cursor, in an order that no change of one alters.

    Raises ValueError if the cursor is malformed.
    """
    query = select(ConversationRow).where(ConversationRow.owner == owner, ConversationRow.deleted_ms.is_(None))
    if cursor is not None:
        query = query.where(ConversationRow.id > decode_cursor(cursor)[1])
    rows = session.scalars(query.order_by(ConversationRow.id).limit(count + 1)).all()
    return make_page(rows, count, lambda row: (0, row.id), _record)


def rename(session: Session, owner: str, conversation: str, title: str) -> bool:
    """Set the title; False if the conversation is absent or another user's."""
    change = (
        update(ConversationRow)
        .where(*_is_owned(owner, conversation))
        .values(title=title, is_indexed=None, updated_ms=clock_ms())
    )
    return _count(session, change) > 0


def set_title_if_untitled(session: Session, owner: str, conversation: str, title: str) -> bool:
    """Set the title unless there is one; False if there is, or if the conversation is absent or another user's."""
    untitled = (*_is_owned(owner, conversation), ConversationRow.title.is_(None))
    return _count(session, update(ConversationRow).where(*untitled).values(title=title, is_indexed=None)) > 0


def replace_context(session: Session, owner: str, conversation: str, context: dict[str, Any]) -> bool:
    """Replace the JSON context; False if the conversation is absent or another user's."""
    change = update(ConversationRow).where(*_is_owned(owner, conversation)).values(context=context)
    return _count(session, change) > 0


def merge_context(session: Session, owner: str, conversation: str, changes: dict[str, Any]) -> dict[str, Any] | None:
    """Merge the changes into the JSON context and return the result; a None value deletes its key.

    Returns None if the conversation is absent or another user's. Concurrent merges are serialized. Raises ContextFull,
    ContextTooDeep.
    """
    for key, value in changes.items():
        if _is_deeper(value, MAX_CONTEXT_DEPTH - 1):
            raise ContextTooDeep(key)
    # An update that changes nothing locks the row, in both databases.
    session.execute(update(ConversationRow).where(*_is_owned(owner, conversation)).values(title=ConversationRow.title))
    found = find(session, owner, conversation)
    if found is None:
        return None
    merged = {key: value for key, value in (found.context | changes).items() if value is not None}
    if len(json.dumps(merged)) > MAX_CONTEXT_CHARS:
        raise ContextFull
    replace_context(session, owner, conversation, merged)
    return merged


def mark_deleted(session: Session, owner: str, conversation: str) -> bool:
    """Hide the conversation and its messages, which are still to be removed; False if it is absent or another user's.

    The row stays for `TOMBSTONE_MS`, empty, so that a running generation does not recreate the conversation.
    """
    tombstone = update(ConversationRow).where(*_is_owned(owner, conversation))
    if not _count(session, tombstone.values(title=None, context={}, deleted_ms=clock_ms())):
        return False
    is_title = SearchEntryRow.conversation == conversation, SearchEntryRow.message.is_(None)
    session.execute(delete_from(SearchEntryRow).where(*is_title))
    return True


def delete(session: Session, owner: str, conversation: str) -> bool:
    """Delete the conversation and its messages; False if it is absent or another user's. Its memories stay.

    An empty row stays, as `mark_deleted` says.
    """
    if not mark_deleted(session, owner, conversation):
        return False
    session.execute(delete_from(MessageRow).where(MessageRow.conversation == conversation))
    session.execute(delete_from(SearchEntryRow).where(SearchEntryRow.conversation == conversation))
    is_expired = ConversationRow.deleted_ms < clock_ms() - TOMBSTONE_MS
    session.execute(delete_from(ConversationRow).where(ConversationRow.owner == owner, is_expired))
    return True


def _is_deeper(value: Any, levels: int) -> bool:
    """Return whether a JSON value has more than `levels` levels of lists and objects; without recursion."""
    layer = [value]
    for _ in range(levels + 1):
        containers: list[Any] = [each for each in layer if isinstance(each, dict | list)]
        if not containers:
            return False
        layer = [item for each in containers for item in (each.values() if isinstance(each, dict) else each)]
    return True


def _is_owned(owner: str, conversation: str) -> tuple[Any, ...]:
    return ConversationRow.id == conversation, ConversationRow.owner == owner, ConversationRow.deleted_ms.is_(None)


def _count(session: Session, change: Any) -> int:
    result = session.execute(change.execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", result).rowcount


def _record(row: ConversationRow | Row[Any]) -> ConversationRecord:
    context = cast("dict[str, Any]", row.context) if isinstance(row.context, dict) else {}
    # Deeper values, stored before the depth was limited, would fail every answer of the conversation.
    context = {key: value for key, value in context.items() if not _is_deeper(value, MAX_CONTEXT_DEPTH - 1)}
    return ConversationRecord(row.id, row.owner, row.title, context, row.created_ms, row.updated_ms)
