"""Frames of a WebSocket, read by wsproto's client."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as some
from wsproto.connection import Connection, ConnectionType
from wsproto.events import Ping, TextMessage

from millrace.webapp.relay.frames import make_frame
from millrace.webapp.relay.websocket_frames import EVENTS, HEARTBEAT, closing, text_frame
from millrace.worker.contract.events import Chunk, ToolUse, encode
from millrace.worker.contract.ids import Cursor, new_id
from millrace.worker.contract.log import LogEntry


def decode(raw: bytes) -> list[object]:
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(raw)
    return list(client.events())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_text_of_any_size_is_one_whole_message(size: int) -> None:
    assert decode(text_frame(b"x" * size)) == [TextMessage("x" * size, frame_finished=True, message_finished=True)]


@given(some.lists(some.text(max_size=300)))
def test_texts_in_a_row_are_the_same_messages(texts: list[str]) -> None:
    raw = b"".join(text_frame(text.encode()) for text in texts)
    assert [event.data for event in decode(raw) if isinstance(event, TextMessage)] == texts


def test_heartbeat_is_a_message_and_a_ping() -> None:
    message, ping = decode(HEARTBEAT)
    assert isinstance(message, TextMessage)
    assert json.loads(message.data) == {"type": "ping"}
    assert ping == Ping(payload=b"")


def test_event_is_wrapped_unchanged_and_rendered_once_for_all_readers() -> None:
    generation = new_id()
    event = ToolUse("tool-1", "look", {"generation": "other", "id": 7})
    frames = [make_frame(LogEntry(Cursor(3, 4), encode(event))), make_frame(LogEntry(Cursor(3, 5), encode(Chunk("é"))))]
    named = EVENTS.of(generation.encode(), frames)
    assert EVENTS.of(generation.encode(), frames) is named
    first, second = (json.loads(e.data) for each in named for e in decode(each.payload) if isinstance(e, TextMessage))
    assert first == {"type": "event", "generation": generation, "id": "3-4", "event": json.loads(encode(event))}
    assert second["event"] == {"type": "chunk", "content": "é"}
    assert [each.cursor for each in named] == [Cursor(3, 4), Cursor(3, 5)]


def test_drained_socket_is_asked_to_come_back_at_a_random_time() -> None:
    hints = {json.loads(closing("drained")[1])["retry_ms"] for _ in range(50)}
    assert closing("drained")[0] == 1012
    assert len(hints) > 10
    assert all(500 <= hint <= 3000 for hint in hints)
    assert closing("revoked")[0] == 4401
