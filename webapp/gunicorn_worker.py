"""Gunicorn's gevent worker with deadlines, and with room for requests however many connections wait.

A connection waits while its request's headers or body are incomplete. Where too many do, the one that has waited
longest is closed, as nginx does with idle connections, so that half-sent requests never keep others out. The deadlines
and the choice are the server's, because only the server knows of a connection before its request is complete. In the
same way the client that has taken nothing for longest is closed where unread responses would fill the memory.
"""

import _socket
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import gevent
from gevent import getcurrent
from gunicorn.http.errors import ParseException
from gunicorn.workers.ggevent import GeventWorker

from millrace.webapp import settings
from millrace.worker.errors import SettingError
from millrace.worker.observability.logs import get_logger

WAITING_CONNECTIONS = 1000  # beyond that the oldest is closed
RESERVED_CONNECTIONS = 100  # where all others are in use, these answer health checks, and 503 to everything else
PIECE_BYTES = 64 << 10  # a response is sent in pieces, each of which has the whole time for a stalled client
SEND_BUFFER_BYTES = 256 << 10  # the kernel would otherwise take some MB for each client that reads nothing
DISCARDED_BYTES = 256 << 10  # the rest of a body is read and dropped in such pieces
MAX_DISCARDED_BYTES = 16 << 20  # beyond that the connection is closed instead
SEND_SLACK_SECONDS = 2.0  # a stream's own check for stalled readers comes first

_HEALTH_PATHS = ("/healthz", "/readyz")
_BODY = (
    b'{"type": "about:blank", "title": "Service Unavailable", "status": 503, "code": "too_many_connections", '
    b'"detail": "This server has no connection free. Please retry."}'
)
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 2\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)

_log = get_logger(__name__)

Wsgi = Callable[[Any, Any], Any]


class BoundedGeventWorker(GeventWorker):
    """The worker class of the shipped gunicorn configuration, which sets the times and the bound."""

    read_seconds = 30.0
    send_seconds = 30.0
    max_unsent_bytes = 64 << 20

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._open = 0
        self._waiting: dict[Any, None] = {}  # in the order in which the clients began to wait
        self._unsent = UnsentResponses(self.max_unsent_bytes)
        self._first_requests: set[Any] = set()  # greenlets of connections that have not sent a request yet

    def load_wsgi(self) -> None:
        """Load the application, whose responses are then sent in pieces; a bad setting ends gunicorn with one line."""
        try:
            super().load_wsgi()
        except SettingError as error:
            settings.end(error)
        self.wsgi = in_pieces(self.wsgi, self._unsent)

    def timeout_ctx(self) -> gevent.Timeout:
        """Return the time limit for the next request's headers, which for a later request includes the idle time."""
        is_first = getcurrent() in self._first_requests
        return gevent.Timeout(self.read_seconds if is_first else max(self.read_seconds, self.cfg.keepalive), False)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """Serve one connection."""
        with suppress(OSError):  # a Unix socket of some systems has none
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._open += 1
        self._waiting[client] = None
        self._first_requests.add(getcurrent())
        if len(self._waiting) > WAITING_CONNECTIONS or self._is_short_of(RESERVED_CONNECTIONS):
            self._close_longest_waiting()
        try:
            super().handle(listener, client, addr)
        finally:
            self._open -= 1
            self._waiting.pop(client, None)
            self._first_requests.discard(getcurrent())

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> Any:
        """Serve one request whose headers are complete; raises StopIteration, which ends the connection."""
        self._waiting.pop(sock, None)
        self._first_requests.discard(getcurrent())
        if self._is_short_of(RESERVED_CONNECTIONS // 2) and not req.path.endswith(_HEALTH_PATHS):
            with suppress(OSError):
                sock.sendall(_BUSY)
            raise StopIteration
        req.body.reader = TimedReader(req.body.reader, time.monotonic() + self.read_seconds, self._waiting, sock)
        sock.settimeout(self.send_seconds + SEND_SLACK_SECONDS)
        try:
            handled = super().handle_request(listener_name, req, sock, addr)
            _discard_rest(req.body)
        except TimeoutError:
            _log.info("client_stalled")
            raise StopIteration from None
        else:
            return handled
        finally:
            with suppress(OSError):  # the relay may have taken the socket
                sock.settimeout(None)
            self._waiting[sock] = None

    def _is_short_of(self, reserve: int) -> bool:
        return self._open > self.worker_connections - reserve

    def _close_longest_waiting(self) -> None:
        client = next(iter(self._waiting), None)
        if client is not None:
            del self._waiting[client]
            end(client)


def _discard_rest(body: Any) -> None:
    """Read what a response has left of its request's body; raises StopIteration if that is too much, or invalid.

    gunicorn would read it in pieces of 1 KiB, copying all that it has received for each of them. A request that is
    rejected unread, as most of an attack are, would take longer than one that is served.
    """
    for _ in range(MAX_DISCARDED_BYTES // DISCARDED_BYTES):
        try:
            if not body.read(DISCARDED_BYTES):
                return
        except (ParseException, OSError) as error:
            raise StopIteration from error
    raise StopIteration


class TimedReader:
    """The reader of a request's body: reading past the deadline raises TimeoutError."""

    def __init__(self, reader: Any, deadline: float, waiting: dict[Any, None], client: Any) -> None:
        self._reader = reader
        self._deadline = deadline
        self._waiting = waiting
        self._client = client

    def read(self, size: int) -> bytes:
        """Read at most this many bytes; the client counts as waiting meanwhile."""
        self._waiting[self._client] = None
        left = max(0.001, self._deadline - time.monotonic())
        try:
            with gevent.Timeout(left, TimeoutError("the body is late")):
                return self._reader.read(size)
        finally:
            self._waiting.pop(self._client, None)


class UnsentResponses:
    """The bytes of large responses that clients have not taken yet, bounded over all connections of a process."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._total = 0
        self._left: dict[Any, int] = {}  # by connection, in the order in which the clients last took something

    def add(self, client: Any, size: int) -> None:
        """Count a response; beyond the bound the connections that have taken nothing for longest are closed."""
        self._left[client] = self._left.pop(client, 0) + size
        self._total += size
        while self._total > self._max_bytes and len(self._left) > 1:
            stalled = next(iter(self._left))
            _log.info("unread_response_cut", bytes=self._left[stalled])
            self.remove(stalled)
            end(stalled)

    def take(self, client: Any, size: int) -> None:
        """Record that the client has taken so many bytes; no effect on a connection that was closed."""
        left = self._left.pop(client, None)
        if left is not None:
            self._left[client] = left - size
            self._total -= size

    def remove(self, client: Any) -> None:
        """Forget a connection's response."""
        self._total -= self._left.pop(client, 0)


def end(client: Any) -> None:
    """End a connection in both directions: its greenlet reads the end, and fails to send, as if the client had left.

    gevent's own `shutdown` raises another error in a greenlet that waits, which gunicorn logs with its traceback.
    """
    with suppress(OSError):
        sock = _socket.socket(fileno=client.fileno())
        try:
            sock.shutdown(socket.SHUT_RDWR)
        finally:
            sock.detach()


def in_pieces(application: Wsgi, unsent: UnsentResponses) -> Wsgi:
    """Return the application with its responses cut into pieces; files are left to the server."""

    def answer(environ: Any, start_response: Any) -> Any:
        body = application(environ, start_response)
        if isinstance(body, environ["wsgi.file_wrapper"]):
            return body
        return _pieces(body, environ["gunicorn.socket"], unsent)

    return answer


def _pieces(body: Any, client: Any, unsent: UnsentResponses) -> Iterator[bytes]:
    try:
        for part in body:
            if len(part) <= PIECE_BYTES:
                yield part
                continue
            unsent.add(client, len(part))
            for start in range(0, len(part), PIECE_BYTES):
                piece = part[start : start + PIECE_BYTES]
                yield piece
                unsent.take(client, len(piece))
            unsent.remove(client)
    finally:
        unsent.remove(client)
        if hasattr(body, "close"):
            body.close()
