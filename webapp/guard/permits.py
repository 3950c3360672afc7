"""Permits of addresses: a process works on few requests of one address at once, and its others wait in order.

All requests of a process share one processor, and each waits for Redis a dozen times. A user who asks while a client
elsewhere has many requests under way would wait for all of them each time. With permits it is one. They are limited
only where several addresses ask; a single one, such as that of a proxy that is not trusted, has the whole process.
"""

import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

from flask import g, has_app_context
from gevent.event import Event

from millrace.webapp.guard.client import client_address

OVERDUE_SECONDS = 0.5  # a request that takes longer, because a dependency is slow, keeps no other waiting
SHARED_SECONDS = 60.0  # for so long after a request of another address the permits of an address are limited

_PERMIT = "millrace_permit"

View = TypeVar("View", bound=Callable[..., Any])


class Permit:
    """The right of one request of an address to be worked on."""

    __slots__ = ("address", "granted_at", "is_granted", "permits")

    def __init__(self, permits: "Permits", address: str) -> None:
        self.permits = permits
        self.address = address
        self.granted_at = 0.0
        self.is_granted = Event()


class Permits:
    """The permits of one process, of which one address has up to `limit` at the same time."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._granted: dict[str, dict[Permit, None]] = {}  # in the order in which they were granted
        self._waiting: dict[str, deque[Permit]] = {}
        self._latest: str | None = None
        self._shared_until = 0.0

    @property
    def count(self) -> int:
        """The number of permits that are granted or waited for."""
        return sum(map(len, (*self._granted.values(), *self._waiting.values())))

    def wrap(self, view: View) -> View:
        """Return the view, each of whose requests needs a permit of its client's address."""

        @wraps(view)
        def permitted_view(**given: Any) -> Any:
            with self.hold():
                return view(**given)

        return cast("View", permitted_view)

    @contextmanager
    def hold(self) -> Generator[None]:
        """Hold a permit of the current request's address, until it is released."""
        setattr(g, _PERMIT, self.take(client_address()))
        try:
            yield
        finally:
            release_permit()

    def take(self, address: str) -> Permit:
        """Return a permit as soon as the address has one free, in the order of the calls."""
        now = time.monotonic()
        if address != self._latest:
            if self._latest is not None:
                self._shared_until = now + SHARED_SECONDS
            self._latest = address
        permit = Permit(self, address)
        if len(self._granted.get(address, ())) < self._limit or now >= self._shared_until:
            self._grant(permit)
            return permit
        self._waiting.setdefault(address, deque()).append(permit)
        try:
            while not permit.is_granted.wait(OVERDUE_SECONDS):
                self._release_overdue(address)
        except BaseException:
            self.release(permit)
            raise
        return permit

    def release(self, permit: Permit) -> None:
        """Release a permit, with which the next one of its address is granted; no effect on a released one."""
        granted, waiting = self._granted.get(permit.address, {}), self._waiting.get(permit.address, deque())
        if permit in granted:
            del granted[permit]
            if waiting:
                self._grant(waiting.popleft())
        elif permit in waiting:
            waiting.remove(permit)
        if not granted:
            self._granted.pop(permit.address, None)
        if not waiting:
            self._waiting.pop(permit.address, None)

    def _grant(self, permit: Permit) -> None:
        permit.granted_at = time.monotonic()
        self._granted.setdefault(permit.address, {})[permit] = None
        permit.is_granted.set()

    def _release_overdue(self, address: str) -> None:
        granted_before = time.monotonic() - OVERDUE_SECONDS
        for permit in [each for each in self._granted.get(address, ()) if each.granted_at <= granted_before]:
            self.release(permit)


def release_permit() -> None:
    """Release the permit of the current request, if it has one, because it waits for something that may take long."""
    permit = cast("Permit | None", g.pop(_PERMIT, None)) if has_app_context() else None
    if permit is not None:
        permit.permits.release(permit)


@contextmanager
def without_permit() -> Generator[None]:
    """Release the permit of the current request, and take another one afterwards."""
    permit = cast("Permit | None", g.get(_PERMIT)) if has_app_context() else None
    release_permit()
    yield
    if permit is not None:
        setattr(g, _PERMIT, permit.permits.take(permit.address))
