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


def _kind_of(byte: int) -> str:
    """Return the kind of a character by its first byte in UTF-8, as one letter.

    a: ASCII letters, b: Latin letters with marks, c: Greek, Cyrillic, Hebrew, Arabic and the scripts between them,
    d: digits, n: line feeds, x: beyond the first plane.
    """
    if byte >= 0x80:
        return "b" if 0xC3 <= byte <= 0xC8 else "c" if 0xCE <= byte <= 0xDF else "x" if byte >= 0xF0 else "."
    text = chr(byte)
    if text.isalnum():
        return "a" if text.isalpha() else "d"
    return "n" if text == "\n" else " " if text.isspace() else "."


_KINDS = "".join(map(_kind_of, range(256))).encode("ascii")
_FURTHER_BYTES = bytes(range(0x80, 0xC0))  # of a character
_RUNS = (b"aaaaa", b"aaaa", b"aaa", b"aa", b"bb", b"cc", b"ddd", b"dd")  # each one token, the longest first


def count_tokens(text: str) -> int:
    """Return the number of tokens in a text.

    A token is up to five Latin letters, two letters of other alphabets, three digits, a run of line feeds, or one other
    character; an emoji counts as two. Whole texts are replaced at once, because this server has one thread.
    """
    kinds = text.encode("utf-8", "surrogatepass").translate(_KINDS, _FURTHER_BYTES)
    for run in _RUNS:
        kinds = kinds.replace(run, run[:1].upper())
    while b"nn" in kinds:
        kinds = kinds.replace(b"nn", b"n")
    return len(kinds) - kinds.count(b" ") + kinds.count(b"x")


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
