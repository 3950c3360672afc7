"""Traits of models are found by an id, an inference profile or an ARN, and are given by the setting for all others."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from millrace.worker.errors import SettingError
from millrace.worker.settings.catalog import DEFAULT_MODEL, UNKNOWN_MODEL, Candidate, ModelTraits, Price, find_traits
from millrace.worker.settings.schema import load

PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0"
APPLICATION_PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123"


@pytest.mark.parametrize(
    ("model", "window", "caching", "sampling"),
    [
        (DEFAULT_MODEL, 200_000, True, "one"),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", 200_000, True, "one"),
        ("us.anthropic.claude-opus-4-1-20250805-v1:0", 200_000, True, "one"),
        (PROFILE, 200_000, True, "both"),
        ("us.anthropic.claude-opus-4-20250514-v1:0", 200_000, True, "both"),
        ("anthropic.claude-opus-4-7", 200_000, True, "none"),
        ("global.anthropic.claude-sonnet-5-5", 200_000, True, "none"),
        ("eu.anthropic.claude-3-7-sonnet-20250219-v1:0", 200_000, True, "both"),
        ("anthropic.claude-3-sonnet-20240229-v1:0:28k", 28_000, False, "both"),
        ("us-gov.amazon.nova-pro-v1:0", 300_000, True, "both"),
        ("amazon.nova-micro-v1:0:24k", 24_000, True, "both"),
    ],
)
def test_traits_are_those_of_the_first_matching_prefix(model: str, window: int, caching: bool, sampling: str) -> None:
    traits = find_traits(model)
    assert (traits.window, traits.caching, traits.sampling) == (window, caching, sampling)
    assert traits.blank_stop_sequences is ("anthropic" not in model)


@pytest.mark.parametrize(
    "model", ["meta.llama3-70b-instruct-v1:0", APPLICATION_PROFILE, "unknown.anthropic.claude-sonnet-4"]
)
def test_a_model_without_a_matching_prefix_is_unknown(model: str) -> None:
    assert find_traits(model) is UNKNOWN_MODEL


def test_the_setting_gives_the_traits_of_a_model_whose_id_does_not_name_it(tmp_path: Path) -> None:
    given = {
        APPLICATION_PROFILE: {"like": DEFAULT_MODEL},
        "own": {"window": 64_000, "caching": None, "sampling": "none"},
    }
    path = tmp_path / "models.json"
    path.write_text(json.dumps(given))
    for value in (json.dumps(given), str(path)):
        settings = load({"MILLRACE_MODELS": value})
        expected = {
            APPLICATION_PROFILE: find_traits(DEFAULT_MODEL),
            "own": ModelTraits(64_000, caching=False, sampling="none"),
            "amazon.nova-pro-v1:0": find_traits("amazon.nova-pro-v1:0"),
        }
        for model, traits in expected.items():
            assert settings.candidates(model) == (Candidate("bedrock", model, traits),)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("[]", "JSON object"),
        ("/nonexistent.json", "JSON object.*No such file"),
        ('{\n"own": }', "JSON object.*line 2, column 8"),
        ('{"own": 5}', "own: Expected `object`"),
        ('{"own": {"windows": 5}}', "own: .*windows"),
        ('{"own": {"window": "5"}}', "own: .*window"),
        ('{"own": {"window": 5}}', "own: .*window"),
        ('{"own": {"sampling": "some"}}', "own: .*sampling"),
        ('{"own": {"like": "claud-sonnet"}}', "own: .*claud-sonnet.*`like`"),
        ('{"own": {"candidates": [{"provider": "rlm"}, {"provider": "openai"}]}}', r"own: .*`candidates\[1\].id`"),
        ('{"own": {"candidates": [{"provider": "rlm", "like": "gtp-5"}]}}', r"own: .*`candidates\[0\].like`"),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_model_and_the_trait(value: str, named: str) -> None:
    with pytest.raises(SettingError, match=f"MILLRACE_MODELS: .*{named}"):
        load({"MILLRACE_MODELS": value})


BOTH = {"MILLRACE_PROVIDERS": "openai,bedrock", "MILLRACE_OPENAI_API_KEY": "key"}


@pytest.mark.parametrize(
    ("environment", "model", "expected"),
    [
        ({}, DEFAULT_MODEL, ["bedrock " + DEFAULT_MODEL]),
        (BOTH | {"MILLRACE_OPENAI_MODEL": "gpt-5"}, DEFAULT_MODEL, ["openai gpt-5", "bedrock " + DEFAULT_MODEL]),
        (BOTH | {"MILLRACE_OPENAI_MODEL": "gpt-5"}, "gpt-5", ["openai gpt-5", "bedrock " + DEFAULT_MODEL]),
        (BOTH, DEFAULT_MODEL, ["bedrock " + DEFAULT_MODEL]),
        (BOTH, "gpt-5-mini", ["openai gpt-5-mini"]),
        (BOTH, "bedrock/amazon.nova-pro-v1:0", ["bedrock amazon.nova-pro-v1:0"]),
        (BOTH, "gemini/gemini-3", []),
        ({"MILLRACE_PROVIDERS": "rlm,bedrock", "MILLRACE_RLM_URL": "http://r"}, "a", ["rlm rlm", "bedrock a"]),
        ({"MILLRACE_PROVIDERS": "rlm", "MILLRACE_RLM_URL": "http://r"}, "rlm", ["rlm rlm"]),
    ],
)
def test_a_name_is_answered_by_its_candidates_in_the_order_of_the_providers(
    environment: dict[str, str], model: str, expected: list[str]
) -> None:
    assert [f"{each.provider} {each.id}" for each in load(environment).candidates(model)] == expected


@pytest.mark.parametrize(
    ("given", "prefill"), [({}, False), ({"prefill": True}, True), ({"like": DEFAULT_MODEL}, False)]
)
def test_a_server_with_openais_api_takes_no_prefill_unless_the_operator_says_so(
    given: dict[str, Any], prefill: bool
) -> None:
    settings = load(BOTH | {"MILLRACE_MODELS": json.dumps({"own": given})})
    assert [each.traits.prefill for each in settings.candidates("own")] == [prefill]
    inner = {"candidates": [{"provider": "openai", "id": "own"} | given]}
    settings = load(BOTH | {"MILLRACE_MODELS": json.dumps({"own": inner})})
    assert [each.traits.prefill for each in settings.candidates("own")] == [prefill]


def test_a_name_of_the_catalog_has_candidates_with_their_own_traits_and_prices() -> None:
    smart = {
        "price": {"input": 3, "output": 15},
        "prefill": False,
        "candidates": [
            {"provider": "bedrock", "id": DEFAULT_MODEL},
            {"provider": "openai", "id": "own", "like": "gpt-5", "window": 9000, "price": {"input": 0, "output": 1}},
            {"provider": "gemini", "id": "not in use"},
        ],
    }
    settings = load(BOTH | {"MILLRACE_MODELS": json.dumps({"smart": smart}), "MILLRACE_MODEL_ID": "smart"})
    assert settings.default_model == "smart"
    first, second = settings.candidates("smart")
    assert first == Candidate("openai", "own", replace(find_traits("gpt-5"), window=9000, prefill=False), Price(0, 1))
    traits = replace(find_traits(DEFAULT_MODEL), prefill=False)
    assert second == Candidate("bedrock", DEFAULT_MODEL, traits, Price(3, 15))


def test_traits_and_price_of_an_id_hold_for_it_under_each_name_and_for_no_other_model() -> None:
    given = {
        DEFAULT_MODEL: {"price": {"input": 3, "output": 15}, "window": 5000},
        "openai/gpt-5": {"price": {"input": 1, "output": 2}},
        APPLICATION_PROFILE: {"like": DEFAULT_MODEL, "window": 6000},
        "smart": {
            "caching": False,
            "candidates": [
                {"provider": "openai", "id": "gpt-5", "price": {"input": 0, "output": 0}},
                {"provider": "bedrock", "id": APPLICATION_PROFILE},
            ],
        },
    }
    settings = load(BOTH | {"MILLRACE_OPENAI_MODEL": "gpt-5", "MILLRACE_MODELS": json.dumps(given)})
    for name in (DEFAULT_MODEL, "gpt-5"):  # each stands for both
        openai, bedrock = settings.candidates(name)
        assert (openai.price, openai.traits.window) == (Price(1, 2), find_traits("gpt-5").window)
        assert (bedrock.price, bedrock.traits.window) == (Price(3, 15), 5000)
    openai, bedrock = settings.candidates("smart")
    assert openai.price == Price(0, 0)
    assert bedrock.traits == replace(find_traits(DEFAULT_MODEL), window=6000, caching=False)
