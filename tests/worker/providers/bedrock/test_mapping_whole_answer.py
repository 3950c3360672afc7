"""The mapping from a response of Converse to a whole answer."""

from typing import Any

import pytest

from millrace.worker.contract.events import Usage
from millrace.worker.errors import GenerationFailed, ProviderError
from millrace.worker.providers.bedrock.mapping import parse_answer
from millrace.worker.providers.protocol import Tool

CLOCK = Tool("clock", "Returns the time.", {"type": "object"})


def response(*blocks: dict[str, Any], reason: str = "end_turn", usage: dict[str, int] | None = None) -> dict[str, Any]:
    return {"output": {"message": {"content": list(blocks)}}, "stopReason": reason, "usage": usage}


def use(name: str, tool_input: Any) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": "1", "name": name, "input": tool_input}}


def test_text_blocks_are_joined_and_other_blocks_ignored() -> None:
    reasoning = {"reasoningContent": {"reasoningText": {"text": "Hm."}}}
    answer = parse_answer(response({"text": "a"}, reasoning, {"text": "b"}, usage={"inputTokens": 3}), None)
    assert (answer.text, answer.usage.input_tokens, answer.usage.output_tokens) == ("ab", 3, 0)


def test_text_that_cites_its_sources_is_text() -> None:
    cited = {"citationsContent": {"content": [{"text": "b"}, {"text": "c"}], "citations": [{"title": "t"}]}}
    assert parse_answer(response({"text": "a"}, cited, {"text": "d"}), None).text == "abcd"


def test_the_tool_input_is_that_of_the_forced_tool() -> None:
    assert parse_answer(response(use("other", {"a": 1}), use("clock", {"b": 2})), CLOCK).tool_input == {"b": 2}


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
def test_an_answer_without_the_forced_tool_is_a_failure(blocks: list[dict[str, Any]], reason: str, code: str) -> None:
    with pytest.raises(GenerationFailed) as raised:
        parse_answer(response(*blocks, reason=reason), CLOCK)
    assert raised.value.code == code


def test_an_answer_names_its_stop_reason_and_a_useless_one_its_usage() -> None:
    assert parse_answer(response({"text": "a"}, reason="max_tokens"), None).reason == "max_tokens"
    with pytest.raises(ProviderError) as raised:
        parse_answer(
            response(use("clock", {}), reason="max_tokens", usage={"inputTokens": 3, "outputTokens": 2}), CLOCK
        )
    assert raised.value.usage == Usage(3, 2)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"output": {"message": {"content": [{"text": "a"}, {}, {"new": 1}, None]}}}, "a"),
        ({"output": {"message": {"content": [{"text": "a", "toolUse": {}}]}}, "stopReason": None, "usage": None}, "a"),
        ({"output": None, "stopReason": "end_turn", "usage": {"inputTokens": None}}, ""),
    ],
)
def test_a_member_that_says_nothing_is_ignored(given: dict[str, Any], text: str) -> None:
    assert parse_answer(given, None).text == text


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({}, "truncated"),
        ({"output": {"message": {}}}, "truncated"),
        ({"output": []}, "provider_rejected"),
        ({"output": {"message": {"content": {}}}}, "provider_rejected"),
        ({"output": {"message": {"content": ["a"]}}}, "provider_rejected"),
        ({"output": {"message": {"content": [{"text": 5}]}}}, "provider_rejected"),
        ({"output": {}, "stopReason": 5}, "provider_rejected"),
        ({"output": {}, "stopReason": "end_turn", "usage": []}, "provider_rejected"),
    ],
)
def test_a_response_of_a_wrong_shape_is_a_failure(given: dict[str, Any], code: str) -> None:
    with pytest.raises(GenerationFailed) as raised:
        parse_answer(given, None)
    assert raised.value.code == code


@pytest.mark.parametrize("value", [float("nan"), [[float("inf")]]])
def test_a_tool_input_that_no_reader_can_parse_is_a_failure(value: Any) -> None:
    with pytest.raises(GenerationFailed) as raised:
        parse_answer(response(use("clock", {"a": value})), CLOCK)
    assert raised.value.code == "provider_rejected"


@pytest.mark.parametrize("text", ['{"a": 1}', '```json\n{"a": 1}\n```', 'Sure: {"a": 1}. Anything else?'])
def test_the_tool_input_is_the_json_in_the_text_of_an_instructed_model(text: str) -> None:
    assert parse_answer(response({"text": text}), CLOCK, is_instructed=True).tool_input == {"a": 1}
    with pytest.raises(GenerationFailed):
        parse_answer(response({"text": text}), CLOCK)


@pytest.mark.parametrize("text", ["", "No.", "[1]", '{"title": ', "{} {}", "} {"])
def test_an_instructed_answer_without_json_is_a_failure(text: str) -> None:
    with pytest.raises(GenerationFailed) as raised:
        parse_answer(response({"text": text}), CLOCK, is_instructed=True)
    assert (raised.value.code, raised.value.retryable) == ("provider_rejected", True)
