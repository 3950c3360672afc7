"""Reading responses of a real boto3 client over real sockets, compared with botocore's own reader."""

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

from millrace.worker.providers.bedrock.errors import map_error
from millrace.worker.providers.bedrock.event_stream import Event
from millrace.worker.providers.bedrock.wire import read_events
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import emulate

READ_SECONDS = 5
HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"

OpenStream = Callable[[str, str], Any]


@pytest.fixture
def open_stream() -> Iterator[OpenStream]:
    clients: dict[str, Any] = {}
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "us-east-1"}
    config = Config(retries={"total_max_attempts": 1}, read_timeout=READ_SECONDS)

    def open_question(url: str, question: str) -> Any:
        if url not in clients:
            clients[url] = Session(**keys).client("bedrock-runtime", endpoint_url=url, config=config)  # pyright: ignore[reportArgumentType]
        messages = [{"role": "user", "content": [{"text": question}]}]
        return clients[url].converse_stream(modelId="m", messages=messages)["stream"]

    yield open_question
    for client in clients.values():
        client.close()


def read_all(stream: Any, read: Callable[[Any], Iterator[Event]]) -> tuple[list[Event], object]:
    """Return all events without the latency, and the mapping of the error at the end, or None."""
    events: list[Event] = []
    try:
        with closing(stream):
            events.extend(read(stream))
    except Exception as error:  # noqa: BLE001 - its mapping is compared
        failure = map_error(error)
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
def test_events_and_errors_equal_those_of_botocore(
    open_stream: OpenStream, emulator: EmulatorProcess, script: dict[str, Any]
) -> None:
    question = emulate(**script)
    events, failure = read_all(open_stream(emulator.url, question), read_events)
    assert (events, failure) == read_all(open_stream(emulator.url, question), iter)
    assert len(events) > 1


def test_a_chunked_response_is_not_left_to_botocore(
    open_stream: OpenStream, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(EventStream, "__iter__")
    events, _ = read_all(open_stream(emulator.url, emulate(text="Yes.")), read_events)
    assert events


def test_a_connection_is_reused_after_a_complete_read_and_closed_after_an_incomplete_one(
    open_stream: OpenStream, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, connections = urllib3_connection.create_connection, 0

    def counted(*arguments: Any, **more: Any) -> socket.socket:
        nonlocal connections
        connections += 1
        return original(*arguments, **more)

    monkeypatch.setattr(urllib3_connection, "create_connection", counted)
    for _ in range(3):
        assert read_all(open_stream(emulator.url, emulate(tokens=5)), read_events)[1] is None
    assert connections == 1
    with closing(open_stream(emulator.url, emulate(tokens=5))) as stream:
        next(read_events(stream))
    assert read_all(open_stream(emulator.url, emulate(tokens=5)), read_events)[1] is None
    assert connections == 2, "the connection of the incomplete read is closed"


def test_the_socket_timeout_is_restored(open_stream: OpenStream, emulator: EmulatorProcess) -> None:
    stream = open_stream(emulator.url, emulate(tokens=5))
    sock = stream._raw_stream.connection.sock
    assert read_all(stream, read_events)[1] is None
    assert sock.gettimeout() == READ_SECONDS


def test_a_response_that_is_not_chunked_is_left_to_botocore(open_stream: OpenStream, answer_bytes: bytes) -> None:
    answer = f"{HEAD}Content-Length: {len(answer_bytes)}\r\n\r\n".encode() + answer_bytes
    events, failure = read_response(open_stream, answer)
    assert (len(events), failure) == (5, None)


@pytest.mark.parametrize("length", [0, 1, 40, 200])
def test_a_response_that_is_cut_off_is_a_failure(open_stream: OpenStream, answer_bytes: bytes, length: int) -> None:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(answer_bytes), answer_bytes)
    _, failure = read_response(open_stream, f"{HEAD}Transfer-Encoding: chunked\r\n\r\n".encode() + body[:length])
    assert failure == ("provider_unavailable", True, True)


def test_a_response_that_announces_the_end_of_its_connection_is_read(
    open_stream: OpenStream, answer_bytes: bytes
) -> None:
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(answer_bytes), answer_bytes)
    head = f"{HEAD}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    events, failure = read_response(open_stream, head + body)
    assert (len(events), failure) == (5, None)


@pytest.fixture
def answer_bytes(open_stream: OpenStream, emulator: EmulatorProcess) -> bytes:
    """Return the bytes of a whole answer as the endpoint sends them: five messages."""
    with closing(open_stream(emulator.url, emulate(text="Yes.", tokens=1))) as stream:
        return b"".join(stream._raw_stream.stream())


def read_response(open_stream: OpenStream, answer: bytes) -> tuple[list[Event], object]:
    """Return the events and failure from a server that sends these bytes and closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        serving = gevent.spawn(serve)
        result = read_all(open_stream(f"http://127.0.0.1:{server.getsockname()[1]}", "?"), read_events)
        serving.get(timeout=30)
        return result
