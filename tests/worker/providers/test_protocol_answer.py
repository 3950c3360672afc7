"""The contract of `Provider.answer`, run against the stub and, over real sockets, against every wire."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

import gevent
import pytest

from millrace.worker.contract.events import Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.bedrock.errors import EXCEPTIONS
from millrace.worker.providers.protocol import Prompt, Provider, Tool, WholeAnswer
from millrace.worker.providers.stub import Stub
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import emulate, wait_until
from tests.worker.providers.wires import MODELS, make_provider

SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
TITLE_TOOL = Tool("name_it", "Names a conversation.", SCHEMA)


FAULTS = {
    "throttle": EXCEPTIONS["ThrottlingException"].to_error(),
    "corrupt": ProviderError("truncated", retryable=True),
}


class ProviderHarness(Protocol):
    """A provider that answers with text or the tool as the script says, and the number of its running calls."""

    def provider(self, **script: Any) -> Provider: ...

    def prompt(self, tool: Tool | None, **script: Any) -> Prompt: ...

    def running(self) -> int: ...

    def close(self) -> None: ...


class StubHarness:
    """The stub, with the script translated to a reply."""

    def __init__(self) -> None:
        self._running = 0

    def provider(self, **script: Any) -> Provider:
        def reply(prompt: Prompt) -> WholeAnswer:
            self._running += 1
            try:
                gevent.sleep(script.get("first_delay", 0))
            finally:
                self._running -= 1
            if script.get("fault"):
                raise FAULTS[script["fault"]]
            tool_input = script["input"] if prompt.tool else None
            return WholeAnswer(script.get("text", ""), tool_input, Usage(1, 1), script.get("stop_reason", "end_turn"))

        known = "" if "text" in script else TITLE_TOOL.name
        return Stub([], replies={known: reply})

    def prompt(self, tool: Tool | None, **_script: Any) -> Prompt:
        return Prompt("model", (PromptMessage("user", "?"),), 100, tool=tool)

    def running(self) -> int:
        return self._running

    def close(self) -> None:
        pass


class WireHarness:
    """A real provider against the local endpoint."""

    def __init__(self, emulator: EmulatorProcess, wire: str) -> None:
        self._emulator = emulator
        self._provider = make_provider(wire, emulator.url)

    def provider(self, **_script: Any) -> Provider:
        return self._provider

    def prompt(self, tool: Tool | None, **script: Any) -> Prompt:
        if tool and "input" in script:
            script["tool"] = {"input": script.pop("input")}
        asked = emulate(forced={tool.name: script}) if tool else emulate(**script)
        return Prompt("model", (PromptMessage("user", asked),), 100, tool=tool)

    def running(self) -> int:
        return sum(call["ended"] is None for call in self._emulator.calls())

    def close(self) -> None:
        self._provider.close()


@pytest.fixture(params=["stub", *MODELS])
def harness(
    request: pytest.FixtureRequest, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ProviderHarness]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    made: ProviderHarness = StubHarness() if request.param == "stub" else WireHarness(emulator, request.param)
    yield made
    made.close()


def ask(harness: ProviderHarness, tool: Tool | None, **script: Any) -> WholeAnswer:
    return harness.provider(**script).answer(harness.prompt(tool, **script))


def test_a_text_answer_is_complete_and_has_usage(harness: ProviderHarness) -> None:
    answer = ask(harness, None, text="a mill \u2028 by the race")
    assert (answer.text, answer.tool_input) == ("a mill \u2028 by the race", None)
    assert answer.usage.exact
    assert answer.usage.output_tokens > 0


@pytest.mark.parametrize("reason", ["end_turn", "max_tokens"])
def test_a_text_answer_names_why_the_model_has_stopped(harness: ProviderHarness, reason: str) -> None:
    assert ask(harness, None, text="a mill", stop_reason=reason).reason == reason


def test_a_forced_tool_yields_its_input(harness: ProviderHarness) -> None:
    assert ask(harness, TITLE_TOOL, input={"title": "Mills", "more": [1, None]}).tool_input == {
        "title": "Mills",
        "more": [1, None],
    }


def test_a_throttled_call_is_a_transient_failure(harness: ProviderHarness) -> None:
    with pytest.raises(ProviderError) as raised:
        ask(harness, TITLE_TOOL, fault="throttle")
    assert (raised.value.code, raised.value.is_transient) == ("provider_throttled", True)


def test_a_corrupt_answer_is_truncated(harness: ProviderHarness) -> None:
    with pytest.raises(ProviderError) as raised:
        ask(harness, TITLE_TOOL, fault="corrupt")
    assert raised.value.code == "truncated"


def test_a_timeout_in_the_waiting_greenlet_closes_the_call(harness: ProviderHarness) -> None:
    def ask_with_timeout() -> WholeAnswer | None:
        with suppress(gevent.Timeout), gevent.Timeout(0.3):
            return ask(harness, TITLE_TOOL, input={"title": "Mills"}, first_delay=30)
        return None

    asker = gevent.spawn(ask_with_timeout)
    wait_until(lambda: harness.running() == 1, "the question")
    assert asker.get(timeout=30) is None
    wait_until(lambda: harness.running() == 0, "the close")
