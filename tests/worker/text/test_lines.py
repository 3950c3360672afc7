"""Lines that a model writes, and the JSON in its texts; pure."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.text.lines import parse_json, single_text, to_line, to_title
from tests.worker.text.test_characters import any_text, scripts

WRAPPED = st.lists(
    st.sampled_from(
        [
            *"\"'`*#().[]{}“”«»「」.:… \n\\,",
            "```",
            "```json\n",
            "**",
            "Title: ",
            "<think>",
            "</think>",
            '{"a": "',
            '"}',
            "x",
        ]
    )
    | scripts,
    max_size=30,
).map("".join)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Introduction to C#", "Introduction to C#"),
        (".NET basics", ".NET basics"),
        ("#1 hits of 1999", "#1 hits of 1999"),
        ("## Mills and races", "Mills and races"),
        ("Title: Mills and races.", "Mills and races"),
        ('**Title:** "Mills"', "Mills"),
        ("Titre : Les moulins", "Les moulins"),
        ("`pip install`", "pip install"),
        ("**Mills**", "Mills"),
        ("**Mills** and **races**", "**Mills** and **races**"),
        ('"Mill" and "race"', '"Mill" and "race"'),
        ("(Mills) and (races)", "(Mills) and (races)"),
        ("[Mills (old)]", "Mills (old)"),
        ("«Мельницы»", "Мельницы"),
        ("„Mühlen“", "Mühlen"),
        ("「水車」", "水車"),
        ("水車の話。", "水車の話"),
        ("Life in the U.S.", "Life in the U.S."),
        ("And then...", "And then..."),
        ('```json\n{"title": "Mills"}\n```', "Mills"),
        ("```\nMills\n```", "Mills"),
        ("``` json\nMills```", "Mills"),
        ("<thinking>Short. # No</thinking>\n\nMills", "Mills"),
        ("<think>it never ends", ""),
        ('["Mills"]', "Mills"),
        ("'90s music", "'90s music"),
        ("Mill\ud83d", "Mill\ufffd"),
        (' ". ', ""),
        ("{}", ""),
    ],
)
def test_a_title_loses_its_wrapping_and_nothing_else(text: str, title: str) -> None:
    assert to_title(text, 80) == title


def test_a_sentence_keeps_its_full_stop_and_its_beginning() -> None:
    assert to_line('"The user likes C#."', 80) == "The user likes C#."
    assert to_line("Title: a film of 2020", 80) == "Title: a film of 2020"


@given(WRAPPED | any_text, st.integers(20, 100))
def test_a_line_is_bounded_and_stays_as_it_is(text: str, max_chars: int) -> None:
    for make in (to_line, to_title):
        line = make(text, max_chars)
        assert len(line) <= max_chars
        assert make(line, max_chars) == line, ascii(line)


@given(scripts)
def test_words_of_every_script_pass_unchanged(text: str) -> None:
    line = " ".join(text.split())
    assert to_line(line, 2000) == line


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('["a", "b"]', ["a", "b"]),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ("<think>[]</think> [1]", [1]),
        ('"a"', None),
        ("[a", None),
        ("[" * 19_000, None),
    ],
)
def test_json_is_found_bare_or_in_a_fence(text: str, value: Any) -> None:
    assert parse_json(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ({"fact": "a", "weight": 2}, "a"),
        (["a"], "a"),
        (["a", "b"], None),
        ({}, None),
        (5, None),
        (None, None),
    ],
)
def test_the_only_text_of_a_value_is_found(value: Any, text: str | None) -> None:
    assert single_text(value) == text
