"""The responses to requests over a limit, and the pace at which they come."""

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import gevent
from flask import Response, request

from millrace.webapp.guard.permits import release_permit
from millrace.worker.errors import RedisUnavailable

LONG_RETRY_SECONDS = 5.0
QUICK_REJECTIONS = 50  # of one owner or address in a minute; later ones are held
HELD_SECONDS = 1.0
MAX_HELD = 500  # each holds its connection and its greenlet
_MEMORY_SECONDS = 60.0
_MAX_KEYS = 10_000

View = Callable[..., Response]


class RejectionPace:
    """Holds the rejections of a client that goes on asking: its loop would take the processor's time from others."""

    def __init__(self) -> None:
        self._rejected: dict[str, tuple[float, int]] = {}
        self._held = 0

    def hold(self, key: str) -> None:
        """Count a rejection of the owner or address that the key stands for, and wait if there were many."""
        now = time.monotonic()
        since, count = self._rejected.pop(key, (now, 0))
        if now - since > _MEMORY_SECONDS:
            since, count = now, 0
        self._rejected[key] = since, count + 1
        if len(self._rejected) > _MAX_KEYS:
            del self._rejected[next(iter(self._rejected))]
        if count < QUICK_REJECTIONS or self._held >= MAX_HELD:
            return
        self._held += 1
        release_permit()
        try:
            gevent.sleep(HELD_SECONDS)
        finally:
            self._held -= 1


def accepts_event_stream() -> bool:
    """Return whether the current request comes from an EventSource, or from a client that reads what one reads."""
    return request.method == "GET" and "text/event-stream" in request.headers.get("Accept", "").lower()


def reconnects_event_sources(view: View) -> View:
    """Make a view answer an EventSource with an empty stream while Redis is away: after a 503 it would give up."""

    @wraps(view)
    def follow(**given: Any) -> Response:
        try:
            return view(**given)
        except RedisUnavailable:
            if not accepts_event_stream():
                raise
            return delayed_reconnect(LONG_RETRY_SECONDS, "the event store is temporarily unavailable")

    return follow


def delayed_reconnect(seconds: float, why: str = "too often") -> Response:
    """Return an empty stream whose `retry:` makes an EventSource reconnect later; after a 429 it would give up."""
    wait = max(LONG_RETRY_SECONDS, seconds) * random.uniform(1, 2)
    body = f": {why}\nretry: {round(wait * 1000)}\n\n"
    return Response(body, headers={"Cache-Control": "no-store"}, content_type="text/event-stream")


def waiting_time(seconds: int) -> str:
    """Return a waiting time as a client's user reads it."""
    return "1 second" if seconds == 1 else f"{seconds} seconds"
