"""Texts in a tool's input that is right, nearly right or wrong; pure."""

from typing import Any

import pytest

from millrace.worker.errors import GenerationFailed
from millrace.worker.text.replies import text_in, texts_in


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (["a", "b"], ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),
        ('```json\n["a"]\n```', ["a"]),
        ('{"facts": ["a"]}', ["a"]),
        ([{"fact": "a"}, {"fact": "b", "weight": 1}], ["a", "b"]),
        ({"fact": "a"}, ["a"]),
        (["a", 5, None, ["b"], {"x": "y", "z": "w"}], ["a", "b"]),
        ([], []),
    ],
)
def test_texts_of_a_nearly_right_list_are_found(value: Any, texts: list[str]) -> None:
    assert texts_in({"facts": value}, "facts") == texts


@pytest.mark.parametrize("tool_input", [None, {}, {"facts": None}, {"facts": "Nothing to remember."}, {"facts": 5}])
def test_an_input_without_a_list_is_rejected(tool_input: dict[str, Any] | None) -> None:
    with pytest.raises(GenerationFailed, match="rejected"):
        texts_in(tool_input, "facts")


@pytest.mark.parametrize("value", ["a", ["a"], {"text": "a"}])
def test_one_text_is_found_alone_in_a_list_or_in_an_object(value: Any) -> None:
    assert text_in({"title": value}, "title") == "a"


@pytest.mark.parametrize("tool_input", [None, {}, {"title": 5}, {"title": None}, {"title": ["a", "b"]}, {"title": " "}])
def test_an_input_without_a_single_text_is_rejected(tool_input: dict[str, Any] | None) -> None:
    with pytest.raises(GenerationFailed, match="rejected"):
        text_in(tool_input, "title")
