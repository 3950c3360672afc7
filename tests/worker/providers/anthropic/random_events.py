"""Random events of Anthropic's stream, for both services that send them: the right ones, odd ones and failures."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from hypothesis import strategies as st

Event = tuple[str, Any, str]
"""An event's name on the wire, its JSON, and the text in it."""

EVENTS = ("message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "ping")
MEMBERS = (
    *("type", "index", "message", "content_block", "delta", "usage", "stop_reason", "stop_sequence", "container"),
    *("id", "name", "input", "thinking", "signature", "data", "partial_json", "citation", "citations", "url", "title"),
    *("tool_use_id", "content", "error", "input_tokens", "output_tokens", "service_tier", "new"),
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5)
VALUES = st.recursive(
    SCALARS | st.sampled_from(["end_turn", "tool_use", "refusal", "{}", '{"a": 1', "[]"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=4),
    max_leaves=8,
)
TOOL = st.fixed_dictionaries({"id": st.just("a"), "name": st.just("look")}, optional={"input": VALUES})
BLOCKS = st.builds(
    lambda kind, members: {**members, "type": kind},
    st.sampled_from(["thinking", "redacted_thinking", "tool_use", "server_tool_use", "web_search_tool_result", "new"]),
    TOOL | st.fixed_dictionaries({}, optional={"tool_use_id": st.just("a") | VALUES, "content": VALUES}),
)
DELTAS = st.builds(
    lambda kind, members: {**members, "type": kind},
    st.sampled_from(["thinking_delta", "signature_delta", "input_json_delta", "citations_delta", "new_delta"]),
    st.fixed_dictionaries(
        {}, optional={"partial_json": st.sampled_from(['{"a":', " 1}", "{}"]) | VALUES, "citation": VALUES}
    )
    | st.dictionaries(st.sampled_from(MEMBERS), VALUES, max_size=3),
)
BODIES = VALUES | st.fixed_dictionaries(
    {},
    optional={
        "index": st.just(0) | VALUES,
        "message": VALUES,
        "content_block": BLOCKS | VALUES,
        "delta": DELTAS | VALUES,
        "usage": VALUES,
    },
)


def has_end(body: Any) -> bool:
    """Return whether the body holds a stop reason, behind which a stream is over."""
    delta = cast("dict[str, Any]", body).get("delta")
    return isinstance(delta, dict) and bool(cast("dict[str, Any]", delta).get("stop_reason"))


def text_event(text: str) -> tuple[str, Any]:
    delta = {"type": "text_delta", "text": text}
    return "content_block_delta", {"type": "content_block_delta", "index": 0, "delta": delta}


TEXT_EVENTS = [text_event("a")]
T = TypeVar("T")


def ending_of(found: list[T], encode: Callable[[Event], T]) -> st.SearchStrategy[list[T]]:
    """Return the stream without an end, and with each way to end it."""
    stop_reason, stop = map(encode, ENDING)
    return st.sampled_from([found, [*found, stop_reason, stop], [*found, stop_reason], [*found, stop]])


TEXTS = st.text(max_size=5).map(lambda text: (*text_event(text), text))
ODD = st.builds(
    lambda name, body: (name, {**body, "type": name} if isinstance(body, dict) else body, ""),
    st.sampled_from([*EVENTS, "new"]),
    BODIES.filter(lambda body: not isinstance(body, dict) or not has_end(body)),
) | VALUES.filter(lambda body: not isinstance(body, dict)).map(lambda body: ("", body, ""))
FAILED = st.builds(
    lambda kind, more: ("error", {"type": "error", "error": {"type": kind, **more}}, ""),
    st.sampled_from(["overloaded_error", "invalid_request_error", "a_new_error"]) | VALUES,
    st.dictionaries(st.sampled_from(["message", "detail", "type"]), VALUES, max_size=2),
)
ENDING: list[Event] = [
    ("message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}, ""),
    ("message_stop", {"type": "message_stop"}, ""),
]
STREAMS = st.lists(TEXTS | ODD | FAILED, max_size=8).flatmap(lambda found: ending_of(found, lambda event: event))
