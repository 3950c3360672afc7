"""The words of a text, for the search of memories; pure."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.store.search_terms import MAX_SEARCH_TERMS, fact_digest, owner_word, search_terms, tokenize


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Ada's dog, Rex!", ["ada", "s", "dog", "rex"]),
        ("São_Paulo ÉTÉ straße", ["sao", "paulo", "ete", "strasse"]),
        ("서울에", ["서울에"]),
        ("東京タワ", ["東京", "京タ", "タワ", "東", "京"]),
        ("い", ["い"]),
        ("a😀b \0\ud800", ["a", "b"]),
        ("", []),
    ],
)
def test_words_are_letters_and_digits_and_pairs_in_scripts_without_spaces(text: str, words: list[str]) -> None:
    assert tokenize(text) == words


@given(st.text(st.characters()))
def test_words_of_any_text_are_safe_in_a_query(text: str) -> None:
    for word in tokenize(text):
        assert re.fullmatch(r"[^\W_]+", word), ascii(word)
        assert not any("\ud800" <= char <= "\udfff" for char in word)


@given(st.text())
def test_words_do_not_depend_on_case(text: str) -> None:
    assert tokenize(text) == tokenize(text.casefold())


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
