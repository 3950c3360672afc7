"""Reads the log for tails: opens them, mends holes, brings readers up who stand before the ring."""

import random
import time
from collections.abc import Callable

import gevent
from gevent.lock import Semaphore

from millrace.webapp.relay.frames import make_frame
from millrace.webapp.relay.rebuilding import fold_log, is_seamless, kept_after
from millrace.webapp.relay.subscription import Subscription
from millrace.webapp.relay.tail import Tail
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.ids import START, Cursor
from millrace.worker.contract.log import PAGE, LogEntry, read
from millrace.worker.contract.state import read_state
from millrace.worker.errors import DatabaseUnavailable, RedisUnavailable
from millrace.worker.observability.logs import get_logger

LOST_SECONDS = 9.0  # Redis that restarts empty: by then a living worker has made its generation anew
_READS_AT_ONCE = 16  # a thousand readers who come back at once are a queue here, not a thousand connections
_ABSENT_SECONDS = 0.5
_AWAY_SECONDS = 0.1, 1.0

_log = get_logger(__name__)


class Repairer:
    """Works for one tail in one greenlet at a time; a page read serves all the seekers of a tail."""

    def __init__(self, redis: Redis, subscription: Subscription, expired: Callable[[str], list[LogEntry]]) -> None:
        self._redis = redis
        self._subscription = subscription
        self._expired = expired
        self._reads = Semaphore(_READS_AT_ONCE)
        self._busy: set[Tail] = set()

    def wake(self, tail: Tail) -> None:
        """See to it that the tail's needs are met; may be called from gevent's hub."""
        if tail.needs_log and tail not in self._busy:
            self._busy.add(tail)
            gevent.spawn(self._work, tail)

    def _work(self, tail: Tail) -> None:
        wait, longest = _AWAY_SECONDS
        try:
            while tail.needs_log:
                try:
                    if not tail.is_lost and not self._subscription.confirm(tail.channel):
                        continue
                    with self._reads:
                        rest = self._step(tail)
                    wait = _AWAY_SECONDS[0]
                except (RedisUnavailable, DatabaseUnavailable) as away:
                    _log.info("log_not_read", generation=tail.generation, error=away)
                    tail.is_stale = True
                    rest = random.uniform(0.5, 1.0) * wait
                    wait = min(2 * wait, longest)
                if rest:
                    gevent.sleep(rest)
        finally:
            self._busy.discard(tail)

    def _step(self, tail: Tail) -> float:
        """Read once for the tail, and return how long to wait before the next time; raises RedisUnavailable, DatabaseUnavailable."""
        if tail.is_lost:
            try:
                return self._tell_kept(tail, self._expired(tail.generation))
            except DatabaseUnavailable as away:
                _log.warning("archive_not_read", generation=tail.generation, error=away)
                return self._tell_kept(tail, [])
        if tail.last is not None and tail.is_behind:
            return self._read_on(tail, tail.last)
        return self._replay(tail)

    def _read_on(self, tail: Tail, after: Cursor) -> float:
        claimed, tail.is_stale = tail.claimed, False
        run = read(self._redis, tail.generation, after)
        if not run.is_joined or not is_seamless(after, run.entries):
            return self._rebuild(tail, after, "gap" if run.is_joined else "lost")
        tail.extend(run.entries)
        tail.is_stale = tail.is_stale or len(run.entries) >= PAGE
        if not run.entries and claimed is not None and tail.claimed == claimed and tail.last == after < claimed:
            return self._rebuild(tail, after, "lost")  # it was heard of, and is not there
        tail.place_seekers()
        return 0.0

    def _rebuild(self, tail: Tail, after: Cursor, reason: str) -> float:
        entries = fold_log(self._redis, tail.generation, "gap" if reason == "gap" else "lost")
        if not entries:
            return self._without_log(tail)
        _log.warning("log_does_not_go_on", generation=tail.generation, after=str(after), why=reason)
        tail.absent_since = None
        tail.replace(entries)
        tail.place_seekers()
        return 0.0

    def _replay(self, tail: Tail) -> float:
        """Read one page for the seekers, from the oldest of their cursors on."""
        tail.place_seekers()
        if not tail.seekers:
            return 0.0
        start = min(reader.cursor for reader in tail.seekers)
        run = read(self._redis, tail.generation, start)
        if run.is_joined and is_seamless(start, run.entries) and (run.entries or start != START):
            return self._hand_out(tail, start, run.entries)
        entries = fold_log(self._redis, tail.generation, "gap" if run.is_joined else "lost")
        if not entries:
            return self._without_log(tail)
        frames = list(map(make_frame, entries))
        for reader in tuple(tail.seekers):
            if reader.cursor == start:
                tail.give(reader, frames)
        return 0.0

    def _hand_out(self, tail: Tail, start: Cursor, entries: list[LogEntry]) -> float:
        tail.absent_since = None
        if tail.last is None and len(entries) < PAGE:  # the page reaches the log's end: the tail goes on from here
            tail.open(start)
            tail.extend(entries)
        numbers = {start: 0} | {entry.cursor: number for number, entry in enumerate(entries, 1)}
        if tail.last in numbers:
            tail.extend(entries)
        if tail.last is not None and tail.before in numbers:
            tail.prepend(start, entries[: numbers[tail.before]])
        tail.place_seekers()
        behind = [reader for reader in tail.seekers if reader.cursor in numbers]
        if behind and entries:
            frames = list(map(make_frame, entries))
            for reader in behind:
                tail.give(reader, frames[numbers[reader.cursor] :])
            tail.place_seekers()
        if tail.last is not None and not entries and tail.seekers:
            tail.is_stale = True  # a reader stands after the tail's last event, and the log goes on from there
        return 0.0

    def _without_log(self, tail: Tail) -> float:
        """There is no log: it has expired, or Redis has lost it and the worker may yet make it anew."""
        state = read_state(self._redis, tail.generation)
        has_ended = state is not None and state.is_done
        if has_ended or (state is None and not tail.is_unstored):
            kept = self._expired(tail.generation)
            if has_ended or kept:
                return self._tell_kept(tail, kept)
            tail.is_unstored = True
        if tail.absent_since is None:
            tail.absent_since = time.monotonic()
        elif time.monotonic() - tail.absent_since > LOST_SECONDS:
            _log.error("log_lost", generation=tail.generation)
            tail.lose()
        return _ABSENT_SECONDS

    def _tell_kept(self, tail: Tail, kept: list[LogEntry]) -> float:
        for reader in tuple(tail.seekers):
            tail.give(reader, list(map(make_frame, kept_after(reader.cursor, kept))))
        return _ABSENT_SECONDS if tail.seekers else 0.0
