"""The upstream service first, then Bedrock: whatever the service does, a reader gets an answer, and soon."""

import json
import time
from collections.abc import Iterator
from statistics import median
from typing import Any

import pytest

from millrace.worker.contract.breaker import Breaker
from millrace.worker.contract.events import Chunk
from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.bedrock.client import Bedrock
from millrace.worker.providers.protocol import Prompt
from millrace.worker.providers.question import Answering, Question, Retrying
from millrace.worker.providers.rlm.client import Rlm
from millrace.worker.providers.router import Router
from millrace.worker.settings.catalog import Candidate
from millrace.worker.settings.schema import Settings, load
from tests.emulator_process import EmulatorProcess
from tests.valkey import ValkeyProcess
from tests.worker.harness import emulate
from tests.worker.providers.http_server import HttpServer, chunked, hang, plain, serving

ANSWERS: dict[bytes, str] = {
    plain(503, b"away"): "provider_unavailable",
    plain(307, b"", "text/plain", "Location: /elsewhere"): "provider_unavailable",
    plain(200, b"<html>", "text/html"): "provider_unavailable",
    plain(200, b'{"answer": "abc"}')[:-3]: "provider_unavailable",
    plain(401, b"{}"): "provider_authentication",
    plain(200, b"{"): "provider_rejected",
    plain(200, json.dumps({"answer": "x" * 2000}).encode()): "provider_rejected",
    chunked([b"data: [DONE]\n\n"]): "provider_rejected",
    b"": "provider_timeout",
}
"""Responses of the service, each with the error code of the status `retrying` that precedes Bedrock's answer."""


def prompts(candidate: Candidate, _prefill: str) -> Iterator[Prompt]:
    yield Prompt(candidate.id, (PromptMessage("user", emulate(text="from Bedrock")),), 100, traits=candidate.traits)


class RouterHarness:
    """A router with both providers, or with Bedrock alone, on a real Redis."""

    def __init__(self, rlm_url: str, emulator: EmulatorProcess, valkey: ValkeyProcess, order: str, **more: str) -> None:
        environment = {
            "MILLRACE_REDIS_URL": valkey.url,
            "MILLRACE_PROVIDERS": order,
            "MILLRACE_RLM_URL": rlm_url,
            "MILLRACE_RLM_MAX_BYTES": "1024",
            "MILLRACE_BEDROCK_ENDPOINT_URL": emulator.url,
            "MILLRACE_START_SECONDS": "0.3",
        }
        self.settings: Settings = load(environment | more)
        self.providers = {"rlm": Rlm(self.settings, 5), "bedrock": Bedrock(self.settings, 5)}
        self.breaker = Breaker(self.settings)
        self.router = Router(self.settings, self.providers, self.breaker)

    def ask(self) -> tuple[str, str, list[str], float]:
        """Return the provider that answered, its text, the codes of those that failed, and the seconds to the text."""
        text, answering, codes = "", "", list[str]()
        started_at, first_at = time.monotonic(), 0.0
        for item in self.router.stream(Question(self.settings.candidates(self.settings.default_model), prompts)):
            if isinstance(item, Answering):
                answering = item.candidate.provider
            elif isinstance(item, Retrying):
                codes.append(item.code)
            elif isinstance(item, Chunk):
                first_at = first_at or time.monotonic()
                text += item.content
        return answering, text, codes, first_at - started_at

    def close(self) -> None:
        self.router.close()
        self.breaker.close()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")


def answering_badly(connection: Any, request: bytes) -> None:
    """Send the answer whose number stands in the path; for an empty one, nothing."""
    body = list(ANSWERS)[int(request.split(b" ")[1].rpartition(b"/")[2])]
    connection.sendall(body)
    if not body:
        hang(connection)
    connection.close()


def test_whatever_the_service_answers_bedrock_is_asked_next(emulator: EmulatorProcess, valkey: ValkeyProcess) -> None:
    with serving(answering_badly) as server:
        for number, code in enumerate(ANSWERS.values()):
            url = f"{server.url}/{number}"
            harness = RouterHarness(url, emulator, valkey, "rlm,bedrock", MILLRACE_BREAKER_FAILURES="0")
            assert harness.ask()[:3] == ("bedrock", "from Bedrock", [code])
            harness.close()
        assert len(server.requests) == len(ANSWERS), "each is asked once"


def test_a_service_that_fails_again_and_again_is_not_asked_and_costs_no_time(
    emulator: EmulatorProcess, valkey: ValkeyProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow_to_fail(connection: Any, _request: bytes) -> None:
        hang(connection)

    with serving(slow_to_fail) as server:
        both = RouterHarness(server.url, emulator, valkey, "rlm,bedrock", MILLRACE_BREAKER_FAILURES="3")
        alone = RouterHarness(server.url, emulator, valkey, "bedrock")
        until_open = [both.ask() for _ in range(3)]
        assert {each[:2] for each in until_open} == {("bedrock", "from Bedrock")}
        assert min(each[3] for each in until_open) >= 0.3, "the service has had its time to start"
        seen = asked_of(server)
        pairs = [(both.ask(), alone.ask()) for _ in range(15)]
        assert {each[:2] for pair in pairs for each in pair} == {("bedrock", "from Bedrock")}
        assert (seen, asked_of(server)) == (3, 3), "no call reaches the service while the breaker is open"
        with_rlm, without = (median(each[3] for each in asked) for asked in zip(*pairs, strict=True))
        with capsys.disabled():
            print(f"\nfirst text with an open breaker {with_rlm * 1000:.1f} ms, without rlm {without * 1000:.1f} ms")
        assert with_rlm < without + 0.2
        both.close()
        alone.close()


def asked_of(server: HttpServer) -> int:
    return len(server.requests)
