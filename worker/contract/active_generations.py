"""The limit on the running generations of an owner or an address: a sorted set in Redis that heals itself.

No code removes a generation when it ends. Only when the set is full are its members looked at, and those that have
ended are removed.
"""

from collections.abc import Sequence
from typing import cast

from millrace.worker.contract.conversation_lock import LockResult, acquire, acquire_call, lock_result
from millrace.worker.contract.lifetimes import STATE_MS
from millrace.worker.contract.redis.connection import Redis, translate_redis_errors
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.scripts import ACQUIRE_SLOT, Call, Reply, raise_first, run_all
from millrace.worker.contract.state import may_run, read_states

_TRIES = 3  # other requests may take the freed slots first


def acquire_slot(streams: Streams, key: str, generation: str, limit: int) -> bool:
    """Add a generation to the running ones of an owner or an address, unless `limit` of them run.

    `key` is an `active_key` or an `address_active_key`. Idempotent for the same generation. Raises RedisUnavailable.
    """
    ended: list[bytes] = []
    for _ in range(_TRIES):
        arguments = (generation, limit, STATE_MS, *ended)
        found = cast("list[bytes | int]", ACQUIRE_SLOT(streams.control, (key,), *arguments))
        if not found:
            return True
        ages = dict(zip(cast("list[bytes]", found[::2]), cast("list[int]", found[1::2]), strict=True))
        # Those on a node that does not answer count as running.
        members = {each: name for each in ages if streams.answers(name := each.decode("ascii", "replace"))}
        states = read_states(streams, [*members.values()])
        ended = [each for each, state in zip(members, states, strict=True) if not may_run(state, ages[each])]
        if not ended:
            return False
    return False


def acquire_slots(streams: Streams, places: Sequence[tuple[str, int]], generation: str) -> list[bool]:
    """Acquire a slot in each of the places, keys with their limits, in one round trip where none is full.

    Returns for each whether it was acquired; with "" as the generation, only whether it is free. Raises
    RedisUnavailable.
    """
    replies = run_all(streams.control, _calls(places, generation))
    raise_first(replies)
    return _slots(streams, places, generation, replies)


def acquire_slots_and_conversation(
    streams: Streams, places: Sequence[tuple[str, int]], owner: str, conversation: str, generation: str
) -> tuple[list[bool], LockResult]:
    """Do what `acquire_slots` and `acquire` do for a conversation that is known, in one round trip if none is taken.

    The caller releases the conversation if it cannot go on without one of the slots. Raises RedisUnavailable.
    """
    conversation_call = acquire_call(owner, conversation, generation, is_known=True)
    *replies, locking = run_all(streams.control, [*_calls(places, generation), conversation_call])
    raise_first([*replies, locking])
    held = _slots(streams, places, generation, replies)
    lock = lock_result(locking) or acquire(streams, owner, conversation, generation, is_known=True)
    return held, lock


def _calls(places: Sequence[tuple[str, int]], generation: str) -> list[Call]:
    return [(ACQUIRE_SLOT, (key,), (generation, limit, STATE_MS)) for key, limit in places]


def _slots(
    streams: Streams, places: Sequence[tuple[str, int]], generation: str, replies: Sequence[Reply]
) -> list[bool]:
    return [
        not reply or acquire_slot(streams, key, generation, limit)
        for reply, (key, limit) in zip(replies, places, strict=True)
    ]


def release_slot(redis: Redis, key: str, generation: str) -> None:
    """Remove a generation that was not created in the end; raises RedisUnavailable."""
    with translate_redis_errors():
        redis.zrem(key, generation)
