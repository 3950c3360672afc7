"""The Anthropic client over real sockets: requests, failures, connections, and the official SDK beside it."""

import json
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, cast

import anthropic
import gevent
import pytest

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolUse, Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.anthropic.client import Anthropic
from millrace.worker.providers.anthropic.mapping import STOP_REASONS
from millrace.worker.providers.protocol import Delta, Details, Prompt, Started, Stopped, Tool
from millrace.worker.settings.catalog import ModelTraits
from millrace.worker.settings.schema import load
from tests.emulator.sdk import random_scripts, scripted
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import emulate, wait_until
from tests.worker.providers.http_server import HttpServer, chunked, hang, plain, serving

MakeClient = Callable[..., Anthropic]
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
KINDS = ("text", "thinking")
REASONS = [*STOP_REASONS, "a_new_reason"]


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    clients: list[Anthropic] = []

    def make(url: str, **settings: str) -> Anthropic:
        environment = {"MILLRACE_ANTHROPIC_BASE_URL": url, "MILLRACE_ANTHROPIC_API_KEY": "a-key", **settings}
        clients.append(Anthropic(load(environment), concurrency=10))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def prompt_of(content: str = "Why?", **more: Any) -> Prompt:
    return Prompt("claude", (PromptMessage("user", content),), 999, **more)


def text_of(deltas: list[Started | Delta]) -> str:
    return "".join(each.content for each in deltas if isinstance(each, Chunk))


def events_of(*events: dict[str, Any]) -> list[bytes]:
    return [b"event: %b\ndata: %b\n\n" % (each["type"].encode(), json.dumps(each).encode()) for each in events]


ANSWER = events_of(
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Yes."}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
)


def head_and_body(server: HttpServer, number: int = -1) -> tuple[list[str], dict[str, Any]]:
    head, _, body = server.requests[number].partition(b"\r\n\r\n")
    return head.decode().split("\r\n"), json.loads(body)


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_a_request_has_the_key_the_version_and_the_model(make_client: MakeClient, suffix: str) -> None:
    with serving(chunked(ANSWER)) as server:
        deltas = list(make_client(f"{server.url}/gateway{suffix}").stream(prompt_of()))
    assert text_of(deltas) == "Yes."
    lines, body = head_and_body(server)
    assert lines[0] == "POST /gateway/v1/messages HTTP/1.1"
    assert {"x-api-key: a-key", "anthropic-version: 2023-06-01", "Accept: text/event-stream, application/json"} <= {
        *lines
    }
    assert (body["model"], body["max_tokens"], body["stream"]) == ("claude", 999, True)


def test_connections_are_reused(make_client: MakeClient, emulator: EmulatorProcess) -> None:
    with serving(chunked(ANSWER)) as server:
        client = make_client(server.url)
        for _ in range(3):
            list(client.stream(prompt_of()))
        assert server.connections == 1


def test_the_sdk_and_this_client_read_the_same_of_random_answers(
    make_client: MakeClient, emulator: EmulatorProcess
) -> None:
    client = make_client(emulator.url)
    with anthropic.Anthropic(base_url=emulator.url, api_key="k", max_retries=0, timeout=30) as sdk:
        for keys in random_scripts(40, search=[True], finish_reason=REASONS, comments=[2]):
            messages = cast(Any, scripted(**keys))
            with sdk.messages.stream(model="claude", max_tokens=9999, messages=messages) as stream:
                expected = stream.get_final_message()
            deltas = list(client.stream(Prompt("claude", (PromptMessage("user", emulate(**keys)),), 9999)))
            blocks = {kind: [each for each in expected.content if each.type == kind] for kind in KINDS}
            assert text_of(deltas) == "".join(cast(Any, each).text for each in blocks["text"]), keys
            thoughts = "".join(each.content for each in deltas if isinstance(each, Reasoning))
            assert thoughts == "".join(cast(Any, each).thinking for each in blocks["thinking"])
            uses = [(each.id, each.name, each.input) for each in deltas if isinstance(each, ToolUse)]
            used = [cast(Any, each) for each in expected.content if each.type in ("tool_use", "server_tool_use")]
            assert uses == [(each.id, each.name, each.input) for each in used]
            cited = [each.title for each in deltas if isinstance(each, Citation)]
            assert cited == [one.title for each in blocks["text"] for one in cast(Any, each).citations or ()]
            assert [each.reason for each in deltas if isinstance(each, Stopped)] == [
                STOP_REASONS.get(expected.stop_reason or "", "other")
            ]
            (usage,) = [each for each in deltas if isinstance(each, Usage)]
            counted = expected.usage
            assert (usage.input_tokens, usage.output_tokens) == (counted.input_tokens, counted.output_tokens)
            assert usage.cache_read_tokens == counted.cache_read_input_tokens
            (details,) = [each.fields for each in deltas if isinstance(each, Details)]
            assert (details["id"], details["model"]) == (expected.id, expected.model)
            if keys.get("finish_reason") not in ("refusal", "model_context_window_exceeded"):  # these end in an error
                whole = client.answer(Prompt("claude", (PromptMessage("user", emulate(**keys)),), 9999))
                assert (whole.text, whole.usage) == (text_of(deltas), usage)


def test_every_rejection_has_its_code(make_client: MakeClient, emulator: EmulatorProcess) -> None:
    client = make_client(emulator.url)
    for fault, code, is_transient, seconds in (
        ({"status": 401}, "provider_authentication", False, None),
        ({"status": 403}, "provider_authentication", False, None),
        ({"status": 404}, "provider_rejected", False, None),
        ({"status": 413}, "context_too_long", False, None),
        ({"status": 429, "headers": {"Retry-After": "3"}}, "provider_throttled", True, 3.0),
        ({"status": 500}, "provider_unavailable", True, None),
        ({"status": 529}, "provider_unavailable", True, None),
        ({"status": 307, "headers": {"Location": "/v1/messages"}}, "provider_unavailable", False, None),
        ("html", "provider_unavailable", False, None),
        ("prompt_too_long", "context_too_long", False, None),
        ({"status": 429, "body": [5]}, "provider_throttled", True, None),
    ):
        for call in (lambda prompt: list(client.stream(prompt)), client.answer):
            with pytest.raises(ProviderError) as raised:
                call(prompt_of(emulate(text="No.", fault=fault)))
            error = raised.value
            assert (error.code, error.is_transient, error.retry_after) == (code, is_transient, seconds), fault
    with pytest.raises(ProviderError) as raised:
        list(client.stream(prompt_of(emulate(text="No.", fault="no_streaming"))))
    assert raised.value.refuses_streaming


def test_an_error_within_the_stream_keeps_the_text_before_it(
    make_client: MakeClient, emulator: EmulatorProcess
) -> None:
    client = make_client(emulator.url)
    for code in ("overloaded_error", "a_new_error"):
        fault = {"in_stream": True, "code": code}
        stream = client.stream(prompt_of(emulate(text="0123456789", tokens=10, fault=fault, at=5)))
        assert text_of(list(islice(stream, 6))) == "01234"
        with pytest.raises(ProviderError) as raised:
            next(stream)
        assert raised.value.code == "provider_unavailable"


def test_a_silent_model_is_a_timeout_and_its_connection_is_closed(make_client: MakeClient) -> None:
    def answer(connection: Any, _request: bytes) -> None:
        connection.sendall(chunked(ANSWER[:1], end=b""))
        hang(connection)

    with serving(answer) as server:
        stream = make_client(server.url, MILLRACE_READ_SECONDS="1").stream(prompt_of())
        with pytest.raises(ProviderError) as raised:
            list(stream)
        assert raised.value.code == "provider_timeout"
        wait_until(lambda: server.closed_at, "the close")


def test_closing_the_stream_closes_its_socket_at_once(make_client: MakeClient) -> None:
    def answer(connection: Any, _request: bytes) -> None:
        connection.sendall(chunked(ANSWER[:1], end=b""))
        hang(connection)

    with serving(answer) as server:
        stream = make_client(server.url).stream(prompt_of())
        assert isinstance(next(stream), Started)
        assert next(stream) == Chunk("Yes.")
        closed_at = time.monotonic()
        stream.close()
        wait_until(lambda: server.closed_at, "the close")
        assert server.closed_at[0] - closed_at < 10


def test_a_gateway_that_ignores_the_wish_for_a_stream_is_understood(make_client: MakeClient) -> None:
    message = {"content": [{"type": "text", "text": "Yes."}], "stop_reason": "end_turn", "usage": {"output_tokens": 2}}
    with serving(plain(200, json.dumps(message).encode())) as server:
        deltas = list(make_client(server.url).stream(prompt_of()))
    assert deltas == [Started("anthropic", "claude"), Chunk("Yes."), Stopped("end_turn"), Usage(0, 2)]


def test_a_model_that_refuses_a_feature_is_asked_without_it_from_then_on(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = {"type": "error", "error": {"type": "invalid_request_error", "message": "no such field"}}

    def answer(connection: Any, request: bytes) -> None:
        is_refused = b"tool_choice" in request or b"cache_control" in request
        message = {"content": [{"type": "text", "text": '{"title": "Mill"}'}], "stop_reason": "end_turn"}
        connection.sendall(plain(400 if is_refused else 200, json.dumps(refusal if is_refused else message).encode()))

    traits = ModelTraits(200_000, caching=True, schema=True)
    with serving(answer) as server:
        client = make_client(server.url)
        for _ in range(2):
            answered = client.answer(prompt_of(tool=Tool("name_it", "Names it.", SCHEMA), traits=traits))
            assert answered.tool_input == {"title": "Mill"}
            assert client.answer(prompt_of(system=("Be kind.",), traits=traits)).text == '{"title": "Mill"}'
    assert len(server.requests) == 6
    assert "output_config" in head_and_body(server, 1)[1]
    assert caplog.text.count("model_refuses_feature") == 2


def test_an_answer_that_is_held_to_a_schema_is_json_that_fits(
    make_client: MakeClient, emulator: EmulatorProcess
) -> None:
    client = make_client(emulator.url)
    for traits, field in (
        (ModelTraits(200_000, schema=True), "output_config"),
        (ModelTraits(200_000), "tool_choice"),
        (ModelTraits(200_000, tools=False), None),
    ):
        deltas = list(client.stream(prompt_of("What is a mill?", schema=SCHEMA, traits=traits)))
        assert json.loads(text_of(deltas)).keys() == {"title"}
        assert not any(isinstance(each, ToolUse) for each in deltas)
        assert [each.reason for each in deltas if isinstance(each, Stopped)] == ["end_turn"]
        assert {"output_config", "tool_choice"} & emulator.calls()[-1]["inference"].keys() == {field} - {None}


def test_one_client_serves_many_greenlets(make_client: MakeClient, emulator: EmulatorProcess) -> None:
    client, question = make_client(emulator.url), prompt_of(emulate(text="0123456789" * 20, tokens=50, rate=200))
    readers = [gevent.spawn(lambda: text_of(list(client.stream(question)))) for _ in range(20)]
    assert {reader.get(timeout=60) for reader in readers} == {"0123456789" * 20}
