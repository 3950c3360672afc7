"""The logs of one stream node that this process follows: their subscription, their repair, their comparison with Redis.

Each node has its own, so that one that does not answer delays no reader of another.
"""

import time
from collections.abc import Callable

import gevent

from millrace.webapp.relay.counts import RelayCounts
from millrace.webapp.relay.reader import Reader
from millrace.webapp.relay.repair import LOST_SECONDS, Repairer
from millrace.webapp.relay.subscription import Messages, Subscription
from millrace.webapp.relay.tail import Tail
from millrace.worker.background_task import BackgroundTask, PeriodicTask
from millrace.worker.contract.keys import channel_of
from millrace.worker.contract.log import LogEntry
from millrace.worker.contract.redis.streams import StreamNode, Streams
from millrace.worker.contract.state import GenerationState, read_states
from millrace.worker.errors import RedisUnavailable
from millrace.worker.observability.logs import get_logger

_CHECK_SECONDS = 1.0
_SILENT_SECONDS = 2.0  # a tail without deliveries for this long is compared with its log
_IDLE_TAIL_SECONDS = 30.0  # a tail is kept after its last reader leaves, because readers tend to reconnect
_MAX_IDLE_TAILS = 500

_log = get_logger(__name__)


class NodeRelay:
    """Opens and forgets tails, and keeps them in step with their logs. `tails` has them by their generations.

    `on_removed` is called after a reader has left. `on_other` gets the channel of each message that is no generation's,
    `on_confirmed` is called after each new connection, whose channels may have missed messages.
    """

    def __init__(
        self,
        node: StreamNode,
        streams: Streams,
        read_stored: Callable[[str], list[LogEntry]],
        on_removed: Callable[[Reader], None],
        *,
        on_other: Callable[[bytes], None],
        on_confirmed: Callable[[], None],
        counts: RelayCounts,
    ) -> None:
        self._node = node
        self._streams = streams
        self._counts = counts
        self._on_removed = on_removed
        self._on_other = on_other
        self._on_confirmed = on_confirmed
        self.tails: dict[str, Tail] = {}
        self._channels: dict[bytes, Tail] = {}
        self.subscription = Subscription(node.redis, self._receive, self._check_all)
        self._repairer = Repairer(streams, self.subscription, read_stored, counts)
        self.tasks: list[BackgroundTask] = [
            self.subscription,
            PeriodicTask("relay_check", _CHECK_SECONDS, self._check_silent),
        ]

    def tail_of(self, generation: str) -> Tail:
        """Return the tail of a generation on this node; a new one is subscribed to its channel."""
        return self.tails.get(generation) or self._open(generation)

    def forget_idle(self, now: float) -> None:
        """Forget the tails without readers, after a while or where there are too many of them."""
        idle = sorted((tail for tail in self.tails.values() if not tail.readers), key=lambda tail: tail.idle_since)
        for number, tail in enumerate(idle):
            if tail.idle_since < now - _IDLE_TAIL_SECONDS or number < len(idle) - _MAX_IDLE_TAILS:
                self._forget(tail)

    def _open(self, generation: str) -> Tail:
        tail = Tail(generation, channel_of(generation), self._repairer.request, self._on_removed, self._counts)
        self.tails[generation] = self._channels[tail.channel] = tail
        self.subscription.subscribe(tail.channel)
        return tail

    def _forget(self, tail: Tail) -> None:
        if self.tails.get(tail.generation) is tail:
            del self.tails[tail.generation], self._channels[tail.channel]
            self.subscription.unsubscribe(tail.channel)

    def _receive(self, messages: Messages) -> None:
        extended: dict[Tail, None] = {}
        behind: dict[Tail, None] = {}
        counts = self._counts
        for _, channel, message in messages:
            tail = self._channels.get(channel)
            if tail is None:
                self._on_other(channel)
            else:
                if tail.readers:
                    counts.watched_events += 1
                    counts.watched_bytes += len(message)
                else:
                    counts.unwatched_events += 1
                    counts.unwatched_bytes += len(message)
                (extended if tail.receive(message) else behind)[tail] = None
        for tail in extended:
            tail.flush()
        for tail in behind:
            self._repairer.request(tail)

    def _check_all(self) -> None:
        """Compare every tail with its log, because messages published without a connection are lost."""
        gevent.spawn(self._check, [tail for tail in self.tails.values() if not tail.is_done])
        self._on_confirmed()

    def _check_silent(self) -> None:
        if not self._node.is_whole:
            self._give_up([tail for tail in self.tails.values() if self._streams.is_lost(tail.generation)])
        silent_since = time.monotonic() - _SILENT_SECONDS
        self._check(
            [
                tail
                for tail in self.tails.values()
                if tail.readers
                and max(tail.delivered_at, tail.checked_at) < silent_since
                and self._streams.answers(tail.generation)
            ]
        )

    def _give_up(self, tails: list[Tail]) -> None:
        """Send the readers of a server that is lost what is stored, or an error; later ones are not followed here."""
        if tails:
            first = tails[0].generation
            _log.error("stream_node_lost", node=self._node.name, generations=len(tails), first=first)
        for tail in tails:
            tail.mark_lost()
            self._forget(tail)

    def _check(self, tails: list[Tail]) -> None:
        if not tails:
            return
        try:
            states = read_states(self._streams, [tail.generation for tail in tails])
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
