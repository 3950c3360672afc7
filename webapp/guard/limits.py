"""Rate limits of every route by the kind of its work, per owner and per address: flask-limiter, with Redis.

Each request needs a permit of its address, from this check on.

While the counters' storage is unavailable, nothing new is created (503), and all other requests are served.
"""

import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_args

from flask import Flask, Response, g
from flask.sansio.scaffold import Scaffold
from flask_limiter import Limiter
from limits import RateLimitItem, parse_many
from limits.errors import StorageError
from limits.storage import RedisStorage

from millrace.webapp.guard.auth import OWNER_COUNTER, current_owner
from millrace.webapp.guard.client import client_address
from millrace.webapp.guard.permits import Permits
from millrace.webapp.guard.rejections import (
    LONG_RETRY_SECONDS,
    RejectionPace,
    accepts_event_stream,
    delayed_reconnect,
    waiting_time,
)
from millrace.webapp.guard.windows import Counter, SlidingWindows, WindowCounts
from millrace.webapp.mounts import MountState
from millrace.webapp.problems import Problem, note
from millrace.worker.contract.keys import LIMITS, hash_of
from millrace.worker.contract.redis.connection import connect
from millrace.worker.contract.redis.named_client import describe, label_of
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.groups import LimitSettings
from millrace.worker.settings.schema import Settings

LimitKind = Literal["create", "follow", "read", "write", "public"]
View = Callable[..., Any]
Marked = TypeVar("Marked", bound=Callable[..., Any])
T = TypeVar("T")

STORAGE_TIMEOUT_SECONDS = 2.0  # a client waits for it, but a pause of one second must not cause a rejection
STORAGE_RETRY_SECONDS = 1.0  # after a failure the storage is not contacted for this time

_SETTINGS: dict[LimitKind, tuple[str, str]] = {
    "create": ("rate", "address_rate"),
    "follow": ("follow_rate", "address_follow_rate"),
    "read": ("read_rate", "address_read_rate"),
    "write": ("write_rate", "address_write_rate"),
    "public": ("", "address_read_rate"),
}
"""The two settings of each kind: the rate per owner, if there is one, and the rate per address."""

_MARK = "limited_as"
_EVENT_SOURCES = "serves_event_sources"
_COUNTED = "millrace_counted"
_RECENT_SECONDS = 1.0

_limits: "MountState[RateLimits]" = MountState("rate_limits")
_permits: MountState[Permits] = MountState("permits")

_log = get_logger(__name__)


def limited(kind: LimitKind, *, serves_event_sources: bool = True) -> Callable[[Marked], Marked]:
    """Mark a view as limited, in every app that has it, by what it does.

    `create` starts a generation or stores something new, `follow` opens a stream, `write` changes or deletes, `read`
    does none of these, and `public` reads what needs no authentication. Over its limit a `follow` makes an EventSource
    reconnect later, unless its clients are others (`serves_event_sources`), which expect a 429.
    """

    def mark(view: Marked) -> Marked:
        setattr(view, _MARK, kind)
        setattr(view, _EVENT_SOURCES, kind == "follow" and serves_event_sources)
        return view

    return mark


def limit_kind_of(view: Callable[..., Any]) -> LimitKind | None:
    """Return the kind that `limited` has marked a view with, None if it is not limited."""
    return cast("LimitKind | None", getattr(view, _MARK, None))


def install(scaffold: Scaffold) -> None:
    """Add the `RateLimit-` headers to the responses of limited views."""
    scaffold.after_request(add_headers)


def apply_limits(app: Flask, mount: str, settings: Settings, on_failure: Callable[[], object]) -> None:
    """Limit the marked views of a mount whose routes are registered; call `on_failure` each time the storage fails."""
    limits, permits = RateLimits(settings, on_failure), Permits(settings.limits.max_requests_per_address)
    _limits.set(app, mount, limits)
    _permits.set(app, mount, permits)
    OWNER_COUNTER.set(app, mount, limits.count_new_owner)
    for endpoint, view in app.view_functions.items():
        kind = limit_kind_of(view)
        if kind is not None and endpoint.startswith(f"{mount}."):
            app.view_functions[endpoint] = permits.wrap(limits.wrap(view, kind))


@contextmanager
def admit(kind: LimitKind) -> Generator[None]:
    """Hold a permit, and count this work for the current request's owner and address; raises Problem 429 and 503.

    For work that is no request of its own: a message on a connection.
    """
    with _permits.current().hold():
        _limits.current().count(kind)
        yield


def close(app: Flask, mount: str) -> None:
    """Close the connections of a mount's limits to their storage."""
    _limits.of(app, mount).close()


def add_headers(response: Response) -> Response:
    """Add how many requests remain, and the seconds until there are more.

    https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-06
    """
    counted = cast("_Counted | None", g.get(_COUNTED))
    if counted is not None:
        window = _limits.current().window_of(counted)
        if window is not None:
            remaining, seconds = window
            response.headers["RateLimit-Limit"] = str(counted.counter.rate.amount)
            response.headers["RateLimit-Remaining"] = str(remaining)
            response.headers["RateLimit-Reset"] = str(math.ceil(seconds))
    return response


class Limit(NamedTuple):
    """The rates of one setting. They all hold at once; a rejection names the variable."""

    variable: str
    rates: tuple[RateLimitItem, ...]


class _Counted(NamedTuple):
    """The counter that the response's headers are about, and its window when the request was counted."""

    counter: Counter
    counts: WindowCounts
    at: float


class RateLimits:
    """The rate limits of one mount."""

    def __init__(self, settings: Settings, on_failure: Callable[[], object]) -> None:
        url = settings.limits.redis_url or settings.redis.url
        client = connect(url, "limits", timeout_seconds=STORAGE_TIMEOUT_SECONDS, retries=0)
        options: Any = {"connection_pool": client.connection_pool, "wrap_exceptions": True, "key_prefix": LIMITS}
        # An app of its own, so that a host app's settings for its own limiter (`RATELIMIT_…`) have no effect here.
        limiter = Limiter(
            client_address,
            app=Flask("millrace.limits"),
            storage_uri="redis://",  # only names the kind of storage: the pool knows the way
            storage_options=options,
            strategy="sliding-window-counter",  # its windows use Redis's clock
        )
        # Its decorators cannot count an owner that begins after the request is valid, so the windows are counted here.
        self._strategy, self._windows = limiter.limiter, SlidingWindows(cast("RedisStorage", limiter.storage), client)
        self._of_owner = {kind: _limit(settings, _SETTINGS[kind][0]) for kind in get_args(LimitKind)}
        self._of_address = {kind: _limit(settings, _SETTINGS[kind][1]) for kind in get_args(LimitKind)}
        self._new_owners = _limit(settings, "new_owner_rate")
        self._pace = RejectionPace()
        self._unavailable_until = 0.0
        self._on_failure = on_failure
        self._connections = client.connection_pool
        self._label = label_of(client)

    def close(self) -> None:
        """Close the connections to the storage; they are opened again when a request is counted."""
        self._connections.disconnect()

    def wrap(self, view: View, kind: LimitKind) -> View:
        """Return the view with its limits checked before it runs, and before the request's body is read."""
        used = (self._of_owner[kind], self._of_address[kind], *([self._new_owners] if kind == "create" else []))
        if not any(limit.rates for limit in used):
            return view

        @wraps(view)
        def limited_view(**given: Any) -> Any:
            try:
                self.count(kind)
            except Problem as problem:
                if problem.code == "rate_limited" and getattr(view, _EVENT_SOURCES) and accepts_event_stream():
                    note(problem)
                    return delayed_reconnect(problem.retry_after or LONG_RETRY_SECONDS)
                raise
            return view(**given)

        return limited_view

    def count(self, kind: LimitKind) -> None:
        """Count work of this kind for the current request's owner and address; raises Problem 429 and 503."""
        if over := self._while_available(kind, lambda: self._count(kind)):
            raise self._rejection(*over)

    def count_new_owner(self, owner: str) -> None:
        """Count an owner that is about to begin, and its first request; raises Problem 429 and 503."""

        def count() -> None:
            if over := self._hit("owner", (self._new_owners, client_address())):
                raise self._too_many_owners(over[1])
            g.pop(_COUNTED, None)  # the headers are about the owner
            self._hit("create", (self._of_owner["create"], hash_of(owner)))

        if self._new_owners.rates or self._of_owner["create"].rates:
            self._while_available("create", count)

    def window(self, counter: Counter) -> tuple[int, float] | None:
        """Return the remaining requests and the seconds until there are more, None if the storage is unavailable."""
        if time.monotonic() < self._unavailable_until:
            return None
        try:
            counts = self._windows.counts(counter)
        except StorageError as error:
            self._note_failure(error)
            return None
        return remaining_in(counter.rate.amount, counter.rate.get_expiry(), counts)

    def window_of(self, counted: _Counted) -> tuple[int, float] | None:
        """Return the window as it was when the request was counted; as it is now, for a request that took long."""
        if time.monotonic() - counted.at > _RECENT_SECONDS:
            return self.window(counted.counter)
        return remaining_in(counted.counter.rate.amount, counted.counter.rate.get_expiry(), counted.counts)

    def _count(self, kind: LimitKind) -> "tuple[Limit, Counter] | None":
        """Count a request for its owner and for its address; return the limit without room for it, and its counter.

        A request beyond its owner's limit does not count for the address, which other users may share. One without an
        owner counts for its address in both, and one that is not authenticated for its address alone.
        """
        address, of_address = client_address(), self._of_address[kind]
        try:
            owner = None if kind == "public" else current_owner()
        except Problem:
            if over := self._hit(kind, (of_address, address)):
                return over
            raise
        limits = [(self._of_owner[kind], address if owner is None else hash_of(owner)), (of_address, address)]
        if owner is None and kind == "create":  # its owner is counted when it begins
            if over := self._find_exhausted("owner", self._new_owners, address):
                raise self._too_many_owners(over)
            del limits[0]
        return self._hit(kind, *limits)

    def _hit(self, scope: str, *limits: tuple[Limit, str]) -> tuple[Limit, Counter] | None:
        """Count a request by each limit for its subject, up to the first without room; return that one's counter."""
        used = [
            (limit, Counter(rate, rate.key_for(scope, subject))) for limit, subject in limits for rate in limit.rates
        ]
        if not used:
            return None
        full, counts = self._windows.count([counter for _, counter in used])
        setattr(g, _COUNTED, _Counted(used[full or 0][1], counts, time.monotonic()))
        return None if full is None else used[full]

    def _find_exhausted(self, scope: str, limit: Limit, subject: str) -> Counter | None:
        """Return a counter that has no room, without counting; None if all have."""
        full = (rate for rate in limit.rates if not self._strategy.test(rate, scope, subject))
        return next((Counter(rate, rate.key_for(scope, subject)) for rate in full), None)

    def _while_available(self, kind: LimitKind, count: Callable[[], T]) -> T | None:
        """Return the result of `count`; while the storage is unavailable, None, or Problem 503 for a create."""
        if time.monotonic() >= self._unavailable_until:
            try:
                return count()
            except StorageError as error:
                self._note_failure(error)
        if kind == "create":
            raise Problem(503, "limits_away", "Rate limiting is temporarily unavailable. Please retry.")
        return None

    def _rejection(self, limit: Limit, over: Counter) -> Problem:
        seconds = self._hold(over)
        detail = f"Rate limit exceeded ({limit.variable}). Try again in {waiting_time(seconds)}."
        return Problem(429, "rate_limited", detail, retry_after=seconds)

    def _too_many_owners(self, over: Counter) -> Problem:
        seconds = self._hold(over)
        detail = (
            f"Too many new users from this address ({self._new_owners.variable}). A client that has a cookie must send "
            f"it; others can try again in {waiting_time(seconds)}."
        )
        return Problem(429, "too_many_owners", detail, retry_after=seconds)

    def _hold(self, over: Counter) -> int:
        """Hold the rejection if there were many, and return the seconds until the counter has room."""
        self._pace.hold(over.key)
        window = self.window(over)
        return max(1, math.ceil(window[1] if window else LONG_RETRY_SECONDS))

    def _note_failure(self, error: StorageError) -> None:
        self._on_failure()
        self._unavailable_until = time.monotonic() + STORAGE_RETRY_SECONDS
        reason = describe(error.storage_error)
        _log.warning("limiter_unavailable", error=reason if self._label in reason else f"{self._label}: {reason}")


def remaining_in(amount: int, expiry: float, counts: WindowCounts) -> tuple[int, float]:
    """Return the remaining requests of a sliding window of `amount` requests, and the seconds until there are more.

    The previous window is weighted as in https://limits.readthedocs.io/en/stable/strategies.html#sliding-window-counter
    """
    previous, previous_left, current, current_left = counts
    weighted = math.floor(previous * previous_left / expiry) if previous_left > 0 else 0
    remaining = max(0, amount - weighted - current)
    if current < amount and weighted:  # the weight of the previous window decreases
        return remaining, max(0.0, previous_left - min(weighted, amount - current) * expiry / previous)
    return remaining, max(0.0, current_left - expiry)  # until the current window becomes the previous


def _limit(settings: Settings, name: str) -> Limit:
    """Return the limit of a field of `LimitSettings`, its rates by the length of their windows; none for `off`."""
    if not name:
        return Limit("", ())
    (variable, *_) = LimitSettings.__dataclass_fields__[name].metadata["names"]
    rates = getattr(settings.limits, name)
    return Limit(variable, tuple(sorted(parse_many(rates), key=lambda each: each.get_expiry())) if rates else ())
