"""The end of a stream, and answers in one piece."""

from collections.abc import Generator
from typing import Any

import gevent
import pytest

from millrace.worker.contract.events import Chunk, Usage
from millrace.worker.errors import ProviderError
from millrace.worker.providers import reading
from millrace.worker.providers.anthropic.mapping import MessageMapper
from millrace.worker.providers.protocol import Delta, Stopped
from millrace.worker.providers.reading import Event, parse_message, read_deltas

TEXT = ("", b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}')
ENDING = ("", b'{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":3}}')
STOP = ("", b'{"type":"message_stop"}')
ERROR = ("error", b'{"type":"error","error":{"type":"overloaded_error"}}')
WHOLE = [Chunk("a"), Stopped("end_turn"), Usage(0, 3)]


def play(*steps: Any, read: list[Event] | None = None) -> Generator[Event]:
    for step in steps:
        if isinstance(step, Exception):
            raise step
        if isinstance(step, float):
            gevent.sleep(step)
        else:
            if read is not None:
                read.append(step)
            yield step


def read_all(*steps: Any) -> list[Delta]:
    return list(read_deltas(play(*steps), MessageMapper(), (OSError,)))


@pytest.mark.parametrize(
    "rest", [(STOP,), (), (ConnectionResetError(),), (ERROR,), (("", b"no JSON"),), (STOP, ConnectionResetError())]
)
def test_an_answer_with_a_stop_reason_is_whole_whatever_follows(rest: tuple[Any, ...]) -> None:
    assert read_all(TEXT, ENDING, *rest) == WHOLE


@pytest.mark.parametrize("rest", [(100.0, STOP), (STOP, 100.0)])
def test_silence_behind_the_stop_reason_holds_the_answer_up_briefly(
    rest: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "REST_SECONDS", 0.1)
    with gevent.Timeout(30):
        assert read_all(TEXT, ENDING, *rest) == WHOLE


def test_the_response_is_read_to_its_end_so_that_its_connection_is_reused() -> None:
    read: list[Event] = []
    padding = [("", b"")] * 100
    assert list(read_deltas(play(TEXT, ENDING, STOP, *padding[:3], read=read), MessageMapper(), ())) == WHOLE
    assert len(read) == 6
    read.clear()
    list(read_deltas(play(TEXT, ENDING, STOP, *padding, read=read), MessageMapper(), ()))
    assert len(read) < 20


def test_an_error_before_the_stop_reason_is_raised() -> None:
    for step in (ConnectionResetError(), ERROR):
        with pytest.raises((ConnectionResetError, ProviderError)):
            read_all(TEXT, step, ENDING)
    assert read_all(TEXT) == [Chunk("a")]


def test_a_response_that_is_no_json_is_cut_off_and_one_that_is_no_object_is_rejected() -> None:
    for data, code in ((b'{"content": [', "truncated"), (b"[" * 100_000, "truncated"), (b"[]", "provider_rejected")):
        with pytest.raises(ProviderError) as raised:
            parse_message(data)
        assert raised.value.code == code
