"""Temporary changes of the Lua scripts: a faster clock, or one rule removed."""

import hashlib
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from redis.exceptions import ResponseError

from millrace.worker.contract import scripts
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.scripts import Script

SCRIPTS = [each for each in vars(scripts).values() if isinstance(each, Script)]

# An epoch counts tenths of a second, because no real restart is faster. The machine's restarts take a millisecond.
FAST_CLOCK = ("math.floor(now_ms() / 100) - EPOCH_ORIGIN", "now_ms() - 100 * EPOCH_ORIGIN")


@contextmanager
def changed_scripts(redis: Redis, changes: Iterable[tuple[str, str]]) -> Generator[None]:
    """Run with every occurrence of the first text replaced by the second, in all the scripts that contain it.

    Raises ValueError if no script contains the text, or if a changed script is not valid Lua.
    """
    sources = {script: script.source for script in SCRIPTS}
    try:
        for old, new in changes:
            if not any(old in script.source for script in SCRIPTS):
                raise ValueError(f"no script contains: {old}")
            for script in SCRIPTS:
                _set_source(script, script.source.replace(old, new))
        for script in SCRIPTS:
            try:
                redis.script_load(script.source)
            except ResponseError as error:
                raise ValueError(f"{script.name}: {error}") from error
        yield
    finally:
        for script, source in sources.items():
            _set_source(script, source)


def _set_source(script: Script, source: str) -> None:
    script.source = source
    script.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
