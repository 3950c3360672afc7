"""Logs of random answers, and their rendering for a version of the SDK."""

import msgspec
from hypothesis import strategies as st

from millrace.webapp.facades.aisdk.dialect import SdkVersion, UiMessageDialect
from millrace.webapp.facades.dialect import Line
from millrace.webapp.facades.stream import encode_all
from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Citation,
    Complete,
    ContextEvent,
    Done,
    Error,
    Image,
    ImageReference,
    Latency,
    Link,
    Outcome,
    Reasoning,
    Snapshot,
    StatusEvent,
    Suggestions,
    Title,
    ToolResult,
    ToolUse,
    Usage,
)
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.state import GenerationState

QUEUED = StatusEvent("queued", generation="g", conversation_id="c", message_id="m")
RUNNING = StatusEvent("running", 1, "model", "bedrock")
COMPLETE = Complete("live", "end_turn", Usage(3, 4, 1, cost=0.5), Latency(1, 2), "model", "bedrock", "m", stored=True)
CANCELLED = Cancelled("user", Usage(1, 1, exact=False))
FAILED = Error("truncated", "The answer was cut off.", retryable=True)
DONE = Done("completed")

_TEXTS = st.text("ab", max_size=3)
_TOOLS = st.builds(ToolUse, st.sampled_from(["t1", "t2"]), st.just("search"), st.just({"query": "a"}))
_RESULTS = st.builds(
    ToolResult,
    st.sampled_from(["t1", "t2", "unknown"]),
    st.just([{"text": "found"}]),
    st.sampled_from([None, "success", "error"]),
)
_CITATIONS = st.sampled_from(
    [
        Citation("A page", "https://a.example/"),
        Citation(None, None, [{"text": "quoted"}], {"web": {"url": "https://b.example/"}}),
        Citation("A file", "file.pdf"),
        Citation(),
    ]
)
_IMAGES = st.just(Image("i1", "png", 9))
_CITED = [msgspec.to_builtins(Citation("A page", "https://a.example/"))]
_SNAPSHOTS = st.builds(
    Snapshot,
    _TEXTS,
    st.sampled_from(["", "r", "rr"]),
    st.sampled_from([[], _CITED]),
    st.sampled_from([[], [{"id": "t1", "name": "search", "input": {"query": "a"}}]]),
    st.sampled_from(["takeover", "fallback"]),
    st.sampled_from([[], [ImageReference("i1", "png", 9)]]),
)
_CONTENT = st.one_of(
    _TEXTS.map(Chunk), _TEXTS.map(Chunk), st.just(Reasoning("r")), _SNAPSHOTS, _CITATIONS, _TOOLS, _RESULTS, _IMAGES
)
_CONTEXT = ContextEvent([Link("Mill", "https://mill.example/"), Link("", "https://a.example/")], 0, 0, 0, 0)
_AFTER = st.lists(st.sampled_from([Title("T"), Suggestions(["s"])]), max_size=2, unique_by=type)


@st.composite
def logs(draw: st.DrawFn) -> list[AnyEvent]:
    """Return the events of a whole log, in the order that the protocol allows."""
    events: list[AnyEvent] = [QUEUED, *draw(st.lists(st.just(RUNNING), max_size=1))]
    events += draw(st.sampled_from([[], [_CONTEXT]]))
    events += draw(st.lists(_CONTENT, max_size=12))
    outcome: Outcome = draw(st.sampled_from([COMPLETE, COMPLETE, CANCELLED, FAILED]))
    return [*events, outcome, *draw(_AFTER), DONE]


def state_at(seq: int) -> GenerationState:
    """Return a generation whose log has this many events."""
    return GenerationState(
        "g", "owner", "c", "m", "running", 1, Cursor(1, seq), is_done=False, on_disconnect="continue", created_ms=1
    )


def render(events: list[AnyEvent], version: SdkVersion, seq: int = 1) -> list[Line]:
    """Return the lines of a whole stream that began when the log had `seq` events."""
    dialect = UiMessageDialect(state_at(seq), version, "/api/generations/")
    lines: list[Line] = []
    for event in events:
        if dialect.is_over:
            break
        lines += dialect.render(event, len(lines))
    assert dialect.is_over
    return lines


def stream(events: list[AnyEvent], version: SdkVersion, seq: int = 1) -> str:
    """Return the same as the text that the client gets."""
    return encode_all(render(events, version, seq)).decode("ascii")
