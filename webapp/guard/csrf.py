"""CSRF protection: rejects unsafe requests that another site makes a browser send with its user's credentials."""

from urllib.parse import urlsplit

from flask import request
from flask.sansio.scaffold import Scaffold

from millrace.webapp.guard.auth import carries_ambient_credentials
from millrace.webapp.guard.cors import allowed_origin
from millrace.webapp.problems import Problem

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_SHOWN_CHARACTERS = 200


def install(scaffold: Scaffold) -> None:
    """Check every request."""
    scaffold.before_request(reject_cross_site)


def reject_cross_site() -> None:
    """Raise Problem 403 for an unsafe request with ambient credentials from a site that is not allowed.

    The handshake of a WebSocket is a GET, but opens the way for messages that create and cancel: it counts as unsafe.

    `same-site` is rejected as well: another host of the same domain may belong to another party
    (https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html).
    A browser sends no `Sec-Fetch-Site` to a plain HTTP host that has a name; there `Origin` decides. A client that is
    not a browser sends neither, and passes.
    """
    is_safe = request.method in _SAFE_METHODS and request.headers.get("Upgrade", "").lower() != "websocket"
    if is_safe or not carries_ambient_credentials() or allowed_origin() is not None:
        return
    own = f"{request.scheme}://{request.host}"
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        is_same_origin = site in ("same-origin", "none")
    else:
        origin = request.headers.get("Origin")
        is_same_origin = origin is None or _parts_of(origin) == _parts_of(own) is not None
    if not is_same_origin:
        given = request.headers.get("Origin", "none")[:_MAX_SHOWN_CHARACTERS]
        detail = (
            f"Cross-site request rejected: its origin is {given}, this site is {own}. Send it from a page of this site"
            " or of an origin in MILLRACE_ALLOWED_ORIGINS. Behind a proxy with HTTPS, set MILLRACE_TRUSTED_PROXIES."
        )
        raise Problem(403, "cross_site", detail)


def _parts_of(origin: str) -> tuple[str, str, int] | None:
    """Return an origin's scheme, host and port, None for `null` and for anything that is not an http(s) origin."""
    try:
        parts = urlsplit(origin)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    has_more = parts.path or parts.query or parts.fragment or "@" in parts.netloc
    return None if has_more or not parts.hostname else (parts.scheme, parts.hostname, port)
