"""The Lua scripts: loaded from `lua/`, run by their digest, and loaded again where Redis has lost them."""

import hashlib
from collections.abc import Collection, Sequence
from importlib import resources
from typing import Any

from redis.exceptions import NoScriptError, RedisError, ResponseError

from millrace.worker.contract.redis.cluster import ClusterClient
from millrace.worker.contract.redis.connection import Redis, translate_redis_errors
from millrace.worker.contract.redis.named_client import label_of, note_server
from millrace.worker.errors import RedisUnavailable

_LUA = resources.files("millrace.worker.contract") / "lua"
_PRELUDE = (_LUA / "prelude.lua").read_text("ascii")

_LOADS = 5

Argument = str | bytes | int
Reply = Any


def pack(argument: Argument) -> bytes:
    """Return an argument in Redis's protocol (RESP): its length, then its bytes."""
    data = argument if isinstance(argument, bytes) else str(argument).encode()
    return b"$%d\r\n%b\r\n" % (len(data), data)


class Script:
    """One Lua script, by its source."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    def packed(self, keys: Sequence[str], *arguments: Argument, more: int = 0) -> bytes:
        """Return a call in Redis's protocol; the caller appends its last `more` arguments, each encoded by `pack`."""
        words = ("EVALSHA", self.digest, len(keys), *keys, *arguments)
        return b"*%d\r\n" % (len(words) + more) + b"".join(map(pack, words))

    def __call__(self, redis: Redis, keys: Sequence[str], *arguments: Argument) -> Reply:
        """Run the script and return its reply; raises RedisUnavailable, RedisKeyInvalid."""
        replies = run_all(redis, [(self, keys, arguments)])
        raise_first(replies)
        return replies[0]


Call = tuple[Script, Sequence[str], Sequence[Argument]]


def run_all(redis: Redis, calls: Sequence[Call]) -> list[Reply]:
    """Run the calls in one round trip and return their replies, in order; raises RedisUnavailable.

    A call that Redis refused has its exception in its place.
    """
    packed = [script.packed(keys, *arguments) for script, keys, arguments in calls]
    return run_packed(redis, packed, {call[0].digest: call[0] for call in calls}.values())


def run_packed(redis: Redis, commands: Sequence[bytes], scripts: Collection[Script]) -> list[Reply]:
    """Run calls of these scripts that are packed already; otherwise like `run_all`.

    After a restart Redis has lost the scripts: they are loaded and every call is sent again, which each script
    allows. A Redis that loses them repeatedly counts as unavailable.
    """
    with translate_redis_errors():
        for _ in range(_LOADS):
            replies = _send(redis, commands)
            if not any(isinstance(reply, NoScriptError) for reply in replies):
                return replies
            lost = [each for each, reply in zip(commands, replies, strict=True) if isinstance(reply, NoScriptError)]
            for script in scripts:
                if isinstance(redis, ClusterClient):
                    redis.load(script.source, lost)
                else:
                    redis.script_load(script.source)
    raise RedisUnavailable("Redis loses its scripts repeatedly")


def raise_first(replies: Sequence[Reply]) -> None:
    """Raise the first error among the replies, as RedisUnavailable or RedisKeyInvalid where it means so."""
    error = next((reply for reply in replies if isinstance(reply, Exception)), None)
    if error is not None:
        with translate_redis_errors():
            raise error


def _send(redis: Redis, commands: Sequence[bytes]) -> list[Reply]:
    if isinstance(redis, ClusterClient):
        return redis.exchange(commands)
    pool, label = redis.connection_pool, label_of(redis)
    try:
        connection = pool.get_connection()
        try:
            return connection.retry.call_with_retry(
                lambda: _exchange(connection, commands, label), lambda _error: connection.disconnect()
            )
        finally:
            pool.release(connection)
    except RedisError as error:
        note_server(error, label)
        raise


def _load(name: str, *, writes: bool = True) -> Script:
    """Return a script of `lua/`. It starts with `#!lua`: a Redis that is out of memory refuses it before any write."""
    shebang = "#!lua\n" if writes else "#!lua flags=no-writes\n"
    return Script(name, shebang + _PRELUDE + (_LUA / f"{name}.lua").read_text("ascii"))


def _exchange(connection: Any, commands: Sequence[bytes], label: str) -> list[Reply]:
    """Send everything, then read everything: redis-py's pipeline costs three times as much for small commands."""
    connection.send_packed_command([b"".join(commands)])
    return [_reply(connection, label) for _ in commands]


def _reply(connection: Any, label: str) -> Reply:
    try:
        return connection.read_response()
    except ResponseError as error:
        note_server(error, label)
        return error


CREATE = _load("create")
WITHDRAW = _load("withdraw")
APPEND = _load("append")
CLAIM = _load("claim")
RECLAIM = _load("reclaim")
RENEW = _load("renew")
RELEASE = _load("release")
SWEEP = _load("sweep")
CANCEL = _load("cancel")
FORGET = _load("forget")
LIST_DUE = _load("list_due", writes=False)
REMOVE_UNREADABLE = _load("remove_unreadable")
TAKE_PENDING = _load("take_pending")
REMOVE_PENDING = _load("remove_pending")
RECORD_HEARTBEAT = _load("record_heartbeat")
COUNT_LIVE = _load("count_live", writes=False)
ACQUIRE_CONVERSATION = _load("acquire_conversation")
RELEASE_CONVERSATION = _load("release_conversation")
MARK_CONVERSATION_DELETED = _load("mark_conversation_deleted")
ACQUIRE_SLOT = _load("acquire_slot")
ADD_WAITING = _load("add_waiting")
TAKE_WAITING = _load("take_waiting")
REMOVE_WAITING = _load("remove_waiting")
BREAKER = _load("breaker")
