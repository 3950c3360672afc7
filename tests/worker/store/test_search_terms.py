"""The words of a text, for the search of memories; pure."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.store.search_terms import (
    MAX_BEGINNING,
    MAX_END,
    MAX_SEARCH_TERMS,
    fact_digest,
    index_terms,
    owner_word,
    search_terms,
    words_of,
)
from millrace.worker.store.stop_words import STOP_WORDS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ada's dog, Rex!", ["ada", "s", "dog", "rex"]),
        ("São_Paulo ÉTÉ straße", ["sao", "paulo", "ete", "strasse"]),
        ("Notion에 iPhone用", ["notion", "에", "iphone", "用"]),
        ("हिन्दी हिंदी", ["हइदई", "हइदई"]),
        ("Iğdır ISTANBUL İstanbul łódź", ["igdir", "istanbul", "istanbul", "lodz"]),
        ("ёлка йод", ["елка", "иод"]),
        ("ٱلقَهْوَة قهوه", ["القهوه", "قهوه"]),
        ("שלום", ["שלומ"]),
        ("٣ ３ 3", ["3", "3", "3"]),
        ("a😀b \0\ud800", ["a", "b"]),
        ("", []),
    ],
)
def test_words_are_runs_of_one_script_without_marks_and_in_one_spelling(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("東京タワ", ["東京", "京タ", "タワ", "東", "京"]),
        ("い", ["い"]),
        ("커피를", ["커피를", "커피", "피를"]),
        ("개를", ["개를", "개"]),
        ("walking cat", ["walking", "walki", "cat"]),
        ("Müller", ["muller", "mulle", "mueller", "muell"]),
        ("собаку", ["собаку", "собак", "соба"]),
        ("بالقهوة", ["بالقهوه", "قهوه", "قهو"]),
        ("הכלב", ["הכלב", "הכל", "כלב"]),
        ("gpt4 2024", ["gpt4", "2024"]),
    ],
)
def test_terms_of_a_word_depend_on_its_script(text: str, terms: list[str]) -> None:
    assert index_terms(text) == terms


@given(st.text(st.characters()))
def test_terms_of_any_text_are_safe_in_a_query(text: str) -> None:
    for term in index_terms(text):
        assert re.fullmatch(r"[^\W_]+", term), ascii(term)
        assert not any("\ud800" <= char <= "\udfff" for char in term)


@given(st.text())
def test_terms_do_not_depend_on_case(text: str) -> None:
    assert index_terms(text) == index_terms(text.casefold())


@given(st.text(max_size=200))
def test_a_text_is_found_by_itself_unless_it_consists_of_stop_words(text: str) -> None:
    assert set(search_terms(text)) <= set(index_terms(text))


def test_beginning_and_end_of_a_long_text_count() -> None:
    assert words_of("first " + "a " * (MAX_BEGINNING + MAX_END) + "last")[:: MAX_BEGINNING + MAX_END] == ["first"]
    assert words_of("first " + "a " * (MAX_BEGINNING + MAX_END) + "last")[-1] == "last"


def test_stop_words_of_every_language_are_no_search_terms() -> None:
    for language, words in STOP_WORDS.items():
        assert search_terms(words.replace(" ", " ! ")) == [], language


def test_search_terms_are_distinct_bounded_and_no_stop_words() -> None:
    assert search_terms("What is the name of my dog? The dog!") == ["name", "dog"]
    assert len(search_terms(" ".join(f"word{number}" for number in range(1000)))) == MAX_SEARCH_TERMS


def test_digest_depends_on_the_words_or_on_the_text_if_it_has_none() -> None:
    assert fact_digest("Has a dog.") == fact_digest("has a DOG")
    assert fact_digest("Has a dog.") != fact_digest("Has a cat.")
    assert fact_digest("😀") != fact_digest("😎")


def test_each_owner_has_a_different_word() -> None:
    assert re.fullmatch("o[0-9a-f]{64}", owner_word("ada"))
    assert owner_word("ada") != owner_word("eve")
