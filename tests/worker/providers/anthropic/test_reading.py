"""The end of a stream, and answers in one piece."""

from collections.abc import Generator
from typing import Any

import gevent
import pytest

from millrace.worker.contract.events import Chunk, ToolUse, Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.anthropic import reading
from millrace.worker.providers.anthropic.forms import Form
from millrace.worker.providers.anthropic.mapping import MessageMapper
from millrace.worker.providers.anthropic.reading import Event, parse_message, read_deltas, to_whole_answer
from millrace.worker.providers.protocol import Delta, Prompt, Stopped, Tool

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


@pytest.mark.parametrize("rest", [(30.0, STOP), (STOP, 30.0)])
def test_silence_behind_the_stop_reason_holds_the_answer_up_briefly(
    rest: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "REST_SECONDS", 0.1)
    with gevent.Timeout(5):
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


PLAIN = Prompt("m", (PromptMessage("user", "?"),), 9)
NAMING = Prompt("m", PLAIN.messages, 9, tool=Tool("name_it", "Names it.", {}))


@pytest.mark.parametrize(
    ("deltas", "prompt", "code"),
    [
        ([Chunk("a")], PLAIN, "truncated"),
        ([Chunk("a"), Stopped("refused")], PLAIN, "content_filtered"),
        ([Stopped("context_exceeded")], PLAIN, "context_too_long"),
        ([Chunk("{}"), Stopped("max_tokens")], NAMING, "truncated"),
        ([Chunk("{}"), Stopped("end_turn")], NAMING, "provider_rejected"),
        ([ToolUse("1", "other", {}), Stopped("tool_use")], NAMING, "provider_rejected"),
    ],
)
def test_an_answer_that_is_of_no_use_is_a_failure(deltas: list[Delta], prompt: Prompt, code: str) -> None:
    with pytest.raises(ProviderError) as raised:
        to_whole_answer(deltas, prompt, Form("tool"))
    assert raised.value.code == code


def test_the_input_of_a_tool_is_its_own_or_the_json_in_the_text() -> None:
    used: list[Delta] = [ToolUse("1", "name_it", {"title": "a"}), Stopped("tool_use")]
    assert to_whole_answer(used, NAMING, Form("tool")).tool_input == {"title": "a"}
    written: list[Delta] = [Chunk('Here: {"title"'), Chunk(': "a"}.'), Stopped("end_turn")]
    for form in (Form("format"), Form("instruction")):
        assert to_whole_answer(written, NAMING, form).tool_input == {"title": "a"}
    for text in ("no JSON", "[1]", '{"a": NaN}'):
        with pytest.raises(ProviderError):
            to_whole_answer([Chunk(text), Stopped("end_turn")], NAMING, Form("instruction"))


def test_a_whole_answer_has_its_text_and_usage() -> None:
    answer = to_whole_answer([Chunk("a"), Chunk("b"), Stopped("max_tokens"), Usage(1, 2)], PLAIN, Form())
    assert (answer.text, answer.tool_input, answer.usage) == ("ab", None, Usage(1, 2))
    assert not to_whole_answer([Stopped("end_turn")], PLAIN, Form()).usage.exact


def test_a_response_that_is_no_json_is_cut_off_and_one_that_is_no_object_is_rejected() -> None:
    for data, code in ((b'{"content": [', "truncated"), (b"[" * 100_000, "truncated"), (b"[]", "provider_rejected")):
        with pytest.raises(ProviderError) as raised:
            parse_message(data)
        assert raised.value.code == code
