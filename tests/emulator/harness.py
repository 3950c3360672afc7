"""Clients of the local endpoint for its tests.

boto3        `converse_events`, `converse_until_error`, `invoke_events`: an operation and the events that it returns
raw HTTP     `connect`, `request_bytes`, `read_until_reset`, `stream_all`: sockets, to see the bytes and their timing
messages     `emulate`, `user_message`, `converse_body`, `anthropic_body`: the messages that a test sends

`stream_all` reads its sockets through one epoll, so that a thousand clients cost little CPU beside the endpoint.
"""

import json
import selectors
import socket
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import pytest
from botocore.eventstream import EventStreamBuffer

from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

MODEL = "us.anthropic.claude-sonnet-4-20250514-v1:0"
UNUSUAL_TEXT = "a\x00b\r\nc\u2028d\u2029 \U0001f600 שלום \ud800 e\u0301\ufffe"


def emulate(**keys: Any) -> str:
    """Return the message that scripts an answer."""
    return f"/emulate {json.dumps(keys)}"


def user_message(text: str) -> list[dict[str, Any]]:
    """Return Converse's `messages` with one message of the user."""
    return [{"role": "user", "content": [{"text": text}]}]


def converse_body(text: str) -> dict[str, Any]:
    """Return the body of a Converse operation with one message of the user."""
    return {"messages": user_message(text)}


def anthropic_body(text: str, **fields: Any) -> str:
    """Return the body of an InvokeModel operation with one message of the user."""
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 4096} | fields
    return json.dumps({"messages": [{"role": "user", "content": text}]} | body)


def converse_events(bedrock: "BedrockRuntimeClient", text: str, **fields: Any) -> list[dict[str, Any]]:
    """Return all events of a ConverseStream; raises boto3's errors."""
    fields = {"modelId": MODEL, "messages": user_message(text)} | fields
    stream = cast(Any, bedrock.converse_stream(**fields)["stream"])
    try:
        return [dict(event) for event in stream]
    finally:
        stream.close()


def converse_until_error(bedrock: "BedrockRuntimeClient", text: str) -> tuple[list[dict[str, Any]], Exception | None]:
    """Return the events of a ConverseStream up to its end or error, and the error."""
    stream = cast(Any, bedrock.converse_stream(modelId=MODEL, messages=cast(Any, user_message(text)))["stream"])
    events: list[dict[str, Any]] = []
    try:
        for event in stream:
            events.append(dict(event))  # noqa: PERF401 - the events before an error are needed too
    except Exception as error:  # noqa: BLE001 - the test checks which error it is
        return events, error
    finally:
        stream.close()
    return events, None


def invoke_events(bedrock: "BedrockRuntimeClient", body: str) -> list[dict[str, Any]]:
    """Return Anthropic's events of an InvokeModelWithResponseStream."""
    stream = cast(Any, bedrock.invoke_model_with_response_stream(modelId=MODEL, body=body)["body"])
    try:
        return [json.loads(event["chunk"]["bytes"]) for event in stream]
    finally:
        stream.close()


def text_of(events: list[dict[str, Any]]) -> str:
    """Return the text of a ConverseStream's events."""
    return "".join(text_deltas(events))


def text_deltas(events: list[dict[str, Any]]) -> list[str]:
    """Return the text deltas of a ConverseStream's events."""
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    return [delta["text"] for delta in deltas if "text" in delta]


def event_names(events: list[dict[str, Any]]) -> list[str]:
    """Return the names of a ConverseStream's events in order, with consecutive duplicates removed."""
    names = [next(iter(event)) for event in events]
    return [name for index, name in enumerate(names) if index == 0 or names[index - 1] != name]


def rejection(
    emulator: EmulatorProcess, path: str, body: bytes, method: str = "POST", signature: str = "x"
) -> tuple[int, str | None, str]:
    """Return the status, error type and message of a request that must be rejected."""
    headers = {"Authorization": signature} if signature else {}
    request = urllib.request.Request(emulator.url + path, body, headers, method=method)
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request, timeout=30):
        pass
    with caught.value as error:
        return error.code, error.headers["x-amzn-ErrorType"], json.load(error)["message"]


def request_bytes(verb: str, body: dict[str, Any], model: str = "a-model") -> bytes:
    """Return a complete HTTP request for an operation."""
    data = json.dumps(body).encode("ascii")
    head = f"POST /model/{model}/{verb} HTTP/1.1\r\nHost: x\r\nAuthorization: x\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode("ascii") + data


def connect(url: str, receive_buffer: int = 0) -> socket.socket:
    """Return a connection to the endpoint; a small receive buffer (bytes) makes a slow reader."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)  # has no effect after connect()
    client.settimeout(30)
    client.connect((parts.hostname, parts.port))
    return client


def stream_all(url: str, texts: list[str], seconds: float) -> list[bytes]:
    """Send each text as a ConverseStream, all at once, and return the responses' bytes; raises TimeoutError."""
    received: dict[socket.socket, bytearray] = {}
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for text in texts:
            client = connect(url)
            client.sendall(request_bytes("converse-stream", converse_body(text)))
            client.setblocking(False)
            received[client] = bytearray()
            selector.register(client, selectors.EVENT_READ)
        while selector.get_map():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(selector.get_map())} of {len(texts)} streams have not ended")
            for key, _ in selector.select(1):
                client = key.fileobj
                assert isinstance(client, socket.socket)
                data = client.recv(65536)
                received[client] += data
                if not data or received[client].endswith(b"\r\n0\r\n\r\n"):
                    selector.unregister(client)
                    client.close()
    return [bytes(data) for data in received.values()]


def read_until_reset(client: socket.socket) -> bytes:
    """Return all bytes before the peer's RST; fails if the connection ends in another way."""
    received = bytearray()
    try:
        while data := client.recv(65536):
            received += data
    except ConnectionResetError:
        return bytes(received)
    raise AssertionError("the connection was closed in order, without RST")


def read_until_silent(client: socket.socket, seconds: float) -> bytes:
    """Return all bytes before a silence of so many seconds; fails if the connection ends."""
    client.settimeout(seconds)
    received = bytearray()
    try:
        while data := client.recv(65536):
            received += data
    except TimeoutError:
        return bytes(received)
    raise AssertionError("the connection was closed")


def split_chunks(response: bytes) -> list[bytes]:
    """Return the HTTP chunks of a complete response; raises ValueError if its end is missing."""
    _, _, body = response.partition(b"\r\n\r\n")
    chunks: list[bytes] = []
    while True:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return chunks
        chunks.append(rest[:length])
        body = rest[length + 2 :]


def decode_messages(encoded: list[bytes]) -> list[tuple[dict[str, Any], bytes]]:
    """Return headers and payload of event-stream messages, decoded by botocore; raises its ParserError."""
    buffer = EventStreamBuffer()
    for message in encoded:
        buffer.add_data(message)
    return [(cast(Any, message.headers), message.payload) for message in buffer]


def cpu_seconds(emulator: EmulatorProcess) -> float:
    """Return the CPU time used by the endpoint, user and system; Linux only."""
    with open(f"/proc/{emulator.process.pid}/schedstat", encoding="ascii") as stat:
        return int(stat.read().split()[0]) / 1e9


def wait_until_paused(emulator: EmulatorProcess) -> int:
    """Wait until the only call has sent no delta for half a second, and return the number sent."""
    emulator.wait_for(lambda calls: calls != [] and calls[0]["deltas_sent"] > 0)
    last = since = 0.0

    def is_paused(calls: list[dict[str, Any]]) -> bool:
        nonlocal last, since
        if calls[0]["deltas_sent"] != last:
            last, since = calls[0]["deltas_sent"], time.monotonic()
        return time.monotonic() - since > 0.5

    return emulator.wait_for(is_paused, seconds=30)[0]["deltas_sent"]
