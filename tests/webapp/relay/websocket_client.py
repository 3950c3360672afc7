"""A client of a WebSocket on a pair of sockets, without a handshake; the other end is for a `WebSocketReader`."""

import _socket
import json
import socket
from collections import deque
from types import TracebackType
from typing import Any, Self

import gevent
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Event, Message, Ping, Pong, TextMessage

Json = dict[str, Any]


class PairedClient:
    """The client's end; `server_socket` is the other one. It reads only where a test asks for something."""

    def __init__(self) -> None:
        server, self.socket = socket.socketpair()
        self.server_socket = _socket.socket(fileno=server.detach())
        self.server_socket.setblocking(False)
        self.socket.settimeout(30)
        self.protocol = Connection(ConnectionType.CLIENT)
        self.pings = 0
        self._messages: deque[str] = deque()
        self._text = ""
        self._close: CloseConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, event: Event) -> None:
        """Send one frame."""
        self.socket.sendall(self.protocol.send(event))

    def say(self, message: Json | str, **parts: Any) -> None:
        """Send a text message, or a part of one."""
        self.send(TextMessage(message if isinstance(message, str) else json.dumps(message), **parts))

    def receive(self) -> Json:
        """Return the next message that is no heartbeat."""
        while True:
            while not self._messages:
                assert self._read(), "the socket is closed"
            message = json.loads(self._messages.popleft())
            if message != {"type": "ping"}:
                return message

    def receive_until(self, kind: str) -> list[Json]:
        """Return the messages up to the first of this type."""
        found = [self.receive()]
        while found[-1]["type"] != kind:
            found.append(self.receive())
        return found

    def wait_for_ping(self) -> None:
        """Read until a ping frame comes."""
        seen = self.pings
        while self.pings == seen:
            assert self._read(), "the socket is closed"

    def wait_for_close(self, *, answers: bool = True) -> tuple[int, str]:
        """Read up to the close frame, answer it, and read up to the end; return its code and reason."""
        while self._close is None:
            assert self._read(), "the socket is closed without a close frame"
        if answers and self.protocol.state is ConnectionState.REMOTE_CLOSING:
            self.send(self._close.response())
        while answers and self._read():
            pass
        return int(self._close.code), self._close.reason or ""

    def is_at_end(self) -> bool:
        """Read on, and return whether the server has closed the socket."""
        while self._read():
            pass
        return True

    def _read(self) -> bool:
        with gevent.Timeout(10, AssertionError("nothing came")):
            try:
                received = self.socket.recv(64 * 1024)
            except ConnectionResetError:
                return False
        if not received:
            return False
        if self.protocol.state is ConnectionState.CLOSED:
            return True
        self.protocol.receive_data(received)
        for event in self.protocol.events():
            self._take(event)
        return True

    def _take(self, event: Event) -> None:
        match event:
            case TextMessage():
                self._text += event.data
                if event.message_finished:
                    self._messages.append(self._text)
                    self._text = ""
            case Ping():
                self.pings += 1
            case Pong():
                self._messages.append(json.dumps({"type": "pong frame", "payload": bytes(event.payload).decode()}))
            case CloseConnection():
                self._close = event
            case Message() | Event():
                raise AssertionError(event)
            case _:
                raise AssertionError(event)
