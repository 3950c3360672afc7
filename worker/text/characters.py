"""Characters that need care: lone surrogates, characters that people do not see, and endless combining marks."""

import json
import re
import unicodedata

import wcwidth

MAX_MARKS = 30
"""Combining marks in a row; no language needs more: https://unicode.org/reports/tr15/#Stream_Safe_Text_Format"""
_MAX_CLUSTER_CHARS = 64  # code points of what a reader sees as one character; an emoji of a family has 11

# Control characters, zero-width space, writing directions, invisible operators, the byte order mark and tag characters.
# The joiners U+200C and U+200D are no part of it: words of Persian and Hindi and many emoji need them.
_INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
INVISIBLE = re.compile(f"[{_INVISIBLE}]")
_BLANKED = re.compile(f"[{_INVISIBLE}\\s\x1c-\x1e\x85]+")
_VISIBLE = re.compile(f"[^{_INVISIBLE}\\s\x1c-\x1e\x85\u200c\u200d\u00ad]")  # joiners show nothing by themselves


def _ranges(chars: list[int]) -> str:
    """Return the content of a regular expression's class for these characters, in ascending order."""
    runs: list[list[int]] = []
    for char in chars:
        if runs and char == runs[-1][1] + 1:
            runs[-1][1] = char
        else:
            runs.append([char, char])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in runs)


# Unicode assigns combining marks in the first two planes only. The five at the end are none by themselves, but become
# marks by normalization.
_MARKS = _ranges([char for char in range(0x300, 0x20000) if unicodedata.combining(chr(char))])
_MARKS += "\u0f73\u0f75\u0f81\uff9e\uff9f"
_TOO_MANY_MARKS = re.compile(f"([{_MARKS}]{{{MAX_MARKS}}})[{_MARKS}]+")


def replace_surrogates(text: str) -> str:
    """Return the text with its surrogate pairs joined and every lone surrogate replaced by U+FFFD."""
    joined = join_surrogates(text)
    return joined if _is_encodable(joined) else _SURROGATE.sub("\ufffd", joined)


def join_surrogates(text: str) -> str:
    """Return the text with each surrogate pair joined to one character; a lone surrogate stays."""
    # JSON's escapes join pairs, thirty times faster than the error handlers of the codecs.
    return text if _is_encodable(text) else json.loads(json.dumps(text))


def _is_encodable(text: str) -> bool:
    try:
        text.encode("utf-8")  # faster than any search
    except UnicodeEncodeError:
        return False
    return True


def limit_marks(text: str) -> str:
    """Return the text with at most `MAX_MARKS` combining marks in a row.

    Normalization sorts each run of marks in quadratic time, so it must never see a longer run.
    """
    return text if text.isascii() else _TOO_MANY_MARKS.sub(r"\1", text)


def clean_line(text: str) -> str:
    """Return the text as one line: each invisible character is a blank, and no blank follows another."""
    return _BLANKED.sub(" ", limit_marks(replace_surrogates(text))).strip()


def has_visible(text: str) -> bool:
    """Return whether a reader sees anything of the text."""
    return _VISIBLE.search(text) is not None


def shorten(text: str, max_chars: int) -> str:
    """Return at most `max_chars` characters of the text, with an ellipsis if it is cut.

    The cut never divides what a reader sees as one character, such as a letter with its marks, a flag or an emoji.
    """
    if len(text) <= max_chars:
        return text
    end = max_chars - 1
    kept = "".join(_whole_clusters(text[: end + _MAX_CLUSTER_CHARS], end))
    return (kept or text[:end]).rstrip() + "…"


def _whole_clusters(text: str, max_chars: int) -> list[str]:
    kept: list[str] = []
    size = 0
    for cluster in wcwidth.iter_graphemes(text):
        size += len(cluster)
        if size > max_chars:
            break
        kept.append(cluster)
    return kept
