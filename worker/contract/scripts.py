"""The Lua scripts: loaded from `lua/`, run by their digest, sent anew where Redis has forgotten them."""

import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from redis.client import Pipeline
from redis.exceptions import NoScriptError

from worker.contract.connection import Redis, redis_away

_LUA = resources.files("worker.contract") / "lua"
_PRELUDE = (_LUA / "prelude.lua").read_text("ascii")

Argument = str | bytes | int
Reply = Any


class Script:
    """One Lua script. It starts with `#!lua`, so that Redis refuses it when out of memory, before any write."""

    def __init__(self, name: str, *, writes: bool = True) -> None:
        shebang = "#!lua\n" if writes else "#!lua flags=no-writes\n"
        self.name = name
        self.source = shebang + _PRELUDE + (_LUA / f"{name}.lua").read_text("ascii")
        self.digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, redis: Redis, keys: Sequence[str], *arguments: Argument) -> Reply:
        """Run the script and return its reply; raises RedisAway."""
        reply = run_all(redis, [(self, keys, arguments)])[0]
        if isinstance(reply, Exception):
            with redis_away():
                raise reply
        return reply


Call = tuple[Script, Sequence[str], Sequence[Argument]]


def run_all(redis: Redis, calls: Sequence[Call]) -> list[Reply]:
    """Run the calls in one round trip and return their replies, in order; raises RedisAway.

    A call that Redis refused has its exception in its place. After a restart Redis has forgotten the scripts: they
    are loaded and all the calls sent again, which every script bears.
    """
    with redis_away():
        replies = _send(redis, calls)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            for script in {call[0].digest: call[0] for call in calls}.values():
                redis.script_load(script.source)
            replies = _send(redis, calls)
    return replies


def _send(redis: Redis, calls: Sequence[Call]) -> list[Reply]:
    pipeline: Pipeline = redis.pipeline(transaction=False)
    for script, keys, arguments in calls:
        pipeline.evalsha(script.digest, len(keys), *keys, *arguments)  # pyright: ignore[reportArgumentType]
    return pipeline.execute(raise_on_error=False)


CREATE = Script("create")
WITHDRAW = Script("withdraw")
APPEND = Script("append")
CLAIM = Script("claim")
RECLAIM = Script("reclaim")
RENEW = Script("renew")
RELEASE = Script("release")
DUE = Script("due")
CANCEL = Script("cancel")
EXPIRED = Script("expired", writes=False)
SEEN = Script("seen")
ALIVE = Script("alive", writes=False)
