"""The traits of models by their ids: the only place in the code that knows a model by its name.

https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html
https://docs.claude.com/en/docs/about-claude/models/migrating-to-claude-4
"""

import json
import re
from typing import Annotated, Any, Literal, cast

import msgspec

from millrace.worker.settings.parsers import json_object

Sampling = Literal["both", "one", "none"]
Window = Annotated[int, msgspec.Meta(ge=1000, le=100_000_000)]


class ModelTraits(msgspec.Struct, frozen=True):
    """The traits of one model.

    `window` is the limit of prompt and answer together, in tokens. `caching` means that cache points work. `sampling`
    says whether a request may have `temperature` and `top_p`, or one of them, or none; `blank_stop_sequences` whether
    a stop sequence may be white space alone.
    """

    window: int
    caching: bool
    sampling: Sampling = "both"
    blank_stop_sequences: bool = True


class _GivenTraits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The traits that the operator gives for a model; all others are those of the model `like`, or of the id itself."""

    like: str | None = None
    window: Window | None = None
    caching: bool | None = None
    sampling: Sampling | None = None
    blank_stop_sequences: bool | None = None


def _claude(*, caching: bool = True, sampling: Sampling = "both") -> ModelTraits:
    return ModelTraits(200_000, caching, sampling, blank_stop_sequences=False)


# The first matching prefix counts. An unlisted model gets no cache points, because it might reject them.
_BY_PREFIX = {
    "anthropic.claude-3-7-sonnet": _claude(),
    "anthropic.claude-3-5-haiku": _claude(),
    "anthropic.claude-3": _claude(caching=False),
    "anthropic.claude-v": _claude(caching=False),
    "anthropic.claude-instant": _claude(caching=False),
    "anthropic.claude-sonnet-4-2025": _claude(),
    "anthropic.claude-opus-4-2025": _claude(),
    **{
        f"anthropic.claude-{name}": _claude(sampling="one")
        for name in ("sonnet-4-5", "sonnet-4-6", "haiku-4-5", "opus-4-1", "opus-4-5", "opus-4-6")
    },
    **{f"anthropic.claude-{name}-": _claude(sampling="none") for name in ("sonnet", "opus", "haiku")},  # newer ones
    "anthropic.claude-": _claude(caching=False, sampling="none"),
    "amazon.nova-micro": ModelTraits(128_000, caching=True),
    "amazon.nova-premier": ModelTraits(1_000_000, caching=True),
    "amazon.nova-": ModelTraits(300_000, caching=True),
}
UNKNOWN_MODEL = ModelTraits(128_000, caching=False)

_GEOGRAPHY = re.compile(r"(global|us|us-gov|eu|apac|jp|au|ca)\.")  # prefix of an inference profile
_WINDOW_SUFFIX = re.compile(r":(\d{1,4})k$", re.ASCII)  # such as amazon.nova-lite-v1:0:24k


def find_traits(model: str) -> ModelTraits:
    """Return the traits of a model, given its id, its inference profile or the ARN of either.

    The ARN of an application inference profile does not name its model: `MILLRACE_MODELS` gives its traits.
    """
    name = model.rpartition("/")[2]
    name = _GEOGRAPHY.sub("", name, count=1) if _GEOGRAPHY.match(name) else name
    traits = next((traits for prefix, traits in _BY_PREFIX.items() if name.startswith(prefix)), UNKNOWN_MODEL)
    window = _WINDOW_SUFFIX.search(name)
    return msgspec.structs.replace(traits, window=int(window[1]) * 1000) if window else traits


def parse_models(value: str) -> tuple[tuple[str, ModelTraits], ...]:
    """Parse the traits of models by their ids, as a JSON object or the path of a file that holds one."""
    given = cast("dict[str, Any]", json.loads(json_object(value)))
    return tuple((model, _traits_of(model, each)) for model, each in given.items())


def _traits_of(model: str, value: Any) -> ModelTraits:
    try:
        given = msgspec.convert(value, _GivenTraits)
    except msgspec.ValidationError as error:
        reason = str(error).replace("`$.", "`")
        raise ValueError(
            "takes a JSON object of traits by model id, each with any of like, window, caching, sampling (both, one or "
            f"none) and blank_stop_sequences; of {model[:100]}: {reason}"
        ) from error
    changes = {name: each for name, each in msgspec.structs.asdict(given).items() if each is not None}
    return msgspec.structs.replace(find_traits(changes.pop("like", model)), **changes)
