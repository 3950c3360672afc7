"""`MILLRACE_AUTH=session`: an anonymous owner, kept in a signed cookie; good for trying out."""

from datetime import timedelta
from typing import Any

from flask import Flask, Request, request, session
from flask.sessions import SecureCookieSessionInterface

from millrace.webapp.guard.auth.protocol import Authorization
from millrace.worker.contract.ids import is_id, new_id
from millrace.worker.settings.schema import Settings

COOKIE_LIFE = timedelta(days=365)
_OWNER = "millrace_owner"


class SessionCookie(SecureCookieSessionInterface):
    """Flask's signed cookie, `Secure` wherever the request came by HTTPS."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Tell whether the cookie is for HTTPS alone; browsers take `SameSite=None` only so."""
        return request.is_secure or app.config["SESSION_COOKIE_SAMESITE"] == "None"


def sign_cookies(app: Flask, settings: Settings) -> None:
    """Have the app sign its cookies by our settings; a host app has settings of its own."""
    app.session_interface = SessionCookie()
    app.config.update(
        SECRET_KEY=settings.auth.secret_key,
        SESSION_COOKIE_NAME="millrace",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE=settings.auth.cookie_samesite.capitalize(),
        SESSION_REFRESH_EACH_REQUEST=False,  # a stream's answer need not carry it
        PERMANENT_SESSION_LIFETIME=COOKIE_LIFE,
    )


class SessionAuth:
    """Everybody is somebody: who is unknown gets an owner, whose cookie goes with the answer."""

    creates_owners = True
    has_ambient_credentials = False

    def authenticate(self, request: Request) -> str | None:
        """Return the owner that the session names; a signed cookie that names no owner of ours names nobody."""
        owner: Any = session.get(_OWNER)
        return owner if isinstance(owner, str) and is_id(owner) else None

    def challenge(self, request: Request) -> str:
        """Return what is never sent: nobody is refused."""
        return ""

    def authorization(self, request: Request, owner: str) -> Authorization | None:
        """Return None: a session that has been signed stays good."""
        return None


def create_owner() -> str:
    """Give the asker a new owner and return it."""
    session[_OWNER] = owner = new_id()
    session.permanent = True
    return owner


def renew_cookie() -> None:
    """Send the cookie once more, so that it expires a year from now."""
    session.modified = True
