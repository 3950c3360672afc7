"""ModelTraits are found by a model's id, its inference profile or an ARN."""

import pytest

from millrace.worker.providers.bedrock.models import UNKNOWN_MODEL, ModelTraits, find_traits
from millrace.worker.settings.groups import DEFAULT_MODEL

PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0"


@pytest.mark.parametrize(
    ("model", "traits"),
    [
        (DEFAULT_MODEL, ModelTraits(200_000, supports_caching=True)),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", ModelTraits(200_000, supports_caching=True)),
        (PROFILE, ModelTraits(200_000, supports_caching=True)),
        ("eu.anthropic.claude-3-7-sonnet-20250219-v1:0", ModelTraits(200_000, supports_caching=True)),
        ("anthropic.claude-3-sonnet-20240229-v1:0:28k", ModelTraits(28_000, supports_caching=False)),
        ("us-gov.amazon.nova-pro-v1:0", ModelTraits(300_000, supports_caching=True)),
        ("amazon.nova-micro-v1:0:24k", ModelTraits(24_000, supports_caching=True)),
        ("meta.llama3-70b-instruct-v1:0", UNKNOWN_MODEL),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123", UNKNOWN_MODEL),
        ("unknown.anthropic.claude-sonnet-4", UNKNOWN_MODEL),
    ],
)
def test_traits_are_those_of_the_first_matching_prefix(model: str, traits: ModelTraits) -> None:
    assert find_traits(model) == traits
