"""Creating a generation in steps that are idempotent by its id, and withdrawing it again."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import msgspec

from millrace.worker.contract.conversation_lock import release
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import idempotency_key, keys_of
from millrace.worker.contract.lease import first_event
from millrace.worker.contract.lifetimes import IDEMPOTENCY_KEY_MS, STATE_MS, queue_ms, to_ms
from millrace.worker.contract.redis.connection import Redis, translate_redis_errors
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import ModelRequest, OnDisconnect, encode_request, encode_summary
from millrace.worker.contract.scripts import CREATE, WITHDRAW, Call, Reply, raise_first, run_all
from millrace.worker.contract.state import GenerationState, parse_state
from millrace.worker.errors import RedisKeyInvalid
from millrace.worker.settings.schema import Settings


@dataclass(frozen=True)
class Ids:
    """The ids of a new generation: `message` is the answer's, `question` the user's message's.

    `question` is empty where the request is no turn of a conversation, so that nothing of it is stored.
    """

    generation: str
    conversation: str
    message: str
    question: str


@dataclass(frozen=True)
class Draft:
    """A generation to be created."""

    ids: Ids
    owner: str
    request: ModelRequest
    on_disconnect: OnDisconnect
    grace_seconds: float
    request_id: str = ""
    """The id of the HTTP request, for the worker's log lines."""
    lane: str = ""
    """Where the generation waits for a worker: a hash of its owner, in session mode of its address."""


def new_ids(conversation: str | None = None, question: str | None = None, generation: str = "") -> Ids:
    """Return fresh ids, but for those that are given."""
    return Ids(generation or new_id(), conversation or new_id(), new_id(), new_id() if question is None else question)


def body_hash(body: Any) -> str:
    """Return a hash of a parsed JSON body that does not depend on white space or the order of its fields."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode("ascii")).hexdigest()


def bind_idempotency_key(redis: Redis, owner: str, key: str, ids: Ids, body: str) -> tuple[Ids, bool]:
    """Bind an owner's Idempotency-Key to the ids, unless it is bound already; raises RedisUnavailable.

    Returns the ids that it is bound to, and whether they were bound with the same body hash.
    """
    given = json.dumps([ids.generation, ids.conversation, ids.message, ids.question, body])
    name = idempotency_key(owner, key)
    with translate_redis_errors():
        redis.set(name, given, nx=True, px=IDEMPOTENCY_KEY_MS)
        bound = cast("bytes | None", redis.get(name)) or given.encode()
    try:
        *names, bound_body = msgspec.json.decode(bound, type=tuple[str, str, str, str, str])
    except ValueError as error:
        raise RedisKeyInvalid(f"an Idempotency-Key is bound to something else: {error}") from error
    return Ids(*names), bound_body == body


def release_idempotency_key(redis: Redis, owner: str, key: str) -> None:
    """Release an Idempotency-Key whose generation was withdrawn; raises RedisUnavailable."""
    with translate_redis_errors():
        redis.delete(idempotency_key(owner, key))


def create(streams: Streams, draft: Draft, settings: Settings) -> GenerationState:
    """Write the generation's state and its first event, once; a second call with the same id changes nothing.

    Returns the state in Redis after the call; only a queued generation has to be enqueued. Raises RedisUnavailable.
    """
    return create_with(streams, draft, settings, [])[0]


def create_with(
    streams: Streams, draft: Draft, settings: Settings, calls: Sequence[Call]
) -> tuple[GenerationState, list[Reply]]:
    """Do what `create` does, and then run these calls, in the same round trip; also return their replies."""
    ids = draft.ids
    fields: dict[str, str | bytes | int] = {
        "owner": draft.owner,
        "conversation": ids.conversation,
        "message": ids.message,
        "question": ids.question,
        "request": encode_request(draft.request),
        "summary": encode_summary(draft.request),
        "on_disconnect": draft.on_disconnect,
        "grace_ms": to_ms(draft.grace_seconds),
        "request_id": draft.request_id,
        "lane": draft.lane,
    }
    flat = [part for pair in fields.items() for part in pair]
    first = first_event(ids.generation, ids.conversation, ids.message)
    arguments = (ids.generation, secrets.token_hex(4), first, queue_ms(settings), STATE_MS, *flat)
    reply, *replies = run_all(
        streams.home_of(ids.generation).redis, [(CREATE, keys_of(ids.generation), arguments), *calls]
    )
    raise_first([reply])
    # Never None: the script has written the state, or found it.
    return cast("GenerationState", parse_state(ids.generation, reply)), replies


def withdraw(streams: Streams, generation: str) -> Literal["withdrawn", "kept", "claimed"]:
    """Withdraw a generation that could not be enqueued, and release its conversation; raises RedisUnavailable.

    `claimed`: a worker has received it after all. `kept`: another request has asked for the same generation since.
    """
    keys, redis = keys_of(generation), streams.of(generation)
    with translate_redis_errors():
        conversation = cast("bytes | None", redis.hget(keys.state, "conversation"))
    verdict = cast("bytes", WITHDRAW(redis, keys, generation, secrets.token_hex(4)))
    if verdict == b"withdrawn" and conversation:
        release(streams.control, conversation.decode(), generation)
    return cast("Literal['withdrawn', 'kept', 'claimed']", verdict.decode())
