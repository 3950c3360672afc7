"""The owner of the current request, authenticated once per request, or the 401."""

from collections.abc import Callable
from typing import cast

from flask import g, has_request_context, request

from millrace.webapp.guard.auth import session
from millrace.webapp.guard.auth.api_keys import KeyAuth
from millrace.webapp.guard.auth.function import FunctionAuth, OwnerFunction, import_function
from millrace.webapp.guard.auth.header import HeaderAuth
from millrace.webapp.guard.auth.protocol import AUTHORIZATION, Authenticator
from millrace.webapp.guard.auth.tokens import TokenAuth
from millrace.webapp.guard.client import note_owner
from millrace.webapp.mounts import MountState
from millrace.webapp.problems import Problem
from millrace.worker.contract.ids import new_id
from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import Settings

AUTHENTICATOR: MountState[Authenticator] = MountState("authenticator")
"""The method that `MILLRACE_AUTH` selects."""
KEY_AUTH: MountState[KeyAuth] = MountState("key_auth")
"""The authenticator of requests with an API key."""
OWNER_COUNTER: MountState[Callable[[str], None]] = MountState("owner_counter")
"""A function that counts a new owner, and raises Problem if there are too many."""

_OWNER = "millrace_owner"
_INCORRECT_KEY = "Incorrect API key. Make one with: python3 deploy/keys.py add OWNER"


def make_authenticator(settings: Settings, owner: OwnerFunction | None = None) -> Authenticator:
    """Return the authenticator that the settings select; `owner` is the function for `host`. Raises SettingError."""
    match settings.auth.method:
        case "host":
            if owner is None:
                raise SettingError("MILLRACE_AUTH: host needs an app that passes an owner function to Millrace")
            return FunctionAuth(owner)
        case "session":
            return session.SessionAuth()
        case "header":
            return HeaderAuth(settings.auth.header)
        case "jwt":
            return TokenAuth(settings)
        case path:
            return FunctionAuth(import_function(path))


def current_owner() -> str | None:
    """Return the request's owner, None if it has none yet but could get a new one; raises Problem 401 and 503."""
    if _OWNER not in g:
        authenticator = _authenticator()
        owner = authenticator.authenticate(request)
        if owner is None and not authenticator.creates_owners:
            raise _unauthorized(authenticator)
        if owner is None:
            return None
        _note(owner)
        if authorization := authenticator.authorization(request, owner):
            request.environ[AUTHORIZATION] = authorization
    return cast("str", g.get(_OWNER))


def ensure_owner() -> str:
    """Return the request's owner; in session mode create one if needed, whose cookie goes with a successful response.

    To be called once the request is known to be valid, because each new owner counts. Raises Problem 401, 429 and 503.
    """
    owner = current_owner()
    if owner is None:
        owner = new_id()
        OWNER_COUNTER.current()(owner)
        session.keep(owner)
        _note(owner)
    return owner


def assume_owner(owner: str) -> None:
    """Make this the owner of the current request, which stands for a message on a connection that they opened."""
    _note(owner)


def renew_cookie() -> None:
    """In session mode, extend the cookie of an owner by a year; a visitor without one gets none."""
    if _authenticator().creates_owners and current_owner() is not None:
        session.renew_cookie()


def authenticated_owner() -> str | None:
    """Return the owner if this request has been authenticated already, without authenticating it now."""
    return cast("str | None", g.get(_OWNER))


def carries_ambient_credentials() -> bool:
    """Return whether a browser may have added the request's credentials by itself: a cookie, or the proxy's login.

    True without a cookie where a new owner would be created: its cookie would replace the one that the browser withheld
    from a cross-site request. False with an API key, beside which no cookie counts.
    """
    authenticator = _authenticator()
    if isinstance(authenticator, KeyAuth):
        return False
    return "Cookie" in request.headers or authenticator.has_ambient_credentials or authenticator.creates_owners


def cookie_hint() -> str:
    """Return the sentence that a 404 adds in session mode, where a client without its cookie finds nothing."""
    if not _authenticator().creates_owners:
        return ""
    return " Access is tied to a cookie: a client must keep it and send it back (curl: -c jar -b jar)."


def _note(owner: str) -> None:
    setattr(g, _OWNER, owner)
    note_owner(owner)


def _authenticator() -> Authenticator:
    """Return the authenticator of the current request; the method's outside a request."""
    keys = KEY_AUTH.current()
    return keys if has_request_context() and keys.takes(request) else AUTHENTICATOR.current()


def _unauthorized(authenticator: Authenticator) -> Problem:
    detail = "Authentication required. Sign in or send valid credentials."
    if isinstance(authenticator, KeyAuth):
        detail = _INCORRECT_KEY
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": authenticator.challenge(request)})


def creates_owners() -> bool:
    """Return whether the client may have as many owners as it likes, because each request without one begins one."""
    return _authenticator().creates_owners
