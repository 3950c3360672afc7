"""Takes the client's socket from gunicorn's gevent worker, so that a stream costs neither greenlet nor request.

Gunicorn lets go when the response's iterator raises `BrokenPipeError(EPIPE)`: it takes that for "the client left",
and closes its own socket object. That object is detached before, so the descriptor stays open and ours alone. A
duplicate would do as well, but for epoll: it keeps the closed original's registration alive with the connection, and
each time such a reader leaves, libev rebuilds its whole epoll set (measured at 5,000 readers: 6 ms a reader).
"""

import _socket
import errno
from typing import Any
from wsgiref.types import WSGIEnvironment

from gevent.socket import socket as gevent_socket

from millrace.webapp.relay.socket_reader import prepare


def can_take(environ: WSGIEnvironment) -> bool:
    """Tell whether the response is plain HTTP/1.1 in chunks, on a socket of gunicorn's gevent worker.

    TLS in process, HTTP/2, HTTP/1.0 and other servers are not.
    """
    return (
        type(environ.get("gunicorn.socket")) is gevent_socket
        and environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
        and environ.get("REQUEST_METHOD") != "HEAD"
    )


def take_socket(environ: WSGIEnvironment) -> _socket.socket:
    """Return the client's socket, non-blocking, out of gunicorn's and gevent's hands; raises OSError."""
    theirs: Any = environ["gunicorn.socket"]
    sock = _socket.socket(fileno=theirs.detach())
    sock.setblocking(False)
    prepare(sock)
    return sock


def let_go() -> BrokenPipeError:
    """Return what the iterator raises so that gunicorn lets go."""
    return BrokenPipeError(errno.EPIPE, "the relay has taken the socket")
