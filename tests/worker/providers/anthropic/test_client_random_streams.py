"""Streams that are framed well and hold anything: each ends in one outcome of the provider, with its text."""

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from millrace.worker.contract.transcript import fold
from millrace.worker.providers.anthropic.client import Anthropic
from millrace.worker.providers.router import Router
from millrace.worker.settings.schema import load
from tests.worker.conftest import MakeWorker
from tests.worker.providers.anthropic.random_events import STREAMS, TEXT_EVENTS, Event
from tests.worker.providers.http_server import chunked, serving
from tests.worker.providers.random_streams import check_outcome

SPLITS = st.lists(st.integers(1, 40), max_size=6)


def encode(name: str, event: Any) -> bytes:
    data = json.dumps(event).encode()
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data) if name else b"data: %b\r\n\r\n" % data


def split(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces: list[bytes] = []
    for size in sizes:
        pieces, data = [*pieces, data[:size]], data[size:]
    return [piece for piece in [*pieces, data] if piece]


def test_any_well_framed_stream_ends_in_one_outcome_of_the_provider_with_its_text(make_worker: MakeWorker) -> None:
    worker = make_worker([], tries=1)
    response = [b""]

    with serving(lambda connection, _request: connection.sendall(response[0])) as server:
        environment = {"MILLRACE_ANTHROPIC_BASE_URL": server.url, "MILLRACE_ANTHROPIC_API_KEY": "k"}
        client = Anthropic(load(environment), concurrency=1)
        worker.process.router = Router(worker.harness.settings, {"bedrock": client}, worker.process.breaker)

        @settings(max_examples=80, database=None)
        @given(STREAMS, SPLITS)
        @example([(*TEXT_EVENTS[0], "a"), ("error", {"type": "error", "error": []}, "")], [])
        @example([(*TEXT_EVENTS[0], "a"), ("", {"type": "content_block_delta", "delta": {}}, "")], [3])
        def check(stream: list[Event], sizes: list[int]) -> None:
            data = b"".join(encode(name, event) for name, event, _ in stream)
            response[0] = chunked(split(data, sizes))
            asked = len(server.requests)
            transcript = fold(worker.answer())
            assert len(server.requests) == asked + 1
            texts = [text for _, _, text in stream]
            check_outcome(transcript, texts)

        check()
        client.close()
