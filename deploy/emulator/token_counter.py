"""Count tokens, and find a model's context window. Pure.

The count does not come from any model's tokenizer. For English it is close to theirs, and rather too high than too low.
"""

import re
from collections.abc import Iterator
from typing import Any, cast

from deploy.emulator.directive import is_directive

WINDOW = 200_000  # tokens of prompt and answer together, unless the model's id ends in another number
_TOKENS_PER_TEXT = 4  # overhead around each text
_KEYS_WITHOUT_TEXT = ("role", "type", "cachePoint", "bytes", "data", "url", "image_url", "file_data")

_WINDOW_SUFFIX = re.compile(r":(\d{1,4})k$", re.ASCII)  # of a model's id, as in amazon.nova-lite-v1:0:24k
_TOKEN = re.compile(r"[A-Za-z]{1,5}|[\u00c0-\u024f]{1,2}|[\u0370-\u07ff]{1,2}|[0-9]{1,3}|\n+|[^\sA-Za-z0-9]")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


def count_tokens(text: str) -> int:
    """Return the number of tokens in a text.

    A token is up to five Latin letters, two letters of other alphabets, three digits, or one other character.
    """
    return len(_TOKEN.findall(text)) + len(_ASTRAL.findall(text))  # an emoji counts as two tokens


def count_prompt_tokens(*parts: Any) -> int:
    """Return the tokens of all texts in parsed JSON: messages, instructions, tools.

    An `/emulate` directive counts as zero: it holds the answer, which may be larger than any window.
    """
    return sum(
        _TOKENS_PER_TEXT + count_tokens(text) for part in parts for text in _texts(part) if not is_directive(text)
    )


def window_of(model: str) -> int:
    """Return the context window of a model, in tokens."""
    found = _WINDOW_SUFFIX.search(model)
    return int(found[1]) * 1000 if found else WINDOW


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in cast("list[Any]", value):
            yield from _texts(each)
    elif isinstance(value, dict):
        for name, each in cast("dict[str, Any]", value).items():
            if name not in _KEYS_WITHOUT_TEXT:
                yield from _texts(each)
