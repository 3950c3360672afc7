import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from millrace.webapp.facades.chat import ChatContent, ChatDialect
from millrace.webapp.facades.conversation import ConversationDialect
from millrace.webapp.facades.dialect import AppendOnlyText, Dialect, Line, NamedLine, encode_frame
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


def render_all(dialect: Dialect, *events: AnyEvent) -> list[Any]:
    lines: list[Line] = []
    for event in events:
        assert not dialect.is_over, "an event was rendered after the last line"
        lines += dialect.render(event, len(lines))
    return msgspec.to_builtins(lines)


def kinds(lines: list[Any]) -> list[str]:
    return [line["type"] for line in lines]


TEXTS = st.text("ab", max_size=3)


@given(st.lists(st.one_of(TEXTS.map(Chunk), TEXTS.map(restart), st.just(Reasoning("r")))))
def test_sent_text_is_a_prefix_of_the_current_text_or_is_reported_as_contradicted(events: list[AnyEvent]) -> None:
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
        assert text.is_whole == (appended == truth)
        assert text.is_contradicted == (not (truth.startswith(appended) or appended.startswith(truth)))
        if not isinstance(event, Snapshot) and truth.startswith(appended):
            assert appended == truth, "text is withheld that could be sent"


def test_conversation_renders_lines_from_queued_to_complete() -> None:
    dialect = ConversationDialect()
    running = StatusEvent("running", 1, "model", "bedrock")
    lines = render_all(
        dialect, QUEUED, running, Reasoning("Hm."), Chunk("Hel"), Chunk("lo."), COMPLETE, Title("T"), Suggestions(["s"])
    )
    assert lines == [
        {"type": "status", "status": "queued", "message": "Waiting for a worker", "session_id": "c"},
        {"type": "status", "status": "running", "message": "Answering", "session_id": "c"},
        {"type": "chunk", "content": "Hel"},
        {"type": "chunk", "content": "lo."},
    ]
    assert render_all(dialect, DONE) == [
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


def test_conversation_renders_the_context_of_its_answer() -> None:
    built = ContextEvent([Link("Mill", "https://mill.example")], 2, 1, 0, 0, intent="ask", updated={"when": "now"})
    assert render_all(ConversationDialect(), QUEUED, built)[1] == {
        "type": "context",
        "sources": [{"title": "Mill", "url": "https://mill.example"}],
        "history": 2,
        "profile": 1,
        "memory": 0,
        "intent": "ask",
        "updated": {"when": "now"},
        "session_id": "c",
    }


def test_error_ends_the_conversation_without_a_complete_line() -> None:
    dialect = ConversationDialect()
    lines = render_all(dialect, QUEUED, Chunk("He"), Error("truncated", "Cut.", retryable=True), Done("failed"))
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


def test_cancelled_conversation_is_complete_with_its_partial_text() -> None:
    lines = render_all(ConversationDialect(), QUEUED, Chunk("He"), Cancelled("user", Usage()), Done("cancelled"))
    assert (lines[-1]["type"], lines[-1]["message"], lines[-1]["is_cancelled"]) == ("complete", "He", True)


def test_second_attempt_with_the_same_text_continues_where_the_sent_text_ends() -> None:
    events = (QUEUED, Chunk("Hello"), restart(), Chunk("Hel"), Chunk("lo wor"), Chunk("ld"))
    assert render_all(ChatDialect(), *events) == [{"content": "Hello"}, {"content": " wor"}, {"content": "ld"}]
    assert render_all(ChatDialect(), QUEUED, Chunk("He"), restart("Hello")) == [{"content": "He"}, {"content": "llo"}]


def test_second_attempt_with_different_text_is_never_mixed_into_the_first() -> None:
    conversation = render_all(
        ConversationDialect(), QUEUED, Chunk("Hel"), restart(), Chunk("Good"), Chunk(" day"), COMPLETE, DONE
    )
    assert [line["content"] for line in conversation if line["type"] == "chunk"] == ["Hel"]
    assert [line.get("status") for line in conversation if line["type"] == "status"] == ["queued", "restarted"]
    assert conversation[-1]["message"] == "Good day"
    chat = ChatDialect()
    lines = render_all(chat, QUEUED, Chunk("Hel"), restart(), Chunk("Good"))
    assert [set(line) for line in lines] == [{"content"}, {"error"}]
    assert chat.is_over


def test_chat_renders_content_and_done_or_an_error() -> None:
    assert render_all(ChatDialect(), QUEUED, Chunk("Hi"), COMPLETE, Title("T"), DONE) == [{"content": "Hi"}, "[DONE]"]
    stopped = render_all(ChatDialect(), QUEUED, Chunk("Hi"), Cancelled("user", Usage()), Done("cancelled"))
    assert stopped == [{"content": "Hi"}, "[DONE]"]
    failed = ChatDialect()
    assert render_all(failed, QUEUED, Error("internal", "Oh.", retryable=False)) == [{"error": "Oh."}]
    assert failed.is_over


def test_stream_that_its_server_ends_has_an_error_about_the_restart() -> None:
    for dialect in (ConversationDialect(), ChatDialect()):
        (line,) = msgspec.to_builtins(dialect.interrupted())
        assert "restarted" in line["error"]
        assert not dialect.is_over, "other clients share the rendering"


@given(st.text(st.characters()), st.text("\udc00\ud800\r\n\u2028\x00"))
def test_any_text_is_one_line_and_is_decoded_unchanged(text: str, hostile: str) -> None:
    content = text + hostile
    spelled = encode_frame(ChatContent(content))
    line, end = spelled.decode("ascii").split("\n\n")
    assert (line.count("\n"), line.count("\r"), end) == (0, 0, "")
    decoded = json.loads(line.removeprefix("data: "))
    assert decoded == json.loads(json.dumps({"content": content}))  # which joins two halves of one character


def test_frame_may_have_a_name_and_an_id_after_its_data() -> None:
    assert encode_frame("[DONE]") == b"data: [DONE]\n\n"
    assert encode_frame("[DONE]", 7) == b"data: [DONE]\nid: 7\n\n"
    named = NamedLine("a.b", ChatContent("x"))
    assert encode_frame(named, 1) == b'event: a.b\ndata: {"content":"x"}\nid: 1\n\n'


def test_client_whose_position_is_lost_gets_no_text_twice() -> None:
    expired = Snapshot("Hello.", "", [], [], "expired")
    chat = ChatDialect()
    assert [set(line) for line in msgspec.to_builtins(chat.rejoin(expired, 3))] == [{"error"}]
    assert chat.is_over
    conversation = ConversationDialect()
    lines = msgspec.to_builtins(conversation.rejoin(expired, 3)) + render_all(conversation, COMPLETE, DONE)
    assert kinds(lines) == ["status", "complete"]
    assert lines[-1]["message"] == "Hello."
