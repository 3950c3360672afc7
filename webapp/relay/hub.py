"""All the streams of one web process: who follows what, from the first subscription to the last farewell."""

import time
from collections import Counter
from collections.abc import Callable, Iterator

import gevent

from millrace.webapp.guard.auth.protocol import Authorization
from millrace.webapp.relay.authorization import AuthorizationChecks
from millrace.webapp.relay.feeds import Feeds
from millrace.webapp.relay.frames import entry_in
from millrace.webapp.relay.reader import PullReader, Reader
from millrace.webapp.relay.repair import LOST_SECONDS, Repairer
from millrace.webapp.relay.rounds import Heartbeats, cut_stalled, drain
from millrace.webapp.relay.subscription import Messages, Subscription
from millrace.webapp.relay.tail import Tail
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.keys import channel_of
from millrace.worker.contract.log import LogEntry
from millrace.worker.contract.state import GenerationState, read_state, read_states
from millrace.worker.errors import RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.schema import Settings

_SWEEP_SECONDS = 1.0
_STOP_SECONDS = 1.0
_SILENT_SECONDS = 2.0  # a tail that heard nothing for so long is compared with its log
_KEEP_SECONDS = 30.0  # a tail outlives its last reader, who is likely to come back
_KEPT_TAILS = 500

_log = get_logger(__name__)


def _nothing(_: str) -> list[LogEntry]:
    return []


class Hub:
    """Follows logs for the readers of this process. Made without I/O; one a process, made after the fork.

    `expired` is asked for the entries of a generation without a log, which has ended or which Redis has lost; its
    readers get those after their cursor, or, where there are none, `error stream_lost`. It may raise DatabaseUnavailable.
    """

    def __init__(self, redis: Redis, settings: Settings, expired: Callable[[str], list[LogEntry]] = _nothing) -> None:
        self.settings = settings
        self._redis = redis
        self._tails: dict[str, Tail] = {}
        self._channels: dict[bytes, Tail] = {}
        self._readers: set[Reader] = set()
        self._heartbeats = Heartbeats(settings.relay.heartbeat_seconds)
        self._rights = AuthorizationChecks()
        self.ended: Counter[str] = Counter()
        self._subscription = Subscription(redis, self._receive, self._check_all)
        self._repairer = Repairer(redis, self._subscription, expired)
        self.feeds = Feeds(redis, self._subscription)
        self._listener: gevent.Greenlet[..., None] | None = None
        self._rounds: list[gevent.Greenlet[..., None]] = []
        self._is_draining = False

    @property
    def reader_count(self) -> int:
        """How many readers follow just now."""
        return len(self._readers)

    def has_room(self, places: int = 1) -> bool:
        """Tell whether there is room for so many more readers."""
        return len(self._readers) + places <= self.settings.relay.max_readers

    def watched(self) -> list[str]:
        """Return the generations that are cancelled when nobody watches, and that somebody watches just now."""
        return [tail.generation for tail in self._tails.values() if tail.cancels_unwatched and tail.readers]

    def start(self) -> None:
        """Connect to Redis and begin the rounds; once, however often it is called."""
        if self._listener is None:
            self._listener = gevent.spawn(self._subscription.run)
            self._rounds = [gevent.spawn(each) for each in (self._heartbeats.run, self._rights.run, self._sweep)]

    def stop(self) -> None:
        """End the rounds and the connection to Redis, within a second; who still follows hears no more."""
        gevent.killall(self._rounds)
        self._subscription.stop()
        if self._listener is not None:
            self._listener.join(_STOP_SECONDS)  # killed while it connects, it would leave its socket open
            self._listener.kill()
        self._listener, self._rounds = None, []

    def follow(self, reader: Reader, *, cancels_unwatched: bool, right: Authorization | None = None) -> None:
        """Let a reader follow its generation from its cursor, for as long as its right holds; returns at once."""
        self.start()
        tail = self._tails.get(reader.generation) or self._open(reader.generation)
        tail.cancels_unwatched = cancels_unwatched
        self._readers.add(reader)
        self._heartbeats.add(reader)
        self._rights.hold(right, reader)
        tail.add(reader)
        if self._is_draining:
            reader.finish("drained")

    def carry(self, trunk: Reader, right: Authorization | None = None) -> None:
        """Look after a connection that carries other readers' streams, until it is dropped."""
        self.start()
        self._readers.add(trunk)
        self._heartbeats.add(trunk)
        self._rights.hold(right, trunk)
        if self._is_draining:
            trunk.finish("drained")

    def drop(self, trunk: Reader) -> None:
        """Forget a connection that was carried."""
        self._left(trunk)

    def entries(self, generation: str, after: Cursor, seconds: float) -> Iterator[LogEntry]:
        """Yield the entries after the cursor, in order and without a hole, until `done` or until the time is over.

        A snapshot that the relay makes may come first or between. Raises RedisUnavailable at the call only.
        """
        state = read_state(self._redis, generation)
        reader = PullReader(generation, after)
        self.follow(reader, cancels_unwatched=state is not None and state.on_disconnect == "cancel")
        return _pull(reader, time.monotonic() + seconds)

    def drain(self, seconds: float, notify: Callable[[], None]) -> None:
        """End all streams cleanly, spread over the time, each with a jittered `retry:`; returns when all are gone.

        Calls `notify` meanwhile, some times a second; those left when the time is over are cut.
        """
        self._is_draining = True
        drain(self._readers, seconds, notify)

    def _open(self, generation: str) -> Tail:
        tail = Tail(generation, channel_of(generation), self._repairer.wake, self._left)
        self._tails[generation] = self._channels[tail.channel] = tail
        self._subscription.subscribe(tail.channel)
        return tail

    def _forget(self, tail: Tail) -> None:
        if self._tails.get(tail.generation) is tail:
            del self._tails[tail.generation], self._channels[tail.channel]
            self._subscription.unsubscribe(tail.channel)

    def _left(self, reader: Reader) -> None:
        if reader not in self._readers:
            return
        self._readers.discard(reader)
        self._heartbeats.discard(reader)
        self.ended[reader.ended_because or "error"] += 1
        _log.info(
            "stream_ended",
            generation=reader.generation,
            last=str(reader.cursor),
            seconds=round(time.monotonic() - reader.started, 3),
            why=reader.ended_because,
        )

    def _receive(self, messages: Messages) -> None:
        touched: dict[Tail, None] = {}
        missing: dict[Tail, None] = {}
        for _, channel, message in messages:
            tail = self._channels.get(channel)
            if tail is None:
                self.feeds.hear(channel)
            else:
                (touched if tail.receive(message) else missing)[tail] = None
        for tail in touched:
            tail.flush()
        for tail in missing:
            self._repairer.wake(tail)

    def _check_all(self) -> None:
        """Compare every tail with its log: what was published while there was no connection is missed."""
        gevent.spawn(self._check, [tail for tail in self._tails.values() if not tail.is_done])
        self.feeds.wake_all()

    def _sweep(self) -> None:
        while True:
            gevent.sleep(_SWEEP_SECONDS)
            try:
                self._look_after(time.monotonic())
            except Exception:  # noqa: BLE001 - the edge of the process: without its sweep a lost message is lost for good
                _log.exception("relay_sweep_failed")

    def _look_after(self, now: float) -> None:
        cut_stalled(self._readers, now - self.settings.relay.reader_stall_seconds)
        self._retire(now)
        self.feeds.sweep(now)
        silent_since = now - _SILENT_SECONDS
        self._check(
            [
                tail
                for tail in self._tails.values()
                if tail.readers and max(tail.heard_at, tail.checked_at) < silent_since
            ]
        )

    def _retire(self, now: float) -> None:
        idle = sorted((tail for tail in self._tails.values() if not tail.readers), key=lambda tail: tail.idle_since)
        for number, tail in enumerate(idle):
            if tail.idle_since < now - _KEEP_SECONDS or number < len(idle) - _KEPT_TAILS:
                self._forget(tail)

    def _check(self, tails: list[Tail]) -> None:
        if not tails:
            return
        try:
            states = read_states(self._redis, [tail.generation for tail in tails])
        except RedisUnavailable as away:
            _log.info("tails_not_checked", error=away)
            return
        now = time.monotonic()
        for tail, state in zip(tails, states, strict=True):
            tail.checked_at = now
            self._compare(tail, state, now)
            self._repairer.wake(tail)

    def _compare(self, tail: Tail, state: GenerationState | None, now: float) -> None:
        if state is None:
            tail.absent_since = tail.absent_since or now
            if now - tail.absent_since > LOST_SECONDS:
                _log.error("state_lost", generation=tail.generation)
                tail.lose()
        elif tail.last is not None and state.top != tail.last:
            tail.is_stale = True
        elif tail.last is not None:
            tail.absent_since = None
            if state.is_done:
                tail.end()
        if tail.is_lost:
            self._forget(tail)  # readers who come later are none of its


def _pull(reader: PullReader, deadline: float) -> Iterator[LogEntry]:
    try:
        while not reader.is_over and (left := deadline - time.monotonic()) > 0:
            yield from map(entry_in, reader.pull(left))
    finally:
        reader.close("client_left")
