"""Connections of a pool that see quickly whether they are as they were left.

Before each command redis-py asks whether a pooled connection has been closed, or holds what nobody has read. It polls;
under gevent a poll takes a turn of the whole event loop, and half of what a small command costs. Two questions to the
kernel tell the same. Where they tell of anything unusual, redis-py asks as ever.
"""

import fcntl
import socket
import termios
from typing import Any

import redis
from redis.connection import parse_url

_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)  # where the system has it
_ESTABLISHED = b"\1"  # its first byte is the state: netinet/tcp.h, https://man7.org/linux/man-pages/man7/tcp.7.html
_NOTHING = bytes(4)


class _Tcp(redis.Connection):
    def can_read(self, timeout: float = 0) -> bool:
        return super().can_read(timeout) if timeout or not _is_as_it_was_left(self) else False


class _Tls(redis.SSLConnection):
    def can_read(self, timeout: float = 0) -> bool:
        return super().can_read(timeout) if timeout or not _is_as_it_was_left(self) else False


_CLASSES: dict[Any, type[redis.Connection]] = {redis.Connection: _Tcp, redis.SSLConnection: _Tls}


def connection_class(url: str) -> type[Any]:
    """Return the class of the connections to a Redis; those by a Unix socket are redis-py's own."""
    own: type[Any] = parse_url(url).get("connection_class", redis.Connection)
    return own if _TCP_INFO is None else _CLASSES.get(own, own)


def _is_as_it_was_left(connection: Any) -> bool:
    """Tell for sure that both sides have it open, and that nothing has come that nobody has read."""
    sock, reader = connection._sock, connection._parser._reader  # noqa: SLF001 - redis-py's own question reads them
    if sock is None or reader is None or reader.has_data():
        return False
    if sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1) != _ESTABLISHED:
        return False
    if hasattr(sock, "pending") and sock.pending():  # TLS may have decrypted more than was asked for
        return False
    return fcntl.ioctl(sock.fileno(), termios.FIONREAD, _NOTHING) == _NOTHING
