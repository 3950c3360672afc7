"""The environment of the child processes."""

import sys
from pathlib import Path

import pytest

from deploy.migration import migrate
from deploy.system.state_directory import StateDirectory
from deploy.system.topology import (
    PROVIDER_KEYS,
    Options,
    bare_environment,
    child_environment,
    plan,
    web_environment,
    worker_environment,
)
from millrace.worker.settings.schema import load
from tests.deploy.system.supervised import ROOT

ENDPOINT = "http://127.0.0.1:2"


def test_given_environment_wins_over_the_defaults() -> None:
    given = {"MILLRACE_REDIS_URL": "redis://theirs", "MILLRACE_SECRET_KEY": "", "LANG": "C"}
    defaults = {"MILLRACE_REDIS_URL": "redis://default", "MILLRACE_SECRET_KEY": "made"}
    made = child_environment(given, defaults, "")
    assert made == {"MILLRACE_REDIS_URL": "redis://theirs", "MILLRACE_SECRET_KEY": "made", "LANG": "C"}


def test_local_endpoint_gets_none_of_the_users_credentials() -> None:
    made = child_environment(
        {"AWS_PROFILE": "gone", "AWS_ACCESS_KEY_ID": "mine", "AWS_SESSION_TOKEN": "t"}, {}, ENDPOINT
    )
    assert made == {
        "MILLRACE_BEDROCK_ENDPOINT_URL": ENDPOINT,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }


@pytest.mark.parametrize(
    "providers",
    [("bedrock",), ("bedrock-invoke",), ("openai",), ("gemini", "bedrock"), ("anthropic",), ("rlm", "openai")],
)
def test_both_tiers_accept_the_settings_of_a_provider_that_the_local_endpoint_stands_in_for(
    providers: tuple[str, ...],
) -> None:
    made = child_environment({"OPENAI_API_KEY": "mine", "GEMINI_API_KEY": "mine"}, {}, ENDPOINT, providers)
    settings = load(made)
    assert settings.providers.order == providers
    assert next(each.provider for each in settings.candidates(settings.default_model)) == providers[0]
    assert load(web_environment(made)).providers.order == providers
    for provider in set(providers) & {"openai", "gemini"}:
        assert f"{provider.upper()}_API_KEY" not in made


def test_settings_may_name_models_of_the_providers_that_the_local_endpoint_stands_in_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_ALLOWED_MODELS", "gemini/a-model")
    options = Options(port=0, providers=("gemini", "bedrock"))
    state = StateDirectory(tmp_path / "state")
    state.directory(".")
    web = plan(options, ROOT, Path(sys.executable), state).web
    assert web.environment["MILLRACE_PROVIDERS"] == "gemini,bedrock"


def test_address_of_ones_own_is_kept_together_with_its_key() -> None:
    given = {"MILLRACE_OPENAI_BASE_URL": "http://127.0.0.1:11434/v1", "OPENAI_API_KEY": "mine"}
    made = child_environment(given, {}, ENDPOINT, ("openai",))
    assert {name: made[name] for name in given} == given


def test_the_web_tier_knows_no_key_of_a_provider_but_that_there_is_one() -> None:
    made = web_environment(dict.fromkeys(PROVIDER_KEYS, "mine"))
    assert made == dict.fromkeys(PROVIDER_KEYS, "known-to-the-worker")
    assert web_environment({"MILLRACE_OPENAI_API_KEY": ""}) == {"MILLRACE_OPENAI_API_KEY": ""}


def test_credentials_are_unchanged_without_the_local_endpoint() -> None:
    given = {"AWS_PROFILE": "mine", "MILLRACE_BEDROCK_ENDPOINT_URL": "https://vpce"}
    assert child_environment(given, {}, "") == given
    assert child_environment(given, {}, ENDPOINT) == given


GIVEN = {
    "MILLRACE_SECRET_KEY": "s",
    "MILLRACE_AUTH": "jwt",
    "MILLRACE_JWT_SECRET": "j",
    "MILLRACE_API_KEYS": "[]",
    "MILLRACE_SEARCH_KEY": "b",
    "AWS_SECRET_ACCESS_KEY": "a",
    "AWS_SESSION_TOKEN": "t",
    "AWS_REGION": "r",
    "MILLRACE_REDIS_URL": "redis://x",
    "OTHER_API_KEY": "o",
    "PATH": "/bin",
}


def test_each_process_gets_only_the_secrets_that_it_needs() -> None:
    web, worker, bare = web_environment(GIVEN), worker_environment(GIVEN), bare_environment(GIVEN)
    assert {"MILLRACE_SEARCH_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}.isdisjoint(web)
    of_users = {"MILLRACE_SECRET_KEY", "MILLRACE_JWT_SECRET", "MILLRACE_API_KEYS", "MILLRACE_AUTH"}
    assert {*of_users, "AWS_REGION", "MILLRACE_REDIS_URL"} <= set(web)
    assert of_users.isdisjoint(worker)
    assert {"MILLRACE_SEARCH_KEY", "AWS_SECRET_ACCESS_KEY", "MILLRACE_REDIS_URL"} <= set(worker)
    assert bare == {"PATH": "/bin"}


def test_authentication_function_of_ones_own_keeps_the_credentials_that_it_may_need() -> None:
    web = web_environment({**GIVEN, "MILLRACE_AUTH": "mine.auth:owner"})
    assert web["AWS_SECRET_ACCESS_KEY"] == "a"
    assert "MILLRACE_SEARCH_KEY" not in web


def test_database_lies_in_the_state_directory_whatever_its_name_and_is_private(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "st%2Fx?y=1&z #ü")
    state.directory(".")
    topology = plan(Options(port=0), ROOT, Path(sys.executable), state)
    migrate(ROOT, Path(sys.executable), topology.web.environment)
    assert list(tmp_path.iterdir()) == [state.path]
    files = list(state.path.glob("millrace.db*"))
    assert state.path / "millrace.db" in files
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
