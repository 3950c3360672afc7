"""The words of a text, for the full-text search of memories: pure, and the same for both databases.

Words consist of letters and digits, in lower case, without diacritics. Scripts that put no spaces between words
(Chinese, Japanese, Thai, …) are cut into overlapping pairs of characters, plus each Chinese character alone, which is
often a word. This needs no dictionary.
"""

import re
import unicodedata
from hashlib import sha256
from itertools import pairwise

MAX_SEARCH_TERMS = 64  # of one query
_MAX_WORD_CHARS = 64

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)"
)
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a about all also am an and any are as at be been but by can could did do does doing for from get had has have
        he her hers him his how i if in into is it its itself just let like me more most my myself no not now of on or
        our ours out over own please s she should so some such t tell than that the their theirs them then there these
        they this those to too up us user very was we were what when where which who whom why will with would you your
        yours""",
    )
)


def tokenize(text: str) -> list[str]:
    """Return the words of a text, in order."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    plain = "".join(char for char in decomposed if not unicodedata.combining(char))
    plain = unicodedata.normalize("NFKC", plain)  # composes Hangul again
    words: list[str] = []
    for word in _WORD.findall(plain):
        for part in _UNSPACED.split(word):
            if _UNSPACED.fullmatch(part):
                words += [first + second for first, second in pairwise(part)]
                words += [char for char in part if _HAN.match(char) or len(part) == 1]
            elif part:
                words.append(part[:_MAX_WORD_CHARS])
    return words


def search_terms(text: str) -> list[str]:
    """Return the words to search for: each once, no stop words, at most `MAX_SEARCH_TERMS`."""
    return list(dict.fromkeys(word for word in tokenize(text) if word not in _STOP_WORDS))[:MAX_SEARCH_TERMS]


def fact_digest(text: str) -> str:
    """Return a hash that is equal for texts with the same words, regardless of case and punctuation."""
    return sha256(" ".join(tokenize(text) or [text]).encode("utf-8", "surrogatepass")).hexdigest()


def owner_word(owner: str) -> str:
    """Return a word that identifies an owner in the full-text index, so that a search reads only that owner's rows."""
    return "o" + sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()
