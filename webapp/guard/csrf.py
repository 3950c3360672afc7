"""CSRF protection: rejects unsafe requests that another site makes a browser send with its user's credentials."""

from urllib.parse import urlsplit

from flask import request
from flask.sansio.scaffold import Scaffold

from millrace.webapp.guard.auth import carries_ambient_credentials
from millrace.webapp.guard.cors import allowed_origin
from millrace.webapp.problems import Problem

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")


def install(scaffold: Scaffold) -> None:
    """Check every request."""
    scaffold.before_request(reject_cross_site)


def reject_cross_site() -> None:
    """Raise Problem 403 for an unsafe request with ambient credentials from a site that is not allowed.

    `same-site` is rejected as well: another host of the same domain may belong to another party
    (https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html).
    A client that is not a browser sends neither `Sec-Fetch-Site` nor `Origin`, and passes.
    """
    if request.method in _SAFE_METHODS or not carries_ambient_credentials() or allowed_origin() is not None:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        is_same_origin = site in ("same-origin", "none")
    else:
        origin = request.headers.get("Origin")
        is_same_origin = origin is None or _host_of(origin) == request.host
    if not is_same_origin:
        detail = "Cross-site request rejected. Send it from a page of this site or of an allowed origin."
        raise Problem(403, "cross_site", detail)


def _host_of(origin: str) -> str | None:
    """Return an origin's host and port as a Host header spells them, None for `null` and for an invalid origin."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None
