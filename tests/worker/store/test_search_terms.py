"""The words that memories are found by."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.store.search_terms import MAX_SEARCH_TERMS, fact_digest, owner_word, search_terms, tokenize


@pytest.mark.parametrize(
    ("text", "found"),
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
def test_words_are_letters_and_digits_and_pairs_where_no_space_parts_them(text: str, found: list[str]) -> None:
    assert tokenize(text) == found


@given(st.text(st.characters()))
def test_whatever_a_text_holds_its_words_are_safe_to_put_into_a_query(text: str) -> None:
    for word in tokenize(text):
        assert re.fullmatch(r"[^\W_]+", word), ascii(word)
        assert not any("\ud800" <= each <= "\udfff" for each in word)


@given(st.text())
def test_words_do_not_depend_on_case(text: str) -> None:
    assert tokenize(text) == tokenize(text.casefold())


def test_a_text_is_searched_by_what_it_says_once_each_and_not_without_end() -> None:
    assert search_terms("What is the name of my dog? The dog!") == ["name", "dog"]
    assert len(search_terms(" ".join(f"word{number}" for number in range(1000)))) == MAX_SEARCH_TERMS


def test_the_digest_is_of_the_words_or_where_there_are_none_of_the_text() -> None:
    assert fact_digest("Has a dog.") == fact_digest("has a DOG")
    assert fact_digest("Has a dog.") != fact_digest("Has a cat.")
    assert fact_digest("😀") != fact_digest("😎")


def test_an_owner_has_one_word_that_nobody_else_has() -> None:
    assert re.fullmatch("o[0-9a-f]{64}", owner_word("ada"))
    assert owner_word("ada") != owner_word("eve")
