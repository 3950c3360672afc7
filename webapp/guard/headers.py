"""The headers that every answer carries, and those of the page.

https://cheatsheetseries.owasp.org/cheatsheets/HTTP_Headers_Cheat_Sheet.html; `Strict-Transport-Security` is left to
whoever ends TLS, for it binds all of the host.
"""

from flask import Response
from flask.sansio.scaffold import Scaffold

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_OTHER_POLICY = "default-src 'none'; frame-ancestors 'none'"
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",  # what is asked for by CORS is not held up by this
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def install(scaffold: Scaffold) -> None:
    """Add to every answer."""
    scaffold.after_request(add_headers)


def add_headers(response: Response) -> Response:
    """Add what is not there yet: no sniffing, no framing, no storing, nothing from elsewhere on the page."""
    headers = response.headers
    for name, value in _ALWAYS.items():
        headers.setdefault(name, value)
    headers.setdefault("Content-Security-Policy", _PAGE_POLICY if response.mimetype == "text/html" else _OTHER_POLICY)
    headers.setdefault("Cache-Control", "no-store")  # the page and its files have said otherwise
    return response
