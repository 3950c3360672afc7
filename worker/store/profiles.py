"""Who an owner is, in the owner's own words."""

import json
import logging
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from worker.store.columns import clock_ms
from worker.store.inserting import insert
from worker.store.tables import ProfileRow

_log = logging.getLogger(__name__)


def find(session: Session, owner: str) -> dict[str, Any] | None:
    """Return an owner's profile, a JSON object; None where there is none, or a damaged one, which the log tells."""
    kept = session.scalar(select(ProfileRow.content).where(ProfileRow.owner == owner))
    if kept is None:
        return None
    try:
        found: Any = json.loads(kept)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        _log.warning("profile_damaged chars=%d", len(kept))
        return None
    return cast("dict[str, Any]", found)


def put(session: Session, owner: str, profile: dict[str, Any]) -> None:
    """Keep an owner's profile in the place of any before; raises ValueError where it is no JSON."""
    content = json.dumps(profile, allow_nan=False)
    row = insert(session, ProfileRow).values(owner=owner, content=content, updated_ms=clock_ms())
    session.execute(
        row.on_conflict_do_update(index_elements=["owner"], set_={"content": content, "updated_ms": clock_ms()})
    )
