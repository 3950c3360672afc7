"""The places of readers and of waiting requests in one process, and how many of them one client may hold."""

import random
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from millrace.webapp.guard.client import Client
from millrace.webapp.problems import Problem
from millrace.worker.settings.schema import Settings

CROWDED_SECONDS = 30
_EVERYONE = ""


class Places:
    """Counts what is held, in all, per owner and per address. A place without a client counts for the whole only."""

    def __init__(self, limits: tuple[int, int, int]) -> None:
        self._limits = limits
        self._held: tuple[Counter[str], ...] = (Counter(), Counter(), Counter())

    @property
    def count(self) -> int:
        """The number of places that are held."""
        return self._held[0][_EVERYONE]

    def find_full(self, client: Client | None, wanted: int) -> int | None:
        """Return the first of the limits that has no room for this many more (0 all, 1 owner, 2 address), else None."""
        for number, (limit, held, name) in enumerate(zip(self._limits, self._held, _names(client), strict=False)):
            if held[name] + wanted > limit:
                return number
        return None

    def take(self, client: Client | None) -> None:
        """Count one more place."""
        for held, name in zip(self._held, _names(client), strict=False):
            held[name] += 1

    def release(self, client: Client | None) -> None:
        """Count one place less."""
        for held, name in zip(self._held, _names(client), strict=False):
            held[name] -= 1
            if not held[name]:
                del held[name]


class ReaderPlaces(Places):
    """The places of readers: of streams, and of each generation that a stream follows."""

    def __init__(self, settings: Settings) -> None:
        relay = settings.relay
        super().__init__((relay.max_readers, relay.max_readers_per_user, relay.max_readers_per_address))

    def rejection(self, client: Client | None, wanted: int = 1) -> Problem | None:
        """Return the problem of a client for whose readers there is no room, None if there is."""
        match self.find_full(client, wanted):
            case None:
                return None
            case 0:
                detail = "This server has reached its limit of open streams. Retry in a few seconds."
                return Problem(503, "too_many_readers", detail, retry_after=random.randint(1, 5))
            case 1:
                yours = "You have too many streams open (MILLRACE_MAX_READERS_PER_USER). Close one, then try again."
                return Problem(429, "too_many_streams", yours, retry_after=CROWDED_SECONDS)
            case _:
                shared = "Your address has too many streams open (MILLRACE_MAX_READERS_PER_ADDRESS). Try again later."
                return Problem(429, "too_many_streams", shared, retry_after=CROWDED_SECONDS)


class WaitingPlaces(Places):
    """The places of requests that wait for a whole answer. A client has as many as it may have answers running."""

    def __init__(self, settings: Settings) -> None:
        limits = settings.limits
        super().__init__((settings.relay.max_waiters, limits.max_active_per_user, limits.max_active_per_address))

    @contextmanager
    def hold(self, client: Client | None) -> Generator[None]:
        """Hold a place; raises Problem 503 `too_many_waiting`, 429 `too_many_active`."""
        match self.find_full(client, 1):
            case None:
                pass
            case 0:
                detail = "Too many requests wait for whole answers on this server. Retry in a few seconds, or stream."
                raise Problem(503, "too_many_waiting", detail, retry_after=random.randint(1, 5))
            case _:
                yours = "Too many of your requests wait for whole answers. Wait until one has its answer, or stream."
                raise Problem(429, "too_many_active", yours, retry_after=CROWDED_SECONDS)
        self.take(client)
        try:
            yield
        finally:
            self.release(client)


class ReceivedBytes:
    """The bytes of messages that clients have sent, and that wait, in all connections of a process."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0

    @property
    def is_full(self) -> bool:
        """Whether there are more than the limit allows."""
        return self._held > self._limit

    def add(self, count: int) -> None:
        """Count bytes that were received, or, with a negative number, bytes that wait no longer."""
        self._held += count


def _names(client: Client | None) -> tuple[str, ...]:
    return (_EVERYONE,) if client is None else (_EVERYONE, *client)
