"""A TCP proxy that fails on command: it swallows data silently, cuts connections, or loses replies."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self


class TcpProxy:
    """Forwards 127.0.0.1:`port` to a target port; `edit` is applied to what the server sends."""

    def __init__(self, target: int, edit: Callable[[bytes], bytes] = lambda part: part) -> None:
        self._target = target
        self._edit = edit
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._half_open: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        self.swallowed = 0
        self.lost = 0
        self._to_lose = 0
        self.is_down = False  # whether new connections are closed at once

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self.cut()

    def swallow(self) -> None:
        """Make the open connections carry nothing from now on, while they stay open; new connections work."""
        self._half_open |= self._open

    def lose_replies(self, count: int) -> None:
        """Drop the next `count` reads from the server, each together with its connection."""
        self._to_lose += count

    def cut(self) -> None:
        """Close every connection."""
        for end in list(self._open):
            _close(end)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.is_down:
                _close(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:
                _close(client)
                continue
            server.settimeout(None)
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.add(each)
            for source, sink, edit in ((client, server, bytes), (server, client, self._edit)):
                threading.Thread(target=self._forward, args=(source, sink, edit), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket, edit: Callable[[bytes], bytes]) -> None:
        with suppress(OSError):
            while part := source.recv(1 << 16):
                if source in self._half_open:
                    self.swallowed += len(part)
                elif edit is not bytes and self._to_lose > 0:
                    self._to_lose -= 1
                    self.lost += 1
                    break
                else:
                    sink.sendall(edit(part))
        if source not in self._half_open:
            for end in (source, sink):
                self._open.discard(end)
                _close(end)


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
