"""What every provider keeps to: one test, run against the scripted one and against Bedrock, by boto3, over sockets."""

import json
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

import gevent
import pytest

from millrace.worker.contract.events import Chunk, Reasoning, ToolUse, Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import GenerationFailed
from millrace.worker.interrupt import CancelAsked, Interrupt
from millrace.worker.providers.bedrock.client import Bedrock
from millrace.worker.providers.bedrock.errors import CODES
from millrace.worker.providers.protocol import Delta, Prompt, Provider, Stopped
from millrace.worker.providers.stub import Step, Stub
from millrace.worker.settings.schema import load
from tests.emulator_process import EmulatorProcess
from tests.worker.desk import emulate, wait_until


class Rig(Protocol):
    """A provider that answers as the directive says, and what became of its calls."""

    def provider(self, **script: Any) -> tuple[Provider, Prompt]: ...

    def asked(self) -> int: ...

    def closed(self) -> int: ...


class StubRig:
    """The scripted provider, told the directive in its own words."""

    def provider(self, **script: Any) -> tuple[Provider, Prompt]:
        text: str = script.get("text", "")
        count: int = script.get("tokens", 1)
        size = max(1, len(text) // count)
        pieces: list[Step] = [Chunk(text[at : at + size]) for at in range(0, len(text), size)]
        steps: list[Step] = [lambda: gevent.sleep(script.get("first_delay", 0))]
        if script.get("reasoning"):
            steps.append(Reasoning("Hm."))
        if script.get("tool"):
            steps.append(ToolUse("1", "look_up", {}))
        fault: str | None = script.get("fault")
        if fault == "throttle":
            return self._play([CODES["ThrottlingException"].failure()])
        steps += pieces[: script["at"]] if fault else pieces
        if fault == "stall":
            steps.append(lambda: gevent.sleep(60))
        if fault in ("stream_error", "disconnect", "corrupt"):
            steps.append(CODES["ModelStreamErrorException"].failure())
        if not fault:
            steps += [Stopped("end_turn"), Usage(1, 1)]
        return self._play(steps)

    def _play(self, steps: list[Step]) -> tuple[Provider, Prompt]:
        self._stub = Stub([steps])
        return self._stub, Prompt("model", (PromptMessage("user", "?"),), 10)

    def asked(self) -> int:
        return len(self._stub.prompts)

    def closed(self) -> int:
        return self._stub.closed

    def close(self) -> None:
        pass


class BedrockRig:
    """Real boto3 against the local endpoint."""

    def __init__(self, emulator: EmulatorProcess) -> None:
        self._emulator = emulator
        environment = {"MILLRACE_BEDROCK_ENDPOINT_URL": emulator.url, "MILLRACE_BEDROCK_READ_SECONDS": "2"}
        self._bedrock = Bedrock(load(environment), concurrency=20)

    def provider(self, **script: Any) -> tuple[Provider, Prompt]:
        return self._bedrock, Prompt("model", (PromptMessage("user", emulate(**script)),), 1000)

    def asked(self) -> int:
        return len(self._emulator.calls())

    def closed(self) -> int:
        return sum(call["ended"] is not None for call in self._emulator.calls())

    def close(self) -> None:
        self._bedrock.close()


@pytest.fixture(params=["stub", "bedrock"])
def rig(request: pytest.FixtureRequest, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    made = StubRig() if request.param == "stub" else BedrockRig(emulator)
    yield made
    made.close()


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.content for delta in deltas if isinstance(delta, Chunk))


def test_a_whole_answer_ends_with_its_reason_and_usage(rig: Rig) -> None:
    provider, prompt = rig.provider(text="a mill by the race", tokens=6, reasoning=True, tool=True)
    deltas = list(provider.stream(prompt))
    assert text_of(deltas) == "a mill by the race"
    kinds = [type(delta) for delta in deltas]
    assert kinds.index(Reasoning) < kinds.index(Chunk)
    assert kinds.count(ToolUse) == 1
    assert kinds.count(Stopped) == kinds.count(Usage) == 1
    assert isinstance(deltas[-1], Usage)
    assert deltas[-1].exact
    assert provider.name


def test_a_refusal_is_a_failure_before_any_delta(rig: Rig) -> None:
    provider, prompt = rig.provider(text="a", fault="throttle", at=0)
    with pytest.raises(GenerationFailed) as raised:
        next(provider.stream(prompt))
    assert (raised.value.code, raised.value.is_transient) == ("provider_throttled", True)


@pytest.mark.parametrize("fault", ["stream_error", "disconnect", "corrupt"])
def test_a_failure_in_the_middle_comes_after_what_was_said(rig: Rig, fault: str) -> None:
    provider, prompt = rig.provider(text="0123456789", tokens=10, rate=200, fault=fault, at=5)
    deltas: list[Delta] = []
    with pytest.raises(GenerationFailed) as raised:
        read_into(deltas, provider.stream(prompt))
    assert text_of(deltas) == "01234"
    assert (raised.value.code, raised.value.retryable) == ("provider_unavailable", True)


def read_into(received: list[Delta], deltas: Iterable[Delta]) -> None:
    """Keep what comes, even when the end is a failure."""
    for delta in deltas:
        received += [delta]


def test_an_end_without_a_reason_says_nothing_of_one(rig: Rig) -> None:
    provider, prompt = rig.provider(text="0123456789", tokens=10, fault="no_stop", at=5)
    deltas = list(provider.stream(prompt))
    assert text_of(deltas) == "01234"
    assert not any(isinstance(delta, Stopped) for delta in deltas)


def test_closing_in_the_middle_closes_the_connection(rig: Rig) -> None:
    provider, prompt = rig.provider(text="0123456789" * 200, tokens=2000, rate=50)
    deltas = provider.stream(prompt)
    assert len(list(islice(deltas, 3))) == 3
    deltas.close()
    wait_until(lambda: rig.closed() == 1, "the close")


@pytest.mark.parametrize("script", [{"fault": "stall", "at": 1}, {"first_delay": 30}], ids=["in the middle", "before"])
def test_raising_in_the_greenlet_that_reads_closes_the_connection(rig: Rig, script: dict[str, Any]) -> None:
    provider, prompt = rig.provider(text="01234", tokens=5, **script)
    interrupts: list[Interrupt] = []
    received: list[Delta] = []

    def read() -> str:
        interrupts.append(Interrupt())
        try:
            with interrupts[0].armed():
                read_into(received, provider.stream(prompt))
        except CancelAsked:
            return "struck"
        return "whole"

    reader = gevent.spawn(read)
    if "fault" in script:
        wait_until(lambda: received, "the first delta")
    else:
        wait_until(lambda: rig.asked() == 1, "the question")
    struck_at = time.monotonic()
    interrupts[0].strike(CancelAsked("user"))
    assert reader.get(timeout=2) == "struck"
    wait_until(lambda: rig.closed() == 1, "the close", 2)
    assert time.monotonic() - struck_at < 0.5


def test_many_stream_at_once(rig: Rig) -> None:
    provider, prompt = rig.provider(text=json.dumps(list(range(50))), tokens=20, rate=100)
    readers = [gevent.spawn(lambda: text_of(list(provider.stream(prompt)))) for _ in range(20)]
    assert {reader.get(timeout=20) for reader in readers} == {json.dumps(list(range(50)))}
