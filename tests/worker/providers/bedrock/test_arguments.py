"""The arguments of Converse: roles alternate, cache points stand where they pay, unset parameters are not sent."""

import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.bedrock.arguments import CACHE_POINT, build_arguments, feature_of
from millrace.worker.providers.protocol import Prompt, Tool
from millrace.worker.settings.catalog import ModelTraits

QUESTION = PromptMessage("user", "Why?")
HISTORY = (PromptMessage("user", "One?"), PromptMessage("assistant", "Two."))


def test_unset_parameters_are_not_sent() -> None:
    assert build_arguments(Prompt("m", (QUESTION,), 9), "cache_points") == {
        "modelId": "m",
        "messages": [{"role": "user", "content": [{"text": "Why?"}]}],
        "inferenceConfig": {"maxTokens": 9},
    }
    full = build_arguments(Prompt("m", (QUESTION,), 9, ("Be kind.",), 0.0, 0.5, ("END",)))
    assert full["inferenceConfig"] == {"maxTokens": 9, "temperature": 0.0, "topP": 0.5, "stopSequences": ["END"]}
    assert full["system"] == [{"text": "Be kind."}]


@given(st.lists(st.sampled_from(["user", "assistant"]), max_size=8))
def test_consecutive_messages_of_one_role_become_one_message_of_ordered_blocks(roles: list[str]) -> None:
    messages = tuple(PromptMessage(role, str(number)) for number, role in enumerate(["user", *roles, "user"]))  # pyright: ignore[reportArgumentType]
    sent = build_arguments(Prompt("m", messages, 9))["messages"]
    assert [message["role"] for message in sent[::2]] == ["user"] * len(sent[::2])
    assert [message["role"] for message in sent[1::2]] == ["assistant"] * len(sent[1::2])
    blocks = [block["text"] for message in sent for block in message["content"]]
    assert blocks == [message.content for message in messages]


def test_cache_points_follow_the_configured_instructions_all_instructions_and_the_history() -> None:
    prompt = Prompt(
        "m", (*HISTORY, PromptMessage("user", "material"), QUESTION), 9, ("configured", "profile", "request")
    )
    sent = build_arguments(prompt, "cache_points")
    assert sent["system"] == [
        *({"text": "configured"}, CACHE_POINT),
        *({"text": "profile"}, {"text": "request"}, CACHE_POINT),
    ]
    assert [message["content"] for message in sent["messages"]] == [
        [{"text": "One?"}],
        [{"text": "Two."}, CACHE_POINT],
        [{"text": "material"}, {"text": "Why?"}],
    ]


def test_a_prefill_does_not_move_the_cache_point() -> None:
    sent = build_arguments(
        Prompt("m", (*HISTORY, QUESTION, PromptMessage("assistant", "So")), 9, ("only",)), "cache_points"
    )
    assert sent["system"] == [{"text": "only"}, CACHE_POINT]
    places = [number for number, message in enumerate(sent["messages"]) if CACHE_POINT in message["content"]]
    assert places == [1]


TOOL = Tool("note", "Notes.", {"type": "object"})
CACHING = ModelTraits(10_000, caching=True)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize(
    ("prompt", "feature"),
    [
        (Prompt("m", (QUESTION,), 9, traits=CACHING), None),
        (Prompt("m", (*HISTORY, QUESTION), 9, traits=CACHING), "cache_points"),
        (Prompt("m", (*HISTORY, QUESTION), 9), None),
        (Prompt("m", (*HISTORY, QUESTION), 9, tool=TOOL, traits=CACHING), "forced_tool"),
        (Prompt("m", (QUESTION,), 9, schema=SCHEMA), "answer_tool"),
        (Prompt("m", (QUESTION,), 9, schema={"type": "array"}), None),
        (Prompt("m", (QUESTION,), 9, schema=SCHEMA, traits=ModelTraits(10_000, schema=True)), "output_format"),
        (Prompt("m", (QUESTION,), 9, schema=SCHEMA, traits=ModelTraits(10_000, tools=False)), None),
    ],
)
def test_each_prompt_has_at_most_one_feature(prompt: Prompt, feature: str | None) -> None:
    assert feature_of(prompt, is_caching=True) == feature


def test_a_schema_is_sent_as_a_tool_as_the_output_format_or_in_words() -> None:
    prompt = Prompt("m", (QUESTION,), 9, schema=SCHEMA)
    tool = build_arguments(prompt, "answer_tool")["toolConfig"]
    assert tool["tools"][0]["toolSpec"]["inputSchema"] == {"json": SCHEMA}
    text_format = build_arguments(prompt, "output_format")["outputConfig"]["textFormat"]
    assert json.loads(text_format["structure"]["jsonSchema"]["schema"]) == SCHEMA | {"additionalProperties": False}
    in_words = build_arguments(prompt)
    assert json.dumps(SCHEMA) in in_words["messages"][0]["content"][-1]["text"]
    assert in_words.keys() == {"modelId", "messages", "inferenceConfig"}


def test_parameters_that_a_fallback_model_refuses_are_left_out() -> None:
    def sent(sampling: Literal["both", "one", "none"]) -> set[str]:
        traits = ModelTraits(10_000, sampling=sampling, blank_stop_sequences=False)
        prompt = Prompt("m", (QUESTION,), 9, (), 0.5, 0.5, (" ",), traits=traits)
        return {*build_arguments(prompt)["inferenceConfig"]} - {"maxTokens"}

    assert (sent("both"), sent("one"), sent("none")) == ({"temperature", "topP"}, {"temperature"}, set())


def test_a_first_turn_and_a_question_with_a_tool_have_no_cache_point() -> None:
    first = build_arguments(Prompt("m", (PromptMessage("user", "material"), QUESTION), 9), "cache_points")
    small = build_arguments(Prompt("m", (*HISTORY, QUESTION), 9, ("configured",), tool=TOOL), "forced_tool")
    for sent in (first, small):
        assert "cachePoint" not in str(sent)
    assert small["toolConfig"]["toolChoice"] == {"tool": {"name": "note"}}
