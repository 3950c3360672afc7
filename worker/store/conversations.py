"""Conversations: whose they are, what they are called, and the JSON context that is kept with them."""

import json
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, bindparam, delete, select, tuple_, update
from sqlalchemy.orm import Session

from millrace.worker.errors import MillraceError
from millrace.worker.store.columns import clock_ms
from millrace.worker.store.inserting import insert
from millrace.worker.store.pages import Page, mark, unmark
from millrace.worker.store.tables import ConversationRow, MessageRow

# Until then a generation that began before may still end, and must not bring the conversation back.
TOMBSTONE_MS = 26 * 3600 * 1000
MOST_CONTEXT_CHARS = 16_000  # of the JSON context, in ASCII


_FIND = select(ConversationRow).where(
    ConversationRow.id == bindparam("conversation"),
    ConversationRow.owner == bindparam("owner"),
    ConversationRow.deleted_ms.is_(None),
)


class ContextFull(MillraceError):
    """A conversation's JSON context would become larger than it may be; it stays as it was."""

    def __init__(self) -> None:
        super().__init__(f"A conversation's context has at most {MOST_CONTEXT_CHARS} characters of JSON.")


@dataclass(frozen=True)
class ConversationRecord:
    """A conversation; times are the database's, in milliseconds since 1970."""

    id: str
    owner: str
    title: str | None
    context: dict[str, Any]
    created_ms: int
    updated_ms: int


def ensure(session: Session, owner: str, conversation: str) -> bool:
    """Make the conversation where there is none, and move it to the front of its owner's list.

    Returns False where it is somebody else's or has been deleted. The row stays locked until the transaction ends, so
    that what is added to one conversation is added one after the other.
    """
    row = insert(session, ConversationRow).values(
        id=conversation, owner=owner, context={}, created_ms=clock_ms(), updated_ms=clock_ms()
    )
    row = row.on_conflict_do_update(
        index_elements=["id"],
        set_={"updated_ms": clock_ms()},
        where=(ConversationRow.owner == owner) & ConversationRow.deleted_ms.is_(None),
    )
    return session.scalar(row.returning(ConversationRow.id)) is not None


def find(session: Session, owner: str, conversation: str) -> ConversationRecord | None:
    """Return the conversation; None where it is absent or somebody else's."""
    row = session.scalar(_FIND, {"conversation": conversation, "owner": owner})
    return None if row is None else _conversation(row)


def page(session: Session, owner: str, before: str | None, count: int) -> Page[ConversationRecord]:
    """Return an owner's conversations, that which changed last first, from the cursor `before` on.

    Raises ValueError where that is no cursor.
    """
    query = select(ConversationRow).where(ConversationRow.owner == owner, ConversationRow.deleted_ms.is_(None))
    if before is not None:
        changed, last = unmark(before)
        query = query.where(tuple_(ConversationRow.updated_ms, ConversationRow.id) < tuple_(changed, last))
    newest = query.order_by(ConversationRow.updated_ms.desc(), ConversationRow.id.desc()).limit(count + 1)
    rows = session.scalars(newest).all()
    more = mark(rows[count - 1].updated_ms, rows[count - 1].id) if len(rows) > count else None
    return Page([_conversation(row) for row in rows[:count]], more)


def rename(session: Session, owner: str, conversation: str, title: str) -> bool:
    """Call it by this title; False where it is absent or somebody else's."""
    change = update(ConversationRow).where(*_is_owned(owner, conversation)).values(title=title, updated_ms=clock_ms())
    return _count(session, change) > 0


def name(session: Session, owner: str, conversation: str, title: str) -> bool:
    """Call it by this title where it has none yet; False where it has one, is absent or somebody else's."""
    untitled = (*_is_owned(owner, conversation), ConversationRow.title.is_(None))
    return _count(session, update(ConversationRow).where(*untitled).values(title=title)) > 0


def put_context(session: Session, owner: str, conversation: str, context: dict[str, Any]) -> bool:
    """Replace the JSON context; False where it is absent or somebody else's."""
    change = update(ConversationRow).where(*_is_owned(owner, conversation)).values(context=context)
    return _count(session, change) > 0


def merge_context(session: Session, owner: str, conversation: str, changes: dict[str, Any]) -> dict[str, Any] | None:
    """Merge the changes into the JSON context and return the whole; a key whose value is None is taken out.

    None where it is absent or somebody else's. Of two at once neither is lost. Raises ContextFull.
    """
    session.execute(update(ConversationRow).where(*_is_owned(owner, conversation)).values(title=ConversationRow.title))
    found = find(session, owner, conversation)
    if found is None:
        return None
    whole = {key: value for key, value in (found.context | changes).items() if value is not None}
    if len(json.dumps(whole)) > MOST_CONTEXT_CHARS:
        raise ContextFull
    put_context(session, owner, conversation, whole)
    return whole


def forget(session: Session, owner: str, conversation: str) -> bool:
    """Delete it with its messages, what was learned from it stays; False where it is absent or somebody else's.

    What of it is still running can't bring it back: an empty row says for a day that it is deleted.
    """
    gone = update(ConversationRow).where(*_is_owned(owner, conversation))
    if not _count(session, gone.values(title=None, context={}, deleted_ms=clock_ms())):
        return False
    session.execute(delete(MessageRow).where(MessageRow.conversation == conversation))
    past = ConversationRow.deleted_ms < clock_ms() - TOMBSTONE_MS
    session.execute(delete(ConversationRow).where(ConversationRow.owner == owner, past))
    return True


def _is_owned(owner: str, conversation: str) -> tuple[Any, ...]:
    return ConversationRow.id == conversation, ConversationRow.owner == owner, ConversationRow.deleted_ms.is_(None)


def _count(session: Session, change: Any) -> int:
    result = session.execute(change.execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", result).rowcount


def _conversation(row: ConversationRow) -> ConversationRecord:
    context = cast("dict[str, Any]", row.context) if isinstance(row.context, dict) else {}
    return ConversationRecord(row.id, row.owner, row.title, context, row.created_ms, row.updated_ms)
