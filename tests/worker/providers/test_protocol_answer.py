"""What every provider's whole answers keep to: run against the scripted one and against Bedrock, over sockets."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

import gevent
import pytest

from millrace.worker.contract.events import Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.bedrock.client import Bedrock
from millrace.worker.providers.bedrock.errors import CODES
from millrace.worker.providers.protocol import Prompt, Provider, Tool, WholeAnswer
from millrace.worker.providers.stub import Stub
from millrace.worker.settings.schema import load
from tests.emulator_process import EmulatorProcess
from tests.worker.desk import emulate, wait_until

SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
NAMING = Tool("name_it", "Names a conversation.", SCHEMA)


FAULTS = {"throttle": CODES["ThrottlingException"].failure(), "corrupt": GenerationFailed("truncated", retryable=True)}


class Rig(Protocol):
    """A provider that answers in words or by the tool as the script says, and how many of its calls run."""

    def provider(self, **script: Any) -> Provider: ...

    def prompt(self, tool: Tool | None, **script: Any) -> Prompt: ...

    def running(self) -> int: ...

    def close(self) -> None: ...


class StubRig:
    """The scripted provider, told the script in its own words."""

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
            return WholeAnswer(script.get("text", ""), script["input"] if prompt.tool else None, Usage(1, 1))

        known = "" if "text" in script else NAMING.name
        return Stub([], replies={known: reply})

    def prompt(self, tool: Tool | None, **_script: Any) -> Prompt:
        return Prompt("model", (PromptMessage("user", "?"),), 100, tool=tool)

    def running(self) -> int:
        return self._running

    def close(self) -> None:
        pass


class BedrockRig:
    """Real boto3 against the local endpoint."""

    def __init__(self, emulator: EmulatorProcess) -> None:
        self._emulator = emulator
        self._bedrock = Bedrock(load({"MILLRACE_BEDROCK_ENDPOINT_URL": emulator.url}), concurrency=20)

    def provider(self, **_script: Any) -> Provider:
        return self._bedrock

    def prompt(self, tool: Tool | None, **script: Any) -> Prompt:
        if tool and "input" in script:
            script["tool"] = {"input": script.pop("input")}
        asked = emulate(forced={tool.name: script}) if tool else emulate(**script)
        return Prompt("model", (PromptMessage("user", asked),), 100, tool=tool)

    def running(self) -> int:
        return sum(call["ended"] is None for call in self._emulator.calls())

    def close(self) -> None:
        self._bedrock.close()


@pytest.fixture(params=["stub", "bedrock"])
def rig(request: pytest.FixtureRequest, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    made: Rig = StubRig() if request.param == "stub" else BedrockRig(emulator)
    yield made
    made.close()


def ask(rig: Rig, tool: Tool | None, **script: Any) -> WholeAnswer:
    return rig.provider(**script).answer(rig.prompt(tool, **script))


def test_an_answer_in_words_comes_whole_with_its_usage(rig: Rig) -> None:
    answer = ask(rig, None, text="a mill \u2028 by the race")
    assert (answer.text, answer.tool_input) == ("a mill \u2028 by the race", None)
    assert answer.usage.exact
    assert answer.usage.output_tokens > 0


def test_a_forced_tool_is_answered_with_its_input(rig: Rig) -> None:
    assert ask(rig, NAMING, input={"title": "Mills", "more": [1, None]}).tool_input == {
        "title": "Mills",
        "more": [1, None],
    }


def test_a_refusal_is_a_failure(rig: Rig) -> None:
    with pytest.raises(GenerationFailed) as raised:
        ask(rig, NAMING, fault="throttle")
    assert (raised.value.code, raised.value.is_transient) == ("provider_throttled", True)


def test_an_answer_that_breaks_off_is_a_failure(rig: Rig) -> None:
    with pytest.raises(GenerationFailed) as raised:
        ask(rig, NAMING, fault="corrupt")
    assert raised.value.code == "truncated"


def test_a_time_limit_ends_the_wait_and_closes_the_call(rig: Rig) -> None:
    def wait_in_vain() -> WholeAnswer | None:
        with suppress(gevent.Timeout), gevent.Timeout(0.3):
            return ask(rig, NAMING, input={"title": "Mills"}, first_delay=30)
        return None

    asker = gevent.spawn(wait_in_vain)
    wait_until(lambda: rig.running() == 1, "the question")
    assert asker.get(timeout=30) is None
    wait_until(lambda: rig.running() == 0, "the close")
