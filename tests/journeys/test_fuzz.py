"""Thousands of malformed requests over real sockets: no response is a 5xx, and none is missing."""

import json
import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.client import emulate
from tests.faults.rig import Rig

REQUESTS = 4000
AT_ONCE = 8
ANSWER_SECONDS = 20

ODD_TEXTS = ["", " ", "\x00", "\ud800", "\u2028", "a\r\nb", "'; DROP TABLE x", "../../etc/passwd", "\U0001f600" * 50]
ODD_NUMBERS = [0, -1, 1e308, 2**63, 10**400, -0.0, 0.1]
FIELDS = [
    *("message", "messages", "conversation_id", "system", "model", "max_tokens", "temperature", "top_p"),
    *("stop_sequences", "search", "on_disconnect", "stream", "metadata", "history", "session_id", "unknown", ""),
]
PATHS = [
    *("/", "/healthz", "/metrics", "/api/openapi.json", "/api/generations", "/api/generations/", "/api/chat"),
    *("/api/conversation/me", "/api/conversation-stream/me", "/api/conversation/someone", "/static/page.js"),
    *("/api/generations/x", f"/api/generations/{'0' * 32}", f"/api/generations/{'0' * 32}/events"),
    *(f"/api/generations/{'0' * 32}/cancel", "/api/events?follow=x", "/api/events?feed=1", "/api/events"),
    *("/api/conversations", f"/api/conversations/{'0' * 32}", f"/api/conversations/{'0' * 32}/messages"),
    *(
        "/api/profile",
        "/api/memories",
        "/static/../webapp/settings.py",
        "/static/%2e%2e/%2e%2e/README.md",
        "//",
        "/%00",
        "/%ff%fe",
    ),
    *("*", "http://h/", "/api/generations?after=x", "/" + "a" * 10_000, "/api/generations/\u00e9", "/?" + "a=b&" * 500),
]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW", "get", "POST"]
HEADERS = [
    *("Cookie", "Origin", "Sec-Fetch-Site", "Accept", "Authorization", "Idempotency-Key", "Last-Event-ID"),
    *("X-Request-Id", "X-Forwarded-For", "X-Forwarded-Proto", "Content-Type", "Content-Encoding", "If-None-Match"),
    *("Range", "Expect", "Upgrade", "Connection", "Access-Control-Request-Method", "X-Odd", "Accept-Language"),
]
VALUES = [
    *("", "x", "text/event-stream", "application/json", "millrace=x.y.z", "https://evil.example", "null", "cross-site"),
    *("Bearer x", "1-5", "0-0", "99999999999-1", "9999999999-9999999999", "100-continue", "websocket", "close", "POST"),
    *(
        "bytes=0-1",
        "*/*;q=nan",
        "a" * 9000,
        "\xff\xfe",
        "millrace=" + "." * 3000,
        "1, 2",
        "text/html;q=",
        "gzip",
        "::1",
    ),
]


class Writer:
    """Makes requests up, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def request(self) -> bytes:
        """Return the bytes of one."""
        pick = self.random
        body = self.body()
        lines = [f"{pick.choice(METHODS)} {self.path()} HTTP/1.1", "Host: h"]
        if pick.random() < 0.8:
            lines.append("Content-Type: application/json")
        lines += [f"{pick.choice(HEADERS)}: {pick.choice(VALUES)}" for _ in range(pick.randint(0, 4))]
        length = len(body) if pick.random() < 0.95 else pick.choice([0, -1, "x", len(body) + 5, 10**20])
        if pick.random() < 0.03:
            lines.append("Transfer-Encoding: chunked")
        elif body or pick.random() < 0.5:
            lines.append(f"Content-Length: {length}")
        return "\r\n".join(lines).encode("utf-8", "replace") + b"\r\n\r\n" + body

    def path(self) -> str:
        """Return an address, most often of a route that takes a body."""
        return self.random.choice(PATHS if self.random.random() < 0.5 else PATHS[4:10])

    def body(self) -> bytes:
        """Return a body: nothing, JSON of odd values, JSON that is torn, or no JSON at all."""
        kind = self.random.random()
        if kind < 0.1:
            return b""
        if kind < 0.2:
            return self.random.randbytes(self.random.randint(1, 400))
        fields = {self.random.choice(FIELDS): self.value(0) for _ in range(self.random.randint(0, 4))}
        if kind < 0.5:
            fields = {"message": emulate(text="Fuzz.", rate=0), **(fields if kind < 0.4 else {})}
        text = json.dumps(fields if kind < 0.95 else self.value(0)).encode()
        if kind > 0.8:
            at = self.random.randrange(len(text))
            text = text[:at] + self.random.randbytes(self.random.randint(0, 3)) + text[at + self.random.randint(0, 3) :]
        return text

    def value(self, depth: int) -> Any:
        """Return a value that JSON can hold, and that hardly any field takes."""
        pick = self.random
        leaves: list[Any] = [None, True, False, *ODD_TEXTS, *ODD_NUMBERS, pick.choice(FIELDS), float("nan"), "auto"]
        if depth > 4 or pick.random() < 0.6:
            return pick.choice(leaves)
        if pick.random() < 0.5:
            return [self.value(depth + 1) for _ in range(pick.randint(0, 3))]
        names = [*FIELDS, "role", "content", *ODD_TEXTS]
        return {pick.choice(names): self.value(depth + 1) for _ in range(pick.randint(0, 3))}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("fuzz"), wait_seconds=1, queue_seconds=5) as rig:
        yield rig


def exchange(host: str, port: int, request: bytes) -> int | None:
    """Send a request and return its answer's status; None where the connection was closed without one."""
    answer = b""
    with socket.create_connection((host, port), timeout=ANSWER_SECONDS) as sock:
        try:
            sock.sendall(request)
            with suppress(OSError):  # the web may have refused and gone already
                sock.shutdown(socket.SHUT_WR)
            while b"\r\n" not in answer and (part := sock.recv(4096)):
                answer += part
        except ConnectionError:
            return None
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.1 ") else None


@pytest.mark.parametrize("seed", range(AT_ONCE // 4))
def test_no_request_gets_a_5xx_or_no_response(rig: Rig, seed: int) -> None:
    parts = urlsplit(rig.urls[0])
    host, port = str(parts.hostname), int(parts.port or 0)
    writer = Writer(seed)
    requests = [writer.request() for _ in range(REQUESTS // 2)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        statuses = list(pool.map(lambda request: exchange(host, port, request), requests))
    failed = [request[:600] for request, status in zip(requests, statuses, strict=True) if (status or 0) >= 500]
    assert not failed
    counts = {status: statuses.count(status) for status in set(statuses)}
    assert counts.get(None, 0) < REQUESTS / 20, counts
    assert {200, 202, 400, 404, 405, 415, 422} <= set(counts), "it reaches everything"
    assert httpx.get(f"{rig.urls[0]}/readyz", timeout=30, trust_env=False, verify=False).status_code == 200
    assert all(child.is_alive for child in (*rig.webs, *rig.workers))
    assert "Traceback" not in rig.webs[0].log.read_text()


def test_a_client_that_sends_half_a_request_delays_no_other_client(rig: Rig) -> None:
    parts = urlsplit(rig.urls[0])
    halves = [b"", b"P", b"POST /api/generations HTTP/1.1\r\nHost: h\r\n", b"GET /healthz HTTP/1.1\r\nHost: h"]
    body = (
        b"POST /api/generations HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    waiting = [socket.create_connection((parts.hostname, parts.port)) for _ in range(100)]
    try:
        for number, sock in enumerate(waiting):
            sock.sendall([*halves, body][number % 5])
        assert httpx.get(f"{rig.urls[0]}/healthz", timeout=30, trust_env=False, verify=False).status_code == 200
        client = rig.client()
        assert client.whole(client.ask(emulate(text="Nevertheless.", rate=0)))
    finally:
        for sock in waiting:
            sock.close()


def test_the_frame_writer_reproduces_its_input(tmp_path: Path) -> None:
    assert [Writer(1).request() for _ in range(50)][-1] == [Writer(1).request() for _ in range(50)][-1]
    assert len({request for writer in [Writer(2)] for request in (writer.request() for _ in range(200))}) > 150
