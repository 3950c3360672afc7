"""The sweep: finds generations whose worker is gone or that wait for one, and has them enqueued or ends them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from prometheus_client import Counter

from millrace.worker.contract.events import FINAL_EVENTS
from millrace.worker.contract.feed import publish_ended
from millrace.worker.contract.ids import split_members
from millrace.worker.contract.keys import LEASES, keys_of
from millrace.worker.contract.lifetimes import (
    ENQUEUE_AGAIN_MS,
    LATE_TAKEOVER_MS,
    SUSPICION_MS,
    UNREADABLE_AGAIN_MS,
    log_ttl_ms,
    queue_ms,
)
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.connection import (
    Redis,
    check_some_available,
    is_unavailable,
    run_each,
    translate_redis_errors,
)
from millrace.worker.contract.redis.streams import CONTROL, Streams
from millrace.worker.contract.scripts import LIST_DUE, REMOVE_UNREADABLE, SWEEP, Argument, run_all
from millrace.worker.errors import RedisKeyInvalid
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.schema import Settings

SWEPT = Counter(
    "millrace_sweep_generations",
    "Generations that a sweep of this process has enqueued again, suspected of a lost worker, or ended.",
    ["decision"],
    registry=None,
)
for _decision in ("enqueued", "suspected", "ended"):
    SWEPT.labels(_decision)  # Prometheus sees no increase in a series that begins with its first event
_BATCH = 200  # per bucket

_log = get_logger(__name__)


@dataclass(frozen=True)
class SweepResult:
    """The generations that have to be enqueued, how many became suspect, and those that ended."""

    to_enqueue: list[str]
    suspected: int
    ended: list[str]


def sweep(streams: Streams, settings: Settings, name: str = CONTROL) -> SweepResult:
    """Decide about every generation of a node whose time in the leases has come; the caller enqueues those returned.

    Any number of processes may sweep at the same time: one script makes each decision. Raises RedisUnavailable, for a
    cluster only if no master answers.
    """
    redis = streams.redis_of(name)
    due = [generation for bucket in _list_due(redis) for generation in bucket]
    if not due:
        return SweepResult([], 0, [])
    verdicts = run_all(redis, [(SWEEP, keys_of(each), _arguments(each, settings)) for each in due])
    for generation, verdict in zip(due, verdicts, strict=True):
        if isinstance(verdict, Exception) and not is_unavailable(verdict):
            remove_unreadable(redis, generation, verdict)
    to_enqueue = [generation for generation, verdict in zip(due, verdicts, strict=True) if verdict == b"enqueue"]
    ended = [generation for generation, verdict in zip(due, verdicts, strict=True) if verdict == b"ended"]
    publish_ended(streams, ended)
    return SweepResult(to_enqueue, verdicts.count(b"suspect"), ended)


def _list_due(redis: Redis) -> Iterator[list[str]]:
    """Yield the due generations of each bucket, and remove members that are no id: they would take up the batch."""
    replies = run_all(redis, [(LIST_DUE, (leases,), (_BATCH,)) for leases in LEASES])
    check_some_available(replies)
    for bucket, (leases, reply) in enumerate(zip(LEASES, replies, strict=True)):
        if isinstance(reply, Exception):
            if not is_unavailable(reply):
                _log.error("leases_unreadable", key=leases, error=reply)
            continue
        generations, junk = split_members(cast("list[bytes]", reply), bucket)
        if junk:
            remove_junk(redis, leases, junk)
        yield generations


def remove_unreadable(redis: Redis, generation: str, error: Exception) -> None:
    """Remove a generation whose keys have another type than ours; after any other error a sweep looks at it later.

    Raises RedisUnavailable.
    """
    try:
        verdict = REMOVE_UNREADABLE(redis, keys_of(generation), generation, UNREADABLE_AGAIN_MS).decode()
    except RedisKeyInvalid:
        verdict = "rejected"
    _log.error("generation_unreadable", generation=generation, verdict=verdict, error=error)


def remove_junk(redis: Redis, key: str, junk: list[bytes]) -> None:
    """Remove members of a bucket's set that are no generation's id; raises RedisUnavailable."""
    with translate_redis_errors():
        redis.zrem(key, *junk)
    _log.error("junk_removed", key=key, members=len(junk), first=repr(junk[0][:100]))


def _arguments(generation: str, settings: Settings) -> tuple[Argument, ...]:
    delay_ms = random.randint(ENQUEUE_AGAIN_MS // 2, LATE_TAKEOVER_MS)
    return (
        *(generation, SUSPICION_MS, ENQUEUE_AGAIN_MS, queue_ms(settings), delay_ms),
        *(settings.generation.max_attempts, log_ttl_ms(settings), FINAL_EVENTS),
    )


def sweep_and_enqueue(streams: Streams, settings: Settings, task_queue: TaskQueue, name: str = CONTROL) -> None:
    """Sweep a node once and enqueue the generations without a worker, as every process does, web or worker.

    Raises RedisUnavailable and QueueUnavailable; a generation that could not be enqueued is swept again soon.
    """
    swept = sweep(streams, settings, name)
    if swept.to_enqueue or swept.suspected or swept.ended:
        SWEPT.labels("enqueued").inc(len(swept.to_enqueue))
        SWEPT.labels("suspected").inc(swept.suspected)
        SWEPT.labels("ended").inc(len(swept.ended))
        _log.info("swept", enqueued=len(swept.to_enqueue), suspected=swept.suspected, ended=len(swept.ended))
    for generation, lane in zip(swept.to_enqueue, _lanes_of(streams.redis_of(name), swept.to_enqueue), strict=True):
        task_queue.enqueue(generation, lane)
    task_queue.remove(swept.ended)


def _lanes_of(redis: Redis, generations: list[str]) -> list[str]:
    """Return the lane of each generation; "" for one that was claimed before, which need not wait again."""
    pipeline = redis.pipeline(transaction=False)
    for generation in generations:
        pipeline.hmget(keys_of(generation).state, "attempt", "lane")
    return [
        reply[1].decode("ascii", "replace") if isinstance(reply, list) and reply[0] == b"0" and reply[1] else ""
        for reply in cast("list[list[bytes | None] | Exception]", run_each(pipeline))
    ]
