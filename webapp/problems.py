"""Every refusal and failure as `application/problem+json` (RFC 9457), with a stable `code`."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Response, request
from flask.sansio.scaffold import Scaffold
from werkzeug.exceptions import HTTPException, default_exceptions

from millrace.worker.errors import DatabaseUnavailable, MillraceError, QueueUnavailable, RedisUnavailable
from millrace.worker.observability.logs import get_logger

RETRY_AFTER_SECONDS = 2

_CODES = {
    400: "malformed",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}

_log = get_logger(__name__)


class Problem(MillraceError):
    """Ends a request with this status; `detail` is safe to show to anybody, `members` are added to the answer.

    `retry_after` is in seconds; 429 and 503 always have one. `headers` go with the answer as they are.
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
        """Return the answer."""
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
    """Return the 422 that names a request's field."""
    return Problem(422, "invalid_field", detail, field=field)


def install(scaffold: Scaffold) -> None:
    """Answer every error of an app or a blueprint, Flask's own too, as a problem."""
    scaffold.register_error_handler(Problem, Problem.response)
    scaffold.register_error_handler(RedisUnavailable, _redis_away)
    scaffold.register_error_handler(QueueUnavailable, _queue_away)
    scaffold.register_error_handler(DatabaseUnavailable, _store_away)
    for code in default_exceptions:  # by their codes as well: a host app's own pages are found first otherwise
        scaffold.register_error_handler(code, _http)
    scaffold.register_error_handler(HTTPException, _http)
    scaffold.register_error_handler(Exception, _unforeseen)


def _redis_away(error: RedisUnavailable) -> Response:
    _log.warning("redis_away", route=_route(), error=error)
    return Problem(503, "redis_away", "The store does not answer just now. Please try again.").response()


def _queue_away(error: QueueUnavailable) -> Response:
    _log.warning("queue_away", route=_route(), error=error)
    return Problem(503, "queue_away", "The queue takes nothing just now. Please try again.").response()


def _store_away(error: DatabaseUnavailable) -> Response:
    _log.warning("store_away", route=_route(), error=error)
    return Problem(503, "store_away", "What is stored can't be reached just now. Please try again.").response()


def _route() -> str:
    """Return the route that was asked for; the address itself may hold anybody's name."""
    return f"{request.method} {request.url_rule}"


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:
        return Response(error.get_body(), status, error.get_headers())
    code = _CODES.get(status) or HTTPStatus(status).name.lower()
    response = Problem(status, code, error.description or HTTPStatus(status).phrase).response()
    for name, value in error.get_headers():
        if name != "Content-Type":  # 405 says Allow, 429 says Retry-After
            response.headers[name] = value
    return response


def _unforeseen(error: Exception) -> Response:
    _log.error("request_failed", route=_route(), exc_info=error)
    return Problem(500, "internal", "Something went wrong on our side.").response()
