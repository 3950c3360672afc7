"""Tests of the bytes of `POST /rlm`: a whole answer, server-sent events, and JSON lines."""

import json
from typing import Any

import pytest

from tests.emulator.harness import UNUSUAL_TEXT, emulate
from tests.emulator.sdk import raw_request
from tests.emulator_process import EmulatorProcess

TYPES = {None: "application/json", "sse": "text/event-stream", "ndjson": "application/x-ndjson"}


def ask(emulator: EmulatorProcess, **keys: Any) -> tuple[int, dict[str, str], bytes]:
    """Return the response to a message that scripts its answer."""
    return raw_request(f"{emulator.url}/rlm", {"message": emulate(**keys), "history": [], "profile": {}})


def pieces(emulator: EmulatorProcess, stream: str, **keys: Any) -> list[Any]:
    """Return the decoded pieces of a stream; the mark of its end is the last one."""
    status, headers, data = ask(emulator, stream=stream, **keys)
    assert (status, headers["content-type"]) == (200, TYPES[stream])
    end = b"\n" if stream == "ndjson" else b"\n\n"
    lines = [line.removeprefix(b"data: ") for line in data.split(end)[:-1]]
    return [line.decode() if line in (b"[DONE]", b"", b": keep-alive") else json.loads(line) for line in lines]


def test_the_same_answer_comes_whole_or_in_pieces(emulator: EmulatorProcess) -> None:
    for deltas in ([], ["one"], ["a", "", "\n\n"], [UNUSUAL_TEXT, "\u2028\x85\x0b", 'data: "x"']):
        status, headers, data = ask(emulator, deltas=deltas)
        assert (status, headers["content-type"]) == (200, TYPES[None])
        assert json.loads(data) == {"answer": "".join(deltas)}
        given = [{"content": delta} for delta in deltas]
        assert pieces(emulator, "sse", deltas=deltas) == [*given, "[DONE]"]
        assert pieces(emulator, "ndjson", deltas=deltas) == [*given, {"done": True}]
    assert [call["ended"] for call in emulator.calls()] == ["finished"] * 12


@pytest.mark.parametrize("stream", ["sse", "ndjson"])
def test_a_stream_can_lack_its_end_or_hold_what_is_no_piece(emulator: EmulatorProcess, stream: str) -> None:
    two = [{"content": "abcd"}, {"content": "efgh"}]
    assert pieces(emulator, stream, text="abcdefgh", fault="no_end") == two
    assert pieces(emulator, stream, text="abcdefgh", fault="no_stop", at=1) == two[:1]
    failed = {"error": "The service failed while it answered."}
    assert pieces(emulator, stream, text="abcdefgh", fault="stream_error", at=1) == [two[0], failed]
    odd = {"in_stream": True, "body": {"event": "crash"}}
    assert pieces(emulator, stream, text="abcdefgh", fault=odd) == [{"event": "crash"}]
    given = [{"x": {"delta": "a"}}, {"x": [1]}]
    assert pieces(emulator, stream, events=given) == [{"delta": "a"}, [1]]
    assert len(pieces(emulator, stream, text="abcdefgh", comments=1)) == 3 + 3
    for fault, error in (("malformed_json", json.JSONDecodeError), ("corrupt", UnicodeDecodeError)):
        with pytest.raises(error):
            pieces(emulator, stream, text="abcdefgh", fault=fault, at=1)


def test_a_whole_answer_can_be_late_large_cut_or_of_any_shape(emulator: EmulatorProcess) -> None:
    ask(emulator, text="Late.", first_delay=0.2)
    (call,) = emulator.calls()
    assert call["sent_at"][0] - call["started"] >= 0.2
    assert len(json.loads(ask(emulator, tokens=50, chars=100_000)[2])["answer"]) == 5_000_000
    for response in ({"result": {"text": "x"}}, [], "text", None):
        assert json.loads(ask(emulator, response=response)[2]) == response
    for fault in ("corrupt", "no_stop", "malformed_json"):
        with pytest.raises(json.JSONDecodeError):
            json.loads(ask(emulator, text="cut in its middle", fault=fault)[2])
