"""Pools of connections to one Redis: by TCP, with TLS, by a Unix socket, or to the master that Sentinel names.

Before each command redis-py checks whether a pooled connection was closed, or holds bytes that were never read. It
polls; under gevent a poll takes a turn of the whole event loop, and half of the cost of a small command. Two system
calls answer the same question. When they find anything unusual, redis-py's own check decides.
"""

import fcntl
import random
import re
import socket
import termios
import time
from contextlib import suppress
from dataclasses import asdict, replace
from functools import partial
from typing import Any, assert_never

import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool, SentinelManagedConnection

from millrace.worker.contract.redis.cluster import ClusterClient
from millrace.worker.contract.redis.cluster_map import MAP_CONNECTIONS, MAP_SECONDS, ClusterMap, Place
from millrace.worker.settings.redis_url import RedisAddress

CONNECT_SECONDS = 2.0
KEEPALIVE_SECONDS = 15

SENTINEL_SECONDS = 0.5  # for each sentinel; they are asked one after the other until one answers
MASTER_CHECK_SECONDS = 1.0

_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)  # where the system has it
_ESTABLISHED = b"\1"  # its first byte is the state: netinet/tcp.h, https://man7.org/linux/man-pages/man7/tcp.7.html
_NO_BYTES = bytes(4)


def make_pool(address: RedisAddress, *, timeout_seconds: float, retries: int, connections: int) -> redis.ConnectionPool:
    """Return a pool; each connection is opened when it is first used. `connect` describes the arguments.

    Of a cluster its connections lead to any node.
    """
    common: dict[str, Any] = {
        "max_connections": connections,
        "timeout": timeout_seconds,
        "socket_timeout": timeout_seconds,
        "socket_connect_timeout": min(CONNECT_SECONDS, timeout_seconds),
        "health_check_interval": KEEPALIVE_SECONDS,
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries),
        **options_of(address),
    }
    match address.shape:
        case "sentinel":
            return _MasterPool(address, **common)
        case "socket":
            return redis.BlockingConnectionPool(**common, path=address.path)
        case "cluster":
            raise ValueError("the connections of a cluster are made for each of its nodes")
        case "server":
            ((host, port),) = address.places
            return redis.BlockingConnectionPool(**common, host=host, port=port)
        case _:
            assert_never(address.shape)


def make_cluster_client(
    address: RedisAddress, *, retries: int, cluster: ClusterMap | None = None, **limits: Any
) -> ClusterClient:
    """Return a client of a cluster, which reads its map at the first command, or shares the one that is given."""

    def client_of(place: Place, **own: Any) -> redis.Redis:
        node = replace(address, shape="server", places=(place,))
        return redis.Redis.from_pool(make_pool(node, retries=0, **own))

    own_map = ClusterMap(address.places, partial(client_of, timeout_seconds=MAP_SECONDS, connections=MAP_CONNECTIONS))
    cluster_map = cluster or own_map
    server = replace(address, shape="server", places=address.places[:1])
    pool = make_pool(server, retries=0, **limits)
    pool.connection_class = _NodeTls if address.tls else _NodeTcp
    pool.connection_kwargs["cluster"] = cluster_map
    return ClusterClient(cluster_map, partial(client_of, **limits), pool, retries, owns_map=cluster is None)


def options_of(address: RedisAddress) -> dict[str, Any]:
    """Return what redis-py is given for each connection to a server of this address, except its place."""
    optional = {
        "username": address.username,
        "password": address.password,
        "client_name": address.client_name,
        "protocol": address.protocol,
    }
    return {
        "connection_class": connection_class(address),
        "db": address.db,
        "driver_info": None,  # CLIENT SETINFO costs two round trips, and Redis 7.0 cannot allow it to a user
        **{name: value for name, value in optional.items() if value is not None},
        **({} if address.shape == "socket" else {"socket_keepalive": True}),
        **_tls_options(address),
    }


def _tls_options(address: RedisAddress) -> dict[str, Any]:
    return asdict(address.tls) if address.tls else {}


def is_current(pool: Any, connection: Any) -> bool:
    """Return whether a connection with this pool's options leads to a server that the pool is for at this time.

    Of a cluster it is any that belongs to it and answers.
    """
    if isinstance(pool, _MasterPool):
        pool.check_master()
    if isinstance(connection, _NodeTcp):
        return connection.is_current
    return bool(pool.owns_connection(connection))


class _Sentinels(Sentinel):
    """The sentinels; when none names a master, one short sentence says why."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return host and port of the master; raises MasterNotFoundError."""
        try:
            return super().discover_master(service_name)
        except MasterNotFoundError as error:
            kinds = re.findall(r" - (?:\w+:)?(\w+Error)", str(error))  # of the exception of each sentinel that has one
            reason = f"its sentinels know no master {service_name} that works"
            if len(kinds) == len(self.sentinels):
                reason = "its sentinels do not answer"
            if "AuthenticationError" in kinds:
                reason = "its sentinels reject the user name or password"
            raise MasterNotFoundError(reason) from error


class _MasterPool(SentinelConnectionPool, redis.BlockingConnectionPool):
    """Connections to the master, which asks Sentinel for its address before it opens one, and once a second.

    Without the second question, a connection to a former master would stay in use while that server, back from a
    pause or cut off from the others, still takes itself for the master; all writes to it are lost.
    """

    def __init__(self, address: RedisAddress, **options: Any) -> None:
        limits = {"socket_timeout": SENTINEL_SECONDS, "socket_connect_timeout": SENTINEL_SECONDS}
        login = {"username": address.sentinel_username, "password": address.sentinel_password}
        tls = {"ssl": True, **_tls_options(address)} if address.tls else {}
        once = Retry(NoBackoff(), 0)
        sentinels = _Sentinels(address.places, sentinel_kwargs={**limits, **login, **tls, "retry": once})
        self._checked_at = time.monotonic()
        super().__init__(address.service, sentinels, **options)

    def get_connection(self, *given: Any, **named: Any) -> Any:
        """Return a connection to the master, as Sentinel named it within the last second if it answers."""
        self.check_master()
        return super().get_connection(*given, **named)

    def check_master(self) -> None:
        """Ask Sentinel for the master, once a second, and close the idle connections to any other server."""
        now = time.monotonic()
        if now - self._checked_at > MASTER_CHECK_SECONDS:
            self._checked_at = now  # before the question, so that one greenlet asks and the others go on
            with suppress(redis.RedisError):  # a connection that works is better than none
                self.get_master_address()

    def disconnect(self, inuse_connections: bool = True) -> None:
        """Close the connections; with those in use, also those to the sentinels."""
        super().disconnect(inuse_connections)
        if inuse_connections:
            self.sentinel_manager.close()


class _Tcp(redis.Connection):
    def can_read(self, timeout: float = 0) -> bool:
        return super().can_read(timeout) if timeout or not _is_idle(self) else False


class _Tls(redis.SSLConnection):
    def can_read(self, timeout: float = 0) -> bool:
        return super().can_read(timeout) if timeout or not _is_idle(self) else False


class _NodeTcp(_Tcp):
    """A connection to some node of a cluster that answers, another one at each try."""

    def __init__(self, *, cluster: ClusterMap, **options: Any) -> None:
        super().__init__(**options)
        self._cluster = cluster

    @property
    def is_current(self) -> bool:
        """Whether its node belongs to the cluster and answers; true where no node does."""
        return (self.host, self.port) in self._cluster.up_nodes

    def _connect(self) -> Any:
        self.host, self.port = random.choice(self._cluster.up_nodes)
        return super()._connect()


class _NodeTls(_NodeTcp, _Tls):
    pass


class _MasterTcp(SentinelManagedConnection, _Tcp):
    pass


class _MasterTls(SentinelManagedConnection, _Tls):
    pass


def connection_class(address: RedisAddress) -> type[Any]:
    """Return the class of the connections to a Redis; those over a Unix socket are redis-py's own."""
    if address.shape == "socket":
        return redis.UnixDomainSocketConnection
    if address.shape == "sentinel":
        return _MasterTls if address.tls else _MasterTcp
    return _Tls if address.tls else _Tcp


def _is_idle(connection: Any) -> bool:
    """Return whether it is certain that both sides hold the connection open and that no bytes are unread."""
    sock, reader = connection._sock, connection._parser._reader  # noqa: SLF001 - redis-py's own check reads them
    if sock is None or reader is None or _TCP_INFO is None or reader.has_data():
        return False
    if sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1) != _ESTABLISHED:
        return False
    if hasattr(sock, "pending") and sock.pending():  # TLS may have decrypted more than was read
        return False
    return fcntl.ioctl(sock.fileno(), termios.FIONREAD, _NO_BYTES) == _NO_BYTES
