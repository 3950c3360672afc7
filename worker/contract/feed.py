"""An owner's feed: what starts, ends and changes, so that a second tab or device sees what the first one did.

A feed event only says what to read again. A client that has been away for longer than an hour reads the list of
conversations again. So a failed publish never fails the request that it reports, and an event may come twice.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple, cast

from millrace.worker.contract.events import Event, Status, encode
from millrace.worker.contract.keys import feed_key, keys_of
from millrace.worker.contract.log import is_event
from millrace.worker.contract.redis.connection import Redis, run_each, translate_redis_errors
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.errors import RedisKeyInvalid, RedisUnavailable
from millrace.worker.observability.logs import get_logger

FEED_MS = 3600 * 1000
MAX_EVENTS = 1000  # per owner, approximately

_POSITION = re.compile(r"([0-9]{1,15})-([0-9]{1,15})", re.ASCII)

_log = get_logger(__name__)


class GenerationStarted(Event, frozen=True, tag="generation_started"):
    """A generation was enqueued; its log can be followed from now on."""

    generation: str
    conversation_id: str


class GenerationEnded(Event, frozen=True, tag="generation_ended"):
    """A generation's log has its `done`."""

    generation: str
    conversation_id: str
    status: Status


class ConversationChanged(Event, frozen=True, tag="conversation_changed"):
    """A conversation got its title, was renamed, edited or deleted."""

    conversation_id: str


FeedEvent = GenerationStarted | GenerationEnded | ConversationChanged


class FeedPosition(NamedTuple):
    """A position in a feed: the id of an event in it, which is Redis's time in milliseconds and a number."""

    ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.ms}-{self.number}"


FEED_START = FeedPosition(0, 0)


class FeedEntry(NamedTuple):
    """One event in a feed, still encoded."""

    position: FeedPosition
    data: bytes


def parse_position(text: str) -> FeedPosition | None:
    """Return the position `<ms>-<number>` that `text` spells, or None."""
    found = _POSITION.fullmatch(text)
    return FeedPosition(int(found[1]), int(found[2])) if found else None


def publish(redis: Redis, owner: str, *events: FeedEvent) -> None:
    """Append events to the owner's feed and wake its followers; a failure is only logged."""
    key = feed_key(owner)
    try:
        with translate_redis_errors():
            pipeline = redis.pipeline()
            for event in events:
                pipeline.xadd(key, {"d": encode(event)}, maxlen=MAX_EVENTS, approximate=True)
            pipeline.pexpire(key, FEED_MS)
            pipeline.publish(key, b"")
            pipeline.execute()
    except (RedisUnavailable, RedisKeyInvalid) as error:
        _log.warning("feed_publish_failed", events=len(events), error=error)


def publish_ended(streams: Streams, generations: Sequence[str]) -> None:
    """Append to their owners' feeds that these generations have ended; one without a state is left out."""
    for node, some in streams.group(generations):
        try:
            pipeline = node.redis.pipeline(transaction=False)
            for generation in some:
                pipeline.hmget(keys_of(generation).state, "owner", "conversation", "status")
            rows = cast("list[list[bytes | None] | Exception]", run_each(pipeline))
        except RedisUnavailable as error:
            _log.warning("feed_publish_failed", events=len(some), error=error)
            continue
        for generation, row in zip(some, rows, strict=True):
            if isinstance(row, Exception):
                continue
            owner, conversation, status = ((each or b"").decode("utf-8", "replace") for each in row)
            if owner:
                publish(streams.control, owner, GenerationEnded(generation, conversation, cast("Status", status)))


def end_of_feed(redis: Redis, owner: str) -> FeedPosition:
    """Return the position of the newest event, `FEED_START` where there is none; raises RedisUnavailable."""
    with translate_redis_errors():
        rows = cast("list[tuple[bytes, dict[bytes, bytes]]]", redis.xrevrange(feed_key(owner), count=1))
    return _position(rows[0][0]) if rows else FEED_START


def read_feeds(redis: Redis, positions: Sequence[tuple[str, FeedPosition]], count: int) -> list[list[FeedEntry]]:
    """Return at most `count` events of each feed after its position, in one round trip; raises RedisUnavailable.

    An unreadable feed counts as empty, and entries that are no event are left out.
    """
    pipeline = redis.pipeline(transaction=False)
    for owner, after in positions:
        pipeline.xrange(feed_key(owner), f"({after}", "+", count)
    return [_feed_entries(reply) for reply in run_each(pipeline)]


def _feed_entries(reply: list[tuple[bytes, dict[bytes, bytes]]] | Exception) -> list[FeedEntry]:
    if isinstance(reply, Exception):
        _log.error("feed_unreadable", error=reply)
        return []
    return [FeedEntry(_position(key), fields[b"d"]) for key, fields in reply if is_event(fields.get(b"d", b""))]


def _position(raw: bytes) -> FeedPosition:
    ms, _, number = raw.partition(b"-")
    return FeedPosition(int(ms), int(number))
