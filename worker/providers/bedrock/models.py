"""ModelTraits of Bedrock's models by their ids: the only place in the code that knows a model by its name.

https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ModelTraits:
    """`window` is the token limit of prompt and answer together; `supports_caching` means that cache points work."""

    window: int
    supports_caching: bool


# The first matching prefix counts. An unlisted model gets no cache points, because it might reject them.
_BY_PREFIX = {
    "anthropic.claude-3-7-sonnet": ModelTraits(200_000, supports_caching=True),
    "anthropic.claude-3-5-haiku": ModelTraits(200_000, supports_caching=True),
    "anthropic.claude-sonnet-": ModelTraits(200_000, supports_caching=True),
    "anthropic.claude-opus-": ModelTraits(200_000, supports_caching=True),
    "anthropic.claude-haiku-": ModelTraits(200_000, supports_caching=True),
    "anthropic.claude-": ModelTraits(200_000, supports_caching=False),
    "amazon.nova-micro": ModelTraits(128_000, supports_caching=True),
    "amazon.nova-premier": ModelTraits(1_000_000, supports_caching=True),
    "amazon.nova-": ModelTraits(300_000, supports_caching=True),
}
UNKNOWN_MODEL = ModelTraits(128_000, supports_caching=False)

_GEOGRAPHY = re.compile(r"(global|us|us-gov|eu|apac|jp|au|ca)\.")  # prefix of an inference profile
_WINDOW_SUFFIX = re.compile(r":(\d{1,4})k$", re.ASCII)  # such as amazon.nova-lite-v1:0:24k


def find_traits(model: str) -> ModelTraits:
    """Return the traits of a model, given its id, its inference profile or the ARN of either."""
    name = model.rpartition("/")[2]
    name = _GEOGRAPHY.sub("", name, count=1) if _GEOGRAPHY.match(name) else name
    traits = next((traits for prefix, traits in _BY_PREFIX.items() if name.startswith(prefix)), UNKNOWN_MODEL)
    window = _WINDOW_SUFFIX.search(name)
    return replace(traits, window=int(window[1]) * 1000) if window else traits
