"""The words of a text, as they are searched for: pure, the same for both databases.

Letters and digits only, lower case, without diacritics. Writings that put no space between words (Chinese, Japanese,
Thai, …) are cut into overlapping pairs of characters, and into each Chinese character alone, which is often a word:
this finds what no dictionary has to know.
"""

import re
import unicodedata
from hashlib import sha256
from itertools import pairwise

MOST_WORDS = 64  # of a question, that are searched for
_LONGEST = 64

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+)"
)
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
# What nearly every sentence has; a fact is not found by these.
_EMPTY = frozenset(
    re.findall(
        r"\w+",
        """a about all also am an and any are as at be been but by can could did do does doing for from get had has have
        he her hers him his how i if in into is it its itself just let like me more most my myself no not now of on or
        our ours out over own please s she should so some such t tell than that the their theirs them then there these
        they this those to too up us user very was we were what when where which who whom why will with would you your
        yours""",
    )
)


def words(text: str) -> list[str]:
    """Return the words of a text, in order."""
    plain = "".join(each for each in unicodedata.normalize("NFKD", text).casefold() if not unicodedata.combining(each))
    plain = unicodedata.normalize("NFKC", plain)  # Hangul is put together again
    found: list[str] = []
    for word in _WORD.findall(plain):
        for part in _UNSPACED.split(word):
            if _UNSPACED.fullmatch(part):
                found += [first + second for first, second in pairwise(part)]
                found += [each for each in part if _HAN.match(each) or len(part) == 1]
            elif part:
                found.append(part[:_LONGEST])
    return found


def telling_words(text: str) -> list[str]:
    """Return what a text is searched by: each word once, at most `MOST_WORDS`, without those that say nothing."""
    return list(dict.fromkeys(word for word in words(text) if word not in _EMPTY))[:MOST_WORDS]


def digest(text: str) -> str:
    """Return a hash that is the same for texts of the same words, whatever their case and punctuation."""
    return sha256(" ".join(words(text) or [text]).encode("utf-8", "surrogatepass")).hexdigest()


def owner_word(owner: str) -> str:
    """Return a word that stands for an owner in the full-text index, so that a search reads only that owner's rows."""
    return "o" + sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()
