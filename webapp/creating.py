"""From a question to a generation that is rung: each step idempotent by the id, and taken back where the ring fails."""

import logging

from flask import Request

from webapp.problems import Problem
from webapp.services import Services
from webapp.validation import Asked, no_conversation
from worker.contract.connection import Redis
from worker.contract.creation import Draft, Ids, create, forget, new_ids, remember, withdraw
from worker.contract.errors import QueueAway, RedisAway
from worker.contract.feed import GenerationStarted, tell
from worker.contract.occupation import occupy, whose
from worker.contract.request import OnDisconnect
from worker.contract.state import read_state

STREAM_GRACE_SECONDS = 10.0  # who reads the answer on the POST itself and is gone for so long does not come back
_KEY_CHARACTERS = 255

_log = logging.getLogger(__name__)


def idempotency_key(request: Request) -> str | None:
    """Return the Idempotency-Key header, None where there is none; raises Problem 400."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= _KEY_CHARACTERS or not all(" " <= each <= "~" for each in key):
        detail = f"Idempotency-Key takes 1 to {_KEY_CHARACTERS} printable ASCII characters."
        raise Problem(400, "bad_idempotency_key", detail)
    return key


def make(services: Services, owner: str, asked: Asked, key: str | None, *, is_streamed: bool) -> Ids:
    """Make the generation, or find the one that the key has made, and ring where nobody has claimed it.

    Raises Problem 404 and 409, QueueAway and RedisAway; after these two nothing half-made is left, or it is taken
    back as soon as Redis answers.
    """
    if asked.conversation is not None and whose(services.redis, owner, asked.conversation) != "own":
        raise no_conversation()
    ids = _ids(services.redis, owner, asked, key)
    on_disconnect, grace = _when_left(services, asked, is_streamed=is_streamed)
    draft = Draft(ids, owner, asked.request, on_disconnect, grace)
    try:
        if asked.is_turn and (key is None or read_state(services.redis, ids.generation) is None):
            _enter(services, draft)
        if create(services.redis, draft, services.settings) == "queued":
            _ring(services, owner, ids.generation, key)
            tell(services.redis, owner, GenerationStarted(ids.generation, ids.conversation))
    except RedisAway:
        services.housekeeping.withdraw_later(ids.generation)
        raise
    return ids


def _ids(redis: Redis, owner: str, asked: Asked, key: str | None) -> Ids:
    """Return fresh ids, or those that the key has been bound to before; raises Problem 409, RedisAway."""
    ids = new_ids(asked.conversation)
    if key is None:
        return ids
    ids, is_same = remember(redis, owner, key, ids, asked.digest)
    if not is_same:
        detail = "This Idempotency-Key was used for another request."
        raise Problem(409, "idempotency_conflict", detail, generation_id=ids.generation)
    return ids


def _enter(services: Services, draft: Draft) -> None:
    """Take the conversation for the generation; raises Problem 404 and 409, RedisAway."""
    ids = draft.ids
    occupied = occupy(services.redis, draft.owner, ids.conversation, ids.generation, is_known=True)
    if occupied.verdict == "busy":
        detail = "An answer is still running in this conversation. Wait for its end, or stop it."
        raise Problem(409, "conversation_busy", detail, generation_id=occupied.by)
    if occupied.verdict != "taken":  # deleted since it was looked at
        raise no_conversation()


def _when_left(services: Services, asked: Asked, *, is_streamed: bool) -> tuple[OnDisconnect, float]:
    settings = services.settings
    if asked.on_disconnect is None and is_streamed:
        return "cancel", STREAM_GRACE_SECONDS
    return asked.on_disconnect or settings.on_disconnect, settings.disconnect_grace_seconds


def _ring(services: Services, owner: str, generation: str, key: str | None) -> None:
    """Ring; raises QueueAway where the ring failed and nobody heard it."""
    try:
        services.doorbell.ring(generation)
    except QueueAway as away:
        verdict = withdraw(services.redis, generation)
        _log.warning("not rung: generation=%s verdict=%s: %s", generation, verdict, away)
        if verdict == "withdrawn" and key is not None:
            forget(services.redis, owner, key)
        if verdict != "claimed":
            raise
