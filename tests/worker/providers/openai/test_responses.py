"""Events of Responses, and whole responses."""

import json
import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseStreamEvent

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolUse, Usage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.openai.responses import ResponsesMapper
from millrace.worker.providers.protocol import Delta, Details, OutputImage, Stopped
from millrace.worker.providers.stop_reason import StopReason

CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"x": 1}', "status": "completed"}
USE = ToolUse("c1", "f", {"x": 1})


def event(kind: str, **members: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **members}


def message(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "content": [{"type": "output_text", "text": text, **more}]}


def ended(kind: str = "completed", **response: Any) -> dict[str, Any]:
    return event(kind, response={"status": kind, **response})


def play(*events: Any) -> list[Delta]:
    mapper = ResponsesMapper()
    return [delta for each in events for delta in mapper.map("", json.dumps(each).encode())] + mapper.end()


def fail(*events: Any) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        play(*events)
    return raised.value


def test_a_stream_with_everything() -> None:
    annotation = {"type": "url_citation", "url": "https://a", "title": "A", "start_index": 0, "end_index": 1}
    usage = {"input_tokens": 9, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 2}}
    assert play(
        event("created", response={"id": "r"}),
        event("reasoning_summary_part.added"),
        event("reasoning_summary_text.delta", delta="One."),
        event("reasoning_summary_part.added"),
        event("reasoning_summary_text.delta", delta="Two."),
        event("output_text.delta", delta="Ye"),
        event("output_text.delta", delta="s."),
        event("output_text.annotation.added", annotation=annotation),
        event("output_text.done", text="Yes."),
        event("output_item.done", item=message("Yes.")),
        event("function_call_arguments.delta", delta='{"x": 1}'),
        event("output_item.done", item=CALL),
        ended(output=[message("Yes."), CALL], usage=usage, id="r", model="m-1"),
    ) == [
        Reasoning("One."),
        Reasoning("\n\n"),
        Reasoning("Two."),
        Chunk("Ye"),
        Chunk("s."),
        Citation("A", "https://a", None, {"web": {"url": "https://a"}}),
        USE,
        Stopped("tool_use"),
        Details({"id": "r", "model": "m-1"}),
        Usage(7, 5, 2),
    ]


def test_each_end_has_its_stop_reason_and_a_stream_without_one_is_truncated() -> None:
    text = event("output_text.delta", delta="a")
    assert play(text, ended())[1:] == [Stopped("end_turn")]
    assert play(text) == [Chunk("a")]
    reasons: dict[str, StopReason] = {
        "max_output_tokens": "max_tokens",
        "content_filter": "content_filtered",
        "x": "other",
    }
    for reason, expected in reasons.items():
        found = play(text, ended("incomplete", incomplete_details={"reason": reason}))
        assert found[1:] == [Stopped(expected)], reason
    assert play(event("refusal.delta", delta="No."), ended()) == [Chunk("No."), Stopped("refused")]
    assert play(text, ended("cancelled")) == [Chunk("a")]
    assert ResponsesMapper().map_response({}) == [], "no status and no output is no answer"


def test_every_event_of_the_sdk_is_mapped_or_named_here() -> None:
    """An event that this test does not know is a new one: map it, or name it."""
    known = {get_args(each.model_fields["type"].annotation)[0] for each in get_args(get_args(ResponseStreamEvent)[0])}
    handled = {*ResponsesMapper().handlers} - {"response.cancelled"}  # a gateway's
    repeating = (".done", ".added", ".created", ".in_progress", ".queued")  # the item that is done has all of it
    tools = re.compile(r"response\.(?:[a-z_]+_call(?:_[a-z_]+)?|mcp_list_tools)\.")
    others = {each for each in known - handled if not each.endswith(repeating) and not tools.match(each)}
    assert handled <= known
    assert others == {
        *("response.audio.delta", "response.audio.transcript.delta"),  # answers are texts
        "response.compaction.compacting",
    }


def test_failures_are_errors() -> None:
    failed = ended("failed", error={"code": "rate_limit_exceeded", "message": "no"})
    assert fail(failed).code == "provider_throttled"
    assert fail(ended("failed", error={"code": "server_error"})).code == "provider_unavailable"
    assert fail({"type": "error", "code": "context_length_exceeded"}).code == "context_too_long"
    assert fail({"type": "error", "error": {"code": "invalid_prompt"}}).code == "content_filtered"
    assert fail({"error": {"message": "no", "code": 503}}).code == "provider_unavailable"
    assert fail({"object": "error", "message": "no", "code": 429}).code == "provider_throttled"
    assert fail(event("completed")).code == "provider_unavailable"


def test_a_whole_response_has_the_same_deltas() -> None:
    refusal = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}
    reasoning = {"type": "reasoning", "summary": [{"text": "One."}, {"text": "Two."}]}
    assert play(ended(output=[reasoning, message("Yes."), CALL])) == [
        Reasoning("One.\n\nTwo."),
        Chunk("Yes."),
        USE,
        Stopped("tool_use"),
    ]
    assert play(ended(output=[refusal])) == [Chunk("No."), Stopped("refused")]


def test_a_call_that_is_cut_off_at_the_limit_of_tokens_is_left_out() -> None:
    cut = CALL | {"status": "incomplete", "arguments": '{"x'}
    end = ended("incomplete", output=[cut], incomplete_details={"reason": "max_output_tokens"})
    assert play(event("output_item.done", item=cut), end) == [Stopped("max_tokens")]
    assert fail(event("output_item.done", item=CALL | {"arguments": '{"x'})).code == "provider_rejected"


KINDS = st.sampled_from((*ResponsesMapper().handlers, "response.new"))
MEMBERS = st.sampled_from(
    (
        *("type", "delta", "item", "output", "content", "summary", "text", "refusal", "annotations", "annotation"),
        *("response", "status", "usage", "error", "name", "call_id", "arguments", "incomplete_details", "reason"),
    )
)
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(("", "a", "message", "completed"))
ANY = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(MEMBERS, inner, max_size=4), max_leaves=12
)


@given(st.lists(st.tuples(KINDS, st.dictionaries(MEMBERS, ANY, max_size=4)), max_size=4))
def test_members_of_any_type_are_read_or_end_in_an_error_of_the_provider(events: list[tuple[str, Any]]) -> None:
    mapper = ResponsesMapper()
    try:
        for kind, members in events:
            mapper.map("", json.dumps(members | {"type": kind}).encode())
    except ProviderError:
        pass


def test_an_image_comes_once_from_the_item_that_ends_it_or_from_the_whole_response() -> None:
    image = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGk="}
    unfinished = image | {"result": None}
    assert play(event("output_item.done", item=image), ended(output=[image])) == [
        OutputImage(b"hi"),
        Stopped("end_turn"),
    ]
    assert play(ended(output=[message("a"), image])) == [Chunk("a"), OutputImage(b"hi"), Stopped("end_turn")]
    assert play(event("output_item.done", item=unfinished), ended(output=[])) == [Stopped("end_turn")]
