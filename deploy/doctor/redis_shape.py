"""Checks of what stands around a Redis server: the sentinels, the replicas, and how the connection is encrypted."""

from collections.abc import Iterator
from typing import Any, cast

from redis.exceptions import RedisError

from deploy.doctor.report import Finding, ok, warning
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.settings.redis_url import RedisAddress

ENOUGH_SENTINELS = 3


def check_encryption(subject: str, address: RedisAddress) -> Iterator[Finding]:
    """Yield whether the server's certificate is verified; nothing for a connection without TLS."""
    if address.tls is None:
        return
    if address.tls.ssl_cert_reqs != "required" or not address.tls.ssl_check_hostname:
        advice = "Anyone in the network can pose as this Redis. Remove ssl_cert_reqs and ssl_check_hostname."
        yield warning(subject, "encrypted, but the server's certificate or host name is not verified", advice)
    else:
        yield ok(subject, "encrypted, and the server's certificate is verified")


def check_sentinels(subject: str, address: RedisAddress, redis: Redis) -> Iterator[Finding]:
    """Yield whether a failover would succeed, and what it may lose; nothing for a Redis without Sentinel."""
    if address.shape != "sentinel":
        return
    manager: Any = cast("Any", redis.connection_pool).sentinel_manager
    named: set[tuple[str, int]] = set()
    away = 0
    state: dict[str, Any] = {}
    for sentinel in manager.sentinels:
        try:
            state = sentinel.sentinel_masters()[address.service]
            named.add((state["ip"], state["port"]))
        except (RedisError, KeyError):
            away += 1
    yield _agreement(subject, len(manager.sentinels), away, len(named))
    yield _replicas(subject, int(state.get("num-slaves", 0)))
    yield from _bound_of_loss(subject, redis)


def _agreement(subject: str, count: int, away: int, masters: int) -> Finding:
    if masters > 1:
        return warning(subject, f"the sentinels name {masters} masters", "A failover may be going on. Check again.")
    if away:
        return warning(subject, f"{away} of {count} sentinels do not answer", "Start them, or correct the URL.")
    if count < ENOUGH_SENTINELS:
        advice = "Name all sentinels in the URL, and run three: two of them must agree on a failover."
        return warning(subject, f"the URL names {count} sentinels", advice)
    return ok(subject, f"{count} sentinels name the same master")


def _replicas(subject: str, count: int) -> Finding:
    if not count:
        return warning(subject, "the master has no replica", "Nothing can take its place. Start a replica.")
    return ok(subject, f"the master has {count} {'replica' if count == 1 else 'replicas'}")


def _bound_of_loss(subject: str, redis: Redis) -> Iterator[Finding]:
    try:
        found = cast("dict[str, Any]", redis.config_get("min-replicas-to-write"))
    except RedisError:
        return  # its user may not, which the least rights imply
    if int(found.get("min-replicas-to-write", 0)) == 0:
        advice = "Set it to 1, and min-replicas-max-lag to 10, where there are two replicas or more."
        yield warning(subject, "min-replicas-to-write is 0: a master that is cut off goes on taking writes", advice)
