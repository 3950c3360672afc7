"""Rate limits for creating and following generations: flask-limiter, with its counters in Redis.

While the counters' storage is unavailable, following is not limited, and creating is rejected with 503.
"""

import math
import random
import time
from collections.abc import Callable
from functools import wraps
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, Literal, NamedTuple, TypeVar, cast

from flask import Flask, Response, g, request
from flask.sansio.scaffold import Scaffold
from flask_limiter import Limiter, RateLimitExceeded, RequestLimit
from limits.errors import StorageError
from limits.storage import RedisStorage

from millrace.webapp.guard.auth import current_owner, ensure_owner
from millrace.webapp.mounts import MountState
from millrace.webapp.problems import Problem
from millrace.worker.contract.connection import connect
from millrace.worker.contract.keys import LIMITS, hash_of
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.schema import Settings

LimitKind = Literal["create", "follow"]
View = Callable[..., Any]
Marked = TypeVar("Marked", bound=Callable[..., Any])

STORAGE_TIMEOUT_SECONDS = 2.0  # a client waits for it, but a pause of one second must not cause a rejection
STORAGE_RETRY_SECONDS = 1.0  # after a failure the storage is not contacted for this time
LONG_RETRY_SECONDS = 5.0

_MARK = "limited_as"
_LIMIT = "millrace_limit"

_limits: "MountState[RateLimits]" = MountState("rate_limits")

_log = get_logger(__name__)


def limited(kind: LimitKind) -> Callable[[Marked], Marked]:
    """Mark a view that creates (`create`) or follows (`follow`) generations as limited, in every app that has it."""

    def mark(view: Marked) -> Marked:
        setattr(view, _MARK, kind)
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
    limits = RateLimits(settings, on_failure)
    _limits.set(app, mount, limits)
    for endpoint, view in app.view_functions.items():
        kind = limit_kind_of(view)
        if kind is not None and endpoint.startswith(f"{mount}."):
            app.view_functions[endpoint] = limits.wrap(view, kind)


def add_headers(response: Response) -> Response:
    """Add how many requests remain, and the seconds until there are more.

    https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-06
    """
    limit = cast("RequestLimit | None", g.get(_LIMIT))
    if limit is not None:
        window = _limits.current().window(limit)
        if window is not None:
            remaining, seconds = window
            response.headers["RateLimit-Limit"] = str(limit.limit.amount)
            response.headers["RateLimit-Remaining"] = str(remaining)
            response.headers["RateLimit-Reset"] = str(math.ceil(seconds))
    return response


class RateLimits:
    """The rate limits of one mount."""

    def __init__(self, settings: Settings, on_failure: Callable[[], object]) -> None:
        url = settings.limits.redis_url or settings.redis.url
        client = connect(url, timeout_seconds=STORAGE_TIMEOUT_SECONDS, retries=0)
        options: Any = {"connection_pool": client.connection_pool, "wrap_exceptions": True, "key_prefix": LIMITS}
        # An app of its own, so that a host app's settings for its own limiter (`RATELIMIT_…`) have no effect here.
        self._limiter = Limiter(
            _follower_key,
            app=Flask("millrace.limits"),
            storage_uri=url.replace("unix://", "redis+unix://", 1),
            storage_options=options,
            strategy="sliding-window-counter",  # its windows use Redis's clock
        )
        self._rates = {
            "create": ((settings.limits.rate, _creator_key), (settings.limits.address_rate, address_key)),
            "follow": ((settings.limits.follow_rate, _follower_key),),
        }
        self._unavailable_until = 0.0
        self._on_failure = on_failure

    def wrap(self, view: View, kind: LimitKind) -> View:
        """Return the view with its limits checked before it runs."""
        limited_view = view
        for rate, key in self._rates[kind]:
            if rate:
                limited_view = self._limiter.shared_limit(rate, scope=kind, key_func=key)(limited_view)
        if limited_view is view:
            return view

        @wraps(view)
        def limited_or_rejected(**given: Any) -> Any:
            if time.monotonic() < self._unavailable_until:
                return self._serve_without_limits(view, kind, given)
            try:
                return limited_view(**given)
            except StorageError as error:  # raised by the check, before the view runs
                self._note_failure(error)
                return self._serve_without_limits(view, kind, given)
            except RateLimitExceeded:
                return self._reject(kind)
            finally:
                setattr(g, _LIMIT, self._limiter.current_limit)

        return limited_or_rejected

    def window(self, limit: RequestLimit) -> tuple[int, float] | None:
        """Return the remaining requests and the seconds until there are more, None if the storage is unavailable."""
        if time.monotonic() < self._unavailable_until:
            return None
        expiry = limit.limit.get_expiry()
        try:
            counts = cast("RedisStorage", self._limiter.storage).get_sliding_window(limit.key, expiry)
        except StorageError as error:
            self._note_failure(error)
            return None
        return remaining_in(limit.limit.amount, expiry, WindowCounts(*counts))

    def _serve_without_limits(self, view: View, kind: LimitKind, given: dict[str, Any]) -> Any:
        if kind == "create":
            raise Problem(503, "limits_away", "Rate limiting is temporarily unavailable. Please retry.")
        return view(**given)

    def _reject(self, kind: LimitKind) -> Response:
        limit = self._limiter.current_limit
        window = None if limit is None else self.window(limit)
        seconds = max(1, math.ceil(window[1] if window else LONG_RETRY_SECONDS))
        if kind == "follow" and "text/event-stream" in request.headers.get("Accept", "").lower():
            return _delayed_reconnect(seconds)
        wait = "1 second" if seconds == 1 else f"{seconds} seconds"
        detail = f"Rate limit exceeded. Try again in {wait}."
        raise Problem(429, "rate_limited", detail, retry_after=seconds)

    def _note_failure(self, error: StorageError) -> None:
        self._on_failure()
        self._unavailable_until = time.monotonic() + STORAGE_RETRY_SECONDS
        _log.warning("limiter_unavailable", error=str(error))


class WindowCounts(NamedTuple):
    """The counts of the previous and the current window, and the seconds until each expires."""

    previous: int
    previous_left: float
    current: int
    current_left: float


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


def _delayed_reconnect(seconds: int) -> Response:
    """Return an empty stream whose `retry:` makes an EventSource reconnect later; after a 429 it would give up."""
    wait = max(LONG_RETRY_SECONDS, seconds) * random.uniform(1, 2)
    body = f": too often\nretry: {round(wait * 1000)}\n\n"
    return Response(body, headers={"Cache-Control": "no-store"}, content_type="text/event-stream")


def _creator_key() -> str:
    return hash_of(ensure_owner())


def _follower_key() -> str:
    owner = current_owner()
    return address_key() if owner is None else hash_of(owner)


def address_key() -> str:
    """Return the client's address; for IPv6 its /64 network, because one user has all the addresses of it."""
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:  # a Unix socket's path, or empty
        return "none"
    return str(ip_network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)
