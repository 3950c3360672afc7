"""Holds a prompt within a model's window: pure, and without any model's tokenizer.

Tokens are estimated so that no text has more than that with the models at hand, and English about a third less.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import ceil

from millrace.worker.context.escaping import placed
from millrace.worker.context.source import Material
from millrace.worker.contract.request import PromptMessage
from millrace.worker.publishing.batching import size_of

MARGIN = 1.2
MESSAGE_TOKENS = 10  # of a message beside its text

# Runs of letters that are one token in most vocabularies; of other scripts, fewer letters make one.
_PIECE = re.compile(" ?[A-Za-z]{1,5}| ?[\u00c0-\u024f]{1,2}|[\u0370-\u07ff]{1,2}|[0-9]{1,2}|\\s+|.", re.DOTALL)
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


def estimate(text: str) -> int:
    """Return about how many tokens a text has, rather too many, though never more than its bytes in UTF-8."""
    return min(size_of(text), ceil(MARGIN * (len(_PIECE.findall(text)) + 2 * len(_ASTRAL.findall(text)))))


def fit_history(history: Sequence[PromptMessage], tokens: int) -> tuple[PromptMessage, ...]:
    """Return the newest messages that together have at most so many tokens, oldest first.

    It begins with a user's, as Bedrock demands; what is blank is left out, which Bedrock refuses.
    """
    said = [message for message in history if message.content.strip()]
    # Most histories are so short that their bytes fit: then nothing need be estimated.
    is_short = sum(MESSAGE_TOKENS + size_of(message.content) for message in said) <= tokens
    kept = said if is_short else _newest(said, tokens)
    first = next((at for at, message in enumerate(kept) if message.role == "user"), len(kept))
    return tuple(kept[first:])


def _newest(said: list[PromptMessage], tokens: int) -> list[PromptMessage]:
    for at in reversed(range(len(said))):
        tokens -= MESSAGE_TOKENS + estimate(said[at].content)
        if tokens < 0:
            return said[at + 1 :]
    return said


def fit_materials(materials: Iterable[Material], tokens: int) -> list[Material]:
    """Return the first materials that together have at most so many tokens where they are placed, the last one cut."""
    kept: list[Material] = []
    for each in materials:
        text = cut(each.text, tokens, lambda text, each=each: _cost(replace(each, text=text)))
        if not text.strip():
            break
        kept.append(replace(each, text=text))
        tokens -= _cost(kept[-1])
    return kept


def cut(text: str, tokens: int, cost: Callable[[str], int] = estimate) -> str:
    """Return the beginning of a text that costs at most so many tokens; empty where nothing does."""
    text = text[: max(0, tokens) * 6]  # no piece is of more characters, white space apart
    while text and (too_many := cost(text)) > tokens:
        text = text[: min(len(text) - 1, len(text) * tokens // too_many)]
    return text


def _cost(material: Material) -> int:
    return MESSAGE_TOKENS + estimate(placed(material))
