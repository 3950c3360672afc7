"""A provider's keys are fetched once for many requests, refetched in the background, and no request waits long."""

from collections.abc import Callable, Iterator

import gevent
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from millrace.webapp.guard.auth import jwks
from millrace.webapp.guard.auth.jwks import JwksCache, KeysUnavailable
from tests.client import wait_for
from tests.webapp.guard.auth.issuer import (
    AUDIENCE,
    EC_KEY,
    ED_KEY,
    ISSUER,
    OTHER_RSA_KEY,
    RSA_KEY,
    SECRET,
    Provider,
    public_pem,
    token,
)
from tests.webapp.harness import DEAD_PORT, WebHarness, check_problem

Build = Callable[..., WebHarness]
API = "/api/generations"


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(first=RSA_KEY) as provider:
        yield provider


def ask(site: WebHarness, value: str) -> int:
    headers = {"Authorization": f"Bearer {value}"}
    return site.stranger().post(API, json={"message": "a"}, headers=headers).status_code


def made_for(build: Build, url: str) -> WebHarness:
    pinned = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, "jwt_algorithm": "RS256"}
    return build(auth="jwt", jwt_jwks_url=url, **pinned)


def test_token_is_verified_with_the_key_that_its_kid_names(build: Build, provider: Provider) -> None:
    site = made_for(build, provider.url)
    assert ask(site, token("RS256", headers={"kid": "first"})) == 202
    assert ask(site, token("RS256", OTHER_RSA_KEY, headers={"kid": "first"})) == 401
    assert ask(site, token("RS256", headers={"kid": "another"})) == 401
    assert ask(site, token("RS256", headers={"kid": ""})) == 401
    assert ask(site, token("RS256")) == 202, "the only key needs no name"
    assert provider.fetched == 1


def test_only_the_pinned_algorithm_is_accepted_whatever_keys_the_provider_has(build: Build, provider: Provider) -> None:
    provider.keys["curve"] = EC_KEY
    site = made_for(build, provider.url)
    assert ask(site, token("RS256", headers={"kid": "first"})) == 202
    assert ask(site, token("ES256", headers={"kid": "curve"})) == 401
    assert ask(site, token("RS256", headers={"kid": "curve"})) == 401
    assert ask(site, token("RS256")) == 202, "the only key of the algorithm needs no name"
    # The classic attack: the public key must not be accepted as an HMAC secret.
    assert ask(site, token("HS256", SECRET, headers={"kid": "first"})) == 401
    assert public_pem(RSA_KEY)


def test_token_is_valid_with_any_of_the_keys_that_share_its_id(build: Build, provider: Provider) -> None:
    provider.more = [("first", EC_KEY), ("first", ED_KEY), ("first", OTHER_RSA_KEY)]
    site = made_for(build, provider.url)
    for key in (RSA_KEY, OTHER_RSA_KEY):
        assert ask(site, token("RS256", key, headers={"kid": "first"})) == 202
        assert ask(site, token("RS256", key)) == 202, "without an id every key of the algorithm is tried"
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert ask(site, token("RS256", foreign, headers={"kid": "first"})) == 401
    assert ask(site, token("ES256", headers={"kid": "first"})) == 401
    assert ask(site, token("RS256", OTHER_RSA_KEY, headers={"kid": "first"}, exp=1)) == 401


def test_hundred_concurrent_requests_fetch_the_keys_once(provider: Provider) -> None:
    provider.seconds = 0.3
    keys = JwksCache(provider.url, "RS256")
    found = gevent.joinall([gevent.spawn(keys.keys, "first") for _ in range(100)], timeout=30)
    assert all(each.value for each in found)
    assert provider.fetched == 1


def test_unknown_keys_cause_no_fetch_storm(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = JwksCache(provider.url, "RS256")
    assert keys.keys("first")
    for number in range(50):
        assert keys.keys(f"made up {number}") == []
    assert provider.fetched == 1
    monkeypatch.setattr(jwks, "REFETCH_SECONDS", 0.0)
    provider.keys["second"] = OTHER_RSA_KEY
    assert keys.keys("second"), "a new key is fetched when a token names it"


def test_revoked_key_is_noticed_by_a_background_fetch(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(jwks, "REFETCH_SECONDS", 0.0)
    keys = JwksCache(provider.url, "RS256")
    assert keys.keys("first")
    provider.keys = {"second": OTHER_RSA_KEY}
    provider.seconds = 0.5
    assert keys.keys("first"), "no request waits while stale keys are refetched"
    assert provider.answered == 1
    wait_for(lambda: not keys._find("first"), 30, "the new keys")
    assert keys.keys("first") == []


def test_cached_keys_are_used_while_the_provider_is_unavailable(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FRESH_SECONDS", "REFETCH_SECONDS"):
        monkeypatch.setattr(jwks, name, 0.0)
    keys = JwksCache(provider.url, "RS256")
    assert keys.keys("first")
    for wrong in ("500 Internal Server Error", "404 Not Found"):
        provider.status = wrong
        fetched = provider.fetched
        # Asked again, because the first one may come while an earlier fetch is under way, and begin none.
        wait_for(lambda fetched=fetched: keys.keys("first") and provider.fetched > fetched, 30, "a fetch")
        assert keys.keys("first")
    monkeypatch.setattr(jwks, "STALE_SECONDS", 0.0)
    with pytest.raises(KeysUnavailable):
        keys.keys("first")


@pytest.mark.parametrize("how", ["unreachable", "silent"])
def test_missing_keys_are_503_within_the_timeout(
    build: Build, provider: Provider, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.5)
    provider.seconds = 100
    site = made_for(build, provider.url if how == "silent" else f"http://127.0.0.1:{DEAD_PORT}/keys")
    headers = {"Authorization": f"Bearer {token('RS256', headers={'kid': 'first'})}"}
    with gevent.Timeout(30):
        check_problem(site.stranger().post(API, json={"message": "a"}, headers=headers), 503, "identity_away")
        check_problem(site.stranger().get(f"{API}/{'0' * 32}/events", headers=headers), 503, "identity_away")
    check_problem(site.stranger().post(API, json={"message": "a"}), 401, "unauthorized")


def test_keys_on_this_machine_are_fetched_past_the_proxy_of_the_environment(
    build: Build, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{DEAD_PORT}")
    assert ask(made_for(build, provider.url), token("RS256", headers={"kid": "first"})) == 202
