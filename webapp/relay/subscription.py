"""The one pub/sub connection of a process: counted channels, confirmed subscriptions, everything read in bulk.

Works with whichever protocol the client is set to, RESP3 by default: `hiredis` returns a RESP3 push as a list of the
same three parts as RESP2's array, so only the PING's answer differs, and nothing looks at that one.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import hiredis
from gevent.event import Event
from redis.exceptions import RedisError

from millrace.webapp.relay.bulk_reader import BulkReader
from millrace.worker.background_task import BackgroundTask
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.connection_pool import is_current
from millrace.worker.contract.redis.named_client import describe, label_of, note_server
from millrace.worker.observability.logs import get_logger

PING_SECONDS = 5.0
_SILENT_SECONDS = PING_SECONDS + 3.0  # no answer to a PING by then: the connection is half open
_BACKOFF_SECONDS = 0.05, 1.0
_SILENCE_CHECK_SECONDS = 1.0
_MAX_CHANNELS_PER_COMMAND = 500
_CONFIRM_SECONDS = 2.0

_log = get_logger(__name__)

Messages = list[list[bytes]]  # each [b"message", channel, data]


class Subscription(BackgroundTask):
    """Keeps the process subscribed to its channels, and reconnects whenever the connection is lost.

    `on_messages` gets all messages that one `recv` returned. `on_confirmed` is called once all channels are confirmed
    on a new connection, because messages published in between are lost.
    """

    def __init__(self, redis: Redis, on_messages: Callable[[Messages], None], on_confirmed: Callable[[], None]) -> None:
        super().__init__()
        self._redis = redis
        self._on_messages = on_messages
        self._on_confirmed = on_confirmed
        self._users: Counter[bytes] = Counter()
        self._unconfirmed: Counter[bytes] = Counter()  # confirmations still to come on this connection
        self._confirmed: dict[bytes, Event] = {}
        self._commands: list[tuple[bytes, bytes]] = []
        self._wakeup = Event()
        self._is_connected = False
        self._is_catching_up = False
        self._parser: Any = None
        self._error: Exception | None = None

    def subscribe(self, channel: bytes) -> None:
        """Count one more user of the channel."""
        self._users[channel] += 1
        if self._users[channel] == 1:
            self._confirmed[channel] = Event()
            self._send(b"SUBSCRIBE", channel)

    def unsubscribe(self, channel: bytes) -> None:
        """Count one user of the channel less."""
        self._users[channel] -= 1
        if self._users[channel] <= 0:
            del self._users[channel]
            self._confirmed.pop(channel).set()
            self._send(b"UNSUBSCRIBE", channel)

    def confirm(self, channel: bytes) -> bool:
        """Wait, for at most 2 s, until Redis has confirmed the subscription to the channel; return whether it has."""
        confirmed = self._confirmed.get(channel)
        return confirmed is not None and bool(confirmed.wait(_CONFIRM_SECONDS))

    def stop(self) -> None:
        """End within a second. A greenlet killed while it connects leaves its socket open, so it is joined first."""
        self._wakeup.set()
        super().stop()

    def _send(self, verb: bytes, channel: bytes) -> None:
        if self._is_connected:
            if verb == b"SUBSCRIBE":
                self._unconfirmed[channel] += 1
            self._commands.append((verb, channel))
            self._wakeup.set()

    def _run(self) -> None:
        wait, longest = _BACKOFF_SECONDS
        pool: Any = self._redis.connection_pool
        while not self._stopping.is_set():
            connection = pool.connection_class(**{**pool.connection_kwargs, "health_check_interval": 0})
            try:
                connection.connect()
                self._serve(connection, connection._sock)  # noqa: SLF001 - redis-py reads one reply at a time
            except (RedisError, OSError, hiredis.ProtocolError) as error:
                note_server(error, label_of(self._redis))
                _log.warning("pubsub_connection_lost", error=describe(error))
            except Exception:  # noqa: BLE001 - the edge of the process: a new connection is checked against the log
                _log.exception("pubsub_connection_failed")
            finally:
                was_confirmed = self._is_connected and not self._is_catching_up
                self._is_connected = False
                for confirmed in self._confirmed.values():
                    confirmed.clear()
                connection.disconnect()
            wait = _BACKOFF_SECONDS[0] if was_confirmed else min(2 * wait, longest)
            self._stopping.wait(random.uniform(0.5, 1.0) * wait)

    def _serve(self, connection: Any, sock: Any) -> None:
        """Send commands and receive messages until `stop` or the end of the connection; raises the reason for it."""
        sock.settimeout(_SILENT_SECONDS)
        self._is_connected = self._is_catching_up = True
        self._unconfirmed.clear()
        self._commands.clear()
        for channel in self._users:
            self._send(b"SUBSCRIBE", channel)
        self._parser = hiredis.Reader(notEnoughData=_MISSING)
        self._error = None
        bulk_reader = BulkReader(sock, self._on_data, self._on_end)
        try:
            self._report_when_caught_up()
            pinged_at = time.monotonic()
            while not self._stopping.is_set():
                self._wakeup.wait(_SILENCE_CHECK_SECONDS)
                self._wakeup.clear()
                now = time.monotonic()
                if self._error is not None:
                    raise self._error
                if not is_current(self._redis.connection_pool, connection):
                    raise ConnectionError("another server is the master now")
                if now - bulk_reader.read_at > _SILENT_SECONDS:
                    raise TimeoutError(f"Redis has sent nothing for {_SILENT_SECONDS:.0f} s")
                commands, self._commands = _merge(self._commands), []
                if now - pinged_at > PING_SECONDS:
                    pinged_at = now
                    commands.append((b"PING",))
                for packed in connection.pack_commands(commands):
                    sock.sendall(packed)
        finally:
            bulk_reader.stop()

    def _on_end(self, error: Exception) -> None:
        self._error = error
        self._wakeup.set()

    def _on_data(self, buffer: bytearray, count: int) -> None:
        parser, messages = self._parser, list[list[bytes]]()
        parser.feed(buffer, 0, count)
        while (reply := parser.gets()) is not _MISSING:
            if isinstance(reply, hiredis.ReplyError):
                raise ConnectionError(str(reply))
            kind = reply[0] if isinstance(reply, list) else b""
            if kind == b"message":
                messages.append(reply)
            elif kind == b"subscribe":
                self._confirm_channel(reply[1])
        if messages:
            self._on_messages(messages)
        self._report_when_caught_up()

    def _confirm_channel(self, channel: bytes) -> None:
        self._unconfirmed[channel] -= 1
        if self._unconfirmed[channel] <= 0:
            del self._unconfirmed[channel]
            if channel in self._confirmed:
                self._confirmed[channel].set()

    def _report_when_caught_up(self) -> None:
        if self._is_catching_up and not self._unconfirmed:
            self._is_catching_up = False
            self._on_confirmed()


def _merge(commands: list[tuple[bytes, bytes]]) -> list[tuple[bytes, ...]]:
    """Merge the channels of consecutive commands with the same verb into one command, in order."""
    merged: list[list[bytes]] = []
    for verb, channel in commands:
        if not merged or merged[-1][0] != verb or len(merged[-1]) > _MAX_CHANNELS_PER_COMMAND:
            merged.append([verb])
        merged[-1].append(channel)
    return [tuple(each) for each in merged]


_MISSING: Any = object()
