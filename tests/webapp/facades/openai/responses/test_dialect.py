from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Citation,
    Done,
    Error,
    Reasoning,
    Snapshot,
    Title,
    ToolUse,
)
from millrace.worker.contract.transcript import fold
from tests.webapp.facades.openai.responses.logs import (
    GENERATION,
    PAGE,
    QUEUED,
    RUNNING,
    TOOL,
    USAGE,
    Json,
    accumulate,
    complete,
    dialect,
    logs,
    render,
    takeover,
    types_of,
    validate,
)

ENDS = ("response.completed", "response.incomplete", "response.failed")


def texts_by_item(frames: list[Json], kind: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    for frame in frames:
        if frame["type"] == f"response.{kind}.delta":
            texts[frame["item_id"]] = texts.get(frame["item_id"], "") + frame["delta"]
    return texts


@settings(deadline=None)
@given(logs(), st.booleans())
def test_any_log_is_a_stream_that_the_sdk_accepts_with_numbers_without_a_hole(
    events: list[AnyEvent], is_in_background: bool
) -> None:
    frames = render(dialect(background=is_in_background), *events)
    validate(frames)
    accumulate(frames)
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    assert [frame["type"] for frame in frames if frame["type"] in ENDS] == [frames[-1]["type"]]
    assert render(dialect(background=is_in_background), *events) == frames  # any process resumes with the same rest


@settings(deadline=None)
@given(logs())
def test_sent_text_is_the_whole_answer_unless_the_stream_fails_and_is_never_doubled(events: list[AnyEvent]) -> None:
    frames = render(dialect(), *events)
    response = frames[-1]["response"]
    texts = texts_by_item(frames, "output_text")
    assert len(texts) <= 1
    messages = {each["id"]: each["content"][0]["text"] for each in response["output"] if each["type"] == "message"}
    assert texts == {name: text for name, text in messages.items() if text}
    done = {frame["item_id"]: frame["text"] for frame in frames if frame["type"] == "response.output_text.done"}
    restarted = response["error"] is not None and response["error"]["type"] == "restarted"
    if not restarted:
        assert done == messages
        assert "".join(messages.values()) == fold(events).content
        calls = [each["name"] for each in response["output"] if each["type"] == "function_call"]
        assert calls == [tool["name"] for tool in fold(events).tools]
    for item, text in texts_by_item(frames, "reasoning_summary_text").items():
        (whole,) = (each for each in response["output"] if each["id"] == item)
        assert whole["summary"][0]["text"] == text


@settings(deadline=None)
@given(logs(), st.integers(0, 20))
def test_rejoining_an_expired_log_gives_the_whole_items_with_numbers_from_there_on(
    events: list[AnyEvent], number: int
) -> None:
    whole = fold(events)
    assert whole.outcome is not None
    rendering = dialect()
    assert rendering.rejoin(whole.snapshot("expired"), number) == []
    frames = render(rendering, whole.outcome, Done("completed"), number=number)
    validate(frames)
    assert [frame["sequence_number"] for frame in frames] == list(range(number, number + len(frames)))
    assert not any(kind.endswith(("delta", "added")) for kind in types_of(frames))
    assert frames[-1]["type"] in ENDS
    for frame in frames:
        if frame["type"] == "response.output_text.done":
            assert frame["text"] == whole.content
    done = [frame["item"] for frame in frames if frame["type"] == "response.output_item.done"]
    assert done == frames[-1]["response"]["output"]


@settings(deadline=None)
@given(logs())
def test_expired_log_is_the_same_answer_in_fewer_events(events: list[AnyEvent]) -> None:
    whole = fold(events)
    assert whole.outcome is not None
    frames = render(dialect(), whole.snapshot("expired"), whole.outcome, Done("completed"))
    validate(frames)
    accumulate(frames)
    live = render(dialect(), *events)[-1]["response"]
    if live["error"] is None or live["error"]["type"] != "restarted":
        assert text_of(frames[-1]["response"]) == text_of(live)


def text_of(response: Json) -> str:
    return "".join(each["content"][0]["text"] for each in response["output"] if each["type"] == "message")


def test_events_have_their_names_and_order() -> None:
    events = [QUEUED, RUNNING, Reasoning("Hm"), Chunk("He"), PAGE, Chunk("llo"), TOOL, complete(), Title("t")]
    assert types_of(render(dialect(), *events)) == [
        *("created", "in_progress"),
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.annotation.added"),
        "output_text.delta",
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.done", "output_item.done"),
        *("output_text.done", "content_part.done", "output_item.done"),
        "completed",
    ]


def test_response_in_the_background_is_queued_first() -> None:
    frames = render(dialect(background=True), QUEUED, RUNNING)
    assert [(each["type"], each["response"]["status"]) for each in frames] == [
        ("response.created", "queued"),
        ("response.queued", "queued"),
        ("response.in_progress", "in_progress"),
    ]


def test_usage_counts_cached_tokens_as_input() -> None:
    usage = render(dialect(), QUEUED, complete())[-1]["response"]["usage"]
    assert usage == {
        "input_tokens": 17,
        "input_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 2},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 24,
    }


@pytest.mark.parametrize(
    ("outcome", "end", "status", "reason"),
    [
        (complete(), "completed", "completed", None),
        (complete("stop_sequence"), "completed", "completed", None),
        (complete("max_tokens"), "incomplete", "incomplete", "max_output_tokens"),
        (Cancelled("user", USAGE), "incomplete", "cancelled", None),
        (Error("content_filtered", "Filtered.", retryable=False), "incomplete", "incomplete", "content_filter"),
        (Error("provider_throttled", "Busy.", retryable=True), "failed", "failed", "rate_limit_exceeded"),
        (Error("context_too_long", "Long.", retryable=False), "failed", "failed", "invalid_prompt"),
        (Error("worker_lost", "Lost.", retryable=True), "failed", "failed", "server_error"),
    ],
    ids=str,
)
def test_each_outcome_has_its_terminal_event(outcome: Any, end: str, status: str, reason: str | None) -> None:
    last = render(dialect(), QUEUED, RUNNING, Chunk("Hi"), outcome, Done("completed"))[-1]
    response = last["response"]
    assert (last["type"], response["status"]) == (f"response.{end}", status)
    found = response["incomplete_details"] or response["error"]
    assert (found and (found.get("reason") or found["code"])) == reason
    item_status = "completed" if status == "completed" else "incomplete"
    assert [each["status"] for each in response["output"]] == [item_status]
    if end == "failed":
        assert response["error"] == {"code": reason, "message": outcome.message, "type": outcome.code}


def test_takeover_continues_where_the_new_text_begins_with_what_was_sent() -> None:
    frames = render(dialect(), QUEUED, Chunk("Hel"), takeover(), Chunk("He"), Chunk("llo"), complete())
    assert [each["delta"] for each in frames if "delta" in each] == ["Hel", "lo"]
    assert frames[-1]["type"] == "response.completed"


@pytest.mark.parametrize(
    "events",
    [
        [Chunk("Hel"), takeover(), Chunk("Ho")],
        [Chunk("Hello"), takeover(), Chunk("Hel"), complete()],
        [TOOL, takeover(), complete()],
        [TOOL, takeover(), ToolUse("call-9", "look_up", {"name": "Bob"}), complete()],
    ],
    ids=range(4),
)
def test_takeover_that_withdraws_what_was_sent_fails_the_stream(events: list[AnyEvent]) -> None:
    rendering = dialect()
    frames = render(rendering, QUEUED, RUNNING, *events)
    assert rendering.is_over
    response = frames[-1]["response"]
    assert (frames[-1]["type"], response["error"]["type"]) == ("response.failed", "restarted")
    assert "Retrieve the response" in response["error"]["message"]
    assert rendering.render(Done("completed"), len(frames)) == []


def test_takeover_with_the_same_call_does_not_repeat_it() -> None:
    again = ToolUse("call-other", TOOL.name, TOOL.input)
    frames = render(dialect(), QUEUED, TOOL, takeover(), again, complete())
    assert types_of(frames).count("output_item.added") == 1
    assert frames[-1]["response"]["output"][0]["call_id"] == TOOL.id


def test_changed_reasoning_becomes_a_new_item_and_the_text_goes_on() -> None:
    frames = render(dialect(), QUEUED, Reasoning("One"), takeover(), Reasoning("Two"), Chunk("Hi"), complete())
    validate(frames)
    items = [(each["id"], each["status"]) for each in frames[-1]["response"]["output"]]
    assert items == [
        (f"rs_{GENERATION}", "incomplete"),
        (f"rs_{GENERATION}_2", "completed"),
        (f"msg_{GENERATION}", "completed"),
    ]


def test_citations_of_web_pages_alone_become_annotations_and_none_is_repeated_after_a_takeover() -> None:
    book = Citation("A book", "Shelf 3", None, {"documentChar": {"start": 1}})
    entry = {"title": PAGE.title, "source": None, "location": PAGE.location}
    frames = render(dialect(), QUEUED, Chunk("Hi"), PAGE, book, takeover("Hi!", "", [entry]), complete())
    assert types_of(frames).count("output_text.annotation.added") == 1
    (message,) = frames[-1]["response"]["output"]
    assert message["content"][0]["annotations"] == [
        {"type": "url_citation", "url": "https://example.org/a", "title": "A page", "start_index": 2, "end_index": 2}
    ]
    assert message["content"][0]["text"] == "Hi!"


def test_log_that_continues_after_a_rejoin_ends_with_its_whole_text() -> None:
    rendering = dialect()
    assert rendering.rejoin(Snapshot("Hel", "", [], [], "lost"), 7) == []
    frames = render(rendering, Chunk("lo"), complete(), number=7)
    assert types_of(frames) == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert frames[0]["text"] == "Hello"
    assert frames[0]["sequence_number"] == 7


def test_a_stream_that_is_cut_ends_without_a_frame_because_its_client_resumes() -> None:
    rendering = dialect()
    render(rendering, QUEUED, Chunk("Hi"))
    assert rendering.interrupted() == []
    assert not rendering.is_over
