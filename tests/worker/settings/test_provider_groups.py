"""The settings of the providers: vendors' own variables, defaults, and what a provider in use requires."""

import pytest

from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import load

OPENAI = {"MILLRACE_PROVIDERS": "openai", "MILLRACE_OPENAI_API_KEY": "key"}


def test_bedrock_alone_is_used_by_default() -> None:
    settings = load({})
    assert (settings.providers.order, settings.default_models.keys()) == (("bedrock",), {"bedrock"})


def test_a_key_is_read_from_the_vendors_variable_unless_ours_is_set() -> None:
    assert load({"OPENAI_API_KEY": "theirs"}).openai.api_key == "theirs"
    assert load({"OPENAI_API_KEY": "theirs", "MILLRACE_OPENAI_API_KEY": "ours"}).openai.api_key == "ours"


def test_time_limits_under_their_older_names_still_count() -> None:
    older = load({"MILLRACE_BEDROCK_READ_SECONDS": "7", "MILLRACE_BEDROCK_TRIES": "2"}).providers
    assert (older.read_seconds, older.tries) == (7.0, 2)


def test_without_bedrock_the_first_providers_model_is_the_default() -> None:
    settings = load(OPENAI | {"MILLRACE_OPENAI_MODEL": "gpt-5", "MILLRACE_ALLOWED_MODELS": "gpt-5-mini"})
    assert settings.model_names == ("gpt-5", "gpt-5-mini")
    assert load(OPENAI | {"MILLRACE_MODEL_ID": "gpt-5"}).default_models == {"openai": "gpt-5"}


def test_a_service_of_ones_own_needs_no_key() -> None:
    local = {"MILLRACE_OPENAI_BASE_URL": "http://127.0.0.1:11434/v1", "MILLRACE_OPENAI_MODEL": "llama3"}
    assert load({"MILLRACE_PROVIDERS": "openai"} | local).default_model == "llama3"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"MILLRACE_PROVIDERS": "bedrock,azure"}, "MILLRACE_PROVIDERS: takes one or more of bedrock, "),
        ({"MILLRACE_PROVIDERS": "bedrock,bedrock"}, "MILLRACE_PROVIDERS: takes one or more of bedrock, "),
        ({"MILLRACE_PROVIDERS": "openai"}, "MILLRACE_OPENAI_API_KEY: is not set; openai in MILLRACE_PROVIDERS"),
        (OPENAI, "MILLRACE_OPENAI_MODEL: is not set; openai in MILLRACE_PROVIDERS"),
        ({"MILLRACE_PROVIDERS": "rlm"}, "MILLRACE_RLM_URL: is not set"),
        ({"OPENAI_API_KEY": "sk-kéy"}, "OPENAI_API_KEY: takes a key of ASCII letters"),
        ({"MILLRACE_RLM_KEY": "two\nlines"}, "MILLRACE_RLM_KEY: takes a key of ASCII letters"),
        ({"MILLRACE_RLM_HISTORY_FIELD": "message"}, "MILLRACE_RLM_HISTORY_FIELD: takes a field that is not part of"),
        ({"MILLRACE_RLM_SYSTEM_FIELD": "profile.system"}, "MILLRACE_RLM_SYSTEM_FIELD: takes a field that is not part"),
        (
            OPENAI | {"MILLRACE_OPENAI_MODEL": "gpt-5", "MILLRACE_ALLOWED_MODELS": "gemini/x"},
            "MILLRACE_ALLOWED_MODELS: no .* answers for gemini/x",
        ),
    ],
)
def test_a_provider_or_a_model_that_cannot_answer_stops_the_start(environment: dict[str, str], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        load(environment)
