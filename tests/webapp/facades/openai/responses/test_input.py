from typing import Any

import pytest

from millrace.webapp.facades.openai.responses.input import parse_input
from millrace.webapp.problems import Problem

USER = {"role": "user", "content": "Hello"}
OUTPUT = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [
        {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []},
        {"type": "output_text", "text": "!", "annotations": []},
    ],
}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}]}


def test_text_is_one_message_of_the_user() -> None:
    parsed = parse_input("Hello")
    assert (parsed.instructions, parsed.messages, parsed.is_question) == ([], [USER], True)


def test_messages_may_be_texts_or_parts_and_items_of_earlier_responses() -> None:
    parts = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": each} for each in "ab"]}
    parsed = parse_input([USER, REASONING, OUTPUT, parts])
    assert parsed.messages == [
        USER,
        {"role": "assistant", "content": "Hi!"},
        {"role": "user", "content": "a\n\nb"},
    ]
    assert not parsed.is_question


def test_leading_messages_of_system_and_developer_are_instructions() -> None:
    parsed = parse_input([{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Rhyme."}, USER])
    assert (parsed.instructions, parsed.messages) == (["Be brief.", "Rhyme."], [USER])
    assert parsed.is_question


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (None, "input"),
        (1, "input"),
        ([], "input"),
        ([REASONING], "input"),
        (["Hello"], "input[0]"),
        ([USER, {"type": "function_call_output", "call_id": "c", "output": "x"}], "input[1].type"),
        ([{"type": "item_reference", "id": "msg_1"}], "input[0].type"),
        ([USER, {**USER, "name": "Ada"}], "input[1].name"),
        ([{"role": "tool", "content": "x"}], "input[0].role"),
        ([{"content": "x"}], "input[0].role"),
        ([USER, {"role": "system", "content": "x"}], "input[1].role"),
        ([{"role": "user"}], "input[0].content"),
        ([{"role": "user", "content": 1}], "input[0].content"),
        ([{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}], "input[0].content[0].type"),
        ([USER, {"role": "user", "content": [{"type": "input_text"}]}], "input[1].content[0].text"),
    ],
    ids=str,
)
def test_other_input_is_refused_and_the_item_is_named(given: Any, param: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_input(given)
    assert (caught.value.status, caught.value.members["param"]) == (400, param)
