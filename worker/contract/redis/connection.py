"""The connection to Redis: bounded waits, few retries, and one error for every way of being unavailable."""

import re
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import redis

from millrace.worker.contract.redis.cluster_map import ClusterMap
from millrace.worker.contract.redis.connection_pool import make_cluster_client, make_pool
from millrace.worker.contract.redis.named_client import NamedClient, describe
from millrace.worker.errors import RedisKeyInvalid, RedisUnavailable
from millrace.worker.settings.redis_url import read_redis_url

REPLY_SECONDS = 5.0
MAX_CONNECTIONS = 64  # of one client; in a burst of requests the others wait for a free one, and Redis is spared

# The codes of Redis's error replies while it cannot serve; each condition passes, or an operator has to end it.
_UNAVAILABLE = ("READONLY", "LOADING", "OOM", "MISCONF", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS")

_CONNECTING = re.compile(r"Error -?[0-9]+ connecting to \S+\. ")  # the beginning of redis-py's text: place and number

REQUIRED_POLICY = "noeviction"  # with any other one a full Redis removes logs, states or queues

Redis = redis.Redis


def connect(
    url: str,
    name: str = "",
    *,
    timeout_seconds: float = REPLY_SECONDS,
    retries: int = 1,
    connections: int = MAX_CONNECTIONS,
    cluster: ClusterMap | None = None,
) -> Redis:
    """Return a client with a pool of connections; it connects at the first command.

    Replies are bytes. Every script of this room may safely be sent twice, so a lost reply is retried `retries` times.
    When all `connections` are in use, a command waits up to `timeout_seconds` for a free one, then raises
    RedisUnavailable. `name` says in the texts of errors what this Redis is for. `cluster` is the map that a client of
    a cluster shares with others of the process.
    """
    address = read_redis_url(url)
    limits: dict[str, Any] = {"timeout_seconds": timeout_seconds, "retries": retries, "connections": connections}
    if address.shape == "cluster":
        made: NamedClient = make_cluster_client(address, cluster=cluster, **limits)
    else:
        made = cast("NamedClient", NamedClient.from_pool(make_pool(address, **limits)))
    made.label = f"{name} Redis at {address.place}".lstrip()
    return made


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
            raise RedisUnavailable(describe(error)) from error
        if is_invalid_key(error):
            raise RedisKeyInvalid(describe(error)) from error
        raise


def check_available(replies: Sequence[Any]) -> None:
    """Raise RedisUnavailable if a reply, among those of several commands, is an error that means so."""
    for reply in replies:
        if isinstance(reply, Exception) and is_unavailable(reply):
            raise RedisUnavailable(describe(reply)) from reply


def check_some_available(replies: Sequence[Any]) -> None:
    """Raise RedisUnavailable if every reply is an error that means so: of a cluster, some masters may serve."""
    if all(isinstance(reply, Exception) and is_unavailable(reply) for reply in replies):
        check_available(replies)


def find_unavailable(urls: Mapping[str, str], seconds: float) -> str:
    """Return a sentence about the first of these Redis servers that does not serve within `seconds`, "" if all do.

    `urls` are URLs by the names of their settings. The sentence names host and port, and no password. A server that
    still loads its data counts as serving.
    """
    reasons = dict.fromkeys(urls, f"no reply within {seconds:g} s")

    def ask(name: str) -> None:
        # One master of a cluster may hang while the next one answers.
        limit = seconds / 3 if read_redis_url(urls[name]).shape == "cluster" else seconds
        with connect(urls[name], timeout_seconds=limit, retries=0) as client:
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
    return read_redis_url(url).place


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
