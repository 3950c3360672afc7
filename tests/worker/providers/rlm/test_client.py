"""The upstream service's provider over real sockets: whole answers, streams of both kinds, and answers of no use."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from millrace.worker.contract.events import Chunk, Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.protocol import Delta, Prompt, Started, Stopped, Tool
from millrace.worker.providers.rlm import client as rlm_client
from millrace.worker.providers.rlm.client import Rlm
from millrace.worker.settings.schema import load
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import emulate
from tests.worker.providers.http_server import chunked, hang, plain, serving

TEXT = "The weir is three metres high, and the mill stands beside it. " * 5
NDJSON = "application/x-ndjson"

MakeRlm = Callable[..., Rlm]


@pytest.fixture
def make_rlm() -> Iterator[MakeRlm]:
    made: list[Rlm] = []

    def make(url: str, query: str = "", **settings: object) -> Rlm:
        own = {"MILLRACE_RLM_URL": f"{url}/rlm{query}", "MILLRACE_READ_SECONDS": "2", "MILLRACE_RLM_CHUNK_MS": "0"}
        made.append(
            Rlm(load(own | {f"MILLRACE_RLM_{name.upper()}": str(value) for name, value in settings.items()}), 5)
        )
        return made[-1]

    yield make
    for each in made:
        each.close()


def prompt_of(text: str, **fields: Any) -> Prompt:
    return Prompt("rlm", (PromptMessage("user", text),), 9999, **fields)


def text_of(deltas: list[Started | Delta]) -> str:
    return "".join(delta.content for delta in deltas if isinstance(delta, Chunk))


def fail(call: Callable[[], object]) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        call()
    return raised.value


@pytest.mark.parametrize("query", ["", "?stream=sse", "?stream=ndjson"])
def test_stop_sequences_end_an_answer_of_any_form(emulator: EmulatorProcess, make_rlm: MakeRlm, query: str) -> None:
    for sequence, text in (("high, and", "The weir is three metres "), ("The weir", ""), ("never", TEXT)):
        rlm = make_rlm(emulator.url, query)
        prompt = prompt_of(emulate(text=TEXT), stop_sequences=(sequence,))
        reason = "end_turn" if text == TEXT else "stop_sequence"
        deltas = list(rlm.stream(prompt))
        assert (text_of(deltas), deltas[-1]) == (text, Stopped(reason))
        answer = rlm.answer(prompt)
        assert (answer.text, answer.reason) == (text, reason)


def test_a_schema_is_asked_for_in_words_behind_the_question(emulator: EmulatorProcess, make_rlm: MakeRlm) -> None:
    schema = {"type": "object", "properties": {"height": {"type": "number"}}, "required": ["height"]}
    answer = make_rlm(emulator.url).answer(prompt_of("How high is the weir?", schema=schema))
    assert json.loads(answer.text).keys() == {"height"}


def test_a_whole_answer_is_published_in_chunks_of_words_or_as_one(emulator: EmulatorProcess, make_rlm: MakeRlm) -> None:
    prompt = prompt_of(emulate(text=TEXT))
    deltas = list(make_rlm(emulator.url).stream(prompt))
    assert (deltas[0], deltas[-1]) == (Started("rlm", "rlm", "chunked"), Stopped("end_turn"))
    chunks = [delta.content for delta in deltas[1:-1] if isinstance(delta, Chunk)]
    assert "".join(chunks) == TEXT
    assert all(len(chunk) <= 25 and chunk.endswith(" ") for chunk in chunks)
    whole = list(make_rlm(emulator.url, mode="whole").stream(prompt))
    assert whole == [Started("rlm", "rlm", "whole"), Chunk(TEXT), Stopped("end_turn")]
    answer = make_rlm(emulator.url).answer(prompt)
    assert (answer.text, answer.usage) == (TEXT, Usage(exact=False))


@pytest.mark.parametrize("stream", ["sse", "ndjson"])
def test_a_stream_is_relayed_as_it_comes(emulator: EmulatorProcess, make_rlm: MakeRlm, stream: str) -> None:
    rlm = make_rlm(emulator.url)
    slow = prompt_of(emulate(text="abcdef", tokens=6, stream=stream, rate=20, comments=1))
    deltas = rlm.stream(slow)
    assert next(deltas) == Started("rlm", "rlm", "live")
    assert next(deltas) == Chunk("a")
    assert emulator.calls()[0]["ended"] is None, "the rest is still to come"
    assert list(deltas) == [*(Chunk(each) for each in "bcdef"), Stopped("end_turn")]
    assert rlm.answer(prompt_of(emulate(text=TEXT, stream=stream))).text == TEXT
    broken = prompt_of(emulate(text="abcdef", tokens=6, stream=stream, fault="disconnect", at=3))
    assert fail(lambda: list(rlm.stream(broken))).code == "provider_unavailable"


def test_chunks_keep_their_pace_without_holding_anything_up(
    emulator: EmulatorProcess, make_rlm: MakeRlm, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    sleep = gevent.sleep

    def record(seconds: float) -> None:
        pauses.append(seconds)
        sleep(0)

    monkeypatch.setattr(rlm_client.gevent, "sleep", record)
    turns: list[int] = []

    def take_turns() -> None:
        while not turns or turns[-1] < 100:
            turns.append(len(pauses))
            sleep(0)

    other = gevent.spawn(take_turns)
    for length in (1_000_000, len(TEXT)):
        pauses.clear()
        prompt = prompt_of(emulate(text=(TEXT * (length // len(TEXT) + 1))[:length], chars=100_000))
        assert len(text_of(list(make_rlm(emulator.url, chunk_ms=15).stream(prompt)))) == length
        assert sum(pauses) <= 1.1 * rlm_client.MAX_PACED_SECONDS
        assert len(pauses) <= 2 * rlm_client.MAX_CHUNKS
    assert {*pauses} == {0.015}
    other.get(timeout=30)
    assert len({*turns}) > 2, "another greenlet takes turns with the chunks"


def test_a_request_goes_to_the_url_alone_with_its_token(make_rlm: MakeRlm) -> None:
    with serving(plain(200, b'{"out": {"text": "a"}}')) as server:
        rlm = make_rlm(server.url, key="a-key", answer_field="out.text", message_field="q", history_field="off")
        assert text_of(list(rlm.stream(prompt_of("?", system=("Be brief.",), profile="Ada")))) == "a"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /rlm HTTP/1.1\r\n")
    assert b"Authorization: Bearer a-key" in head
    assert json.loads(body) == {"q": "?", "profile": "Ada", "system": "Be brief."}
    with serving(plain(307, b"", "text/plain", "Location: /elsewhere")) as server:
        error = fail(lambda: list(make_rlm(server.url).stream(prompt_of("?"))))
        assert (error.code, error.is_transient) == ("provider_unavailable", False)
        assert len(server.requests) == 1


def test_every_answer_of_no_use_is_an_error_with_which_the_next_provider_is_asked(make_rlm: MakeRlm) -> None:
    answers = {
        "provider_unavailable": [
            *(plain(503, b"away"), plain(500, b'{"error": "x"}'), plain(200, b"<html>", "text/html")),
        ],
        "provider_throttled": [plain(429, b"{}", "application/json", "Retry-After: 3")],
        "provider_authentication": [plain(401, b"{}")],
        "provider_rejected": [
            *(plain(422, b"{}"), plain(200, b"{"), plain(200, b'{"answer": 1}'), plain(200, b'{"answer": ""}')),
            *(plain(200, json.dumps({"answer": "x" * 2000}).encode()), chunked([b"data: {}\n\n"])),
            chunked([b'{"conte\n'], NDJSON),
        ],
        "context_too_long": [plain(413, b""), plain(400, b'{"error": "The input is too long."}')],
    }
    for code, bodies in answers.items():
        for body in bodies:
            with serving(body) as server:
                error = fail(lambda server=server: list(make_rlm(server.url, max_bytes=1024).stream(prompt_of("?"))))
                assert error.code == code, body
                assert len(server.requests) == 1


def test_a_service_that_is_silent_times_out_and_a_response_cut_off_is_no_whole_one(make_rlm: MakeRlm) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    piece = b'data: {"content": "a"}\n\n'
    found: list[list[Started | Delta] | str] = []
    for body in (head + piece, plain(200, b'{"answer": "abc"}')[:-3], chunked([piece], end=b"")):

        def cut(connection: Any, _request: bytes, body: bytes = body) -> None:
            connection.sendall(body)
            connection.close()

        with serving(cut) as server:
            try:
                found.append(list(make_rlm(server.url).stream(prompt_of("?"))))
            except ProviderError as error:
                found.append(error.code)
    # The end of a connection is no end of an answer.
    assert found == [[Started("rlm", "rlm", "live"), Chunk("a")], "provider_unavailable", "provider_unavailable"]
    with serving(lambda connection, _request: hang(connection)) as server:
        started_at = time.monotonic()
        assert fail(lambda: list(make_rlm(server.url).stream(prompt_of("?")))).code == "provider_timeout"
        assert time.monotonic() - started_at < 15


def test_a_tool_is_not_asked_for(emulator: EmulatorProcess, make_rlm: MakeRlm) -> None:
    error = fail(lambda: make_rlm(emulator.url).answer(prompt_of("?", tool=Tool("a", "b", {}))))
    assert (error.code, error.is_transient) == ("provider_rejected", False)
    assert emulator.calls() == []
