"""Profiles: an owner's description of themselves, one JSON object per owner."""

import json
from typing import Any, cast

from sqlalchemy import CursorResult, Executable, bindparam, select, update
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.orm import Session

from millrace.worker.observability.logs import get_logger
from millrace.worker.store.columns import clock_ms
from millrace.worker.store.prepared import PreparedInsert, PreparedQuery, Reader
from millrace.worker.store.tables import ProfileRow

_FIND = PreparedQuery(select(ProfileRow.content).where(ProfileRow.owner == bindparam("owner")))


def _save(row: Insert) -> Executable:
    row = row.values(updated_ms=clock_ms())
    changed = {"content": row.excluded.content, "updated_ms": clock_ms()}
    return row.on_conflict_do_update(index_elements=["owner"], set_=changed)


_SAVE = PreparedInsert(ProfileRow, _save)

_log = get_logger(__name__)


def find(reader: Reader, owner: str) -> dict[str, Any] | None:
    """Return an owner's profile, a JSON object; None if there is none, or if it is damaged, which is logged."""
    row = _FIND.first(reader, owner=owner)
    if row is None:
        return None
    try:
        profile: Any = json.loads(row.content)
    except ValueError:
        profile = None
    if not isinstance(profile, dict):
        _log.warning("profile_damaged", chars=len(row.content))
        return None
    return cast("dict[str, Any]", profile)


def save(session: Session, owner: str, profile: dict[str, Any]) -> None:
    """Save an owner's profile, replacing any earlier one; raises ValueError if it is not valid JSON."""
    content = json.dumps(profile, allow_nan=False)
    _SAVE.run(session, owner=owner, content=content)


def delete(session: Session, owner: str) -> bool:
    """Delete an owner's profile; False if there is none."""
    result = session.execute(delete_from(ProfileRow).where(ProfileRow.owner == owner))
    return cast("CursorResult[Any]", result).rowcount > 0


def compare_and_set(session: Session, owner: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Replace the profile `before` by `after`; False if the stored profile is no longer `before`."""
    is_unchanged = (ProfileRow.owner == owner) & (ProfileRow.content == json.dumps(before))
    content = json.dumps(after, allow_nan=False)
    change = update(ProfileRow).where(is_unchanged).values(content=content, updated_ms=clock_ms())
    result = session.execute(change.execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", result).rowcount > 0
