"""All the streams of one web process: which readers follow which log, from their first frame to their last."""

import time
from collections import Counter
from collections.abc import Callable, Iterator

from millrace.webapp.guard.auth.protocol import Authorization
from millrace.webapp.guard.client import Client
from millrace.webapp.relay.authorization import AuthorizationChecks
from millrace.webapp.relay.compression import Pieces
from millrace.webapp.relay.counts import RelayCounts
from millrace.webapp.relay.feeds import Feeds
from millrace.webapp.relay.heartbeats import Heartbeats, cut_stalled, drain
from millrace.webapp.relay.node_relay import NodeRelay
from millrace.webapp.relay.places import ReaderPlaces, ReceivedBytes, WaitingPlaces
from millrace.webapp.relay.reader import PullReader, Reader
from millrace.worker.background_task import BackgroundTask, PeriodicTask
from millrace.worker.contract.ids import START, Cursor
from millrace.worker.contract.log import LogEntry
from millrace.worker.contract.redis.streams import CONTROL, StreamNode, Streams
from millrace.worker.contract.state import read_state
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.schema import Settings

_SWEEP_SECONDS = 1.0

_log = get_logger(__name__)


def _nothing_stored(_: str) -> list[LogEntry]:
    return []


def _nothing_to_do() -> None:
    pass


class Hub:
    """Follows logs for the readers of this process. One per process, constructed after the fork, without I/O.

    `read_stored` returns the entries of a stored answer for a generation whose log has expired, or that Redis has
    lost. Its readers get the entries after their cursor, or, if there are none, `error stream_lost`. It may raise
    DatabaseUnavailable.
    """

    def __init__(
        self, streams: Streams, settings: Settings, read_stored: Callable[[str], list[LogEntry]] = _nothing_stored
    ) -> None:
        self.settings = settings
        self.ended: Counter[str] = Counter()
        self.counts = RelayCounts()
        self._streams = streams
        self.places = ReaderPlaces(settings)
        self.waiting = WaitingPlaces(settings)
        self.received = ReceivedBytes(settings.limits.max_unsent_bytes)
        self.pieces = Pieces()
        self._readers: set[Reader] = set()
        self._heartbeats = Heartbeats(settings.relay.heartbeat_seconds)
        self._authorization_checks = AuthorizationChecks()
        self._relays = {node.name: self._make_relay(node, read_stored) for node in streams.nodes}
        self.feeds = Feeds(streams.control, self._relays[CONTROL].subscription)
        self._tasks: list[BackgroundTask] = [
            *(task for relay in self._relays.values() for task in relay.tasks),
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

    @property
    def lagging_count(self) -> int:
        """The number of readers whose events are read from the log, because they are behind the buffer."""
        return sum(len(tail.lagging) for relay in self._relays.values() for tail in relay.tails.values())

    @property
    def full_count(self) -> int:
        """The number of readers that accept nothing for now."""
        return sum(reader.is_full for reader in self._readers)

    @property
    def followed_count(self) -> int:
        """The number of generations that have readers here."""
        return sum(bool(tail.readers) for relay in self._relays.values() for tail in relay.tails.values())

    def watched(self, node: str = CONTROL) -> list[str]:
        """Return a node's generations that have readers here and are cancelled once no process has any."""
        tails = self._relays[node].tails.values()
        return [tail.generation for tail in tails if tail.cancels_unwatched and tail.readers]

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
        tail = self._relays[self._streams.node_of(reader.generation).name].tail_of(reader.generation)
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
        state = read_state(self._streams, generation)
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

    def _make_relay(self, node: StreamNode, read_stored: Callable[[str], list[LogEntry]]) -> NodeRelay:
        return NodeRelay(
            node,
            self._streams,
            read_stored,
            self._remove,
            on_other=self._notify_feed,
            on_confirmed=self._request_feeds if node.name == CONTROL else _nothing_to_do,
            counts=self.counts,
        )

    def _notify_feed(self, channel: bytes) -> None:
        self.feeds.notify(channel)  # only the control Redis has feeds

    def _request_feeds(self) -> None:
        self.feeds.request_all()

    def _register(self, reader: Reader, authorization: Authorization | None, client: Client | None) -> None:
        self.start()
        reader.client = client
        self._readers.add(reader)
        if reader.has_place:
            self.places.take(reader.client)
            if reader.cursor == START:
                self.counts.new_readers += 1
            else:
                self.counts.resumed_readers += 1
        self._heartbeats.add(reader)
        self._authorization_checks.add(authorization, reader)

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

    def _sweep(self) -> None:
        now = time.monotonic()
        cut_stalled(self._readers, now - self.settings.relay.reader_stall_seconds)
        for relay in self._relays.values():
            relay.forget_idle(now)
        self.feeds.sweep(now)


def _pull(reader: PullReader, deadline: float) -> Iterator[LogEntry]:
    try:
        while not reader.is_over and (remaining := deadline - time.monotonic()) > 0:
            for frame in reader.pull(remaining):
                yield frame.entry
    finally:
        reader.close("client_left")
