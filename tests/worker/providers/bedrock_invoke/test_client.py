"""Bedrock's InvokeModel through boto3: requests, chunks of any form, whole answers, refused features."""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millrace.worker.contract.events import Chunk, Reasoning, ToolUse, Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.anthropic.client import Anthropic
from millrace.worker.providers.bedrock_invoke.client import BedrockInvoke
from millrace.worker.providers.protocol import Delta, Details, Prompt, Started, Stopped, Tool
from millrace.worker.settings.catalog import ModelTraits
from millrace.worker.settings.schema import load
from tests.emulator.sdk import random_scripts
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import emulate

SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}

MakeClient = Callable[[str], BedrockInvoke]


@pytest.fixture
def make_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeClient]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    clients: list[BedrockInvoke] = []

    def build(url: str) -> BedrockInvoke:
        clients.append(BedrockInvoke(load({"MILLRACE_BEDROCK_ENDPOINT_URL": url}), concurrency=10))
        return clients[-1]

    yield build
    for client in clients:
        client.close()


def prompt_of(content: str, **more: Any) -> Prompt:
    return Prompt("claude", (PromptMessage("user", content),), 9999, **more)


def chunk_of(event: Any) -> dict[str, Any]:
    return {"chunk": {"bytes": b64encode(json.dumps(event).encode()).decode()}}


TEXT = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Yes."}}
ENDING = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}


def text_of(deltas: list[Started | Delta]) -> str:
    return "".join(each.content for each in deltas if isinstance(each, Chunk))


def test_a_request_has_the_version_and_no_member_that_bedrock_takes_elsewhere(
    make_client: MakeClient, emulator: EmulatorProcess
) -> None:
    deltas = list(make_client(emulator.url).stream(prompt_of(emulate(text="Yes."), system=("Be kind.",))))
    assert text_of(deltas) == "Yes."
    (call,) = emulator.calls()
    assert (call["operation"], call["model"]) == ("InvokeModelWithResponseStream", "claude")
    assert call["system"] == [{"type": "text", "text": "Be kind."}]
    assert call["inference"] == {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9999}


def test_random_answers_are_the_same_as_from_the_messages_api(
    make_client: MakeClient, emulator: EmulatorProcess
) -> None:
    client = make_client(emulator.url)
    direct = Anthropic(load({"MILLRACE_ANTHROPIC_BASE_URL": emulator.url, "MILLRACE_ANTHROPIC_API_KEY": "k"}), 10)
    kinds = (Chunk, Reasoning, ToolUse, Stopped, Usage)
    for keys in random_scripts(20, search=[True], finish_reason=["pause_turn", "max_tokens"]):
        prompt = prompt_of(emulate(**keys))
        deltas, expected = (
            [each for each in provider.stream(prompt) if isinstance(each, kinds)] for provider in (client, direct)
        )
        for each in (deltas, expected):
            usage = each.pop()
            assert isinstance(usage, Usage)
            assert usage.input_tokens == keys.get("usage", {}).get("inputTokens", usage.input_tokens)
        assert deltas == expected, keys
        assert client.answer(prompt).text == text_of([*deltas])
    direct.close()


def test_bedrocks_metrics_are_details_and_fill_the_usage(make_client: MakeClient, emulator: EmulatorProcess) -> None:
    metrics = {"inputTokenCount": 7, "outputTokenCount": 2, "invocationLatency": 50, "firstByteLatency": 20}
    stop = {"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics}
    question = emulate(events=[chunk_of(event) for event in (TEXT, ENDING, stop)])
    assert list(make_client(emulator.url).stream(prompt_of(question))) == [
        Started("bedrock-invoke", "claude"),
        Chunk("Yes."),
        Stopped("end_turn"),
        Details({"invocation_metrics": metrics}),
        Usage(7, 2),
    ]


def test_chunks_of_any_form_lose_no_text(make_client: MakeClient, emulator: EmulatorProcess) -> None:
    client = make_client(emulator.url)
    harmless: list[Any] = [
        {"chunk": {}},
        {"chunk": {"bytes": None}},
        {"chunk": {"bytes": ""}},
        {"chunk": {**chunk_of({"type": "ping"})["chunk"], "new": 1}},
        {"chunk": None},
        {"a_new_event": {"bytes": "x"}},
        {"a_new_event": None},
    ]
    for odd in harmless:
        deltas = list(client.stream(prompt_of(emulate(events=[chunk_of(TEXT), odd, chunk_of(ENDING)]))))
        assert (text_of(deltas), Stopped("end_turn") in deltas) == ("Yes.", True), odd
    broken: list[Any] = [{"chunk": {"bytes": "no base64!"}}, {"chunk": {"bytes": 5}}, {"chunk": []}, {"chunk": "x"}]
    for odd in [*broken, {"chunk": {"bytes": b64encode(b"no JSON").decode()}}, chunk_of([])]:
        stream = client.stream(prompt_of(emulate(events=[chunk_of(TEXT), odd, chunk_of(ENDING)])))
        assert [next(stream) for _ in range(2)][1] == Chunk("Yes.")
        with pytest.raises(ProviderError) as raised:
            list(stream)
        assert (raised.value.code, raised.value.retryable) == ("provider_rejected", True), odd


def test_errors_of_both_services_have_their_codes(make_client: MakeClient, emulator: EmulatorProcess) -> None:
    client = make_client(emulator.url)
    for fault, code, is_transient in (
        ("prompt_too_long", "context_too_long", False),
        ({"code": "ServiceQuotaExceededException", "status": 400}, "provider_throttled", False),
        ({"code": "AccessDeniedException", "status": 403}, "provider_authentication", False),
        ({"code": "ModelNotReadyException", "status": 429}, "provider_unavailable", True),
    ):
        for call in (lambda prompt: list(client.stream(prompt)), client.answer):
            with pytest.raises(ProviderError) as raised:
                call(prompt_of(emulate(fault=fault)))
            assert (raised.value.code, raised.value.is_transient) == (code, is_transient), fault
    error = {"type": "error", "error": {"type": "overloaded_error"}}
    with pytest.raises(ProviderError) as raised:
        list(client.stream(prompt_of(emulate(events=[chunk_of(TEXT), chunk_of(error)]))))
    assert raised.value.code == "provider_unavailable"


def test_a_request_that_is_rejected_is_made_once_more_without_its_cache_points(
    make_client: MakeClient, emulator: EmulatorProcess
) -> None:
    client = make_client(emulator.url)
    traits = ModelTraits(200_000, caching=True)
    fault = {"code": "AccessDeniedException", "status": 403}
    question = emulate(text="Yes.", fault=fault, times=1)
    deltas = list(client.stream(prompt_of(question, system=("Be kind.",), traits=traits)))
    assert text_of(deltas) == "Yes."
    assert ["cache_control" in json.dumps(call["system"]) for call in emulator.calls()] == [True, False]


def test_an_answer_that_is_held_to_a_schema_is_json_that_fits(
    make_client: MakeClient, emulator: EmulatorProcess
) -> None:
    client = make_client(emulator.url)
    for traits in (ModelTraits(200_000, schema=True), ModelTraits(200_000)):
        deltas = list(client.stream(prompt_of("What is a mill?", schema=SCHEMA, traits=traits)))
        assert json.loads(text_of(deltas)).keys() == {"title"}
        tool = Tool("name_it", "Names it.", SCHEMA)
        assert client.answer(prompt_of("What is a mill?", tool=tool, traits=traits)).tool_input == {
            "title": "What is a mill"
        }
