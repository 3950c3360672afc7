"""Lines that a model writes: a title, a question, a fact, a name. Takes off the wrapping that models add."""

import json
import re
from typing import Any, cast

from millrace.worker.text.characters import clean_line, shorten

_MAX_RAW_CHARS = 20_000  # of a reply with a thinking block before the line
_MAX_LAYERS = 20  # of wrapping; a line with more says nothing
_THINKING = re.compile(r"\s*<(think|thinking|reasoning|reflection)>", re.IGNORECASE)
_FENCES = ("```", "~~~")
_FENCE_LANGUAGE = re.compile(r"[\w+#.-]{0,20}[ \t]*\r?\n|(?:json|text|txt|plaintext|markdown|md)\s", re.IGNORECASE)
_HEADING = re.compile(r"(?:#{1,6} +)+(?=\S)")
_LABEL = re.compile(
    r"\**(?:(?:conversation |chat )?title|titel|titre|título|titolo|tytuł|заголовок|название|标题|標題|タイトル|제목)"
    r"\** ?[:：]\** *(?=\S)",
    re.IGNORECASE,
)
_MARKS = ("```", "``", "`", "***", "**", "*", '"', "'", "＂")  # an opening mark equals its closing one
_PAIRS = (
    "()",
    "[]",
    "{}",
    "（）",
    "［］",
    "【】",
    "「」",
    "『』",
    "《》",
    "〈〉",
    "“”",
    "„“",
    "„”",
    "‘’",
    "‚‘",
    "«»",
    "»«",
    "‹›",
)
_BRACKETS = {pair: re.compile(f"[{re.escape(pair)}]") for pair in _PAIRS}
_PUNCTUATION = "".join({*"".join(_PAIRS), *"".join(_MARKS), *" .,:;!?#…-–—_"})
_FULL_STOPS = (".", "。", "।", "۔")


def to_line(text: str, max_chars: int) -> str:
    """Return a model's text as one line of at most `max_chars` characters, empty if only punctuation is left.

    Takes off a thinking block, a code fence, JSON around a single text, a heading's `#`, and quotation marks, asterisks
    and brackets that enclose the whole line. Everything inside the line stays.
    """
    return shorten(_unwrapped(text, max_chars, is_title=False), max_chars)


def to_title(text: str, max_chars: int) -> str:
    """Return the same, without a leading "Title:" and one full stop at the end."""
    return shorten(_unwrapped(text, max_chars, is_title=True), max_chars)


def parse_json(text: str) -> Any:
    """Return the object or list that the text holds as JSON, in a code fence or bare; None if it holds none."""
    text = _without_fence(_without_thinking(text[:_MAX_RAW_CHARS])).strip()
    if text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def single_text(value: Any) -> str | None:
    """Return a text, or the only text in an object or a list; None if there is none or more than one."""
    if isinstance(value, str):
        return value
    members = [*cast("dict[str, Any]", value).values()] if isinstance(value, dict) else value
    if not isinstance(members, list):
        return None
    texts = [each for each in cast("list[Any]", members) if isinstance(each, str)]
    return texts[0] if len(texts) == 1 else None


def _unwrapped(text: str, max_chars: int, *, is_title: bool) -> str:
    line = _without_fence(_without_thinking(text[:_MAX_RAW_CHARS]))
    line = _content_of_json(line)[: 2 * max_chars + 100]
    for _ in range(_MAX_LAYERS):
        before, line = line, clean_line(_content_of_json(_without_fence(_without_thinking(line))))
        line = _without_pair(_HEADING.sub("", line, count=1) if _HEADING.match(line) else line)
        if is_title:
            label = _LABEL.match(line)
            line = _without_full_stop(line[label.end() :] if label else line)
        if line == before:
            return line if line.strip(_PUNCTUATION) else ""
    return ""


def _without_thinking(text: str) -> str:
    opening = _THINKING.match(text)
    if opening is None:
        return text
    closing = f"</{opening[1].lower()}>"
    at = text.lower().find(closing, opening.end())
    return "" if at < 0 else text[at + len(closing) :]


def _without_fence(text: str) -> str:
    stripped = text.strip()
    inner = stripped[3:-3].lstrip(" ")
    if not stripped.startswith(_FENCES) or not stripped.endswith(stripped[:3]) or stripped[:3] in inner:
        return text
    return _FENCE_LANGUAGE.sub("", inner, count=1) if _FENCE_LANGUAGE.match(inner) else inner


def _content_of_json(text: str) -> str:
    value = parse_json(text)
    found = None if value is None else single_text(value)
    return text if found is None else found


def _without_pair(line: str) -> str:
    """Return the line without one pair of marks or brackets that encloses all of it."""
    for mark in _MARKS:
        inner = line[len(mark) : -len(mark)]
        if inner.strip() and line.startswith(mark) and line.endswith(mark) and mark[0] not in inner:
            return inner.strip()
    for pair in _PAIRS:
        if line[:1] == pair[0] and line[-1:] == pair[1] and line[1:-1].strip() and _is_one_pair(line, pair):
            return line[1:-1].strip()
    return line


def _is_one_pair(line: str, pair: str) -> bool:
    """Return whether the bracket that opens the line is closed by its last character."""
    depth = 0
    for found in _BRACKETS[pair].finditer(line):
        depth += 1 if found[0] == pair[0] else -1
        if depth <= 0:
            return found.end() == len(line)
    return False


def _without_full_stop(line: str) -> str:
    """Return the line without one full stop at its end; an ellipsis and an abbreviation such as U.S. stay."""
    last_word = line.rpartition(" ")[2]
    is_full_stop = line.endswith(_FULL_STOPS) and not last_word[:-1].count(last_word[-1])
    return line[:-1].rstrip() if is_full_stop and line[:-1].strip() else line
