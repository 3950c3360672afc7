"""The ended generations whose answer may be missing from the database, recorded by the script that ends each."""

from dataclasses import dataclass
from typing import cast

from millrace.worker.contract.ids import split_members
from millrace.worker.contract.keys import UNSTORED, keys_of
from millrace.worker.contract.redis.connection import Redis, check_some_available, is_unavailable
from millrace.worker.contract.scripts import REMOVE_PENDING, TAKE_PENDING, run_all
from millrace.worker.contract.sweep import remove_junk
from millrace.worker.observability.logs import get_logger

_BATCH = 50  # per bucket

_log = get_logger(__name__)


@dataclass(frozen=True)
class PendingAnswer:
    """A generation whose answer is to be stored; `score` is the time, in Redis's ms, when another process takes it."""

    generation: str
    score: bytes


def take_due(redis: Redis, delay_ms: int) -> list[PendingAnswer]:
    """Return the answers that are due, and postpone them by `delay_ms` for every other process.

    Raises RedisUnavailable, for a cluster only if no master answers.
    """
    replies = run_all(redis, [(TAKE_PENDING, (bucket,), (_BATCH, delay_ms)) for bucket in UNSTORED])
    check_some_available(replies)
    taken: list[PendingAnswer] = []
    for bucket, (unstored, reply) in enumerate(zip(UNSTORED, replies, strict=True)):
        if isinstance(reply, Exception):
            if not is_unavailable(reply):
                _log.error("unstored_unreadable", key=unstored, error=reply)
            continue
        *members, score = cast("list[bytes]", reply)
        generations, junk = split_members(members, bucket)
        if junk:
            remove_junk(redis, unstored, junk)
        taken += [PendingAnswer(generation, score) for generation in generations]
    return taken


def remove_pending(redis: Redis, pending: PendingAnswer) -> None:
    """Remove an answer that is stored, or never will be, and its request; not if it was recorded again since.

    Raises RedisUnavailable.
    """
    REMOVE_PENDING(redis, keys_of(pending.generation), pending.generation, pending.score)
