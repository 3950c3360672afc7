"""Lets the pages of a few other origins call with their users' cookies: an exact list, of which one is ever named.

https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from flask import Response, request
from flask.sansio.scaffold import Scaffold

from millrace.webapp.services import services

ALLOWED = "Content-Type, Authorization, Idempotency-Key, Last-Event-ID, X-CSRF-Token"
EXPOSED = "Millrace-Generation-Id, Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
PREFLIGHT_SECONDS = 600


def install(scaffold: Scaffold) -> None:
    """Answer preflights, and add to every answer."""
    scaffold.before_request(answer_preflight)
    scaffold.after_request(add_headers)


def allowed_origin() -> str | None:
    """Return the origin that the request comes from, as our own list has it; None where it is on no list."""
    given = request.headers.get("Origin")
    return next((origin for origin in services().settings.http.allowed_origins if origin == given), None)


def answer_preflight() -> Response | None:
    """Answer a browser that asks before it asks: 204, and what is allowed where the origin is."""
    if request.method != "OPTIONS" or "Access-Control-Request-Method" not in request.headers:
        return None
    response = Response(status=204)
    if allowed_origin() is not None:
        response.headers["Access-Control-Allow-Methods"] = METHODS
        response.headers["Access-Control-Allow-Headers"] = ALLOWED
        response.headers["Access-Control-Max-Age"] = str(PREFLIGHT_SECONDS)
    return response


def add_headers(response: Response) -> Response:
    """Tell a browser that the page of an allowed origin may read this, and caches that it was told to this one."""
    if not services().settings.http.allowed_origins:
        return response
    response.vary.add("Origin")
    origin = allowed_origin()
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Access-Control-Expose-Headers"] = EXPOSED
    return response
