"""Security headers of every response, and the content security policy of the page.

https://cheatsheetseries.owasp.org/cheatsheets/HTTP_Headers_Cheat_Sheet.html; `Strict-Transport-Security` is left to the
server that terminates TLS, because it applies to the whole host.
"""

from flask import Response
from flask.sansio.scaffold import Scaffold

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"  # the browser refuses to turn a text into markup
)
_OTHER_POLICY = "default-src 'none'; frame-ancestors 'none'"
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",  # has no effect on CORS requests
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def install(scaffold: Scaffold) -> None:
    """Add the headers to every response."""
    scaffold.after_request(add_headers)


def add_headers(response: Response) -> Response:
    """Add the headers that the response does not have yet: no sniffing, no framing, no caching, no foreign content."""
    headers = response.headers
    for name, value in _ALWAYS.items():
        headers.setdefault(name, value)
    headers.setdefault("Content-Security-Policy", _PAGE_POLICY if response.mimetype == "text/html" else _OTHER_POLICY)
    headers.setdefault("Cache-Control", "no-store")  # the page, its files and the streams set their own
    return response
