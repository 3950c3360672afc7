"""All the streams of one web process: which readers follow which log, from their first frame to their last."""

import time
from collections import Counter
from collections.abc import Callable, Iterator

import gevent

from millrace.webapp.guard.auth.protocol import Authorization
from millrace.webapp.guard.client import Client
from millrace.webapp.relay.authorization import AuthorizationChecks
from millrace.webapp.relay.compression import Pieces
from millrace.webapp.relay.feeds import Feeds
from millrace.webapp.relay.heartbeats import Heartbeats, cut_stalled, drain
from millrace.webapp.relay.places import ReaderPlaces, ReceivedBytes, WaitingPlaces
from millrace.webapp.relay.reader import PullReader, Reader
from millrace.webapp.relay.repair import LOST_SECONDS, Repairer
from millrace.webapp.relay.subscription import Messages, Subscription
from millrace.webapp.relay.tail import Tail
from millrace.worker.background_task import BackgroundTask, PeriodicTask
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.keys import channel_of
from millrace.worker.contract.log import LogEntry
from millrace.worker.contract.state import GenerationState, read_state, read_states
from millrace.worker.errors import RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.schema import Settings

_SWEEP_SECONDS = 1.0
_SILENT_SECONDS = 2.0  # a tail without deliveries for this long is compared with its log
_IDLE_TAIL_SECONDS = 30.0  # a tail is kept after its last reader leaves, because readers tend to reconnect
_MAX_IDLE_TAILS = 500

_log = get_logger(__name__)


def _nothing_stored(_: str) -> list[LogEntry]:
    return []


class Hub:
    """Follows logs for the readers of this process. One per process, constructed after the fork, without I/O.

    `read_stored` returns the entries of a stored answer for a generation whose log has expired, or that Redis has
    lost. Its readers get the entries after their cursor, or, if there are none, `error stream_lost`. It may raise
    DatabaseUnavailable.
    """

    def __init__(
        self, redis: Redis, settings: Settings, read_stored: Callable[[str], list[LogEntry]] = _nothing_stored
    ) -> None:
        self.settings = settings
        self.ended: Counter[str] = Counter()
        self._redis = redis
        self._tails: dict[str, Tail] = {}
        self._channels: dict[bytes, Tail] = {}
        self.places = ReaderPlaces(settings)
        self.waiting = WaitingPlaces(settings)
        self.received = ReceivedBytes(settings.limits.max_unsent_bytes)
        self.pieces = Pieces()
        self._readers: set[Reader] = set()
        self._heartbeats = Heartbeats(settings.relay.heartbeat_seconds)
        self._authorization_checks = AuthorizationChecks()
        self._subscription = Subscription(redis, self._receive, self._check_all)
        self._repairer = Repairer(redis, self._subscription, read_stored)
        self.feeds = Feeds(redis, self._subscription)
        self._tasks: list[BackgroundTask] = [
            self._subscription,
            self._heartbeats,
            self._authorization_checks,
            PeriodicTask("relay_sweep", _SWEEP_SECONDS, self._sweep),
        ]
        self._is_started = False
        self._is_draining = False

    @property
    def reader_count(self) -> int:
        """The number of open readers."""
        return len(self._readers)

    def watched(self) -> list[str]:
        """Return the generations that have readers in this process and are cancelled once no process has any."""
        return [tail.generation for tail in self._tails.values() if tail.cancels_unwatched and tail.readers]

    def start(self) -> None:
        """Connect to Redis and start the background tasks; further calls do nothing."""
        if not self._is_started:
            self._is_started = True
            for task in self._tasks:
                task.start()

    def stop(self) -> None:
        """Stop the background tasks and close the connection to Redis; the remaining readers receive nothing more."""
        for task in reversed(self._tasks):
            task.stop()

    def follow(
        self,
        reader: Reader,
        *,
        cancels_unwatched: bool,
        authorization: Authorization | None = None,
        client: Client | None = None,
    ) -> None:
        """Let a reader follow its generation from its cursor, while its authorization is valid; returns at once.

        The reader holds a place, one of the client's if there is a client.
        """
        tail = self._tails.get(reader.generation) or self._open(reader.generation)
        tail.cancels_unwatched = cancels_unwatched
        self._register(reader, authorization, client)
        tail.add(reader)
        if self._is_draining:
            reader.finish("drained")

    def add_connection(
        self, connection: Reader, authorization: Authorization | None = None, client: Client | None = None
    ) -> None:
        """Register a connection that carries the streams of other readers, until it is removed."""
        self._register(connection, authorization, client)
        if self._is_draining:
            connection.finish("drained")

    def remove_connection(self, connection: Reader) -> None:
        """Forget a connection that carried the streams of other readers."""
        self._remove(connection)

    def entries(self, generation: str, after: Cursor, seconds: float) -> Iterator[LogEntry]:
        """Yield the entries after the cursor, in order and without gaps, until `done` or for this many seconds.

        The relay may insert a snapshot at any point. Raises RedisUnavailable when called, never during iteration.
        """
        state = read_state(self._redis, generation)
        reader = PullReader(generation, after)
        reader.has_place = False  # it holds one of a waiting request
        self.follow(reader, cancels_unwatched=state is not None and state.on_disconnect == "cancel")
        return _pull(reader, time.monotonic() + seconds)

    def drain(self, seconds: float, notify: Callable[[], None]) -> None:
        """End all streams cleanly, spread over `seconds`, each with a jittered `retry:`; returns when all have ended.

        Calls `notify` several times a second meanwhile. Closes the readers that are left when the time is over.
        """
        self._is_draining = True
        drain(self._readers, seconds, notify)

    def _register(self, reader: Reader, authorization: Authorization | None, client: Client | None) -> None:
        self.start()
        reader.client = client
        self._readers.add(reader)
        if reader.has_place:
            self.places.take(reader.client)
        self._heartbeats.add(reader)
        self._authorization_checks.add(authorization, reader)

    def _open(self, generation: str) -> Tail:
        tail = Tail(generation, channel_of(generation), self._repairer.request, self._remove)
        self._tails[generation] = self._channels[tail.channel] = tail
        self._subscription.subscribe(tail.channel)
        return tail

    def _forget(self, tail: Tail) -> None:
        if self._tails.get(tail.generation) is tail:
            del self._tails[tail.generation], self._channels[tail.channel]
            self._subscription.unsubscribe(tail.channel)

    def _remove(self, reader: Reader) -> None:
        if reader not in self._readers:
            return
        self._readers.discard(reader)
        self._heartbeats.discard(reader)
        if not reader.has_place:
            return  # it is not a client's stream
        self.places.release(reader.client)
        self.ended[reader.end_reason or "error"] += 1
        _log.info(
            "stream_ended",
            generation=reader.generation,
            last=str(reader.cursor),
            seconds=round(time.monotonic() - reader.started_at, 3),
            why=reader.end_reason,
        )

    def _receive(self, messages: Messages) -> None:
        extended: dict[Tail, None] = {}
        behind: dict[Tail, None] = {}
        for _, channel, message in messages:
            tail = self._channels.get(channel)
            if tail is None:
                self.feeds.notify(channel)
            else:
                (extended if tail.receive(message) else behind)[tail] = None
        for tail in extended:
            tail.flush()
        for tail in behind:
            self._repairer.request(tail)

    def _check_all(self) -> None:
        """Compare every tail with its log, because messages published without a connection are lost."""
        gevent.spawn(self._check, [tail for tail in self._tails.values() if not tail.is_done])
        self.feeds.request_all()

    def _sweep(self) -> None:
        now = time.monotonic()
        cut_stalled(self._readers, now - self.settings.relay.reader_stall_seconds)
        self._forget_idle_tails(now)
        self.feeds.sweep(now)
        silent_since = now - _SILENT_SECONDS
        self._check(
            [
                tail
                for tail in self._tails.values()
                if tail.readers and max(tail.delivered_at, tail.checked_at) < silent_since
            ]
        )

    def _forget_idle_tails(self, now: float) -> None:
        idle = sorted((tail for tail in self._tails.values() if not tail.readers), key=lambda tail: tail.idle_since)
        for number, tail in enumerate(idle):
            if tail.idle_since < now - _IDLE_TAIL_SECONDS or number < len(idle) - _MAX_IDLE_TAILS:
                self._forget(tail)

    def _check(self, tails: list[Tail]) -> None:
        if not tails:
            return
        try:
            states = read_states(self._redis, [tail.generation for tail in tails])
        except RedisUnavailable as error:
            _log.info("tail_check_failed", error=error)
            return
        now = time.monotonic()
        for tail, state in zip(tails, states, strict=True):
            tail.checked_at = now
            self._compare(tail, state, now)
            self._repairer.request(tail)

    def _compare(self, tail: Tail, state: GenerationState | None, now: float) -> None:
        if state is None:
            tail.missing_since = tail.missing_since or now
            if now - tail.missing_since > LOST_SECONDS:
                _log.error("state_lost", generation=tail.generation)
                tail.mark_lost()
        elif tail.last is not None and state.top != tail.last:
            tail.is_stale = True
        elif tail.last is not None:
            tail.missing_since = None
            if state.is_done:
                tail.mark_done()
        if tail.is_lost:
            self._forget(tail)  # later readers get a tail of their own


def _pull(reader: PullReader, deadline: float) -> Iterator[LogEntry]:
    try:
        while not reader.is_over and (remaining := deadline - time.monotonic()) > 0:
            for frame in reader.pull(remaining):
                yield frame.entry
    finally:
        reader.close("client_left")
