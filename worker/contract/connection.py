"""The connection to Redis: bounded waits, few retries, and one error for every way of being unavailable."""

import fcntl
import re
import socket
import termios
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.connection import parse_url
from redis.retry import Retry

from millrace.worker.errors import RedisKeyInvalid, RedisUnavailable

CONNECT_SECONDS = 2.0
REPLY_SECONDS = 5.0
KEEPALIVE_SECONDS = 15
MAX_CONNECTIONS = 64  # of one client; in a burst of requests the others wait for a free one, and Redis is spared

# The codes of Redis's error replies while it cannot serve; each condition passes, or an operator has to end it.
_UNAVAILABLE = ("READONLY", "LOADING", "OOM", "MISCONF", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS")

_CONNECTING = re.compile(r"Error -?[0-9]+ connecting to \S+\. ")  # the beginning of redis-py's text: place and number

_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)  # where the system has it
_ESTABLISHED = b"\1"  # its first byte is the state: netinet/tcp.h, https://man7.org/linux/man-pages/man7/tcp.7.html
_NO_BYTES = bytes(4)

REQUIRED_POLICY = "noeviction"  # with any other one a full Redis removes logs, states or queues

Redis = redis.Redis


def connect(
    url: str, *, timeout_seconds: float = REPLY_SECONDS, retries: int = 1, connections: int = MAX_CONNECTIONS
) -> Redis:
    """Return a client with a pool of connections; it connects at the first command.

    Replies are bytes. Every script of this room may safely be sent twice, so a lost reply is retried `retries` times.
    When all `connections` are in use, a command waits up to `timeout_seconds` for a free one, then raises
    RedisUnavailable.
    """
    pool = redis.BlockingConnectionPool.from_url(
        url,
        connection_class=connection_class(url),
        max_connections=connections,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=min(CONNECT_SECONDS, timeout_seconds),
        **({} if urlsplit(url).scheme == "unix" else {"socket_keepalive": True}),
        health_check_interval=KEEPALIVE_SECONDS,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries),
    )
    return redis.Redis.from_pool(pool)


def is_unavailable(error: Exception) -> bool:
    """Return whether this error of redis-py's means that Redis cannot serve at the moment."""
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return True
    if not isinstance(error, redis.ResponseError):
        return False
    return _code_of(error) in _UNAVAILABLE


def is_invalid_key(error: Exception) -> bool:
    """Return whether this error of redis-py's means that a key has another type, or content no script can work with."""
    if not isinstance(error, redis.ResponseError):
        return False
    return _code_of(error) == "WRONGTYPE" or "user_script" in str(error)


def _code_of(error: redis.ResponseError) -> str:
    # redis-py removes the code from the text of those errors that it has a class for, and a pipeline puts the command
    # before the text.
    return error.status_code or str(error).rpartition(" caused error: ")[2].partition(" ")[0]


@contextmanager
def translate_redis_errors() -> Generator[None]:
    """Raise `RedisUnavailable` or `RedisKeyInvalid` for each error that means so; any other error passes unchanged."""
    try:
        yield
    except redis.RedisError as error:
        if is_unavailable(error):
            raise RedisUnavailable(str(error)) from error
        if is_invalid_key(error):
            raise RedisKeyInvalid(str(error)) from error
        raise


def check_available(replies: Sequence[Any]) -> None:
    """Raise RedisUnavailable if a reply, among those of several commands, is an error that means so."""
    for reply in replies:
        if isinstance(reply, Exception) and is_unavailable(reply):
            raise RedisUnavailable(str(reply)) from reply


def find_unavailable(urls: Mapping[str, str], seconds: float) -> str:
    """Return a sentence about the first of these Redis servers that does not serve within `seconds`, "" if all do.

    `urls` are URLs by the names of their settings. The sentence names host and port, and no password. A server that
    still loads its data counts as serving.
    """
    reasons = dict.fromkeys(urls, f"no reply within {seconds:g} s")

    def ask(name: str) -> None:
        with connect(urls[name], timeout_seconds=seconds, retries=0) as client:
            try:
                client.ping()
                reasons[name] = ""
            except (redis.BusyLoadingError, redis.ResponseError):
                reasons[name] = ""
            except redis.AuthenticationError:
                reasons[name] = "its user name or password is missing or wrong"
            except redis.RedisError as error:
                reasons[name] = _CONNECTING.sub("", str(error)).rstrip(".")

    deadline = time.monotonic() + seconds
    # In threads, because looking up a name has no time limit of its own.
    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    name = next((name for name in urls if reasons[name]), None)
    if name is None:
        return ""
    return f"{name}: Redis at {place_of(urls[name])} does not serve: {reasons[name]}. Start it, or correct the URL"


def place_of(url: str) -> str:
    """Return the host and port of a Redis, or the path of its socket, for a message: without its password."""
    parts: dict[str, Any] = dict(parse_url(url))
    host = parts.get("host", "localhost")
    return str(parts.get("path") or f"{f'[{host}]' if ':' in host else host}:{parts.get('port', 6379)}")


def eviction_policy(client: Redis) -> str:
    """Return the server's `maxmemory-policy`, "unknown" if it does not disclose it, as managed ones may.

    Raises RedisUnavailable.
    """
    try:
        with translate_redis_errors():
            found = client.info("memory").get("maxmemory_policy")
    except redis.ResponseError:
        return "unknown"
    return str(found) if found else "unknown"


def run_each(pipeline: Any) -> list[Any]:
    """Run a pipeline whose commands are independent; one that Redis rejected has its error in its place.

    Raises RedisUnavailable.
    """
    with translate_redis_errors():
        replies = cast("list[Any]", pipeline.execute(raise_on_error=False))
    check_available(replies)
    return replies


# Before each command redis-py checks whether a pooled connection was closed, or holds bytes that were never read. It
# polls; under gevent a poll takes a turn of the whole event loop, and half of the cost of a small command. Two system
# calls answer the same question. When they find anything unusual, redis-py's own check decides.


class _Tcp(redis.Connection):
    def can_read(self, timeout: float = 0) -> bool:
        return super().can_read(timeout) if timeout or not _is_idle(self) else False


class _Tls(redis.SSLConnection):
    def can_read(self, timeout: float = 0) -> bool:
        return super().can_read(timeout) if timeout or not _is_idle(self) else False


_CLASSES: dict[Any, type[redis.Connection]] = {redis.Connection: _Tcp, redis.SSLConnection: _Tls}


def connection_class(url: str) -> type[Any]:
    """Return the class of the connections to a Redis; those over a Unix socket are redis-py's own."""
    own: type[Any] = parse_url(url).get("connection_class", redis.Connection)
    return own if _TCP_INFO is None else _CLASSES.get(own, own)


def _is_idle(connection: Any) -> bool:
    """Return whether it is certain that both sides hold the connection open and that no bytes are unread."""
    sock, reader = connection._sock, connection._parser._reader  # noqa: SLF001 - redis-py's own check reads them
    if sock is None or reader is None or reader.has_data():
        return False
    if sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1) != _ESTABLISHED:
        return False
    if hasattr(sock, "pending") and sock.pending():  # TLS may have decrypted more than was read
        return False
    return fcntl.ioctl(sock.fileno(), termios.FIONREAD, _NO_BYTES) == _NO_BYTES
