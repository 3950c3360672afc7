"""The owners' feeds that are followed in this process. What is published there only says that there is more to read.

So whatever was missed is read with the next word, or by the sweep; a feed is short, and rarely written.
"""

import random
import time
from typing import Protocol

import gevent

from millrace.webapp.relay.subscription import Subscription
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.feed import FeedEntry, FeedPosition, read_feeds
from millrace.worker.contract.keys import feed_key
from millrace.worker.errors import RedisUnavailable
from millrace.worker.observability.logs import get_logger

_PAGE = 100
_FEEDS_AT_ONCE = 200
SWEEP_SECONDS = 15.0  # a feed that nobody told of is read this often, because words can get lost
_AWAY_SECONDS = 0.2, 2.0

_log = get_logger(__name__)


class Follower(Protocol):
    """Who follows an owner's feed, from `place` on."""

    owner: str
    place: FeedPosition

    @property
    def is_full(self) -> bool:
        """Whether it takes nothing for now; `wake` is called for its owner when it does again."""
        ...

    def give(self, entries: list[FeedEntry], /) -> None:
        """Take what there is room for, and move `place` on; never blocks."""
        ...


class Feeds:
    """Reads for all followers, in one greenlet, which runs only while there is something to read."""

    def __init__(self, redis: Redis, subscription: Subscription) -> None:
        self._redis = redis
        self._subscription = subscription
        self._followers: dict[str, set[Follower]] = {}
        self._owners: dict[bytes, str] = {}
        self._read_at: dict[str, float] = {}
        self._woken: dict[str, None] = {}
        self._is_busy = False

    def follow(self, follower: Follower) -> None:
        """Let somebody follow; returns at once."""
        if follower.owner not in self._followers:
            self._followers[follower.owner] = set()
            channel = feed_key(follower.owner).encode()
            self._owners[channel] = follower.owner
            self._subscription.subscribe(channel)
        self._followers[follower.owner].add(follower)
        self.wake(follower.owner)

    def leave(self, follower: Follower) -> None:
        """Forget somebody, who need not be known."""
        followers = self._followers.get(follower.owner)
        if followers is None or follower not in followers:
            return
        followers.discard(follower)
        if not followers:
            channel = feed_key(follower.owner).encode()
            del self._followers[follower.owner], self._owners[channel]
            self._read_at.pop(follower.owner, None)
            self._subscription.unsubscribe(channel)

    def hear(self, channel: bytes) -> None:
        """Take a word that a feed has grown; any other channel's is left alone."""
        owner = self._owners.get(channel)
        if owner is not None:
            self.wake(owner)

    def wake(self, owner: str) -> None:
        """Have an owner's feed read for all who follow it; may be called from gevent's hub."""
        self._woken[owner] = None
        if not self._is_busy:
            self._is_busy = True
            gevent.spawn(self._work)

    def wake_all(self) -> None:
        """Have all of them read: words were missed."""
        for owner in self._followers:
            self.wake(owner)

    def sweep(self, now: float) -> None:
        """Have those read that have not been for a while."""
        for owner, read_at in self._read_at.items():
            if read_at < now - SWEEP_SECONDS:
                self.wake(owner)

    def _work(self) -> None:
        wait, longest = _AWAY_SECONDS
        try:
            while self._woken:
                owners = list(self._woken)[:_FEEDS_AT_ONCE]
                for owner in owners:
                    del self._woken[owner]
                try:
                    self._read(owners)
                    wait = _AWAY_SECONDS[0]
                except RedisUnavailable as away:
                    _log.info("feeds_not_read", error=away)
                    self._woken |= dict.fromkeys(owners)
                    gevent.sleep(random.uniform(0.5, 1.0) * wait)
                    wait = min(2 * wait, longest)
        finally:
            self._is_busy = False

    def _read(self, owners: list[str]) -> None:
        now = time.monotonic()
        reading: list[Follower] = []
        for owner in owners:
            followers = self._followers.get(owner)
            if followers is None:
                continue
            # What is written before we are heard to listen, nobody tells us of.
            if not self._subscription.confirm(feed_key(owner).encode()) and owner in self._followers:
                raise RedisUnavailable("the subscription is not confirmed")
            self._read_at[owner] = now
            reading += [each for each in followers if not each.is_full]
        if not reading:
            return
        answers = read_feeds(self._redis, [(each.owner, each.place) for each in reading], _PAGE)
        for follower, entries in zip(reading, answers, strict=True):
            if entries:
                follower.give(entries)
                if len(entries) == _PAGE:
                    self.wake(follower.owner)
