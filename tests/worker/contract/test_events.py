"""Events: the encoder and the decoder."""

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.worker.contract.events import (
    DONE_PREFIX,
    SNAPSHOT_PREFIX,
    AnyEvent,
    Cancelled,
    CancelledBy,
    Chunk,
    Citation,
    Complete,
    ContextEvent,
    Done,
    Error,
    Image,
    ImageFormat,
    ImageReference,
    Latency,
    Link,
    Reasoning,
    Snapshot,
    SnapshotReason,
    StatusEvent,
    Suggestions,
    Title,
    ToolResult,
    ToolUse,
    Usage,
    decode,
    encode,
    kind_of,
)

# Every code point, lone surrogates and NUL included; line breaks are frequent.
texts = st.text(st.characters() | st.sampled_from('\x00\r\n\x0b\x85\u2028\u2029\ud83d\ude00\udfff"\\<é😀'))
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
lists = st.lists(values, max_size=3)
counts = st.integers(0, 10**9)
usages = st.builds(Usage, counts, counts, counts, counts, exact=st.booleans())
outcomes = st.sampled_from(["completed", "cancelled", "failed"])
image_formats = st.sampled_from(get_args(ImageFormat))
images = st.lists(st.builds(ImageReference, texts, image_formats, counts), max_size=2)
SAMPLES: dict[type[AnyEvent], st.SearchStrategy[Any]] = {
    StatusEvent: st.builds(
        StatusEvent,
        st.sampled_from(["queued", "running", "searching", "retrying"]),
        attempt=st.none() | counts,
        model=st.none() | texts,
        provider=st.none() | texts,
        generation=st.none() | texts,
        conversation_id=st.none() | texts,
        message_id=st.none() | texts,
    ),
    ContextEvent: st.builds(
        ContextEvent,
        st.lists(st.builds(Link, texts, texts), max_size=3),
        counts,
        counts,
        counts,
        counts,
        st.none() | texts,
        st.none() | st.dictionaries(texts, values, max_size=3),
    ),
    Snapshot: st.builds(Snapshot, texts, texts, lists, lists, st.sampled_from(get_args(SnapshotReason)), images),
    Chunk: st.builds(Chunk, texts),
    Reasoning: st.builds(Reasoning, texts),
    Citation: st.builds(
        Citation,
        title=st.none() | texts,
        source=st.none() | texts,
        source_content=st.none() | lists,
        location=st.none() | st.dictionaries(texts, values, max_size=3),
    ),
    Image: st.builds(Image, texts, image_formats, counts),
    ToolUse: st.builds(ToolUse, texts, texts, values),
    ToolResult: st.builds(ToolResult, texts, lists, status=st.none() | texts),
    Complete: st.builds(
        Complete,
        st.sampled_from(["live", "chunked", "whole"]),
        texts,
        usages,
        st.builds(Latency, st.none() | counts, counts),
        texts,
        texts,
        texts,
        stored=st.booleans(),
    ),
    Cancelled: st.builds(Cancelled, st.sampled_from(get_args(CancelledBy)), usages),
    Error: st.builds(Error, texts, texts, retryable=st.booleans()),
    Title: st.builds(Title, texts),
    Suggestions: st.builds(Suggestions, st.lists(texts, max_size=3)),
    Done: st.builds(Done, outcomes),
}
PROTOCOL_TYPES = {
    *("status", "context", "snapshot", "chunk", "reasoning", "citation", "image", "tool_use", "tool_result"),
    *("complete", "cancelled", "error", "title", "suggestions", "done"),
}


def any_event(kind: type[AnyEvent]) -> st.SearchStrategy[Any]:
    assert kind in SAMPLES, f"{kind.__name__} is new: give it a sample here"
    return SAMPLES[kind]


@pytest.mark.parametrize("kind", get_args(AnyEvent), ids=lambda kind: kind.__name__)
def test_every_event_round_trips_through_one_ascii_line(kind: type[AnyEvent]) -> None:
    @given(any_event(kind))
    def check(event: AnyEvent) -> None:
        data = encode(event)
        assert decode(data) == decode(data.decode("ascii")) == event
        assert data.isascii()
        assert not set(data) & set(range(0x20)), "a control character would break the line of an event stream"
        assert data.startswith(b'{"type":"' + kind_of(event).encode() + b'"')

    check()


@given(texts)
def test_chunk_is_encoded_like_every_other_event(text: str) -> None:
    assert encode(Chunk(text)) == encode(Reasoning(text)).replace(b"reasoning", b"chunk", 1)


def test_event_types_match_the_protocol() -> None:
    assert {str(kind.__struct_config__.tag) for kind in get_args(AnyEvent)} == PROTOCOL_TYPES


def test_prefixes_match_only_their_events() -> None:
    for kind in get_args(AnyEvent):
        sample = f'{{"type":"{kind.__struct_config__.tag}"'.encode()
        assert sample.startswith(DONE_PREFIX) == (kind is Done)
        assert sample.startswith(SNAPSHOT_PREFIX) == (kind is Snapshot)


def test_absent_fields_are_left_out() -> None:
    assert encode(StatusEvent("running", attempt=1)) == b'{"type":"status","status":"running","attempt":1}'
    assert json.loads(encode(Citation(source_content=[]))) == {"type": "citation", "sourceContent": []}


def test_usage_always_has_the_exact_field() -> None:
    assert json.loads(encode(Cancelled("user", Usage())))["usage"]["exact"] is True


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_number_without_json_form_is_rejected(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode(ToolUse("id", "name", {"x": number}))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"1", b"{}", b'{"type":"x"}', b'{"type":"chunk"}', b'{"type":"chunk","content":1}', b"\xff"],
)
def test_invalid_event_raises_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's and json's messages are their own
        decode(data)
