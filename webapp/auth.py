"""Who is asking: an anonymous owner, kept in a signed cookie."""

from datetime import timedelta
from typing import Any

from flask import Flask, request, session
from flask.sessions import SecureCookieSessionInterface

from worker.contract.ids import is_id, new_id
from worker.contract.settings import Settings

COOKIE_LIFE = timedelta(days=365)
_OWNER = "owner"


class SessionCookie(SecureCookieSessionInterface):
    """Flask's signed cookie, `Secure` wherever the request came by HTTPS."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Tell whether the cookie is for HTTPS alone; browsers take `SameSite=None` only so."""
        return request.is_secure or app.config["SESSION_COOKIE_SAMESITE"] == "None"


def install(app: Flask, settings: Settings) -> None:
    """Have the app sign its cookies."""
    app.session_interface = SessionCookie()
    app.config.update(
        SECRET_KEY=settings.secret_key,
        SESSION_COOKIE_NAME="millrace",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE=settings.cookie_samesite.capitalize(),
        SESSION_REFRESH_EACH_REQUEST=False,  # a stream's answer need not carry it
        PERMANENT_SESSION_LIFETIME=COOKIE_LIFE,
    )


def known_owner() -> str | None:
    """Return the owner that the request's cookie names, None where it names none."""
    owner: Any = session.get(_OWNER)
    return owner if isinstance(owner, str) and is_id(owner) else None


def owner_or_new() -> str:
    """Return the owner that the request's cookie names, else a new one, whose cookie goes with the answer."""
    owner = known_owner()
    if owner is None:
        session[_OWNER] = owner = new_id()
        session.permanent = True
    return owner


def renew() -> None:
    """Send the owner's cookie once more, so that it expires a year from now."""
    owner_or_new()
    session.modified = True
