"""A small HTTP server for tests of the wires: it answers with exact bytes and sees each connection begin and end."""

import ssl
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gevent
from gevent.server import StreamServer

Answer = Callable[[Any, bytes], object]
"""A function of the connection and the bytes of the request's head and body; the connection stays open after it."""

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nTransfer-Encoding: chunked\r\n\r\n"


@dataclass
class HttpServer:
    """`requests` are the heads and bodies of all requests; `closed_at` the times when clients closed connections."""

    url: str = ""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list[bytes])
    closed_at: list[float] = field(default_factory=list[float])


def chunked(pieces: list[bytes], content_type: str = "text/event-stream", *, end: bytes = b"0\r\n\r\n") -> bytes:
    """Return a response whose body has a chunk for each piece."""
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces]
    return HEAD.format(content_type).encode() + b"".join(chunks) + end


def plain(status: int, body: bytes, content_type: str = "application/json", *headers: str) -> bytes:
    """Return a response with a Content-Length."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def serving(answer: bytes | Answer, tls: ssl.SSLContext | None = None) -> Generator[HttpServer]:
    """Serve on a free port until the end of the block: the bytes to every request, or what the function sends."""
    seen = HttpServer()

    def handle(connection: Any, _address: object) -> None:
        seen.connections += 1
        try:
            if tls:
                connection = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                connection.do_handshake()
            while request := _read_request(connection):
                seen.requests.append(request)
                if isinstance(answer, bytes):
                    connection.sendall(answer)
                else:
                    answer(connection, request)
        except OSError:
            pass
        finally:
            connection.close()
        seen.closed_at.append(time.monotonic())

    server = StreamServer(("127.0.0.1", 0), handle)
    server.start()
    seen.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield seen
    finally:
        server.stop(timeout=0)


def hang(connection: Any) -> None:
    """Read until the client closes the connection."""
    while connection.recv(65_536):
        pass


def send_slowly(connection: Any, pieces: list[bytes], seconds: float) -> None:
    """Send the pieces with a pause after each."""
    for piece in pieces:
        connection.sendall(piece)
        gevent.sleep(seconds)


def _read_request(connection: Any) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65_536)
        if not received:
            return b""
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        received = connection.recv(65_536)
        if not received:
            return b""
        body += received
    return head + b"\r\n\r\n" + body
