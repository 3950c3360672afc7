"""Which generation runs in a conversation: at most one, decided in Redis, and healed by itself once that has ended."""

from dataclasses import dataclass
from typing import Literal, cast

from millrace.worker.contract.connection import Redis, translate_redis_errors
from millrace.worker.contract.keys import conversation_key
from millrace.worker.contract.lease import STATE_LIFE_MS
from millrace.worker.contract.scripts import ACQUIRE_CONVERSATION, MARK_CONVERSATION_DELETED, RELEASE_CONVERSATION
from millrace.worker.contract.state import GenerationState, read_states

MAKING_MS = 15_000  # from taking the conversation to writing the state; one without a state after that is none
_TRIES = 5


@dataclass(frozen=True)
class LockResult:
    """What became of taking a conversation: `by` names the generation that runs in it, where it is busy.

    `unknown`: Redis knows nothing of it, or not any more. `foreign`: it is somebody else's, or is deleted.
    """

    verdict: Literal["acquired", "unknown", "foreign", "busy"]
    by: str = ""


def read_owner(redis: Redis, owner: str, conversation: str) -> Literal["own", "unknown", "foreign"]:
    """Return what Redis knows of a conversation as this owner sees it; raises RedisUnavailable."""
    with translate_redis_errors():
        found = cast("list[bytes | None]", redis.hmget(conversation_key(conversation), "owner", "deleted"))
    if found[0] is None:
        return "unknown"
    return "own" if found == [owner.encode(), None] else "foreign"


def acquire(redis: Redis, owner: str, conversation: str, generation: str, *, is_known: bool) -> LockResult:
    """Take a conversation for a generation about to be made; once more with the same changes nothing.

    `is_known`: it is new, or the caller has seen elsewhere that it is this owner's. Raises RedisUnavailable.
    """
    ended = ""
    for _ in range(_TRIES):
        arguments = (owner, generation, ended, int(is_known), STATE_LIFE_MS)
        verdict, by, since = cast(
            "tuple[bytes, bytes, int]", ACQUIRE_CONVERSATION(redis, (conversation_key(conversation),), *arguments)
        )
        if verdict != b"busy":
            return LockResult(cast("Literal['acquired', 'unknown', 'foreign']", verdict.decode()))
        ended = by.decode()
        (state,) = read_states(redis, [ended])
        if _runs(state) or (state is None and since < MAKING_MS):
            break
    return LockResult("busy", ended)


def release(redis: Redis, conversation: str, generation: str) -> None:
    """Leave a conversation whose generation was taken back; raises RedisUnavailable."""
    RELEASE_CONVERSATION(redis, (conversation_key(conversation),), generation)


def mark_deleted(redis: Redis, owner: str, conversation: str) -> str | None:
    """Note that a conversation of the owner's is deleted, and return what ran in it last; raises RedisUnavailable."""
    by = cast("bytes", MARK_CONVERSATION_DELETED(redis, (conversation_key(conversation),), owner, STATE_LIFE_MS))
    return by.decode() or None


def running_generations(redis: Redis, conversations: list[str]) -> dict[str, str]:
    """Return the generation that runs in each of the conversations where one does, in two round trips at most.

    Raises RedisUnavailable.
    """
    with translate_redis_errors():
        pipeline = redis.pipeline(transaction=False)
        for conversation in conversations:
            pipeline.hget(conversation_key(conversation), "active")
        found = cast("list[bytes | None]", pipeline.execute())
    active = {each: by.decode() for each, by in zip(conversations, found, strict=True) if by}
    states = read_states(redis, list(active.values())) if active else []
    return {each: by for (each, by), state in zip(active.items(), states, strict=True) if _runs(state)}


def _runs(state: GenerationState | None) -> bool:
    """Tell whether an answer is still to come: after its outcome only its title and such may follow."""
    return state is not None and state.status in ("queued", "running")
