import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from millrace.webapp.facades.chat import ChatContent, ChatDialect
from millrace.webapp.facades.conversation import ConversationDialect
from millrace.webapp.facades.dialect import AppendOnlyText, Dialect, Line, encode_frames
from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Complete,
    ContextEvent,
    Done,
    Error,
    Latency,
    Link,
    Reasoning,
    Snapshot,
    StatusEvent,
    Suggestions,
    Title,
    Usage,
)

QUEUED = StatusEvent("queued", generation="g", conversation_id="c", message_id="m")
COMPLETE = Complete("live", "end_turn", Usage(), Latency(1, 2), "model", "bedrock", "m", stored=True)
DONE = Done("completed")


def restart(content: str = "") -> Snapshot:
    return Snapshot(content, "", [], [], "takeover")


def told(dialect: Dialect, *events: AnyEvent) -> list[Any]:
    lines: list[Line] = []
    for event in events:
        assert not dialect.is_over, "told more after the end"
        lines += dialect.render(event)
    return msgspec.to_builtins(lines)


def kinds(lines: list[Any]) -> list[str]:
    return [line["type"] for line in lines]


TEXTS = st.text("ab", max_size=3)


@given(st.lists(st.one_of(TEXTS.map(Chunk), TEXTS.map(restart), st.just(Reasoning("r")))))
def test_what_is_appended_is_the_truth_or_its_beginning_or_is_said_to_be_wrong(events: list[AnyEvent]) -> None:
    text, appended, truth = AppendOnlyText(), "", ""
    for event in events:
        appended += text.add(event)
        match event:
            case Chunk(content):
                truth += content
            case Snapshot(content):
                truth = content
            case _:
                pass
        assert text.text == truth
        assert text.is_contradicted == (not (truth.startswith(appended) or appended.startswith(truth)))
        if not isinstance(event, Snapshot) and truth.startswith(appended):
            assert appended == truth, "text is held back that could be told"


def test_the_conversation_is_told_from_queued_to_complete() -> None:
    dialect = ConversationDialect()
    running = StatusEvent("running", 1, "model", "bedrock")
    lines = told(
        dialect, QUEUED, running, Reasoning("Hm."), Chunk("Hel"), Chunk("lo."), COMPLETE, Title("T"), Suggestions(["s"])
    )
    assert lines == [
        {"type": "status", "status": "queued", "message": "Waiting for a worker", "session_id": "c"},
        {"type": "status", "status": "running", "message": "Answering", "session_id": "c"},
        {"type": "chunk", "content": "Hel"},
        {"type": "chunk", "content": "lo."},
    ]
    assert told(dialect, DONE) == [
        {
            "type": "complete",
            "message": "Hello.",
            "suggestions": ["s"],
            "title": "T",
            "is_cancelled": False,
            "session_id": "c",
        }
    ]
    assert dialect.is_over


def test_the_conversation_is_told_what_its_answer_is_built_on() -> None:
    built = ContextEvent([Link("Mill", "https://mill.example")], 2, 1, 0, 0, intent="ask", updated={"when": "now"})
    assert told(ConversationDialect(), QUEUED, built)[1] == {
        "type": "context",
        "sources": [{"title": "Mill", "url": "https://mill.example"}],
        "history": 2,
        "profile": 1,
        "memory": 0,
        "intent": "ask",
        "updated": {"when": "now"},
        "session_id": "c",
    }


def test_an_error_of_the_conversation_is_its_end_with_no_complete() -> None:
    dialect = ConversationDialect()
    lines = told(dialect, QUEUED, Chunk("He"), Error("truncated", "Cut.", retryable=True), Done("failed"))
    assert kinds(lines) == ["status", "chunk", "error"]
    assert lines[-1] == {
        "type": "error",
        "error": "Cut.",
        "message": "Cut.",
        "code": "truncated",
        "retryable": True,
        "session_id": "c",
    }
    assert dialect.is_over


def test_a_cancelled_conversation_is_complete_as_far_as_it_went() -> None:
    lines = told(ConversationDialect(), QUEUED, Chunk("He"), Cancelled("user", Usage()), Done("cancelled"))
    assert (lines[-1]["type"], lines[-1]["message"], lines[-1]["is_cancelled"]) == ("complete", "He", True)


def test_an_attempt_that_says_the_same_again_goes_on_where_the_told_text_ends() -> None:
    events = (QUEUED, Chunk("Hello"), restart(), Chunk("Hel"), Chunk("lo wor"), Chunk("ld"))
    assert told(ChatDialect(), *events) == [{"content": "Hello"}, {"content": " wor"}, {"content": "ld"}]
    assert told(ChatDialect(), QUEUED, Chunk("He"), restart("Hello")) == [{"content": "He"}, {"content": "llo"}]


def test_an_attempt_with_other_words_is_never_mixed_into_the_first() -> None:
    conversation = told(
        ConversationDialect(), QUEUED, Chunk("Hel"), restart(), Chunk("Good"), Chunk(" day"), COMPLETE, DONE
    )
    assert [line["content"] for line in conversation if line["type"] == "chunk"] == ["Hel"]
    assert [line.get("status") for line in conversation if line["type"] == "status"] == ["queued", "restarted"]
    assert conversation[-1]["message"] == "Good day"
    chat = ChatDialect()
    lines = told(chat, QUEUED, Chunk("Hel"), restart(), Chunk("Good"))
    assert [set(line) for line in lines] == [{"content"}, {"error"}]
    assert chat.is_over


def test_the_chat_is_content_and_done_or_an_error() -> None:
    assert told(ChatDialect(), QUEUED, Chunk("Hi"), COMPLETE, Title("T"), DONE) == [{"content": "Hi"}, "[DONE]"]
    stopped = told(ChatDialect(), QUEUED, Chunk("Hi"), Cancelled("user", Usage()), Done("cancelled"))
    assert stopped == [{"content": "Hi"}, "[DONE]"]
    failed = ChatDialect()
    assert told(failed, QUEUED, Error("internal", "Oh.", retryable=False)) == [{"error": "Oh."}]
    assert failed.is_over


def test_a_stream_that_its_server_ends_says_so() -> None:
    for dialect in (ConversationDialect(), ChatDialect()):
        (line,) = msgspec.to_builtins(dialect.interrupted())
        assert "restarted" in line["error"]
        assert dialect.is_over


@given(st.text(st.characters()), st.text("\udc00\ud800\r\n\u2028\x00"))
def test_no_text_breaks_a_line_and_each_comes_back_as_it_was(text: str, hostile: str) -> None:
    content = text + hostile
    spelled = encode_frames([ChatContent(content)])
    line, end = spelled.decode("ascii").split("\n\n")
    assert (line.count("\n"), line.count("\r"), end) == (0, 0, "")
    told = json.loads(line.removeprefix("data: "))
    assert told == json.loads(json.dumps({"content": content}))  # which joins two halves of one character
    assert encode_frames(["[DONE]"]) == b"data: [DONE]\n\n"
