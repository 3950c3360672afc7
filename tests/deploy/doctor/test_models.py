"""A refusal by a provider is explained, and its own words are shown."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, get_args

import pytest
from msgspec.structs import replace

from deploy.doctor.models import ADVICE, advice_for, ask_candidate, check_models
from millrace.worker.contract.events import Chunk, Usage
from millrace.worker.errors import ErrorCode, ProviderError
from millrace.worker.providers.protocol import Stopped
from millrace.worker.providers.stub import Stub
from millrace.worker.settings.catalog import UNKNOWN_MODEL, Candidate, Price
from millrace.worker.settings.schema import Settings
from tests.deploy.doctor.findings import all_ok
from tests.emulator_process import EmulatorProcess

CANDIDATE = Candidate("openai", "m", UNKNOWN_MODEL)


class Refusing(BaseHTTPRequestHandler):
    """A Bedrock and an Anthropic that do not know the credentials."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        is_bedrock = "/converse" in self.path
        words = "The security token included in the request is invalid." if is_bedrock else "invalid x-api-key"
        error = {"type": "authentication_error", "message": words}
        body = json.dumps({"message": words} if is_bedrock else {"type": "error", "error": error}).encode()
        self.send_response(403 if is_bedrock else 401)
        self.send_header("x-amzn-errortype", "UnrecognizedClientException")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
        """Log nothing."""


@contextmanager
def refusing_server() -> Generator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")


def test_model_that_answers_is_ok_with_its_times_tokens_and_price() -> None:
    stub = Stub([[Chunk("ok"), Stopped("end_turn"), Usage(7, 1)]])
    found = ask_candidate(stub, {"m": CANDIDATE}, Settings.of())
    assert (found.status, found.subject) == ("ok", "model openai/m")
    assert "first text after" in found.found
    assert found.found.endswith("7 + 1 tokens; no price known, so no cost")
    assert (stub.prompts[0].model, stub.prompts[0].max_tokens) == ("m", 16)
    priced = replace(CANDIDATE, price=Price(1, 2))
    assert ask_candidate(stub, {"m": priced}, Settings.of()).found.endswith("; price known")
    both = {"smart": priced, "openai/m": CANDIDATE}
    assert ask_candidate(stub, both, Settings.of()).found.endswith("; no price known as openai/m")
    listed = Settings.of(price_list="genai-prices")
    assert ask_candidate(stub, {"m": replace(CANDIDATE, id="gpt-4o")}, listed).found.endswith("; price known")


def test_answer_without_an_end_fails() -> None:
    found = ask_candidate(Stub([[Chunk("ok")]]), {"m": CANDIDATE}, Settings.of())
    assert (found.status, found.advice) == ("failed", ADVICE["truncated"])


def test_every_code_of_a_provider_has_advice_of_its_own() -> None:
    codes = [code for code in get_args(ErrorCode) if code.startswith("provider_") or code in ADVICE]
    assert len(codes) >= 8
    assert len({advice_for(code) for code in codes}) == len(codes)
    for code in codes:
        found = ask_candidate(Stub([[ProviderError(code, retryable=False)]]), {"m": CANDIDATE}, Settings.of())
        assert (found.status, found.found, found.advice) == ("failed", code, ADVICE[code])
    assert ask_candidate(None, {"m": CANDIDATE}, Settings.of()).status == "failed"


def test_rejected_credentials_fail_with_the_words_of_the_service() -> None:
    with refusing_server() as url:
        settings = Settings.of(
            providers=("bedrock", "anthropic"), bedrock_endpoint_url=url, anthropic_base_url=url,
            anthropic_api_key="wrong", anthropic_model="claude-haiku-4-5",
        )  # fmt: skip
        bedrock, anthropic = check_models(settings)
    assert bedrock.found.startswith("provider_authentication: ")
    assert "The security token included in the request is invalid." in bedrock.found
    assert "aws sts get-caller-identity" in bedrock.advice
    assert (anthropic.subject, anthropic.status) == ("model anthropic/claude-haiku-4-5", "failed")
    assert anthropic.found == "provider_authentication: 401 invalid x-api-key"


def test_model_that_does_not_stream_is_ok() -> None:
    refusal = ProviderError("provider_rejected", retryable=False, refuses_streaming=True)
    found = ask_candidate(Stub([[refusal]]), {"m": CANDIDATE}, Settings.of())
    assert (found.status, found.found) == ("ok", "it does not stream, so its answers come in one piece")


def test_every_model_of_the_settings_is_asked() -> None:
    with EmulatorProcess() as emulator:
        settings = Settings.of(
            bedrock_endpoint_url=emulator.url, model_id="amazon.one", allowed_models=("amazon.two",),
            small_model_id="amazon.three",
        )  # fmt: skip
        found = list(check_models(settings))
        assert all_ok(found).count("; answered on this machine") == 3
        assert [each.subject for each in found] == [f"model bedrock/amazon.{n}" for n in ("one", "two", "three")]
        assert sorted(call["model"] for call in emulator.calls()) == ["amazon.one", "amazon.three", "amazon.two"]
