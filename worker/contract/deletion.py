"""Forgetting the generations of a deleted conversation: their logs, requests and pending storage leave Redis."""

from collections.abc import Collection

from millrace.worker.contract.connection import Redis, translate_redis_errors
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.scripts import FORGET, run_all


def forget(redis: Redis, generations: Collection[str]) -> None:
    """Make these generations unreadable at once, and delete their texts; one that runs is deleted when it has ended.

    Idempotent. Raises RedisUnavailable.
    """
    for reply in run_all(redis, [(FORGET, keys_of(each), (each,)) for each in generations]):
        if isinstance(reply, Exception):
            with translate_redis_errors():
                raise reply
