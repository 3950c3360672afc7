"""Each request has an id, which goes on to the worker, a line in the log and its place in the figures."""

import re
import time

from flask import Response, g, request
from flask.sansio.scaffold import Scaffold
from structlog.contextvars import bind_contextvars, clear_contextvars

from millrace.webapp.guard.auth import authenticated_owner
from millrace.webapp.services import services
from millrace.worker.contract.ids import is_id, new_id
from millrace.worker.contract.keys import hash_of
from millrace.worker.observability.logs import get_logger

HEADER = "X-Request-Id"

_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_QUIET = ("/healthz", "/readyz", "/metrics")  # asked every few seconds, for ever
_ID, _BEGAN = "millrace_request_id", "millrace_began"

_log = get_logger(__name__)


def install(scaffold: Scaffold) -> None:
    """Take every request in, before any other room does, and tell of its answer."""
    scaffold.before_request(start_request)
    scaffold.after_request(finish_request)


def start_request() -> None:
    """Give the request its id: the one that it brings, where that is sane, or a new one."""
    brought = request.headers.get(HEADER, "")
    setattr(g, _ID, brought if _SANE.fullmatch(brought) else new_id())
    setattr(g, _BEGAN, time.monotonic())
    clear_contextvars()  # one greenlet serves one request of a connection after the other
    bind_contextvars(request_id=request_id())


def request_id() -> str:
    """Return the current request's id."""
    return str(g.get(_ID, ""))


def finish_request(response: Response) -> Response:
    """Say which request this answers, and tell of it; a stream has only begun by then."""
    response.headers[HEADER] = request_id()
    seconds = time.monotonic() - g.get(_BEGAN, time.monotonic())
    route = request.url_rule.rule if request.url_rule else "none"
    method = request.method if request.method in _METHODS else "other"
    figures = services().figures
    figures.requests.labels(method, route, str(response.status_code)).inc()
    figures.seconds.observe(seconds)
    if not route.endswith(_QUIET):
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
    """Return the ids in the address: what else stands there may be anybody's name."""
    given = request.view_args or {}
    return {name: value for name, value in given.items() if isinstance(value, str) and is_id(value)}
