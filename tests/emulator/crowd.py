"""Many callers at once, on one epoll: cheap enough that the endpoint is the one that is measured."""

import json
import selectors
import socket
import time
from typing import Any, cast
from urllib.parse import urlsplit

from botocore.eventstream import EventStreamBuffer

from tests.emulator_process import EmulatorProcess


def request_bytes(verb: str, body: dict[str, Any], model: str = "a-model") -> bytes:
    """Return a whole HTTP request of an operation's, signed by nobody."""
    data = json.dumps(body).encode("ascii")
    head = f"POST /model/{model}/{verb} HTTP/1.1\r\nHost: x\r\nAuthorization: x\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode("ascii") + data


def asking(text: str) -> dict[str, Any]:
    """Return the body of a Converse operation with one question."""
    return {"messages": [{"role": "user", "content": [{"text": text}]}]}


def connect(url: str, receive_buffer: int = 0) -> socket.socket:
    """Return a connection to the endpoint; a small receive buffer (bytes) makes a reader that takes little at once."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    caller = socket.socket()
    if receive_buffer:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)  # before connecting, or it is too late
    caller.settimeout(10)
    caller.connect((parts.hostname, parts.port))
    return caller


def stream_together(url: str, texts: list[str], seconds: float) -> list[bytes]:
    """Ask all of the questions at once and return each response's bytes; raises TimeoutError."""
    received: dict[socket.socket, bytearray] = {}
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for text in texts:
            caller = connect(url)
            caller.sendall(request_bytes("converse-stream", asking(text)))
            caller.setblocking(False)
            received[caller] = bytearray()
            selector.register(caller, selectors.EVENT_READ)
        while selector.get_map():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(selector.get_map())} of {len(texts)} streams have not ended")
            for key, _ in selector.select(1):
                caller = key.fileobj
                assert isinstance(caller, socket.socket)
                data = caller.recv(65536)
                received[caller] += data
                if not data or received[caller].endswith(b"\r\n0\r\n\r\n"):
                    selector.unregister(caller)
                    caller.close()
    return [bytes(data) for data in received.values()]


def read_until_reset(caller: socket.socket) -> bytes:
    """Return what comes before the peer's RST; fails where the connection ends in another way."""
    received = bytearray()
    try:
        while data := caller.recv(65536):
            received += data
    except ConnectionResetError:
        return bytes(received)
    raise AssertionError("the connection was closed in order")


def read_until_silent(caller: socket.socket, seconds: float) -> bytes:
    """Return what comes before so many seconds of silence; fails where the connection ends."""
    caller.settimeout(seconds)
    received = bytearray()
    try:
        while data := caller.recv(65536):
            received += data
    except TimeoutError:
        return bytes(received)
    raise AssertionError("the connection was closed")


def chunks(response: bytes) -> list[bytes]:
    """Return the HTTP chunks of a whole response; raises ValueError where its end is missing."""
    _, _, body = response.partition(b"\r\n\r\n")
    found: list[bytes] = []
    while True:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return found
        found.append(rest[:length])
        body = rest[length + 2 :]


def events(frames: list[bytes]) -> list[tuple[dict[str, Any], bytes]]:
    """Decode event-stream messages by botocore: headers and payload of each; raises its ParserErrors."""
    buffer = EventStreamBuffer()
    for frame in frames:
        buffer.add_data(frame)
    return [(cast(Any, message.headers), message.payload) for message in buffer]


def cpu_seconds(emulator: EmulatorProcess) -> float:
    """Return the processor time that the endpoint has used, user and system; Linux."""
    with open(f"/proc/{emulator.process.pid}/schedstat", encoding="ascii") as stat:
        return int(stat.read().split()[0]) / 1e9
