"""The contract of a prompt with a schema, on every wire: whatever the model can do, the answer is JSON that fits."""

import json

import pytest

from millrace.worker.contract.events import Chunk, ToolUse
from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.protocol import Prompt, Stopped
from millrace.worker.settings.catalog import ModelTraits
from tests.emulator_process import EmulatorProcess
from tests.worker.providers.wires import WIRES, make_provider

SCHEMA = {"type": "object", "properties": {"title": {"type": "string", "maxLength": 99}}, "required": ["title"]}
TRAITS = (ModelTraits(200_000, schema=True), ModelTraits(200_000), ModelTraits(200_000, tools=False))


@pytest.mark.parametrize("wire", WIRES)
def test_an_answer_to_a_prompt_with_a_schema_is_json_that_fits(
    wire: str, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    provider = make_provider(wire, emulator.url)
    for traits in TRAITS:
        prompt = Prompt("a-model", (PromptMessage("user", "What is a mill?"),), 1000, schema=SCHEMA, traits=traits)
        deltas = list(provider.stream(prompt))
        answer = json.loads("".join(each.content for each in deltas if isinstance(each, Chunk)))
        assert answer.keys() == {"title"}, traits
        assert not any(isinstance(each, ToolUse) for each in deltas)
        assert [each.reason for each in deltas if isinstance(each, Stopped)] == ["end_turn"]
        whole = provider.answer(prompt)  # of a model that does not stream
        assert (json.loads(whole.text).keys(), whole.reason) == ({"title"}, "end_turn"), traits
    assert not caplog.records, "no request was rejected"
    provider.close()
