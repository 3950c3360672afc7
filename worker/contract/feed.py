"""An owner's feed: what starts, ends and changes, so that a second tab or device sees what the first one did.

It tells no more than where to look: who missed something for longer than an hour reads the list of conversations
again. So writing it never fails what it tells of, and an event may come twice.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple, cast

from millrace.worker.contract.connection import Redis, translate_redis_errors
from millrace.worker.contract.events import Event, Status, encode
from millrace.worker.contract.keys import feed_key, keys_of
from millrace.worker.errors import RedisUnavailable
from millrace.worker.observability.logs import get_logger

LIFE_MS = 3600 * 1000
MAX_EVENTS = 1000  # of one owner's, about

_PLACE = re.compile(r"([0-9]{1,15})-([0-9]{1,15})", re.ASCII)

_log = get_logger(__name__)


class GenerationStarted(Event, frozen=True, tag="generation_started"):
    """A question has been asked; its answer can be followed from now on."""

    generation: str
    conversation_id: str


class GenerationEnded(Event, frozen=True, tag="generation_ended"):
    """An answer has come to its `done`."""

    generation: str
    conversation_id: str
    status: Status


class ConversationChanged(Event, frozen=True, tag="conversation_changed"):
    """A conversation has been named, renamed or deleted."""

    conversation_id: str


FeedEvent = GenerationStarted | GenerationEnded | ConversationChanged


class FeedPosition(NamedTuple):
    """A place in a feed: the id of an event there, Redis's milliseconds and a number."""

    ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


FEED_START = FeedPosition(0, 0)


class FeedEntry(NamedTuple):
    """One event in a feed, still encoded."""

    place: FeedPosition
    data: bytes


def parse_position(text: str) -> FeedPosition | None:
    """Return the place that `text` spells, or None."""
    found = _PLACE.fullmatch(text)
    return FeedPosition(int(found[1]), int(found[2])) if found else None


def publish(redis: Redis, owner: str, *events: FeedEvent) -> None:
    """Append to the owner's feed and wake those who follow it; where Redis is away, the log says so."""
    key = feed_key(owner)
    try:
        with translate_redis_errors():
            pipeline = redis.pipeline()
            for event in events:
                pipeline.xadd(key, {"d": encode(event)}, maxlen=MAX_EVENTS, approximate=True)
            pipeline.pexpire(key, LIFE_MS)
            pipeline.publish(key, b"")
            pipeline.execute()
    except RedisUnavailable as away:
        _log.warning("feed_not_told", events=len(events), error=away)


def publish_ended(redis: Redis, generations: Sequence[str]) -> None:
    """Tell their owners of generations that have ended; one that is gone is left out."""
    if not generations:
        return
    try:
        with translate_redis_errors():
            pipeline = redis.pipeline(transaction=False)
            for generation in generations:
                pipeline.hmget(keys_of(generation).state, "owner", "conversation", "status")
            rows = cast("list[list[bytes | None]]", pipeline.execute())
    except RedisUnavailable as away:
        _log.warning("feed_not_told", events=len(generations), error=away)
        return
    for generation, row in zip(generations, rows, strict=True):
        owner, conversation, status = ((each or b"").decode() for each in row)
        if owner:
            publish(redis, owner, GenerationEnded(generation, conversation, cast("Status", status)))


def end_of_feed(redis: Redis, owner: str) -> FeedPosition:
    """Return the place of the newest event, `BEGINNING` where there is none; raises RedisUnavailable."""
    with translate_redis_errors():
        rows = cast("list[tuple[bytes, dict[bytes, bytes]]]", redis.xrevrange(feed_key(owner), count=1))
    return _place(rows[0][0]) if rows else FEED_START


def read_feeds(redis: Redis, places: Sequence[tuple[str, FeedPosition]], count: int) -> list[list[FeedEntry]]:
    """Read at most `count` events of each owner's feed after the place, in one round trip; raises RedisUnavailable."""
    with translate_redis_errors():
        pipeline = redis.pipeline(transaction=False)
        for owner, after in places:
            pipeline.xrange(feed_key(owner), f"({after}", "+", count)
        answers = cast("list[list[tuple[bytes, dict[bytes, bytes]]]]", pipeline.execute())
    return [[FeedEntry(_place(key), fields[b"d"]) for key, fields in rows] for rows in answers]


def _place(raw: bytes) -> FeedPosition:
    ms, _, number = raw.partition(b"-")
    return FeedPosition(int(ms), int(number))
