"""Cancel a generation from outside, at any point of its life, and forget those of a deleted conversation."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

from millrace.worker.contract.events import FINAL_EVENTS, CancelledBy, Status
from millrace.worker.contract.feed import publish_ended
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lifetimes import log_ttl_ms
from millrace.worker.contract.redis.connection import is_invalid_key, run_each, translate_redis_errors
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.scripts import CANCEL, FORGET, run_all
from millrace.worker.contract.sweep import remove_unreadable
from millrace.worker.settings.schema import Settings


@dataclass(frozen=True)
class CancelReply:
    """The status after the cancel; `has_ended`: before it (`had_ended_before`) or by it."""

    status: Status
    has_ended: bool
    had_ended_before: bool


def cancel(streams: Streams, generation: str, by: CancelledBy, settings: Settings) -> CancelReply | None:
    """Cancel a generation; returns None where Redis has no such generation.

    A worker that holds the generation ends it; without a holder this call ends it. A second cancel changes nothing.
    Raises RedisUnavailable, RedisKeyInvalid.
    """
    arguments = (generation, by, log_ttl_ms(settings), FINAL_EVENTS)
    verdict, status = cast("list[bytes]", CANCEL(streams.of(generation), keys_of(generation), *arguments))
    if verdict == b"lost":
        return None
    if verdict == b"ended":
        publish_ended(streams, [generation])
    return CancelReply(cast("Status", status.decode()), verdict in (b"over", b"ended"), verdict == b"over")


def is_being_cancelled(streams: Streams, generation: str) -> bool:
    """Return whether a generation has been cancelled and its holder has not ended it yet; raises RedisUnavailable."""
    with translate_redis_errors():
        by, outcome = cast(
            "list[bytes | None]", streams.of(generation).hmget(keys_of(generation).state, "cancel", "outcome")
        )
    return bool(by) and not outcome


def milliseconds_since_cancel(streams: Streams, generation: str) -> int | None:
    """Return the age of a generation's cancel by Redis's clock; None if it was not cancelled, or is forgotten.

    Raises RedisUnavailable.
    """
    pipeline = streams.of(generation).pipeline(transaction=False)
    pipeline.hget(keys_of(generation).state, "cancel_at")
    pipeline.time()
    cancelled_at, now = run_each(pipeline)
    if not isinstance(cancelled_at, bytes) or not isinstance(now, tuple):
        return None
    seconds, microseconds = cast("tuple[int, int]", now)
    return max(0, seconds * 1000 + microseconds // 1000 - int(cancelled_at))


def forget(streams: Streams, generations: Collection[str]) -> None:
    """Make these generations unreadable at once, and delete their texts; one that runs is deleted when it has ended.

    Idempotent. Raises RedisUnavailable.
    """
    for node, some in streams.group(generations):
        replies = run_all(node.redis, [(FORGET, keys_of(each), (each,)) for each in some])
        for generation, reply in zip(some, replies, strict=True):
            if not isinstance(reply, Exception):
                continue
            if is_invalid_key(reply):
                remove_unreadable(node.redis, generation, reply)
            else:
                with translate_redis_errors():
                    raise reply
