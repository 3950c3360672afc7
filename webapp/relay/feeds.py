"""The owners' feeds that are followed in this process.

A message on a feed's channel only signals that there is more to read, so entries of a lost message are read with the
next one, or by the sweep. A feed is short, and rarely written.
"""

import random
import time
from typing import Protocol

import gevent

from millrace.webapp.relay.subscription import Subscription
from millrace.worker.contract.feed import FeedEntry, FeedPosition, read_feeds
from millrace.worker.contract.keys import feed_key
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.errors import RedisUnavailable
from millrace.worker.observability.logs import get_logger

_PAGE = 100
_FEEDS_PER_READ = 200
SWEEP_SECONDS = 15.0  # a feed without messages is read this often, because messages can get lost
_BACKOFF_SECONDS = 0.2, 2.0

_log = get_logger(__name__)


class FeedFollower(Protocol):
    """A reader of an owner's feed, from `position` on."""

    owner: str
    position: FeedPosition

    @property
    def is_full(self) -> bool:
        """Whether it accepts nothing for now; it calls `request_read` for its owner when it has room again."""
        ...

    def take(self, entries: list[FeedEntry], /) -> None:
        """Accept as many entries as there is room for, and advance `position`; never blocks."""
        ...


class Feeds:
    """Reads the feeds for all followers, in one greenlet that runs only while there is something to read."""

    def __init__(self, redis: Redis, subscription: Subscription) -> None:
        self._redis = redis
        self._subscription = subscription
        self._followers: dict[str, set[FeedFollower]] = {}
        self._owners: dict[bytes, str] = {}
        self._read_at: dict[str, float] = {}
        self._due: dict[str, None] = {}
        self._is_reading = False

    def follow(self, follower: FeedFollower) -> None:
        """Add a follower; returns at once."""
        if follower.owner not in self._followers:
            self._followers[follower.owner] = set()
            channel = feed_key(follower.owner).encode()
            self._owners[channel] = follower.owner
            self._subscription.subscribe(channel)
        self._followers[follower.owner].add(follower)
        self.request_read(follower.owner)

    def unfollow(self, follower: FeedFollower) -> None:
        """Remove a follower, if it is there."""
        followers = self._followers.get(follower.owner)
        if followers is None or follower not in followers:
            return
        followers.discard(follower)
        if not followers:
            channel = feed_key(follower.owner).encode()
            del self._followers[follower.owner], self._owners[channel]
            self._read_at.pop(follower.owner, None)
            self._subscription.unsubscribe(channel)

    def notify(self, channel: bytes) -> None:
        """Handle a message that a feed has grown; messages of other channels are ignored."""
        owner = self._owners.get(channel)
        if owner is not None:
            self.request_read(owner)

    def request_read(self, owner: str) -> None:
        """Have an owner's feed read for all its followers; may be called from gevent's hub."""
        self._due[owner] = None
        if not self._is_reading:
            self._is_reading = True
            gevent.spawn(self._read_due)

    def request_all(self) -> None:
        """Have all feeds read, because messages were lost."""
        for owner in self._followers:
            self.request_read(owner)

    def sweep(self, now: float) -> None:
        """Have the feeds read that were last read more than `SWEEP_SECONDS` ago."""
        for owner, read_at in self._read_at.items():
            if read_at < now - SWEEP_SECONDS:
                self.request_read(owner)

    def _read_due(self) -> None:
        wait, longest = _BACKOFF_SECONDS
        try:
            while self._due:
                owners = list(self._due)[:_FEEDS_PER_READ]
                for owner in owners:
                    del self._due[owner]
                try:
                    self._read(owners)
                    wait = _BACKOFF_SECONDS[0]
                except RedisUnavailable as error:
                    _log.info("feed_read_failed", error=error)
                    self._due |= dict.fromkeys(owners)
                    gevent.sleep(random.uniform(0.5, 1.0) * wait)
                    wait = min(2 * wait, longest)
        finally:
            self._is_reading = False

    def _read(self, owners: list[str]) -> None:
        now = time.monotonic()
        reading: list[FeedFollower] = []
        for owner in owners:
            followers = self._followers.get(owner)
            if followers is None:
                continue
            # No message announces entries that are written before the subscription is confirmed.
            if not self._subscription.confirm(feed_key(owner).encode()) and owner in self._followers:
                raise RedisUnavailable("the subscription is not confirmed")
            self._read_at[owner] = now
            reading += [follower for follower in followers if not follower.is_full]
        if not reading:
            return
        pages = read_feeds(self._redis, [(follower.owner, follower.position) for follower in reading], _PAGE)
        for follower, entries in zip(reading, pages, strict=True):
            if entries:
                follower.take(entries)
                if len(entries) == _PAGE:
                    self.request_read(follower.owner)
