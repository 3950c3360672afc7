"""`MILLRACE_AUTH=header`: a proxy in front authenticates the user and passes the owner on in a header."""

from flask import Request

from millrace.webapp.guard.auth.protocol import Authorization
from millrace.worker.settings.parsers import is_owner


class HeaderAuth:
    """Trusts one header. The proxy must set it on every request and drop what a client sends under that name."""

    creates_owners = False
    has_ambient_credentials = True

    def __init__(self, header: str) -> None:
        self._header = header

    def authenticate(self, request: Request) -> str | None:
        """Return the header's owner.

        None if the value has a comma: two headers of this name arrive joined by one, and one may be the client's own.
        """
        name = request.headers.get(self._header, "")
        try:
            name = name.encode("latin-1").decode("utf-8").strip(" \t")  # WSGI decodes headers as Latin-1
        except UnicodeError:
            return None
        return name if is_owner(name) and "," not in name else None

    def challenge(self, request: Request) -> str:
        """Return a challenge that opens no password dialog in a browser: the proxy has the login."""
        return 'Login realm="millrace"'

    def authorization(self, request: Request, owner: str) -> Authorization | None:
        """Return None: the proxy can end the stream, which passes through it."""
        return None
