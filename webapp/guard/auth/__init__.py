"""Authentication: finds the owner of a request by its API key, or in the one way that `MILLRACE_AUTH` selects.

protocol   the seam: `Authenticator`, and the `Authorization` that long streams check again
session    an anonymous owner in a signed cookie
header     a trusted proxy's header
tokens     a JWT; jwks has the keys of an identity provider
function   a function of the host app
api_keys   the keys of programs, beside any of these
owners     the owner of the current request, authenticated once per request

A way to authenticate raises no 401 itself: it returns None, and `owners` decides between a new owner and the 401.
"""

from millrace.webapp.guard.auth.api_keys import KeyAuth
from millrace.webapp.guard.auth.owners import (
    AUTHENTICATOR,
    KEY_AUTH,
    OWNER_COUNTER,
    assume_owner,
    authenticated_owner,
    carries_ambient_credentials,
    cookie_hint,
    creates_owners,
    current_owner,
    ensure_owner,
    make_authenticator,
    renew_cookie,
)
from millrace.webapp.guard.auth.protocol import AUTHORIZATION, Authorization
from millrace.webapp.guard.auth.session import sign_cookies

__all__ = [
    "AUTHENTICATOR",
    "AUTHORIZATION",
    "KEY_AUTH",
    "OWNER_COUNTER",
    "Authorization",
    "KeyAuth",
    "assume_owner",
    "authenticated_owner",
    "carries_ambient_credentials",
    "cookie_hint",
    "creates_owners",
    "current_owner",
    "ensure_owner",
    "make_authenticator",
    "renew_cookie",
    "sign_cookies",
]
