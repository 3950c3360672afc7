"""The parameters that both of OpenAI's APIs share: those that are refused or ignored, models, and texts in parts."""

from collections.abc import Mapping
from typing import Any, cast

from millrace.webapp.facades.openai.errors import (
    invalid_parameter,
    missing_parameter,
    model_not_found,
    unknown_parameter,
    unsupported_parameter,
    wrong_type,
)
from millrace.webapp.generation.validation import MAX_ECHO_CHARS
from millrace.webapp.request_input import Json
from millrace.worker.contract.events import Usage
from millrace.worker.settings.schema import Settings

Neutral = Mapping[str, tuple[Any, ...]]
"""The parameters that are refused, each with the values that mean the same as its absence."""

IGNORED = frozenset(("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "prompt_cache_options"))
"""Parameters that never change an answer, and have no effect here."""

_FLAGS = {"true": True, "false": False, "1": True, "0": False, "": False}


def flag_of(query: Mapping[str, str], name: str) -> bool:
    """Return a flag of a request's query, false where it is absent; raises Problem 400."""
    given = query.get(name, "").lower()
    if given not in _FLAGS:
        raise invalid_parameter(name, f"{name} must be true or false.")
    return _FLAGS[given]


def keep_supported(body: Json, supported: frozenset[str], refused: Neutral, reasons: Mapping[str, str]) -> Json:
    """Return the parameters that are supported; raises Problem 400 for one that is refused, or that does not exist.

    Null counts as absent. `reasons` has a sentence of its own for some of those that are refused.
    """
    kept: Json = {}
    for name, value in body.items():
        if name in supported:
            if value is not None:
                kept[name] = value
        elif name in refused:
            if value is not None and not any(_is_same(value, each) for each in refused[name]):
                default = f"This server does not support '{name}'. Leave it out."
                raise unsupported_parameter(name, reasons.get(name, default))
        elif name not in IGNORED:
            raise unknown_parameter(name)
    return kept


def _is_same(value: Any, other: Any) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)  # True equals 1


def check_model(model: Any, settings: Settings) -> None:
    """Raise Problem 404 for a model that requests may not name, as OpenAI does; None is the default model."""
    if model is not None and not isinstance(model, str):
        raise wrong_type("model", "a string")
    if model and model not in settings.model_names:
        raise model_not_found(model, settings.model_names)


def text_of(content: Any, where: str, kinds: tuple[str, ...], separator: str = "\n\n") -> str:
    """Return the text of a message's content, which is a string or a list of parts; `kinds` are those of text.

    `separator` stands between parts: an empty one for those of an answer, which are pieces of one text. Raises Problem
    400 that names the part, such as `messages[2].content[0]`, for one that is not text.
    """
    if isinstance(content, str):
        return content
    if content is None:
        raise missing_parameter(where)
    if not isinstance(content, list):
        raise wrong_type(where, "a string or an array of parts")
    parts = cast("list[Any]", content)
    return separator.join(_text_of_part(part, f"{where}[{number}]", kinds) for number, part in enumerate(parts))


def _text_of_part(part: Any, where: str, kinds: tuple[str, ...]) -> str:
    if not isinstance(part, dict):
        raise wrong_type(where, "an object")
    members = cast("Json", part)
    kind = members.get("type")
    if kind not in kinds:
        given = str(kind)[:MAX_ECHO_CHARS]
        message = f"{where}: parts of type '{given}' are not supported. This server takes text: {', '.join(kinds)}."
        raise invalid_parameter(f"{where}.type", message, "unsupported_value")
    text = members.get("text")
    if not isinstance(text, str):
        raise wrong_type(f"{where}.text", "a string")
    return text


def prompt_tokens(usage: Usage) -> int:
    """Return the tokens of a prompt as OpenAI counts them, which includes cached ones."""
    return usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
