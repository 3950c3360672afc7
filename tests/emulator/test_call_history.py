"""Tests of the call history: in memory, and as `GET /_calls` publishes it."""

import time
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from deploy.emulator.call_history import MAX_ENTRIES, CallHistory
from deploy.emulator.directive import Directive
from deploy.emulator.request import EmulatedRequest
from tests.emulator.harness import (
    MODEL,
    anthropic_body,
    converse_events,
    emulate,
    invoke_events,
    text_of,
    user_message,
)
from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

REQUEST = EmulatedRequest("Converse", "m", False, [], (), None, {}, None, 1)


def test_finished_call_is_listed_with_its_whole_request(
    bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess
) -> None:
    before = time.time()
    converse_events(
        bedrock, emulate(tokens=5), system=[{"text": "Be brief."}], inferenceConfig={"maxTokens": 50, "topP": 0.5}
    )
    (call,) = emulator.calls()
    assert (call["operation"], call["model"]) == ("ConverseStream", MODEL)
    assert (call["ended"], call["deltas_sent"]) == ("finished", 5)
    assert call["messages"] == user_message(emulate(tokens=5))
    assert call["system"] == [{"text": "Be brief."}]
    assert call["inference"] == {"maxTokens": 50, "topP": 0.5}
    first, last = call["sent_at"]
    assert before <= call["started"] <= first <= last <= call["ended_at"] <= time.time()


def test_calls_are_listed_oldest_first_and_cleared_on_request(
    bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess
) -> None:
    converse_events(bedrock, emulate(text="x"))
    invoke_events(bedrock, anthropic_body(emulate(text="y")))
    assert [call["operation"] for call in emulator.calls()] == ["ConverseStream", "InvokeModelWithResponseStream"]
    assert len({call["id"] for call in emulator.calls()}) == 2
    emulator.clear_calls()
    assert emulator.calls() == []


def test_fault_applies_only_to_the_first_calls_of_each_text(
    bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess
) -> None:
    script = emulate(text="there", fault="throttle", times=2)
    for _ in range(2):
        with pytest.raises(ClientError):
            converse_events(bedrock, script)
    assert text_of(converse_events(bedrock, script)) == "there"
    with pytest.raises(ClientError):  # another text has its own count
        converse_events(bedrock, script + " ")
    emulator.clear_calls()
    with pytest.raises(ClientError):
        converse_events(bedrock, script)


def test_later_calls_of_a_text_have_the_script_of_their_own(
    bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess
) -> None:
    message = emulate(text="first", then={"text": "second", "fault": "throttle", "times": 1})
    assert text_of(converse_events(bedrock, message)) == "first"
    with pytest.raises(ClientError):
        converse_events(bedrock, message)
    for _ in range(2):
        assert text_of(converse_events(bedrock, message)) == "second"
    assert text_of(converse_events(bedrock, message + " ")) == "first", "another text has its own count"
    with pytest.raises(ClientError, match="then"):
        converse_events(bedrock, emulate(then={"txt": "typing error"}))


def test_only_the_first_end_of_a_call_is_recorded() -> None:
    call = CallHistory().start(REQUEST)
    call.end("fault")
    call.end("closed_by_client")
    assert call.ended == "fault"


def test_history_is_bounded() -> None:
    history = CallHistory()
    for _ in range(MAX_ENTRIES + 5):
        history.start(REQUEST)
    assert len(history.to_json()) == MAX_ENTRIES
    directive = Directive(fault="stall", times=1)
    assert history.count_fault("the first text", directive)
    assert not history.count_fault("the first text", directive)
    for number in range(MAX_ENTRIES):
        history.count_fault(str(number), directive)
    assert history.count_fault("the first text", directive)
