"""An owner's keys, found by a scan over all keys: for a command, not for a request."""

from collections.abc import Collection, Iterator
from typing import Any, cast

import msgspec

from millrace.worker.contract.keys import (
    IDEMPOTENCY_KEYS,
    STATES,
    active_key,
    counts_of,
    feed_key,
    generation_of,
)
from millrace.worker.contract.redis.cluster import servers_of
from millrace.worker.contract.redis.connection import Redis, run_each, translate_redis_errors
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import GenerationState, read_states

_KEYS = 500  # that one SCAN looks at, and one round trip reads


def find_generations(streams: Streams, owner: str) -> list[GenerationState]:
    """Return the states of an owner's generations, of running and of ended ones; raises RedisUnavailable."""
    found: list[GenerationState] = []
    for node in streams.nodes:
        for keys in _scan(node.redis, STATES):
            states = read_states(streams, list(map(generation_of, keys)))
            found += [each for each in states if each is not None and each.owner == owner]
    # SCAN may return a key twice, and a node may hold one that is read on another, its home.
    return list({each.generation: each for each in found}.values())


def delete_owner_keys(redis: Redis, owner: str, generations: Collection[str]) -> int:
    """Delete an owner's feed, set of running generations, and the Idempotency-Keys that are bound to these generations.

    Returns how many keys were deleted. Raises RedisUnavailable.
    """
    deleted = _delete(redis, [feed_key(owner).encode(), active_key(owner).encode()])
    for keys in _scan(redis, IDEMPOTENCY_KEYS):
        pipeline = redis.pipeline(transaction=False)
        for key in keys:
            pipeline.get(key)
        bound = [_first_id(value) in generations for value in run_each(pipeline)]
        deleted += _delete(redis, [key for key, is_bound in zip(keys, bound, strict=True) if is_bound])
    return deleted


def delete_counts(redis: Redis, owner: str) -> int:
    """Delete the counts of an owner's requests, and return how many there were; raises RedisUnavailable."""
    return sum(_delete(redis, keys) for keys in _scan(redis, counts_of(owner)))


def _scan(redis: Redis, pattern: str) -> Iterator[list[bytes]]:
    with translate_redis_errors():
        servers = servers_of(redis)
    for server in servers:
        yield from _scan_server(server, pattern)


def _scan_server(redis: Redis, pattern: str) -> Iterator[list[bytes]]:
    cursor = 0
    while True:
        with translate_redis_errors():
            cursor, keys = cast("tuple[int, list[bytes]]", redis.scan(cursor, match=pattern, count=_KEYS))
        if keys:
            yield keys
        if cursor == 0:
            return


def _delete(redis: Redis, keys: list[bytes]) -> int:
    with translate_redis_errors():
        return redis.delete(*keys) if keys else 0


def _first_id(value: Any) -> str:
    """Return the generation that an Idempotency-Key is bound to, "" for anything else."""
    try:
        return str(msgspec.json.decode(value)[0])
    except (msgspec.DecodeError, TypeError, LookupError):
        return ""
