"""The lock of a conversation: at most one generation runs in it. It frees itself once that generation has ended."""

from dataclasses import dataclass
from typing import Literal, cast

from millrace.worker.contract.keys import conversation_key
from millrace.worker.contract.lifetimes import STATE_MS
from millrace.worker.contract.redis.connection import Redis, run_each, translate_redis_errors
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.scripts import (
    ACQUIRE_CONVERSATION,
    MARK_CONVERSATION_DELETED,
    RELEASE_CONVERSATION,
    Call,
    Reply,
)
from millrace.worker.contract.state import may_run, read_states

_TRIES = 5  # each one after a generation that has ended, while other requests compete


@dataclass(frozen=True)
class LockResult:
    """The result of an acquire: where the conversation is busy, `active` names the generation that runs in it.

    `unknown`: Redis does not know the conversation (any more). `foreign`: it is another user's, or is deleted.
    """

    verdict: Literal["acquired", "unknown", "foreign", "busy"]
    active: str = ""


def read_owner(redis: Redis, owner: str, conversation: str) -> Literal["own", "unknown", "foreign"]:
    """Return whether Redis knows the conversation as this owner's; raises RedisUnavailable."""
    with translate_redis_errors():
        found = cast("list[bytes | None]", redis.hmget(conversation_key(conversation), "owner", "deleted"))
    if found[0] is None:
        return "unknown"
    return "own" if found == [owner.encode(), None] else "foreign"


def latest_generation(redis: Redis, conversation: str) -> str | None:
    """Return the generation that acquired the conversation last, whether it still runs or not.

    None where Redis does not know the conversation any more. Raises RedisUnavailable.
    """
    with translate_redis_errors():
        found = cast("bytes | None", redis.hget(conversation_key(conversation), "active"))
    return None if found is None else found.decode("ascii", "replace")


def acquire(streams: Streams, owner: str, conversation: str, generation: str, *, is_known: bool) -> LockResult:
    """Acquire a conversation for a generation that is about to be created; idempotent for the same generation.

    `is_known`: it is new, or the caller knows from elsewhere that it is this owner's. Raises RedisUnavailable.
    """
    ended = ""
    for _ in range(_TRIES):
        script, keys, arguments = acquire_call(owner, conversation, generation, is_known=is_known, ended=ended)
        reply = script(streams.control, keys, *arguments)
        result = lock_result(reply)
        if result is not None:
            return result
        _, active, age_ms = cast("tuple[bytes, bytes, int]", reply)
        ended = active.decode("ascii", "replace")
        if not streams.answers(ended):
            break
        (state,) = read_states(streams, [ended])
        if may_run(state, age_ms):
            break
    return LockResult("busy", ended)


def acquire_call(owner: str, conversation: str, generation: str, *, is_known: bool, ended: str = "") -> Call:
    """Return the call of the script for one try; `ended` is a generation that is known to have ended."""
    arguments = (owner, generation, ended, int(is_known), STATE_MS)
    return ACQUIRE_CONVERSATION, (conversation_key(conversation),), arguments


def lock_result(reply: Reply) -> LockResult | None:
    """Return the result in the reply to `acquire_call`, None where another generation has the conversation."""
    verdict: bytes = reply[0]
    if verdict == b"busy":
        return None
    return LockResult(cast("Literal['acquired', 'unknown', 'foreign']", verdict.decode()))


def release(redis: Redis, conversation: str, generation: str) -> None:
    """Release the conversation of a generation that was withdrawn; raises RedisUnavailable."""
    RELEASE_CONVERSATION(redis, (conversation_key(conversation),), generation)


def mark_deleted(redis: Redis, owner: str, conversation: str) -> tuple[str | None, str | None]:
    """Mark an owner's conversation as deleted and return the generations that ran in it last and first, if any.

    Raises RedisUnavailable.
    """
    arguments = (conversation_key(conversation),), owner, STATE_MS
    last, first = cast("list[bytes | None]", MARK_CONVERSATION_DELETED(redis, *arguments))
    return last.decode() if last else None, first.decode() if first else None


def running_generations(streams: Streams, conversations: list[str]) -> dict[str, str]:
    """Return, by conversation, the generation that runs in it, in few round trips; raises RedisUnavailable.

    One on a node that does not answer is left out.
    """
    pipeline = streams.control.pipeline(transaction=False)
    for conversation in conversations:
        pipeline.hget(conversation_key(conversation), "active")
    active = {
        each: generation.decode("ascii", "replace")
        for each, generation in zip(conversations, run_each(pipeline), strict=True)
        if isinstance(generation, bytes)
    }
    active = {each: generation for each, generation in active.items() if streams.answers(generation)}
    states = read_states(streams, list(active.values())) if active else []
    return {
        each: generation
        for (each, generation), state in zip(active.items(), states, strict=True)
        if state is not None and state.is_running
    }
