"""From a question to a generation that is rung: each step idempotent by the id, and taken back where the ring fails."""

from flask import Request

from millrace.webapp.generation.active import place_for
from millrace.webapp.generation.validation import ParsedRequest, no_conversation
from millrace.webapp.generation.withdrawal import CreatedGeneration, withdraw_whole
from millrace.webapp.problems import Problem
from millrace.webapp.request_log import request_id
from millrace.webapp.services import Services
from millrace.worker.contract.conversation_lock import acquire, read_owner, release
from millrace.worker.contract.creation import Draft, Ids, bind_idempotency_key, create, new_ids, release_idempotency_key
from millrace.worker.contract.feed import GenerationStarted, publish
from millrace.worker.contract.request import OnDisconnect
from millrace.worker.contract.state import read_state
from millrace.worker.errors import DatabaseUnavailable, QueueUnavailable, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.store import conversations
from millrace.worker.store.messages import StoredQuestion, save_question

STREAM_GRACE_SECONDS = 10.0  # who reads the answer on the POST itself and is gone for so long does not come back
_KEY_CHARACTERS = 255

_log = get_logger(__name__)


def idempotency_key(request: Request) -> str | None:
    """Return the Idempotency-Key header, None where there is none; raises Problem 400."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= _KEY_CHARACTERS or not all(" " <= each <= "~" for each in key):
        detail = f"Idempotency-Key takes 1 to {_KEY_CHARACTERS} printable ASCII characters."
        raise Problem(400, "bad_idempotency_key", detail)
    return key


def create_generation(
    services: Services, owner: str, asked: ParsedRequest, key: str | None, *, is_streamed: bool
) -> Ids:
    """Make the generation, or find the one that the key has made, and ring where nobody has claimed it.

    Raises Problem 404 and 409, QueueUnavailable, RedisUnavailable and DatabaseUnavailable; nothing half-made is left after these, or it is
    taken back as soon as Redis, or the database, answers.
    """
    if asked.conversation is not None:
        _check_conversation(services, owner, asked.conversation)
    ids = _ids(services, owner, asked, key)
    made = CreatedGeneration(owner, ids, is_opening=asked.conversation is None)
    on_disconnect, grace = _when_left(services, asked, is_streamed=is_streamed)
    try:
        with place_for(services, owner, ids.generation):
            if asked.is_turn and (key is None or read_state(services.redis, ids.generation) is None):
                _enter(services, made, asked)
            draft = Draft(ids, owner, asked.request, on_disconnect, grace, request_id())
            if create(services.redis, draft, services.settings) == "queued":
                _ring(services, made, key)
                publish(services.redis, owner, GenerationStarted(ids.generation, ids.conversation))
    except RedisUnavailable:
        services.housekeeping.withdraw_later(made)
        raise
    return ids


def _check_conversation(services: Services, owner: str, conversation: str) -> None:
    """Raise Problem 404 where the conversation is not the owner's; DatabaseUnavailable where only the database could tell."""
    known = read_owner(services.redis, owner, conversation)
    if known == "unknown":
        found = services.database.run(lambda session: conversations.find(session, owner, conversation))
        known = "own" if found else "foreign"
    if known != "own":
        raise no_conversation("conversation_id")


def _ids(services: Services, owner: str, asked: ParsedRequest, key: str | None) -> Ids:
    """Return fresh ids, or those that the key has been bound to before; raises Problem 409, RedisUnavailable."""
    ids = new_ids(asked.conversation, asked.question if asked.is_turn else "")
    if key is None:
        return ids
    ids, is_same = bind_idempotency_key(services.redis, owner, key, ids, asked.digest)
    if not is_same:
        detail = "This Idempotency-Key was used for another request."
        raise Problem(409, "idempotency_conflict", detail, generation_id=ids.generation)
    return ids


def _enter(services: Services, made: CreatedGeneration, asked: ParsedRequest) -> None:
    """Take the conversation for the generation, and store the question; raises Problem 404 and 409, RedisUnavailable."""
    ids = made.ids
    occupied = acquire(services.redis, made.owner, ids.conversation, ids.generation, is_known=True)
    if occupied.verdict == "busy":
        detail = "An answer is still running in this conversation. Wait for its end, or stop it."
        raise Problem(409, "conversation_busy", detail, generation_id=occupied.active)
    is_there = occupied.verdict == "acquired"  # else it was deleted since it was looked at
    if is_there:
        question = StoredQuestion(ids.question, made.owner, ids.conversation, asked.request.messages[-1].content)
        try:
            is_there = services.database.run(lambda session: save_question(session, question))
        except DatabaseUnavailable as away:  # it is in the generation's state, from where it is stored with the answer
            _log.warning("question_not_stored", generation=ids.generation, error=away)
    if not is_there:
        release(services.redis, ids.conversation, ids.generation)
        raise no_conversation("conversation_id")


def _when_left(services: Services, asked: ParsedRequest, *, is_streamed: bool) -> tuple[OnDisconnect, float]:
    settings = services.settings
    if asked.on_disconnect is None and is_streamed:
        return "cancel", STREAM_GRACE_SECONDS
    return asked.on_disconnect or settings.generation.on_disconnect, settings.generation.disconnect_grace_seconds


def _ring(services: Services, made: CreatedGeneration, key: str | None) -> None:
    """Ring; raises QueueUnavailable where the ring failed and nobody heard it."""
    generation = made.ids.generation
    try:
        services.task_queue.enqueue(generation)
    except QueueUnavailable as away:
        try:
            verdict = withdraw_whole(services.redis, services.database, made)
        except DatabaseUnavailable:  # only the question is left
            services.housekeeping.withdraw_later(made)
            verdict = "withdrawn"
        _log.warning("not_rung", generation=generation, verdict=verdict, error=away)
        if verdict == "withdrawn" and key is not None:
            release_idempotency_key(services.redis, made.owner, key)
        if verdict != "claimed":
            raise
