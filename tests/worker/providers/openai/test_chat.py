"""Chunks of chat completions, as OpenAI and other servers send them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolUse, Usage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.openai.chat import FINISH_REASONS, ChatMapper, parse_usage
from millrace.worker.providers.protocol import Delta, Details, Stopped

DONE = "[DONE]"


def play(*events: Any) -> list[Delta]:
    """Return the deltas of a stream of these chunks, without details."""
    mapper = ChatMapper()
    deltas: list[Delta] = []
    for event in events:
        deltas += mapper.map("", (event if isinstance(event, str) else json.dumps(event)).encode())
    return [delta for delta in deltas + mapper.end() if not isinstance(delta, Details)]


def chunk(finish: str | None = None, /, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def call(index: int | None, arguments: Any, identifier: str | None = None, name: str | None = None) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    piece = {"function": function} | ({"id": identifier} if identifier else {})
    return chunk(tool_calls=[piece | ({} if index is None else {"index": index})])


def fail(*events: Any) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        play(*events)
    return raised.value


def test_an_answer_ends_with_a_finish_reason_or_the_end_mark_and_is_truncated_with_neither() -> None:
    text = chunk(content="Yes.")
    assert play(text, chunk("stop"), DONE) == [Chunk("Yes."), Stopped("end_turn")]
    assert play(text, chunk("stop")) == [Chunk("Yes."), Stopped("end_turn")]
    assert play(text, DONE) == [Chunk("Yes."), Stopped("end_turn")]
    assert play(text) == [Chunk("Yes.")]
    assert play(chunk("stop", content="Yes."), "") == [Chunk("Yes."), Stopped("end_turn")]


def test_each_finish_reason_has_its_neutral_one() -> None:
    assert play(chunk("new")) == [Stopped("other")]
    for reason, expected in FINISH_REASONS.items():
        assert play(chunk(reason)) == [Stopped(expected)], reason
    with_match = chunk("stop")
    with_match["choices"][0]["stop_reason"] = "STOP"
    assert play(with_match) == [Stopped("stop_sequence")]
    for reason in ("error", "abort"):
        assert fail(chunk(reason)).code == "provider_unavailable"


def test_the_usage_of_a_chunk_of_its_own_or_of_every_chunk_is_told_once() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    told = Usage(6, 5, cache_read_tokens=4)
    assert play(chunk("stop"), {"choices": [], "usage": usage}, DONE) == [Stopped("end_turn"), told]
    assert play(chunk(content="a") | {"usage": usage}, chunk("stop") | {"usage": usage}) == [
        Chunk("a"),
        Stopped("end_turn"),
        told,
    ]


def test_usage_is_counted_in_the_same_sense_for_all_servers() -> None:
    openai = {
        "prompt_tokens": 100,
        "completion_tokens": 50,
        "total_tokens": 150,
        "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20},
        "completion_tokens_details": {"reasoning_tokens": 40},
    }
    assert parse_usage(openai) == Usage(50, 50, 30, 20, reasoning_tokens=40)
    assert parse_usage(openai | {"total_tokens": 190}) == Usage(50, 90, 30, 20, reasoning_tokens=40), "reasoning beside"
    assert parse_usage({"prompt_tokens": 9, "prompt_cache_hit_tokens": 5}) == Usage(4, 0, 5)
    responses = {
        "input_tokens": 9,
        "output_tokens": 7,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    assert parse_usage(responses) == Usage(5, 7, 4, reasoning_tokens=2)
    odd = {"prompt_tokens": -1, "completion_tokens": "5", "prompt_tokens_details": {"cached_tokens": 10**30}}
    assert parse_usage(odd) == Usage()
    assert parse_usage({"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 5}}).input_tokens == 0


def test_reasoning_is_read_under_each_of_its_names() -> None:
    assert play(chunk(reasoning_content="Hm.", content=None)) == [Reasoning("Hm.")]
    assert play(chunk(reasoning="Hm.", reasoning_content=None)) == [Reasoning("Hm.")]
    assert play(chunk(reasoning="Hm.", reasoning_content="Hm.")) == [Reasoning("Hm.")]
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Yes."}]
    assert play(chunk(content=parts)) == [Reasoning("Hm."), Chunk("Yes.")]


def test_a_refusal_is_text_and_the_answer_is_refused() -> None:
    assert play(chunk(refusal="I can't."), chunk("stop")) == [Chunk("I can't."), Stopped("refused")]


def test_calls_of_tools_are_whole_at_the_end_however_they_arrive() -> None:
    stop = chunk("tool_calls")
    two = [ToolUse("a", "f", {"x": 1}), ToolUse("b", "g", {})]
    pieces = (call(0, "", "a", "f"), call(1, "", "b", "g"), call(0, '{"x"'), call(0, ": 1}"))
    assert play(*pieces, stop) == [*two, Stopped("tool_use")], "in pieces, by index"
    repeated = (call(0, '{"x"', "a", "f"), call(0, ": 1}", "a", "f"), call(1, "{}", "b", "g"))
    assert play(*repeated, stop) == [*two, Stopped("tool_use")], "with id and name in each piece"
    ollama = (call(0, '{"x": 1}', "a", "f"), call(0, "{}", "b", "g"))
    assert play(*ollama, chunk("stop")) == [*two, Stopped("tool_use")], "all with the index 0"
    unnumbered = (call(None, '{"x": 1}', "a", "f"), call(None, "{}", "b", "g"))
    assert play(*unnumbered, stop) == [*two, Stopped("tool_use")], "without an index"
    assert play(call(0, {"x": 1}, "a", "f"), stop)[0] == two[0], "with an object"
    assert play(call(0, "{}", None, "f"), DONE) == [ToolUse("call_0", "f", {}), Stopped("tool_use")], "without an id"
    old = chunk(function_call={"name": "f", "arguments": '{"x": 1}'})
    assert play(old, chunk("function_call")) == [ToolUse("call_0", "f", {"x": 1}), Stopped("tool_use")]


def test_a_call_that_is_cut_off_at_the_limit_of_tokens_is_left_out_and_any_other_damage_is_an_error() -> None:
    damaged = call(0, '{"x": ', "a", "f")
    assert play(chunk(content="So:"), damaged, chunk("length")) == [Chunk("So:"), Stopped("max_tokens")]
    for arguments in ('{"x": ', "[]", '{"a": NaN}', '{"a": 1e999}', '{"a":' * 200 + "1" + "}" * 200):
        assert fail(call(0, arguments, "a", "f"), chunk("tool_calls")).code == "provider_rejected", arguments[:20]
    assert fail(call(0, "{}", "a"), chunk("tool_calls")).code == "provider_rejected", "no name"


def test_citations_are_read_in_both_forms() -> None:
    nested = {"type": "url_citation", "url_citation": {"url": "https://a", "title": "A", "content": "x"}}
    flat = {"type": "url_citation", "url": "https://a", "title": "A"}
    assert play(chunk(annotations=[nested, flat, {"type": "new"}, {}])) == [
        Citation("A", "https://a", [{"text": "x"}], {"web": {"url": "https://a"}}),
        Citation("A", "https://a", None, {"web": {"url": "https://a"}}),
    ]


def test_half_of_an_emoji_and_other_choices_are_no_error() -> None:
    halves = ('{"choices": [{"delta": {"content": "\\ud83d"}}]}', '{"choices": [{"delta": {"content": "\\ude00"}}]}')
    assert play(*halves) == [Chunk("\ud83d"), Chunk("\ude00")]
    assert play({"choices": [{"index": 1, "delta": {"content": "other"}, "finish_reason": "stop"}]}) == []
    assert play({"choices": None}, {"choices": []}, {}, {"choices": [{"index": 0}]}, chunk(content="")) == []


def test_details_are_told_once_at_the_end() -> None:
    mapper = ChatMapper()
    data = json.dumps(
        chunk("stop", content="a") | {"id": "x", "model": "m-1", "service_tier": 5, "created": 1}
    ).encode()
    mapper.map("", data)
    mapper.map("", data)
    assert mapper.map("", b"[DONE]") == [Details({"id": "x", "model": "m-1"})]
    assert mapper.end() == []


def test_an_error_within_the_stream_follows_the_deltas_before_it() -> None:
    for error in ({"error": {"message": "no", "code": 502}}, {"error": "no"}, {"error": {}} | {"error": {"a": 1}}):
        assert fail(chunk(content="a"), error).code == "provider_unavailable"
    vllm = {"object": "error", "message": "The maximum context length is 9 tokens.", "code": 400}
    assert fail(chunk(content="a"), vllm).code == "context_too_long"
    with pytest.raises(ProviderError):
        ChatMapper().map("error", b'{"message": "no"}')


SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.just([]) | st.just({})
MEMBERS = st.sampled_from(
    (
        *("choices", "delta", "message", "content", "tool_calls", "function", "arguments", "id", "name", "index"),
        *("usage", "prompt_tokens", "finish_reason", "error", "refusal", "reasoning", "annotations", "type", "text"),
    )
)
ANY = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4), max_leaves=12
)


@given(st.lists(st.dictionaries(st.sampled_from(("choices", "choices", "usage", "error")), ANY), max_size=4))
def test_members_of_any_type_are_read_or_end_in_an_error_of_the_provider(events: list[Any]) -> None:
    mapper = ChatMapper()
    try:
        for event in events:
            mapper.map("", json.dumps(event).encode())
        mapper.map("", b"[DONE]")
    except ProviderError:
        pass
