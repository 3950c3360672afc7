"""Reads the log for tails: opens them, fills holes, and serves readers whose cursor is older than the buffer."""

import random
import time
from collections import defaultdict
from collections.abc import Callable

import gevent
from gevent.lock import Semaphore

from millrace.webapp.relay.counts import RelayCounts
from millrace.webapp.relay.frames import make_frame
from millrace.webapp.relay.recovery import fold_log, is_contiguous, stored_events_after
from millrace.webapp.relay.subscription import Subscription
from millrace.webapp.relay.tail import Tail
from millrace.worker.contract.events import SnapshotReason
from millrace.worker.contract.ids import START, Cursor
from millrace.worker.contract.log import PAGE, LogEntry, read
from millrace.worker.contract.redis.streams import Server, Streams
from millrace.worker.contract.state import read_states
from millrace.worker.errors import DatabaseUnavailable, RedisKeyInvalid, RedisUnavailable
from millrace.worker.observability.logs import get_logger

# After a restart of Redis that lost everything, a living worker has created its generation's log again by then.
LOST_SECONDS = 9.0
_CONCURRENT_READS = 16  # of a server; a thousand readers that reconnect form a queue here, not a thousand connections
_MISSING_LOG_SECONDS = 0.5
_BACKOFF_SECONDS = 0.1, 1.0

_log = get_logger(__name__)


class Repairer:
    """Reads the log for each tail in at most one greenlet; one page serves all the lagging readers of a tail."""

    def __init__(
        self,
        streams: Streams,
        subscription: Subscription,
        read_stored: Callable[[str], list[LogEntry]],
        counts: RelayCounts,
    ) -> None:
        self._streams = streams
        self._subscription = subscription
        self._read_stored = read_stored
        self._counts = counts
        self._reads: defaultdict[Server, Semaphore] = defaultdict(lambda: Semaphore(_CONCURRENT_READS))
        self._in_repair: set[Tail] = set()

    def request(self, tail: Tail) -> None:
        """Have the log read for a tail that needs it; may be called from gevent's hub."""
        if tail.needs_log and tail not in self._in_repair:
            self._in_repair.add(tail)
            gevent.spawn(self._repair, tail)

    def _repair(self, tail: Tail) -> None:
        wait, longest = _BACKOFF_SECONDS
        try:
            while tail.needs_log:
                try:
                    if not tail.is_lost and not self._subscription.confirm(tail.channel):
                        continue
                    with self._reads[self._streams.node_of(tail.generation).server_of(tail.generation)]:
                        pause = self._step(tail)
                    wait = _BACKOFF_SECONDS[0]
                except (RedisUnavailable, DatabaseUnavailable) as error:
                    _log.info("log_read_failed", generation=tail.generation, error=error)
                    tail.is_stale = True
                    pause = random.uniform(0.5, 1.0) * wait
                    wait = min(2 * wait, longest)
                if pause:
                    gevent.sleep(pause)
        finally:
            self._in_repair.discard(tail)

    def _step(self, tail: Tail) -> float:
        """Read once for the tail; return the seconds to wait before the next read.

        Raises RedisUnavailable, DatabaseUnavailable.
        """
        self._counts.log_reads += 1
        if tail.is_lost:
            try:
                return self._send_stored(tail, self._read_stored(tail.generation))
            except DatabaseUnavailable as error:
                _log.warning("stored_answer_read_failed", generation=tail.generation, error=error)
                return self._send_stored(tail, [])
        try:
            return self._extend(tail, tail.last) if tail.last is not None and tail.is_behind else self._replay(tail)
        except RedisKeyInvalid as error:
            _log.error("log_unreadable", generation=tail.generation, error=error)
            return self._handle_missing_log(tail)

    def _extend(self, tail: Tail, after: Cursor) -> float:
        announced, tail.is_stale = tail.announced, False
        page = read(self._streams, tail.generation, after)
        if not page.is_joined or not is_contiguous(after, page.entries):
            return self._rebuild(tail, after, "gap" if page.is_joined else "lost")
        tail.extend(page.entries)
        tail.is_stale = tail.is_stale or len(page.entries) >= PAGE
        if (
            not page.entries
            and announced is not None
            and tail.announced == announced
            and tail.last == after < announced
        ):
            return self._rebuild(tail, after, "lost")  # an event was published that is not in the log
        tail.resume_lagging()
        return 0.0

    def _rebuild(self, tail: Tail, after: Cursor, reason: SnapshotReason) -> float:
        entries = fold_log(self._streams, tail.generation, reason)
        if not entries:
            return self._handle_missing_log(tail)
        self._counts.repairs[reason] += 1
        _log.warning("log_discontinuity_found", generation=tail.generation, after=str(after), why=reason)
        tail.missing_since = None
        tail.replace(entries)
        tail.resume_lagging()
        return 0.0

    def _replay(self, tail: Tail) -> float:
        """Read one page for the lagging readers, from the oldest of their cursors on."""
        tail.resume_lagging()
        if not tail.lagging:
            return 0.0
        start = min(reader.cursor for reader in tail.lagging)
        page = read(self._streams, tail.generation, start)
        if page.is_joined and is_contiguous(start, page.entries) and (page.entries or start != START):
            return self._deliver_page(tail, start, page.entries)
        entries = fold_log(self._streams, tail.generation, "gap" if page.is_joined else "lost")
        if not entries:
            return self._handle_missing_log(tail)
        frames = list(map(make_frame, entries))
        for reader in tuple(tail.lagging):
            if reader.cursor == start:
                tail.send_page(reader, frames)
        return 0.0

    def _deliver_page(self, tail: Tail, start: Cursor, entries: list[LogEntry]) -> float:
        tail.missing_since = None
        if tail.last is None and len(entries) < PAGE:  # the page reaches the log's end: the tail continues from here
            tail.open(start)
            tail.extend(entries)
        numbers = {start: 0} | {entry.cursor: number for number, entry in enumerate(entries, 1)}
        if tail.last in numbers:
            tail.extend(entries)
        if tail.last is not None and tail.before in numbers:
            tail.extend_backwards(start, entries[: numbers[tail.before]])
        tail.resume_lagging()
        behind = [reader for reader in tail.lagging if reader.cursor in numbers]
        if behind and entries:
            frames = list(map(make_frame, entries))
            for reader in behind:
                tail.send_page(reader, frames[numbers[reader.cursor] :])
            tail.resume_lagging()
        if tail.last is not None and not entries and tail.lagging:
            tail.is_stale = True  # a reader's cursor is behind the tail's last event, and the log continues from there
        return 0.0

    def _handle_missing_log(self, tail: Tail) -> float:
        """Send the stored answer if the log has expired; if Redis has lost it, wait for the worker to restore it."""
        (state,) = read_states(self._streams, [tail.generation])
        has_ended = state is not None and state.is_done
        if has_ended or (state is None and not tail.is_unstored):
            stored = self._read_stored(tail.generation)
            if has_ended or stored:
                if tail.is_behind:
                    tail.mark_lost()  # else its live readers would wait for events that no one can read
                return self._send_stored(tail, stored)
            tail.is_unstored = True
        if tail.missing_since is None:
            tail.missing_since = time.monotonic()
        elif time.monotonic() - tail.missing_since > LOST_SECONDS:
            _log.error("log_lost", generation=tail.generation)
            tail.mark_lost()
        return _MISSING_LOG_SECONDS

    def _send_stored(self, tail: Tail, stored: list[LogEntry]) -> float:
        for reader in tuple(tail.lagging):
            tail.send_page(reader, list(map(make_frame, stored_events_after(reader.cursor, stored))))
        return _MISSING_LOG_SECONDS if tail.lagging else 0.0
