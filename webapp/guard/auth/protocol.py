"""The seam between a request and its owner: `Authenticator`, with one implementation per value of `MILLRACE_AUTH`."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

from flask import Request

AUTHORIZATION = "millrace.authorization"  # key of the request's Authorization in its WSGI environment, for streams


@dataclass(frozen=True)
class Authorization:
    """The permission to follow, which an open stream checks again at intervals.

    Readers with the same `key` share one check. `is_valid` returns whether the permission still holds; it may raise
    when that cannot be determined at the moment.
    """

    key: Hashable
    is_valid: Callable[[], bool]


class Authenticator(Protocol):
    """One way to authenticate; one instance per process, used by any number of requests at once."""

    @property
    def creates_owners(self) -> bool:
        """Whether an unauthenticated client gets a new owner instead of a 401."""
        ...

    @property
    def has_ambient_credentials(self) -> bool:
        """Whether a browser may send the credentials by itself other than in a cookie, whichever page causes it."""
        ...

    def authenticate(self, request: Request) -> str | None:
        """Return the request's owner, None without valid credentials; raises Problem 503 if they cannot be checked.

        Called once per request, within the request's context.
        """
        ...

    def challenge(self, request: Request) -> str:
        """Return the `WWW-Authenticate` header of the 401."""
        ...

    def authorization(self, request: Request, owner: str) -> Authorization | None:
        """Return the check for long streams, None if the permission cannot end while a stream is open."""
        ...


def bearer_token(request: Request) -> str | None:
    """Return the token of `Authorization: Bearer`, None without that scheme."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None
