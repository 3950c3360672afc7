"""Making a generation, step by step, each of them idempotent by the id, and taking it back."""

import hashlib
import json
import secrets
from dataclasses import dataclass
from typing import Any, Literal, cast

from millrace.worker.contract.connection import Redis, translate_redis_errors
from millrace.worker.contract.conversation_lock import release
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import idempotency_key, keys_of
from millrace.worker.contract.lease import STATE_LIFE_MS, first_event
from millrace.worker.contract.request import ModelRequest, OnDisconnect, encode_request
from millrace.worker.contract.scripts import CREATE, WITHDRAW
from millrace.worker.settings.schema import Settings

IDEMPOTENCY_LIFE_MS = 24 * 3600 * 1000


@dataclass(frozen=True)
class Ids:
    """What a create gives names to: `message` is the answer's, `question` that of what it answers.

    `question` is empty where the request is no turn of a conversation, so that nothing is stored of it.
    """

    generation: str
    conversation: str
    message: str
    question: str


@dataclass(frozen=True)
class Draft:
    """A generation about to be made."""

    ids: Ids
    owner: str
    request: ModelRequest
    on_disconnect: OnDisconnect
    grace_seconds: float
    request_id: str = ""
    """The id of the request that asks, for the log."""


def new_ids(conversation: str | None = None, question: str | None = None) -> Ids:
    """Return fresh ids, within the conversation where one is given, for the question where one is given."""
    return Ids(new_id(), conversation or new_id(), new_id(), new_id() if question is None else question)


def body_hash(body: Any) -> str:
    """Return a hash of a parsed JSON body that does not depend on white space or the order of its fields."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode("ascii")).hexdigest()


def bind_idempotency_key(redis: Redis, owner: str, key: str, ids: Ids, body: str) -> tuple[Ids, bool]:
    """Bind an owner's Idempotency-Key to the ids, or learn to which it is bound already; raises RedisUnavailable.

    Returns the ids that hold, and whether they were asked for with the same body hash.
    """
    given = json.dumps([ids.generation, ids.conversation, ids.message, ids.question, body])
    name = idempotency_key(owner, key)
    with translate_redis_errors():
        redis.set(name, given, nx=True, px=IDEMPOTENCY_LIFE_MS)
        bound = cast("bytes | None", redis.get(name)) or given.encode()
    *names, bound_body = cast("list[str]", json.loads(bound))
    return Ids(*names), bound_body == body


def release_idempotency_key(redis: Redis, owner: str, key: str) -> None:
    """Unbind an Idempotency-Key whose generation was withdrawn; raises RedisUnavailable."""
    with translate_redis_errors():
        redis.delete(idempotency_key(owner, key))


def create(redis: Redis, draft: Draft, settings: Settings) -> Literal["queued", "running", "ended"]:
    """Write the generation's state and its first event, once; a second call with the same id changes nothing.

    Returns where it stands: only a queued one needs a ring. Raises RedisUnavailable.
    """
    ids = draft.ids
    fields: dict[str, str | bytes | int] = {
        "owner": draft.owner,
        "conversation": ids.conversation,
        "message": ids.message,
        "question": ids.question,
        "request": encode_request(draft.request),
        "on_disconnect": draft.on_disconnect,
        "grace_ms": int(draft.grace_seconds * 1000),
        "request_id": draft.request_id,
    }
    flat = [part for pair in fields.items() for part in pair]
    first = first_event(ids.generation, ids.conversation, ids.message)
    queue_ms = int(settings.generation.queue_seconds * 1000)
    ask = secrets.token_hex(4)
    reply = CREATE(redis, keys_of(ids.generation), ids.generation, ask, first, queue_ms, STATE_LIFE_MS, *flat)
    status = cast("list[bytes]", reply)[1]
    return "queued" if status == b"queued" else "running" if status == b"running" else "ended"


def withdraw(redis: Redis, generation: str) -> Literal["withdrawn", "kept", "claimed"]:
    """Take back a generation that could not be rung, and leave its conversation; raises RedisUnavailable.

    `claimed`: the ring was heard after all. `kept`: another request has asked for the same one meanwhile.
    """
    keys = keys_of(generation)
    with translate_redis_errors():
        conversation = cast("bytes | None", redis.hget(keys.state, "conversation"))
    verdict = cast("bytes", WITHDRAW(redis, keys, generation, secrets.token_hex(4)))
    if verdict == b"withdrawn" and conversation:
        release(redis, conversation.decode(), generation)
    return cast("Literal['withdrawn', 'kept', 'claimed']", verdict.decode())
