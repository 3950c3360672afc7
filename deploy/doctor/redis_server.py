"""Checks of a Redis server: version, memory, persistence, delay, clock, and the commands that its user may run."""

import hashlib
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

from redis.exceptions import NoPermissionError, RedisError, ResponseError

from deploy.doctor.redis_cluster import check_cluster, masters_of
from deploy.doctor.redis_shape import check_encryption, check_sentinels
from deploy.doctor.report import Finding, failed, ok, warning
from millrace.worker.contract.keys import check_keys
from millrace.worker.contract.redis.cluster import ClusterClient
from millrace.worker.contract.redis.cluster_map import text_of
from millrace.worker.contract.redis.connection import (
    REQUIRED_POLICY,
    Redis,
    connect,
    eviction_policy,
    find_unavailable,
    place_of,
)
from millrace.worker.settings.redis_url import read_redis_url
from millrace.worker.settings.schema import Settings

CONNECT_SECONDS = 3.0
OLDEST = 7  # scripts begin with `#!lua`, which Redis knows since 7.0
PINGS = 21
SLOW_MS = 5.0
FULL_SHARE = 0.8
MAX_CLOCK_SECONDS = 30.0
_KEY_SECONDS = 10
_STREAM_NODE = "stream node"
_PROBE_SCRIPT = "#!lua\nredis.call('SET', KEYS[1], ARGV[1], 'EX', 10) return redis.call('GET', KEYS[1])"
_PROBE_DIGEST = hashlib.sha1(_PROBE_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_RIGHTS = "Give its user the rights that `python3 deploy/redis_acl.py` prints for its tier (ACL SETUSER)."
_OF_THE_WORKER = ("BRPOP",)


@dataclass(frozen=True)
class Server:
    """One Redis and what it is for; `keeps_answers` and `keeps_queue` say what it must not lose.

    `bucket` is one that it has, where it may hold no other keys than those of buckets.
    """

    url: str
    variable: str
    uses: tuple[str, ...]
    bucket: int | None = None

    @property
    def subject(self) -> str:
        """Return the name in the report."""
        return f"redis ({', '.join(self.uses)})"

    @property
    def keeps_answers(self) -> bool:
        """Return whether logs and states lie here, each of which has a lifetime."""
        return "logs" in self.uses or self.is_stream_node

    @property
    def is_stream_node(self) -> bool:
        """Return whether it is one of several that hold logs."""
        return any(use.startswith(_STREAM_NODE) for use in self.uses)

    @property
    def keeps_queue(self) -> bool:
        """Return whether Celery's queues lie here, which have no lifetime."""
        return "queue" in self.uses


def servers_of(settings: Settings) -> list[Server]:
    """Return the Redis servers that the settings name, each once."""
    named = (
        ("logs", "MILLRACE_REDIS_URL", settings.redis.url),
        ("queue", "MILLRACE_BROKER_URL", settings.redis.broker),
        *((f"{_STREAM_NODE} {name}", "MILLRACE_STREAM_REDIS_URLS", url) for name, url in settings.redis.stream_nodes),
        ("rate limits", "MILLRACE_RATE_LIMIT_REDIS_URL", settings.limits.redis_url or settings.redis.url),
    )
    found: dict[str, Server] = {}
    for use, variable, url in named:
        known = found.get(url)
        bucket = 0 if use.startswith(_STREAM_NODE) and known is None else None
        found[url] = Server(url, known.variable if known else variable, (*(known.uses if known else ()), use), bucket)
    return list(found.values())


def check_server(server: Server) -> Iterator[Finding]:
    """Yield the findings about one server; nothing more than that it does not serve, if it doesn't."""
    away = find_unavailable({server.variable: server.url}, CONNECT_SECONDS)
    if away:
        yield failed(server.subject, away, f"Without it {_consequence(server)}.")
        return
    address = read_redis_url(server.url)
    yield from check_encryption(server.subject, address)
    with connect(server.url, timeout_seconds=CONNECT_SECONDS, retries=0) as redis:
        yield from check_sentinels(server.subject, address, redis)
        if isinstance(redis, ClusterClient):
            yield from check_cluster(server.subject, redis)
            for place, bucket in masters_of(redis):
                name = text_of(place)
                master = replace(server, url=f"redis://{name}", uses=(*server.uses, name), bucket=bucket)
                if place in redis.map.down:
                    yield failed(master.subject, "it does not answer", "Its answers wait, those of the others go on.")
                else:
                    yield from _check_one(redis.client_of(place), master)
        else:
            yield from _check_one(redis, server)


def _check_one(redis: Redis, server: Server) -> Iterator[Finding]:
    yield from check_version(redis, server)
    for check in (check_memory, check_persistence, check_delay, check_rights):
        try:
            yield from check(redis, server)
        except NoPermissionError as error:
            yield warning(server.subject, f"not checked: {error}", "Allow the command to have this checked.")
        except RedisError as error:
            advice = "Redis answers, and rejects this. It may be loading its data, or be a replica."
            yield failed(server.subject, f"{type(error).__name__}: {error}", advice)


def check_version(redis: Redis, server: Server) -> Iterator[Finding]:
    """Yield the server's name and version."""
    place = place_of(server.url)
    try:
        info = _info(redis, "server")
    except RedisError as error:
        yield warning(server.subject, f"{place} serves; its version is unknown ({error})", "Allow the command INFO.")
        return
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version") or "0")
    if int(version.partition(".")[0]) < OLDEST:
        yield failed(server.subject, f"{place} is {name} {version}", f"Use Redis {OLDEST} or newer, or Valkey.")
    else:
        yield ok(server.subject, f"{place} is {name} {version}")


def check_memory(redis: Redis, server: Server) -> Iterator[Finding]:
    """Yield the eviction policy, and how full the memory is."""
    policy = eviction_policy(redis)
    evicts_all, evicts_some = policy.startswith("allkeys"), policy.startswith("volatile")
    advice = f"Set `maxmemory-policy {REQUIRED_POLICY}` in redis.conf, and now with CONFIG SET."
    if policy == "unknown":
        advice = f"Make sure in its console that maxmemory-policy is {REQUIRED_POLICY}."
        yield warning(server.subject, "the server does not show its maxmemory-policy", advice)
    elif server.keeps_answers and policy != REQUIRED_POLICY:
        found = f"maxmemory-policy is {policy}: a full Redis removes running answers, and /readyz fails"
        yield failed(server.subject, found, advice)
    elif server.keeps_queue and evicts_all:
        yield failed(server.subject, f"maxmemory-policy is {policy}: a full Redis removes the queue", advice)
    elif evicts_all or evicts_some:
        yield ok(server.subject, f"maxmemory-policy is {policy}; counts may be removed early, nothing else lies here")
    else:
        yield ok(server.subject, f"maxmemory-policy is {policy}")
    yield _memory_use(redis, server)


def _memory_use(redis: Redis, server: Server) -> Finding:
    info = _info(redis, "memory")
    used, limit = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0))
    total = int(info.get("total_system_memory", 0))
    shown = f"{_mebibytes(used)} used, maxmemory {_mebibytes(limit) if limit else 'not set'}"
    if limit and used > FULL_SHARE * limit:
        advice = "Raise maxmemory. A full Redis rejects every write: questions get 503, running answers wait."
        return warning(server.subject, shown, advice)
    if not limit and total and used > FULL_SHARE * total:
        advice = "The system soon ends this server without warning. Give it more memory, and set maxmemory."
        return warning(server.subject, f"{shown}, of {_mebibytes(total)} of the machine", advice)
    return ok(server.subject, shown)


def check_persistence(redis: Redis, server: Server) -> Iterator[Finding]:
    """Yield whether the data survives a restart, for a server that holds more than counts."""
    if not server.keeps_answers and not server.keeps_queue:
        return
    info = _info(redis, "persistence")
    broken = [name for name in ("aof_last_write_status", "rdb_last_bgsave_status") if info.get(name, "ok") != "ok"]
    if broken:
        advice = "Look at Redis's log and its disk: Redis rejects writes until it can save again."
        yield failed(server.subject, f"saving to disk fails ({', '.join(broken)})", advice)
    elif info.get("aof_enabled"):
        yield ok(server.subject, "persistent: appendonly yes")
    elif save := _save_points(redis):
        advice = "A crash loses all that is newer than the last snapshot. Set `appendonly yes`."
        yield warning(server.subject, f"appendonly no, snapshots only (save {save})", advice)
    else:
        advice = (
            "A restart of Redis loses all logs, queued questions and limits; running answers are rebuilt by their "
            "workers, queued ones end with an error. Set `appendonly yes`."
        )
        yield warning(server.subject, "not persistent: appendonly no, and no snapshots", advice)


def _save_points(redis: Redis) -> str:
    """Return the setting `save`; "unknown" if the server does not show it."""
    try:
        return str(cast("dict[str, Any]", redis.config_get("save")).get("save", ""))
    except ResponseError:
        return "unknown"


def check_delay(redis: Redis, server: Server) -> Iterator[Finding]:
    """Yield the median time of a round trip, and the difference of the clocks."""
    times: list[float] = []
    for _ in range(PINGS):
        began = time.perf_counter()
        redis.ping()
        times.append((time.perf_counter() - began) * 1000)
    median = statistics.median(times)
    shown = f"round trip {median:.2f} ms (median of {PINGS}, longest {max(times):.1f} ms)"
    if median > SLOW_MS:
        yield warning(server.subject, shown, "Every event waits for one. Move Redis and processes to one network zone.")
    else:
        yield ok(server.subject, shown)
    began = time.time()
    seconds, microseconds = redis.time()
    difference = seconds + microseconds / 1e6 - (began + time.time()) / 2
    if abs(difference) > MAX_CLOCK_SECONDS:
        advice = (
            "Leases and deadlines use Redis's clock alone, but tokens (`exp`), certificates and AWS's signatures "
            "depend on this machine's. Synchronise both (NTP)."
        )
        yield warning(server.subject, f"its clock differs from this machine's by {difference:.0f} s", advice)


def check_rights(redis: Redis, server: Server) -> Iterator[Finding]:
    """Run each kind of command on keys that only this check uses, and yield those that are not allowed."""
    key, queue = check_keys(secrets.token_hex(8), server.bucket)
    denied: list[str] = []
    try:
        for name, command in _commands(redis, key, queue, server):
            try:
                command()
            except NoPermissionError:
                denied.append(name)
    except RedisError as error:
        advice = "Every write is rejected in this way. Look at Redis's log, its memory, its disk and its role."
        yield failed(server.subject, f"it does not take writes: {type(error).__name__}: {error}", advice)
        return
    missing = [name for name in denied if name not in _OF_THE_WORKER]
    if missing:
        yield failed(server.subject, f"its user may not run {', '.join(missing)} on Millrace's keys", _RIGHTS)
    elif denied:
        found = f"its user may not run {', '.join(denied)}, which workers need and web processes do not"
        yield warning(server.subject, found, "If this is the workers' user, it needs more. " + _RIGHTS)
    else:
        yield ok(server.subject, "scripts and all needed commands run")


def _commands(redis: Redis, key: str, queue: str, server: Server) -> list[tuple[str, Callable[[], object]]]:
    def subscribe() -> None:
        with redis.pubsub() as subscription:
            subscription.subscribe(key)
            subscription.parse_response()

    # One after the other on the same key: each removes what the one before has left.
    needed: list[tuple[str, Callable[[], object]]] = [
        ("SET", lambda: redis.set(key, "1", ex=_KEY_SECONDS)),
        ("GET", lambda: redis.get(key)),
        ("TIME", redis.time),
        ("SCRIPT LOAD", lambda: redis.script_load(_PROBE_SCRIPT)),
        ("EVALSHA", lambda: redis.evalsha(_PROBE_DIGEST, 1, key, "1")),
        ("DEL", lambda: redis.delete(key)),
    ]
    if server.keeps_answers:
        needed += [
            ("XADD", lambda: redis.xadd(key, {"d": "1"}, id="1-1")),
            ("XRANGE", lambda: redis.xrange(key)),
            ("EXPIRE", lambda: redis.expire(key, _KEY_SECONDS)),
            ("PUBLISH", lambda: redis.publish(key, "1")),
            ("SUBSCRIBE", subscribe),
            ("DEL", lambda: redis.delete(key)),
        ]
    if server.keeps_queue:
        needed += [
            ("LPUSH", lambda: redis.lpush(queue, "1")),
            ("BRPOP", lambda: redis.brpop([queue], 1)),
            ("DEL", lambda: redis.delete(queue)),
        ]
    return needed


def _consequence(server: Server) -> str:
    if server.is_stream_node:
        return "its answers end, and the other nodes get the new ones"
    if server.keeps_answers:
        return "no answer starts, and running ones wait"
    return "no question is accepted" if server.keeps_queue else "creating is rejected, following is not limited"


def _info(redis: Redis, section: str) -> dict[str, Any]:
    return redis.info(section)


def _mebibytes(count: int) -> str:
    return f"{count / (1 << 20):,.0f} MiB"
