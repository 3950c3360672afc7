"""Contradictions between settings stop both tiers at start, with the name of the variable."""

import os

import pytest

from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import Settings, check, load
from tests.forks import outputs_of

TIERS = {"worker": "millrace.worker.app", "web": "wsgi"}
CONTRADICTIONS = {
    "MILLRACE_INTENT_SCHEMA": {"MILLRACE_INTENT_SCHEMA": '{"type": "objekt"}'},
    "MILLRACE_DATABASE_SCHEMA": {"MILLRACE_DATABASE_SCHEMA": "chat"},
    "MILLRACE_SEARCH_KEY": {"MILLRACE_SEARCH_ENGINE": "brave"},
}
JWT = {
    "MILLRACE_AUTH": "jwt",
    "MILLRACE_JWT_ALGORITHM": "HS256",
    "MILLRACE_JWT_ISSUER": "issuer",
    "MILLRACE_JWT_AUDIENCE": "audience",
    "MILLRACE_JWT_SECRET": "s" * 32,
}


@pytest.mark.parametrize("tier", TIERS)
def test_contradiction_alone_stops_the_start_of_both_tiers_with_the_name_of_the_variable(tier: str) -> None:
    valid = {**os.environ, "MILLRACE_SECRET_KEY": "secret" * 6, "MILLRACE_INTENT_SCHEMA": '{"type": "object"}'}
    environments = [valid, *({**valid, **contradiction} for contradiction in CONTRADICTIONS.values())]
    (code, output), *stopped = outputs_of([TIERS[tier]], *environments)
    assert code == 0, output
    for variable, (code, output) in zip(CONTRADICTIONS, stopped, strict=True):
        assert code != 0, f"the {tier} tier started with {CONTRADICTIONS[variable]}"
        assert f"{variable}: " in output.splitlines()[-1], f"{tier}: {output}"


def test_contradiction_names_the_variable_that_is_missing_or_has_no_effect() -> None:
    cases: list[tuple[str, dict[str, str]]] = [
        ("MILLRACE_AUTH_HEADER: is not set", {"MILLRACE_AUTH": "header"}),
        ("MILLRACE_SECRET_KEY: takes at least 32 bytes", {"MILLRACE_SECRET_KEY": "k" * 31}),
        ("MILLRACE_SECRET_KEY: takes at least 32 bytes in each key", {"MILLRACE_SECRET_KEY": f"{'k' * 32},{'l' * 31}"}),
        ("MILLRACE_AUTH_HEADER: has no effect", {"MILLRACE_AUTH_HEADER": "X-User"}),
        ("MILLRACE_JWT_COOKIE: has no effect", {"MILLRACE_JWT_COOKIE": "token"}),
        ("MILLRACE_JWT_ISSUER: is not set", {**JWT, "MILLRACE_JWT_ISSUER": ""}),
        ("MILLRACE_JWT_SECRET: takes the key", {**JWT, "MILLRACE_JWT_SECRET": ""}),
        ("MILLRACE_JWT_SECRET: takes the key", {**JWT, "MILLRACE_JWT_JWKS_URL": "https://issuer.example/keys"}),
        ("MILLRACE_SEARCH_URL: is not set", {"MILLRACE_SEARCH_ENGINE": "searxng"}),
        ("MILLRACE_SEARCH_KEY: is not set", {"MILLRACE_SEARCH_ENGINE": "brave"}),
        ("MILLRACE_BREAKER_MAX_OPEN_SECONDS: takes at least", {"MILLRACE_BREAKER_OPEN_SECONDS": "121"}),
        ("MILLRACE_INTENT_SCHEMA: is not a JSON schema", {"MILLRACE_INTENT_SCHEMA": '{"type": "objekt"}'}),
    ]
    for message, environment in cases:
        with pytest.raises(SettingError) as raised:
            load(environment)
        assert message in str(raised.value), f"{environment}: {raised.value}"


def test_settings_without_a_contradiction_are_returned_unchanged() -> None:
    assert load(JWT).auth.method == "jwt"
    settings = Settings.of(search_engine="searxng", search_url="https://search.example")
    assert check(settings) is settings
    assert load({"MILLRACE_BREAKER_OPEN_SECONDS": "200", "MILLRACE_BREAKER_FAILURES": "0"}).breaker.failures == 0
