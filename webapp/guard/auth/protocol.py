"""The seam between a request and its owner: one way of knowing who asks, behind one small protocol."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol

from flask import Request

MOST_CHARACTERS = 255
AUTHORIZATION = "millrace.authorization"  # where a request's WSGI environment holds its Right, for those who follow


@dataclass(frozen=True)
class Authorization:
    """What lets somebody follow, to be asked again while they do.

    Readers with the same `key` share one check. `holds` tells whether the right still holds; it may raise where that
    can't be found out just now.
    """

    key: Hashable
    is_valid: Callable[[], bool]


class Authenticator(Protocol):
    """Knows who asks; one a process, used by any number of requests at once."""

    @property
    def creates_owners(self) -> bool:
        """Whether somebody unknown is given an owner of their own, instead of a 401."""
        ...

    @property
    def has_ambient_credentials(self) -> bool:
        """Whether a browser may send what names the owner by itself, without a cookie, whatever page asks it to."""
        ...

    def authenticate(self, request: Request) -> str | None:
        """Return the owner that the request names and may name, None where it names none; raises Problem 503.

        Called once a request, within the request's context.
        """
        ...

    def challenge(self, request: Request) -> str:
        """Return the `WWW-Authenticate` of the 401 to a request that names nobody."""
        ...

    def authorization(self, request: Request, owner: str) -> Authorization | None:
        """Return what a long reader's right is asked again by, None where it can't change meanwhile."""
        ...


def is_owner(name: object) -> bool:
    """Tell whether this can be an owner: a text of 1 to 255 printable characters, with no space at either end."""
    return isinstance(name, str) and 1 <= len(name) <= MOST_CHARACTERS and name.isprintable() and name == name.strip()
