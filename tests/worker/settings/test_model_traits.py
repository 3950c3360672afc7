"""Traits of models are found by an id, an inference profile or an ARN, and are given by the setting for all others."""

import json
from pathlib import Path

import pytest

from millrace.worker.errors import SettingError
from millrace.worker.settings.groups import DEFAULT_MODEL
from millrace.worker.settings.model_traits import UNKNOWN_MODEL, ModelTraits, find_traits
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
        models = load({"MILLRACE_MODELS": value}).models
        assert models.traits_of(APPLICATION_PROFILE) == find_traits(DEFAULT_MODEL)
        assert models.traits_of("own") == ModelTraits(64_000, caching=False, sampling="none")
        assert models.traits_of("amazon.nova-pro-v1:0") == find_traits("amazon.nova-pro-v1:0")


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("[]", "JSON object"),
        ("/nonexistent.json", "JSON object"),
        ('{"own": 5}', "own: Expected `object`"),
        ('{"own": {"windows": 5}}', "own: .*windows"),
        ('{"own": {"window": "5"}}', "own: .*window"),
        ('{"own": {"window": 5}}', "own: .*window"),
        ('{"own": {"sampling": "some"}}', "own: .*sampling"),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_model_and_the_trait(value: str, named: str) -> None:
    with pytest.raises(SettingError, match=f"MILLRACE_MODELS: .*{named}"):
        load({"MILLRACE_MODELS": value})
