"""The Redis servers that hold generations beside `MILLRACE_REDIS_URL`, each with the name that ids carry.

`a=redis://one.internal:6379,b=redis://two.internal:6379`: names of one or two characters, in any order.
"""

import re
from collections.abc import Sequence

from millrace.worker.settings.redis_url import stream_redis_url

_NEXT = re.compile(r",(?=\s*[^,=:/]{1,100}=)")  # a comma inside a URL is not followed by a name
_NAME = re.compile(r"[0-9a-z]{1,2}", re.ASCII)


def parse_stream_nodes(value: str) -> tuple[tuple[str, str], ...]:
    """Parse names with URLs, separated by commas."""
    found: list[tuple[str, str]] = []
    for part in _NEXT.split(value.strip()):
        name, _, url = part.strip().partition("=")
        if not _NAME.fullmatch(name) or not url:
            raise ValueError("takes NAME=URL, separated by commas; a name has one or two characters of a-z and 0-9")
        found.append((name, stream_redis_url(url)))
    _check_unique(found)
    return tuple(found)


def _check_unique(found: Sequence[tuple[str, str]]) -> None:
    for position, what in enumerate(("name", "URL")):
        given = [each[position] for each in found]
        if len(set(given)) < len(given):
            raise ValueError(f"takes each {what} once")
