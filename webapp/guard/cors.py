"""CORS: pages of the listed origins may call the API with their users' cookies. Origins match exactly.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from flask import Response, request
from flask.sansio.scaffold import Scaffold

from millrace.webapp.services import services

ALLOWED_HEADERS = "Content-Type, Authorization, Idempotency-Key, Last-Event-ID, X-CSRF-Token"
EXPOSED_HEADERS = (
    "Millrace-Generation-Id, Millrace-Heartbeat-Seconds, Location, Retry-After, "
    "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, X-Request-Id, X-Should-Retry"
)
ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
PREFLIGHT_SECONDS = 600


def install(scaffold: Scaffold) -> None:
    """Answer preflight requests, and add CORS headers to every response."""
    scaffold.before_request(answer_preflight)
    scaffold.after_request(add_headers)


def allowed_origin() -> str | None:
    """Return the request's origin as it stands in `MILLRACE_ALLOWED_ORIGINS`, None if it is not listed.

    The value comes from the setting, so that a request's header is never reflected.
    """
    given = request.headers.get("Origin")
    return next((origin for origin in services().settings.http.allowed_origins if origin == given), None)


def answer_preflight() -> Response | None:
    """Answer a preflight request with 204; only a listed origin gets the headers that allow its request."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    response = Response(status=204)
    if allowed_origin() is not None:
        response.headers["Access-Control-Allow-Methods"] = ALLOWED_METHODS
        response.headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    return response


def add_headers(response: Response) -> Response:
    """Allow a listed origin to read the response; `Vary: Origin` keeps caches from serving it to another one."""
    if not services().settings.http.allowed_origins:
        return response
    response.vary.add("Origin")
    origin = allowed_origin()
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
    return response
