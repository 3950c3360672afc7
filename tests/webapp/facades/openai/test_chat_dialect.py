"""The chunks of a streamed chat completion."""

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk

from millrace.webapp.facades.dialect import Line
from millrace.webapp.facades.openai.chat_dialect import CompletionDialect
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
    Latency,
    Reasoning,
    Snapshot,
    StatusEvent,
    Suggestions,
    Title,
    ToolResult,
    ToolUse,
    Usage,
)
from millrace.worker.contract.transcript import Transcript, fold

QUEUED = StatusEvent("queued", generation="g", conversation_id="c", message_id="m")
USAGE = Usage(10, 7, cache_read_tokens=100, reasoning_tokens=3)
DONE = Done("completed")


def complete(reason: str = "end_turn") -> Complete:
    return Complete("live", reason, USAGE, Latency(1, 2), "model", "bedrock", "m", stored=False)


def snapshot(content: str = "", reasoning: str = "", tools: list[Any] | None = None) -> Snapshot:
    return Snapshot(content, reasoning, [], tools or [], "takeover")


def make(*, has_usage: bool = False) -> CompletionDialect:
    return CompletionDialect("chatcmpl-1", 5, "one", has_usage=has_usage)


def render(dialect: CompletionDialect, *events: AnyEvent) -> list[Any]:
    """Return the frames of a log, up to the dialect's end."""
    lines: list[Line] = []
    for event in events:
        if dialect.is_over:
            break
        lines += dialect.render(event, len(lines))
    return msgspec.to_builtins(lines)


@dataclass
class ChatClient:
    """A client as the SDKs are: it appends what the deltas hold, and has no way to take anything back."""

    text: str = ""
    reasoning: str = ""
    calls: list[Any] = field(default_factory=list[Any])
    finish_reason: str | None = None
    error: Any = None
    is_done: bool = False

    def read(self, frame: Any) -> None:
        assert not self.is_done
        assert not self.error
        if frame == "[DONE]":
            self.is_done = True
        elif "error" in frame:
            self.error = frame["error"]
        else:
            ChatCompletionChunk.model_validate(frame)
            for choice in frame["choices"]:
                assert self.finish_reason is None, "a delta follows the finish"
                self.text += choice["delta"].get("content", "")
                self.reasoning += choice["delta"].get("reasoning_content", "")
                self.calls += choice["delta"].get("tool_calls", [])
                self.finish_reason = choice["finish_reason"]


TEXTS = st.text("ab", max_size=3)
TOOLS = st.builds(ToolUse, st.sampled_from(["t1", "t2"]), st.just("f"), st.just({}))
BODY = st.one_of(
    TEXTS.map(Chunk),
    TEXTS.map(Reasoning),
    st.builds(snapshot, TEXTS, TEXTS),
    st.builds(snapshot, TEXTS, TEXTS, st.just([{"id": "t0", "name": "f", "input": {}}])),
    TOOLS,
    st.sampled_from(
        [
            Citation("a"),
            Citation("b", location={"web": {"url": "c"}}),
            ToolResult("t1", []),
            Image("i", "png", 1),
            StatusEvent("retrying"),
        ]
    ),
)
OUTCOMES = st.sampled_from(
    [
        *(complete(reason) for reason in ("end_turn", "max_tokens", "tool_use")),
        Cancelled("user", USAGE),
        Error("truncated", "Cut {off}.", retryable=True),
        Error("content_filtered", "Filtered.", retryable=False),
    ]
)
AFTER = st.sampled_from([Title("T"), Suggestions(["s"])])


@st.composite
def logs(draw: st.DrawFn) -> list[AnyEvent]:
    """Draw any log of the grammar."""
    context = ContextEvent([], 0, 0, 0, 0)
    opening = [QUEUED, StatusEvent("running", 1, "m", "p"), *draw(st.sampled_from([[], [context]]))]
    return [*opening, *draw(st.lists(BODY)), draw(OUTCOMES), *draw(st.lists(AFTER, max_size=2)), DONE]


@given(logs(), st.booleans())
@example([QUEUED, Chunk("ab"), snapshot(), Chunk("a"), complete(), DONE], False)
@example([QUEUED, Reasoning("a"), snapshot("", "b"), complete(), DONE], False)
def test_client_assembles_the_answer_or_gets_an_error_and_never_mixed_text(log: list[AnyEvent], usage: bool) -> None:
    dialect, client, count, truth = make(has_usage=usage), ChatClient(), 0, Transcript()
    for event in log:
        if dialect.is_over:
            break
        truth.apply(event)
        frames = msgspec.to_builtins(dialect.render(event, count))
        count += len(frames)
        for frame in frames:
            client.read(frame)
        assert client.error or truth.content.startswith(client.text) or client.text.startswith(truth.content)
    assert dialect.is_over
    assert client.is_done == (client.error is None)
    if client.is_done:
        final = fold(log)
        assert (client.text, client.reasoning) == (final.content, final.reasoning)
        calls = [call["id"] for call in client.calls]
        assert calls == ([tool["id"] for tool in final.tools] if client.finish_reason == "tool_calls" else [])
        assert client.finish_reason is not None


@given(logs(), st.booleans())
def test_frames_are_a_function_of_the_log(log: list[AnyEvent], usage: bool) -> None:
    frames = render(make(has_usage=usage), *log)
    assert render(make(has_usage=usage), *log) == frames
    assert frames[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_first_chunk_has_the_role_and_comes_with_the_first_event() -> None:
    (frame,) = render(make(), QUEUED)
    assert frame == {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "one",
        "system_fingerprint": None,
        "choices": [
            {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        ],
    }


def deltas(frames: list[Any]) -> list[Any]:
    return [frame["choices"][0]["delta"] for frame in frames if frame != "[DONE]" and frame.get("choices")]


def test_text_and_reasoning_are_deltas_and_the_end_follows_the_outcome() -> None:
    frames = render(make(), QUEUED, Reasoning("Hm."), Chunk("Hel"), Chunk("lo."), complete())
    assert deltas(frames)[1:] == [{"reasoning_content": "Hm."}, {"content": "Hel"}, {"content": "lo."}, {}]
    assert frames[-2]["choices"][0]["finish_reason"] == "stop"
    assert frames[-1] == "[DONE]"
    assert all("usage" not in frame for frame in frames[:-1])


def test_usage_comes_last_and_is_null_before() -> None:
    *frames, last, done = render(make(has_usage=True), QUEUED, Chunk("Hi"), complete())
    assert [frame["usage"] for frame in frames] == [None] * 3
    assert (last["choices"], done) == ([], "[DONE]")
    assert last["usage"] == {
        "prompt_tokens": 110,
        "completion_tokens": 7,
        "total_tokens": 117,
        "prompt_tokens_details": {"cached_tokens": 100},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }


def test_tool_calls_have_an_index_and_whole_arguments() -> None:
    uses = [ToolUse("t1", "weather", {"city": "Ghent"}), ToolUse("t2", "time", {})]
    frames = render(make(), QUEUED, *uses, complete("tool_use"))
    assert deltas(frames)[1] == {
        "tool_calls": [
            {
                "index": 0,
                "id": "t1",
                "type": "function",
                "function": {"name": "weather", "arguments": '{"city": "Ghent"}'},
            },
            {"index": 1, "id": "t2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
        ]
    }
    assert frames[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_cited_web_pages_come_once_before_the_end() -> None:
    page = Citation("Mill", None, None, {"web": {"url": "https://mill.example"}})
    other = Citation("Weir", None, None, {"web": {"url": "https://weir.example"}})
    frames = render(make(), QUEUED, Chunk("Hello."), other, snapshot(), Chunk("Hello."), page, page, complete())
    cited = {"url": "https://mill.example", "title": "Mill", "start_index": 0, "end_index": 6}
    assert deltas(frames)[1:] == [
        {"content": "Hello."},
        {"annotations": [{"type": "url_citation", "url_citation": cited}]},
        {},
    ]


def test_only_the_calls_of_the_last_attempt_are_tool_calls() -> None:
    kept = [{"id": "t0", "name": "f", "input": {}}]
    for restart, ids in ((snapshot(), ["t2"]), (snapshot(tools=kept), ["t0", "t2"])):
        log = (QUEUED, ToolUse("t1", "f", {}), restart, ToolUse("t2", "f", {}), complete("tool_use"))
        calls = deltas(render(make(), *log))[1]["tool_calls"]
        assert [(call["id"], call["index"]) for call in calls] == [(id_, number) for number, id_ in enumerate(ids)]


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ((Chunk("He"), Error("truncated", "Cut {off}.", retryable=True)), "truncated"),
        ((Error("content_filtered", "No.", retryable=False),), "content_filter"),
        ((Chunk("Hello"), snapshot(), Chunk("Good")), "stream_lost"),
        ((Reasoning("Hello"), snapshot(), Reasoning("Good")), "stream_lost"),
        ((Chunk("Hello"), snapshot(), Chunk("Hel"), complete()), "stream_lost"),
        ((Chunk("Hello"), snapshot(), Chunk("Hel"), Cancelled("user", USAGE)), "stream_lost"),
    ],
)
def test_failure_is_an_error_frame_and_the_end(events: tuple[AnyEvent, ...], code: str) -> None:
    dialect = make()
    *_, last = render(dialect, QUEUED, *events, DONE)
    assert (last["error"]["code"], last["error"]["id"], dialect.is_over) == (code, "chatcmpl-1", True)
    if isinstance(events[-1], Error):
        assert last["error"]["message"] == events[-1].message


def test_second_attempt_with_the_same_text_continues_where_the_sent_text_ends() -> None:
    events = (Reasoning("Hm."), Chunk("Hello"), snapshot(), Reasoning("Hm. So"), Chunk("Hel"), Chunk("lo wor"))
    frames = render(make(), QUEUED, *events, complete())
    assert deltas(frames)[1:] == [
        {"reasoning_content": "Hm."},
        {"content": "Hello"},
        {"reasoning_content": " So"},
        {"content": " wor"},
        {},
    ]


def test_filter_that_strikes_after_some_text_is_a_finish_reason() -> None:
    frames = render(make(), QUEUED, Chunk("He"), Error("content_filtered", "No.", retryable=False))
    assert (frames[-2]["choices"][0]["finish_reason"], frames[-1]) == ("content_filter", "[DONE]")


def test_cancelled_answer_is_cut_off_and_says_by_whom() -> None:
    frames = render(make(has_usage=True), QUEUED, Chunk("He"), Cancelled("abandoned", USAGE))
    assert frames[-3]["choices"][0]["finish_reason"] == "length"
    assert frames[-3]["cancelled_by"] == "abandoned"
    assert frames[-2]["usage"]["completion_tokens"] == 7


def test_stored_answer_is_whole_for_a_new_client_and_an_error_for_one_that_has_had_a_part() -> None:
    expired = Snapshot("Hello", "Hm.", [], [], "expired")
    dialect = make()
    frames = msgspec.to_builtins(dialect.rejoin(expired, 0))
    frames += msgspec.to_builtins(dialect.render(complete(), len(frames)))
    assert deltas(frames)[1:] == [{"reasoning_content": "Hm."}, {"content": "Hello"}, {}]
    dialect = make()
    (frame,) = msgspec.to_builtins(dialect.rejoin(expired, 3))
    assert "GET /v1/chat/completions/chatcmpl-1." in frame["error"]["message"]
    assert dialect.is_over


def test_stream_that_its_server_ends_has_an_error_that_says_how_to_go_on() -> None:
    dialect = make()
    (frame,) = msgspec.to_builtins(dialect.interrupted())
    assert "GET /v1/chat/completions/chatcmpl-1?stream=true" in frame["error"]["message"]
    assert not dialect.is_over, "other clients share the rendering"


def test_readers_with_equal_options_share_a_rendering() -> None:
    assert make().key == make().key != make(has_usage=True).key
