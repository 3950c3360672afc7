"""Reasoning that goes back to its model: on every wire verbatim, in its place, and never at the cost of an answer."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from millrace.worker.contract.events import Chunk
from millrace.worker.contract.request import PromptMessage, ReasoningState
from millrace.worker.errors import ProviderError
from millrace.worker.providers.anthropic.client import Anthropic
from millrace.worker.providers.protocol import Prompt, Provider, ReasoningBlock
from millrace.worker.providers.reasoning import (
    ask_again_without,
    asks_for_reasoning,
    blocks_before,
    drop_reasoning,
    has_reasoning,
    keep_reasoning,
)
from millrace.worker.settings.schema import load
from tests.emulator_process import EmulatorProcess
from tests.worker.harness import emulate
from tests.worker.providers.wires import make_provider

STATE = ReasoningState("bedrock", "m", [{"a": 1}, {"b": 2}])
QUESTION, BARE = PromptMessage("user", "Why?"), PromptMessage("assistant", "So.")
ANSWER = PromptMessage("assistant", "So.", STATE)
REFUSED = ProviderError("provider_rejected", retryable=False)
SIGNING = ["bedrock", "bedrock-invoke", "anthropic", "gemini"]


def prompt_of(*messages: PromptMessage, **fields: Any) -> Prompt:
    return Prompt("m", messages, 1000, **fields)


def test_only_welcome_reasoning_is_kept() -> None:
    prompt = prompt_of(QUESTION, ANSWER, QUESTION)
    assert has_reasoning(prompt)
    assert keep_reasoning(prompt, lambda state: state is STATE) == prompt
    assert drop_reasoning(prompt).messages == (QUESTION, BARE, QUESTION)
    assert not has_reasoning(drop_reasoning(prompt))


def test_blocks_come_before_a_run_of_messages_only() -> None:
    assert blocks_before([ANSWER, BARE]) == STATE.blocks
    assert blocks_before([BARE, ANSWER]) == blocks_before([]) == []


def test_request_that_is_refused_with_reasoning_is_made_again_without_it_once() -> None:
    asked: list[Prompt] = []

    def ask(prompt: Prompt) -> str:
        asked.append(prompt)
        if has_reasoning(prompt):
            raise REFUSED
        return "answer"

    prompt = prompt_of(QUESTION, ANSWER, QUESTION)
    assert ask_again_without(prompt, ask, lambda error: error is REFUSED) == "answer"
    assert asked == [prompt, drop_reasoning(prompt)]
    with pytest.raises(ProviderError):
        ask_again_without(prompt, ask, lambda _error: False)
    assert len(asked) == 3


def test_request_without_reasoning_is_not_made_again() -> None:
    asked: list[Prompt] = []

    def ask(prompt: Prompt) -> str:
        asked.append(prompt)
        raise REFUSED

    with pytest.raises(ProviderError):
        ask_again_without(prompt_of(QUESTION), ask, lambda _error: True)
    assert len(asked) == 1


@pytest.fixture
def provider(
    request: pytest.FixtureRequest, emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Provider]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    made = make_provider(request.param, emulator.url)
    yield made
    made.close()


def first_turn(provider: Provider, **script: Any) -> tuple[PromptMessage, PromptMessage]:
    """Return a question and the answer with the reasoning that came before it."""
    question = PromptMessage("user", emulate(text="Noon.", reasoning=True, **script))
    deltas = list(provider.stream(prompt_of(question)))
    found = [delta for delta in deltas if isinstance(delta, ReasoningBlock)]
    assert found
    blocks, is_requested = [each.block for each in found], found[0].is_requested
    text = "".join(delta.content for delta in deltas if isinstance(delta, Chunk))
    return question, PromptMessage("assistant", text, ReasoningState(provider.name, "m", blocks, is_requested))


def second_turn(provider: Provider, emulator: EmulatorProcess, *turn: PromptMessage, **fields: Any) -> list[str]:
    """Ask once more and return the messages of each call that was accepted."""
    before = len(emulator.calls())
    prompt = prompt_of(*turn, PromptMessage("user", emulate(text="Again.")), **fields)
    deltas = list(provider.stream(prompt))
    assert "".join(delta.content for delta in deltas if isinstance(delta, Chunk)) == "Again."
    return [str(call["messages"]) for call in emulator.calls()[before:]]


@pytest.mark.parametrize("provider", SIGNING, indirect=True)
def test_reasoning_goes_back_verbatim_and_is_accepted(provider: Provider, emulator: EmulatorProcess) -> None:
    redacted = {} if provider.name == "gemini" else {"redacted": True}
    turn = first_turn(provider, **redacted)
    (sent,) = second_turn(provider, emulator, *turn)
    assert "ignature" in sent
    assert ("edacted" in sent) == bool(redacted)


@pytest.mark.parametrize("provider", SIGNING, indirect=True)
def test_reasoning_that_is_altered_is_refused_and_the_answer_goes_on_without_it(
    provider: Provider, emulator: EmulatorProcess, caplog: pytest.LogCaptureFixture
) -> None:
    question, answer = first_turn(provider)
    assert answer.reasoning
    altered = json.dumps(answer.reasoning.blocks).replace('ignature": "', 'ignature": "AAAA')
    forged = ReasoningState(provider.name, "m", json.loads(altered))
    (accepted,) = second_turn(provider, emulator, question, PromptMessage("assistant", "Noon.", forged))
    assert "refused" in caplog.text or "call_failed" in caplog.text
    assert "ignature" not in accepted
    (again,) = second_turn(provider, emulator, question, answer)
    assert "ignature" in again, "one refusal must not switch it off"


@pytest.mark.parametrize("provider", ["bedrock", "bedrock-invoke", "anthropic"], indirect=True)
def test_model_that_is_forced_to_use_a_tool_gets_no_reasoning(provider: Provider, emulator: EmulatorProcess) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    turn = first_turn(provider)
    before = len(emulator.calls())
    list(provider.stream(prompt_of(*turn, QUESTION, schema=schema)))
    assert all("ignature" not in str(call["messages"]) for call in emulator.calls()[before:])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"top_k": 5}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, True),
        ({"thinking": {"type": "adaptive"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"reasoning_config": {"type": "enabled"}}, True),
        ({"reasoningConfig": {"type": "disabled"}}, False),
        ({"thinking": None}, None),
    ],
)
def test_reasoning_is_asked_for_switched_off_or_left_to_the_model(
    fields: dict[str, Any], expected: bool | None
) -> None:
    assert asks_for_reasoning(fields) is expected
    assert asks_for_reasoning(None) is None


def test_anthropics_reasoning_goes_back_only_while_the_operator_asks_for_it(
    emulator: EmulatorProcess,
) -> None:
    turns: dict[str, tuple[PromptMessage, PromptMessage]] = {}
    for made, now, goes_back in (
        ("", "", True),
        ("", "disabled", False),
        ("adaptive", "adaptive", True),
        ("adaptive", "", False),
    ):
        if made not in turns:
            turns[made] = first_turn(anthropic_thinking(emulator.url, made))
        (sent,) = second_turn(anthropic_thinking(emulator.url, now), emulator, *turns[made])
        assert ("ignature" in sent) == goes_back, (made, now)


def anthropic_thinking(url: str, kind: str) -> Anthropic:
    """Return a provider whose operator asks for this kind of thinking, or says nothing of it."""
    request = {"MILLRACE_ANTHROPIC_REQUEST": json.dumps({"thinking": {"type": kind}})} if kind else {}
    settings = {"MILLRACE_ANTHROPIC_BASE_URL": url, "MILLRACE_ANTHROPIC_API_KEY": "a-key", **request}
    return Anthropic(load(settings), concurrency=1)
