"""How many answers an owner has running at once: a set in Redis that heals itself.

Nobody takes a generation out when it ends. Only where there is no place left is each member looked at, and those that
have ended make room.
"""

from typing import cast

from millrace.worker.contract.connection import Redis, translate_redis_errors
from millrace.worker.contract.keys import active_key
from millrace.worker.contract.lease import STATE_LIFE_MS
from millrace.worker.contract.scripts import ACQUIRE_SLOT
from millrace.worker.contract.state import GenerationState, read_states

MAKING_MS = 15_000  # from being let in to having a state; one that has none after that will never run
_TRIES = 3  # others come in meanwhile


def acquire_slot(redis: Redis, owner: str, generation: str, most: int) -> bool:
    """Let a generation in where fewer than `most` of its owner's run; once more for the same changes nothing.

    Raises RedisUnavailable.
    """
    ended: list[str] = []
    for _ in range(_TRIES):
        arguments = (generation, most, STATE_LIFE_MS, *ended)
        found = cast("list[bytes | int]", ACQUIRE_SLOT(redis, (active_key(owner),), *arguments))
        if not found:
            return True
        members = [cast("bytes", each).decode() for each in found[::2]]
        states = read_states(redis, members)
        ages = cast("list[int]", found[1::2])
        ended = [each for each, age, state in zip(members, ages, states, strict=True) if not _runs(state, age)]
        if not ended:
            return False
    return False


def release_slot(redis: Redis, owner: str, generation: str) -> None:
    """Take a generation out that was let in and not made after all; raises RedisUnavailable."""
    with translate_redis_errors():
        redis.zrem(active_key(owner), generation)


def _runs(state: GenerationState | None, age_ms: int) -> bool:
    """Tell whether its answer is still to come: after the outcome only a title and its like may follow."""
    if state is None:
        return age_ms < MAKING_MS
    return state.status in ("queued", "running")
