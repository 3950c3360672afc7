"""The terms under which the search finds messages and titles, the prefixes of a query, and the excerpt to show. Pure.

Words are those of `search_terms`: in lower case, without marks. A word of a query finds every word that begins with it.
Scripts without spaces, and Korean, are indexed by pairs of characters, so that a query finds any part of a text.

Each term begins with a hash of the owner. The index then has the words of one owner side by side, and a search reads
nothing of another's, however many have the same word.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

from millrace.worker.store.search_terms import runs, without_prefixes

MAX_INDEXED_CHARS = 100_000  # of a message
MAX_QUERY_GROUPS = 24
_MAX_TERMS_BYTES = 500_000  # PostgreSQL's limit is 1 MB for the terms of a row
_BLOCK_CHARS = 3000  # `runs` takes more, but not much
_MAX_WORD_CHARS = 64
_MAX_FOLDED_WORDS = 500  # different ones of a message, in which an excerpt looks for the query
_EXCERPT_CHARS = 70  # on each side of the first hit

_WORD = re.compile(r"[^\W_]+")
_BY_PAIRS = ("unspaced", "hangul")

Groups = list[tuple[str, ...]]
"""The prefixes of a query: a text must have a term for one prefix of each group."""


@dataclass(frozen=True)
class ExcerptPart:
    """A piece of plain text, and whether it is a word that the query asks for."""

    text: str
    is_hit: bool


def owner_prefix(owner: str) -> str:
    """Return the beginning of all terms of an owner."""
    return "o" + sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def chat_terms(owner: str, text: str) -> Iterator[str]:
    """Yield the terms of a message or a title, each once; those of each block of the text separated by spaces.

    A caller may pause after each block: a long text takes as long as several requests.
    """
    prefix, known, size = owner_prefix(owner), set[str](), 0
    for block in _blocks(text[:MAX_INDEXED_CHARS]):
        terms = dict.fromkeys(term for found in runs(block) for term in _index_terms(found) if term not in known)
        known.update(terms)
        size += sum(len(prefix) + len(term.encode()) + 1 for term in terms)
        if size > _MAX_TERMS_BYTES:
            return
        if terms:
            yield " ".join(prefix + term for term in terms)


def query_groups(text: str) -> Groups:
    """Return the prefixes that a text must have to be found; none where the query has no word."""
    groups: dict[tuple[str, ...], None] = {}
    for found in runs(text, with_spellings=False):
        word = found[0]
        if found.lastgroup in _BY_PAIRS:
            pairs = [first + second for first, second in pairwise(word)] or [word]
            groups.update(((pair,), None) for pair in pairs)
        else:
            groups[_forms(found)] = None
    return list(groups)[:MAX_QUERY_GROUPS]


def excerpt_of(text: str, query: str) -> list[ExcerptPart]:
    """Return the text around the first word that the query finds, with white space as single spaces."""
    prefixes, hits = tuple(each for group in query_groups(query) for each in group), list[tuple[int, int]]()
    pieces = [each for each in _WORD.findall(query.casefold()) if each]
    known: dict[str, bool] = {}
    until = 0
    for found in _WORD.finditer(text, 0, MAX_INDEXED_CHARS):
        if hits and found.start() > until:
            break
        word = found[0]
        is_hit = known.get(word)
        if is_hit is None and len(known) < _MAX_FOLDED_WORDS:
            is_hit = word.lower().startswith(prefixes) if word.isascii() else _is_hit(word, prefixes)
            if not word.isascii():
                known[word] = is_hit
        if is_hit:
            hits.append(_place(found, pieces))
            until = until or hits[0][1] + _EXCERPT_CHARS
    return list(_parts(text, hits))


def _blocks(text: str) -> Iterator[str]:
    """Yield the text in blocks that end between words where possible."""
    start = 0
    while start < len(text):
        end = min(len(text), start + _BLOCK_CHARS)
        if end < len(text):
            space = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end))
            end = space if space > start else end
        yield text[start:end]
        start = end


def _index_terms(found: re.Match[str]) -> tuple[str, ...]:
    word = found[0]
    if found.lastgroup in _BY_PAIRS:
        return *(first + second for first, second in pairwise(word)), word[-1]
    return _forms(found)


def _forms(found: re.Match[str]) -> tuple[str, ...]:
    word = found[0][:_MAX_WORD_CHARS]
    return (word,) if found.lastgroup == "latin" else tuple(dict.fromkeys((word, *without_prefixes(word))))


def _is_hit(word: str, prefixes: tuple[str, ...]) -> bool:
    return any(term.startswith(prefixes) for found in runs(word[:_BLOCK_CHARS]) for term in _index_terms(found))


def _place(found: re.Match[str], pieces: list[str]) -> tuple[int, int]:
    """Return where the hit is: in a script without spaces, the part of the run that the query has."""
    word = found[0].casefold()
    for piece in pieces:
        at = word.find(piece) if len(word) == len(found[0]) else -1
        if at > 0:
            return found.start() + at, found.start() + at + len(piece)
    if len(word) > _MAX_WORD_CHARS:
        at = max(0, min((word.find(piece[:2]) for piece in pieces if piece[:2] in word), default=0))
        return found.start() + at, found.start() + at + 2
    return found.span()


def _parts(text: str, hits: list[tuple[int, int]]) -> Iterator[ExcerptPart]:
    first, last = hits[0] if hits else (0, 0)
    start, end = max(0, first - _EXCERPT_CHARS), min(len(text), last + _EXCERPT_CHARS)
    if start > 0:
        start = text.find(" ", start, first) + 1 or start
    if end < len(text):
        end = max(text.rfind(" ", last, end), 0) or end
    at, before = start, "…" if start > 0 else ""
    for begin, stop in hits:
        if begin < at or stop > end:
            continue
        plain = before + _spaced(text[at:begin])
        if plain:
            yield ExcerptPart(plain, is_hit=False)
        yield ExcerptPart(text[begin:stop], is_hit=True)
        at, before = stop, ""
    rest = before + _spaced(text[at:end]) + ("…" if end < len(text) else "")
    if rest:
        yield ExcerptPart(rest, is_hit=False)


def _spaced(text: str) -> str:
    return re.sub(r"\s+", " ", text)
