"""A TCP proxy that cuts connections after a number of bytes sent to the client, or after some text."""

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.valkey import free_port

Limit = Callable[[int], int | bytes | None]
_STREAM_BEGINS = re.compile(rb"content-type: text/event-stream.*?\r\n\r\n", re.IGNORECASE | re.DOTALL)
_LACKS_BLANK_LINE = re.compile(rb"\nid: [^\n]+\n\Z")
_RETRY = re.compile(rb"(?<=retry: )[0-9]+")


@dataclass(frozen=True, kw_only=True)
class Weather:
    """How a proxy spoils connections; by default it only cuts them."""

    only_streams: bool = False
    """Cut only event streams: `limit` gets their number, and counts from the end of their headers."""
    is_silent: bool = False
    """Send nothing more instead of closing the connection, as a network that has lost it."""
    is_half_plain: bool = False
    """Ask the server in HTTP/1.0 on every second connection, as nginx does: a body that is cut then looks whole."""
    spares_blank_lines: bool = False
    """Cut a byte earlier where a frame has all but its blank line."""
    has_short_retry: bool = False
    """Make each `retry:` a millisecond, so that clients reconnect at once."""


CLEAR = Weather()


class CuttingProxy:
    """Forwards to `url`; `limit(n)` says after how many bytes to the client the n-th connection is cut.

    Bytes instead of a number: it is cut where these have been sent. None: it is not cut.
    """

    def __init__(self, url: str, limit: Limit, weather: Weather = CLEAR) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 0)
        self._limit = limit
        self._weather = weather
        self._listener = socket.create_server(("127.0.0.1", free_port()))
        self._silent: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.streams = 0
        self.cut = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._listener, *self._silent):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            limit = None if self._weather.only_streams else self._limit(self.connections)
            self.connections += 1
            try:
                server = socket.create_connection(self._target)
            except OSError:  # the server is not there: the client's connection ends without a word
                _close(client)
                continue
            is_plain = self._weather.is_half_plain and self.connections % 2 == 0
            threading.Thread(target=self._up, args=(client, server, is_plain), daemon=True).start()
            threading.Thread(target=self._down, args=(client, server, limit), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket, is_plain: bool) -> None:
        with suppress(OSError):
            while part := client.recv(65536):
                server.sendall(part.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n") if is_plain else part)
        _close(server)

    def _down(self, client: socket.socket, server: socket.socket, limit: int | bytes | None) -> None:
        sent, begin = b"", 0
        is_counted = not self._weather.only_streams
        with suppress(OSError):
            while part := server.recv(65536):
                received = sent + self._changed(part)
                if not is_counted and (found := _STREAM_BEGINS.search(received)):
                    is_counted, begin, limit = True, found.end(), self._limit(self.streams)
                    self.streams += 1
                end = self._end(received, begin, limit)
                client.sendall(received[len(sent) : end])
                if end is not None:
                    self.cut += 1
                    if self._weather.is_silent:
                        self._silent += client, server
                        return
                    break
                sent = received
        _close(client)
        _close(server)

    def _changed(self, part: bytes) -> bytes:
        if not self._weather.has_short_retry:
            return part
        return _RETRY.sub(lambda found: b"1".rjust(len(found[0]), b"0"), part)

    def _end(self, received: bytes, begin: int, limit: int | bytes | None) -> int | None:
        """Return the number of bytes after which the connection is cut; None if these are not too many."""
        if isinstance(limit, bytes):
            found = received.find(limit, begin)
            return None if found < 0 else found + len(limit)
        if limit is None or len(received) < begin + limit:
            return None
        end = begin + limit
        return end - 1 if self._weather.spares_blank_lines and _LACKS_BLANK_LINE.search(received[:end]) else end


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
