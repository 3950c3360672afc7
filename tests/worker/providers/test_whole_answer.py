"""The deltas of an answer in one piece make an answer, or a failure if it is of no use."""

import pytest

from millrace.worker.contract.events import Chunk, ToolUse, Usage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.protocol import Delta, Stopped, Tool
from millrace.worker.providers.whole_answer import to_whole_answer

NAMING = Tool("name_it", "Names it.", {})


@pytest.mark.parametrize(
    ("deltas", "tool", "code"),
    [
        ([Chunk("a")], None, "truncated"),
        ([Chunk("a"), Stopped("refused")], None, "content_filtered"),
        ([Stopped("context_exceeded")], None, "context_too_long"),
        ([Chunk("{}"), Stopped("max_tokens")], NAMING, "truncated"),
        ([Chunk("{}"), Stopped("end_turn")], NAMING, "provider_rejected"),
        ([ToolUse("1", "other", {}), Stopped("tool_use")], NAMING, "provider_rejected"),
    ],
)
def test_an_answer_that_is_of_no_use_is_a_failure(deltas: list[Delta], tool: Tool | None, code: str) -> None:
    with pytest.raises(ProviderError) as raised:
        to_whole_answer(deltas, tool, is_instructed=False)
    assert raised.value.code == code


def test_the_input_of_a_tool_is_its_own_or_the_json_in_the_text() -> None:
    used: list[Delta] = [ToolUse("1", "name_it", {"title": "a"}), Stopped("tool_use")]
    assert to_whole_answer(used, NAMING, is_instructed=False).tool_input == {"title": "a"}
    written: list[Delta] = [Chunk('Here: {"title"'), Chunk(': "a"}.'), Stopped("end_turn")]
    assert to_whole_answer(written, NAMING).tool_input == {"title": "a"}
    for text in ("no JSON", "[1]", '{"a": NaN}'):
        with pytest.raises(ProviderError):
            to_whole_answer([Chunk(text), Stopped("end_turn")], NAMING)


def test_a_whole_answer_has_its_text_and_usage() -> None:
    answer = to_whole_answer([Chunk("a"), Chunk("b"), Stopped("max_tokens"), Usage(1, 2)], None)
    assert (answer.text, answer.tool_input, answer.usage) == ("ab", None, Usage(1, 2))
    assert answer.reason == "max_tokens"
    assert not to_whole_answer([Stopped("end_turn")], None).usage.exact
