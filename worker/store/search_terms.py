"""The words of a text, for the full-text search of memories: pure, and the same for both databases.

Words consist of letters and digits, in lower case, without marks, and with one spelling where writers choose between
several. A word is cut where its script changes (`Notion에`). No dictionary is needed; each kind of script has a rule:

| script | terms of a word |
|---|---|
| Latin | the word and its beginning, without the ending; the databases stem English words |
| Cyrillic, Greek, Hebrew, Arabic, Hindi, … | the same; Arabic and Hebrew also without the article and prepositions |
| Korean | the word, also without its particle, and its pairs of syllables |
| Chinese, Japanese, Thai, … (without spaces) | its pairs of characters; each Chinese character alone as well |

Time and size are bounded whatever the text contains: see `MAX_BEGINNING` and `MAX_SEARCH_TERMS`. Stored memories keep
their terms: a change of `index_terms` needs a migration that computes them again.
"""

import re
import unicodedata
from hashlib import sha256
from itertools import pairwise

from millrace.worker.store.stop_words import PARTICLES, STOP_WORDS
from millrace.worker.text.characters import limit_marks

MAX_SEARCH_TERMS = 128  # of one query
# Characters of a text that count: a long question stands before or after its material.
MAX_BEGINNING, MAX_END = 3000, 1000
_MAX_WORD_CHARS = 64
_BEGINNING = 5  # letters that inflected forms of a long word share
_SHORTEST = 3  # letters of a word without its ending

_WORD = re.compile(r"[^\W_]+")
_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff" + _HAN
_HANGUL = "\u1100-\u11ff\uac00-\ud7a3"
_LATIN = "0-9a-z\u00df-\u02af"
# A word is one run of a script; the last alternative takes every other alphabet.
_RUN = re.compile(
    f"(?P<unspaced>[{_UNSPACED}]+)|(?P<hangul>[{_HANGUL}]+)|(?P<latin>[{_LATIN}]+)|(?P<other>"
    f"[^{_UNSPACED}{_HANGUL}{_LATIN}]+)"
)
_IS_HAN = re.compile(f"[{_HAN}]")

_SAME_LETTERS = {
    "ı": "i",
    "ł": "l",
    "đ": "d",
    "ð": "d",
    "ø": "o",
    "ħ": "h",
    "ŧ": "t",
    "æ": "ae",
    "œ": "oe",
    "þ": "th",
    "ٱ": "ا",
    "ى": "ي",
    "ی": "ي",
    "ې": "ي",
    "ک": "ك",
    "ة": "ه",
    "ہ": "ه",
    "ھ": "ه",
    "ە": "ه",
    "ـ": "",
    "ך": "כ",
    "ם": "מ",
    "ן": "נ",
    "ף": "פ",
    "ץ": "צ",
    "ґ": "г",
    "ʼ": "",
}
"""Letters that writers exchange for others; letters that only differ by a mark are equal without this."""
_UMLAUT = re.compile("([aou])\u0308")  # in German also written with an e
_HINDI_NASAL = re.compile("[ङञणनम]\u094d(?=[क-ह])")  # also written as a dot above the letter before
_ARTICLE = re.compile("[وفبكل]?ال(?=.{2})|لل(?=.{2})")
_PREPOSITION = re.compile("[وفبكل](?=.{3})|[והבלמשכ](?=[א-ת]{2})")


class _Folding(dict[int, str]):
    """The letters and marks that are replaced or, mostly, left out; finds out about each when a text first has it."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if code > 0x1FFFF:
            return char
        kind = unicodedata.category(char)
        if kind.startswith("M"):
            # The vowel signs of the scripts of India lie at one distance from the vowels that are letters.
            vowel = chr(code - 0x38) if 0x900 <= code < 0xD80 and 0x3E <= code % 0x80 <= 0x4C else ""
            folded = vowel if vowel.isalpha() else ""
        else:
            folded = str(unicodedata.decimal(char)) if kind == "Nd" else char
        self[code] = folded
        return folded


_FOLDING = _Folding({ord(letter): other for letter, other in _SAME_LETTERS.items()})


def words_of(text: str) -> list[str]:
    """Return the words of a text, in order; of a text without spaces the whole runs."""
    return [found[0] for found in runs(text, with_spellings=False)]


def index_terms(text: str) -> list[str]:
    """Return the terms under which a text is found, in order."""
    return [term for found in runs(text) for term in _terms(found)]


def search_terms(text: str) -> list[str]:
    """Return the terms to search for: each once, no stop words, at most `MAX_SEARCH_TERMS`."""
    terms: dict[str, None] = {}
    for found in runs(text):
        if found[0] not in _STOP_WORDS:
            terms.update((term, None) for term in _terms(found) if term not in _STOP_WORDS)
            if len(terms) >= MAX_SEARCH_TERMS:
                break
    return [*terms][:MAX_SEARCH_TERMS]


def fact_digest(text: str) -> str:
    """Return a hash that is equal for texts with the same words, regardless of case and punctuation."""
    return sha256(" ".join(words_of(text) or [text]).encode("utf-8", "surrogatepass")).hexdigest()


def owner_word(owner: str) -> str:
    """Return a word that identifies an owner in the full-text index, so that a search reads only that owner's rows."""
    return "o" + sha256(owner.encode("utf-8", "surrogatepass")).hexdigest()


def runs(text: str, *, with_spellings: bool = True) -> list[re.Match[str]]:
    """Return the runs of each script, in order; `with_spellings` adds the words with an umlaut in their other spelling.

    Each match's group is the name of its rule.
    """
    decomposed = _decompose(text)
    texts = [decomposed]
    if with_spellings and "\u0308" in decomposed:
        texts += [_UMLAUT.sub(r"\1e", word) for word in decomposed.split() if _UMLAUT.search(word)]
    return [found for word in _WORD.findall(_fold(" ".join(texts))) for found in _RUN.finditer(word)]


def _decompose(text: str) -> str:
    if len(text) > MAX_BEGINNING + MAX_END:
        text = f"{text[:MAX_BEGINNING]} {text[-MAX_END:]}"
    # One character may become 18, which are cut again.
    return unicodedata.normalize("NFKD", limit_marks(text))[: 3 * (MAX_BEGINNING + MAX_END) // 2].casefold()


def _fold(decomposed: str) -> str:
    if decomposed.isascii():
        return decomposed
    plain = _HINDI_NASAL.sub("", decomposed).translate(_FOLDING)
    return unicodedata.normalize("NFKC", plain)  # composes Hangul again


def _terms(found: re.Match[str]) -> list[str]:
    word = found[0]
    match found.lastgroup:
        case "unspaced":
            alone = [char for char in word if _IS_HAN.match(char) or len(word) == 1]
            return [first + second for first, second in pairwise(word)] + alone
        case "hangul":
            return _korean_terms(word)
        case "latin":
            return _latin_terms(word)
        case _:
            return _alphabetic_terms(word[:_MAX_WORD_CHARS])


def _korean_terms(word: str) -> list[str]:
    particle = next((each for each in PARTICLES if len(word) > len(each) and word.endswith(each)), "")
    stem = word[: len(word) - len(particle)]
    pairs = [first + second for first, second in pairwise(word)]
    return list(dict.fromkeys([word[:_MAX_WORD_CHARS], stem[:_MAX_WORD_CHARS], *pairs]))


def _latin_terms(word: str) -> list[str]:
    word = word[:_MAX_WORD_CHARS]
    if not word.isalpha():
        return [word]
    if len(word) > _BEGINNING:
        return [word, word[:_BEGINNING]]
    has_ending = len(word) > _SHORTEST and word[-1] in ("aiouy" if len(word) == _SHORTEST + 1 else "aeiouy")
    return [word, word[:-1]] if has_ending else [word]


def without_prefixes(word: str) -> tuple[str, ...]:
    """Return a word of an alphabet other than Latin without its article, and without its preposition if it has one."""
    article, preposition = _ARTICLE.match(word), _PREPOSITION.match(word)
    whole = word[article.end() :] if article else word
    return (whole, whole[preposition.end() :]) if preposition and not article else (whole,)


def _alphabetic_terms(word: str) -> list[str]:
    whole = without_prefixes(word)
    forms = [word, whole[0]]
    for form in whole:
        forms += [form, *(form[:end] for end in (len(form) - 1, len(form) - 2) if end >= _SHORTEST)]
        if len(form) > _BEGINNING + 2:
            forms.append(form[:_BEGINNING])
    return list(dict.fromkeys(forms))


_STOP_WORDS = frozenset(found[0] for words in STOP_WORDS.values() for found in runs(words))
