"""`MILLRACE_AUTH=jwt`: the `sub` of a signed token is the owner; algorithm, issuer and audience are pinned.

https://www.rfc-editor.org/rfc/rfc8725 (JSON Web Token Best Current Practices)
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jwt
from flask import Request
from jwt.algorithms import get_default_algorithms

from millrace.webapp.guard.auth.jwks import JwksCache, KeysUnavailable
from millrace.webapp.guard.auth.protocol import Authorization, bearer_token
from millrace.webapp.problems import Problem
from millrace.worker.errors import SettingError
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.checks import SECRET_BYTES
from millrace.worker.settings.parsers import is_owner
from millrace.worker.settings.schema import Settings

LEEWAY_SECONDS = 5  # clocks differ
_MAX_TOKEN_CHARACTERS = 8192
_REQUIRED_CLAIMS = ["exp", "sub", "iss", "aud"]

_log = get_logger(__name__)


class TokenAuth:
    """Reads the token from `Authorization: Bearer`, else from the configured cookie; never from a URL."""

    creates_owners = False
    has_ambient_credentials = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._key = verification_key(settings)

    def authenticate(self, request: Request) -> str | None:
        """Return the token's `sub`, None without a valid token; raises Problem 503 while the keys are unavailable."""
        token = self._token(request)
        if token is None:
            return None
        try:
            return self._subject(token)
        except KeysUnavailable as error:
            detail = "Authentication is temporarily unavailable. Please retry."
            raise Problem(503, "identity_away", detail) from error

    def challenge(self, request: Request) -> str:
        """Return the challenge of https://www.rfc-editor.org/rfc/rfc6750#section-3."""
        error = "" if self._token(request) is None else ', error="invalid_token"'
        return f'Bearer realm="millrace"{error}'

    def authorization(self, request: Request, owner: str) -> Authorization | None:
        """Return a check that verifies the token again: it expires, and its key may be revoked."""
        token = self._token(request)
        if token is None:
            return None
        key = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        return Authorization(key, lambda: self._subject(token) == owner)

    def _token(self, request: Request) -> str | None:
        token = bearer_token(request)
        if token is not None:
            return token
        cookie = self._settings.auth.jwt_cookie
        return request.cookies.get(cookie) if cookie else None

    def _subject(self, token: str) -> str | None:
        if len(token) > _MAX_TOKEN_CHARACTERS:
            return None
        try:
            claims = self._claims(token)
        except jwt.PyJWTError as error:
            _log.info("token_rejected", reason=type(error).__name__)
            return None
        except (ValueError, TypeError, RecursionError) as error:  # not a token at all
            _log.info("token_rejected", reason=type(error).__name__)
            return None
        subject: Any = claims["sub"]
        return subject if is_owner(subject) else None

    def _claims(self, token: str) -> dict[str, Any]:
        """Return the claims, verified with the key that signed the token; raises PyJWTError, KeysUnavailable."""
        auth = self._settings.auth
        failure: jwt.PyJWTError = jwt.InvalidKeyError("the provider has no such key")
        for key in self._keys_for(token):
            try:
                return jwt.decode(
                    token,
                    key,
                    algorithms=[auth.jwt_algorithm],
                    issuer=auth.jwt_issuer,
                    audience=auth.jwt_audience,
                    leeway=LEEWAY_SECONDS,
                    options={"require": _REQUIRED_CLAIMS},
                )
            except jwt.InvalidSignatureError as error:  # another key may have signed it
                failure = error
        raise failure

    def _keys_for(self, token: str) -> Sequence[Any]:
        if not isinstance(self._key, JwksCache):
            return (self._key,)
        kid: Any = jwt.get_unverified_header(token).get("kid")
        return self._key.keys(kid) if kid is None or isinstance(kid, str) else ()


def verification_key(settings: Settings) -> Any:
    """Return the key that verifies tokens: the secret, the public key, or the provider's keys, which it does not fetch.

    Raises SettingError that names the variable that is missing, contradictory or not such a key.
    """
    if settings.auth.jwt_jwks_url:
        return JwksCache(settings.auth.jwt_jwks_url, settings.auth.jwt_algorithm)
    return _public_key(settings) if settings.auth.jwt_public_key else _secret(settings)


def _secret(settings: Settings) -> str:
    if len(settings.auth.jwt_secret.encode()) < SECRET_BYTES:
        raise SettingError(
            f"MILLRACE_JWT_SECRET: takes at least {SECRET_BYTES} bytes, the same secret as the signer uses"
        )
    return settings.auth.jwt_secret


def _public_key(settings: Settings) -> Any:
    given = settings.auth.jwt_public_key
    try:
        pem = given.replace("\\n", "\n") if "-----BEGIN" in given else Path(given).read_text("ascii")
        key: Any = get_default_algorithms()[settings.auth.jwt_algorithm].prepare_key(pem)
    except (jwt.PyJWTError, OSError, ValueError, TypeError) as error:
        kind = f"a public key for {settings.auth.jwt_algorithm}"
        raise SettingError(f"MILLRACE_JWT_PUBLIC_KEY: takes {kind} in PEM, or the path of its file: {error}") from error
    if not hasattr(key, "verify"):
        raise SettingError("MILLRACE_JWT_PUBLIC_KEY: takes a public key, but this is a private one")
    return key
