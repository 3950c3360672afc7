"""The terminal reader prints every event once, whatever the connection does; against a server on a real socket."""

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from deploy.errors import NoAnswer
from deploy.system.terminal_reader import TerminalReader, ask

EVENTS: list[dict[str, Any]] = [
    {"type": "status", "status": "queued", "generation": "g1"},
    {"type": "chunk", "content": "wör\u2028ds "},
    {"type": "chunk", "content": "\U0001f600"},
    {"type": "complete"},
    {"type": "done"},
]
Answer = tuple[int, bytes]


PREFACE = b": hello\nretry: 10\n\n"


def frames(events: list[dict[str, Any]], first: int = 1) -> bytes:
    """Return the SSE bytes of events, numbered from the first."""
    parts = [f"data: {json.dumps(event)}\nid: 7-{seq}\n\n" for seq, event in enumerate(events, first)]
    return PREFACE + "".join(parts).encode()


@dataclass
class Script:
    """The answers to send, one a request, and the received requests: (method, path, headers, body)."""

    answers: list[Answer] = field(default_factory=list[Answer])
    requests: list[tuple[str, str, dict[str, str], str]] = field(
        default_factory=list[tuple[str, str, dict[str, str], str]]
    )
    url: str = ""


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
            script.requests.append((self.command, self.path, dict(self.headers), body))
            status, content = script.answers.pop(0)
            if status:  # else the connection is closed without an answer
                self.send_response(status)
                self.send_header("Set-Cookie", "session=abc.def; HttpOnly; Path=/; SameSite=Lax")
                self.end_headers()
                self.wfile.write(content)

        do_POST = do_GET  # noqa: N815  # the base class names it

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # likewise
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield script
    server.shutdown()
    thread.join()
    server.server_close()


def run_ask(script: Script) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    return ask(script.url, "why?", out, err), out.getvalue(), err.getvalue()


def test_complete_answer_is_printed_and_the_exit_code_is_0(script: Script) -> None:
    script.answers = [(200, frames(EVENTS))]
    assert run_ask(script) == (0, "wör\u2028ds \U0001f600\n", "")
    method, path, headers, body = script.requests[0]
    assert (method, path, json.loads(body)) == ("POST", "/api/generations", {"message": "why?", "stream": True})
    assert headers["Idempotency-Key"]


def test_dropped_connection_is_resumed_with_cookie_and_cursor_wherever_it_is_cut(script: Script) -> None:
    for cut in (0, *range(len(PREFACE), len(frames(EVENTS)), 3)):
        before = frames(EVENTS)[:cut]
        seen = max(before.count(b"\n\n") - 1, 0)
        script.requests.clear()
        script.answers = [(200, before), (200, frames(EVENTS[seen:], seen + 1))]
        assert run_ask(script) == (0, "wör\u2028ds \U0001f600\n", ""), f"cut at byte {cut}"
        if len(script.requests) == 1:
            continue
        method, path, headers, _ = script.requests[1]
        assert headers["Cookie"] == "session=abc.def"
        if seen:
            assert (method, path) == ("GET", "/api/generations/g1/events"), f"cut at byte {cut}"
            assert headers["Last-Event-ID"] == f"7-{seen}", f"cut at byte {cut}"
        else:
            assert headers["Idempotency-Key"] == script.requests[0][2]["Idempotency-Key"], f"cut at byte {cut}"


def test_heartbeats_between_events_repeat_nothing(script: Script) -> None:
    script.answers = [
        (200, frames(EVENTS).replace(b"\n\n", b'\n\n: still here\n\nevent: ping\ndata: {"type":"ping"}\n\n'))
    ]
    assert run_ask(script)[1] == "wör\u2028ds \U0001f600\n"


def test_request_is_retried_while_the_server_is_briefly_unavailable(script: Script) -> None:
    script.answers = [(200, frames(EVENTS[:2])), (0, b""), (503, b"{}"), (200, frames(EVENTS[2:], 3))]
    assert run_ask(script)[0] == 0


def test_204_ends_the_answer(script: Script) -> None:
    script.answers = [(200, frames(EVENTS[:4])), (204, b"")]
    assert run_ask(script)[0] == 0


@pytest.mark.parametrize("outcome", [{"type": "error", "code": "truncated"}, {"type": "cancelled", "by": "user"}])
def test_outcome_that_is_not_complete_goes_to_stderr_and_the_exit_code_is_1(script: Script, outcome: Any) -> None:
    script.answers = [(200, frames([*EVENTS[:3], outcome, EVENTS[4]]))]
    code, out, err = run_ask(script)
    assert (code, out) == (1, "wör\u2028ds \U0001f600\n")
    assert json.dumps(outcome) in err


def test_rejected_question_prints_the_servers_detail_and_code(script: Script) -> None:
    problem = {"title": "Unprocessable", "detail": "message is empty", "code": "invalid", "status": 422}
    script.answers = [(422, json.dumps(problem).encode())]
    code, _, err = run_ask(script)
    assert code == 1
    assert "422: message is empty (invalid)" in err


def test_snapshot_continues_the_printed_text_or_prints_the_new_one_as_a_whole(script: Script) -> None:
    longer = {"type": "snapshot", "content": "wör\u2028ds and", "reason": "gap"}
    other = {"type": "snapshot", "content": "new", "reason": "takeover"}
    script.answers = [(200, frames([*EVENTS[:2], longer, other, *EVENTS[3:]]))]
    assert run_ask(script)[1] == "wör\u2028ds and\n--- again from the start ---\nnew\n"


def test_terminal_without_utf_8_gets_the_characters_that_it_can_show(script: Script) -> None:
    script.answers = [(200, frames([EVENTS[0], {"type": "chunk", "content": "ö\ud800\U0001f600"}, *EVENTS[3:]]))]
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    assert ask(script.url, "why?", terminal, io.StringIO()) == 0
    terminal.seek(0)
    assert terminal.read() == "ö??\n"


def test_control_characters_of_a_model_reach_a_file_and_no_terminal(script: Script) -> None:
    content = "a\x1b[2Jb\r\x9b1A\n\tc"
    for is_terminal, expected in ((False, content), (True, "a\ufffd[2Jb\ufffd\ufffd1A\n\tc")):
        script.answers = [(200, frames([EVENTS[0], {"type": "chunk", "content": content}, *EVENTS[3:]]))]
        out = io.StringIO(newline="")
        out.isatty = lambda is_terminal=is_terminal: is_terminal
        assert ask(script.url, "why?", out, io.StringIO()) == 0
        assert out.getvalue() == expected + "\n"


def test_reader_gives_up_on_a_server_that_stays_unavailable(script: Script) -> None:
    script.answers = [(0, b"")] * 200
    reader = TerminalReader(script.url, patience_seconds=0.2)
    reader._retry_seconds = 0.05
    with pytest.raises(NoAnswer, match="no connection"):
        list(reader.events("why?"))
