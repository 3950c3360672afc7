"""`MILLRACE_AUTH=header`: a proxy in front has asked who it is, and says so in a header that only it may set."""

from flask import Request

from millrace.webapp.guard.auth.protocol import Authorization, is_owner


class HeaderAuth:
    """Believes one header; the proxy must set it itself and take away what a client sends under its name."""

    creates_owners = False
    has_ambient_credentials = True

    def __init__(self, header: str) -> None:
        self._header = header

    def authenticate(self, request: Request) -> str | None:
        """Return the owner that the header names.

        Nobody where there is a comma: that is how two such headers look, and one of them may be the client's own.
        """
        name = request.headers.get(self._header, "")
        try:
            name = name.encode("latin-1").decode("utf-8").strip()  # WSGI hands headers over as Latin-1
        except UnicodeError:
            return None
        return name if is_owner(name) and "," not in name else None

    def challenge(self, request: Request) -> str:
        """Return a challenge that makes no browser ask for a password: the login is the proxy's affair."""
        return 'Login realm="millrace"'

    def authorization(self, request: Request, owner: str) -> Authorization | None:
        """Return None: the proxy, through which the stream runs, can end it."""
        return None
