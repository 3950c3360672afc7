"""The terms of the search, its prefixes and the excerpt: pure and bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.store.chat_terms import (
    MAX_QUERY_GROUPS,
    chat_terms,
    excerpt_of,
    owner_prefix,
    query_groups,
)


def test_terms_begin_with_a_hash_of_the_owner_and_come_once() -> None:
    prefix = owner_prefix("ada")
    assert [*chat_terms("ada", "A wheel, a Wheel.")] == [f"{prefix}a {prefix}wheel"]
    assert " ".join(chat_terms("ada", "one two " * 5000)) == f"{prefix}one {prefix}two"
    assert owner_prefix("eve") != prefix


@given(st.text(max_size=200))
def test_every_part_of_a_text_that_has_words_finds_the_text(text: str) -> None:
    prefix = owner_prefix("ada")
    terms = [term.removeprefix(prefix) for term in " ".join(chat_terms("ada", text)).split(" ")]
    for word in text.split()[:MAX_QUERY_GROUPS]:
        for group in query_groups(word):
            assert any(term.startswith(each) for each in group for term in terms), (word, group)


@given(st.text(), st.text(max_size=20))
def test_excerpt_is_text_of_the_message(text: str, query: str) -> None:
    parts = excerpt_of(text, query)
    shown = "".join(part.text for part in parts)
    assert "".join(shown.split()).strip("…") in "".join(text.split())
    for part in parts:
        assert part.text


@pytest.mark.parametrize(
    ("text", "query", "hits"),
    [
        ("The water wheel", "wat whe", ["water", "wheel"]),
        ("今日は水車の話をしました", "水車", ["水車"]),
        ("Größe", "grosse", ["Größe"]),
        ("nothing", "other", []),
    ],
)
def test_excerpt_marks_the_words_of_the_query(text: str, query: str, hits: list[str]) -> None:
    parts = excerpt_of(text, query)
    assert [part.text for part in parts if part.is_hit] == hits
    assert "".join(part.text for part in parts) == text
