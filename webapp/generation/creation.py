"""Creates and cancels generations. Each step is idempotent by id, and is undone if the queue refuses the task.

1. check that the conversation is the owner's      5. write the generation's state and first event
2. fix the ids, which an Idempotency-Key remembers  6. enqueue the task
3. count it as active for owner and address         7. store the question, while a worker begins
4. acquire the conversation                         8. publish to the owner's feed

Each round trip to Redis delays the answer, so steps 3 and 4 share one, and so do 5 and 6. An edit replaces stored turns
between 5 and 6, see editing.py.
"""

from collections.abc import Generator
from contextlib import contextmanager, suppress

import msgspec

from millrace.webapp.generation.editing import Replacement, create_edited, find_replacement
from millrace.webapp.generation.validation import ParsedRequest, no_conversation
from millrace.webapp.generation.withdrawal import NewGeneration, withdraw_generation
from millrace.webapp.guard.auth import creates_owners
from millrace.webapp.guard.client import client_address, current_client
from millrace.webapp.guard.permits import release_permit
from millrace.webapp.problems import Problem
from millrace.webapp.request_log import request_id
from millrace.webapp.services import Services
from millrace.worker.contract.active_generations import (
    acquire_slot,
    acquire_slots,
    acquire_slots_and_conversation,
    release_slot,
)
from millrace.worker.contract.cancellation import cancel, forget, is_being_cancelled
from millrace.worker.contract.conversation_lock import (
    LockResult,
    acquire,
    read_owner,
    release,
    running_generations,
)
from millrace.worker.contract.creation import (
    Draft,
    Ids,
    bind_idempotency_key,
    create_with,
    new_ids,
    release_idempotency_key,
)
from millrace.worker.contract.events import Outcome, Status
from millrace.worker.contract.feed import GenerationStarted, publish
from millrace.worker.contract.ids import START
from millrace.worker.contract.keys import active_key, address_active_key, hash_of
from millrace.worker.contract.log import decode_entry
from millrace.worker.contract.request import ModelRequest, OnDisconnect
from millrace.worker.contract.state import GenerationState, read_state
from millrace.worker.errors import DatabaseUnavailable, QueueUnavailable, RedisKeyInvalid, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.store import conversations
from millrace.worker.store.messages import StoredQuestion, save_question

STREAM_GRACE_SECONDS = 10.0  # a client that streams from the POST has no URL to reconnect to
RETRY_SECONDS = 5
CANCEL_SECONDS = 5.0  # a worker ends a cancelled generation within 250 ms
_MAX_KEY_CHARACTERS = 255

_log = get_logger(__name__)


def check_idempotency_key(key: str | None) -> str | None:
    """Return the key, or None if there is none; raises Problem 400."""
    if key is None:
        return None
    if not 1 <= len(key) <= _MAX_KEY_CHARACTERS or not all(" " <= each <= "~" for each in key):
        detail = f"Idempotency-Key takes 1 to {_MAX_KEY_CHARACTERS} printable ASCII characters."
        raise Problem(400, "bad_idempotency_key", detail)
    return key


def create_generation(
    services: Services, owner: str, request: ParsedRequest, key: str | None, *, is_streamed: bool
) -> GenerationState:
    """Create the generation, or find the one created with the key, and enqueue it unless a worker has claimed it.

    Returns the state as written, or the current state if the generation existed before. Raises Problem 404, 409 and
    429, QueueUnavailable, RedisUnavailable, RedisKeyInvalid and DatabaseUnavailable. After any of these nothing
    half-created is left, or it is withdrawn as soon as Redis and the database answer. Waits until a cancel that is
    under way in the conversation has ended its generation, 5 s at most.
    """
    if request.conversation is not None:
        _check_conversation(services, owner, request.conversation, None if request.replaces else "conversation_id")
    ids = _ids(services, owner, request, key)
    opens, keeps = request.conversation is None, request.replaces is not None
    new = NewGeneration(owner, ids, opens_conversation=opens, keeps_question=keeps)
    on_disconnect, grace = _disconnect_policy(services, request, is_streamed=is_streamed)
    try:
        is_new = key is None or read_state(services.streams, ids.generation) is None
        replacement = _find_replacement(services, new, request) if is_new else None
        with _admitted(services, new, acquires_conversation=request.is_turn and is_new):
            asked = _model_request(request)
            draft = Draft(ids, owner, asked, on_disconnect, grace, request_id(), _lane_of(owner))
            if request.replaces is not None:
                state = create_edited(services, new, draft, request, replacement)
            else:
                state = _create_and_enqueue(services, new, draft, key)
                if request.is_turn and state.is_running:  # a request that was repeated may have died before this
                    _store_question(services, new, request, is_new=is_new)
            if state.status == "queued":
                publish(services.redis, owner, GenerationStarted(ids.generation, ids.conversation))
    except (RedisUnavailable, RedisKeyInvalid):
        services.withdrawals.add(new)
        raise
    if is_new:
        services.metrics.created.inc()
    return state


def cancel_generation(services: Services, state: GenerationState) -> tuple[Status, bool] | None:
    """Cancel a generation for its owner; idempotent.

    Returns its status and whether it had ended before, or None if Redis has lost it. Raises RedisUnavailable.
    """
    cancelled = cancel(services.streams, state.generation, "user", services.settings)
    if cancelled is not None:
        if cancelled.has_ended:
            _remove_from_queue(services, state.generation)
        return cancelled.status, cancelled.had_ended_before
    return (state.status, True) if state.is_done else None  # its state has expired: it ended long ago


def _check_conversation(services: Services, owner: str, conversation: str, field: str | None) -> None:
    """Raise Problem 404 unless the conversation is the owner's; DatabaseUnavailable where Redis does not know it so.

    Another user's id causes the same queries as an absent one, so that the time of the 404 does not tell them apart.
    """
    known = read_owner(services.redis, owner, conversation)
    if known == "own":
        return
    found = services.database.read(lambda reader: conversations.find(reader, owner, conversation))
    if found is None or known == "foreign":
        raise no_conversation(field)


def _find_replacement(services: Services, new: NewGeneration, request: ParsedRequest) -> Replacement | None:
    if request.replaces is None:
        return None
    return find_replacement(services, new.owner, new.ids.conversation, request.replaces)


def _ids(services: Services, owner: str, request: ParsedRequest, key: str | None) -> Ids:
    """Return fresh ids, or those to which the key is bound; raises Problem 409, RedisUnavailable."""
    question = request.question if request.is_turn else ""
    ids = new_ids(request.conversation or request.new_conversation, question, services.streams.new_generation())
    if key is None:
        return ids
    ids, is_same = bind_idempotency_key(services.redis, owner, key, ids, request.digest)
    if not is_same:
        detail = "This Idempotency-Key was used for another request. Use a new one."
        raise Problem(409, "idempotency_conflict", detail, generation_id=ids.generation)
    return ids


@contextmanager
def _admitted(services: Services, new: NewGeneration, *, acquires_conversation: bool) -> Generator[None]:
    """Count the generation as active for its owner and for its client's address, unless creating it fails.

    A repeated request for an existing generation is always admitted. A new one acquires its conversation. Raises
    Problem 404, 409 and 429, RedisUnavailable.
    """
    ids, places = new.ids, _places(services, new.owner)
    lock: LockResult | None = None
    try:
        if acquires_conversation:
            held, lock = acquire_slots_and_conversation(
                services.streams, places, new.owner, ids.conversation, ids.generation
            )
        else:
            held = acquire_slots(services.streams, places, ids.generation)
        for is_held, (place, limit) in zip(held, places, strict=True):
            if is_held or _acquire_after_cancel(services, place, limit, ids):
                continue
            if read_state(services.streams, ids.generation) is None:
                if lock is not None:
                    release(services.redis, ids.conversation, ids.generation)
                raise _too_many_active(limit, is_owners=place == places[0][0])
        if lock is not None:
            _check_lock(services, new, lock)
        yield
    except Exception:
        with suppress(RedisUnavailable, RedisKeyInvalid):  # the next count drops a generation that has no state
            for place, _ in places:
                release_slot(services.redis, place, ids.generation)
        raise


def refuse_when_active_full(services: Services, owner: str | None) -> None:
    """Raise Problem 429 if a new generation would get it now, of the owner or of one that begins; RedisUnavailable."""
    places = _places(services, owner)
    for is_free, (place, limit) in zip(acquire_slots(services.streams, places, ""), places, strict=True):
        if not is_free:
            raise _too_many_active(limit, is_owners=owner is not None and place == active_key(owner))


def _places(services: Services, owner: str | None) -> list[tuple[str, int]]:
    """Return the sets of active generations that one of the owner's counts in, the owner's first, with their limits."""
    limits, places = services.settings.limits, list[tuple[str, int]]()
    if owner is not None:
        places.append((active_key(owner), limits.max_active_per_user))
    if owner is None or current_client() is not None:  # a call of the host application comes from no address
        places.append((address_active_key(client_address()), limits.max_active_per_address))
    return places


def _acquire_after_cancel(services: Services, place: str, limit: int, ids: Ids) -> bool:
    return _await_cancel(services, ids.conversation) and acquire_slot(services.streams, place, ids.generation, limit)


def _too_many_active(limit: int, *, is_owners: bool) -> Problem:
    detail = f"You have {limit} answers running already. Wait until one ends, or cancel one."
    if is_owners:
        return Problem(429, "too_many_active", detail, retry_after=RETRY_SECONDS)
    shared = f"{limit} answers are running for users of your address (MILLRACE_MAX_ACTIVE_PER_ADDRESS). Wait for one."
    return Problem(429, "too_many_active", shared, retry_after=RETRY_SECONDS)


def _check_lock(services: Services, new: NewGeneration, lock: LockResult) -> None:
    """Raise Problem 404 and 409 unless the conversation is acquired, after a cancel at the latest; RedisUnavailable."""
    ids = new.ids
    if lock.verdict == "busy" and _await_cancel(services, ids.conversation):
        lock = acquire(services.streams, new.owner, ids.conversation, ids.generation, is_known=True)
    if lock.verdict == "busy":
        detail = "An answer is still running in this conversation. Wait until it ends, or cancel it."
        raise Problem(409, "conversation_busy", detail, generation_id=lock.active)
    if lock.verdict != "acquired":  # it was deleted after the check
        raise no_conversation("conversation_id")


def _store_question(services: Services, new: NewGeneration, request: ParsedRequest, *, is_new: bool) -> None:
    """Store the question, which the state holds as well: a worker need not wait, and stores it with its answer.

    Raises Problem 404, and ends the generation, if its conversation was deleted in the meantime; RedisUnavailable.
    """
    ids = new.ids
    question = StoredQuestion(ids.question, new.owner, ids.conversation, request.request.messages[-1].content)
    try:
        exists = services.database.run(lambda session: save_question(session, question))
    except DatabaseUnavailable as error:
        _log.warning("question_not_stored", generation=ids.generation, error=error)
        return
    if is_new and not exists:
        cancel(services.streams, ids.generation, "deleted", services.settings)
        forget(services.streams, [ids.generation])
        _remove_from_queue(services, ids.generation)
        raise no_conversation("conversation_id")


def _await_cancel(services: Services, conversation: str) -> bool:
    """Wait until the generation that is being cancelled in the conversation has ended; return whether none runs in it.

    It may also have ended since the caller found it. Raises RedisUnavailable, RedisKeyInvalid.
    """
    running = running_generations(services.streams, [conversation]).get(conversation)
    if running is not None and is_being_cancelled(services.streams, running):
        state = read_state(services.streams, running)
        after = START if state is None else state.top
        release_permit()
        for entry in services.hub.entries(running, after, CANCEL_SECONDS):
            if isinstance(decode_entry(entry), Outcome):
                return True
    return conversation not in running_generations(services.streams, [conversation])


def _model_request(request: ParsedRequest) -> ModelRequest:
    """Return the worker's part of the request; of a conversation that opens with it, nothing can be stored yet."""
    if not request.is_turn or request.conversation is not None or request.new_conversation is not None:
        return request.request
    return msgspec.structs.replace(request.request, opens_conversation=True)


def _disconnect_policy(services: Services, request: ParsedRequest, *, is_streamed: bool) -> tuple[OnDisconnect, float]:
    settings = services.settings.generation
    if request.on_disconnect is None and is_streamed:
        return "cancel", STREAM_GRACE_SECONDS
    return request.on_disconnect or settings.on_disconnect, settings.disconnect_grace_seconds


def _create_and_enqueue(services: Services, new: NewGeneration, draft: Draft, key: str | None) -> GenerationState:
    """Create the generation and enqueue its task, in one round trip where the same Redis holds logs and queue.

    With a key another request may have created it: it is enqueued only while no worker has claimed it. Raises
    RedisUnavailable, and QueueUnavailable if the queue refused it and no worker has the generation.
    """
    generation, queue = new.ids.generation, services.task_queue
    shares_redis = key is None and services.streams.is_control(generation)
    call = queue.enqueue_call(generation, draft.lane) if shares_redis else None
    state, replies = create_with(services.streams, draft, services.settings, [] if call is None else [call])
    try:
        if replies:
            queue.check_enqueued(replies[0])
        elif state.status == "queued":
            queue.enqueue(generation, draft.lane)
    except QueueUnavailable as error:
        try:
            verdict = withdraw_generation(services.streams, services.database, new)
        except DatabaseUnavailable:  # only the question is left
            services.withdrawals.add(new)
            verdict = "withdrawn"
        _log.warning("enqueue_failed", generation=generation, verdict=verdict, error=error)
        _remove_from_queue(services, generation)
        if verdict == "withdrawn" and key is not None:
            release_idempotency_key(services.redis, new.owner, key)
        if verdict != "claimed":
            raise
    return state


def _lane_of(owner: str) -> str:
    """Return where a question waits for a worker: a hash of the owner, or of the address if it may have many owners."""
    client = current_client()
    return hash_of(client.address if client is not None and creates_owners() else owner)


def _remove_from_queue(services: Services, generation: str) -> None:
    with suppress(QueueUnavailable):  # a worker drops it later
        services.task_queue.remove([generation])
