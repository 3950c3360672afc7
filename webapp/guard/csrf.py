"""Refuses what another site makes a browser send in its user's name."""

from urllib.parse import urlsplit

from flask import request
from flask.sansio.scaffold import Scaffold

from millrace.webapp.guard.auth import carries_ambient_credentials
from millrace.webapp.guard.cors import allowed_origin
from millrace.webapp.problems import Problem

_SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")


def install(scaffold: Scaffold) -> None:
    """Check every request."""
    scaffold.before_request(reject_cross_site)


def reject_cross_site() -> None:
    """Raise Problem 403 where an unsafe request comes with its user's name and from a site that is not allowed to.

    `same-site` is refused as well: another host of the same domain need not be ours
    (https://cheatsheetseries.owasp.org/cheatsheets/Cross-Site_Request_Forgery_Prevention_Cheat_Sheet.html).
    A client that is no browser sends neither header.
    """
    if request.method in _SAFE or not carries_ambient_credentials() or allowed_origin() is not None:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        origin = request.headers.get("Origin")
        is_ours = origin is None or _host_of(origin) == request.host
    if not is_ours:
        raise Problem(403, "cross_site", "This request carries its user's name and comes from another site.")


def _host_of(origin: str) -> str | None:
    """Return an origin's host and port, as a Host header spells them; None for `null` and for what is no origin."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None
