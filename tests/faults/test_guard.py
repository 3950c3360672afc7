"""Rows 35, 36 and 41: requests over a limit, a limiter without its storage, and malformed or oversized requests."""

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.client import emulate, outcomes_of, text_of, wait_for
from tests.faults.rig import Rig
from tests.valkey import ValkeyProcess

AT_ONCE = 5
SOON_SECONDS = 10.0  # milliseconds, on a machine that has nothing else to do


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with Rig(tmp_path_factory.mktemp("guard"), max_active_per_user=AT_ONCE) as rig:
        yield rig


def refusal(answer: httpx.Response) -> tuple[int, str, str | None]:
    problem = answer.json()
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.status_code, problem["code"], problem.get("field")


def test_row_35_one_generation_over_the_limit_is_rejected_at_once_and_the_others_continue(rig: Rig) -> None:
    client, neighbour = rig.client(), rig.client()
    text = "One of several. " * 30
    running = [client.ask(emulate(text=text, tokens=60, rate=20)) for _ in range(AT_ONCE)]
    for fields in ({}, {"stream": True}, {"stream": False}):
        began = time.monotonic()
        answer = client.post({"message": emulate(text="One too many."), **fields})
        assert refusal(answer) == (429, "too_many_active", None)
        assert int(answer.headers["Retry-After"]) > 0
        assert time.monotonic() - began < SOON_SECONDS
    assert text_of(neighbour.whole(neighbour.ask(emulate(text="Mine.", rate=0)))) == "Mine."
    for generation in running:
        assert text_of(client.whole(generation)) == text
    assert text_of(client.whole(client.ask(emulate(text="Now there is room.", rate=0)))) == "Now there is room."
    assert not rig.calls(emulate(text="One too many."))


def test_row_36_without_the_limiter_storage_following_is_allowed_and_creating_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "limits").mkdir()
    rates: dict[str, Any] = dict.fromkeys(("rate_limit", "address_rate_limit", "follow_rate_limit"), "1000/minute")
    with (
        ValkeyProcess(tmp_path / "limits") as counting,
        Rig(tmp_path, rate_limit_redis_url=counting.url, **rates) as rig,
    ):
        client = rig.client()
        generation = client.ask(emulate(tokens=300, rate=50))
        reader = client.follow(generation)
        first = [next(reader) for _ in range(10)]
        counting.stop()
        refused = client.post({"message": emulate(text="Not now.")})
        assert refusal(refused) == (503, "limits_away", None)
        assert int(refused.headers["Retry-After"]) > 0
        began = time.monotonic()
        again = client.follow(generation, first[-1].cursor)
        next(again)
        assert time.monotonic() - began < SOON_SECONDS
        assert outcomes_of([*first, *again])[0]["type"] == "complete"
        assert outcomes_of(list(reader))[0]["type"] == "complete", "who followed already noticed nothing"
        assert client.snapshot(generation)["status"] == "completed"
        figures = client.http.get("/metrics").text
        assert re.search(r"^millrace_limiter_failures_total\S* [1-9]", figures, re.MULTILINE)
        assert "limiter_unavailable" in rig.webs[0].log.read_text()
        counting.start()
        wait_for(lambda: client.post({"message": emulate(text="Back.")}).status_code == 202, 30, "asking again")
        assert not rig.calls(emulate(text="Not now."))


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


MILLION = "a" * 1_000_000
TURN = {"role": "user", "content": "a"}
BAD: dict[str, tuple[str, int, str, str | None]] = {
    "a million characters": (json.dumps({"message": MILLION}), 422, "invalid_field", "message"),
    "two million": (json.dumps({"message": 2 * MILLION}), 413, "too_large", None),
    "a million emoji": (json.dumps({"message": "\U0001f600" * 80_000}), 422, "invalid_field", "message"),
    "10,000 messages": (json.dumps({"messages": [TURN] * 10_000}), 422, "invalid_field", "messages"),
    "a million in one of the messages": (
        json.dumps({"messages": [{**TURN, "content": MILLION}]}),
        *(422, "invalid_field", "messages"),
    ),
    "deeply nested": (deep(100_000), 400, "malformed", None),
    "deeply nested in a field": (f'{{"metadata": {deep(100_000)}}}', 400, "malformed", None),
    "nested in a field": (f'{{"metadata": {deep(300)}}}', 422, "invalid_field", "metadata"),
    "100,000 unknown fields": (
        json.dumps({f"field{number}": 1 for number in range(40_000)}),
        *(422, "invalid_field", "field0"),
    ),
    "a very long number": ('{"max_tokens": ' + "9" * 100_000 + "}", 400, "malformed", None),
    "a very large number": ('{"temperature": 1e999}', 400, "malformed", None),
    "not a number": ('{"temperature": NaN}', 400, "malformed", None),
    "a wrong type": ('{"message": ["a"]}', 422, "invalid_field", "message"),
    "a wrong type within": ('{"messages": [{"role": "user", "content": 1}]}', 422, "invalid_field", "messages"),
    "no object": ("[]", 400, "malformed", None),
    "nothing": ("", 400, "malformed", None),
    "half an object": ('{"message": "a', 400, "malformed", None),
}


@pytest.mark.parametrize(("body", "status", "code", "field"), BAD.values(), ids=BAD)
def test_row_41_a_field_that_is_too_large_too_deep_or_wrong_is_named_in_a_fast_4xx(
    rig: Rig, body: str, status: int, code: str, field: str | None
) -> None:
    client = rig.client()
    began = time.monotonic()
    answer = client.http.post("/api/generations", content=body, headers={"Content-Type": "application/json"})
    assert time.monotonic() - began < SOON_SECONDS
    assert refusal(answer) == (status, code, field)
    assert len(answer.content) < 2000, "what was sent is not sent back"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "", "a/b/c"])
def test_row_41_a_body_without_the_json_content_type_is_rejected(rig: Rig, kind: str) -> None:
    answer = rig.client().http.post("/api/generations", content=b'{"message": "a"}', headers={"Content-Type": kind})
    assert refusal(answer) == (415, "unsupported_media_type", None)


@pytest.mark.parametrize(
    "body",
    [b'{"message": "\xff"}', b'\xef\xbb\xbf\xff{"message": "a"}', '{"message": "a"}'.encode("utf-16")],
    ids=range(3),
)
def test_row_41_a_body_that_is_not_utf_8_is_rejected(rig: Rig, body: bytes) -> None:
    answer = rig.client().http.post("/api/generations", content=body, headers={"Content-Type": "application/json"})
    assert refusal(answer) == (400, "malformed", None)


def test_row_41_a_body_without_a_length_is_read_only_up_to_the_limit(rig: Rig) -> None:
    parts = urlsplit(rig.urls[0])
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as sock:
        head = "POST /api/generations HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
        sock.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(1025):  # a KB more than it takes, and no end
            sock.sendall(b"400\r\n%b\r\n" % (b"a" * 1024))
        assert b" 413 " in sock.recv(65536).split(b"\r\n")[0]
