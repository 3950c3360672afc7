"""A token is valid only with the configured algorithm, issuer and audience."""

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from millrace.webapp.settings import check
from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import Settings
from tests.webapp.guard.auth.issuer import (
    AUDIENCE,
    EC_KEY,
    ISSUER,
    KEYS,
    OTHER_RSA_KEY,
    RSA_KEY,
    SECRET,
    private_pem,
    public_pem,
    token,
)
from tests.webapp.harness import WebHarness, check_problem, json_of

Build = Callable[..., WebHarness]
API = "/api/generations"
PINNED = {"auth": "jwt", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}


def signed_with(algorithm: str) -> dict[str, Any]:
    key = {"jwt_secret": SECRET} if algorithm == "HS256" else {"jwt_public_key": public_pem(KEYS[algorithm])}
    return {**PINNED, **key, "jwt_algorithm": algorithm}


def settings_of(given: dict[str, Any]) -> Settings:
    return Settings.of(**given)


def bearer(value: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {value}"}


def owner_of(site: WebHarness, **headers: str) -> str:
    answer = bare(site).post(API, json={"message": "a"}, headers=headers)
    assert answer.status_code == 202, answer.text
    owner: Any = site.redis.hget(_state_of(site, json_of(answer)["id"]), "owner")
    return owner.decode()


def bare(site: WebHarness) -> FlaskClient:
    """Return a client that sends the cookies of its headers, and no others."""
    return site.app.test_client(use_cookies=False)


def _state_of(site: WebHarness, generation: str) -> str:
    (state,) = [key for key in site.made() if key.endswith(f"{generation}:state")]
    return state


@pytest.fixture
def site(build: Build) -> WebHarness:
    return build(**signed_with("HS256"))


@pytest.mark.parametrize("algorithm", KEYS)
def test_sub_is_the_owner_with_every_algorithm(build: Build, algorithm: str) -> None:
    site = build(**signed_with(algorithm))
    mine = bearer(token(algorithm, sub="ada@example.com"))
    assert owner_of(site, **mine) == "ada@example.com"
    generation = json_of(site.stranger().post(API, json={"message": "a"}, headers=mine))["id"]
    assert site.stranger().get(f"{API}/{generation}", headers=mine).status_code == 200
    theirs = site.stranger().get(f"{API}/{generation}", headers=bearer(token(algorithm, sub="eve")))
    assert "cookie" not in check_problem(theirs, 404, "not_found")["detail"]


def swapped(value: str, **header: Any) -> str:
    """Return the token under another header, its signature as it was."""
    head = base64.urlsafe_b64encode(json.dumps({"typ": "JWT", **header}).encode()).rstrip(b"=").decode()
    return ".".join([head, *value.split(".")[1:]])


NOW = int(time.time())  # at collection, long before the last of these tokens is used
WRONG: dict[str, str] = {
    "expired": token(exp=NOW - 60),
    "not yet valid": token(nbf=NOW + 36_000),
    "issued in the future": token(iat=NOW + 36_000),
    "never expires": token(exp=None),
    "another issuer": token(iss="https://evil.example"),
    "no issuer": token(iss=None),
    "another audience": token(aud="mail"),
    "no audience": token(aud=None),
    "no subject": token(sub=None),
    "an empty subject": token(sub=""),
    "a subject of blanks": token(sub=" ada"),
    "a subject with a line break": token(sub="a\nb"),
    "a subject too long": token(sub="a" * 256),
    "another secret": token(key="another secret of thirty-two bytes or more"),
    "another algorithm of the same family": token("HS256", headers={"alg": "HS512"}),
    "no algorithm": swapped(token(), alg="none"),
    "no signature": token().rpartition(".")[0] + ".",
    "an asymmetric algorithm": token("RS256"),
    "a changed payload": token()[:-50] + "A" + token()[-49:],
    "nothing": "",
    "no token": "x",
    "three dots": "...",
    "too long": "a" * 9000,
    "other letters": "\u00e9.\u00e9.\u00e9",
    "nested without end": ".".join(2 * [base64.urlsafe_b64encode(b"[" * 5000).decode()] + ["a"]),
    "a header that is no object": ".".join([base64.urlsafe_b64encode(b"[1]").decode(), "e30", "a"]),
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_invalid_token_is_401_on_every_route(site: WebHarness, value: str) -> None:
    headers = {"Authorization": f"Bearer {value}".encode().decode("latin-1")}
    for answer in (
        site.stranger().post(API, json={"message": "a"}, headers=headers),
        site.stranger().get(f"{API}/{'0' * 32}", headers=headers),
        site.stranger().get(f"{API}/{'0' * 32}/events", headers=headers),
        site.stranger().post("/api/chat", json={"message": "a"}, headers=headers),
        site.stranger().post("/api/conversation-stream/me", json={"message": "a"}, headers=headers),
    ):
        check_problem(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="millrace", error="invalid_token"'
        assert "Set-Cookie" not in answer.headers
    assert site.made() == []


def test_missing_token_is_401_with_a_challenge(site: WebHarness) -> None:
    answer = site.stranger().get(f"{API}/{'0' * 32}")
    check_problem(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="millrace"'
    for path in ("/healthz", "/api/openapi.json", "/"):
        assert site.stranger().get(path).status_code == 200
    assert "Set-Cookie" not in site.stranger().get("/").headers


def test_token_in_the_url_is_not_read(site: WebHarness) -> None:
    for name in ("token", "access_token", "jwt", "authorization"):
        answer = site.stranger().get(f"{API}/{'0' * 32}/events?{name}={token()}")
        check_problem(answer, 401, "unauthorized")


def test_token_is_read_from_a_cookie_only_if_configured(build: Build) -> None:
    without, named = build(**signed_with("HS256")), build(**signed_with("HS256"), jwt_cookie="app_token")
    cookie = {"Cookie": f"app_token={token(sub='ada')}"}
    check_problem(bare(without).post(API, json={"message": "a"}, headers=cookie), 401, "unauthorized")
    assert owner_of(named, **cookie) == "ada"
    # The header takes precedence; if it is invalid, the cookie is not tried.
    assert owner_of(named, **cookie, **bearer(token(sub="bob"))) == "bob"
    wrong = bare(named).post(API, json={"message": "a"}, headers={**cookie, **bearer("x")})
    check_problem(wrong, 401, "unauthorized")


def test_authorization_scheme_is_case_insensitive(site: WebHarness) -> None:
    assert owner_of(site, Authorization=f"bearer {token(sub='ada')}") == "ada"
    check_problem(
        site.stranger().get(f"{API}/{'0' * 32}", headers={"Authorization": f"Basic {token()}"}), 401, "unauthorized"
    )


def test_clock_skew_of_a_few_seconds_is_accepted(site: WebHarness) -> None:
    assert owner_of(site, **bearer(token(exp=NOW - 2 + int(time.time()) - NOW))) == "ada"


def test_public_key_is_read_from_a_file_or_one_line(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(public_pem(EC_KEY))
    for given in (str(path), public_pem(EC_KEY).replace("\n", "\\n")):
        check(settings_of({**signed_with("ES256"), "jwt_public_key": given}))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "MILLRACE_JWT_ALGORITHM, MILLRACE_JWT_ISSUER, MILLRACE_JWT_AUDIENCE"),
        ({**signed_with("HS256"), "jwt_issuer": ""}, "MILLRACE_JWT_ISSUER"),
        ({**signed_with("HS256"), "jwt_secret": ""}, "MILLRACE_JWT_SECRET"),
        ({**signed_with("HS256"), "jwt_secret": "short"}, "MILLRACE_JWT_SECRET"),
        ({**signed_with("HS256"), "jwt_jwks_url": "https://a.example/keys"}, "MILLRACE_JWT_SECRET"),
        ({**signed_with("RS256"), "jwt_public_key": ""}, "MILLRACE_JWT_PUBLIC_KEY or MILLRACE_JWT_JWKS_URL"),
        ({**signed_with("RS256"), "jwt_secret": SECRET}, "MILLRACE_JWT_PUBLIC_KEY or MILLRACE_JWT_JWKS_URL"),
        ({**signed_with("RS256"), "jwt_jwks_url": "https://a.example/keys"}, "MILLRACE_JWT_PUBLIC_KEY or"),
        ({**signed_with("RS256"), "jwt_public_key": public_pem(EC_KEY)}, "MILLRACE_JWT_PUBLIC_KEY"),
        ({**signed_with("ES256"), "jwt_public_key": public_pem(RSA_KEY)}, "MILLRACE_JWT_PUBLIC_KEY"),
        ({**signed_with("RS256"), "jwt_public_key": private_pem(OTHER_RSA_KEY)}, "MILLRACE_JWT_PUBLIC_KEY"),
        ({**signed_with("EdDSA"), "jwt_public_key": "/nowhere/key.pem"}, "MILLRACE_JWT_PUBLIC_KEY"),
        ({**signed_with("EdDSA"), "jwt_public_key": "-----BEGIN nonsense"}, "MILLRACE_JWT_PUBLIC_KEY"),
    ],
    ids=range(13),
)
def test_contradictory_settings_prevent_the_start(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(SettingError, match=f"^{name}"):
        check(settings_of({"auth": "jwt", **settings}))


def test_no_secret_key_is_needed_where_no_cookie_is_signed() -> None:
    assert check(Settings.of(**signed_with("HS256"))).auth.secret_key == ""
