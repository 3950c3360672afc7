"""What is known of a model is found by its id, however that is written."""

import pytest

from millrace.worker.providers.bedrock.models import UNKNOWN, Traits, traits_of
from millrace.worker.settings.groups import DEFAULT_MODEL

PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0"


@pytest.mark.parametrize(
    ("model", "traits"),
    [
        (DEFAULT_MODEL, Traits(200_000, caches=True)),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", Traits(200_000, caches=True)),
        (PROFILE, Traits(200_000, caches=True)),
        ("eu.anthropic.claude-3-7-sonnet-20250219-v1:0", Traits(200_000, caches=True)),
        ("anthropic.claude-3-sonnet-20240229-v1:0:28k", Traits(28_000, caches=False)),
        ("us-gov.amazon.nova-pro-v1:0", Traits(300_000, caches=True)),
        ("amazon.nova-micro-v1:0:24k", Traits(24_000, caches=True)),
        ("meta.llama3-70b-instruct-v1:0", UNKNOWN),
        ("arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123", UNKNOWN),
        ("somebody.anthropic.claude-sonnet-4", UNKNOWN),
    ],
)
def test_a_model_is_known_by_the_first_prefix_that_fits(model: str, traits: Traits) -> None:
    assert traits_of(model) == traits
