"""How often one may ask and begin to follow: flask-limiter, which counts in Redis.

While its storage is away, following goes on unlimited, and nothing new is begun.
"""

import math
import random
import time
from collections.abc import Callable
from functools import wraps
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Literal, NamedTuple, TypeVar, cast

from flask import Flask, Response, current_app, g, request
from flask.sansio.scaffold import Scaffold
from flask_limiter import Limiter, RateLimitExceeded, RequestLimit
from limits.errors import StorageError
from limits.storage import RedisStorage

from millrace.webapp.guard.auth import current_owner, ensure_owner
from millrace.webapp.problems import Problem
from millrace.worker.contract.connection import connect
from millrace.worker.contract.keys import LIMITS, hash_of
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.schema import Settings

LimitKind = Literal["create", "follow"]
View = Callable[..., Any]
Marked = TypeVar("Marked", bound=Callable[..., Any])

STORAGE_TIMEOUT_SECONDS = (
    2.0  # somebody waits; but a storage, or a machine, that stands still for a second refuses nobody
)
STORAGE_RETRY_SECONDS = 1.0  # a storage that has just failed is not asked again for so long
LONG_RETRY_SECONDS = 5.0

_MARK = "limited_as"
_EXTENSION = "millrace-limits"
_LIMIT = "millrace_limit"

_log = get_logger(__name__)


def limited(kind: LimitKind) -> Callable[[Marked], Marked]:
    """Have a route that makes a generation (`create`), or follows one (`follow`), limited in every app it is put in."""

    def mark(view: Marked) -> Marked:
        setattr(view, _MARK, kind)
        return view

    return mark


def limit_kind_of(view: Callable[..., Any]) -> LimitKind | None:
    """Return as what a view is limited."""
    return cast("LimitKind | None", getattr(view, _MARK, None))


def install(scaffold: Scaffold) -> None:
    """Add the `RateLimit-` headers to the answers of what is limited."""
    scaffold.after_request(add_headers)


def apply_limits(app: Flask, settings: Settings, on_failure: Callable[[], object]) -> None:
    """Limit the routes of an app that are marked so, once they are there; `on_failure` hears of a storage away."""
    app.extensions[_EXTENSION] = limits = RateLimits(settings, on_failure)
    for endpoint, view in app.view_functions.items():
        kind = limit_kind_of(view)
        if kind is not None:
            app.view_functions[endpoint] = limits.guarded(view, kind)


def add_headers(response: Response) -> Response:
    """Say how many requests are left, and for how many seconds that is so.

    https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-06
    """
    limit = cast("RequestLimit | None", g.get(_LIMIT))
    if limit is not None:
        window = cast("RateLimits", current_app.extensions[_EXTENSION]).window(limit)
        if window is not None:
            remaining, seconds = window
            response.headers["RateLimit-Limit"] = str(limit.limit.amount)
            response.headers["RateLimit-Remaining"] = str(remaining)
            response.headers["RateLimit-Reset"] = str(math.ceil(seconds))
    return response


class RateLimits:
    """One app's limits."""

    def __init__(self, settings: Settings, on_failure: Callable[[], object]) -> None:
        url = settings.limits.redis_url or settings.redis.url
        client = connect(url, timeout_seconds=STORAGE_TIMEOUT_SECONDS, retries=0)
        options: Any = {"connection_pool": client.connection_pool, "wrap_exceptions": True, "key_prefix": LIMITS}
        # By an app of its own, so that what a host's app has set for its own limiter (`RATELIMIT_…`) is for that alone.
        self._limiter = Limiter(
            _owner_to_follow,
            app=Flask("millrace.limits"),
            storage_uri=url.replace("unix://", "redis+unix://", 1),
            storage_options=options,
            strategy="sliding-window-counter",  # its windows run by Redis's clock
        )
        self._rates = {
            "create": ((settings.limits.rate, _owner_to_ask), (settings.limits.address_rate, _address)),
            "follow": ((settings.limits.follow_rate, _owner_to_follow),),
        }
        self._away_until = 0.0
        self._on_failure = on_failure

    def guarded(self, view: View, kind: LimitKind) -> View:
        """Return the view with its limits before it."""
        limited_view = view
        for rate, key in self._rates[kind]:
            if rate:
                limited_view = self._limiter.shared_limit(rate, scope=kind, key_func=key)(limited_view)
        if limited_view is view:
            return view

        @wraps(view)
        def answer(**given: Any) -> Any:
            if time.monotonic() < self._away_until:
                return self._unlimited(view, kind, given)
            try:
                return limited_view(**given)
            except StorageError as error:  # of the check, which is over before the view begins
                self._note_away(error)
                return self._unlimited(view, kind, given)
            except RateLimitExceeded:
                return self._refused(kind)
            finally:
                setattr(g, _LIMIT, self._limiter.current_limit)

        return answer

    def window(self, limit: RequestLimit) -> tuple[int, float] | None:
        """Return how many requests are left, and the seconds until there are more; None where the storage is away."""
        if time.monotonic() < self._away_until:
            return None
        expiry = limit.limit.get_expiry()
        try:
            counts = cast("RedisStorage", self._limiter.storage).get_sliding_window(limit.key, expiry)
        except StorageError as error:
            self._note_away(error)
            return None
        return remaining_in(limit.limit.amount, expiry, WindowCounts(*counts))

    def _unlimited(self, view: View, kind: LimitKind, given: dict[str, Any]) -> Any:
        if kind == "create":
            detail = "How often you have asked can't be told just now, so nothing new is begun. Please try again."
            raise Problem(503, "limits_away", detail)
        return view(**given)

    def _refused(self, kind: LimitKind) -> Response:
        limit = self._limiter.current_limit
        window = None if limit is None else self.window(limit)
        seconds = max(1, math.ceil(window[1] if window else LONG_RETRY_SECONDS))
        if kind == "follow" and "text/event-stream" in request.headers.get("Accept", "").lower():
            return _come_back_later(seconds)
        what = "asked" if kind == "create" else "begun to follow"
        detail = f"You have {what} very often in a short time. Please wait {seconds} seconds and try again."
        raise Problem(429, "rate_limited", detail, retry_after=seconds)

    def _note_away(self, error: StorageError) -> None:
        self._on_failure()
        self._away_until = time.monotonic() + STORAGE_RETRY_SECONDS
        _log.warning("limiter_away", error=str(error))


class WindowCounts(NamedTuple):
    """What was counted in the previous and the current window, and the seconds for which each is still kept."""

    previous: int
    previous_left: float
    current: int
    current_left: float


def remaining_in(amount: int, expiry: float, counts: WindowCounts) -> tuple[int, float]:
    """Return what is left of a sliding window's amount, and the seconds until there is more.

    The counts are weighed as by https://limits.readthedocs.io/en/stable/strategies.html#sliding-window-counter
    """
    previous, previous_left, current, current_left = counts
    weighted = math.floor(previous * previous_left / expiry) if previous_left > 0 else 0
    remaining = max(0, amount - weighted - current)
    if current < amount and weighted:  # the previous window's weight fades
        return remaining, max(0.0, previous_left - min(weighted, amount - current) * expiry / previous)
    return remaining, max(0.0, current_left - expiry)  # until the current window becomes the previous


def _come_back_later(seconds: int) -> Response:
    """Return what makes an EventSource try again later; after a 429 it never would."""
    wait = max(LONG_RETRY_SECONDS, seconds) * random.uniform(1, 2)
    body = f": too often\nretry: {round(wait * 1000)}\n\n"
    return Response(body, headers={"Cache-Control": "no-store"}, content_type="text/event-stream")


def _owner_to_ask() -> str:
    return hash_of(ensure_owner())


def _owner_to_follow() -> str:
    owner = current_owner()
    return _address() if owner is None else hash_of(owner)


def _address() -> str:
    """Return the asker's address; of IPv6 the network, of which one user has all the addresses."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:  # a socket's path, or nothing
        return "none"
    return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)
