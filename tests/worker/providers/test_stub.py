"""The stub's scripts and replies, as its docstring describes them."""

import pytest

from millrace.worker.contract.events import Chunk, Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import GenerationFailed, ProviderError
from millrace.worker.providers.protocol import Prompt, Started, Stopped, Tool, WholeAnswer
from millrace.worker.providers.stub import Stub

FAILURE = ProviderError("provider_throttled", retryable=True, is_transient=True)
ANSWER = WholeAnswer("", {"title": "Mills"}, Usage(1, 1))


def make_prompt(tool: str = "") -> Prompt:
    forced = Tool(tool, "", {"type": "object"}) if tool else None
    return Prompt("model", (PromptMessage("user", "?"),), 10, tool=forced)


def test_scripts_are_played_in_order_and_the_last_one_is_repeated() -> None:
    stub = Stub([[Chunk("a")], [Chunk("b"), Stopped("end_turn")]])
    streams = [list(stub.stream(make_prompt())) for _ in range(3)]
    started = Started("stub", "model")
    second = [started, Chunk("b"), Stopped("end_turn")]
    assert streams == [[started, Chunk("a")], second, second]
    assert (len(stub.prompts), stub.closed) == (3, 3)


def test_a_step_is_yielded_called_or_raised() -> None:
    calls: list[str] = []
    stream = Stub([[Chunk("a"), lambda: calls.append("called"), FAILURE]]).stream(make_prompt())
    assert [next(stream), next(stream)] == [Started("stub", "model"), Chunk("a")]
    assert calls == []
    with pytest.raises(GenerationFailed) as raised:
        next(stream)
    assert (calls, raised.value) == (["called"], FAILURE)


def test_a_reply_is_found_by_the_name_of_the_tool() -> None:
    stub = Stub(
        [], replies={"set_title": ANSWER, "fail": FAILURE, "": lambda prompt: WholeAnswer("x", None, Usage(1, 1))}
    )
    assert stub.answer(make_prompt("set_title")) == ANSWER
    assert stub.answer(make_prompt()).text == "x"
    for tool, code in (("fail", "provider_throttled"), ("unknown", "provider_rejected")):
        with pytest.raises(GenerationFailed) as raised:
            stub.answer(make_prompt(tool))
        assert raised.value.code == code
    assert len(stub.questions) == 4
