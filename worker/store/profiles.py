"""Who an owner is, in the owner's own words."""

import json
from typing import Any, cast

from sqlalchemy import CursorResult, bindparam, select, update
from sqlalchemy.orm import Session

from millrace.worker.observability.logs import get_logger
from millrace.worker.store.columns import clock_ms
from millrace.worker.store.inserting import insert
from millrace.worker.store.tables import ProfileRow

_FIND = select(ProfileRow.content).where(ProfileRow.owner == bindparam("owner"))

_log = get_logger(__name__)


def find(session: Session, owner: str) -> dict[str, Any] | None:
    """Return an owner's profile, a JSON object; None where there is none, or a damaged one, which the log tells."""
    kept = session.connection().scalar(_FIND, {"owner": owner})
    if kept is None:
        return None
    try:
        found: Any = json.loads(kept)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        _log.warning("profile_damaged", chars=len(kept))
        return None
    return cast("dict[str, Any]", found)


def exchange(session: Session, owner: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Keep a profile in the place of the one that was found before; False where that is not what is kept any more."""
    kept = (ProfileRow.owner == owner) & (ProfileRow.content == json.dumps(before))
    change = update(ProfileRow).where(kept).values(content=json.dumps(after, allow_nan=False), updated_ms=clock_ms())
    result = session.execute(change.execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", result).rowcount > 0


def put(session: Session, owner: str, profile: dict[str, Any]) -> None:
    """Keep an owner's profile in the place of any before; raises ValueError where it is no JSON."""
    content = json.dumps(profile, allow_nan=False)
    row = insert(session, ProfileRow).values(owner=owner, content=content, updated_ms=clock_ms())
    session.execute(
        row.on_conflict_do_update(index_elements=["owner"], set_={"content": content, "updated_ms": clock_ms()})
    )
