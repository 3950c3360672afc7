"""Who asks, asked once a request: the one way of `MILLRACE_AUTH`, and the 401 where it knows nobody."""

from typing import cast

from flask import Flask, current_app, g, request

from millrace.webapp.guard.auth import session
from millrace.webapp.guard.auth.function import FunctionAuth, import_function
from millrace.webapp.guard.auth.header import HeaderAuth
from millrace.webapp.guard.auth.protocol import AUTHORIZATION, Authenticator
from millrace.webapp.guard.auth.tokens import TokenAuth
from millrace.webapp.problems import Problem
from millrace.worker.settings.schema import Settings

_EXTENSION = "millrace-auth"
_OWNER = "millrace_owner"


def install(app: Flask, settings: Settings) -> None:
    """Have the app know who asks as the settings say; raises SettingError."""
    app.extensions[_EXTENSION] = _make(settings)


def _make(settings: Settings) -> Authenticator:
    match settings.auth.method:
        case "session":
            return session.SessionAuth()
        case "header":
            return HeaderAuth(settings.auth.header)
        case "jwt":
            return TokenAuth(settings)
        case path:
            return FunctionAuth(import_function(path))


def current_owner() -> str | None:
    """Return the owner that asks, None where nobody is known who could yet be given one; raises Problem 401, 503."""
    if _OWNER not in g:
        owner = _auth().authenticate(request)
        if owner is None and not _auth().creates_owners:
            raise _unknown()
        if owner is None:
            return None
        setattr(g, _OWNER, owner)
        if authorization := _auth().authorization(request, owner):
            request.environ[AUTHORIZATION] = authorization
    return cast("str", g.get(_OWNER))


def ensure_owner() -> str:
    """Return the owner that asks; who is unknown is given one, whose cookie goes with the answer, or gets a 401."""
    owner = current_owner()
    if owner is None:
        owner = session.create_owner()
        setattr(g, _OWNER, owner)
    return owner


def renew_cookie() -> None:
    """Make sure that a visitor of the page is somebody, and stays it for a year; only where we keep the cookie."""
    if _auth().creates_owners:
        ensure_owner()
        session.renew_cookie()


def authenticated_owner() -> str | None:
    """Return the owner where it has been asked for in this request already."""
    return cast("str | None", g.get(_OWNER))


def carries_ambient_credentials() -> bool:
    """Tell whether the request may name its owner without its page's doing: by a cookie, or as the proxy knows it."""
    return "Cookie" in request.headers or _auth().has_ambient_credentials


def cookie_hint() -> str:
    """Return what a 404 says besides: who keeps no cookie finds nothing again."""
    if not _auth().creates_owners:
        return ""
    return " Who you are is kept in a cookie: a client must keep it and send it back (curl: -c jar -b jar)."


def _auth() -> Authenticator:
    return cast("Authenticator", current_app.extensions[_EXTENSION])


def _unknown() -> Problem:
    detail = "Nobody is known who asks this: log in, or send what names you."
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": _auth().challenge(request)})
