"""Reading a real answer of a real boto3 client, over real sockets, beside botocore's own way."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import gevent
import pytest
from boto3.session import Session
from botocore.config import Config
from botocore.eventstream import EventStream
from urllib3.util import connection as urllib3_connection

from millrace.worker.providers.bedrock.errors import failure_of
from millrace.worker.providers.bedrock.event_stream import Event
from millrace.worker.providers.bedrock.wire import read_events
from tests.emulator_process import EmulatorProcess
from tests.worker.desk import emulate

READ_SECONDS = 5
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"

Ask = Callable[[str, str], Any]


@pytest.fixture
def ask() -> Iterator[Ask]:
    clients: dict[str, Any] = {}
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
    config = Config(retries={"total_max_attempts": 1}, read_timeout=READ_SECONDS)

    def stream_of(url: str, question: str) -> Any:
        if url not in clients:
            clients[url] = Session(**keys).client("bedrock-runtime", endpoint_url=url, config=config)  # pyright: ignore[reportArgumentType]
        messages = [{"role": "user", "content": [{"text": question}]}]
        return clients[url].converse_stream(modelId="m", messages=messages)["stream"]

    yield stream_of
    for client in clients.values():
        client.close()


def told(stream: Any, read: Callable[[Any], Iterator[Event]]) -> tuple[list[Event], object]:
    """Return all events but for the milliseconds, and what the error at the end means, or None."""
    events: list[Event] = []
    try:
        with closing(stream):
            events.extend(read(stream))
    except Exception as error:  # noqa: BLE001 - its meaning is compared
        failure = failure_of(error)
        return events, failure and (failure.code, failure.retryable, failure.is_transient)
    for event in events:
        event.get("metadata", {}).pop("metrics", None)
    return events, None


@pytest.mark.parametrize(
    "script",
    [
        {"text": "Ein schöner Tag \U0001f31e, nicht?", "tokens": 9, "split_surrogates": True},
        {"tokens": 300, "chars": 7},
        {"text": "It is 4.", "reasoning": "2 + 2, so…", "tool": {"input": {"a": [1, "é"]}}},
        {"text": "x" * 200_000, "tokens": 1},
        {"text": "0123456789", "tokens": 10, "fault": "no_stop", "at": 4},
        {"text": "0123456789", "tokens": 10, "fault": "stream_error", "at": 4},
        {"text": "0123456789", "tokens": 10, "fault": "throttle", "at": 4},
        {"text": "0123456789", "tokens": 10, "fault": "corrupt", "at": 4},
        {"text": "0123456789", "tokens": 10, "fault": "disconnect", "at": 4},
    ],
)
def test_an_answer_is_read_as_botocore_reads_it(ask: Ask, emulator: EmulatorProcess, script: dict[str, Any]) -> None:
    question = emulate(**script)
    events, failure = told(ask(emulator.url, question), read_events)
    assert (events, failure) == told(ask(emulator.url, question), iter)
    assert len(events) > 1


def test_what_bedrock_sends_is_not_left_to_botocore(
    ask: Ask, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(EventStream, "__iter__")
    events, _ = told(ask(emulator.url, emulate(text="Yes.")), read_events)
    assert events


def test_the_connection_of_an_answer_that_was_read_to_its_end_serves_the_next(
    ask: Ask, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, made = urllib3_connection.create_connection, 0

    def counted(*arguments: Any, **more: Any) -> socket.socket:
        nonlocal made
        made += 1
        return real(*arguments, **more)

    monkeypatch.setattr(urllib3_connection, "create_connection", counted)
    for _ in range(3):
        assert told(ask(emulator.url, emulate(tokens=5)), read_events)[1] is None
    assert made == 1
    with closing(ask(emulator.url, emulate(tokens=5))) as stream:
        next(read_events(stream))
    assert told(ask(emulator.url, emulate(tokens=5)), read_events)[1] is None
    assert made == 2, "the one that was left in the middle is closed"


def test_the_socket_that_goes_back_waits_no_longer_than_before(ask: Ask, emulator: EmulatorProcess) -> None:
    stream = ask(emulator.url, emulate(tokens=5))
    sock = stream._raw_stream.connection.sock
    assert told(stream, read_events)[1] is None
    assert sock.gettimeout() == READ_SECONDS


def test_a_response_that_is_not_chunked_is_left_to_botocore(ask: Ask, frames_of_an_answer: bytes) -> None:
    answer = f"{HEAD}Content-Length: {len(frames_of_an_answer)}\r\n\r\n".encode() + frames_of_an_answer
    events, failure = answered_by(ask, answer)
    assert (len(events), failure) == (5, None)


@pytest.mark.parametrize("kept", [0, 1, 40, 200])
def test_a_response_that_breaks_off_is_no_end(ask: Ask, frames_of_an_answer: bytes, kept: int) -> None:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(frames_of_an_answer), frames_of_an_answer)
    _, failure = answered_by(ask, f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + body[:kept])
    assert failure == ("provider_unavailable", True, True)


@pytest.fixture
def frames_of_an_answer(ask: Ask, emulator: EmulatorProcess) -> bytes:
    """Return a whole answer's bytes as the endpoint sends them: five messages."""
    with closing(ask(emulator.url, emulate(text="Yes.", tokens=1))) as stream:
        return b"".join(stream._raw_stream.stream())


def answered_by(ask: Ask, answer: bytes) -> tuple[list[Event], object]:
    """Return what is read from a server that gives this very answer, and then closes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        serving = gevent.spawn(serve)
        found = told(ask(f"http://127.0.0.1:{server.getsockname()[1]}", "?"), read_events)
        serving.get(timeout=30)
        return found
