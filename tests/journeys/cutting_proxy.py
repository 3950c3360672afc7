"""A TCP proxy that cuts connections after a number of bytes sent to the client, or after some text."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.valkey import free_port


class CuttingProxy:
    """Forwards to `url`; `limit(n)` says after how many bytes to the client the n-th connection is cut.

    Bytes instead of a number: it is cut where these have been sent. None: it is not cut.
    """

    def __init__(self, url: str, limit: Callable[[int], int | bytes | None]) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 0)
        self._limit = limit
        self._listener = socket.create_server(("127.0.0.1", free_port()))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.cut = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            limit = self._limit(self.connections)
            self.connections += 1
            server = socket.create_connection(self._target)
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            threading.Thread(target=self._down, args=(client, server, limit), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while part := client.recv(65536):
                server.sendall(part)
        _close(server)

    def _down(self, client: socket.socket, server: socket.socket, limit: int | bytes | None) -> None:
        sent = b""
        with suppress(OSError):
            while part := server.recv(65536):
                end = _end(sent + part, limit)
                client.sendall(part if end is None else part[: end - len(sent)])
                sent += part
                if end is not None:
                    self.cut += 1
                    break
        _close(client)
        _close(server)


def _end(sent: bytes, limit: int | bytes | None) -> int | None:
    """Return the number of bytes after which the connection is cut; None if these are not too many."""
    if isinstance(limit, bytes):
        found = sent.find(limit)
        return None if found < 0 else found + len(limit)
    return limit if limit is not None and len(sent) >= limit else None


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
