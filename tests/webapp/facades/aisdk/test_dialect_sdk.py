"""The SDK's own client reads every stream: its schema has each part, and its message is the log's."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.webapp.facades.aisdk.dialect import SdkVersion
from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Complete,
    Error,
    Outcome,
    Snapshot,
    ToolResult,
    ToolUse,
)
from millrace.worker.contract.transcript import Transcript, fold
from tests.journeys.npm_packages import NpmPackages
from tests.webapp.facades.aisdk.logs import COMPLETE, DONE, QUEUED, RUNNING, logs, stream

Chat = dict[str, Any]
Reader = Callable[..., Chat]

RESTARTED = "The answer began again with different text. Reload the page to see it."
EXAMPLES = settings(max_examples=150)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Return a function that runs the SDK's `Chat` on streams, in one process for all of them."""
    packages = NpmPackages(tmp_path_factory.mktemp("npm"))
    process = packages.start("aisdk.mjs")
    assert process.stdin is not None
    assert process.stdout is not None

    def read(version: SdkVersion, *streams: str) -> Chat:
        print(json.dumps({"version": version, "streams": streams}), file=process.stdin, flush=True)
        line = process.stdout and process.stdout.readline()
        if not line:
            pytest.fail(process.communicate()[1])
        return json.loads(line)

    yield read
    process.kill()
    process.communicate()


def text_of(chat: Chat, kind: str = "text") -> str:
    return "".join(part["text"] for part in chat["parts"] if part["type"] == kind)


def outcome_of(events: list[AnyEvent]) -> Complete | Cancelled | Error:
    (outcome,) = [each for each in events if isinstance(each, Outcome)]
    return outcome


def states_of(events: list[AnyEvent]) -> list[str]:
    """Return the answer's text after each event."""
    texts: list[str] = []
    transcript = Transcript()
    for event in events:
        transcript.apply(event)
        texts.append(transcript.content)
    return texts


def check_whole(chat: Chat, events: list[AnyEvent]) -> None:
    """Assert that the message is the log's answer, and that the chat has ended as the log has."""
    outcome, truth = outcome_of(events), fold(events)
    assert text_of(chat) == truth.content
    assert text_of(chat, "reasoning") == truth.reasoning
    assert chat["id"] == "m"
    assert chat["count"] == 2
    assert chat["errors"] == ([outcome.message] if isinstance(outcome, Error) else [])
    assert chat["status"] == ("error" if isinstance(outcome, Error) else "ready")
    assert chat["metadata"]["generation"] == "g"
    names = {Complete: "complete", Cancelled: "cancelled", Error: "error"}
    assert chat["metadata"]["outcome"] == names[type(outcome)]
    tools = [part for part in chat["parts"] if part["type"] == "dynamic-tool"]
    assert {part["toolCallId"] for part in tools} == {each["id"] for each in truth.tools}
    images = [part["url"] for part in chat["parts"] if part["type"] == "file"]
    assert images == [f"/api/generations/g/images/{each.id}" for each in truth.images]
    assert [part for part in chat["parts"] if part["type"] == "data-status"] == []


@EXAMPLES
@given(events=logs())
def test_version_7_has_the_logs_answer_whatever_is_withdrawn(read: Reader, events: list[AnyEvent]) -> None:
    check_whole(read(7, stream(events, 7)), events)


@EXAMPLES
@given(events=logs(), data=st.data())
def test_version_6_has_the_logs_answer_or_an_error_and_then_what_it_resumes(
    read: Reader, events: list[AnyEvent], data: st.DataObject
) -> None:
    chat = read(6, stream(events, 6))
    if RESTARTED not in chat["errors"]:
        assert text_of(chat) == fold(events).content or isinstance(outcome_of(events), Error)
        return
    assert chat["status"] == "error"
    assert chat["data"][-1] == "data-resume"
    assert any(text.startswith(text_of(chat)) for text in states_of(events)), "the message is mixed of two answers"
    seq = data.draw(st.integers(1, len(events)))
    resumed = read(6, stream(events, 6), stream(events, 6, seq), stream(events, 6, len(events)))
    check_whole(resumed | {"errors": resumed["errors"][-1:] if resumed["status"] == "error" else []}, events)


@EXAMPLES
@given(events=logs(), data=st.data())
def test_streams_that_resume_are_equal_to_the_first_byte_for_byte(events: list[AnyEvent], data: st.DataObject) -> None:
    seq = data.draw(st.integers(1, len(events)))
    assert stream(events, 7, seq) == stream(events, 7)
    assert stream(events, 6, seq) == stream(events, 6, seq)
    if not any(isinstance(each, Snapshot) for each in events):
        assert stream(events, 6, seq) == stream(events, 6) == stream(events, 7)


def test_same_text_after_a_restart_goes_on_and_another_text_replaces_it_or_ends_in_an_error(read: Reader) -> None:
    restart = Snapshot("", "", [], [], "takeover")
    same: list[AnyEvent] = [QUEUED, RUNNING, Chunk("Hello"), restart, Chunk("Hel"), Chunk("lo world"), COMPLETE, DONE]
    for version in (6, 7):
        check_whole(read(version, stream(same, version)), same)
        assert "reset-step" not in stream(same, version)
    other: list[AnyEvent] = [QUEUED, RUNNING, Chunk("Hello"), restart, Chunk("Good"), Chunk(" day"), COMPLETE, DONE]
    check_whole(read(7, stream(other, 7)), other)
    broken = read(6, stream(other, 6))
    assert (text_of(broken), broken["errors"]) == ("Hello", [RESTARTED])
    resumed = read(6, stream(other, 6), stream(other, 6, 5))
    assert (text_of(resumed), resumed["status"], resumed["count"]) == ("Good day", "ready", 2)


def test_result_of_a_tool_that_a_restart_keeps_is_kept(read: Reader) -> None:
    tool, result = ToolUse("t1", "search", {"query": "a"}), ToolResult("t1", [{"text": "found"}])
    kept = Snapshot("", "", [], [{"id": "t1", "name": "search", "input": {"query": "a"}}], "takeover")
    events: list[AnyEvent] = [QUEUED, tool, result, Chunk("a"), kept, Chunk("b"), COMPLETE, DONE]
    chat = read(7, stream(events, 7))
    check_whole(chat, events)
    assert [part["output"] for part in chat["parts"] if part["type"] == "dynamic-tool"] == [[{"text": "found"}]]
    assert chat["parts"].count({"type": "step-start"}) == 1


def test_callbacks_of_the_app_get_finish_abort_and_error(read: Reader) -> None:
    whole = read(7, stream([QUEUED, Chunk("a"), COMPLETE, DONE], 7))
    assert whole["finished"] == [{"isAbort": False, "isError": False, "finishReason": "stop"}]
    assert whole["metadata"]["usage"] == {
        "inputTokens": 4,
        "outputTokens": 4,
        "totalTokens": 8,
        "reasoningTokens": 0,
        "cachedInputTokens": 1,
        "exact": True,
    }
    assert whole["metadata"]["cost"] == 0.5


def test_hypothesis_makes_streams_of_every_kind() -> None:
    """The laws above would hold of nothing if no log had a text that is withdrawn."""
    found: set[bool] = set()

    @EXAMPLES
    @given(events=logs())
    def collect(events: list[AnyEvent]) -> None:
        found.add(RESTARTED in stream(events, 6))

    collect()
    assert found == {True, False}
