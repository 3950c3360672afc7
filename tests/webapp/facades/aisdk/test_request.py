from typing import Any

import pytest

from millrace.webapp.facades.aisdk.request import is_chat_of_sdk, parse_chat, read_chat
from millrace.webapp.problems import Problem
from millrace.worker.settings.schema import Settings

SETTINGS = Settings.of(secret_key="a key of these tests, which is long enough", allow_system=True)


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content}


def says(role: str, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "m", "role": role, "parts": list(parts), **more}


def body_of(*messages: Any, **more: Any) -> dict[str, Any]:
    return {"id": "chat", "messages": list(messages), **more}


def asked(body: dict[str, Any]) -> list[str]:
    """Return what the model gets for a body."""
    request = parse_chat(read_chat(body), SETTINGS).request
    return [f"{each.role}:{each.content}" for each in request.messages]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"message": "a"}, False),
        ({"message": "a", "history": []}, False),
        ({"message": "a", "messages": []}, False),
        ({"message": ["a"]}, False),
        ({}, False),
        ({"message": {"role": "user"}}, True),
        ({"messages": []}, True),
        ({"id": "chat"}, True),
    ],
)
def test_body_of_the_sdk_is_told_from_the_older_protocols(body: dict[str, Any], expected: bool) -> None:
    assert is_chat_of_sdk(body) == expected


def test_texts_of_the_messages_go_to_the_model_and_all_else_of_the_history_stays() -> None:
    answer = says(
        "assistant",
        {"type": "step-start"},
        {"type": "reasoning", "text": "Hm.", "state": "done"},
        text("Hel"),
        {"type": "dynamic-tool", "toolCallId": "t", "toolName": "search", "state": "output-available"},
        {"type": "tool-search", "toolCallId": "t", "state": "output-available"},
        {"type": "source-url", "sourceId": "s", "url": "https://a.example"},
        {"type": "source-document", "sourceId": "s", "mediaType": "text/plain", "title": "t"},
        {"type": "data-title", "id": "title", "data": {"title": "T"}},
        {"type": "file", "url": "https://a.example/image.png", "mediaType": "image/png"},
        {**text("lo"), "state": "done"},
        metadata={"generation": "g"},
    )
    assert asked(body_of(says("user", text("one"), text(" two")), answer, says("user", text("three")))) == [
        "user:one two",
        "assistant:Hello",
        "user:three",
    ]


def test_message_of_an_answer_that_failed_is_none_and_its_questions_are_joined() -> None:
    body = body_of(says("user", text("one")), says("assistant", {"type": "step-start"}), says("user", text("two")))
    assert asked(body) == ["user:one\n\ntwo"]


def test_system_messages_are_instructions() -> None:
    given = body_of(says("system", text("Be brief.")), says("user", text("a")))
    parsed = parse_chat(read_chat(given), SETTINGS)
    assert parsed.request.system == "Be brief."
    assert [each.content for each in parsed.request.messages] == ["a"]


def test_options_that_are_null_count_as_absent() -> None:
    given = body_of(says("user", text("a")), trigger=None, messageId=None, model=None, message=None, temperature=None)
    assert asked(given) == ["user:a"]


FILE = {"type": "file", "url": "data:image/png;base64,AA", "mediaType": "image/png"}
USER = says("user", text("a"))


@pytest.mark.parametrize(
    ("body", "field", "place"),
    [
        ({"messages": [USER]}, "id", ""),
        (body_of(USER) | {"id": ""}, "id", ""),
        (body_of(USER) | {"id": 7}, "id", ""),
        (body_of(USER) | {"id": "x" * 256}, "id", ""),
        ({"id": "chat"}, "messages", ""),
        ({"id": "chat", "messages": "a"}, "messages", ""),
        (body_of(), "messages", "last message"),
        (body_of(USER, says("assistant", text("b"))), "messages", "last message"),
        (body_of(USER, message=USER), "message", ""),
        (body_of(USER, trigger="resume-stream"), "trigger", ""),
        (body_of(USER, messageId=1), "messageId", ""),
        (body_of(USER, message_id="x"), "message_id", ""),
        (body_of(USER, stream=True), "stream", ""),
        (body_of(USER, tools={}), "tools", ""),
        (body_of(USER, model="unknown"), "model", ""),
        (body_of(USER, search=True), "search", ""),
        (body_of(USER, temperature=9), "temperature", ""),
        (body_of(USER, max_tokens="7"), "max_tokens", ""),
        (body_of(USER, metadata={"a": 1}), "metadata", ""),
        (body_of(USER, on_disconnect="x"), "on_disconnect", ""),
        (body_of(says("system", text("a")), USER, system="b"), "system", ""),
        (body_of(says("user", text(" "))), "messages", ""),
        (body_of("a"), "messages", "messages[0]"),
        (body_of({"role": "user", "content": "a"}), "messages", "messages[0]"),
        (body_of(USER, {"role": "robot", "parts": []}, USER), "messages", "messages[1]"),
        (body_of(USER, says("system", text("x")), USER), "messages", ""),
        (body_of(says("user", text("a"), FILE)), "messages", "messages[0].parts[1]"),
        (body_of(USER, says("assistant"), says("user", FILE)), "messages", "messages[2].parts[0]"),
        (body_of(says("user", {"type": "text"})), "messages", "messages[0].parts[0]"),
        (body_of(says("user", {"type": "text", "text": 1})), "messages", "messages[0].parts[0]"),
        (body_of(says("user", {"type": "video"})), "messages", "messages[0].parts[0]"),
        (body_of(says("user", {})), "messages", "messages[0].parts[0]"),
        (body_of(says("user", text("x" * 32_001))), "messages", ""),
        ({"id": "chat", "message": says("user", text(" "))}, "message", ""),
        ({"id": "chat", "message": says("user", FILE)}, "message", "message.parts[0]"),
        (body_of(*[says("user", text("x")), says("assistant", text("y"))] * 500, USER), "messages", ""),
    ],
)
def test_invalid_field_is_rejected_by_its_name_in_this_protocol(body: Any, field: str, place: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_chat(read_chat(body), SETTINGS)
    assert (caught.value.status, caught.value.members["field"]) == (422, field), caught.value.detail
    assert place in caught.value.detail
