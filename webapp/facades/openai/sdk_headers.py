"""The headers that OpenAI's SDK adds to its requests: a page of an allowed origin may send them (CORS)."""

from flask import Response
from flask.sansio.scaffold import Scaffold

SDK_HEADERS = (
    *("X-Stainless-Arch", "X-Stainless-Lang", "X-Stainless-OS", "X-Stainless-Package-Version"),
    *("X-Stainless-Runtime", "X-Stainless-Runtime-Version", "X-Stainless-Retry-Count", "X-Stainless-Timeout"),
    *("X-Stainless-Helper-Method", "X-Stainless-Poll-Helper", "X-Stainless-Custom-Poll-Interval"),
    *("OpenAI-Organization", "OpenAI-Project", "User-Agent"),
)
_ALLOWED = "Access-Control-Allow-Headers"


def install(scaffold: Scaffold) -> None:
    """Allow these headers on the routes of a blueprint, to the origins that may send requests there at all."""
    scaffold.after_request(_allow_headers)


def _allow_headers(response: Response) -> Response:
    if allowed := response.headers.get(_ALLOWED):
        response.headers[_ALLOWED] = ", ".join((allowed, *SDK_HEADERS))
    return response
