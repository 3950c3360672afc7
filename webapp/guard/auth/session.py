"""`MILLRACE_AUTH=session`: an anonymous owner in a signed cookie. Suited to trying Millrace out."""

import hmac
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from flask import Flask, Request, Response, after_this_request, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from itsdangerous import BadSignature, URLSafeTimedSerializer

from millrace.webapp.guard.auth.protocol import Authorization, bearer_token
from millrace.worker.contract.ids import is_id
from millrace.worker.settings.checks import SECRET_BYTES
from millrace.worker.settings.parsers import secret_keys
from millrace.worker.settings.schema import Settings

COOKIE_LIFE = timedelta(days=365)
OWNER = "millrace_owner"  # its key in the session
_COOKIE = "millrace"
_MARK_CHARACTERS = 8
_REMEMBERED_COOKIES = 1024  # verifying one takes 0.2 ms where the processor's caches are cold


class SessionCookie(SecureCookieSessionInterface):
    """Flask's signed cookie, under a name that two servers on one host do not share: cookies know no port.

    The name carries a mark of the key that signs. Over HTTPS it begins with `__Host-` (`__Secure-` where the
    application is mounted below a path), with which a browser accepts the cookie only from this very host, over HTTPS
    (https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#name-cookie-name-prefixes). A cookie under one
    of the other names is read where there is none under this name, and sent again under it: one from an earlier
    version, from before the server had HTTPS, or from before another key became the first.
    """

    def __init__(self) -> None:
        self._serializers: dict[tuple[str | bytes, ...], URLSafeTimedSerializer | None] = {}

    def get_cookie_name(self, app: Flask) -> str:
        """Return the name for the current request."""
        name = f"{_COOKIE}_{_mark(app.secret_key)}"
        if not request.is_secure:
            return name
        return f"__Host-{name}" if self.get_cookie_path(app) == "/" else f"__Secure-{name}"

    def get_cookie_path(self, app: Flask) -> str:
        """Return the path below which the application is mounted in its server."""
        return request.script_root or "/"

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return whether the cookie is `Secure`; browsers accept `SameSite=None` only with it."""
        return request.is_secure or app.config["SESSION_COOKIE_SAMESITE"] == "None"

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        """Return what signs with the app's key, one for all requests; None if the app has no key."""
        if not app.secret_key:
            return None
        keys = (app.secret_key, *app.config["SECRET_KEY_FALLBACKS"])
        if keys not in self._serializers:
            self._serializers[keys] = super().get_signing_serializer(app)
        return self._serializers[keys]

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return the session of the cookie, or of one under another name, which is then sent again.

        The clocks of web servers need not agree: a cookie from the future is valid, which Flask's own method would
        refuse.

        Beside an API key no cookie counts, and none is sent.
        """
        serializer = self.get_signing_serializer(app)
        if serializer is None:
            return None
        session = self._session_in(serializer, request.cookies.get(self.get_cookie_name(app)))
        if session is not None:
            return session
        for name in () if bearer_token(request) is not None else _names(app):
            session = self._session_in(serializer, request.cookies.get(name))
            if session is not None:
                session.modified = True
                return session
        return self.session_class()

    def _session_in(self, serializer: URLSafeTimedSerializer, cookie: str | None) -> SecureCookieSession | None:
        """Return the session in a valid cookie, None for any other."""
        if not cookie:
            return None
        try:
            found, signed_at = _verified(serializer, cookie)
        except BadSignature:
            return None
        return self.session_class(found) if datetime.now(UTC) - signed_at <= COOKIE_LIFE else None


@lru_cache(maxsize=_REMEMBERED_COOKIES)
def _verified(serializer: URLSafeTimedSerializer, cookie: str) -> tuple[dict[str, Any], datetime]:
    """Return what a cookie says and when it was signed, verified once; raises BadSignature."""
    return serializer.loads(cookie, return_timestamp=True)


def _names(app: Flask) -> list[str]:
    """Return every name under which a cookie may be valid, those of the key that signs first."""
    keys = (app.secret_key, *app.config["SECRET_KEY_FALLBACKS"])
    marked = [f"{_COOKIE}_{_mark(key)}" for key in keys]
    return [*(f"{prefix}{name}" for name in marked for prefix in ("", "__Host-", "__Secure-")), _COOKIE]


@lru_cache
def _mark(key: object) -> str:
    secret = str(key).encode("utf-8", "surrogateescape")
    return hmac.new(secret, b"millrace cookie name", "sha256").hexdigest()[:_MARK_CHARACTERS]


def sign_cookies(app: Flask, settings: Settings) -> None:
    """Configure the signed cookie of Millrace's own app; a host app keeps its own configuration."""
    app.session_interface = SessionCookie()
    given = settings.auth.secret_key
    first, *others = secret_keys(given, SECRET_BYTES) if given else ("",)
    app.config.update(
        SECRET_KEY=first,
        SECRET_KEY_FALLBACKS=others,
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
        owner: Any = session.get(OWNER)
        return owner if isinstance(owner, str) and is_id(owner) else None

    def challenge(self, request: Request) -> str:
        """Return an empty challenge, which is never sent: only an API key gets a 401 in session mode."""
        return ""

    def authorization(self, request: Request, owner: str) -> Authorization | None:
        """Return None: a signed session stays valid."""
        return None


def keep(owner: str) -> None:
    """Keep a new owner in the session, if the request succeeds or has created a generation."""

    @after_this_request
    def store(response: Response) -> Response:
        if response.status_code < 400 or "Millrace-Generation-Id" in response.headers:
            session[OWNER] = owner
            session.permanent = True
        return response


def renew_cookie() -> None:
    """Send the cookie again, so that it expires a year from now."""
    session.modified = True
