"""The answer meter counts an attempt's deltas, holds it to its limits and judges its end; all of it without I/O."""

import time

import pytest

from millrace.worker.answer_meter import ENDING_EVENTS, AnswerMeter
from millrace.worker.contract.events import Chunk, Citation, Complete, Reasoning, Snapshot, ToolUse, Usage
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.lease import ClaimedGeneration
from millrace.worker.contract.log import Claim
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.protocol import Delta, Prompt, Stopped
from millrace.worker.settings.schema import load

SETTINGS = load({"MILLRACE_MAX_OUTPUT_BYTES": "1024", "MILLRACE_MAX_EVENTS": "20"})
REQUEST = ModelRequest([PromptMessage("user", "Why?")], "a-model", 10)
CLAIMED = ClaimedGeneration(
    Claim("0" * 32, "token", 7), Cursor(0, 1), 1, "owner", "conversation", "message", "question", REQUEST, fields=()
)


@pytest.fixture
def meter() -> AnswerMeter:
    return AnswerMeter(CLAIMED, "stub", time.monotonic(), SETTINGS)


def failure_of(meter: AnswerMeter) -> str:
    with pytest.raises(GenerationFailed) as raised:
        meter.complete()
    return raised.value.code


def test_content_is_returned_for_the_log_and_usage_and_stop_reason_are_not(meter: AnswerMeter) -> None:
    for content in (Chunk("a"), Reasoning("b"), Citation("c"), ToolUse("1", "look", {})):
        assert meter.accept(content, 1) is content
    assert meter.accept(Usage(1, 2), 1) is None
    assert meter.accept(Stopped("end_turn"), 1) is None
    assert (meter.chars, meter.chunks) == (2, 2)


def test_an_answer_begins_with_its_first_content(meter: AnswerMeter) -> None:
    meter.accept(Usage(1, 0), 1)
    assert not meter.has_begun
    assert meter.latency().first_delta_ms is None
    meter.accept(Chunk("a"), 1)
    assert meter.has_begun
    assert meter.latency().first_delta_ms is not None


def test_a_complete_answer_names_model_provider_message_and_usage(meter: AnswerMeter) -> None:
    for delta in (Chunk("a"), Stopped("end_turn"), Usage(3, 4)):
        meter.accept(delta, 1)
    outcome = meter.complete()
    assert isinstance(outcome, Complete)
    assert (outcome.model, outcome.provider, outcome.message_id) == ("a-model", "stub", "message")
    assert (outcome.usage, outcome.stop_reason, outcome.stored) == (Usage(3, 4), "end_turn", False)


def test_a_stream_without_a_stop_reason_is_truncated(meter: AnswerMeter) -> None:
    meter.accept(Chunk("a"), 1)
    assert failure_of(meter) == "truncated"


def test_a_stream_without_content_is_an_empty_answer(meter: AnswerMeter) -> None:
    meter.accept(Chunk(""), 1)
    meter.accept(Stopped("end_turn"), 1)
    assert failure_of(meter) == "empty_answer"


@pytest.mark.parametrize("delta", [Reasoning("I think."), Chunk(" \n"), Citation("c")])
def test_an_answer_without_a_visible_character_is_empty(meter: AnswerMeter, delta: Delta) -> None:
    meter.accept(delta, 1)
    meter.accept(Stopped("end_turn"), 1)
    assert failure_of(meter) == "empty_answer"


def test_an_answer_that_was_all_thinking_names_the_tokens_as_the_cause(meter: AnswerMeter) -> None:
    meter.accept(Reasoning("I think."), 1)
    meter.accept(Stopped("max_tokens"), 1)
    with pytest.raises(GenerationFailed, match="used up its tokens for thinking") as raised:
        meter.complete()
    assert raised.value.code == "empty_answer"


def test_the_text_that_an_answer_continues_from_is_content_and_counts_towards_the_size(meter: AnswerMeter) -> None:
    meter.start_from(Snapshot("é" * 500, "r", [], [], "takeover"))
    meter.accept(Chunk("a" * 23), 1)
    with pytest.raises(GenerationFailed, match="limit"):
        meter.accept(Chunk("b"), 1)
    meter.start_from(Snapshot("", "", [], [], "takeover"))
    meter.accept(Chunk("b" * 1024), 1)


def test_events_are_reserved_for_the_end(meter: AnswerMeter) -> None:
    meter.accept(Chunk("a"), 20 - ENDING_EVENTS)
    with pytest.raises(GenerationFailed) as raised:
        meter.accept(Chunk("b"), 20 - ENDING_EVENTS + 1)
    assert raised.value.code == "limit_exceeded"


def test_usage_is_estimated_until_the_provider_reports_it(meter: AnswerMeter) -> None:
    meter.record_prompt(
        Prompt(model="a-model", messages=(PromptMessage("user", "12345"),), max_tokens=9, system=("6",))
    )
    meter.accept(Chunk("12345"), 1)
    assert meter.usage() == Usage(2, 2, exact=False)
    meter.accept(Usage(3, 4), 1)
    assert meter.usage() == Usage(3, 4)
