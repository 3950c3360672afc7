"""`MILLRACE_AUTH=session`: an anonymous owner in a signed cookie. Suited to trying Millrace out."""

from datetime import timedelta
from typing import Any

from flask import Flask, Request, Response, after_this_request, request, session
from flask.sessions import SecureCookieSessionInterface

from millrace.webapp.guard.auth.protocol import Authorization
from millrace.worker.contract.ids import is_id, new_id
from millrace.worker.settings.schema import Settings

COOKIE_LIFE = timedelta(days=365)
_OWNER = "millrace_owner"


class SessionCookie(SecureCookieSessionInterface):
    """Flask's signed cookie, with `Secure` whenever the request came over HTTPS."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return whether the cookie is `Secure`; browsers accept `SameSite=None` only with it."""
        return request.is_secure or app.config["SESSION_COOKIE_SAMESITE"] == "None"


def sign_cookies(app: Flask, settings: Settings) -> None:
    """Configure the signed cookie of Millrace's own app; a host app keeps its own configuration."""
    app.session_interface = SessionCookie()
    app.config.update(
        SECRET_KEY=settings.auth.secret_key,
        SESSION_COOKIE_NAME="millrace",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE=settings.auth.cookie_samesite.capitalize(),
        SESSION_REFRESH_EACH_REQUEST=False,  # the response of a stream need not carry it
        PERMANENT_SESSION_LIFETIME=COOKIE_LIFE,
    )


class SessionAuth:
    """Takes the owner from the session; a client without one gets a new owner with its cookie."""

    creates_owners = True
    has_ambient_credentials = False

    def authenticate(self, request: Request) -> str | None:
        """Return the session's owner; None also for a signed cookie whose owner is not an id of ours."""
        owner: Any = session.get(_OWNER)
        return owner if isinstance(owner, str) and is_id(owner) else None

    def challenge(self, request: Request) -> str:
        """Return an empty challenge, which is never sent: there is no 401 in session mode."""
        return ""

    def authorization(self, request: Request, owner: str) -> Authorization | None:
        """Return None: a signed session stays valid."""
        return None


def create_owner() -> str:
    """Create an owner and return it; the session keeps it only if the request succeeds or created a generation."""
    owner = new_id()

    @after_this_request
    def store(response: Response) -> Response:
        if response.status_code < 400 or "Millrace-Generation-Id" in response.headers:
            session[_OWNER] = owner
            session.permanent = True
        return response

    return owner


def renew_cookie() -> None:
    """Send the cookie again, so that it expires a year from now."""
    session.modified = True
