"""An identity provider: signs tokens with real keys and publishes the public ones over a real socket."""

import json
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import gevent
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from gevent.pywsgi import WSGIServer
from jwt.algorithms import get_default_algorithms

ISSUER = "https://login.example.com"
AUDIENCE = "chat"
SECRET = "a secret of sixty-four bytes or more, as HS512 wants one, and some more"

# Generated once, because RSA keys are slow to generate.
RSA_KEY, OTHER_RSA_KEY = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
KEYS: dict[str, Any] = {"HS256": SECRET, "RS256": RSA_KEY, "ES256": EC_KEY, "EdDSA": ED_KEY}


def public_pem(key: Any) -> str:
    """Return a private key's public half in PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: Any) -> str:
    """Return a private key in PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def token(algorithm: str = "HS256", key: Any = None, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """Return a signed token; a claim that is None is left out."""
    now = int(time.time())
    whole = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 86_400, **claims}
    kept = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(kept, KEYS[algorithm] if key is None else key, algorithm, headers)


class Provider:
    """Publishes the public halves of `keys` at `url`; counts requests (`fetched`) and responses (`answered`).

    A response takes `seconds`.
    """

    def __init__(self, **keys: Any) -> None:
        self.keys = keys
        self.more: list[tuple[str, Any]] = []  # further keys, whose ids need not be unique
        self.fetched = self.answered = 0
        self.seconds = 0.0
        self.status = "200 OK"
        self._server = WSGIServer(("127.0.0.1", 0), self._answer, log=None)

    @property
    def url(self) -> str:
        """The URL of the keys."""
        return f"http://127.0.0.1:{self._server.server_port}/keys"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop(timeout=0)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        self.fetched += 1
        gevent.sleep(self.seconds)
        self.answered += 1
        start_response(self.status, [("Content-Type", "application/json")])
        return [published([*self.keys.items(), *self.more])]


def published(keys: Iterable[tuple[str, Any]]) -> bytes:
    """Return the public halves of private keys with their ids, as a provider publishes them."""
    return json.dumps({"keys": [_jwk(kid, key) for kid, key in keys]}).encode()


def _jwk(kid: str, key: Any) -> dict[str, Any]:
    algorithm = next(name for name, known in KEYS.items() if type(known) is type(key))
    return {**get_default_algorithms()[algorithm].to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
