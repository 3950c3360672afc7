"""Every member of Google's responses that has a delta, every finish reason, and responses of any form."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from google.genai.types import BlockedReason, FinishReason, Part
from hypothesis import example, given
from hypothesis import strategies as st

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolUse, Usage, encode
from millrace.worker.errors import ProviderError
from millrace.worker.providers.gemini.mapping import FINISH_REASONS, ResponseMapper, parse_responses, parse_usage
from millrace.worker.providers.protocol import Delta, Details, OutputImage, ReasoningBlock, Stopped

MEMBERS = (
    *("candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall", "id", "name", "args"),
    *("finishReason", "index", "usageMetadata", "promptTokenCount", "promptFeedback", "blockReason", "error", "status"),
    *("groundingMetadata", "groundingChunks", "web", "uri", "title", "citationMetadata", "citationSources", "new"),
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5)
VALUES = st.recursive(
    SCALARS | st.sampled_from(["STOP", "SAFETY", "INTERNAL"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    max_leaves=8,
)
PARTS = st.lists(
    st.fixed_dictionaries(
        {}, optional={"text": st.text(max_size=3) | VALUES, "thought": VALUES, "functionCall": VALUES}
    )
    | VALUES,
    max_size=3,
)
CANDIDATES = st.fixed_dictionaries(
    {"content": st.fixed_dictionaries({"parts": PARTS}) | VALUES},
    optional={"finishReason": VALUES, "index": VALUES, "groundingMetadata": VALUES, "citationMetadata": VALUES},
)
RESPONSES = st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=3) | st.fixed_dictionaries(
    {"candidates": st.lists(CANDIDATES | VALUES, max_size=2)},
    optional={"usageMetadata": VALUES, "promptFeedback": VALUES, "responseId": VALUES},
)


def part(*parts: Any, **members: Any) -> dict[str, Any]:
    """Return a response with one candidate of these parts."""
    return {"candidates": [{"content": {"parts": list(parts), "role": "model"}, "index": 0} | members]}


def read(*responses: Any) -> list[Delta]:
    mapper = ResponseMapper()
    deltas = [delta for response in responses for delta in mapper.map(json.dumps(response).encode())]
    return deltas + mapper.end()


def test_texts_thoughts_and_calls_become_deltas_and_signatures_of_thoughts_are_kept() -> None:
    call = {"functionCall": {"name": "look_up", "args": {"q": [1]}}, "thoughtSignature": "c2ln"}
    deltas = read(
        part({"text": "Hm.", "thought": True}, {"text": "", "thoughtSignature": "c2ln"}),
        part({"text": "a", "thought": False}, {"text": "b"}),
        part(call, {"functionCall": {"name": "now", "id": "7"}}, finishReason="STOP"),
    )
    assert deltas == [
        *(Reasoning("Hm."), ReasoningBlock({"thoughtSignature": "c2ln"}), Chunk("a"), Chunk("b")),
        *(ToolUse("call_0", "look_up", {"q": [1]}), ToolUse("7", "now", {}), Stopped("tool_use")),
    ]


def test_parts_without_an_event_are_ignored_with_one_line_of_the_log_each(caplog: pytest.LogCaptureFixture) -> None:
    """All kinds of parts that the SDK knows, apart from texts, calls and facts about a part."""
    names = {"executable_code", "code_execution_result", "inline_data", "file_data", "function_response"}
    names |= {"tool_call", "tool_response"}
    assert names < Part.model_fields.keys()
    kinds = [words[0] + "".join(word.title() for word in words[1:]) for name in names if (words := name.split("_"))]
    odd = [{kind: {"x": 1}} for kind in kinds]
    assert read(part(*odd), part(*odd, {"text": "a"}, finishReason="STOP")) == [Chunk("a"), Stopped("end_turn")]
    for kind in kinds:
        assert caplog.text.count(f"kind={kind}\n") == 1


def test_every_finish_reason_of_the_sdk_has_a_stop_reason_and_a_new_one_is_other() -> None:
    known = {each.value for each in FinishReason} - {"FINISH_REASON_UNSPECIFIED"}
    assert known == FINISH_REASONS.keys()
    for reason, expected in FINISH_REASONS.items():
        assert read(part({"text": "a"}, finishReason=reason))[1:] == [Stopped(expected)]
    assert read(part({"text": "a"}, finishReason="A_NEW_ONE"))[1:] == [Stopped("other")]
    assert read(part({"text": "a"}, finishReason="FINISH_REASON_UNSPECIFIED"), part({"text": "b"})) == [
        Chunk("a"),
        Chunk("b"),
    ]


def test_a_blocked_prompt_is_filtered_for_every_reason() -> None:
    for reason in [each.value for each in BlockedReason] + ["A_NEW_ONE"]:
        expected = [] if reason.endswith("UNSPECIFIED") else [Stopped("content_filtered")]
        assert read({"promptFeedback": {"blockReason": reason}}) == expected
    assert read({"promptFeedback": {}, **part({"text": "a"}, finishReason="STOP")}) == [Chunk("a"), Stopped("end_turn")]


def test_a_finish_reason_decides_unless_text_follows_it() -> None:
    mapper = ResponseMapper()
    states: list[bool] = []
    for text in ("a", "b", ""):
        mapper.map_response(part({"text": text}, finishReason="STOP"))
        states.append(mapper.has_finished)
    assert states == [True, False, False]
    assert mapper.end() == [Stopped("end_turn")]
    empty = ResponseMapper()
    empty.map_response(part(finishReason="STOP"))
    assert not empty.has_finished
    filtered = ResponseMapper()
    filtered.map_response(part(finishReason="SAFETY"))
    assert filtered.has_finished


def test_the_last_usage_counts_with_cached_tokens_and_thoughts_in_their_places() -> None:
    usage = {
        "promptTokenCount": 16,
        "cachedContentTokenCount": 5,
        "candidatesTokenCount": 12,
        "thoughtsTokenCount": 8,
        "toolUsePromptTokenCount": 3,
        "totalTokenCount": 39,
    }
    deltas = read(
        {"usageMetadata": {"promptTokenCount": 16, "candidatesTokenCount": 1}, "responseId": "r", "modelVersion": "m"},
        part({"text": "a"}, finishReason="STOP"),
        {"usageMetadata": usage},
    )
    expected = Usage(14, 20, 5, reasoning_tokens=8)
    assert deltas == [
        Chunk("a"),
        Stopped("end_turn"),
        Details({"responseId": "r", "modelVersion": "m"}),
        expected,
    ]
    assert parse_usage({"promptTokenCount": 3, "cachedContentTokenCount": 5, "candidatesTokenCount": "x"}) == Usage(
        0, 0, 5
    )
    assert read({"usageMetadata": usage}) == [msgspec.structs.replace(expected, exact=False)]


def test_each_source_is_cited_once() -> None:
    web = {"web": {"uri": "https://a.example/1", "title": "A", "domain": "a.example"}}
    store = {"retrievedContext": {"documentName": "files/1", "title": "B", "text": "The weir is high."}}
    grounding = {"groundingChunks": [web, store, {"maps": {}}, {"new": {}}, {}], "groundingSupports": []}
    deltas = read(
        part({"text": "a"}, groundingMetadata=grounding),
        part(groundingMetadata=grounding, citationMetadata={"citationSources": [{"uri": "https://b.example"}, {}]}),
        part(citationMetadata={"citations": [{"uri": "https://b.example"}]}, finishReason="STOP"),
    )
    assert deltas == [
        Chunk("a"),
        Citation("A", "https://a.example/1", None, {"web": {"url": "https://a.example/1", "domain": "a.example"}}),
        Citation("B", "files/1", [{"text": "The weir is high."}]),
        Citation(None, "https://b.example", None, {"web": {"url": "https://b.example"}}),
        Stopped("end_turn"),
    ]


def test_other_candidates_are_not_mixed_in() -> None:
    other = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "index": 1}]}
    assert read(part({"text": "a"}), other, part({"text": "b"}, finishReason="STOP"))[:2] == [Chunk("a"), Chunk("b")]


@given(st.lists(RESPONSES, max_size=4))
@example([{"error": "text"}])
@example([part({"functionCall": {"name": "a", "args": [1]}})])
@example([part({"text": "\ud83d"})])
def test_responses_of_any_form_are_read_or_end_in_an_error_of_the_provider(responses: list[Any]) -> None:
    deltas: list[Delta] = []
    with suppress(ProviderError):
        deltas = read(*responses)
    for delta in deltas:
        if isinstance(delta, Chunk | Reasoning | Citation | ToolUse):
            json.loads(encode(delta))
        elif isinstance(delta, Usage):
            assert min(delta.input_tokens, delta.output_tokens, delta.cache_read_tokens) >= 0
    kinds = [type(delta) for delta in deltas]
    assert all(kinds.count(kind) <= 1 for kind in (Stopped, Usage, Details))


def test_a_body_in_json_holds_one_response_or_a_list_of_them() -> None:
    assert parse_responses(b' {"a": 1}') == [{"a": 1}]
    assert parse_responses(b' [{"a": 1},\n{"b": 2}]\n') == [{"a": 1}, {"b": 2}]
    for odd in (b"", b"[", b"5", b'[{"a": 1}], "x": [', b"<html>"):
        with pytest.raises(ProviderError):
            parse_responses(odd)


def test_an_image_is_a_delta_and_data_of_another_kind_is_not() -> None:
    image, sound = ({"inlineData": {"mimeType": kind, "data": "aGk="}} for kind in ("image/png", "audio/wav"))
    assert read(part({"text": "a"}, image, sound, finishReason="STOP"))[:2] == [Chunk("a"), OutputImage(b"hi")]
    assert sum(isinstance(delta, OutputImage) for delta in read(part(image, sound))) == 1
