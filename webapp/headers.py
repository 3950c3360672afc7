"""The headers that every answer carries, and those of the page."""

from flask import Response
from flask.sansio.scaffold import Scaffold

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_OTHER_POLICY = "default-src 'none'; frame-ancestors 'none'"


def install(scaffold: Scaffold) -> None:
    """Add to every answer."""
    scaffold.after_request(add)


def add(response: Response) -> Response:
    """Add what is not there yet: no sniffing, no storing of the API's answers, nothing from elsewhere on the page."""
    headers = response.headers
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Content-Security-Policy", _PAGE_POLICY if response.mimetype == "text/html" else _OTHER_POLICY)
    headers.setdefault("Cache-Control", "no-store")  # the page and its files have said otherwise
    return response
