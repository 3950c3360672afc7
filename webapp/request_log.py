"""Request ids, one log line per request, and the request metrics. The id is passed on to the worker."""

import re
import time

from flask import Response, g, request
from flask.sansio.scaffold import Scaffold
from structlog.contextvars import bind_contextvars, clear_contextvars

from millrace.webapp.guard.auth import authenticated_owner
from millrace.webapp.problems import noted_code
from millrace.webapp.services import services
from millrace.worker.contract.ids import is_generation, new_id
from millrace.worker.contract.keys import hash_of
from millrace.worker.observability.logs import get_logger

HEADER = "X-Request-Id"

_VALID_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_UNLOGGED = ("/healthz", "/readyz", "/metrics", "/metrics/cluster")  # probes call these every few seconds
_ID, _STARTED_AT = "millrace_request_id", "millrace_started_at"

_log = get_logger(__name__)


def install(scaffold: Scaffold) -> None:
    """Identify and log every request; must be installed before the guards, so that their rejections are logged too."""
    scaffold.before_request(start_request)
    scaffold.after_request(finish_request)


def start_request() -> None:
    """Give the request an id: the one in its `X-Request-Id` header if that is valid, otherwise a new one."""
    given = request.headers.get(HEADER, "")
    setattr(g, _ID, given if _VALID_ID.fullmatch(given) else new_id())
    setattr(g, _STARTED_AT, time.monotonic())
    clear_contextvars()  # one greenlet serves all requests of a connection, one after the other
    bind_contextvars(request_id=request_id())


def request_id() -> str:
    """Return the current request's id."""
    return str(g.get(_ID, ""))


def finish_request(response: Response) -> Response:
    """Add the request id to the response, count it and log it. A stream only starts at this point."""
    response.headers[HEADER] = request_id()
    seconds = time.monotonic() - g.get(_STARTED_AT, time.monotonic())
    route = request.url_rule.rule if request.url_rule else "none"
    method = request.method if request.method in _METHODS else "other"
    metrics = services().metrics
    metrics.requests.labels(method, route, str(response.status_code)).inc()
    metrics.seconds.observe(seconds)
    if code := noted_code():
        metrics.problems.labels(code).inc()
    if not route.endswith(_UNLOGGED):
        owner = authenticated_owner()
        _log.info(
            "request",
            method=method,
            route=route,
            status=response.status_code,
            ms=round(seconds * 1000, 1),
            owner=hash_of(owner) if owner else None,
            **_ids(),
        )
    return response


def _ids() -> dict[str, str]:
    """Return the ids in the path; its other variables are not logged, because they may contain a user's name."""
    given = request.view_args or {}
    return {name: value for name, value in given.items() if isinstance(value, str) and is_generation(value)}
