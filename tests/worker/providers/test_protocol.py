"""The contract of `Provider.stream`, run against the stub and, over real sockets, against every wire."""

import json
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

import gevent
import pytest

from deploy.emulator.picture import make_png
from millrace.worker.contract.events import Chunk, Reasoning, ToolUse, Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.interrupt import CancelRequested, Interrupt
from millrace.worker.providers.bedrock.errors import EXCEPTIONS
from millrace.worker.providers.protocol import Delta, OutputImage, Prompt, Provider, Started, Stopped
from millrace.worker.providers.stub import Step, Stub
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import emulate, wait_until
from tests.worker.providers.wires import MODELS, WIRES, make_provider


class ProviderHarness(Protocol):
    """A provider that answers as the script says, and the number of its calls that were started and closed."""

    def provider(self, **script: Any) -> tuple[Provider, Prompt]: ...

    def started(self) -> int: ...

    def closed(self) -> int: ...


class StubHarness:
    """The stub, with the script translated to its steps."""

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
            return self._play([EXCEPTIONS["ThrottlingException"].to_error()])
        steps += pieces[: script["at"]] if fault else pieces
        if fault == "stall":
            steps.append(lambda: gevent.sleep(60))
        if fault in ("stream_error", "disconnect", "corrupt"):
            steps.append(EXCEPTIONS["ModelStreamErrorException"].to_error())
        if not fault:
            steps += [Stopped("end_turn"), Usage(1, 1)]
        return self._play(steps)

    def _play(self, steps: list[Step]) -> tuple[Provider, Prompt]:
        self._stub = Stub([steps])
        return self._stub, Prompt("model", (PromptMessage("user", "?"),), 10)

    def started(self) -> int:
        return len(self._stub.prompts)

    def closed(self) -> int:
        return self._stub.closed

    def close(self) -> None:
        pass


class WireHarness:
    """A real provider against the local endpoint."""

    def __init__(self, emulator: EmulatorProcess, wire: str) -> None:
        self._emulator = emulator
        self._provider = make_provider(wire, emulator.url, read_seconds=2)

    def provider(self, **script: Any) -> tuple[Provider, Prompt]:
        return self._provider, Prompt("model", (PromptMessage("user", emulate(**script)),), 1000)

    def started(self) -> int:
        return len(self._emulator.calls())

    def closed(self) -> int:
        return sum(call["ended"] is not None for call in self._emulator.calls())

    def close(self) -> None:
        self._provider.close()


@pytest.fixture(params=["stub", *WIRES])
def harness(
    request: pytest.FixtureRequest, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProviderHarness]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    made = StubHarness() if request.param == "stub" else WireHarness(emulator, request.param)
    yield made
    made.close()


def text_of(deltas: list[Started | Delta]) -> str:
    return "".join(delta.content for delta in deltas if isinstance(delta, Chunk))


@pytest.mark.parametrize("harness", ["stub", *MODELS], indirect=True)
def test_a_whole_answer_ends_with_its_stop_reason_and_usage(harness: ProviderHarness) -> None:
    provider, prompt = harness.provider(text="a mill by the race", tokens=6, reasoning=True, tool=True)
    deltas = list(provider.stream(prompt))
    assert text_of(deltas) == "a mill by the race"
    kinds = [type(delta) for delta in deltas]
    assert kinds.index(Reasoning) < kinds.index(Chunk)
    assert kinds.count(ToolUse) == 1
    assert kinds.count(Stopped) == kinds.count(Usage) == 1
    assert isinstance(deltas[-1], Usage)
    assert deltas[-1].exact
    assert provider.name


@pytest.mark.parametrize("harness", ["bedrock", "gemini", "openai-responses"], indirect=True)
def test_an_image_of_the_model_follows_its_text_once(harness: ProviderHarness) -> None:
    provider, prompt = harness.provider(text="Here it is.", image=True)
    deltas = list(provider.stream(prompt))
    images = [delta.data for delta in deltas if isinstance(delta, OutputImage)]
    assert images == [make_png(prompt.messages[-1].content)]
    assert text_of(deltas) == "Here it is."
    assert sum(isinstance(delta, Stopped) for delta in deltas) == 1


def test_a_throttled_call_fails_before_any_delta(harness: ProviderHarness) -> None:
    provider, prompt = harness.provider(text="a", fault="throttle", at=0)
    with pytest.raises(ProviderError) as raised:
        next(provider.stream(prompt))
    assert (raised.value.code, raised.value.is_transient) == ("provider_throttled", True)


@pytest.mark.parametrize("fault", ["stream_error", "disconnect", "corrupt"])
def test_a_failure_in_mid_stream_follows_the_deltas_before_it(harness: ProviderHarness, fault: str) -> None:
    provider, prompt = harness.provider(text="0123456789", tokens=10, rate=200, fault=fault, at=5)
    deltas: list[Started | Delta] = []
    with pytest.raises(ProviderError) as raised:
        read_into(deltas, provider.stream(prompt))
    assert text_of(deltas) == "01234"
    # Damage within a text cannot be told from a model that writes bad JSON.
    codes = ("provider_unavailable", "provider_rejected") if fault == "corrupt" else ("provider_unavailable",)
    assert raised.value.code in codes
    assert raised.value.retryable


def read_into(received: list[Started | Delta], deltas: Iterable[Started | Delta]) -> None:
    """Append each delta to `received`, which keeps them if the stream fails."""
    for delta in deltas:
        received += [delta]


@pytest.mark.parametrize("harness", ["stub", *MODELS], indirect=True)
def test_a_stream_that_is_cut_off_yields_no_stopped(harness: ProviderHarness) -> None:
    provider, prompt = harness.provider(text="0123456789", tokens=10, fault="no_stop", at=5)
    deltas = list(provider.stream(prompt))
    assert text_of(deltas) == "01234"
    assert not any(isinstance(delta, Stopped) for delta in deltas)


def test_closing_the_generator_closes_the_connection(harness: ProviderHarness) -> None:
    provider, prompt = harness.provider(text="0123456789" * 200, tokens=2000, rate=50)
    deltas = provider.stream(prompt)
    assert len(list(islice(deltas, 3))) == 3
    deltas.close()
    wait_until(lambda: harness.closed() == 1, "the close")


@pytest.mark.parametrize(
    "script", [{"fault": "stall", "at": 1}, {"first_delay": 30}], ids=["in mid-stream", "before the first delta"]
)
def test_an_exception_in_the_reading_greenlet_closes_the_connection(
    harness: ProviderHarness, script: dict[str, Any]
) -> None:
    provider, prompt = harness.provider(text="01234", tokens=5, **script)
    interrupts: list[Interrupt] = []
    received: list[Started | Delta] = []

    def read() -> str:
        interrupts.append(Interrupt())
        try:
            with interrupts[0].armed():
                read_into(received, provider.stream(prompt))
        except CancelRequested:
            return "interrupted"
        return "whole"

    reader = gevent.spawn(read)
    if "fault" in script:
        wait_until(lambda: received, "the first delta")
    else:
        wait_until(lambda: harness.started() == 1, "the question")
    interrupted_at = time.monotonic()
    interrupts[0].trigger(CancelRequested("user"))
    assert reader.get(timeout=30) == "interrupted"
    wait_until(lambda: harness.closed() == 1, "the close")
    assert time.monotonic() - interrupted_at < 10


def test_one_provider_runs_many_streams_at_once(harness: ProviderHarness) -> None:
    provider, prompt = harness.provider(text=json.dumps(list(range(50))), tokens=20, rate=100)
    readers = [gevent.spawn(lambda: text_of(list(provider.stream(prompt)))) for _ in range(20)]
    assert {reader.get(timeout=60) for reader in readers} == {json.dumps(list(range(50)))}
