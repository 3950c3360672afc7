"""The body of a request for a message: merged roles, cache control where it pays, and nothing that a model refuses."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.anthropic.arguments import CACHE_CONTROL, build_body
from millrace.worker.providers.anthropic.forms import Form
from millrace.worker.providers.protocol import Prompt, Tool
from millrace.worker.settings.catalog import ModelTraits, Sampling

QUESTION = PromptMessage("user", "Why?")
HISTORY = (PromptMessage("user", "One?"), PromptMessage("assistant", "Two."))
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"title": {"type": "string", "maxLength": 9}}}
CACHED = Form(is_cached=True)


def test_unset_parameters_are_not_sent_and_blank_stop_sequences_never() -> None:
    assert build_body(Prompt("m", (QUESTION,), 9), Form()) == {
        "max_tokens": 9,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}],
    }
    full = build_body(Prompt("m", (QUESTION,), 9, ("Be kind.",), 0.0, 0.5, ("END", "\n")), Form())
    assert (full["temperature"], full["top_p"], full["stop_sequences"]) == (0.0, 0.5, ["END"])
    assert full["system"] == [{"type": "text", "text": "Be kind."}]
    assert "stop_sequences" not in build_body(Prompt("m", (QUESTION,), 9, stop_sequences=(" ",)), Form())


def test_a_model_gets_only_the_sampling_parameters_that_it_takes() -> None:
    both = Prompt("m", (QUESTION,), 9, temperature=0.1, top_p=0.2)
    names: dict[Sampling, set[str]] = {"both": {"temperature", "top_p"}, "one": {"temperature"}, "none": set()}
    for sampling, expected in names.items():
        body = build_body(replace(both, traits=ModelTraits(1000, sampling=sampling)), Form())
        assert body.keys() & {"temperature", "top_p"} == expected
    alone = replace(both, temperature=None, traits=ModelTraits(1000, sampling="one"))
    assert build_body(alone, Form())["top_p"] == 0.2


@given(st.lists(st.sampled_from(["user", "assistant"]), max_size=8))
def test_consecutive_messages_of_one_role_become_one_message_of_ordered_blocks(roles: list[str]) -> None:
    messages = tuple(PromptMessage(role, str(number)) for number, role in enumerate(["user", *roles, "user"]))  # pyright: ignore[reportArgumentType]
    sent = build_body(Prompt("m", messages, 9), CACHED)["messages"]
    assert [message["role"] for message in sent] == (["user", "assistant"] * len(sent))[: len(sent)]
    texts = [block["text"] for message in sent for block in message["content"]]
    assert texts == [message.content for message in messages]


def test_cached_parts_end_with_the_configured_instructions_all_instructions_and_the_history() -> None:
    prompt = Prompt("m", (*HISTORY, PromptMessage("user", "material"), QUESTION), 9, ("configured", "a", "b"))
    body = build_body(prompt, CACHED)
    blocks = [*body["system"], *(block for message in body["messages"] for block in message["content"])]
    assert [block["text"] for block in blocks if "cache_control" in block] == ["configured", "b", "Two."]
    assert {str(block.get("cache_control", CACHE_CONTROL)) for block in blocks} == {str(CACHE_CONTROL)}
    prefilled = build_body(replace(prompt, messages=(*HISTORY, QUESTION, PromptMessage("assistant", "So"))), CACHED)
    cached = [block for message in prefilled["messages"] for block in message["content"] if "cache_control" in block]
    assert [block["text"] for block in cached] == ["Two."]


def test_a_schema_is_held_by_a_forced_tool_by_the_output_format_or_by_words() -> None:
    named, answer = Prompt("m", (QUESTION,), 9, tool=Tool("name_it", "Names it.", SCHEMA)), None
    for prompt, name in ((named, "name_it"), (Prompt("m", (QUESTION,), 9, schema=SCHEMA), "answer")):
        forced = build_body(prompt, Form("tool"))
        assert [(tool["name"], tool["input_schema"]) for tool in forced["tools"]] == [(name, SCHEMA)]
        assert forced["tool_choice"] == {"type": "tool", "name": name}
        closed = {"type": "object", "properties": {"title": {"type": "string"}}, "additionalProperties": False}
        answer = build_body(prompt, Form("format"))
        assert answer["output_config"] == {"format": {"type": "json_schema", "schema": closed}}
        assert "tools" not in answer
        instructed = build_body(prompt, Form("instruction"))
        assert '"maxLength": 9' in instructed["messages"][-1]["content"][-1]["text"]
        assert instructed.keys() == {"max_tokens", "messages"}
