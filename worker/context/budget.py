"""Token budgets: estimates a text's tokens and shortens history and materials to fit. Pure, without a tokenizer.

The estimate is an upper bound for every text with the models at hand, and about a third too high for English.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import ceil

from millrace.worker.context.escaping import render_material
from millrace.worker.context.source import Material
from millrace.worker.contract.request import PromptMessage
from millrace.worker.publishing.batching import utf8_size

MARGIN = 1.2
MESSAGE_TOKENS = 10  # of a message in addition to its text
CHARS_PER_TOKEN = 6  # at most, except for white space
_PART_CHARS = 50_000


def _kind_of(byte: int) -> str:
    """Return the kind of a character by its first byte in UTF-8, as one letter.

    a: ASCII letters, b: Latin letters with marks, c: Greek, Cyrillic, Hebrew, Arabic and the scripts between them,
    d: digits, w: white space except the space itself, x: beyond the first plane.
    """
    if byte >= 0x80:
        return "b" if 0xC3 <= byte <= 0xC8 else "c" if 0xCE <= byte <= 0xDF else "x" if byte >= 0xF0 else "."
    text = chr(byte)
    if text.isalnum():
        return "a" if text.isalpha() else "d"
    return " " if text == " " else "w" if text.isspace() else "."


_KINDS = "".join(map(_kind_of, range(256))).encode("ascii")
_FURTHER_BYTES = bytes(range(0x80, 0xC0))  # of a character
# Runs that are one token in most vocabularies, the longest first; in other scripts a token has fewer letters.
_RUNS = (b"aaaaa", b"aaaa", b"aaa", b"aa", b"bb", b"cc", b"dd")
_WORD_BEGINNINGS = (b"a", b"A", b"b", b"B")  # a single space before a word belongs to its token


def estimate_tokens(text: str) -> int:
    """Return an upper bound of the text's tokens, which is never more than its bytes in UTF-8.

    Whole texts are replaced at once: a regular expression takes ten times as long for a text without words, and other
    answers of the process wait for it.
    """
    encoded = text.encode("utf-8", "surrogatepass")
    kinds = encoded.translate(_KINDS, _FURTHER_BYTES)
    astral = kinds.count(b"x")
    kinds = kinds.replace(b"w", b"  ").replace(b"  ", b"W").replace(b"W ", b"W")  # W: more than a single space
    while b"WW" in kinds:
        kinds = kinds.replace(b"WW", b"W")
    for run in _RUNS:
        kinds = kinds.replace(run, run[:1].upper())
    pieces = len(kinds) - sum(kinds.count(b" " + beginning) for beginning in _WORD_BEGINNINGS)
    return min(len(encoded), ceil(MARGIN * (pieces + 2 * astral)))


def fit_history(history: Sequence[PromptMessage], tokens: int) -> tuple[PromptMessage, ...]:
    """Return the newest messages that together have at most `tokens` tokens, oldest first.

    The first is a user's, as Bedrock requires; blank messages, which Bedrock rejects, are left out.
    """
    messages = [message for message in history if message.content.strip()]
    # Most histories fit by their bytes alone, and need no estimate.
    is_short = sum(MESSAGE_TOKENS + sum(map(utf8_size, texts_of(message))) for message in messages) <= tokens
    kept = messages if is_short else _newest(messages, tokens)
    first = next((at for at, message in enumerate(kept) if message.role == "user"), len(kept))
    return tuple(kept[first:])


def _newest(messages: list[PromptMessage], tokens: int) -> list[PromptMessage]:
    for at in reversed(range(len(messages))):
        tokens -= MESSAGE_TOKENS
        for content in texts_of(messages[at]):
            for start in range(0, len(content), _PART_CHARS):  # the rest of a huge message need not be estimated
                tokens -= estimate_tokens(content[start : start + _PART_CHARS])
                if tokens < 0:
                    return messages[at + 1 :]
    return messages


def texts_of(message: PromptMessage) -> tuple[str, ...]:
    """Return all texts of a message that cost tokens: its content and the reasoning before it."""
    return (message.content,) if message.reasoning is None else (message.content, json.dumps(message.reasoning.blocks))


def fit_materials(materials: Iterable[Material], tokens: int) -> list[Material]:
    """Return the first materials that have at most `tokens` tokens once rendered; the last one is truncated."""
    kept: list[Material] = []
    for material in materials:
        text = truncate(material.text, tokens, lambda text, material=material: _cost(replace(material, text=text)))
        if not text.strip():
            break
        kept.append(replace(material, text=text))
        tokens -= _cost(kept[-1])
    return kept


def truncate(text: str, tokens: int, cost: Callable[[str], int] = estimate_tokens) -> str:
    """Return the beginning of the text that costs at most `tokens` tokens, empty if even one character costs more."""
    text = text[: max(0, tokens) * CHARS_PER_TOKEN]
    while text and (too_many := cost(text)) > tokens:
        text = text[: min(len(text) - 1, len(text) * tokens // too_many)]
    return text


def _cost(material: Material) -> int:
    return MESSAGE_TOKENS + estimate_tokens(render_material(material))
