"""Takes the client's socket from gunicorn's gevent worker, so that a stream costs neither greenlet nor request.

Gunicorn lets go when the response's iterator raises `BrokenPipeError(EPIPE)`: it treats that as "the client left",
and closes its own socket object. That object is detached first, so the descriptor stays open and belongs to the relay
alone. A duplicate would do as well, but for epoll: it keeps the closed original's registration alive with the
connection, and each time such a reader leaves, libev rebuilds its whole epoll set (measured at 5,000 readers: 6 ms a
reader).

Where the socket cannot be taken, the same frames are yielded to the server, in a greenlet of its own.
"""

import _socket
import errno
import socket
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, suppress
from functools import partial
from typing import Any
from wsgiref.types import WSGIEnvironment

from gevent.socket import socket as gevent_socket

from millrace.webapp.relay.compression import GzipStream
from millrace.webapp.relay.reader import PullReader, Reader
from millrace.webapp.relay.socket_reader import SocketReader, prepare

OnStall = Callable[[], None] | None


def hand_over_or_yield(
    environ: WSGIEnvironment,
    first_bytes: bytes,
    *,
    socket_reader: Callable[[_socket.socket], SocketReader],
    pull_reader: Callable[[OnStall], PullReader],
    attach: Callable[[Reader], None],
    refuse: Callable[[], bytes],
    heartbeat_seconds: float,
    gzip: GzipStream | None = None,
) -> Iterator[bytes]:
    """Yield the first bytes; then attach a reader on the client's socket, or one whose bytes are yielded.

    The readers are made by the two factories, which are called with the taken socket, and with the function that the
    reader calls to break off a stalled send. `refuse` returns the last bytes of the stream if there is no room for the
    reader any more, because others came while the response began; otherwise none. With `gzip` all of it is compressed.
    Raises BrokenPipeError when the socket was taken, for gunicorn to let go.
    """
    yield first_bytes if gzip is None else gzip.start(first_bytes)
    if last_bytes := refuse():
        yield last_bytes if gzip is None else gzip.end(last_bytes)
        return
    if can_take_socket(environ):
        taken = socket_reader(take_socket(environ))
        if gzip is not None:
            taken.compress(gzip)
        attach(taken)
        raise BrokenPipeError(errno.EPIPE, "the relay has taken the socket")
    reader = pull_reader(_prepare_server_socket(environ))
    attach(reader)
    if gzip is None:
        yield from yield_bytes(reader, heartbeat_seconds)
    else:
        with closing(yield_bytes(reader, heartbeat_seconds)) as parts:
            for part in parts:
                yield gzip.add(part)
        yield gzip.end()


def can_take_socket(environ: WSGIEnvironment) -> bool:
    """Tell whether the response is plain HTTP/1.1 in chunks, on a socket of gunicorn's gevent worker.

    That excludes TLS in the process, HTTP/2, HTTP/1.0 and other servers.
    """
    return (
        type(environ.get("gunicorn.socket")) is gevent_socket
        and environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
        and environ.get("REQUEST_METHOD") != "HEAD"
    )


def take_socket(environ: WSGIEnvironment) -> _socket.socket:
    """Detach the client's socket from gunicorn and gevent, and return it, non-blocking; raises OSError."""
    server_socket: Any = environ["gunicorn.socket"]
    sock = _socket.socket(fileno=server_socket.detach())
    sock.setblocking(False)
    prepare(sock)
    return sock


def yield_bytes(reader: PullReader, heartbeat_seconds: float) -> Generator[bytes]:
    """Yield the rendered frames of a reader until its end, with heartbeats between them; then close the reader."""
    heartbeat_at = time.monotonic() + heartbeat_seconds
    try:
        while not reader.is_over:
            if rendered := reader.render(reader.pull(heartbeat_at - time.monotonic())):
                yield rendered
            if time.monotonic() >= heartbeat_at:
                heartbeat_at += heartbeat_seconds
                yield reader.heartbeat
        if last_bytes := reader.render_end():
            yield last_bytes
    finally:
        reader.close("client_left")


def _prepare_server_socket(environ: WSGIEnvironment) -> OnStall:
    """Set the server's socket up as a taken one; return the function that shuts it down when the reader stalls."""
    server_socket: Any = environ.get("gunicorn.socket")
    if isinstance(server_socket, socket.socket | gevent_socket):
        prepare(server_socket)
    return None if server_socket is None else partial(_shut_down, server_socket)


def _shut_down(sock: Any) -> None:
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
