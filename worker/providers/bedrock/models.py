"""What is known of Bedrock's models by their ids: one table, and nothing else in the code knows a model by its name.

https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
"""

import re
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Traits:
    """`window`: the tokens that a prompt and its answer may have together; `caches`: does it take cache points."""

    window: int
    caches: bool


# The first prefix that fits. A model that is not here is asked without cache points, which it might refuse.
_BY_PREFIX = {
    "anthropic.claude-3-7-sonnet": Traits(200_000, caches=True),
    "anthropic.claude-3-5-haiku": Traits(200_000, caches=True),
    "anthropic.claude-sonnet-": Traits(200_000, caches=True),
    "anthropic.claude-opus-": Traits(200_000, caches=True),
    "anthropic.claude-haiku-": Traits(200_000, caches=True),
    "anthropic.claude-": Traits(200_000, caches=False),
    "amazon.nova-micro": Traits(128_000, caches=True),
    "amazon.nova-premier": Traits(1_000_000, caches=True),
    "amazon.nova-": Traits(300_000, caches=True),
}
UNKNOWN = Traits(128_000, caches=False)

_GEOGRAPHY = re.compile(r"(global|us|us-gov|eu|apac|jp|au|ca)\.")  # of an inference profile
_OWN_WINDOW = re.compile(r":(\d{1,4})k$", re.ASCII)  # such as amazon.nova-lite-v1:0:24k


def traits_of(model: str) -> Traits:
    """Return what is known of a model, by its id, its inference profile or the ARN of either."""
    name = model.rpartition("/")[2]
    name = _GEOGRAPHY.sub("", name, count=1) if _GEOGRAPHY.match(name) else name
    traits = next((traits for prefix, traits in _BY_PREFIX.items() if name.startswith(prefix)), UNKNOWN)
    window = _OWN_WINDOW.search(name)
    return replace(traits, window=int(window[1]) * 1000) if window else traits
