"""Count tokens, and refuse what a model's window does not hold. Pure.

No tokenizer of any real model is at work: it counts as many as these would for English, rather more than less.
"""

import re
from collections.abc import Iterator
from typing import Any, cast

from deploy.emulator.directive import is_directive
from deploy.emulator.errors import invalid

WINDOW = 200_000  # tokens of prompt and answer together, where the model's id does not say another number
_A_TEXT = 4  # tokens around each
_NO_TEXT = ("role", "type", "cachePoint")

_OWN_WINDOW = re.compile(r":(\d{1,4})k$", re.ASCII)  # in a model's id, as in amazon.nova-lite-v1:0:24k
_TOKEN = re.compile(r"[A-Za-z]{1,5}|[\u00c0-\u024f]{1,2}|[\u0370-\u07ff]{1,2}|[0-9]{1,3}|\n+|[^\sA-Za-z0-9]")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


def count(text: str) -> int:
    """Return the tokens of a text: of five letters, two of other alphabets, three digits, one other character."""
    return len(_TOKEN.findall(text)) + len(_ASTRAL.findall(text))  # an emoji and its like are two


def count_all(*parts: Any) -> int:
    """Return the tokens of all texts in parsed JSON: messages, instructions, tools.

    A text that scripts an answer counts nothing: it stands for the answer, which may be larger than any window.
    """
    return sum(_A_TEXT + count(text) for part in parts for text in _texts(part) if not is_directive(text))


def refuse_what_is_too_long(model: str, tokens: int, max_tokens: int | None) -> None:
    """Raise ServiceError (ValidationException) where the prompt, or it and its answer, are more than the window."""
    found = _OWN_WINDOW.search(model)
    window = int(found[1]) * 1000 if found else WINDOW
    if tokens > window:
        raise invalid("Input is too long for requested model.")
    if max_tokens and tokens + max_tokens > window:
        raise invalid(
            f"input length and `max_tokens` exceed context limit: {tokens} + {max_tokens} > {window}, "
            "decrease input length or `max_tokens` and try again"
        )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from _texts(each)
    elif isinstance(value, dict):
        for name, each in cast("dict[str, Any]", value).items():
            if name not in _NO_TEXT:
                yield from _texts(each)
