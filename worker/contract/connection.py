"""How this project talks to Redis: bounded waits, few retries, and one error for all the ways of being away."""

from collections.abc import Generator
from contextlib import contextmanager

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from millrace.worker.contract.pooled import connection_class
from millrace.worker.errors import RedisUnavailable

CONNECT_SECONDS = 2.0
REPLY_SECONDS = 5.0
KEEPALIVE_SECONDS = 15
MAX_CONNECTIONS = 64  # of one client; a storm of requests waits for its turn, and Redis is spared

# What Redis answers while it can't serve; each of these passes, or is an operator's to mend.
_AWAY = ("READONLY", "LOADING", "OOM", "MISCONF", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS")

Redis = redis.Redis


def connect(
    url: str, *, timeout_seconds: float = REPLY_SECONDS, retries: int = 1, connections: int = MAX_CONNECTIONS
) -> Redis:
    """Return a client with a pool of connections; nothing is connected before the first command.

    Replies are bytes. Every script of this room may safely be sent twice, so a lost reply is retried `retries` times.
    Who finds all `connections` in use waits for one, as long as for an answer, and then takes Redis for away.
    """
    pool = redis.BlockingConnectionPool.from_url(
        url,
        connection_class=connection_class(url),
        max_connections=connections,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=min(CONNECT_SECONDS, timeout_seconds),
        socket_keepalive=True,
        health_check_interval=KEEPALIVE_SECONDS,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries),
    )
    return redis.Redis.from_pool(pool)


def is_unavailable(error: Exception) -> bool:
    """Tell whether this error of redis-py's means that Redis can't serve just now."""
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return True
    if not isinstance(error, redis.ResponseError):
        return False
    # redis-py takes the code off the text of those that it has a class for.
    return (error.status_code or str(error).partition(" ")[0]) in _AWAY


@contextmanager
def translate_redis_errors() -> Generator[None]:
    """Turn every way in which Redis is away into `RedisUnavailable`; anything else passes as it is."""
    try:
        yield
    except redis.RedisError as error:
        if is_unavailable(error):
            raise RedisUnavailable(str(error)) from error
        raise
