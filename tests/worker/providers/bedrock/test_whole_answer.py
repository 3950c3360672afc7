"""What counts as a whole answer of Bedrock's: pure."""

from typing import Any

import pytest

from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.bedrock.whole_answer import whole_of
from millrace.worker.providers.protocol import Tool

CLOCK = Tool("clock", "Tells the time.", {"type": "object"})


def response(*blocks: dict[str, Any], reason: str = "end_turn", usage: dict[str, int] | None = None) -> dict[str, Any]:
    return {"output": {"message": {"content": list(blocks)}}, "stopReason": reason, "usage": usage}


def use(name: str, given: Any) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": "1", "name": name, "input": given}}


def test_texts_are_put_together_and_other_blocks_left_out() -> None:
    reasoning = {"reasoningContent": {"reasoningText": {"text": "Hm."}}}
    answer = whole_of(response({"text": "a"}, reasoning, {"text": "b"}, usage={"inputTokens": 3}), None)
    assert (answer.text, answer.usage.input_tokens, answer.usage.output_tokens) == ("ab", 3, 0)


def test_the_input_is_that_of_the_tool_that_was_forced() -> None:
    assert whole_of(response(use("other", {"a": 1}), use("clock", {"b": 2})), CLOCK).tool_input == {"b": 2}


@pytest.mark.parametrize(
    ("blocks", "reason", "code"),
    [
        ([{"text": "I would rather not."}], "end_turn", "provider_rejected"),
        ([use("other", {})], "tool_use", "provider_rejected"),
        ([use("clock", ["a list"])], "tool_use", "provider_rejected"),
        ([use("clock", {})], "max_tokens", "truncated"),
        ([use("clock", {})], "guardrail_intervened", "content_filtered"),
    ],
)
def test_what_is_no_use_of_the_forced_tool_is_a_failure(blocks: list[dict[str, Any]], reason: str, code: str) -> None:
    with pytest.raises(GenerationFailed) as raised:
        whole_of(response(*blocks, reason=reason), CLOCK)
    assert raised.value.code == code
