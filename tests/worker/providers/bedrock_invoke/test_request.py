"""The operator's own arguments reach InvokeModel in its own form, and what it does not have stops the start."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.session import Session

from millrace.worker.contract.events import Chunk
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError, SettingError
from millrace.worker.providers.bedrock_invoke.client import BedrockInvoke
from millrace.worker.providers.bedrock_invoke.request import to_invoke_request
from millrace.worker.providers.protocol import Details, Prompt, Stopped, Tool
from millrace.worker.settings.schema import load
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import emulate
from tests.worker.providers.bedrock.test_request import GIVEN
from tests.worker.providers.bedrock_invoke.test_client import ENDING, TEXT, chunk_of

TRACE = {"guardrail": {"input": {"g": {"topicPolicy": {"topics": [{"name": "mills", "action": "BLOCKED"}]}}}}}


@pytest.fixture
def operators(monkeypatch: pytest.MonkeyPatch, emulator: EmulatorProcess) -> Iterator[BedrockInvoke]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    given = {
        "guardrailConfig": {**GIVEN["guardrailConfig"], "trace": "enabled_full"},
        "performanceConfig": {"latency": "optimized"},
        "serviceTier": {"type": "flex"},
        "requestMetadata": {"team": "mill"},
        "additionalModelRequestFields": {"top_k": 5},
        "projectIdentifier": "mill",
    }
    settings = {"MILLRACE_BEDROCK_ENDPOINT_URL": emulator.url, "MILLRACE_BEDROCK_REQUEST": json.dumps(given)}
    provider = BedrockInvoke(load(settings), concurrency=10)
    yield provider
    provider.close()


def sent_by(provider: BedrockInvoke) -> list[Any]:
    """Return a list that fills with the requests as they go to the service."""
    sent: list[Any] = []
    provider._client.meta.events.register("before-send.bedrock-runtime", lambda request, **_: sent.append(request))
    return sent


def prompt_of(content: str, **more: Any) -> Prompt:
    return Prompt("claude", (PromptMessage("user", content),), 9999, metadata={"generation": "g"}, **more)


def test_the_operators_arguments_become_headers_and_members_of_the_body(operators: BedrockInvoke) -> None:
    sent = sent_by(operators)
    list(operators.stream(prompt_of(emulate(text="Yes."))))
    operators.answer(prompt_of(emulate(text="Yes.")))
    for request in sent:
        names = (
            "GuardrailIdentifier",
            "GuardrailVersion",
            "Trace",
            "PerformanceConfig-Latency",
            "Service-Tier",
            "ProjectIdentifier",
        )
        headers = [request.headers[f"X-Amzn-Bedrock-{name}"].decode() for name in names]
        assert headers == ["g", "1", "ENABLED_FULL", "optimized", "flex", "mill"]
        metadata = json.loads(request.headers["X-Amzn-Bedrock-Request-Metadata"])
        assert metadata == {"generation": "g", "team": "mill"}
        body = json.loads(request.body)
        assert body["top_k"] == 5
        assert body["amazon-bedrock-guardrailConfig"] == {"streamProcessingMode": "ASYNCHRONOUS"}
    assert len(sent) == 2


def test_a_short_question_beside_the_answer_has_metadata_only(operators: BedrockInvoke) -> None:
    sent = sent_by(operators)
    tool = Tool("note", "Notes.", {"type": "object"})
    question = emulate(tool={"name": "note", "input": {"a": 1}}, finish_reason="tool_use")
    operators.answer(prompt_of(question, tool=tool))
    (request,) = sent
    assert [name for name in request.headers if "Guardrail" in name or "Tier" in name] == []
    assert json.loads(request.headers["X-Amzn-Bedrock-Request-Metadata"]) == {"generation": "g"}


@pytest.mark.parametrize("name", ["outputConfig", "promptVariables", "additionalModelResponseFieldPaths"])
def test_an_argument_that_only_converse_has_stops_the_start_with_its_name(name: str) -> None:
    client = Session().create_client("bedrock-runtime", region_name="us-east-1")
    with pytest.raises(SettingError, match=f"MILLRACE_BEDROCK_REQUEST: .*InvokeModel, which has no {name};"):
        to_invoke_request(client, json.dumps({name: GIVEN[name]}))


def test_a_guardrail_without_its_version_stops_the_start() -> None:
    client = Session().create_client("bedrock-runtime", region_name="us-east-1")
    with pytest.raises(SettingError, match="guardrailConfig: needs guardrailIdentifier and guardrailVersion"):
        to_invoke_request(client, json.dumps({"guardrailConfig": {"guardrailIdentifier": "g"}}))


STOPPED = {"amazon-bedrock-guardrailAction": "INTERVENED", "amazon-bedrock-trace": TRACE}
PASSED = {"amazon-bedrock-guardrailAction": "NONE"}


@pytest.mark.parametrize(
    "events",
    [
        [TEXT, ENDING, {"type": "message_stop", **STOPPED}],
        [TEXT, {**ENDING, **STOPPED}, {"type": "message_stop"}],
        [{**TEXT, **STOPPED}, ENDING],
        [TEXT, STOPPED],
        [{"type": "message_start", "message": {}, **PASSED}, TEXT, ENDING, {"type": "message_stop", **STOPPED}],
    ],
)
def test_an_answer_that_a_guardrail_has_stopped_is_filtered(operators: BedrockInvoke, events: list[Any]) -> None:
    question = emulate(events=[chunk_of(event) for event in events])
    deltas = list(operators.stream(prompt_of(question)))
    assert [each for each in deltas if isinstance(each, Stopped)][-1] == Stopped("content_filtered")
    assert Chunk("Yes.") in deltas
    shown = [each.fields for each in deltas if isinstance(each, Details)]
    assert {"trace": TRACE}.items() <= {name: value for each in shown for name, value in each.items()}.items()


def test_an_answer_that_a_guardrail_has_passed_ends_as_the_model_ended_it(operators: BedrockInvoke) -> None:
    events = [{**each, **PASSED} for each in (TEXT, ENDING, {"type": "message_stop"})]
    deltas = list(operators.stream(prompt_of(emulate(events=[chunk_of(event) for event in events]))))
    assert [each for each in deltas if isinstance(each, Stopped)] == [Stopped("end_turn")]


def test_a_whole_answer_that_a_guardrail_has_stopped_is_filtered(
    operators: BedrockInvoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"content": [{"type": "text", "text": "No."}], "stop_reason": "end_turn", **STOPPED}
    for answer in (body, {"type": "message", **STOPPED}):
        monkeypatch.setattr(operators._client, "invoke_model", lambda answer=answer, **_: {"body": _Body(answer)})
        with pytest.raises(ProviderError) as raised:
            operators.answer(prompt_of("Why?"))
        assert raised.value.code == "content_filtered"


class _Body:
    def __init__(self, answer: Any) -> None:
        self._data = json.dumps(answer).encode()

    def read(self, _size: int) -> bytes:
        return self._data

    def close(self) -> None:
        pass
