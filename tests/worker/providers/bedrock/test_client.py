"""The Bedrock client over real sockets: its requests, its timeouts, its failures."""

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gevent
import pytest

from millrace.worker.contract.events import Chunk
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.interrupt import HandoverRequested, Interrupt
from millrace.worker.providers.bedrock.client import Bedrock
from millrace.worker.providers.protocol import Prompt, Tool
from millrace.worker.settings.catalog import ModelTraits
from millrace.worker.settings.schema import load
from tests.emulator_process import EmulatorProcess
from tests.valkey import free_port
from tests.worker.harness import emulate, wait_until

CACHING = ModelTraits(200_000, caching=True)
SCRIPTED = emulate(text="Yes.")

MakeClient = Callable[..., Bedrock]


@pytest.fixture
def make_client() -> Iterator[MakeClient]:
    clients: list[Bedrock] = []

    def build(url: str, read_seconds: float = 2) -> Bedrock:
        environment = {"MILLRACE_BEDROCK_ENDPOINT_URL": url, "MILLRACE_BEDROCK_READ_SECONDS": str(read_seconds)}
        clients.append(Bedrock(load(environment), concurrency=10))
        return clients[-1]

    yield build
    for client in clients:
        client.close()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")


def test_every_field_of_the_prompt_is_sent(make_client: MakeClient, emulator: EmulatorProcess) -> None:
    history = (PromptMessage("user", "One?"), PromptMessage("assistant", "Two."), PromptMessage("user", SCRIPTED))
    prompt = Prompt("some-model", history, 100, ("Be kind.", "Be brief."), 0.5, 0.9, ("STOP",))
    deltas = list(make_client(emulator.url).stream(prompt))
    assert "".join(each.content for each in deltas if isinstance(each, Chunk)) == "Yes."
    (call,) = emulator.calls()
    assert call["operation"] == "ConverseStream"
    assert call["model"] == "some-model"
    assert [message["role"] for message in call["messages"]] == ["user", "assistant", "user"]
    assert call["messages"][0]["content"] == [{"text": "One?"}]
    assert call["system"] == [{"text": "Be kind."}, {"text": "Be brief."}]
    assert call["inference"] == {"maxTokens": 100, "temperature": 0.5, "topP": 0.9, "stopSequences": ["STOP"]}


def test_a_silent_model_is_a_timeout_and_its_connection_is_closed(
    make_client: MakeClient, emulator: EmulatorProcess
) -> None:
    question = emulate(text="0123456789", tokens=10, fault="stall", at=5)
    with pytest.raises(ProviderError) as raised:
        list(make_client(emulator.url, 1).stream(Prompt("m", (PromptMessage("user", question),), 100)))
    assert raised.value.code == "provider_timeout"
    emulator.wait_for(lambda calls: calls[0]["ended"] == "closed_by_client")


def test_a_tool_input_with_an_infinite_number_is_rejected_and_retryable(
    make_client: MakeClient, emulator: EmulatorProcess
) -> None:
    question = '/emulate {"text": "No.", "tool": {"input": {"a": 1e999}}}'  # it arrives as Infinity
    with pytest.raises(ProviderError) as raised:
        list(make_client(emulator.url).stream(Prompt("m", (PromptMessage("user", question),), 100)))
    assert (raised.value.code, raised.value.retryable) == ("provider_rejected", True)


def test_a_refused_connection_is_transient(make_client: MakeClient) -> None:
    with pytest.raises(ProviderError) as raised:
        list(make_client(f"http://127.0.0.1:{free_port()}").stream(Prompt("m", (PromptMessage("user", "?"),), 9)))
    assert (raised.value.code, raised.value.is_transient) == ("provider_unavailable", True)


def test_botocore_never_repeats_a_request(make_client: MakeClient, emulator: EmulatorProcess) -> None:
    question = emulate(text="No.", fault="unavailable", at=0)
    with pytest.raises(ProviderError):
        list(make_client(emulator.url).stream(Prompt("m", (PromptMessage("user", question),), 100)))
    assert len(emulator.calls()) == 1


def test_an_interrupt_ends_a_call_whose_server_never_responds(make_client: MakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        bedrock = make_client(f"http://127.0.0.1:{silent.getsockname()[1]}", 60)
        interrupts: list[Interrupt] = []

        def read() -> str:
            interrupts.append(Interrupt())
            try:
                with interrupts[0].armed():
                    list(bedrock.stream(Prompt("m", (PromptMessage("user", "?"),), 10)))
            except HandoverRequested:
                return "struck"
            return "whole"

        reader = gevent.spawn(read)
        wait_until(lambda: interrupts, "the reader")
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(10)
            interrupts[0].trigger(HandoverRequested())
            assert reader.get(timeout=30) == "struck"
            connection.settimeout(30)
            while connection.recv(65536):  # the rest of the request, then the end of the connection
                pass


def fail(bedrock: Bedrock, question: str) -> tuple[str, bool, bool]:
    """Return the mapping of the failure of both operations, which must be the same."""
    prompt = Prompt("m", (PromptMessage("user", question),), 100)
    failures: list[ProviderError] = []
    for call in (lambda: list(bedrock.stream(prompt)), lambda: bedrock.answer(prompt)):
        with pytest.raises(ProviderError) as raised:
            call()
        failures.append(raised.value)
    (found,) = {(each.code, each.retryable, each.is_transient) for each in failures}
    return found


def test_an_error_whose_body_is_of_any_shape_is_known_by_its_status_and_code(
    make_client: MakeClient, emulator: EmulatorProcess
) -> None:
    bedrock = make_client(emulator.url)
    bodies: list[Any] = [None, [], 5, "a", {}, {"message": None}, {"message": {"a": 1}}, {"code": 5, "__type": 5}]
    for body in bodies:
        for status, expected in (
            (400, ("provider_rejected", False, False)),
            (403, ("provider_authentication", False, False)),
            (413, ("context_too_long", False, False)),
            (429, ("provider_throttled", True, True)),
            (503, ("provider_unavailable", True, True)),
        ):
            fault = {"status": status, "code": "", "body": body}
            assert fail(bedrock, emulate(fault=fault)) == expected, (status, body)
    gateway = {"error": {"message": "prompt is too long: 9 tokens > 8 maximum", "type": "invalid_request_error"}}
    assert fail(bedrock, emulate(fault={"body": gateway}))[0] == "context_too_long"


def test_an_exception_within_the_stream_whose_payload_is_of_any_shape_is_known_by_its_type(
    make_client: MakeClient, emulator: EmulatorProcess
) -> None:
    bedrock = make_client(emulator.url)
    for body in (None, [], 5, {}, {"message": None}, {"message": 5}):
        fault = {"code": "ThrottlingException", "in_stream": True, "body": body}
        with pytest.raises(ProviderError) as raised:
            list(bedrock.stream(Prompt("m", (PromptMessage("user", emulate(fault=fault)),), 100)))
        assert raised.value.code == "provider_throttled", body


def test_a_response_of_any_shape_is_a_whole_answer_or_a_failure(
    make_client: MakeClient, emulator: EmulatorProcess
) -> None:
    bedrock = make_client(emulator.url)
    content = [{"text": "a"}, {}, {"text": "b", "new": 1}, {"new": 1}]
    answer = bedrock.answer(question_with(response={"output": {"message": {"content": content}}, "usage": {}}))
    assert answer.text == "ab"
    for response in (None, [], 5, {}, {"output": []}, {"output": {"message": {"content": [5]}}}):
        with pytest.raises(ProviderError) as raised:
            bedrock.answer(question_with(response=response))
        assert raised.value.code in ("truncated", "provider_rejected"), response


def question_with(**script: Any) -> Prompt:
    return Prompt("m", (PromptMessage("user", emulate(**script)),), 100)


def test_a_model_that_refuses_cache_points_is_asked_once_more_without_them_and_never_with_them_again(
    make_client: MakeClient, emulator: EmulatorProcess, caplog: pytest.LogCaptureFixture
) -> None:
    bedrock = make_client(emulator.url)
    history = (PromptMessage("user", "One?"), PromptMessage("assistant", "Two."), PromptMessage("user", SCRIPTED))
    for model in ("anthropic.claude-sonnet-no-cache", "anthropic.claude-sonnet-x"):
        for _ in range(2):
            deltas = list(bedrock.stream(Prompt(model, history, 100, ("Be kind.",), traits=CACHING)))
            assert "".join(each.content for each in deltas if isinstance(each, Chunk)) == "Yes."
    has_cache_points = ["cachePoint" in json.dumps(call) for call in emulator.calls()]
    assert has_cache_points == [False, False, True, True]
    assert caplog.text.count("model_refuses_feature") == 1


def test_a_request_that_is_rejected_without_cache_points_too_keeps_them(
    make_client: MakeClient, emulator: EmulatorProcess
) -> None:
    bedrock = make_client(emulator.url)
    for fault, code, calls in (("validation", "provider_rejected", 2), ("prompt_too_long", "context_too_long", 1)):
        emulator.clear_calls()
        question = (PromptMessage("user", emulate(fault=fault)),)
        prompt = Prompt("anthropic.claude-sonnet-x", question, 100, ("Be kind.",), traits=CACHING)
        with pytest.raises(ProviderError) as raised:
            list(bedrock.stream(prompt))
        assert (raised.value.code, len(emulator.calls())) == (code, calls)
    list(bedrock.stream(replace(prompt, messages=(PromptMessage("user", SCRIPTED),))))
    assert "cachePoint" in json.dumps(emulator.calls()[-1])


def test_a_model_that_refuses_a_forced_tool_is_instructed_to_write_json_from_then_on(
    make_client: MakeClient, emulator: EmulatorProcess, caplog: pytest.LogCaptureFixture
) -> None:
    bedrock = make_client(emulator.url)
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    turn = (PromptMessage("user", "What is a mill?"), PromptMessage("assistant", "A machine."))
    tool = Tool("name_it", "Names it.", schema)
    for model in ("a-no-tool-choice-model", "a-no-tool-choice-model", "a-model"):
        prompt = Prompt(model, (*turn, PromptMessage("user", "Name it.")), 200, tool=tool)
        assert bedrock.answer(prompt).tool_input == {"title": "What is a mill"}
    assert caplog.text.count("model_refuses_feature") == 1
    assert [call["tool"] for call in emulator.calls()] == [None, None, "name_it"]
