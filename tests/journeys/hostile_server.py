"""A server that gives each connection the next of its answers, however broken."""

import secrets
import socket
import time
from collections.abc import Callable
from threading import Thread
from typing import Self
from urllib.parse import parse_qs, urlsplit

STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n: opening\nretry: 1\n\n"
PING = b'event: ping\ndata: {"type":"ping"}\n\n'


class HostileServer:
    """Gives each connection the next of its answers, and notes the address, cursor and time of each request."""

    def __init__(self, *answers: Callable[[socket.socket], None]) -> None:
        self.addresses: list[str] = []
        self.cursors: list[str] = []
        self.times: list[float] = []
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        # A page that another test has left open may still try to reach what had this port before.
        self._prefix = f"/{secrets.token_hex(4)}"
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{self._prefix}/events"
        self._held: list[socket.socket] = []

    def __enter__(self) -> Self:
        Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._held):
            each.close()

    def _serve(self) -> None:
        for answer in self._answers:
            client, request = self._accept()
            self.times.append(time.monotonic())
            headers = dict(line.lower().split(": ", 1) for line in request.decode().splitlines()[1:] if line)
            self.addresses.append(request.decode().split()[1].removeprefix(self._prefix))
            self.cursors.append(
                headers.get("last-event-id") or parse_qs(urlsplit(self.addresses[-1]).query).get("after", [""])[0]
            )
            answer(client)

    def _accept(self) -> tuple[socket.socket, bytes]:
        """Return the next connection that brings a request for this server, and the request."""
        while True:
            client, _ = self._listener.accept()
            self._held.append(client)
            request = b""
            while part := client.recv(65_536):
                request += part
                if b"\r\n\r\n" in request:
                    break
            if request.partition(b" ")[2].startswith(self._prefix.encode()):
                return client, request
            client.close()


def sends(*parts: bytes, pause: float = 0.0, is_closed: bool = True) -> Callable[[socket.socket], None]:
    """Return an answer that sends the parts, and then closes the connection or leaves it silent."""

    def answer(client: socket.socket) -> None:
        for part in parts:
            client.sendall(part)
            time.sleep(pause)
        if is_closed:
            client.shutdown(socket.SHUT_RDWR)

    return answer


def response(status: str, body: bytes = b"", **headers: str) -> Callable[[socket.socket], None]:
    """Return an answer that is a whole response."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return sends("\r\n".join([*lines, "", ""]).encode() + body)


def frame(number: int, kind: str = "chunk") -> bytes:
    """Return the frame of an event."""
    return b'data: {"type":"%b","content":"%d"}\nid: 1-%d\n\n' % (kind.encode(), number, number)
