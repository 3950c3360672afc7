"""Surrogates, invisible characters, runs of marks, and cuts between the characters that a reader sees; pure."""

import unicodedata

import pytest
import wcwidth
from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.text.characters import MAX_MARKS, clean_line, has_visible, limit_marks, replace_surrogates, shorten

any_text = st.text(st.characters(exclude_categories=()), max_size=300)
SCRIPTS = st.sampled_from(
    [
        "水車",
        "漢字かな交じり",
        "한국어 글",
        "می‌خواهم",
        "क्षत्रिय",
        "ศรี",
        "👨‍👩‍👧‍👦",
        "🇫🇷🇩🇪",
        "👍🏽",
        "❤️",
        "e\u0301",
        "ß",
        " ",
        "a b",
        "1️⃣",
    ]
)
scripts = st.lists(SCRIPTS, min_size=1, max_size=40).map("".join)


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("plain 😀", "plain 😀"),
        ("\ud83d", "\ufffd"),
        ("a\udc00b\ud800", "a\ufffdb\ufffd"),
        ("\ud83d\ude00", "😀"),
        ("\ud83d😀", "\ufffd😀"),
    ],
)
def test_lone_surrogates_are_replaced_and_pairs_are_joined(text: str, replaced: str) -> None:
    assert replace_surrogates(text) == replaced


@given(any_text)
def test_every_text_can_be_encoded_once_its_surrogates_are_replaced(text: str) -> None:
    replaced = replace_surrogates(text)
    replaced.encode("utf-8")
    assert replace_surrogates(replaced) == replaced


def test_a_run_of_marks_is_limited_and_usual_text_is_unchanged() -> None:
    run = limit_marks("e" + "\u0301\u0323" * 16_000 + "f\u0301")
    assert (len(run), run[-2:]) == (1 + MAX_MARKS + 2, "f\u0301")
    for text in ("Tiếng Việt".encode().decode(), unicodedata.normalize("NFD", "Tiếng Việt"), "क्षत्रिय", "שָׁלוֹם"):
        assert limit_marks(text) == text


def test_every_character_that_normalization_turns_into_a_mark_is_limited() -> None:
    for code in range(0x110000):
        char = chr(code)
        if unicodedata.combining(unicodedata.normalize("NFKD", char)[0]):
            assert len(limit_marks(char * (MAX_MARKS + 1))) == MAX_MARKS, hex(code)


@pytest.mark.parametrize("text", ["می‌خواهم", "👨‍👩‍👧‍👦", "🇫🇷", "क्‍ष", "❤️"])
def test_joiners_and_variation_selectors_stay_in_a_line(text: str) -> None:
    assert clean_line(text) == text


@pytest.mark.parametrize("char", ["\0", "\n", "\x85", "\u200b", "\u2028", "\u202e", "\u2066", "\ufeff", "\U000e0041"])
def test_invisible_characters_are_blanks_in_a_line(char: str) -> None:
    assert clean_line(f"{char}a{char} {char}b{char}") == "a b"


@pytest.mark.parametrize(
    ("text", "is_visible"),
    [
        *[(text, False) for text in ("", " \n\u00a0\u2028", "\u200b", "\ufeff\u200d", "\u00ad\u200c \u202e")],
        *[(text, True) for text in ("a", "\u200b.", "می\u200cخواهم", "\u2764\ufe0f", "\ud83d")],
    ],
)
def test_text_of_blanks_and_invisible_characters_alone_shows_nothing(text: str, is_visible: bool) -> None:
    assert has_visible(text) is is_visible


@given(any_text)
def test_a_clean_line_stays_as_it_is(text: str) -> None:
    assert clean_line(clean_line(text)) == clean_line(text)


@given(scripts, st.integers(20, 100))
def test_shortening_never_divides_a_character(text: str, max_chars: int) -> None:
    short = shorten(text, max_chars)
    assert len(short) <= max_chars
    if short != text:
        assert short.endswith("…")
        clusters, kept = list(wcwidth.iter_graphemes(text)), short[:-1]
        beginnings = {"".join(clusters[:at]).rstrip() for at in range(len(clusters) + 1)}
        assert kept in beginnings


def test_a_character_longer_than_the_limit_is_cut_anyway() -> None:
    assert shorten("e" + "\u0301" * 99, 10) == "e" + "\u0301" * 8 + "…"
