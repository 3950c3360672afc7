"""The register of the calls, and the process itself."""

import re
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from deploy.emulator.calls import KEPT, Calls
from deploy.emulator.directive import Directive
from deploy.emulator.request import Request
from tests.emulator.asking import MODEL, anthropic_body, converse_events, invoke_events, said_by_user, scripted
from tests.emulator.crowd import asking, connect, request_bytes
from tests.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


def test_a_finished_call_is_listed_with_all_that_was_asked(
    bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess
) -> None:
    before = time.time()
    converse_events(
        bedrock, scripted(tokens=5), system=[{"text": "Be brief."}], inferenceConfig={"maxTokens": 50, "topP": 0.5}
    )
    (call,) = emulator.calls()
    assert (call["operation"], call["model"]) == ("ConverseStream", MODEL)
    assert (call["ended"], call["deltas_sent"]) == ("finished", 5)
    assert call["messages"] == said_by_user(scripted(tokens=5))
    assert call["system"] == [{"text": "Be brief."}]
    assert call["inference"] == {"maxTokens": 50, "topP": 0.5}
    first, last = call["sent_at"]
    assert before <= call["started"] <= first <= last <= call["ended_at"] <= time.time()


def test_calls_are_listed_oldest_first_and_forgotten_on_request(
    bedrock: "BedrockRuntimeClient", emulator: EmulatorProcess
) -> None:
    converse_events(bedrock, scripted(text="x"))
    invoke_events(bedrock, anthropic_body(scripted(text="y")))
    assert [call["operation"] for call in emulator.calls()] == ["ConverseStream", "InvokeModelWithResponseStream"]
    assert len({call["id"] for call in emulator.calls()}) == 2
    emulator.forget()
    assert emulator.calls() == []


def test_a_reader_that_leaves_between_deltas_is_seen_at_once(emulator: EmulatorProcess) -> None:
    with connect(emulator.url) as caller:
        caller.sendall(request_bytes("converse-stream", asking(scripted(tokens=100, rate=1))))
        emulator.wait_for(lambda calls: [call["deltas_sent"] for call in calls] == [1])
        left = time.time()
    (call,) = emulator.wait_for(lambda calls: calls[0]["ended"] is not None, seconds=0.5)
    assert call["ended"] == "closed_by_client"
    assert call["ended_at"] - left < 0.5
    assert call["deltas_sent"] <= 2


def test_a_reader_that_leaves_before_the_first_delta_is_seen_at_once(emulator: EmulatorProcess) -> None:
    with connect(emulator.url) as caller:
        caller.sendall(request_bytes("converse-stream", asking(scripted(tokens=1, first_delay=600))))
        emulator.wait_for(lambda calls: len(calls) == 1)
    emulator.wait_for(lambda calls: calls[0]["ended"] == "closed_by_client", seconds=0.5)


def wait_until_held_back(emulator: EmulatorProcess) -> int:
    """Return the deltas sent once their number has stood still for half a second."""
    emulator.wait_for(lambda calls: calls != [] and calls[0]["deltas_sent"] > 0)
    last = since = 0.0

    def stands_still(calls: list[dict[str, Any]]) -> bool:
        nonlocal last, since
        if calls[0]["deltas_sent"] != last:
            last, since = calls[0]["deltas_sent"], time.monotonic()
        return time.monotonic() - since > 0.5

    return emulator.wait_for(stands_still, seconds=30)[0]["deltas_sent"]


def test_a_reader_that_does_not_read_holds_its_stream_back_and_gets_it_whole_later(emulator: EmulatorProcess) -> None:
    with connect(emulator.url, receive_buffer=65536) as caller:
        caller.sendall(request_bytes("converse-stream", asking(scripted(tokens=20_000, chars=1000))))
        assert wait_until_held_back(emulator) < 20_000
        received = bytearray()
        while not received.endswith(b"\r\n0\r\n\r\n"):
            received += caller.recv(1 << 20)
    assert len(re.findall(rb":event-type\x07\x00\x11contentBlockDelta", received)) == 20_000
    assert [call["ended"] for call in emulator.calls()] == ["finished"]


def test_a_reader_that_half_closes_is_gone_though_it_has_not_read_all(emulator: EmulatorProcess) -> None:
    with connect(emulator.url, receive_buffer=65536) as caller:
        caller.sendall(request_bytes("converse-stream", asking(scripted(tokens=20_000, chars=1000))))
        wait_until_held_back(emulator)
        caller.shutdown(socket.SHUT_WR)
        emulator.wait_for(lambda calls: calls[0]["ended"] == "closed_by_client", seconds=0.5)


def test_the_register_is_bounded() -> None:
    calls = Calls()
    request = Request("m", [], "", "", None, {}, None, 1)
    for _ in range(KEPT + 5):
        calls.begin("Converse", request)
    assert len(calls.listed()) == KEPT
    directive = Directive(fault="stall", times=1)
    assert calls.strikes("the first text", directive)
    assert not calls.strikes("the first text", directive)
    for number in range(KEPT):
        calls.strikes(str(number), directive)
    assert calls.strikes("the first text", directive)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_at_once_with_a_stream_open(number: signal.Signals) -> None:
    with EmulatorProcess() as emulator, connect(emulator.url) as caller:
        caller.sendall(request_bytes("converse-stream", asking(scripted(fault="stall"))))
        emulator.wait_for(lambda calls: len(calls) == 1)
        emulator.process.send_signal(number)
        try:
            assert emulator.process.wait(5) == 0
        except subprocess.TimeoutExpired:
            pytest.fail("it does not stop")
