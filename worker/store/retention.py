"""Deletion by age: which conversations and memories have expired, and the removal of deleted ones in small steps.

A conversation expires when it has not changed for its owner's days, or for those of `MILLRACE_RETENTION_DAYS`: each
question, answer and new title is a change. Marking it as deleted hides it at once. Its messages are removed afterwards,
some in each transaction, so that none is long. The empty row stays for `TOMBSTONE_MS`.
"""

from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import BigInteger, CursorResult, Select, delete, func, select, update
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Session

from millrace.worker.store.columns import clock_ms
from millrace.worker.store.conversations import TOMBSTONE_MS
from millrace.worker.store.prepared import PreparedInsert
from millrace.worker.store.tables import (
    ConversationRow,
    MemoryRow,
    MessageRow,
    OwnerRetentionRow,
    SearchEntryRow,
)

DAY_MS = 24 * 3600 * 1000
MESSAGES = 100  # that are removed in one transaction
_NO_SYNC = {"synchronize_session": False}  # the session holds no objects of the changed rows

_SET_DAYS = PreparedInsert(
    OwnerRetentionRow,
    lambda row: row.values(updated_ms=clock_ms()).on_conflict_do_update(
        index_elements=["owner"], set_={"days": row.excluded.days, "updated_ms": clock_ms()}
    ),
)


@dataclass(frozen=True)
class OwnerDays:
    """The days for which an owner's data is kept; None keeps it until it is deleted."""

    owner: str
    days: int | None


@dataclass(frozen=True)
class OwnedConversation:
    """A conversation, its owner, and the time of its last change."""

    owner: str
    id: str
    updated_ms: int


@dataclass(frozen=True)
class RemovedMessages:
    """How many messages were removed, and the generations of the answers among them."""

    count: int
    generations: frozenset[str]


def set_days(session: Session, owner: str, days: int | None) -> None:
    """Keep an owner's data for so many days, or until it is deleted (None), whatever the setting says."""
    _SET_DAYS.run(session, owner=owner, days=days)


def reset_days(session: Session, owner: str) -> bool:
    """Let the setting decide for an owner again; False if it did so before."""
    return _count(session, delete(OwnerRetentionRow).where(OwnerRetentionRow.owner == owner)) > 0


def list_days(session: Session) -> list[OwnerDays]:
    """Return the owners for whom the setting does not decide, in order."""
    rows = session.scalars(select(OwnerRetentionRow).order_by(OwnerRetentionRow.owner))
    return [OwnerDays(row.owner, row.days) for row in rows]


def find_expired(session: Session, days: int, count: int) -> list[OwnedConversation]:
    """Return at most `count` conversations that have expired.

    Those of owners with days of their own come before the others, for which `days` counts; with 0 they never expire.
    """
    query = select(ConversationRow.owner, ConversationRow.id, ConversationRow.updated_ms)
    query = query.where(ConversationRow.deleted_ms.is_(None))
    found = _expired(session, query, (ConversationRow.owner, ConversationRow.updated_ms), days, count)
    return [OwnedConversation(*row) for row in found]


def mark_expired(session: Session, conversation: OwnedConversation) -> bool:
    """Mark a conversation as deleted, unless it has changed since it was found; its messages can't be read any more."""
    is_unchanged = (
        ConversationRow.id == conversation.id,
        ConversationRow.updated_ms == conversation.updated_ms,
        ConversationRow.deleted_ms.is_(None),
    )
    tombstone = update(ConversationRow).where(*is_unchanged)
    if not _count(session, tombstone.values(title=None, context={}, deleted_ms=clock_ms())):
        return False
    is_title = SearchEntryRow.conversation == conversation.id, SearchEntryRow.message.is_(None)
    session.execute(delete(SearchEntryRow).where(*is_title), execution_options=_NO_SYNC)
    return True


def find_unremoved(session: Session, count: int) -> list[str]:
    """Return at most `count` conversations that are marked as deleted and still have messages."""
    has_messages = select(MessageRow.id).where(MessageRow.conversation == ConversationRow.id).exists()
    query = select(ConversationRow.id).where(ConversationRow.deleted_ms.is_not(None), has_messages)
    return list(session.scalars(query.order_by(ConversationRow.deleted_ms).limit(count)))


def read_generations(session: Session, conversation: str) -> RemovedMessages:
    """Return what the next `remove_messages` removes, whose logs and images the caller deletes before."""
    rows = session.execute(_next_messages(conversation)).all()
    return RemovedMessages(len(rows), frozenset(row.generation for row in rows if row.generation is not None))


def remove_messages(session: Session, conversation: str) -> int:
    """Remove some messages of a conversation that is marked as deleted, and return how many they were."""
    ids = [row.id for row in session.execute(_next_messages(conversation))]
    return _count(session, delete(MessageRow).where(MessageRow.id.in_(ids))) if ids else 0


def remove_expired_memories(session: Session, days: int, count: int) -> int:
    """Remove at most `count` memories that were learned longer ago than is kept, and return how many they were."""
    found = _expired(session, select(MemoryRow.number), (MemoryRow.owner, MemoryRow.created_ms), days, count)
    numbers = [row.number for row in found]
    return _count(session, delete(MemoryRow).where(MemoryRow.number.in_(numbers))) if numbers else 0


def remove_tombstones(session: Session, count: int) -> int:
    """Remove at most `count` empty rows of conversations that were deleted long ago."""
    is_old = ConversationRow.deleted_ms < _now_ms(session) - TOMBSTONE_MS
    has_messages = select(MessageRow.id).where(MessageRow.conversation == ConversationRow.id).exists()
    ids = list(session.scalars(select(ConversationRow.id).where(is_old, ~has_messages).limit(count)))
    return _count(session, delete(ConversationRow).where(ConversationRow.id.in_(ids))) if ids else 0


def _next_messages(conversation: str) -> Select[str, str | None]:
    is_deleted = ConversationRow.id == MessageRow.conversation, ConversationRow.deleted_ms.is_not(None)
    query = select(MessageRow.id, MessageRow.generation).join(ConversationRow, is_deleted[0] & is_deleted[1])
    query = query.where(MessageRow.conversation == conversation)
    return query.order_by(MessageRow.turn, MessageRow.rank).limit(MESSAGES)


def _expired(session: Session, query: Select[Any], columns: tuple[Any, Any], days: int, count: int) -> list[Any]:
    """Return the expired rows of a query, those of owners with days of their own first; each uses an index by time.

    `columns` are those of the owner and of the last change.
    """
    owner, changed_ms = columns
    now_ms, found = _now_ms(session), list[Any]()
    own_ms = sql_cast(OwnerRetentionRow.days, BigInteger) * DAY_MS  # more than an INTEGER of PostgreSQL holds
    # A scalar subquery, which looks at the oldest row of each owner by an index; a join would read all rows.
    oldest = query.with_only_columns(func.min(changed_ms)).where(owner == OwnerRetentionRow.owner).scalar_subquery()
    policies = select(OwnerRetentionRow).where(oldest < now_ms - own_ms)  # never true where `days` is NULL
    for policy in session.scalars(policies.limit(count)).all():
        of_owner = query.where(owner == policy.owner, changed_ms < now_ms - (policy.days or 0) * DAY_MS)
        found += session.execute(of_owner.order_by(changed_ms).limit(count - len(found)))
    if days and len(found) < count:
        has_own_days = select(OwnerRetentionRow.owner).where(OwnerRetentionRow.owner == owner).exists()
        others = query.where(changed_ms < now_ms - days * DAY_MS, ~has_own_days)
        found += session.execute(others.order_by(changed_ms).limit(count - len(found)))
    return found


def _now_ms(session: Session) -> int:
    """Return the database's clock as a value: PostgreSQL uses no index for a comparison with its function."""
    return session.scalars(select(clock_ms())).one()


def _count(session: Session, change: Any) -> int:
    result = session.execute(change, execution_options=_NO_SYNC)
    return cast("CursorResult[Any]", result).rowcount
