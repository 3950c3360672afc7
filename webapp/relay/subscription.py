"""The one pub/sub connection of a process: counted channels, confirmed subscriptions, everything read in bulk.

Speaks whichever protocol the client is set to, RESP3 by default: `hiredis` gives a RESP3 push as a list of the same
three parts as RESP2's array, so only the PING's answer differs, and that one need not be looked at.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import gevent
import hiredis
from gevent.event import Event
from redis.exceptions import RedisError

from millrace.webapp.relay.bulk_reader import BulkReader
from millrace.worker.contract.connection import Redis
from millrace.worker.observability.logs import get_logger

PING_SECONDS = 5.0
_SILENT_SECONDS = PING_SECONDS + 3.0  # no answer to a PING by then: the connection is half open
_BACKOFF_SECONDS = 0.05, 1.0
_LOOK_SECONDS = 1.0  # how often a silence is looked for
_CHANNELS_AT_ONCE = 500
_CONFIRM_SECONDS = 2.0

_log = get_logger(__name__)

Messages = list[list[bytes]]  # each [b"message", channel, data]


class Subscription:
    """Keeps the process subscribed to its channels, whatever becomes of the connection.

    `on_messages` gets all that one `recv` brought; `on_confirmed` is called once all channels
    are confirmed on a new connection, because what was published in between is missed.
    """

    def __init__(self, redis: Redis, on_messages: Callable[[Messages], None], on_confirmed: Callable[[], None]) -> None:
        self._redis = redis
        self._on_messages = on_messages
        self._on_confirmed = on_confirmed
        self._users: Counter[bytes] = Counter()
        self._awaited: Counter[bytes] = Counter()  # confirmations still to come on this connection
        self._confirmed: dict[bytes, Event] = {}
        self._commands: list[tuple[bytes, bytes]] = []
        self._spoken = Event()
        self._is_connected = False
        self._is_catching_up = False
        self._is_stopping = False
        self._parser: Any = None
        self._ended: Exception | None = None

    def subscribe(self, channel: bytes) -> None:
        """Count one more user of the channel."""
        self._users[channel] += 1
        if self._users[channel] == 1:
            self._confirmed[channel] = Event()
            self._say(b"SUBSCRIBE", channel)

    def unsubscribe(self, channel: bytes) -> None:
        """Count one user less."""
        self._users[channel] -= 1
        if self._users[channel] <= 0:
            del self._users[channel]
            self._confirmed.pop(channel).set()
            self._say(b"UNSUBSCRIBE", channel)

    def confirm(self, channel: bytes) -> bool:
        """Wait, boundedly, until Redis has confirmed that we hear the channel; tell whether it has."""
        confirmed = self._confirmed.get(channel)
        return confirmed is not None and bool(confirmed.wait(_CONFIRM_SECONDS))

    def _say(self, verb: bytes, channel: bytes) -> None:
        if self._is_connected:
            if verb == b"SUBSCRIBE":
                self._awaited[channel] += 1
            self._commands.append((verb, channel))
            self._spoken.set()

    def stop(self) -> None:
        """Have `run` close its connection and return, after at most a pause between two connections."""
        self._is_stopping = True
        self._spoken.set()

    def run(self) -> None:
        """Connect, and stay connected, until `stop`."""
        wait, longest = _BACKOFF_SECONDS
        pool: Any = self._redis.connection_pool
        while not self._is_stopping:
            connection = pool.connection_class(**{**pool.connection_kwargs, "health_check_interval": 0})
            try:
                connection.connect()
                self._talk(connection, connection._sock)  # noqa: SLF001 - it reads one reply at a time; we read all
            except (RedisError, OSError, hiredis.ProtocolError) as error:
                _log.warning("pubsub_ended", error=error)
            except Exception:  # noqa: BLE001 - the edge of the process: a new connection is checked against the log
                _log.exception("pubsub_given_up")
            finally:
                was_heard = self._is_connected and not self._is_catching_up
                self._is_connected = False
                for confirmed in self._confirmed.values():
                    confirmed.clear()
                connection.disconnect()
            wait = _BACKOFF_SECONDS[0] if was_heard else min(2 * wait, longest)
            gevent.sleep(random.uniform(0.5, 1.0) * wait)

    def _talk(self, connection: Any, sock: Any) -> None:
        """Say what is to be said, and hear what comes, until the connection ends; raises why it did."""
        sock.settimeout(_SILENT_SECONDS)
        self._is_connected = self._is_catching_up = True
        self._awaited.clear()
        self._commands.clear()
        for channel in self._users:
            self._say(b"SUBSCRIBE", channel)
        self._parser = hiredis.Reader(notEnoughData=_MISSING)
        self._ended = None
        inlet = BulkReader(sock, self._take, self._end)
        try:
            self._caught_up()
            pinged_at = time.monotonic()
            while not self._is_stopping:
                self._spoken.wait(_LOOK_SECONDS)
                self._spoken.clear()
                now = time.monotonic()
                if self._ended is not None:
                    raise self._ended
                if now - inlet.read_at > _SILENT_SECONDS:
                    raise TimeoutError("Redis says nothing")
                commands, self._commands = _merge(self._commands), []
                if now - pinged_at > PING_SECONDS:
                    pinged_at = now
                    commands.append((b"PING",))
                for packed in connection.pack_commands(commands):
                    sock.sendall(packed)
        finally:
            inlet.stop()

    def _end(self, error: Exception) -> None:
        self._ended = error
        self._spoken.set()

    def _take(self, buffer: bytearray, count: int) -> None:
        parser, messages = self._parser, list[list[bytes]]()
        parser.feed(buffer, 0, count)
        while (reply := parser.gets()) is not _MISSING:
            if isinstance(reply, hiredis.ReplyError):
                raise ConnectionError(str(reply))
            kind = reply[0] if isinstance(reply, list) else b""
            if kind == b"message":
                messages.append(reply)
            elif kind == b"subscribe":
                self._heard_of(reply[1])
        if messages:
            self._on_messages(messages)
        self._caught_up()

    def _heard_of(self, channel: bytes) -> None:
        self._awaited[channel] -= 1
        if self._awaited[channel] <= 0:
            del self._awaited[channel]
            if channel in self._confirmed:
                self._confirmed[channel].set()

    def _caught_up(self) -> None:
        if self._is_catching_up and not self._awaited:
            self._is_catching_up = False
            self._on_confirmed()


def _merge(commands: list[tuple[bytes, bytes]]) -> list[tuple[bytes, ...]]:
    """Put channels of the same verb into one command, in order."""
    merged: list[list[bytes]] = []
    for verb, channel in commands:
        if not merged or merged[-1][0] != verb or len(merged[-1]) > _CHANNELS_AT_ONCE:
            merged.append([verb])
        merged[-1].append(channel)
    return [tuple(each) for each in merged]


_MISSING: Any = object()
