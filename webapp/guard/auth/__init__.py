"""Who is asking: an owner's id, named in the one way that `MILLRACE_AUTH` says.

protocol   the seam: one way of knowing who asks
session    an anonymous owner in a signed cookie
header     a trusted proxy names the owner
tokens     a JWT names the owner; jwks: an identity provider's keys
function   a function of the request names the owner
owners     asked once a request
"""

from millrace.webapp.guard.auth.owners import (
    authenticated_owner,
    carries_ambient_credentials,
    cookie_hint,
    current_owner,
    ensure_owner,
    install,
    renew_cookie,
)
from millrace.webapp.guard.auth.protocol import AUTHORIZATION, Authorization
from millrace.webapp.guard.auth.session import sign_cookies

__all__ = [
    "AUTHORIZATION",
    "Authorization",
    "authenticated_owner",
    "carries_ambient_credentials",
    "cookie_hint",
    "current_owner",
    "ensure_owner",
    "install",
    "renew_cookie",
    "sign_cookies",
]
