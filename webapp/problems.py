"""Errors as responses: every rejection and failure is `application/problem+json` (RFC 9457) with a stable `code`."""

import json
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from flask import Response, g, request
from flask.sansio.scaffold import Scaffold
from werkzeug.exceptions import HTTPException, default_exceptions

from millrace.webapp.descriptors import is_exhausted
from millrace.worker.errors import (
    DatabaseUnavailable,
    MillraceError,
    QueueUnavailable,
    RedisKeyInvalid,
    RedisUnavailable,
)
from millrace.worker.observability.logs import get_logger

RETRY_AFTER_SECONDS = 2

_CODES = {
    400: "malformed",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}

_UNAVAILABLE: tuple[tuple[type[MillraceError], str, str, str], ...] = (
    (
        RedisKeyInvalid,
        "redis_key_invalid",
        "record_unreadable",
        "A record in the event store is unreadable; the server's log names it. Please retry.",
    ),
    (RedisUnavailable, "redis_unavailable", "redis_away", "The event store is temporarily unavailable. Please retry."),
    (QueueUnavailable, "queue_unavailable", "queue_away", "The task queue is temporarily unavailable. Please retry."),
    (DatabaseUnavailable, "database_unavailable", "store_away", "Storage is temporarily unavailable. Please retry."),
)
"""The errors of the dependencies, each with the event to log, and the code and the detail of its problem."""

_NOTED = "millrace_problem_code"

_log = get_logger(__name__)


class Problem(MillraceError):
    """Ends a request with this status; `detail` is shown to clients, and `members` are added to the body.

    `retry_after` is in seconds; 429 and 503 have a default for it. `headers` are added to the response.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        **members: object,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after = RETRY_AFTER_SECONDS if retry_after is None and status in (429, 503) else retry_after
        self.headers = dict(headers or {})
        self.members = members

    def response(self) -> Response:
        """Return the problem as a response."""
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            **self.members,
        }
        response = Response(json.dumps(body), self.status, self.headers, content_type="application/problem+json")
        if self.retry_after is not None:
            response.headers["Retry-After"] = str(self.retry_after)
        return response


def invalid(field: str, detail: str) -> Problem:
    """Return the 422 that names an invalid field of a request."""
    return Problem(422, "invalid_field", detail, field=field)


Render = Callable[[Problem], Response]


def install(scaffold: Scaffold, render: Render = Problem.response) -> None:
    """Render every error of an app or a blueprint, Flask's own included, as a problem or in the form of a facade."""

    def on_http_error(error: HTTPException) -> Response:
        if error.code is not None and error.code < 400:
            return Response(error.get_body(), error.code, error.get_headers())
        return _with_http_headers(render(note(_http_problem(error))), error)

    def on_error(error: Exception) -> Response:
        return render(note(problem_of(error)))

    for code in default_exceptions:  # by code too: otherwise Flask finds a host app's error pages first
        scaffold.register_error_handler(code, on_http_error)
    scaffold.register_error_handler(HTTPException, on_http_error)
    for kind in (Problem, RedisUnavailable, RedisKeyInvalid, QueueUnavailable, DatabaseUnavailable, OSError, Exception):
        scaffold.register_error_handler(kind, on_error)


def note(problem: Problem) -> Problem:
    """Record the problem with which the current request is refused, for the metrics; return it."""
    setattr(g, _NOTED, problem.code)
    return problem


def noted_code() -> str | None:
    """Return the code of the problem with which the current request was refused; None if it was not."""
    return g.get(_NOTED)


def problem_of(error: Exception) -> Problem:
    """Return the problem that an error is answered with, and log it unless it is one already."""
    if isinstance(error, Problem):
        return error
    for kind, event, code, detail in _UNAVAILABLE:
        if isinstance(error, kind):
            _log.warning(event, route=_route(), error=error)
            return Problem(503, code, detail)
    if isinstance(error, OSError) and is_exhausted(error):
        _log.warning("out_of_descriptors", route=_route())
        return Problem(503, "overloaded", "This server has no file descriptors left. Please retry.")
    _log.error("request_failed", route=_route(), exc_info=error)
    return Problem(500, "internal", "An internal error occurred. Please retry later.")


def _route() -> str:
    """Return the request's method and route; its path is not logged, because it may contain a user's name."""
    return f"{request.method} {request.url_rule}"


def _http_problem(error: HTTPException) -> Problem:
    status = error.code or 500
    code = _CODES.get(status) or HTTPStatus(status).name.lower()
    return Problem(status, code, error.description or HTTPStatus(status).phrase)


def _with_http_headers(response: Response, error: HTTPException) -> Response:
    for name, value in error.get_headers():
        if name != "Content-Type":  # keeps Allow of a 405 and Retry-After of a 429
            response.headers[name] = value
    return response
